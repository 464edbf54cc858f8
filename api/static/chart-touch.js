// A chart by touch: a tap reads it, a finger that moves sideways selects, and zooms in when it goes. uPlot itself knows the
// mouse only. A finger that goes up or down scrolls the page (touch-action in chart.css), and then cancels.

import { LEAST_DRAG } from "./plot.js";

/** @typedef {{id: number, left: number, from: number, to: number, dragged: boolean}} Finger */

export class ChartTouch {
  #chart;
  #host;
  /** @type {Finger | null} */
  #finger = null;

  /**
   * @param {import("./chart.js").Chart} chart
   * @param {HTMLElement} host
   */
  constructor(chart, host) {
    this.#chart = chart;
    this.#host = host;
  }

  listen() {
    this.#host.addEventListener("pointerdown", (event) => this.#down(event));
    this.#host.addEventListener("pointermove", (event) => this.#move(event));
    this.#host.addEventListener("pointerup", (event) => this.#up(event));
    this.#host.addEventListener("pointercancel", () => this.#end());
  }

  /** @param {PointerEvent} event */
  #down(event) {
    const at = this.#chart.timeAt(event.clientX);
    if (event.pointerType !== "touch" || !event.isPrimary || at === null) return;
    this.#finger = { id: event.pointerId, left: event.clientX, from: at, to: at, dragged: false };
    this.#move(event);
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const at = this.#chart.timeAt(event.clientX);
    if (!this.#finger || event.pointerId !== this.#finger.id || at === null) return;
    this.#finger.to = at;
    this.#finger.dragged = Math.abs(event.clientX - this.#finger.left) >= LEAST_DRAG;
    this.#chart.pointTo(at);
    this.#chart.select(this.#finger.dragged ? between(this.#finger) : null);
  }

  /** @param {PointerEvent} event */
  #up(event) {
    if (!this.#finger || event.pointerId !== this.#finger.id) return;
    const finger = this.#finger;
    this.#end();
    // After a tap, what is there stays to be read.
    if (finger.dragged && finger.from !== finger.to) this.#chart.zoomTo(between(finger));
  }

  #end() {
    this.#finger = null;
    this.#chart.select(null);
  }
}

/** @param {Finger} finger */
function between({ from, to }) {
  return { from: Math.min(from, to), to: Math.max(from, to) };
}
