// A ranked list, of types or of words: a page of it at a time.

import { Problem, download, explain, getJson } from "./api.js";
import { byId, make, part, parts, setText } from "./dom.js";
import { span, whole } from "./format.js";
import { Poll } from "./poll.js";
import { narrowedBy, narrowing, overLimit, rejectedLines, summary, whyEmpty } from "./ranking-notes.js";
import { Rows } from "./ranking-rows.js";
import { change, filters, isFilter, open, openSheet, range, timeRange, toggleFilter, view } from "./view.js";
import { widened } from "./widened.js";

/** Rows on a page: as much as is read at a time. However many names there are, the page stays this small. */
const PAGE = 25;

const TITLES = { types: "Event types", words: "Words" };

/** The parameters of the view that are a list's own. */
const PARAMETERS = Object.freeze({
  types: Object.freeze({ order: "types_order", offset: "types_offset" }),
  words: Object.freeze({ order: "words_order", offset: "words_offset" }),
});

/**
 * Which order a click on a column's head gives: first its natural one, then the reverse.
 *
 * @type {Record<string, [import("./view.js").Order, import("./view.js").Order]>}
 */
const ORDERS = { name: ["name", "-name"], count: ["-count", "count"], change: ["-change", "change"] };

export class Ranking {
  #kind;
  #onNarrowed;
  #parameters;
  #section;
  #rows;
  /** @type {Poll<Api.Ranking>} */
  #poll;
  /** @type {Api.Totals | null} */
  #totals = null;
  #empty = false;
  #samples = make("button", { type: "button", className: "link", textContent: "show samples" });

  /**
   * @param {Api.Kind} kind is the id of the section to fill, too
   * @param {{onNarrowed: (problem: string | null) => void}} listeners `onNarrowed` is called with why the list cannot follow
   *   the filters; with null when it does
   */
  constructor(kind, { onNarrowed }) {
    this.#onNarrowed = onNarrowed;
    this.#kind = kind;
    this.#parameters = PARAMETERS[kind];
    this.#samples.addEventListener("click", () => openSheet("rejected"));
    this.#section = byId(kind);
    this.#section.append(byId("list-template", HTMLTemplateElement).content.cloneNode(true));
    const title = this.#part("h2");
    title.id = `${kind}-title`;
    title.textContent = TITLES[kind];
    this.#part(".export").ariaLabel = `${TITLES[kind]} as CSV`;
    this.#rows = new Rows(this.#part("table"), {
      kind,
      isChosen: (name) => isFilter(kind, name),
      onChoose: (name) => toggleFilter(kind, name),
      onOpen: (name) => open(kind, name),
    });
    this.#poll = new Poll({
      load: (signal) => getJson(`v1/${kind}`, { ...this.#question(), limit: PAGE, offset: this.#offset }, signal),
      show: (answer) => this.#show(answer),
      fail: (error) => this.#fail(error),
      pauseMs: 1000,
    });
    this.#listen();
  }

  /** Ask for what the view says now. */
  ask() {
    this.#section.classList.toggle("compared", this.#compared);
    this.#section.classList.toggle("ranked", this.#ranked);
    this.#heads();
    this.#part(".narrowed").replaceChildren(...narrowing(this.#kind));
    this.#section.setAttribute("aria-busy", "true");
    this.#rows.renew();
    this.#poll.ask();
  }

  /**
   * Return whether the list depends on one of these parameters of the view, its time range aside.
   *
   * @param {Set<string>} changed
   */
  dependsOn(changed) {
    return ["q", narrowedBy(this.#kind), ...Object.values(this.#parameters)].some((name) => changed.has(name));
  }

  /** Show which names are filters now. */
  mark() {
    this.#rows.mark();
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
   * Take how much was counted of all time, which tells why a list may be empty.
   *
   * @param {Api.Totals} totals
   */
  totals(totals) {
    const before = this.#why;
    this.#totals = totals;
    // Said when it becomes so, not with every line: a screen reader would read each.
    if (this.#empty && before !== this.#why) this.#noteEmpty();
  }

  // What is asked for.

  get #offset() {
    return Number(view()[this.#parameters.offset]);
  }

  /**
   * @param {number} offset
   * @param {{replace?: boolean}} [how]
   */
  #turnTo(offset, how) {
    change({ [this.#parameters.offset]: String(Math.max(0, offset)) }, how);
  }

  get #compared() {
    return range().window !== "all";
  }

  /** Whether the rows’ numbers are ranks: places among all names. */
  get #ranked() {
    return this.#order === "-count" && !view().q;
  }

  get #order() {
    const order = view()[this.#parameters.order];
    return order.endsWith("change") && !this.#compared ? "-count" : order;
  }

  #question() {
    /** @type {Api.Parameters<"v1/types">} */
    const question = { ...timeRange(), ...filters(this.#kind), order: this.#order };
    if (view().q) question.q = view().q;
    if (this.#compared) question.compare = "previous";
    return question;
  }

  // What is clicked.

  #listen() {
    this.#part(".before").addEventListener("click", () => this.#turnTo(this.#offset - PAGE));
    this.#part(".after").addEventListener("click", () => this.#turnTo(this.#offset + PAGE));
    this.#part(".export").addEventListener("click", () => this.#export());
    for (const button of this.#sorting()) {
      button.addEventListener("click", () => {
        const [first, second] = ORDERS[button.value];
        change({ [this.#parameters.order]: this.#order === first ? second : first, [this.#parameters.offset]: "0" });
      });
    }
  }

  async #export() {
    const button = this.#part(".export");
    if (button.ariaBusy === "true") return;
    button.ariaBusy = "true"; // until it is there: a million names take some seconds
    try {
      await download(`v1/${this.#kind}`, { ...this.#question(), format: "csv" });
    } catch (error) {
      this.#note(explain(error));
    } finally {
      button.ariaBusy = null;
    }
  }

  // What is shown.

  /** @param {Api.Ranking} answer */
  #show(answer) {
    this.#section.removeAttribute("aria-busy");
    this.#section.classList.remove("stale");
    this.#onNarrowed(null);
    if (this.#offset >= answer.matched && this.#offset > 0) {
      // The list has become shorter than the page that was looked at.
      this.#turnTo((Math.ceil(answer.matched / PAGE) - 1) * PAGE, { replace: true });
      return;
    }
    this.#empty = !answer.items.length;
    if (this.#empty) this.#noteEmpty();
    else this.#note("");
    this.#summary(answer);
    const comparison = answer.comparison ?? null;
    // Where nothing at all was before, that everything is new says nothing.
    this.#rows.show(answer.items, { firstRank: this.#offset + 1, comparable: comparison?.previous.total !== 0 });
    this.#part("th.change").title = comparison
      ? `${span(comparison.present.from, comparison.present.to)} against ${span(comparison.previous.from, comparison.previous.to)}`
      : "";
    this.#turning(answer);
  }

  /** @param {unknown} error */
  #fail(error) {
    this.#section.removeAttribute("aria-busy");
    if (error instanceof Problem && error.lasting) {
      this.#cannot(error);
      return;
    }
    this.#section.classList.add("stale");
    this.#note(this.#rows.count ? `Not up to date: ${explain(error)}` : explain(error));
  }

  /**
   * Show that this question has no answer. What stood here answers another one.
   *
   * @param {Problem} problem
   */
  #cannot(problem) {
    const narrowed = problem.is("words-not-by-type");
    this.#onNarrowed(narrowed ? problem.detail : null);
    this.#empty = false;
    this.#rows.show([], { firstRank: 1, comparable: false });
    for (const part of [".summary", ".widened"]) setText(this.#part(part), "");
    this.#turning({ matched: 0, items: [] });
    this.#note(narrowed ? problem.message : explain(problem)); // the filters say more
  }

  #heads() {
    for (const button of this.#sorting()) {
      const column = button.closest("th");
      if (this.#order.replace("-", "") !== button.value) column?.removeAttribute("aria-sort");
      else column?.setAttribute("aria-sort", this.#order.startsWith("-") ? "descending" : "ascending");
    }
  }

  /** @param {Api.Ranking} answer */
  #summary(answer) {
    setText(this.#part(".summary"), summary(answer));
    this.#part(".summarized .tip").hidden = !overLimit(answer);
    setText(this.#part(".widened"), widened(answer));
  }

  /** @param {Pick<Api.Ranking, "matched" | "items">} answer */
  #turning({ matched, items }) {
    const first = this.#offset;
    setText(this.#part(".position"), items.length ? `${whole(first + 1)}–${whole(first + items.length)} of ${whole(matched)}` : "");
    this.#part(".before", HTMLButtonElement).disabled = first === 0;
    this.#part(".after", HTMLButtonElement).disabled = first + items.length >= matched;
  }

  /** @param {string} text */
  #note(text) {
    const note = this.#part(".note");
    setText(note, text);
    note.hidden = !text;
  }

  #noteEmpty() {
    if (!this.#allRejected) {
      this.#note(this.#why);
      return;
    }
    const text = rejectedLines(this.#totals?.rejected ?? 0);
    const note = this.#part(".note");
    // Moved, the button would lose the focus.
    if (note.contains(this.#samples) && note.firstChild instanceof Text) note.firstChild.data = text;
    else note.replaceChildren(text, this.#samples);
    note.hidden = false;
  }

  /** Why the list is empty; nothing where every line was rejected, for that has a button. */
  get #why() {
    return this.#allRejected ? "" : whyEmpty(this.#kind, this.#totals);
  }

  get #allRejected() {
    return this.#totals?.events === 0 && this.#totals.rejected > 0;
  }

  #sorting() {
    return parts(this.#section, "thead button", HTMLButtonElement);
  }

  /**
   * @template {Element} [T=HTMLElement]
   * @param {string} selector
   * @param {new () => T} [type]
   */
  #part(selector, type) {
    return part(this.#section, selector, type);
  }
}
