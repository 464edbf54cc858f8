// The chart of events per second by type: the most frequent types by name, all others together.

import { explain } from "./api.js";
import { Chart } from "./chart.js";
import { arrange, byId, make, setName, setText } from "./dom.js";
import { MOST_TYPES, eventRates } from "./event-rates.js";
import { day, minute, moment, rate, short, span, visible } from "./format.js";
import { MISSING } from "./plot.js";
import { Poll } from "./poll.js";
import { FIRST_PAGES, change, timeRange, utc, view } from "./view.js";

const OTHERS = "all others";
const OTHERS_COLOR = "--series-other";
const COLORS = Array.from({ length: MOST_TYPES }, (_, at) => `--series-${at + 1}`);

/** Types that are read aloud for a moment; the legend has all. */
const MOST_SAID = 3;

const DAY = 86_400;

/**
 * The labels of the axes, which the chart of a single name has too.
 *
 * @type {import("./plot.js").Axes}
 */
export const AXES = {
  time: (at, step) => (step >= DAY ? day(at) : minute(at)),
  value: (value) => short(value),
};

export class Timeline {
  #chart;
  /** @type {Poll<import("./event-rates.js").EventRates>} */
  #poll;
  /** @type {Map<string | null, string>} */
  #colors = new Map();
  /** @type {Set<string | null>} types that are taken out of the chart */
  #hidden = new Set();
  /** @type {import("./event-rates.js").EventRates | null} */
  #answer = null;
  /** @type {number | null} the index of the cell under the cursor */
  #cursor = null;
  /** @type {Map<string | null, {item: HTMLElement, value: HTMLElement}>} of the legend */
  #items = new Map();
  #ready = false;

  constructor() {
    this.#chart = new Chart(byId("plot"), {
      height: 240,
      axes: AXES,
      label: "Events per second by type",
      describe: (index) => this.#describe(index),
      describeSpan: (from, to) => this.#describeSpan(from, to),
      onCursor: (index) => this.#pointAt(index),
      onZoom: (zoom) => this.#zoomed(zoom),
    });
    this.#poll = new Poll({
      load: (signal) => eventRates(drawnRange(), signal),
      show: (answer) => this.#show(answer),
      fail: (error) => note(explain(error)),
      pauseMs: 5000,
    });
    byId("zoom-out").addEventListener("click", () => this.#chart.zoomOut());
  }

  /** Begin; without uPlot only a sentence is shown. */
  async start() {
    if (!(await this.#chart.ready())) {
      note(MISSING);
      return;
    }
    this.#ready = true;
    this.ask();
  }

  /** Ask for the time range that is chosen now. */
  ask() {
    if (!this.#ready) return;
    this.#chart.zoomOut();
    const names = new Map([["24h", "last 24 hours"], ["custom", "custom time range"]]);
    setText(byId("timeline-range"), names.get(view().window) ?? "last hour");
    this.#poll.ask();
  }

  /**
   * Ask again: something was counted, or a while has passed.
   *
   * @param {boolean} [atOnce]
   */
  nudge(atOnce) {
    if (this.#ready) this.#poll.nudge(atOnce);
  }

  /** @param {import("./event-rates.js").EventRates} answer */
  #show(answer) {
    this.#answer = answer;
    note(answer.times.length ? "" : "No events in this time: nothing to draw.");
    if (view().window === "custom" && answer.to) setText(byId("timeline-range"), span(answer.from, answer.to));
    this.#color(answer.rows.map((row) => row.name));
    this.#legend(answer);
    this.#draw();
  }

  /**
   * Give each type a colour, which it keeps for as long as it is among the most frequent.
   *
   * @param {(string | null)[]} names
   */
  #color(names) {
    for (const name of this.#colors.keys()) if (!names.includes(name)) this.#colors.delete(name);
    const taken = new Set(this.#colors.values());
    const free = COLORS.filter((color) => !taken.has(color));
    for (const name of names) {
      if (!this.#colors.has(name)) this.#colors.set(name, (name === null ? null : free.shift()) ?? OTHERS_COLOR);
    }
  }

  #draw() {
    if (!this.#answer) return;
    const { times, rows } = this.#answer;
    const drawn = rows.filter((row) => !this.#hidden.has(row.name));
    this.#chart.set({ times, rows: drawn.map(({ name, values }) => ({ color: this.#colors.get(name) ?? OTHERS_COLOR, values })) });
  }

  // The legend.

  /** @param {import("./event-rates.js").EventRates} answer */
  #legend({ rows }) {
    const items = new Map(rows.map(({ name }) => [name, this.#items.get(name) ?? this.#legendItem(name)]));
    for (const [name, { item }] of this.#items) if (!items.has(name)) item.remove();
    this.#items = items;
    arrange(byId("legend"), [...items.values()].map(({ item }) => item));
    this.#values();
  }

  /** @param {string | null} name */
  #legendItem(name) {
    const label = make("bdi", { className: "given" });
    if (name === null) label.textContent = OTHERS;
    else setName(label, name);
    const value = make("span", { className: "number" });
    const swatch = make("span", { className: "swatch" });
    swatch.style.setProperty("--color", `var(${this.#colors.get(name)})`);
    const button = make("button", { type: "button" }, swatch, label, value);
    button.setAttribute("aria-pressed", String(!this.#hidden.has(name)));
    button.addEventListener("click", () => {
      if (!this.#hidden.delete(name)) this.#hidden.add(name);
      button.setAttribute("aria-pressed", String(!this.#hidden.has(name)));
      this.#draw();
    });
    return { item: make("li", {}, button), value };
  }

  /** Fill in the legend's numbers: of the moment under the cursor, else of the newest. */
  #values() {
    if (!this.#answer) return;
    const { times, rows } = this.#answer;
    const at = Math.min(this.#cursor ?? times.length - 1, times.length - 1);
    for (const { name, values } of rows) {
      const item = this.#items.get(name);
      if (item) setText(item.value, `${rate(values[at] ?? 0)}/s`);
    }
    setText(byId("timeline-at"), this.#cursor === null || !times.length ? "" : moment(times[at]));
  }

  // What the chart says and asks.

  /**
   * Return what is under the keyboard's cursor, to be heard.
   *
   * @param {number} index
   */
  #describe(index) {
    if (!this.#answer) return "";
    const { times, rows } = this.#answer;
    const ranked = rows.map(({ name, values }) => ({ name: name === null ? OTHERS : visible(name), value: values[index] }))
      .sort((one, other) => other.value - one.value);
    const total = ranked.reduce((sum, { value }) => sum + value, 0);
    const most = ranked.slice(0, MOST_SAID).filter(({ value }) => value > 0);
    return `${moment(times[index])}: ${[`${rate(total)} a second`, ...most.map(({ name, value }) => `${name} ${rate(value)}`)].join(", ")}`;
  }

  /**
   * @param {number} from
   * @param {number} to
   */
  #describeSpan(from, to) {
    if (!this.#answer) return "";
    const { times, rows } = this.#answer;
    const within = times.map((at, index) => (at >= from && at <= to ? index : -1)).filter((index) => index >= 0);
    const sum = rows.reduce((most, { values }) => most + within.reduce((added, index) => added + values[index], 0), 0);
    return `${span(from, to)}: ${rate(sum / within.length)} a second`;
  }

  /** @param {number | null} index */
  #pointAt(index) {
    this.#cursor = index;
    this.#values();
  }

  /** @param {import("./plot.js").Span | null} zoom */
  #zoomed(zoom) {
    byId("zoom-out").hidden = byId("zoom-use").hidden = zoom === null;
    if (!zoom) return;
    byId("zoom-use").onclick = () => {
      const [from, to] = [zoom.from, zoom.to].map((at) => utc(new Date(Math.round(at) * 1000)));
      change({ window: "custom", from, to, ...FIRST_PAGES });
    };
  }
}

/** @param {string} text */
function note(text) {
  const element = byId("plot-note");
  setText(element, text);
  element.hidden = !text;
}

/** Return the time range to draw: the chosen one, but never less than an hour, nor all time. */
function drawnRange() {
  const { window } = view();
  return window === "24h" || window === "custom" ? timeRange() : { window: "1h" };
}
