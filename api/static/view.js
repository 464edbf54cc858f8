// What is shown: the time range, the filters, the search, the order, the sheet, the zoom. It lives in the page's address, so
// that a view can be shared and that Back and Forward walk through it, and is changed nowhere but here.

import { MOST_NAMES, SECONDS, differences, read, write } from "./address.js";

/**
 * @typedef {import("./address.js").View} View
 * @typedef {import("./address.js").Order} Order
 * @typedef {import("./address.js").Sheet} Sheet
 * @typedef {Pick<View, "window" | "from" | "to">} Range
 */

/** What goes back to the beginning of both lists, whenever they list something else. */
export const FIRST_PAGES = Object.freeze({ types_offset: "0", words_offset: "0" });

/** The filter that a kind of names is for, which is its sheet's name too. */
const FILTERS = Object.freeze(/** @type {const} */ ({ types: "type", words: "word" }));

let { view: current, wrong } = read(location.search);

/** What of a view says which time range is shown. */
export const RANGE = Object.freeze(/** @type {const} */ (["window", "from", "to", "zoom_from", "zoom_to"]));

/** @type {((view: Readonly<View>, changed: Set<string>) => void)[]} */
const listeners = [];

addEventListener("popstate", () => {
  const found = read(location.search);
  wrong = found.wrong;
  become(found.view);
});

/**
 * Return the view.
 *
 * @returns {Readonly<View>}
 */
export function view() {
  return current;
}

/**
 * Return what the address says that cannot be, as it says it, such as "window=nonsense"; nothing where all of it can be.
 *
 * @returns {readonly string[]}
 */
export function impossible() {
  return wrong;
}

/**
 * Have this called with every new view, and with the names of the parameters that changed.
 *
 * @param {typeof listeners[number]} listener
 */
export function onChange(listener) {
  listeners.push(listener);
}

/**
 * Change some parameters of the view, and the page's address with them.
 *
 * @param {Partial<View>} parameters
 * @param {object} [how]
 * @param {boolean} [how.replace] leave no way back to the view before: nobody did anything, or somebody is still typing
 */
export function change(parameters, { replace = false } = {}) {
  const next = { ...current, ...parameters };
  if (!differences(current, next).length) return;
  wrong = []; // the address is of the page's own making from here on
  const address = write(next) || location.pathname;
  if (replace) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
  become(next);
}

/**
 * Show one type or one word in full.
 *
 * @param {Api.Kind} kind
 * @param {string} name
 */
export function open(kind, name) {
  change({ sheet: FILTERS[kind], name });
}

/**
 * Show another sheet than that of a name, or none.
 *
 * @param {Exclude<Sheet, "type" | "word"> | null} sheet
 */
export function openSheet(sheet) {
  change({ sheet, name: null });
}

/**
 * Narrow what is shown to a type or a word; to another one besides, if there is one already. The sheet makes room for that.
 * More than the api takes are not added.
 *
 * @param {Api.Kind} kind
 * @param {string} name
 */
export function filter(kind, name) {
  const there = current[FILTERS[kind]];
  if (there.length >= MOST_NAMES) return;
  const all = there.includes(name) ? there : [...there, name];
  change({ [FILTERS[kind]]: all, sheet: null, name: null, ...FIRST_PAGES });
}

/**
 * Take a filter away again.
 *
 * @param {Api.Kind} kind
 * @param {string} name
 */
export function unfilter(kind, name) {
  const left = current[FILTERS[kind]].filter((each) => each !== name);
  if (left.length < current[FILTERS[kind]].length) change({ [FILTERS[kind]]: left, ...FIRST_PAGES });
}

/**
 * Narrow what is shown to this, or no longer.
 *
 * @param {Api.Kind} kind
 * @param {string} name
 */
export function toggleFilter(kind, name) {
  if (isFilter(kind, name)) unfilter(kind, name);
  else filter(kind, name);
}

/**
 * Return whether a name is among the filters.
 *
 * @param {Api.Kind} kind
 * @param {string} name
 */
export function isFilter(kind, name) {
  return current[FILTERS[kind]].includes(name);
}

/**
 * Return what narrows a kind of names as parameters of the query API: types are those in which the chosen words stand, words
 * are those of the chosen types. Nothing where nothing narrows them.
 *
 * @param {Api.Kind} kind
 * @returns {{type?: string[], word?: string[]}}
 */
export function filters(kind) {
  const { type, word } = current;
  if (kind === "types") return word.length ? { word: [...word] } : {};
  return type.length ? { type: [...type] } : {};
}

/**
 * Return the time range that the whole page shows: the one that is chosen, or the part of it that the chart was zoomed in on.
 *
 * @returns {Range}
 */
export function range({ window, from, to, zoom_from: zoomFrom, zoom_to: zoomTo } = current) {
  return zoomFrom ? { window: "custom", from: zoomFrom, to: zoomTo } : { window, from, to };
}

/**
 * Return it as parameters of the query API; none for all time.
 *
 * @returns {Api.TimeRange}
 */
export function timeRange({ window, from, to } = range()) {
  if (window === "all") return {};
  if (window !== "custom") return { window };
  return to ? { from, to } : { from };
}

/**
 * Return the same in Unix seconds, as it is at the moment `now`; null for all time.
 *
 * @param {number} now
 */
export function moments(now, { window, from, to } = range()) {
  if (window === "all") return null;
  if (window !== "custom") return { from: now - SECONDS[window], to: now };
  return { from: Date.parse(from) / 1000, to: to ? Date.parse(to) / 1000 : now };
}

/**
 * Return the view as it is at the moment `now`, in Unix seconds: with moments in place of a time range that goes on with the
 * clock. All time stays all time.
 *
 * @param {number} now
 * @returns {View}
 */
export function fixed(now) {
  const found = moments(now);
  if (!found) return current;
  const [from, to] = [found.from, found.to].map((at) => utc(new Date(at * 1000)));
  return { ...current, window: "custom", from, to, zoom_from: "", zoom_to: "" };
}

/**
 * Return a moment as an address has it, to the second.
 *
 * @param {Date} date
 */
export function utc(date) {
  return `${date.toISOString().slice(0, 19)}Z`;
}

/** @param {Readonly<View>} next */
function become(next) {
  const changed = new Set(differences(current, next));
  current = next;
  for (const listener of listeners) listener(current, changed);
}
