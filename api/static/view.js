// What is shown: the time range, the search, the order. It lives in the page's address, so that a view can be shared, and
// is changed nowhere but here.

/**
 * The parameters of the page's address. A name may be any text, the empty one too: null is none.
 *
 * @typedef {object} View
 * @property {keyof typeof SECONDS | "all" | "custom"} window the time range: a trailing window, all time, or from and to
 * @property {string} from
 * @property {string} to
 * @property {string} q what is searched for in names
 * @property {string} tab the list that a narrow screen shows
 * @property {Order} types_order
 * @property {Order} words_order
 * @property {string} types_offset
 * @property {string} words_offset
 * @property {string | null} type the type that is shown in full
 * @property {string | null} word the word that is shown in full
 *
 * @typedef {"-count" | "count" | "name" | "-name" | "-change" | "change"} Order
 */

const SECONDS = { "1m": 60, "15m": 900, "1h": 3600, "24h": 86_400 };

/**
 * Each parameter's default, and which texts it may have. Whatever else an address says is left out.
 *
 * @type {{[Name in keyof View]: readonly [byDefault: View[Name], valid: (text: string) => boolean]}}
 */
const PARAMETERS = {
  window: ["all", oneOf(...Object.keys(SECONDS), "all", "custom")],
  from: ["", isMoment],
  to: ["", isMoment],
  q: ["", () => true],
  tab: ["types", oneOf("types", "words", "trending")],
  types_order: ["-count", isOrder],
  words_order: ["-count", isOrder],
  types_offset: ["0", isOffset],
  words_offset: ["0", isOffset],
  type: [null, () => true],
  word: [null, () => true],
};

/** What goes back to the beginning of both lists, whenever they list something else. */
export const FIRST_PAGES = Object.freeze({ types_offset: "0", words_offset: "0" });

let current = read();

/** @type {((view: Readonly<View>, changed: Set<string>) => void)[]} */
const listeners = [];

/**
 * Return the view.
 *
 * @returns {Readonly<View>}
 */
export function view() {
  return current;
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
 */
export function change(parameters) {
  const next = { ...current, ...parameters };
  const changed = names(PARAMETERS).filter((name) => next[name] !== current[name]);
  if (!changed.length) return;
  current = next;
  const query = new URLSearchParams();
  for (const name of names(PARAMETERS)) {
    const value = current[name];
    if (value !== null && value !== PARAMETERS[name][0]) query.set(name, value);
  }
  const text = query.toString();
  history.replaceState(null, "", text ? `?${text}` : location.pathname);
  for (const listener of listeners) listener(current, new Set(changed));
}

/**
 * Show one type or one word in full.
 *
 * @param {Api.Kind} kind
 * @param {string} name
 */
export function open(kind, name) {
  change(kind === "types" ? { type: name, word: null } : { word: name, type: null });
}

/**
 * Return the time range as parameters of the query API; none for all time.
 *
 * @returns {Api.TimeRange}
 */
export function timeRange({ window, from, to } = current) {
  if (window === "all") return {};
  if (window !== "custom") return { window };
  return to ? { from, to } : { from };
}

/**
 * Return the same in Unix seconds, as it is at the moment `now`; null for all time.
 *
 * @param {number} now
 */
export function moments(now, { window, from, to } = current) {
  if (window === "all") return null;
  if (window !== "custom") return { from: now - SECONDS[window], to: now };
  return { from: Date.parse(from) / 1000, to: to ? Date.parse(to) / 1000 : now };
}

/**
 * Return a moment as an address has it, to the second.
 *
 * @param {Date} date
 */
export function utc(date) {
  return `${date.toISOString().slice(0, 19)}Z`;
}

/** @returns {View} */
function read() {
  const given = new URLSearchParams(location.search);
  const found = Object.fromEntries(names(PARAMETERS).map((name) => {
    const [byDefault, valid] = PARAMETERS[name];
    const text = given.get(name);
    return [name, text !== null && valid(text) ? text : byDefault];
  }));
  // A custom time range without a beginning is not one yet.
  if (found.window === "custom" && !found.from) found.window = "all";
  return /** @type {any} */ (found); // as PARAMETERS has its names, defaults and checks
}

/** @param {string} text */
function isMoment(text) {
  return text === "" || !Number.isNaN(Date.parse(text));
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
