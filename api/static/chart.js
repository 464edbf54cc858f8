// Stacked areas over time, one chart for each place in the page. Everything that a mouse does with it can be done by
// keyboard and by touch, and a screen reader hears what is under the cursor.

import { ChartKeyboard } from "./chart-keyboard.js";
import { ChartTouch } from "./chart-touch.js";
import { library, options, stacked } from "./plot.js";
import { onColors } from "./preferences.js";

/** It is never drawn narrower than that, in pixels. */
const LEAST_WIDTH = 200;

/** Where uPlot's cursor is when nothing is under it. */
const NOWHERE = -10;

export class Chart {
  #host;
  #height;
  #axes;
  #onCursor;
  #onZoom;
  #keyboard;
  /** @type {import("./plot.js").Library | null} */
  #uPlot = null;
  /** @type {import("uplot") | null} */
  #plot = null;
  #shape = "";
  /** @type {import("./plot.js").Shown | null} */
  #shown = null;
  /** @type {import("./plot.js").Span | null} of what is shown; null for the whole */
  #zoom = null;
  #ended = new AbortController();

  /**
   * @param {HTMLElement} host
   * @param {object} chart
   * @param {number} chart.height
   * @param {import("./plot.js").Axes} chart.axes
   * @param {string} chart.label names the chart
   * @param {(index: number) => string} chart.describe gives the words for a cell
   * @param {(from: number, to: number) => string} chart.describeSpan gives the words for a time range
   * @param {(index: number | null) => void} [chart.onCursor] is called with the cell under the cursor
   * @param {(zoom: import("./plot.js").Span | null) => void} [chart.onZoom] is called with what is shown; null for the whole
   */
  constructor(host, { height, axes, label, describe, describeSpan, onCursor = () => {}, onZoom = () => {} }) {
    this.#host = host;
    this.#height = height;
    this.#axes = axes;
    this.#onCursor = onCursor;
    this.#onZoom = onZoom;
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
   * Show rows over times. Without times there is nothing to make scales of, and no chart.
   *
   * @param {import("./plot.js").Shown} shown
   */
  set(shown) {
    this.#shown = shown;
    this.#hide(!shown.times.length);
    this.#draw({ afresh: false });
  }

  /** Show the whole of it again. */
  zoomOut() {
    if (!this.#plot || !this.#zoom) return;
    this.#zoom = null;
    this.#plot.setData(this.#plot.data, true);
    this.#onZoom(null);
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

  get zoom() {
    return this.#zoom;
  }

  /**
   * Show only this.
   *
   * @param {import("./plot.js").Span} span
   */
  zoomTo(span) {
    this.#keepZoom(span);
    this.#scaleToZoom();
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
    if (!this.#shown || !this.#uPlot) return;
    const { rows } = this.#shown;
    const shape = rows.map((row) => row.color).join();
    const data = stacked(this.#shown);
    if (this.#plot && !afresh && shape === this.#shape) {
      this.#plot.setData(data, !this.#zoom);
      if (this.#zoom) this.#plot.redraw(); // setData without new scales does not
    } else {
      this.#shape = shape;
      this.#plot?.destroy();
      this.#plot = new this.#uPlot(this.#options(rows), data, this.#host);
      this.#scaleToZoom();
    }
    this.#keyboard.redrawn();
  }

  /** @param {import("./plot.js").Row[]} rows */
  #options(rows) {
    return options(rows, {
      host: this.#host,
      size: this.#size(),
      axes: this.#axes,
      onCursor: this.#onCursor,
      onSelect: (span) => this.#keepZoom(span),
      onDoubleClick: () => this.zoomOut(),
    });
  }

  /** @param {import("./plot.js").Span} span */
  #keepZoom(span) {
    this.#zoom = span;
    this.#onZoom(span);
  }

  #scaleToZoom() {
    if (this.#zoom) this.#plot?.setScale("x", { min: this.#zoom.from, max: this.#zoom.to });
  }
}
