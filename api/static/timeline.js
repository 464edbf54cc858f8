// The chart of what is counted a second: types stacked, the most frequent by name and all others together, or what is chosen;
// names that are drawn besides; and the time range before, as a dashed line.

import { explain } from "./api.js";
import { besides, draw } from "./besides.js";
import { Chart } from "./chart.js";
import { byId, make, setText } from "./dom.js";
import { timelineOf } from "./event-rates.js";
import { moment, rate, short, span, visible } from "./format.js";
import { Legend, OTHERS } from "./legend.js";
import { newest } from "./newest.js";
import { MISSING } from "./plot.js";
import { Poll } from "./poll.js";
import { ZOOM, chooseSpan, lengthOf, rangeName, wholeName } from "./range.js";
import { OTHERS_COLOR, colorsOf } from "./series-colors.js";
import { change, range, timeRange, view } from "./view.js";

/** Series that are read aloud for a moment; the legend has all. */
const MOST_SAID = 3;

const HEIGHT = 240;

/**
 * @typedef {import("./event-rates.js").Timeline} Answer
 * @typedef {import("./event-rates.js").Rates} Rates
 */

export class Timeline {
  #chart;
  #legend;
  /** @type {Poll<{answer: Answer | null, newest: number | null}>} */
  #poll;
  /** @type {Answer | null} */
  #answer = null;
  /** @type {Map<string, string>} */
  #colors = new Map();
  /** @type {number | null} the index of the cell under the cursor */
  #cursor = null;
  #ready = false;

  constructor() {
    this.#chart = new Chart(byId("plot"), {
      height: HEIGHT,
      label: "What is counted a second",
      describe: (index) => this.#describe(index),
      describeSpan: (from, to) => this.#describeSpan(from, to),
      onCursor: (index) => this.#pointAt(index),
      zoom: ZOOM,
    });
    this.#legend = new Legend({ onHide: (entry) => hide(entry) });
    this.#poll = new Poll({
      load: (signal) => load(signal),
      show: ({ answer, newest: last }) => this.#show(answer, last),
      fail: (error) => note(explain(error)),
      pauseMs: 5000,
    });
    byId("zoom-out").addEventListener("click", () => ZOOM.out());
    byId("previous").addEventListener("click", () => change({ previous: view().previous ? "" : "1" }));
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

  /** Ask for what the view says now. */
  ask() {
    if (!this.#ready) return;
    this.#head();
    this.#poll.ask();
  }

  /**
   * Follow a change of the view, its time range aside.
   *
   * @param {Set<string>} changed
   */
  follow(changed) {
    if (!this.#ready) return;
    if (["type", "word", "overlay", "previous"].some((name) => changed.has(name))) this.ask();
    else if (changed.has("hidden") || changed.has("others")) this.#draw();
  }

  /**
   * Ask again: something was counted, or a while has passed.
   *
   * @param {boolean} [atOnce]
   */
  nudge(atOnce) {
    if (this.#ready) this.#poll.nudge(atOnce);
  }

  /** Say what is drawn, and how to draw something else. */
  #head() {
    const { previous, type, word } = view();
    const answer = this.#answer;
    const wide = answer && range().window !== "all" ? "" : answer && `, ${span(answer.from, answer.to)}`;
    setText(byId("timeline-title"), word.length && (type.length || answer?.filtered === false) ? "By word" : "By type");
    setText(byId("timeline-range"), rangeName() ? `${rangeName()}${wide ?? ""}` : answer ? span(answer.from, answer.to) : "");
    byId("zoom-out").hidden = !ZOOM.zoomed();
    byId("zoom-out").title = `Show ${wholeName()} again`;
    byId("previous").hidden = range().window === "all";
    byId("previous").setAttribute("aria-pressed", String(previous === "1"));
  }

  /**
   * @param {Answer | null} answer
   * @param {number | null} last when the newest events are, where there are none
   */
  #show(answer, last) {
    this.#answer = answer;
    if (this.#cursor !== null && this.#cursor >= (answer?.times.length ?? 0)) this.#cursor = null; // until it moves again
    if (answer) note("");
    else noteEmpty(last);
    const stack = answer?.rows.filter(({ name }) => name !== null).map(id) ?? [];
    this.#colors = colorsOf(stack, answer?.besides.map(id).filter((each) => !stack.includes(each)));
    this.#head();
    this.#draw();
  }

  #draw() {
    const answer = this.#answer;
    this.#values();
    if (!answer) {
      this.#chart.set(null);
      return;
    }
    const rows = answer.rows.filter((row) => !isHidden(row));
    const lines = answer.besides.map((row) => ({ color: this.#color(row), values: row.values }));
    const previous = answer.shift ? [{ color: "--muted", dashed: true, values: answer.times.map((_, at) => before(rows, at)) }] : [];
    this.#chart.set({
      ...answer,
      rows: rows.map((row) => ({ color: this.#color(row), values: row.values })),
      lines: [...lines, ...previous],
    });
  }

  /** @param {Rates} row */
  #color(row) {
    return this.#colors.get(id(row)) ?? OTHERS_COLOR;
  }

  /** Fill in the legend, with the numbers of the moment under the cursor, else of the newest cell that is over. */
  #values() {
    const answer = this.#answer;
    const at = answer ? this.#cursor ?? lastOver(answer) : 0;
    /** @param {boolean} line */
    const entry = (line) => (/** @type {Rates} */ row) => ({
      ...row, id: `${id(row)}${line ? " besides" : ""}`, color: this.#color(row), besides: line, hidden: !line && isHidden(row), value: `${fine(row.values[at] ?? 0)}/s`,
    });
    this.#legend.show(answer ? [...answer.rows.map(entry(false)), ...answer.besides.map(entry(true))] : []);
    setText(byId("timeline-at"), answer && this.#cursor !== null ? cellName(answer, this.#cursor) : "");
  }

  // What the chart says and asks.

  /**
   * Return what is under the keyboard's cursor, to be heard.
   *
   * @param {number} index
   */
  #describe(index) {
    const answer = this.#answer;
    if (!answer) return "";
    const { rows, besides: lines, begun, times } = answer;
    /** @param {Rates[]} series */
    const said = (series) => series.map(({ name, values }) => ({ name: name === null ? OTHERS : visible(name), value: values[index] }))
      .sort((one, other) => other.value - one.value);
    const shown = rows.filter((row) => !isHidden(row));
    const most = said(shown).slice(0, MOST_SAID).filter(({ value }) => value > 0);
    const earlier = before(shown, index);
    const over = begun !== null && times[index] >= begun ? ", not over yet" : "";
    const texts = [`${fine(sum(shown.map(({ values }) => values[index])))} a second`, ...(earlier === null ? [] : [`${fine(earlier)} before`])];
    return `${cellName(answer, index)}${over}: ${[...texts, ...[...most, ...said(lines)].map(({ name, value }) => `${name} ${fine(value)}`)].join(", ")}`;
  }

  /**
   * @param {number} from
   * @param {number} to
   */
  #describeSpan(from, to) {
    if (!this.#answer) return "";
    const { times, rows } = this.#answer;
    const within = times.flatMap((at, index) => (at >= from && at < to ? [index] : []));
    const all = sum(rows.filter((row) => !isHidden(row)).flatMap(({ values }) => within.map((index) => values[index])));
    return `${span(from, to)}: ${fine(all / within.length)} a second`;
  }

  /** @param {number | null} index */
  #pointAt(index) {
    this.#cursor = index;
    this.#values();
  }
}

/** @param {AbortSignal} signal */
async function load(signal) {
  const chosen = view();
  const shift = chosen.previous ? lengthOf(Date.now() / 1000) ?? 0 : 0;
  const answer = await timelineOf({ range: timeRange(), shift, chosen, besides: besides() }, signal);
  return { answer, newest: answer ? null : await newest(chosen, signal) };
}

/**
 * Take a series out of the chart, or bring it back. What is drawn besides is not drawn then.
 *
 * @param {import("./legend.js").Entry} entry
 */
function hide({ kind, name, besides: line, hidden: was }) {
  if (name === null) change({ others: was ? "" : "hidden" });
  else if (line) draw(kind, name, false);
  else change({ hidden: was ? view().hidden.filter((each) => each !== name) : [...view().hidden, name] });
}

/**
 * Return a rate as text, with what makes small ones differ.
 *
 * @param {number} value
 */
function fine(value) {
  return value > 0 && value < 1 ? short(Number(value.toPrecision(2))) : rate(value);
}

/** @param {Rates} row */
function isHidden({ name }) {
  return name === null ? view().others === "hidden" : view().hidden.includes(name);
}

/** @param {Rates} row */
function id({ kind, name }) {
  return name === null ? "others" : `${kind}:${name}`;
}

/** @param {number[]} numbers */
function sum(numbers) {
  return numbers.reduce((added, number) => added + number, 0);
}

/**
 * Return how much there was of these so long before a cell; null where that is not known.
 *
 * @param {Rates[]} rows
 * @param {number} at
 */
function before(rows, at) {
  const known = rows.flatMap(({ previous }) => previous?.[at] ?? []);
  return known.length ? sum(known) : null;
}

/** @param {Answer} answer */
function lastOver({ times, begun }) {
  const last = begun === null ? -1 : times.indexOf(begun) - 1;
  return last >= 0 ? last : times.length - 1;
}

/**
 * @param {Answer} answer
 * @param {number} index
 */
function cellName({ times, step }, index) {
  return step > 60 ? span(times[index], times[index] + step) : moment(times[index]);
}

/** @param {number | null} last */
function noteEmpty(last) {
  if (last === null) {
    note("No events in this time: nothing to draw.");
    return;
  }
  const there = make("button", { type: "button", className: "link", textContent: "go there" });
  const length = lengthOf(Date.now() / 1000);
  there.addEventListener("click", () => chooseSpan(last - (length ?? 3600), last));
  note(`No events in ${rangeName() ? `the ${rangeName()}` : "this time"}: nothing to draw. The newest are of ${moment(last)}: `, there);
}

/**
 * @param {string} text
 * @param {HTMLElement} [button]
 */
function note(text, button) {
  const element = byId("plot-note");
  if (element.firstChild?.nodeValue !== text || Boolean(button) !== (element.children.length > 0)) element.replaceChildren(text, ...(button ? [button] : []));
  element.hidden = !text;
}
