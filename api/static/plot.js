// uPlot, which draws the charts: brought when it is first needed, and told here how a chart of ours looks.

import { short, timeZoneName } from "./format.js";
import { LABEL_STEPS, timeLabels } from "./time-axis.js";

/** @typedef {typeof import("uplot")} Library */

const LIBRARY = new URL("./vendor/uplot/uPlot.esm.js", import.meta.url);
const STYLE = new URL("./vendor/uplot/uPlot.min.css", import.meta.url);

/** What is said where uPlot is not: it is an npm package, which a build without a network could not get. */
export const MISSING = "The chart needs uPlot, which is not here. To get it: make assets, then reload this page.";

/** A finger or a mouse that moved less, in pixels, has selected nothing. */
export const LEAST_DRAG = 5;

/** How wide the labels of values are at the least, and how wide a letter of theirs is at the most, in pixels: some
 * languages have long words for a million. */
const LEAST_LABEL = 48;
const LETTER = 8;

/** The height of one line of labels of time, and of two. */
const [ONE_LINE, TWO_LINES] = [30, 46];

/** How far apart the lines are that mark what is not over yet, and how wide each is, in pixels. */
const [HATCH, HATCH_WIDTH] = [7, 3];

/**
 * @typedef {{from: number, to: number}} Span in Unix seconds
 * @typedef {{color: string, values: number[]}} Row `color` is the name of a custom property
 * @typedef {{color: string, values: (number | null)[], dashed?: boolean}} Line null where it has a gap
 *
 * @typedef {object} Shown counts in cells of time
 * @property {number} from where the axis of time begins
 * @property {number} to
 * @property {number} step how wide a cell is
 * @property {number[]} times where each cell begins
 * @property {number | null} begun since when cells are not over; these are hatched
 * @property {Row[]} rows areas, each upon the one before
 * @property {Line[]} lines drawn over them, each by itself
 */

/** @type {Promise<Library | null> | undefined} */
let loading;

/** Return uPlot's constructor, or null where it was not installed. */
export function library() {
  loading ??= load().catch(() => null);
  return loading;
}

/** @returns {Promise<Library>} */
async function load() {
  const module = await import(LIBRARY.href);
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = STYLE.href;
  await new Promise((resolve) => {
    link.onload = link.onerror = resolve;
    document.head.append(link);
  });
  return module.default;
}

/**
 * Return uPlot's options of a chart of stacked areas, with lines over them.
 *
 * @param {() => Shown} shown returns what is shown just now; its rows and lines stay as many, and have their colours
 * @param {object} chart
 * @param {Library} chart.uPlot
 * @param {HTMLElement} chart.host whose colours and font it has
 * @param {{width: number, height: number}} chart.size
 * @param {(at: number | null) => void} chart.onCursor is called with the time under the cursor
 * @param {(span: Span) => void} chart.onSelect is called after a drag of the mouse
 * @param {() => void} chart.onDoubleClick
 * @returns {import("uplot").Options}
 */
export function options(shown, { uPlot, host, size, onCursor, onSelect, onDoubleClick }) {
  const style = getComputedStyle(host);
  const color = (/** @type {string} */ name) => colorOf(host, name);
  const font = `12px ${style.fontFamily}`;
  const grid = { stroke: color("--line"), width: 1 };
  const card = color("--card");
  const { rows, lines } = shown();
  // A cell is as high from its beginning to its end: a slope would tell of what nobody has counted.
  const paths = uPlot.paths.stepped?.({ align: 1 });
  const series = { ...(paths && { paths }), points: { show: false } };
  return {
    ...size,
    legend: { show: false },
    tzDate: (at) => inZone(new Date(at * 1000)),
    padding: [8, 28, 0, 0],
    cursor: {
      y: false,
      points: { show: false },
      drag: { x: true, y: false, dist: LEAST_DRAG, setScale: false },
      bind: { dblclick: () => () => (onDoubleClick(), null) },
    },
    scales: {
      x: { range: () => [shown().from, shown().to] },
      y: { range: (_, __, most) => [0, most > 0 ? most * 1.08 : 1] },
    },
    axes: [
      { stroke: color("--muted"), font, grid: { show: false }, ticks: { ...grid, size: 4 }, space: 84, incrs: LABEL_STEPS,
        size: (_, labels) => (labels?.some((label) => label.includes("\n")) ? TWO_LINES : ONE_LINE),
        values: (_, splits, __, ___, step) => timeLabels(splits, step) },
      { stroke: color("--muted"), font, grid, ticks: { show: false }, space: 36,
        size: (_, labels) => Math.max(LEAST_LABEL, ...(labels ?? []).map((label) => (label.length + 1) * LETTER)),
        values: (_, splits) => splits.map(short) },
    ],
    series: [
      {},
      ...rows.map((row) => ({ ...series, stroke: color(row.color), fill: color(`${row.color}-fill`), width: 1.5 })),
      ...lines.map((line) => ({ ...series, stroke: color(line.color), width: 2, ...(line.dashed && { dash: [5, 4], width: 1.5 }) })),
    ],
    // Each area reaches down to the one under it only, or their colours would add up.
    bands: rows.slice(1).map((_, below) => ({ series: [below + 2, below + 1] })),
    hooks: {
      draw: [(plot) => hatch(plot, shown(), card)],
      setCursor: [(plot) => {
        const { left } = plot.cursor;
        onCursor(left !== undefined && left >= 0 ? plot.posToVal(left, "x") : null);
      }],
      setSelect: [(plot) => {
        const { left, width } = plot.select;
        if (width <= 0) return;
        onSelect({ from: plot.posToVal(left, "x"), to: plot.posToVal(left + width, "x") });
        plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
      }],
    },
  };
}

/**
 * Mark what is not over yet: it is cut into pieces by lines of the card's colour, and so are the lines around it.
 *
 * @param {import("uplot")} plot
 * @param {Shown} shown
 * @param {string} card
 */
function hatch({ ctx, bbox, valToPos }, { begun, to }, card) {
  if (begun === null) return;
  const [left, right] = [begun, to].map((at) => Math.min(bbox.left + bbox.width, Math.max(bbox.left, valToPos(at, "x", true))));
  const scale = devicePixelRatio;
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, bbox.top, right - left, bbox.height);
  ctx.clip();
  ctx.beginPath();
  for (let x = left - bbox.height; x < right; x += HATCH * scale) {
    ctx.moveTo(x, bbox.top + bbox.height);
    ctx.lineTo(x + bbox.height, bbox.top);
  }
  ctx.strokeStyle = card;
  ctx.lineWidth = HATCH_WIDTH * scale;
  ctx.stroke();
  ctx.restore();
}

/**
 * Return what a colour's name stands for just now. The name's own text would not do: it has a colour for light and one for dark.
 *
 * @param {HTMLElement} host
 * @param {string} name
 */
function colorOf(host, name) {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  probe.style.setProperty("forced-color-adjust", "none"); // types are told apart where a system forces its colours, too
  host.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

/**
 * Return a date whose local parts are those of the zone of times: uPlot puts its labels at full hours and days of these.
 *
 * @param {Date} at
 */
function inZone(at) {
  return timeZoneName() ? new Date(at.getTime() + at.getTimezoneOffset() * 60_000) : at;
}

/**
 * Return what uPlot draws: the times, each row with all that are under it added, the lines. The last cell ends, too.
 *
 * @param {Shown} shown
 * @returns {import("uplot").AlignedData}
 */
export function data({ times, step, rows, lines }) {
  /** @type {number[]} */
  let under = times.map(() => 0);
  const areas = rows.map(({ values }) => {
    under = values.map((value, at) => value + under[at]);
    return under;
  });
  /** @param {(number | null)[]} values */
  const closed = (values) => [...values, ...values.slice(-1)];
  return [[...times, ...times.slice(-1).map((at) => at + step)], ...[...areas, ...lines.map(({ values }) => values)].map(closed)];
}
