// The filters that are chosen, each with a button that takes it away, and what of them cannot be followed here.

import { announce } from "./announce.js";
import { byId, make, nameElement, part, parts, setText } from "./dom.js";
import { visible } from "./format.js";
import { change, onChange, unfilter, view } from "./view.js";

/** @type {Record<Api.Kind, string>} */
const CALLED = { types: "type", words: "word" };

/** @type {Api.Kind[]} */
const KINDS = ["types", "words"];

/** @typedef {{kind: Api.Kind, name: string}} Filter */

/** @type {Map<Api.Kind, string>} why the list of a kind cannot follow the filters */
const reasons = new Map();

/** Show the filters that the address has, and each change of them. */
export function start() {
  const toolbar = part(document, ".toolbar");
  // It is as high as its chips and forms make it, and what the focus comes to must not be behind it.
  new ResizeObserver(() => {
    document.documentElement.style.setProperty("--toolbar-height", `${toolbar.offsetHeight}px`);
  }).observe(toolbar);
  byId("clear-filters").addEventListener("click", () => {
    change({ type: [], word: [], types_offset: "0", words_offset: "0" });
    leaveFocus();
  });
  let before = filters();
  onChange((_, changed) => {
    if (!changed.has("type") && !changed.has("word")) return;
    const after = filters();
    announce(difference(before, after));
    before = after;
    show(after);
  });
  show(before);
}

/**
 * Say at the filters why a list cannot follow them; null where it does.
 *
 * @param {Api.Kind} kind
 * @param {string | null} reason
 */
export function cannotFollow(kind, reason) {
  if (reason) reasons.set(kind, reason);
  else reasons.delete(kind);
  const note = byId("filters-note");
  setText(note, [...new Set(reasons.values())].join(" "));
  note.hidden = !reasons.size;
}

/** @returns {Filter[]} */
function filters() {
  const { type, word } = view();
  return [...type.map((name) => of("types", name)), ...word.map((name) => of("words", name))];
}

/**
 * @param {Api.Kind} kind
 * @param {string} name
 * @returns {Filter}
 */
function of(kind, name) {
  return { kind, name };
}

/** @param {Filter[]} chosen */
function show(chosen) {
  for (const kind of KINDS) if (!chosen.some((each) => each.kind !== kind)) cannotFollow(kind, null);
  byId("filters").hidden = !chosen.length;
  byId("clear-filters").hidden = chosen.length < 2;
  byId("chips").replaceChildren(...chosen.map((each) => chip(each)));
}

/** @param {Filter} filter */
function chip({ kind, name }) {
  const remove = make("button", { type: "button", className: "remove", textContent: "×", title: "Remove this filter" });
  remove.setAttribute("aria-label", `Remove the filter ${CALLED[kind]} ${visible(name)}`);
  remove.addEventListener("click", () => {
    const at = buttons().indexOf(remove);
    unfilter(kind, name);
    const left = buttons();
    if (left.length) left[Math.min(at, left.length - 1)].focus({ preventScroll: true });
    else leaveFocus();
  });
  return make("li", {}, make("span", { className: "muted", textContent: CALLED[kind] }), nameElement(name), remove);
}

function buttons() {
  return parts(byId("chips"), "button", HTMLButtonElement);
}

/** The button that had the focus is gone: it goes to what comes next. */
function leaveFocus() {
  byId("lists").focus({ preventScroll: true });
}

/**
 * Return what is different, to be heard.
 *
 * @param {Filter[]} before
 * @param {Filter[]} after
 */
function difference(before, after) {
  const added = after.filter((each) => !has(before, each));
  const removed = before.filter((each) => !has(after, each));
  if (added.length === 1 && !removed.length) return `Filtered by ${called(added[0])}`;
  if (removed.length === 1 && !added.length && after.length) return `No longer filtered by ${called(removed[0])}`;
  return after.length ? `Filtered by ${after.map(called).join(", ")}` : "Not filtered";
}

/**
 * @param {Filter[]} filters
 * @param {Filter} filter
 */
function has(filters, { kind, name }) {
  return filters.some((each) => each.kind === kind && each.name === name);
}

/** @param {Filter} filter */
function called({ kind, name }) {
  return `${CALLED[kind]} ${visible(name)}`;
}
