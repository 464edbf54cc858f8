// The chart of events per second by type: the most frequent types by name, all others together.

import { explain, getJson } from "./api.js";
import { Chart, MISSING, drawable } from "./chart.js";
import { byId, make, setName, setText } from "./dom.js";
import { day, minute, moment, rate, short, span, visible } from "./format.js";
import { Poll } from "./poll.js";
import { change, timeRange, view } from "./view.js";

const MOST_TYPES = 6;
const OTHERS = "all others";
const OTHERS_COLOR = "--series-other";

/** Types that are read aloud for a moment; the legend has all. */
const MOST_SAID = 3;

/** The newest cell has only begun: in its first seconds it says too little to be drawn. */
const LEAST_SECONDS = 5;

/** The chart is never narrower than that. */
const LEAST_CELLS = 10;

const DAY = 86400;

/** The labels of the axes, which the chart of a single name has too. */
export const AXES = {
  time: (at, step) => (step >= DAY ? day(at) : minute(at)),
  value: (value) => short(value),
};

export class Timeline {
  #chart;
  #poll;
  #colors = new Map();
  #hidden = new Set();
  #answer = null;
  #cursor = null;
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
      load: (signal) => load(signal),
      show: (answer) => this.#show(answer),
      fail: (error) => note(explain(error)),
      pauseMs: 5000,
    });
    byId("zoom-out").addEventListener("click", () => this.#chart.zoomOut());
  }

  /** Begin; without uPlot only a word is shown. */
  async start() {
    if (!(await this.#chart.ready())) {
      note(MISSING);
      return;
    }
    this.#ready = true;
    this.ask();
  }

  /** The time range has changed. */
  ask() {
    if (!this.#ready) return;
    this.#chart.zoomOut();
    setText(byId("timeline-range"), { "24h": "last 24 hours", custom: "custom time range" }[view().window] ?? "last hour");
    this.#poll.ask();
  }

  /** Something was counted, or a while has passed. */
  nudge(atOnce) {
    if (this.#ready) this.#poll.nudge(atOnce);
  }

  #show(answer) {
    this.#answer = answer;
    note(answer.times.length ? "" : "No events in this time: nothing to draw.");
    if (view().window === "custom" && answer.to) setText(byId("timeline-range"), span(answer.from, answer.to));
    this.#color(answer.rows.map((row) => row.name));
    this.#legend();
    this.#draw();
  }

  /** A type keeps its colour for as long as it is among the most frequent. */
  #color(names) {
    for (const name of this.#colors.keys()) if (!names.includes(name)) this.#colors.delete(name);
    const taken = new Set(this.#colors.values());
    const free = Array.from({ length: MOST_TYPES }, (_, at) => `--series-${at + 1}`).filter((each) => !taken.has(each));
    for (const name of names) if (!this.#colors.has(name)) this.#colors.set(name, name === null ? OTHERS_COLOR : free.shift());
  }

  #draw() {
    const { times, rows } = this.#answer;
    const drawn = rows.filter((row) => !this.#hidden.has(row.name));
    this.#chart.set({ times, rows: drawn.map((row) => ({ color: this.#colors.get(row.name), values: row.values })) });
  }

  #legend() {
    const rows = this.#answer.rows;
    for (const [name, { item }] of this.#items) {
      if (!rows.some((row) => row.name === name)) {
        item.remove();
        this.#items.delete(name);
      }
    }
    for (const { name } of rows) if (!this.#items.has(name)) this.#items.set(name, this.#legendItem(name));
    const list = byId("legend");
    rows.forEach(({ name }, at) => {
      const { item } = this.#items.get(name);
      if (list.children[at] !== item) list.insertBefore(item, list.children[at] ?? null);
    });
    this.#values();
  }

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

  /** The legend's numbers: of the moment under the cursor, else of the newest. */
  #values() {
    const { times, rows } = this.#answer;
    const at = Math.min(this.#cursor ?? times.length - 1, times.length - 1);
    for (const { name, values } of rows) setText(this.#items.get(name).value, `${rate(values[at] ?? 0)}/s`);
    setText(byId("timeline-at"), this.#cursor === null || !times.length ? "" : moment(times[at]));
  }

  /** What is under the keyboard's cursor, to be heard. */
  #describe(index) {
    const { times, rows } = this.#answer;
    const ranked = rows.map(({ name, values }) => ({ name: name === null ? OTHERS : visible(name), value: values[index] }))
      .sort((one, other) => other.value - one.value);
    const total = ranked.reduce((sum, { value }) => sum + value, 0);
    const most = ranked.slice(0, MOST_SAID).filter(({ value }) => value > 0);
    return `${moment(times[index])}: ${[`${rate(total)} a second`, ...most.map(({ name, value }) => `${name} ${rate(value)}`)].join(", ")}`;
  }

  #describeSpan(from, to) {
    const { times, rows } = this.#answer;
    const within = times.map((at, index) => (at >= from && at <= to ? index : -1)).filter((index) => index >= 0);
    const sum = rows.reduce((most, { values }) => most + within.reduce((added, index) => added + values[index], 0), 0);
    return `${span(from, to)}: ${rate(sum / within.length)} a second`;
  }

  #pointAt(index) {
    this.#cursor = index;
    if (this.#answer) this.#values();
  }

  #zoomed(zoom) {
    byId("zoom-out").hidden = byId("zoom-use").hidden = zoom === null;
    if (!zoom) return;
    byId("zoom-use").onclick = () => {
      const [from, to] = [zoom.from, zoom.to].map((at) => `${new Date(Math.round(at) * 1000).toISOString().slice(0, 19)}Z`);
      change({ window: "custom", from, to, types_offset: "0", words_offset: "0" });
    };
  }
}

function note(text) {
  const element = byId("plot-note");
  setText(element, text);
  element.hidden = !text;
}

/** {from, to, times, rows: [{name, values}]}: events per second, the most frequent type first; name null is all others. */
async function load(signal) {
  const { window } = view();
  const asked = window === "24h" || window === "custom" ? timeRange() : { window: "1h" };
  const top = await getJson("v1/types", { ...asked, limit: MOST_TYPES }, signal);
  const names = top.items.map((item) => item.name);
  if (!names.length) return { times: [], rows: [] };
  const [all, named] = await Promise.all([
    getJson("v1/types:series", asked, signal),
    getJson("v1/types:series", { name: names, ...asked }, signal),
  ]);
  // The two may have been made on either side of a full minute: only what both have.
  const times = all.starts_at.filter((at) => at >= named.from && at < named.to);
  const seconds = times.map((at) => Math.min(all.step_seconds, all.as_of - at));
  const kept = seconds.filter((each) => each >= LEAST_SECONDS).length;
  const shared = (series, answer) => series.counts.slice(answer.starts_at.indexOf(times[0])).slice(0, kept);
  // Whoever has just begun sees the first minutes, not an hour of nothing.
  const begun = shared(all.series[0], all).findIndex(Boolean);
  const first = Math.max(0, Math.min(begun - 1, kept - LEAST_CELLS));
  const counts = (series, answer) => shared(series, answer).slice(first);
  const total = counts(all.series[0], all);
  const rows = named.series.map((series) => ({ name: series.name, counts: counts(series, named) }));
  const others = total.map((count, at) => Math.max(0, count - rows.reduce((sum, row) => sum + row.counts[at], 0)));
  if (top.matched > names.length) rows.push({ name: null, counts: others });
  const rates = rows.map(({ name, counts }) => ({ name, values: counts.map((count, at) => count / seconds[first + at]) }));
  return { from: all.from, to: all.to, ...drawable({ times: times.slice(first, kept), rows: rates }, all.step_seconds) };
}
