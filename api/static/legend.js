// The legend of the timeline: which colour is which name, and how much of it there was. A click on a name filters; buttons of
// their own take a series out of the chart, and show its details.

import { arrange, byId, detailsButton, make, setName, setText } from "./dom.js";
import { visible } from "./format.js";
import { isFilter, open, toggleFilter } from "./view.js";

export const OTHERS = "all others";

/**
 * @typedef {object} Entry
 * @property {string} id
 * @property {Api.Kind} kind
 * @property {string | null} name null: all others
 * @property {string} color
 * @property {boolean} besides whether it is drawn besides, as a line
 * @property {boolean} hidden whether it is taken out
 * @property {string} value
 *
 * @typedef {{element: HTMLElement, show: (entry: Entry) => void}} Item
 */

export class Legend {
  #onHide;
  /** @type {Map<string, Item>} */
  #items = new Map();

  /** @param {{onHide: (entry: Entry) => void}} listeners `onHide` is called to take a series out, or bring it back */
  constructor({ onHide }) {
    this.#onHide = onHide;
  }

  /** @param {Entry[]} entries */
  show(entries) {
    const items = new Map(entries.map((entry) => [entry.id, this.#items.get(entry.id) ?? this.#item(entry)]));
    for (const [id, { element }] of this.#items) if (!items.has(id)) element.remove();
    this.#items = items;
    arrange(byId("legend"), [...items.values()].map(({ element }) => element));
    for (const entry of entries) items.get(entry.id)?.show(entry);
  }

  /**
   * @param {Entry} entry
   * @returns {Item}
   */
  #item({ kind, name, besides }) {
    const text = name === null ? OTHERS : visible(name);
    const value = make("span", { className: "number" });
    const swatch = make("span", { className: "swatch" });
    const hide = make("button", { type: "button", className: "hide" }, swatch);
    hide.setAttribute("aria-label", besides ? `Draw ${text} no longer` : `Show ${text} in the chart`);
    hide.title = besides ? "No longer draw this" : "Show in the chart, or not";
    const element = make("li", { className: besides ? "besides" : "" }, hide, ...this.#name(kind, name, value));
    /** @type {Entry | null} */
    let shown = null;
    hide.addEventListener("click", () => shown && this.#onHide(shown));
    return {
      element,
      show: (entry) => {
        shown = entry;
        element.style.setProperty("--color", `var(${entry.color})`);
        hide.setAttribute("aria-pressed", String(!entry.hidden));
        if (name !== null) element.querySelector(".choose")?.setAttribute("aria-pressed", String(isFilter(kind, name)));
        setText(value, entry.value);
      },
    };
  }

  /**
   * @param {Api.Kind} kind
   * @param {string | null} name
   * @param {HTMLElement} value
   */
  #name(kind, name, value) {
    const label = make("bdi", { className: "given" });
    if (name === null) return [make("span", { className: "choose" }, Object.assign(label, { textContent: OTHERS }), value)];
    setName(label, name);
    const choose = make("button", { type: "button", className: "choose" }, label, value);
    choose.addEventListener("click", () => toggleFilter(kind, name));
    const details = detailsButton(name);
    details.addEventListener("click", () => open(kind, name));
    return [choose, details];
  }
}
