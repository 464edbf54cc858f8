// The rows of a ranked list, updated in place.

import { drawButton } from "./besides.js";
import { arrange, detailsButton, make, nameElement, part, setText } from "./dom.js";
import { growth, percent, signed, whole } from "./format.js";
import { isHeld, onRelease } from "./held.js";

/**
 * @typedef {object} Context
 * @property {number} firstRank of the first item
 * @property {boolean} comparable whether changes mean something
 *
 * @typedef {{item: Api.RankedName, rank: number | null}} Placed a row's item; no rank if the list has it no longer
 */

/**
 * Rows belong to names, and move with them: a name that has the focus keeps it. While the list is held they keep their order, with
 * counts as they become; who left stays, and who is new waits.
 */
export class Rows {
  #table;
  #kind;
  #isChosen;
  /** @type {Map<string, HTMLTableRowElement>} */
  #rows = new Map();
  /** @type {Placed[]} what is shown */
  #shown = [];
  #anew = true; // what comes next is another list
  /** @type {() => void} shows what waits until the list is no longer held */
  #catchUp = () => {};

  /**
   * @param {HTMLElement} table has an empty body
   * @param {object} names
   * @param {Api.Kind} names.kind
   * @param {(name: string) => boolean} names.isChosen returns whether a name is a filter
   * @param {(name: string) => void} names.onChoose is called with a name that is clicked
   * @param {(name: string) => void} names.onOpen is called with a name whose details are asked for
   */
  constructor(table, { kind, isChosen, onChoose, onOpen }) {
    this.#table = table;
    this.#kind = kind;
    this.#isChosen = isChosen;
    // One listener for all rows, whose names come and go.
    this.#body.addEventListener("click", ({ target }) => {
      const button = target instanceof Element ? target.closest("button") : null;
      for (const [name, row] of this.#rows) {
        if (row !== button?.closest("tr")) continue;
        if (button.matches(".details")) onOpen(name);
        else if (!button.matches(".draw")) onChoose(name);
        return;
      }
    });
    onRelease(this.#body, () => this.#catchUp());
  }

  /** How many rows are shown. */
  get count() {
    return this.#rows.size;
  }

  /** Hold nothing of what is shown now: another list is to come. */
  renew() {
    this.#anew = true;
  }

  /**
   * @param {Api.RankedName[]} items
   * @param {Context} context
   */
  show(items, context) {
    const { firstRank, comparable } = context;
    const placed = items.map((item, at) => ({ item, rank: firstRank + at }));
    const held = !this.#anew && this.#shown.length && items.length && isHeld(this.#body);
    const kept = held ? inOrderOf(this.#shown, placed) : placed;
    this.#anew = false;
    const waits = kept.some(({ item }, at) => item.name !== placed[at]?.item.name) || kept.length !== placed.length;
    this.#catchUp = waits ? () => this.show(items, context) : () => {};
    this.#table.classList.toggle("held", waits);
    this.#draw(kept, comparable);
  }

  /**
   * @param {Placed[]} placed
   * @param {boolean} comparable
   */
  #draw(placed, comparable) {
    this.#shown = placed;
    const items = placed.map(({ item }) => item);
    const focused = document.activeElement;
    const rows = new Map(items.map(({ name }) => [name, this.#rows.get(name) ?? makeRow(this.#kind, name)]));
    for (const [name, row] of this.#rows) if (!rows.has(name)) row.remove();
    this.#rows = rows;
    const most = items.reduce((found, item) => Math.max(found, item.count), 1);
    this.#table.style.setProperty("--count-digits", String(room(whole(most))));
    arrange(this.#body, [...rows.values()]);
    [...rows.values()].forEach((row, at) => {
      fillRow(row, items[at], { rank: placed[at].rank, bar: items[at].count / most, comparable });
    });
    this.mark();
    if (focused !== document.activeElement && focused instanceof HTMLElement && focused.isConnected) {
      focused.focus({ preventScroll: true });
    }
  }

  /** Show which of the names are filters. */
  mark() {
    for (const [name, row] of this.#rows) part(row, ".name button").setAttribute("aria-pressed", String(this.#isChosen(name)));
  }

  get #body() {
    return part(this.#table, "tbody");
  }
}

/**
 * Return what is shown in the order in which it is shown, with the new counts of what the list still has.
 *
 * @param {Placed[]} shown
 * @param {Placed[]} placed
 * @returns {Placed[]}
 */
function inOrderOf(shown, placed) {
  const fresh = new Map(placed.map((each) => [each.item.name, each]));
  return shown.map(({ item }) => fresh.get(item.name) ?? { item, rank: null });
}

/**
 * Return how many digits wide a number is: what stands between them is half as wide at the most.
 *
 * @param {string} text
 */
function room(text) {
  const digits = text.match(/\p{Nd}/gu)?.length ?? 0;
  return digits + (text.length - digits) / 2;
}

/**
 * @param {Api.Kind} kind
 * @param {string} name
 */
function makeRow(kind, name) {
  return make("tr", {},
    make("td", { className: "rank" }),
    make("th", { className: "name", scope: "row" }, make("button", { type: "button" }, nameElement(name))),
    make("td", { className: "count" }),
    make("td", { className: "share" }),
    make("td", { className: "change" }),
    make("td", { className: "more" }, drawButton(kind, name), detailsButton(name)));
}

/**
 * @param {HTMLTableRowElement} row
 * @param {Api.RankedName} item
 * @param {{rank: number | null, bar: number, comparable: boolean}} context
 */
function fillRow(row, item, { rank, bar, comparable }) {
  const [rankCell, nameCell, countCell, shareCell, changeCell] = row.cells;
  setText(rankCell, rank === null ? "–" : whole(rank));
  nameCell.style.setProperty("--bar-length", bar.toFixed(4));
  setText(countCell, whole(item.count));
  setText(shareCell, percent(item.share));
  const change = comparable ? changeOf(item) : { text: "–", title: "" };
  setText(changeCell, change.text);
  changeCell.title = change.title;
}

/** @param {Api.RankedName} item */
function changeOf({ change, present, previous }) {
  if (typeof change !== "number" || typeof present !== "number" || typeof previous !== "number") {
    return { text: "–", title: "" };
  }
  return {
    text: growth(change, previous),
    title: `${signed(change)}: ${whole(present)}, before: ${whole(previous)}`,
  };
}
