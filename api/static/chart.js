// Stacked areas over time, drawn by uPlot. One chart for each place in the page. Everything that a mouse does with it can
// be done by keyboard and by touch, and a screen reader hears what is under the cursor.

import { make, setText } from "./dom.js";

const LIBRARY = new URL("./vendor/uplot/uPlot.esm.js", import.meta.url);
const STYLE = new URL("./vendor/uplot/uPlot.min.css", import.meta.url);

/** What is said where uPlot is not: it is an npm package, which a build without a network could not get. */
export const MISSING = "The chart needs uPlot, which is not here. To get it: make assets, then reload this page.";

const HELP = "Arrow keys read the chart; with Shift they select, Enter zooms in on that, Escape zooms out.";

/** Seconds that the labels of time may be apart: whole minutes, for they do not show seconds, and what divides a day well. */
const LABEL_STEPS = [1, 2, 5, 10, 15, 30].map((minutes) => minutes * 60)
  .concat([1, 2, 3, 4, 6, 8, 12].map((hours) => hours * 3600), [1, 2, 3, 7, 14, 28, 56, 112, 365].map((days) => days * 86_400));

/** A finger or a mouse that moved less, in pixels, has selected nothing. */
const LEAST_DRAG = 5;

/** How wide the labels of values are at the least, and how wide a letter of theirs is at the most, in pixels: some
 * languages have long words for a million. */
const LEAST_LABEL = 48;
const LETTER = 8;

/** Cells that Page Up and Page Down move by. */
const LEAP = 10;

let loading;
let charts = 0;

/** uPlot's constructor, or null where it was not installed. */
function library() {
  loading ??= import(LIBRARY).then((module) => {
    const link = document.createElement("link");
    link.rel = "stylesheet";
    link.href = STYLE;
    document.head.append(link);
    return new Promise((resolve) => { link.onload = link.onerror = () => resolve(module.default); });
  }).catch(() => null);
  return loading;
}

const dark = matchMedia("(prefers-color-scheme: dark)");

export class Chart {
  #host;
  #height;
  #axes;
  #describe;
  #describeSpan;
  #onCursor;
  #onZoom;
  #uPlot;
  #plot = null;
  #shape = "";
  #shown = null;
  #zoom = null; // {from, to} of what is shown, or null for the whole
  #at = null; // the time that the keyboard has come to; an index would move with new data
  #anchor = null; // the time from which it selects
  #finger = null;
  #said;
  #help;
  #ended = new AbortController();

  /**
   * `axes` has the functions time(unixSeconds, stepSeconds) and value(number), which give the labels. `label` names the
   * chart, `describe(index)` and `describeSpan(from, to)` give the words for a cell and for a time range.
   * `onCursor(index)` and `onZoom({from, to})` get null when there is none.
   */
  constructor(host, { height, axes, label, describe, describeSpan, onCursor = () => {}, onZoom = () => {} }) {
    this.#host = host;
    this.#height = height;
    this.#axes = axes;
    this.#describe = describe;
    this.#describeSpan = describeSpan;
    this.#onCursor = onCursor;
    this.#onZoom = onZoom;
    this.#said = make("p", { className: "hidden said", role: "status" });
    this.#help = make("p", { className: "muted help", id: `chart-help-${(charts += 1)}`, textContent: HELP });
    host.after(this.#help, this.#said);
    host.tabIndex = 0;
    host.setAttribute("role", "application"); // or a screen reader would keep the arrow keys for itself
    host.setAttribute("aria-roledescription", "chart");
    host.setAttribute("aria-label", label);
    host.setAttribute("aria-describedby", this.#help.id);
    this.#listen();
  }

  /** False where uPlot is not installed. */
  async ready() {
    this.#uPlot = await library();
    if (this.#uPlot === null) this.#host.hidden = this.#help.hidden = true;
    return this.#uPlot !== null;
  }

  /**
   * Show `rows` of {color, values} over `times`, the first row at the bottom. `color` is a custom property's name. Without
   * times there is nothing to make scales of, and no chart.
   */
  set({ times, rows }) {
    this.#shown = { times, rows };
    this.#host.hidden = this.#help.hidden = !times.length;
    this.#draw(false);
  }

  /** The whole of it again. */
  zoomOut() {
    if (!this.#plot || !this.#zoom) return;
    this.#zoom = null;
    this.#plot.setData(this.#plot.data, true);
    this.#onZoom(null);
  }

  /** It is no longer needed. */
  destroy() {
    this.#ended.abort();
    this.#plot?.destroy();
    this.#plot = null;
    this.#uPlot = null;
  }

  #listen() {
    const host = this.#host;
    const { signal } = this.#ended;
    dark.addEventListener("change", () => this.#draw(true), { signal });
    const sizes = new ResizeObserver(() => this.#plot?.setSize(this.#size()));
    sizes.observe(host);
    signal.addEventListener("abort", () => sizes.disconnect());
    host.addEventListener("keydown", (event) => this.#key(event));
    host.addEventListener("blur", () => this.#leave());
    // uPlot itself knows the mouse only. A finger that goes up or down scrolls the page (touch-action), and then cancels.
    host.addEventListener("pointerdown", (event) => this.#touch(event));
    host.addEventListener("pointermove", (event) => this.#drag(event));
    host.addEventListener("pointerup", (event) => this.#lift(event));
    host.addEventListener("pointercancel", () => this.#cancel());
  }

  #size() {
    return { width: Math.max(200, this.#host.clientWidth), height: this.#height };
  }

  #draw(afresh) {
    if (!this.#shown || !this.#uPlot) return;
    const { times, rows } = this.#shown;
    const shape = rows.map((row) => row.color).join();
    const data = [times, ...stacked(rows)];
    if (this.#plot && !afresh && shape === this.#shape) {
      this.#plot.setData(data, !this.#zoom);
      if (this.#zoom) this.#plot.redraw(); // setData without new scales does not
    } else {
      this.#shape = shape;
      this.#plot?.destroy();
      this.#plot = new this.#uPlot(this.#options(rows), data, this.#host);
      if (this.#zoom) this.#scale();
    }
    // uPlot draws, and takes its scales, in a microtask of its own; the cursor has to stay at its time.
    if (this.#at !== null) queueMicrotask(() => this.#follow());
  }

  #options(rows) {
    const style = getComputedStyle(this.#host);
    const color = (name) => style.getPropertyValue(name).trim();
    const font = `12px ${style.fontFamily}`;
    const lines = { stroke: color("--line"), width: 1 };
    return {
      ...this.#size(),
      legend: { show: false },
      padding: [8, 28, 0, 0],
      cursor: {
        y: false,
        points: { show: false },
        drag: { x: true, y: false, dist: LEAST_DRAG },
        bind: { dblclick: () => () => this.zoomOut() },
      },
      scales: { y: { range: (_, __, most) => [0, most > 0 ? most * 1.08 : 1] } },
      axes: [
        { stroke: color("--muted"), font, grid: { show: false }, ticks: { ...lines, size: 4 }, size: 30, space: 76, incrs: LABEL_STEPS,
          values: (_, splits) => splits.map((at) => this.#axes.time(at, splits[1] - splits[0])) },
        { stroke: color("--muted"), font, grid: lines, ticks: { show: false }, space: 36,
          size: (_, labels) => Math.max(LEAST_LABEL, ...(labels ?? []).map((label) => (label.length + 1) * LETTER)),
          values: (_, splits) => splits.map(this.#axes.value) },
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
        setCursor: [(plot) => this.#onCursor(plot.cursor.left >= 0 ? plot.cursor.idx : null)],
        setSelect: [(plot) => this.#selected(plot)], // after a drag of the mouse; it zooms by itself
      },
    };
  }

  // Zoom.

  #selected(plot) {
    if (plot.select.width <= 0) return;
    const [from, to] = [plot.select.left, plot.select.left + plot.select.width].map((left) => plot.posToVal(left, "x"));
    this.#zoomed({ from, to });
  }

  #zoomed(span) {
    this.#zoom = span;
    this.#onZoom(span);
  }

  #scale() {
    this.#plot.setScale("x", { min: this.#zoom.from, max: this.#zoom.to });
  }

  /** Mark what lies between two times; null for nothing. */
  #select(span) {
    if (!this.#plot) return;
    const [left, right] = span ? [span.from, span.to].map((at) => this.#plot.valToPos(at, "x")) : [0, 0];
    const height = span ? this.#plot.over.clientHeight : 0;
    this.#plot.setSelect({ left, width: right - left, top: 0, height }, false);
  }

  // By keyboard.

  #key(event) {
    if (!this.#plot || !this.#shown.times.length || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter") this.#zoomIn();
    else if (event.key === "Escape" && (this.#anchor !== null || this.#zoom)) this.#back();
    else if (!this.#move(event.key, event.shiftKey)) return;
    event.preventDefault();
    event.stopPropagation(); // in a dialog, Escape would close that as well
  }

  /** The first and the last cell that is shown. */
  #ends() {
    const { times } = this.#shown;
    if (!this.#zoom) return [0, times.length - 1];
    const first = times.findIndex((at) => at >= this.#zoom.from);
    return [Math.max(0, first), Math.max(0, times.findLastIndex((at) => at <= this.#zoom.to))];
  }

  /** Go where a key leads, and with Shift select up to there. False if it is no such key. */
  #move(key, selecting) {
    const [first, last] = this.#ends();
    const here = this.#index();
    const next = {
      ArrowLeft: (here ?? last + 1) - 1,
      ArrowRight: (here ?? first - 1) + 1,
      PageUp: (here ?? last) - LEAP,
      PageDown: (here ?? first) + LEAP,
      Home: first,
      End: last,
    }[key];
    if (next === undefined) return false;
    const index = Math.min(last, Math.max(first, next));
    const before = this.#at;
    this.#at = this.#shown.times[index];
    this.#anchor = selecting ? this.#anchor ?? before ?? this.#at : null;
    this.#follow();
    const span = this.#span();
    this.#say(span ? `Selected ${this.#describeSpan(span.from, span.to)}` : this.#describe(index));
    return true;
  }

  #index() {
    const found = this.#at === null ? -1 : this.#shown.times.indexOf(this.#at);
    return found < 0 ? null : found;
  }

  /** Where the cursor and the selection are, after they or the data have changed. */
  #follow() {
    if (!this.#plot) return;
    if (this.#index() === null) this.#at = this.#anchor = null; // its time has left the chart
    const left = this.#at === null ? -10 : this.#plot.valToPos(this.#at, "x");
    this.#plot.setCursor({ left, top: left < 0 ? -10 : 0 });
    this.#select(this.#span());
  }

  /** What is selected by keyboard, or null. */
  #span() {
    if (this.#anchor === null || this.#anchor === this.#at) return null;
    return { from: Math.min(this.#anchor, this.#at), to: Math.max(this.#anchor, this.#at) };
  }

  #zoomIn() {
    const span = this.#span();
    if (!span) {
      this.#say("Nothing is selected: Shift and an arrow key select");
      return;
    }
    this.#anchor = null;
    this.#zoomed(span);
    this.#scale();
    queueMicrotask(() => this.#follow());
    this.#say(`Zoomed in on ${this.#describeSpan(span.from, span.to)}`);
  }

  /** Take back the selection; if there is none, the zoom. */
  #back() {
    if (this.#anchor !== null) {
      this.#anchor = null;
      this.#follow();
      this.#say("Nothing is selected");
      return;
    }
    this.zoomOut();
    queueMicrotask(() => this.#follow());
    this.#say("Zoomed out");
  }

  #leave() {
    this.#at = this.#anchor = null;
    this.#say("");
    this.#follow();
  }

  #say(text) {
    setText(this.#said, text);
  }

  // By touch.

  #touch(event) {
    if (event.pointerType !== "touch" || !event.isPrimary || !this.#plot) return;
    this.#finger = { id: event.pointerId, from: this.#reached(event), left: event.clientX };
    this.#drag(event);
  }

  #drag(event) {
    if (event.pointerType === "mouse") this.#at = this.#anchor = null; // it leads now, not the keyboard
    if (event.pointerId !== this.#finger?.id || !this.#plot) return;
    const here = this.#reached(event);
    const { from, left } = this.#finger;
    this.#finger.to = here;
    this.#finger.far = Math.abs(event.clientX - left) >= LEAST_DRAG;
    this.#plot.setCursor({ left: this.#plot.valToPos(here, "x"), top: 0 });
    this.#select(this.#finger.far ? { from: Math.min(from, here), to: Math.max(from, here) } : null);
  }

  #lift(event) {
    if (event.pointerId !== this.#finger?.id || !this.#plot) return;
    const { from, to, far } = this.#finger;
    this.#finger = null;
    this.#select(null);
    if (!far || from === to) return; // a tap: what is there stays to be read
    this.#zoomed({ from: Math.min(from, to), to: Math.max(from, to) });
    this.#scale();
  }

  #cancel() {
    this.#finger = null;
    this.#select(null);
  }

  /** The time under a finger. */
  #reached(event) {
    const { left, width } = this.#plot.over.getBoundingClientRect();
    return this.#plot.posToVal(Math.min(width, Math.max(0, event.clientX - left)), "x");
  }
}

/** The same, but a single cell, which would be a point, as wide as it is: `step` seconds. */
export function drawable({ times, rows }, step) {
  if (times.length !== 1) return { times, rows };
  return { times: [times[0], times[0] + step], rows: rows.map((row) => ({ ...row, values: [row.values[0], row.values[0]] })) };
}

/** Each row with all that are under it added. */
function stacked(rows) {
  let under = null;
  return rows.map(({ values }) => {
    under = values.map((value, at) => value + (under ? under[at] : 0));
    return under;
  });
}
