// Counts over time as steps, stacked, with lines over them: one chart for each place in the page. Everything that a mouse
// does with it can be done by keyboard and by touch, and a screen reader hears what is under the cursor.

import { ChartKeyboard } from "./chart-keyboard.js";
import { ChartTouch } from "./chart-touch.js";
import { data, library, options } from "./plot.js";
import { onColors } from "./preferences.js";

/** It is never drawn narrower than that, in pixels. */
const LEAST_WIDTH = 200;

/** Where uPlot's cursor is when nothing is under it. */
const NOWHERE = -10;

export class Chart {
  #host;
  #height;
  #onCursor;
  #zoom;
  #keyboard;
  /** @type {import("./plot.js").Library | null} */
  #uPlot = null;
  /** @type {import("uplot") | null} */
  #plot = null;
  #shape = "";
  /** @type {import("./plot.js").Shown | null} */
  #shown = null;
  #ended = new AbortController();

  /**
   * @param {HTMLElement} host
   * @param {object} chart
   * @param {number} chart.height
   * @param {string} chart.label names the chart
   * @param {(index: number) => string} chart.describe gives the words for a cell
   * @param {(from: number, to: number) => string} chart.describeSpan gives the words for a time range, which has whole cells
   * @param {Zoom} chart.zoom
   * @param {(index: number | null) => void} [chart.onCursor] is called with the cell under the cursor
   *
   * @typedef {object} Zoom what is done with a time range that is selected
   * @property {(span: import("./plot.js").Span) => void} to shows it alone
   * @property {() => void} out shows again what was shown before
   * @property {() => boolean} zoomed tells whether there is anything to zoom out of
   */
  constructor(host, { height, label, describe, describeSpan, zoom, onCursor = () => {} }) {
    this.#host = host;
    this.#height = height;
    this.#onCursor = onCursor;
    this.#zoom = zoom;
    this.#keyboard = new ChartKeyboard(this, host, { label, describe, describeSpan });
    new ChartTouch(this, host).listen();
    this.#keyboard.listen();
    this.#listen();
  }

  /** Return whether uPlot is installed; without it nothing is shown. */
  async ready() {
    this.#uPlot = await library();
    if (this.#uPlot === null) this.#hide(true);
    return this.#uPlot !== null;
  }

  /**
   * Show this; with null, or without times, there is nothing to make scales of, and no chart.
   *
   * @param {import("./plot.js").Shown | null} shown
   */
  set(shown) {
    this.#shown = shown?.times.length ? shown : null;
    this.#hide(!this.#shown);
    this.#draw({ afresh: false });
  }

  /** End what goes on by itself: the chart is no longer needed. */
  destroy() {
    this.#ended.abort();
    this.#plot?.destroy();
    this.#plot = null;
    this.#uPlot = null;
  }

  // What the keyboard and fingers do with it.

  /** The times of its cells; none while nothing is drawn. */
  get times() {
    return this.#plot && this.#shown ? this.#shown.times : [];
  }

  /** How wide a cell is, in seconds. */
  get step() {
    return this.#shown?.step ?? 0;
  }

  get zoomed() {
    return this.#zoom.zoomed();
  }

  /**
   * Show only this, as whole cells: the nearest that it could mean, and one at the least.
   *
   * @param {import("./plot.js").Span} span
   */
  zoomTo({ from, to }) {
    if (!this.#shown) return;
    const { step, times: [first] } = this.#shown;
    /** @param {number} at */
    const nearest = (at) => first + Math.round((at - first) / step) * step;
    const start = nearest(from) < nearest(to) ? nearest(from) : first + Math.floor((from - first) / step) * step;
    this.#zoom.to({ from: start, to: Math.max(nearest(to), start + step) });
  }

  zoomOut() {
    this.#zoom.out();
  }

  /**
   * Put the cursor at a time; null for nowhere.
   *
   * @param {number | null} at
   */
  pointTo(at) {
    const left = at === null ? NOWHERE : this.#plot?.valToPos(at, "x") ?? NOWHERE;
    this.#plot?.setCursor({ left, top: left < 0 ? NOWHERE : 0 });
  }

  /**
   * Mark what lies between two times; null for nothing.
   *
   * @param {import("./plot.js").Span | null} span
   */
  select(span) {
    const plot = this.#plot;
    if (!plot) return;
    const [left, right] = span ? [span.from, span.to].map((at) => plot.valToPos(at, "x")) : [0, 0];
    plot.setSelect({ left, width: right - left, top: 0, height: span ? plot.over.clientHeight : 0 }, false);
  }

  /**
   * Return the time at a place on the screen, or null while nothing is drawn.
   *
   * @param {number} clientX
   */
  timeAt(clientX) {
    if (!this.#plot) return null;
    const { left, width } = this.#plot.over.getBoundingClientRect();
    return this.#plot.posToVal(Math.min(width, Math.max(0, clientX - left)), "x");
  }

  // How it is drawn.

  #listen() {
    const { signal } = this.#ended;
    onColors(() => this.#draw({ afresh: true }), signal);
    const sizes = new ResizeObserver(() => this.#plot?.setSize(this.#size()));
    sizes.observe(this.#host);
    signal.addEventListener("abort", () => sizes.disconnect());
  }

  /** @param {boolean} hidden */
  #hide(hidden) {
    this.#host.hidden = this.#keyboard.help.hidden = hidden;
  }

  #size() {
    return { width: Math.max(LEAST_WIDTH, this.#host.clientWidth), height: this.#height };
  }

  /** @param {{afresh: boolean}} how afresh: even if only the data is new */
  #draw({ afresh }) {
    const shown = this.#shown;
    if (!shown || !this.#uPlot) return;
    const shape = [...shown.rows, null, ...shown.lines].map((row) => row?.color).join();
    if (this.#plot && !afresh && shape === this.#shape) {
      this.#plot.setData(data(shown));
    } else {
      this.#shape = shape;
      this.#plot?.destroy();
      this.#plot = new this.#uPlot(this.#options(this.#uPlot, shown), data(shown), this.#host);
    }
    this.#keyboard.redrawn();
  }

  /**
   * @param {import("./plot.js").Library} uPlot
   * @param {import("./plot.js").Shown} first
   */
  #options(uPlot, first) {
    return options(() => this.#shown ?? first, {
      uPlot,
      host: this.#host,
      size: this.#size(),
      onCursor: (at) => this.#pointed(at),
      onSelect: (span) => this.zoomTo(span),
      onDoubleClick: () => this.zoomOut(),
    });
  }

  /** @param {number | null} at */
  #pointed(at) {
    const { times, step } = this;
    const index = at === null ? -1 : times.findLastIndex((time) => time <= at);
    this.#onCursor(index >= 0 && at !== null && at < times[index] + step ? index : null);
  }
}
