// A ranked list, of types or of words: a page of it at a time, its rows updated in place.

import { download, explain, getJson } from "./api.js";
import { byId, make, setName, setText } from "./dom.js";
import { growth, percent, signed, span, whole } from "./format.js";
import { Poll } from "./poll.js";
import { change, timeRange, view } from "./view.js";
import { widened } from "./widened.js";

/** Rows on a page: as much as is read at a time. However many names there are, the page stays this small. */
const PAGE = 25;

/** Lines of an export at the most; the api's own limit. */
const MOST_EXPORTED = 10_000;

const TITLES = { types: "Event types", words: "Words" };

/** Which order a click on a column's head gives: first its natural one, then the reverse. */
const ORDERS = { name: ["name", "-name"], count: ["-count", "count"], change: ["-change", "change"] };

export class Ranking {
  #kind;
  #section;
  #poll;
  #rows = new Map();
  #totals = null;
  #empty = false;
  #samples = make("button", { type: "button", className: "link", textContent: "show samples" });

  /** `kind` is types or words, and the id of the section to fill; `onSamples()` shows rejected lines. */
  constructor(kind, { onSamples }) {
    this.#kind = kind;
    this.#samples.addEventListener("click", onSamples);
    this.#section = byId(kind);
    this.#section.append(byId("list-template").content.cloneNode(true));
    const title = this.#part("h2");
    title.id = `${kind}-title`;
    title.textContent = TITLES[kind];
    this.#poll = new Poll({
      load: (signal) => getJson(`v1/${kind}`, { ...this.#question(), limit: PAGE, offset: this.#offset }, signal),
      show: (answer) => this.#show(answer),
      fail: (error) => this.#fail(error),
      pauseMs: 1000,
    });
    this.#listen();
  }

  /** The question has changed. */
  ask() {
    this.#section.classList.toggle("compared", this.#compared);
    this.#section.classList.toggle("ranked", this.#ranked);
    this.#heads();
    this.#section.setAttribute("aria-busy", "true");
    this.#poll.ask();
  }

  /** How much was counted of all time: says why a list may be empty. */
  totals(totals) {
    const before = this.#why;
    this.#totals = totals;
    // Said when it becomes so, not with every line: a screen reader would read each.
    if (this.#empty && before !== this.#why) this.#noteEmpty();
  }

  /** Something was counted, or a while has passed. */
  nudge(atOnce) {
    this.#poll.nudge(atOnce);
  }

  #part(selector) {
    return this.#section.querySelector(selector);
  }

  get #offset() {
    return Number(view()[`${this.#kind}_offset`]);
  }

  get #compared() {
    return view().window !== "all";
  }

  /** Whether the rows’ numbers are ranks: places among all names. */
  get #ranked() {
    return this.#order === "-count" && !view().q;
  }

  get #order() {
    const order = view()[`${this.#kind}_order`];
    return order.endsWith("change") && !this.#compared ? "-count" : order;
  }

  #question() {
    const question = { ...timeRange(), order: this.#order };
    if (view().q) question.q = view().q;
    if (this.#compared) question.compare = "previous";
    return question;
  }

  #listen() {
    const turn = (by) => change({ [`${this.#kind}_offset`]: String(Math.max(0, this.#offset + by)) });
    this.#part(".before").addEventListener("click", () => turn(-PAGE));
    this.#part(".after").addEventListener("click", () => turn(PAGE));
    this.#part(".export").addEventListener("click", () => this.#export());
    for (const button of this.#section.querySelectorAll("thead button")) {
      button.addEventListener("click", () => {
        const [first, second] = ORDERS[button.value];
        change({ [`${this.#kind}_order`]: this.#order === first ? second : first, [`${this.#kind}_offset`]: "0" });
      });
    }
    // One listener for all rows, whose names come and go.
    this.#part("tbody").addEventListener("click", (event) => {
      const row = event.target.closest("button")?.closest("tr");
      if (row) change(this.#kind === "types" ? { type: row.given, word: null } : { word: row.given, type: null });
    });
  }

  async #export() {
    const question = { ...this.#question(), limit: MOST_EXPORTED, format: "csv" };
    try {
      await download(`v1/${this.#kind}`, question, `tally-${this.#kind}.csv`);
    } catch (error) {
      this.#note(explain(error));
    }
  }

  #heads() {
    for (const button of this.#section.querySelectorAll("thead button")) {
      const column = button.closest("th");
      if (this.#order.replace("-", "") !== button.value) column.removeAttribute("aria-sort");
      else column.setAttribute("aria-sort", this.#order.startsWith("-") ? "descending" : "ascending");
    }
  }

  #note(text) {
    const note = this.#part(".note");
    setText(note, text);
    note.hidden = !text;
  }

  #fail(error) {
    this.#section.removeAttribute("aria-busy");
    this.#section.classList.add("stale");
    this.#note(this.#rows.size ? `Not up to date: ${explain(error)}` : explain(error));
  }

  #show(answer) {
    this.#section.removeAttribute("aria-busy");
    this.#section.classList.remove("stale");
    if (this.#offset >= answer.matched && this.#offset > 0) {
      // The list has become shorter than the page that was looked at.
      change({ [`${this.#kind}_offset`]: String(Math.max(0, Math.ceil(answer.matched / PAGE) - 1) * PAGE) });
      return;
    }
    this.#empty = !answer.items.length;
    if (this.#empty) this.#noteEmpty();
    else this.#note("");
    this.#summary(answer);
    this.#update(answer.items, answer.comparison);
    const compared = answer.comparison;
    this.#part("th.change").title = compared
      ? `${span(compared.present.from, compared.present.to)} against ${span(compared.previous.from, compared.previous.to)}`
      : "";
    this.#turning(answer);
  }

  get #rejectedAll() {
    return this.#totals?.events === 0 && this.#totals.rejected > 0;
  }

  /** Why the list is empty; nothing where every line was rejected. */
  get #why() {
    return this.#rejectedAll ? "" : this.#nothing();
  }

  #noteEmpty() {
    if (!this.#rejectedAll) {
      this.#note(this.#why);
      return;
    }
    const lines = this.#totals.rejected;
    const text = lines === 1 ? "1 line was rejected: " : `${whole(lines)} lines were rejected: `;
    const note = this.#part(".note");
    if (note.contains(this.#samples)) note.firstChild.data = text; // moved, the button would lose the focus
    else note.replaceChildren(text, this.#samples);
    note.hidden = false;
  }

  #nothing() {
    if (view().q) return "No name contains this.";
    if (view().window !== "all") return "Nothing in this time range. An event belongs to the time that it carries: see All.";
    if (!this.#totals?.events) return "Nothing was counted yet.";
    // The totals come by themselves, and may be newer than the list.
    return this.#kind === "words" && !this.#totals.words ? "No words in what was counted." : "Not up to date yet.";
  }

  #summary(answer) {
    const parts = [`${whole(answer.distinct)} distinct`, `${whole(answer.total)} in all`];
    if (answer.from !== null) parts.unshift(span(answer.from, answer.to));
    if (view().q) parts.push(`${whole(answer.matched)} found`);
    if (answer.other) parts.push(`${whole(answer.other)} over the limit of names`);
    setText(this.#part(".summary"), parts.join(" · "));
    const wider = widened(answer);
    setText(this.#part(".widened"), wider);
    this.#part(".widened").hidden = !wider;
  }

  #turning({ matched, items }) {
    const first = this.#offset;
    setText(this.#part(".position"), items.length ? `${whole(first + 1)}–${whole(first + items.length)} of ${whole(matched)}` : "");
    this.#part(".before").disabled = first === 0;
    this.#part(".after").disabled = first + items.length >= matched;
    const exported = matched > MOST_EXPORTED ? `CSV, the first ${whole(MOST_EXPORTED)}` : "CSV";
    setText(this.#part(".export"), exported);
    this.#part(".export").setAttribute("aria-label", `${TITLES[this.#kind]} as ${exported}`);
  }

  /** Rows belong to names, and move with them: whoever has the focus on a name keeps it. */
  #update(items, comparison) {
    const focused = document.activeElement;
    const body = this.#part("tbody");
    const rows = new Map(items.map(({ name }) => [name, this.#rows.get(name) ?? makeRow(name)]));
    for (const [name, row] of this.#rows) if (!rows.has(name)) row.remove();
    this.#rows = rows;
    const most = items.reduce((found, item) => Math.max(found, item.count), 1);
    this.#part("table").style.setProperty("--count-digits", room(whole(most)));
    items.forEach((item, at) => {
      const row = rows.get(item.name);
      if (body.children[at] !== row) body.insertBefore(row, body.children[at] ?? null);
      // Where nothing at all was before, that everything is new says nothing.
      fillRow(row, item, { rank: this.#offset + at + 1, bar: item.count / most, alone: comparison?.previous.total === 0 });
    });
    if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
  }
}

/** How many digits wide a number is: what stands between them is half as wide at the most. */
function room(text) {
  const digits = text.match(/\p{Nd}/gu).length;
  return digits + (text.length - digits) / 2;
}

function makeRow(name) {
  const given = make("bdi", { className: "given" });
  setName(given, name);
  const row = make("tr", {},
    make("td", { className: "rank" }),
    make("th", { className: "name", scope: "row" }, make("button", { type: "button" }, given)),
    make("td", { className: "count" }),
    make("td", { className: "share" }),
    make("td", { className: "change" }));
  row.given = name;
  return row;
}

function fillRow(row, item, { rank, bar, alone }) {
  const [rankCell, nameCell, countCell, shareCell, changeCell] = row.children;
  setText(rankCell, whole(rank));
  nameCell.style.setProperty("--bar-length", bar.toFixed(4));
  setText(countCell, whole(item.count));
  setText(shareCell, percent(item.share));
  const known = Number.isInteger(item.change) && !alone;
  setText(changeCell, known ? growth(item.change, item.previous) : "–");
  changeCell.title = known ? `${signed(item.change)}: ${whole(item.present)}, before: ${whole(item.previous)}` : "";
  changeCell.dataset.sign = known ? Math.sign(item.change) : 0;
}
