// The chart of one name, in its sheet: how often it was counted in each cell of time.

import { drawnCells, lastCounted } from "./cells.js";
import { Chart } from "./chart.js";
import { duration, moment, span, visible, whole } from "./format.js";
import { ZOOM } from "./range.js";
import { colorsOf } from "./series-colors.js";

const HEIGHT = 160;

export class NameChart {
  #chart;
  /** @type {Api.OneName["series"] | null} */
  #series = null;
  #asOf = 0;
  #color;

  /**
   * @param {HTMLElement} host
   * @param {Api.Kind} kind
   * @param {string} name
   * @param {AbortSignal} signal ends it
   */
  constructor(host, kind, name, signal) {
    this.#color = colorsOf([`${kind}:${name}`]).get(`${kind}:${name}`) ?? "";
    this.#chart = new Chart(host, {
      height: HEIGHT,
      label: `Counts of ${visible(name)}`,
      describe: (index) => this.#describe(index),
      describeSpan: (from, to) => this.#describeSpan(from, to),
      zoom: ZOOM,
    });
    signal.addEventListener("abort", () => this.#chart.destroy());
  }

  /** Return whether uPlot is installed; without it nothing is drawn. */
  ready() {
    return this.#chart.ready();
  }

  /**
   * Show how often the name was counted. What is not over yet is as high as it will be if it goes on like that.
   *
   * @param {Pick<Api.OneName, "series" | "as_of">} found
   */
  show({ series, as_of: asOf }) {
    this.#series = series;
    this.#asOf = asOf;
    const { from, to, step_seconds: step, starts_at: starts, counts } = series;
    const { times, seconds, begun } = drawnCells({ times: starts, step, asOf, counted: lastCounted(starts, [counts]) });
    const values = times.map((_, at) => counts[at] * step / seconds[at]);
    this.#chart.set({ from, to, step, times, begun, rows: [{ color: this.#color, values }], lines: [] });
  }

  /** @param {number} index */
  #describe(index) {
    if (!this.#series) return "";
    const { starts_at: starts, counts, step_seconds: step } = this.#series;
    const at = starts[index];
    const over = at < this.#asOf && this.#asOf < at + step ? `, ${duration(this.#asOf - at)} of ${duration(step)} are over` : "";
    return `${step > 60 ? span(at, at + step) : moment(at)}${over}: ${whole(counts[index])}`;
  }

  /**
   * @param {number} from
   * @param {number} to
   */
  #describeSpan(from, to) {
    if (!this.#series) return "";
    const { starts_at: starts, counts } = this.#series;
    const sum = counts.reduce((added, count, at) => added + (starts[at] >= from && starts[at] < to ? count : 0), 0);
    return `${span(from, to)}: ${whole(sum)}`;
  }
}
