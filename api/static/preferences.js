// What the reader prefers, kept by the browser for all pages of this Tally: light or dark (applied by theme.js before the page
// is drawn), the zone of times.

/**
 * @typedef {"system" | "light" | "dark"} Theme
 * @typedef {"local" | "utc"} Zone
 */

const THEME = "tally-theme";
const ZONE = "tally-zone";

const systemDark = matchMedia("(prefers-color-scheme: dark)");
const root = document.documentElement;

/** Where nothing can be kept, a choice holds until the page is left. */
let zone = /** @type {Zone} */ (kept(ZONE) === "utc" ? "utc" : "local");

/** @type {(() => void)[]} */
const zoneListeners = [];

/** @type {Set<() => void>} */
const colorListeners = new Set();

/** Return whether the page is light or dark by choice, or as the system is. */
export function chosenTheme() {
  return /** @type {Theme} */ (root.dataset.theme ?? "system");
}

/** Return whether the page is dark. */
export function isDark() {
  const theme = chosenTheme();
  return theme === "system" ? systemDark.matches : theme === "dark";
}

/** @param {Theme} theme */
export function chooseTheme(theme) {
  if (theme === "system") delete root.dataset.theme;
  else root.dataset.theme = theme;
  keep(THEME, theme === "system" ? null : theme);
  colorsChanged();
}

/** Return the zone of times. */
export function chosenZone() {
  return zone;
}

/** @param {Zone} chosen */
export function chooseZone(chosen) {
  if (chosen === zone) return;
  zone = chosen;
  keep(ZONE, chosen === "local" ? null : chosen);
  for (const listener of zoneListeners) listener();
}

/**
 * Have this called whenever times are of another zone.
 *
 * @param {() => void} listener
 */
export function onZone(listener) {
  zoneListeners.push(listener);
}

/**
 * Have this called whenever the page's colours change: by choice, by the system, for paper and after it.
 *
 * @param {() => void} listener
 * @param {AbortSignal} [signal] ends it
 */
export function onColors(listener, signal) {
  colorListeners.add(listener);
  signal?.addEventListener("abort", () => colorListeners.delete(listener));
}

function colorsChanged() {
  for (const listener of colorListeners) listener();
}

for (const query of [systemDark, matchMedia("(forced-colors: active)"), matchMedia("print")]) {
  query.addEventListener("change", colorsChanged);
}

// Another tab of this Tally has chosen.
addEventListener("storage", ({ key, newValue }) => {
  if (key === THEME) chooseTheme(newValue === "light" || newValue === "dark" ? newValue : "system");
  else if (key === ZONE) chooseZone(newValue === "utc" ? "utc" : "local");
});

/** @param {string} key */
function kept(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

/**
 * @param {string} key
 * @param {string | null} value
 */
function keep(key, value) {
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, value);
  } catch {
    // A browser that keeps nothing.
  }
}
