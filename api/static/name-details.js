// One type or one word in full, for the sheet. It is asked for again as the lists are, and changed in place: what has the focus
// keeps it, and nothing moves but the numbers.

import { Problem, explain, getJson } from "./api.js";
import { drawButton } from "./besides.js";
import { arrange, make, nameElement, setName, setText } from "./dom.js";
import { allKept } from "./event-rates.js";
import { duration, moment, percent, span, whole } from "./format.js";
import { NameChart } from "./name-chart.js";
import { MISSING } from "./plot.js";
import { Poll } from "./poll.js";
import { filter, isFilter, open, range, timeRange, unfilter } from "./view.js";

/** What of all time is drawn at least, in seconds. */
const LEAST_DRAWN = 3600;

/** What was not counted for so long, in seconds, may be of a time after which nothing was: what is drawn ends with what is kept. */
const LONG_AGO = 86_400;

/** Names that come with this one, most frequent first. */
const MOST_RELATED = 10;

/** @type {Record<Api.Kind, {other: Api.Kind, related: string}>} what else is told of a kind */
const RELATED = {
  types: { other: "words", related: "Words of this type" },
  words: { other: "types", related: "Types with this word" },
};

const NOT_BY_TYPE = "Not known: words are not counted by type here (TALLY_WORDS_BY_TYPE).";

/** @typedef {{found: Api.OneName, related: Api.Ranking | string}} Answer in place of what is related a sentence says why not */

export class NameDetails {
  #kind;
  #name;
  #signal;
  /** @type {Poll<Answer>} */
  #poll;
  /** @type {number | null} where the series of all time begins */
  #first = null;
  /** @type {NameChart | null} */
  #chart = null;
  /** @type {string | null} why nothing is told of what comes with the name; it is not asked for again */
  #unknown = null;
  #asked = false; // whether words are counted by type
  #filter = make("button", { type: "button", className: "quiet" });
  #facts = make("dl", { className: "facts" });
  #note = make("p", { className: "muted", textContent: "Loading" });
  #plot = make("div", { className: "plot small", hidden: true });
  #problem = make("p", { className: "note", hidden: true });
  #relatedNote = make("p", { className: "muted" });
  #relatedList = make("ol", { className: "rises related" });
  /** @type {Map<string, HTMLLIElement>} */
  #related = new Map();

  /**
   * @param {HTMLElement} body which is on the page
   * @param {Api.Kind} kind
   * @param {string} name
   * @param {AbortSignal} signal aborts when it is shown no longer
   */
  constructor(body, kind, name, signal) {
    this.#kind = kind;
    this.#name = name;
    this.#signal = signal;
    const full = make("bdi", { className: "given whole" });
    setName(full, name);
    setText(this.#filter, isFilter(kind, name) ? "Remove this filter" : "Filter by this");
    this.#filter.addEventListener("click", () => (isFilter(kind, name) ? unfilter : filter)(kind, name));
    body.append(make("p", { className: "full-name" }, full), make("p", {}, this.#filter, " ", drawButton(kind, name, "Draw in the chart")), this.#problem, this.#facts, this.#note,
      this.#plot, make("h3", { textContent: RELATED[kind].related }), this.#relatedNote, this.#relatedList);
    this.#poll = new Poll({
      load: (asked) => this.#load(AbortSignal.any([asked, signal])),
      show: (answer) => this.#show(answer),
      fail: (error) => this.#fail(error),
      pauseMs: 1000,
    });
    this.#poll.ask();
  }

  /** Ask for what the view says now. */
  ask() {
    this.#poll.ask();
  }

  /**
   * Ask again: something was counted, or a while has passed.
   *
   * @param {boolean} [atOnce]
   */
  nudge(atOnce) {
    this.#poll.nudge(atOnce);
  }

  /**
   * @param {AbortSignal} signal
   * @returns {Promise<Answer>}
   */
  async #load(signal) {
    const [found, related] = await Promise.all([this.#find(signal), this.#findRelated(signal)]);
    return { found, related };
  }

  /** @param {AbortSignal} signal */
  async #find(signal) {
    /** @param {Api.TimeRange} asked */
    const ask = (asked) => getJson(`v1/${this.#kind}:lookup`, { name: this.#name, ...asked }, signal);
    const allTime = range().window === "all";
    if (allTime && this.#first !== null) return ask({ from: String(this.#first) });
    const found = await ask(timeRange());
    const first = found.first?.from;
    if (!allTime || first === undefined || first >= found.as_of - LEAST_DRAWN) return found;
    if ((found.last?.to ?? 0) < found.as_of - LONG_AGO) {
      const kept = await allKept(signal);
      return kept ? ask({ from: String(Math.min(first, Number(kept.to) - LEAST_DRAWN)), to: kept.to }) : found;
    }
    this.#first = first;
    return ask({ from: String(first) });
  }

  /**
   * @param {AbortSignal} signal
   * @returns {Promise<Answer["related"]>}
   */
  async #findRelated(signal) {
    if (!this.#asked && !(await getJson("v1/stats", undefined, signal)).words_by_type) this.#unknown = NOT_BY_TYPE;
    this.#asked = true;
    if (this.#unknown !== null) return this.#unknown;
    const asked = { ...timeRange(), limit: MOST_RELATED };
    try {
      return await (this.#kind === "types"
        ? getJson("v1/words", { ...asked, type: [this.#name] }, signal)
        : getJson("v1/types", { ...asked, word: [this.#name] }, signal));
    } catch (error) {
      if (!(error instanceof Problem && error.lasting)) throw error;
      this.#unknown = error.is("words-not-by-type") ? `Not known: ${error.detail}` : explain(error);
      return this.#unknown;
    }
  }

  /** @param {Answer} answer */
  #show({ found, related }) {
    if (this.#signal.aborted) return;
    this.#problem.hidden = true;
    const { step_seconds: step, from, to, total } = found.series;
    fill(this.#facts, facts(found, total));
    setText(this.#note, total
      ? `Counts in each ${duration(step)}, ${span(from, to)}`
      : `Not counted in ${span(from, to)}: there is nothing to draw.`);
    this.#plot.hidden = !total;
    if (total) this.#draw(found);
    this.#showRelated(related);
  }

  /** @param {unknown} error */
  #fail(error) {
    if (this.#signal.aborted) return;
    const first = this.#facts.childElementCount === 0;
    setText(this.#problem, first ? explain(error) : `Not up to date: ${explain(error)}`);
    this.#problem.hidden = false;
    if (first) setText(this.#note, "");
  }

  /** @param {Api.OneName} found */
  async #draw(found) {
    if (this.#chart) {
      this.#chart.show(found);
      return;
    }
    const chart = new NameChart(this.#plot, this.#kind, this.#name, this.#signal);
    this.#chart = chart;
    if (!(await chart.ready())) setText(this.#note, MISSING);
    else if (!this.#signal.aborted) chart.show(found);
  }

  /** @param {Answer["related"]} related */
  #showRelated(related) {
    const items = typeof related === "string" ? [] : related.items;
    setText(this.#relatedNote, typeof related === "string" ? related : none(items));
    const rows = new Map(items.map(({ name }) => [name, this.#related.get(name) ?? this.#relatedRow(name)]));
    for (const [name, row] of this.#related) if (!rows.has(name)) row.remove();
    this.#related = rows;
    arrange(this.#relatedList, [...rows.values()]);
    for (const { name, count, share } of items) {
      const [countCell, shareCell] = rows.get(name)?.querySelectorAll(".number") ?? [];
      setText(countCell, whole(count));
      setText(shareCell, percent(share));
    }
  }

  /** @param {string} name */
  #relatedRow(name) {
    const button = make("button", { type: "button" }, nameElement(name));
    button.addEventListener("click", () => open(RELATED[this.#kind].other, name));
    return make("li", {}, button, make("span", { className: "number" }), make("span", { className: "number muted" }));
  }
}

/**
 * Return the terms of a name, and what they say.
 *
 * @param {Api.OneName} found
 * @param {number} total what the series adds up to
 */
function facts({ count, share, rank, first, last }, total) {
  // The series may be read a moment later than the count.
  const entries = [["Count of all time", whole(Math.max(count, total))]];
  const narrowed = range().window !== "all";
  if (narrowed) entries.push(["Count in this time range", whole(total)]);
  const of = narrowed ? " of all time" : ""; // the lists have those of the time range
  entries.push(
    [`Share${of}`, percent(share)],
    [`Rank${of}`, rank === null ? "–" : whole(rank)],
    ["First seen", seen(first)],
    ["Last seen", seen(last)],
  );
  return entries;
}

/**
 * Fill a list of terms; only texts that differ are touched.
 *
 * @param {HTMLDListElement} list
 * @param {string[][]} entries
 */
function fill(list, entries) {
  const terms = [...list.querySelectorAll("dt")].map((term) => term.textContent);
  if (terms.join() !== entries.map(([term]) => term).join()) {
    list.replaceChildren(...entries.map(([term]) => make("div", {}, make("dt", { textContent: term }), make("dd"))));
  }
  list.querySelectorAll("dd").forEach((element, at) => setText(element, entries[at][1]));
}

/** @param {Api.OneName["first"]} window */
function seen(window) {
  if (!window) return "not in what is kept";
  // Windows of more than a minute are all that is kept of what is long ago.
  const seconds = window.to - window.from;
  return `${moment(window.from)}${seconds > 60 ? `, within ${duration(seconds)}` : ""}`;
}

/** @param {Api.RankedName[]} items */
function none(items) {
  return items.length ? "" : "None in this time range.";
}
