// The page's address: which parameters it has, what each may be, and how a view is read from it and written into it.

/**
 * The parameters of the page's address. A name may be any text, the empty one too: null is none. A list of names is a
 * parameter that is given several times.
 *
 * @typedef {object} View
 * @property {keyof typeof SECONDS | "all" | "custom"} window the time range: a trailing window, all time, or from and to
 * @property {string} from
 * @property {string} to
 * @property {readonly string[]} type the types to which words and the chart are narrowed: a filter
 * @property {readonly string[]} word the words to which types are narrowed: a filter
 * @property {string} q what is searched for in names
 * @property {string} tab the list that a narrow screen shows
 * @property {Order} types_order
 * @property {Order} words_order
 * @property {string} types_offset
 * @property {string} words_offset
 * @property {Sheet | null} sheet what is shown over the page
 * @property {string | null} name of the sheets of one type and of one word
 * @property {string} zoom_from the part of the time range that is shown in its place; both are moments, or empty
 * @property {string} zoom_to
 * @property {readonly string[]} hidden series that are taken out of the chart
 * @property {"" | "hidden"} others whether the chart's series of all others is taken out
 * @property {readonly string[]} overlay names that the chart draws besides
 * @property {"" | "1"} previous whether the chart has a line for the time range before
 *
 * @typedef {"-count" | "count" | "name" | "-name" | "-change" | "change"} Order
 * @typedef {"type" | "word" | "pipeline" | "rejected" | "sources"} Sheet
 */

export const SECONDS = { "1m": 60, "15m": 900, "1h": 3600, "24h": 86_400 };

/** Names of a filter, and of the chart's lists: what the api takes of types and words at the most. */
export const MOST_NAMES = 20;

/** Characters that are searched for, as the api takes them at the most. */
const LONGEST_SEARCH = 256;

/**
 * Each parameter's default, and which texts it may have. A default that is a list makes the parameter one. Whatever else an
 * address says is left out, and said.
 *
 * @type {{[Name in keyof View]: readonly [byDefault: View[Name], valid: (text: string) => boolean]}}
 */
const PARAMETERS = {
  window: ["all", oneOf(...Object.keys(SECONDS), "all", "custom")],
  from: ["", isMoment],
  to: ["", isMoment],
  type: [[], () => true],
  word: [[], () => true],
  q: ["", isSearch],
  tab: ["types", oneOf("types", "words", "trending")],
  types_order: ["-count", isOrder],
  words_order: ["-count", isOrder],
  types_offset: ["0", isOffset],
  words_offset: ["0", isOffset],
  sheet: [null, oneOf("type", "word", "pipeline", "rejected", "sources")],
  name: [null, () => true],
  zoom_from: ["", isMoment],
  zoom_to: ["", isMoment],
  hidden: [[], () => true],
  others: ["", oneOf("", "hidden")],
  overlay: [[], isOverlay],
  previous: ["", oneOf("", "1")],
};

/**
 * Return the view that an address asks for, and what it says that cannot be, such as "window=nonsense".
 *
 * @param {string} search the address from its question mark on
 * @returns {{view: View, wrong: string[]}}
 */
export function read(search) {
  const given = new URLSearchParams(search);
  /** @type {string[]} */
  const wrong = [];
  const found = Object.fromEntries(names(PARAMETERS).map((name) => {
    const [byDefault, valid] = PARAMETERS[name];
    const texts = [...new Set(given.getAll(name))];
    const possible = texts.filter(valid).slice(0, byDefault instanceof Array ? MOST_NAMES : 1);
    wrong.push(...texts.filter((text) => !possible.includes(text)).map((text) => `${name}=${text}`));
    return [name, byDefault instanceof Array ? possible : possible[0] ?? byDefault];
  }));
  const view = /** @type {View} */ (/** @type {unknown} */ (found)); // as PARAMETERS has its names, defaults and checks
  /** @param {...keyof View} parts what cannot be together */
  const leaveOut = (...parts) => {
    for (const name of parts) {
      const [byDefault, valid] = PARAMETERS[name];
      wrong.push(...given.getAll(name).filter((text) => text !== byDefault && valid(text)).map((text) => `${name}=${text}`));
    }
    Object.assign(view, Object.fromEntries(parts.map((name) => [name, PARAMETERS[name][0]])));
  };
  // A custom time range has a beginning, and ends after it.
  if (view.window === "custom" && !(Date.parse(view.from) < (view.to ? Date.parse(view.to) : Date.now()))) leaveOut("window", "from", "to");
  else if (view.window !== "custom") leaveOut("from", "to");
  const zoomed = Boolean(view.zoom_from || view.zoom_to);
  if (zoomed && !(Date.parse(view.zoom_from) < Date.parse(view.zoom_to))) leaveOut("zoom_from", "zoom_to");
  if (!isOfName(view.sheet)) leaveOut("name");
  else if (view.name === null) leaveOut("sheet");
  return { view, wrong };
}

/**
 * Return the address of a view, from its question mark on; an empty text for that of the defaults.
 *
 * @param {Readonly<View>} view
 */
export function write(view) {
  const query = new URLSearchParams();
  for (const name of names(PARAMETERS)) {
    const value = view[name];
    if (value instanceof Array) for (const each of value) query.append(name, each);
    else if (value !== null && value !== PARAMETERS[name][0]) query.set(name, value);
  }
  const text = query.toString();
  return text && `?${text}`;
}

/**
 * Return the names of the parameters in which two views differ.
 *
 * @param {Readonly<View>} one
 * @param {Readonly<View>} other
 */
export function differences(one, other) {
  return names(PARAMETERS).filter((name) => JSON.stringify(one[name]) !== JSON.stringify(other[name]));
}

/**
 * Return whether this is the sheet of one name.
 *
 * @param {Sheet | null} sheet
 * @returns {sheet is "type" | "word"}
 */
export function isOfName(sheet) {
  return sheet === "type" || sheet === "word";
}

/**
 * Return whether this is a moment as the api takes it, too: a day, or RFC 3339 with an offset. Browsers read many other texts as
 * one, and a day that there is not, such as February 31, as another.
 *
 * @param {string} text
 */
function isMoment(text) {
  if (text === "") return true;
  const [, day] = /^((?!0000)\d{4}-\d\d-\d\d)(T([01]\d|2[0-3]):\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d))?$/.exec(text) ?? [];
  return day !== undefined && !Number.isNaN(Date.parse(text)) && new Date(day).toISOString().startsWith(day);
}

/** @param {string} text */
function isSearch(text) {
  return [...text].length <= LONGEST_SEARCH;
}

/** @param {string} text */
function isOverlay(text) {
  return text.startsWith("type:") || text.startsWith("word:");
}

/** @param {string} text */
function isOffset(text) {
  return /^\d{1,9}$/.test(text);
}

/** @param {string} text */
function isOrder(text) {
  return /^-?(count|name|change)$/.test(text);
}

/** @param {...string} texts */
function oneOf(...texts) {
  return (/** @type {string} */ text) => texts.includes(text);
}

/**
 * Object.keys, of which tsc knows what they are.
 *
 * @template {object} T
 * @param {T} object
 */
function names(object) {
  return /** @type {(keyof T & string)[]} */ (Object.keys(object));
}
