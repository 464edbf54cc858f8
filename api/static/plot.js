// uPlot, which draws the charts: brought when it is first needed, and told here how a chart of ours looks.

import { timeZoneName } from "./format.js";

/** @typedef {typeof import("uplot")} Library */

const LIBRARY = new URL("./vendor/uplot/uPlot.esm.js", import.meta.url);
const STYLE = new URL("./vendor/uplot/uPlot.min.css", import.meta.url);

/** What is said where uPlot is not: it is an npm package, which a build without a network could not get. */
export const MISSING = "The chart needs uPlot, which is not here. To get it: make assets, then reload this page.";

/** A finger or a mouse that moved less, in pixels, has selected nothing. */
export const LEAST_DRAG = 5;

const MINUTE = 60;
const HOUR = 3600;
const DAY = 86_400;

/** Seconds that the labels of time may be apart: whole minutes, for they do not show seconds, and what divides a day well. */
const LABEL_STEPS = [
  ...[1, 2, 5, 10, 15, 30].map((minutes) => minutes * MINUTE),
  ...[1, 2, 3, 4, 6, 8, 12].map((hours) => hours * HOUR),
  ...[1, 2, 3, 7, 14, 28, 56, 112, 365].map((days) => days * DAY),
];

/** How wide the labels of values are at the least, and how wide a letter of theirs is at the most, in pixels: some
 * languages have long words for a million. */
const LEAST_LABEL = 48;
const LETTER = 8;

/**
 * @typedef {object} Axes the labels of both axes
 * @property {(unixSeconds: number, stepSeconds: number) => string} time
 * @property {(value: number) => string} value
 *
 * @typedef {{from: number, to: number}} Span in Unix seconds
 * @typedef {{color: string, values: number[]}} Row `color` is the name of a custom property
 * @typedef {{times: number[], rows: Row[]}} Shown rows over times, the first at the bottom
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
 * Return uPlot's options of a chart of stacked areas.
 *
 * @param {Row[]} rows
 * @param {object} chart
 * @param {HTMLElement} chart.host whose colours and font it has
 * @param {{width: number, height: number}} chart.size
 * @param {Axes} chart.axes
 * @param {(index: number | null) => void} chart.onCursor
 * @param {(span: Span) => void} chart.onSelect is called after a drag of the mouse, which uPlot zooms in on by itself
 * @param {() => void} chart.onDoubleClick
 * @returns {import("uplot").Options}
 */
export function options(rows, { host, size, axes, onCursor, onSelect, onDoubleClick }) {
  const style = getComputedStyle(host);
  const color = (/** @type {string} */ name) => colorOf(host, name);
  const font = `12px ${style.fontFamily}`;
  const lines = { stroke: color("--line"), width: 1 };
  return {
    ...size,
    legend: { show: false },
    tzDate: (at) => inZone(new Date(at * 1000)),
    padding: [8, 28, 0, 0],
    cursor: {
      y: false,
      points: { show: false },
      drag: { x: true, y: false, dist: LEAST_DRAG },
      bind: { dblclick: () => () => (onDoubleClick(), null) },
    },
    scales: { y: { range: (_, __, most) => [0, most > 0 ? most * 1.08 : 1] } },
    axes: [
      { stroke: color("--muted"), font, grid: { show: false }, ticks: { ...lines, size: 4 }, size: 30, space: 76, incrs: LABEL_STEPS,
        values: (_, splits) => splits.map((at) => axes.time(at, splits[1] - splits[0])) },
      { stroke: color("--muted"), font, grid: lines, ticks: { show: false }, space: 36,
        size: (_, labels) => Math.max(LEAST_LABEL, ...(labels ?? []).map((label) => (label.length + 1) * LETTER)),
        values: (_, splits) => splits.map(axes.value) },
    ],
    series: [{}, ...rows.map((row) => ({
      stroke: color(row.color),
      fill: color(`${row.color}-fill`),
      width: 1.5,
      points: { show: false },
    }))],
    // Each area reaches down to the one under it only, or their colours would add up.
    bands: rows.slice(1).map((_, below) => ({ series: [below + 2, below + 1] })),
    hooks: {
      setCursor: [({ cursor }) => onCursor(cursor.left !== undefined && cursor.left >= 0 ? cursor.idx ?? null : null)],
      setSelect: [(plot) => {
        const { left, width } = plot.select;
        if (width > 0) onSelect({ from: plot.posToVal(left, "x"), to: plot.posToVal(left + width, "x") });
      }],
    },
  };
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
 * Return what uPlot draws of rows: the times, and each row with all that are under it added.
 *
 * @param {Shown} shown
 * @returns {import("uplot").AlignedData}
 */
export function stacked({ times, rows }) {
  /** @type {number[]} */
  let under = times.map(() => 0);
  return [times, ...rows.map(({ values }) => {
    const below = under;
    under = values.map((value, at) => value + below[at]);
    return under;
  })];
}

/**
 * Return the same, but a single cell, which would be a point, as wide as it is: `step` seconds.
 *
 * @template {{values: number[]}} R
 * @param {{times: number[], rows: R[]}} shown
 * @param {number} step
 */
export function drawable({ times, rows }, step) {
  if (times.length !== 1) return { times, rows };
  return { times: [times[0], times[0] + step], rows: rows.map((row) => ({ ...row, values: [row.values[0], row.values[0]] })) };
}
