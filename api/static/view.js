// What is shown: the time range, the search, the order. It lives in the page's address, so that a view can be
// shared, and is changed nowhere but here.

const ORDERS = ["-count", "count", "name", "-name", "-change", "change"];
const SECONDS = { "1m": 60, "15m": 900, "1h": 3600, "24h": 86_400 };
const WINDOWS = [...Object.keys(SECONDS), "all", "custom"];
const isMoment = (text) => text === "" || !Number.isNaN(Date.parse(text));
const isOffset = (text) => /^\d{1,9}$/.test(text);

// Parameter -> its default and which texts it may have. Whatever else an address says is left out. A name may be any text,
// the empty one too: null is none.
const PARAMETERS = {
  window: ["all", (text) => WINDOWS.includes(text)],
  from: ["", isMoment],
  to: ["", isMoment],
  q: ["", () => true],
  tab: ["types", (text) => ["types", "words", "trending"].includes(text)],
  types_order: ["-count", (text) => ORDERS.includes(text)],
  words_order: ["-count", (text) => ORDERS.includes(text)],
  types_offset: ["0", isOffset],
  words_offset: ["0", isOffset],
  type: [null, () => true],
  word: [null, () => true],
};

function read() {
  const given = new URLSearchParams(location.search);
  const view = {};
  for (const [name, [byDefault, valid]] of Object.entries(PARAMETERS)) {
    const text = given.get(name);
    view[name] = text !== null && valid(text) ? text : byDefault;
  }
  // A custom time range without a beginning is not one yet.
  if (view.window === "custom" && !view.from) view.window = "all";
  return view;
}

let current = read();
const listeners = [];

/** The view, read-only. */
export const view = () => current;

/** Call with every new view, and the names of the parameters that changed. */
export const onChange = (listener) => listeners.push(listener);

/** Change some parameters of the view, and the page's address with them. */
export function change(parameters) {
  const changed = Object.keys(parameters).filter((name) => current[name] !== parameters[name]);
  if (!changed.length) return;
  current = { ...current, ...parameters };
  const query = new URLSearchParams();
  for (const [name, [byDefault]] of Object.entries(PARAMETERS)) {
    if (current[name] !== byDefault) query.set(name, current[name]);
  }
  const text = query.toString();
  history.replaceState(null, "", text ? `?${text}` : location.pathname);
  for (const listener of listeners) listener(current, new Set(changed));
}

/** The time range, as parameters of the query API; empty for all time. */
export function timeRange({ window, from, to } = current) {
  if (window === "all") return {};
  if (window !== "custom") return { window };
  return to ? { from, to } : { from };
}

/** The same in Unix seconds, {from, to}, for who asks at the moment `now`; null for all time. */
export function moments(now, { window, from, to } = current) {
  if (window === "all") return null;
  if (window !== "custom") return { from: now - SECONDS[window], to: now };
  return { from: Date.parse(from) / 1000, to: to ? Date.parse(to) / 1000 : now };
}
