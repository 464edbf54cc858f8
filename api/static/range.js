// The time range that the page shows, as it is moved: chosen, zoomed in on and out of, stepped to the one before or behind.

import { SECONDS } from "./address.js";
import { FIRST_PAGES, change, moments, range, utc, view } from "./view.js";

const MINUTE = 60;

const NAMES = Object.freeze({ "1m": "last minute", "15m": "last 15 minutes", "1h": "last hour", "24h": "last 24 hours", all: "all time" });

const NO_ZOOM = Object.freeze({ zoom_from: "", zoom_to: "" });

/** What a chart does with a time range that is selected in it: the whole page shows it, until that is taken back. */
export const ZOOM = Object.freeze({
  /** @param {import("./plot.js").Span} span */
  to({ from, to }) {
    change({ zoom_from: text(from), zoom_to: text(to), ...FIRST_PAGES });
  },
  out() {
    change({ ...NO_ZOOM, ...FIRST_PAGES });
  },
  zoomed: () => view().zoom_from !== "",
});

/** Return the name of the time range that is shown; null for one from one moment to another. */
export function rangeName() {
  const { window } = range();
  return window === "custom" ? null : NAMES[window];
}

/** Return the name of the time range that a zoom is a part of. */
export function wholeName() {
  const { window } = view();
  return window === "custom" ? "the whole time range" : NAMES[window];
}

/**
 * Choose a trailing window, or all time.
 *
 * @param {Exclude<import("./view.js").View["window"], "custom">} window
 */
export function choose(window) {
  change({ window, from: "", to: "", ...NO_ZOOM, ...FIRST_PAGES });
}

/**
 * Choose what is between two moments, in Unix seconds.
 *
 * @param {number} from
 * @param {number | null} to null for now, whenever that is
 */
export function chooseSpan(from, to) {
  change({ window: "custom", from: text(from), to: to === null ? "" : text(to), ...NO_ZOOM, ...FIRST_PAGES });
}

/**
 * Return how long the time range is, in whole minutes as seconds; null for all time.
 *
 * @param {number} now
 */
export function lengthOf(now) {
  const shown = moments(now);
  return shown && Math.max(MINUTE, Math.round((shown.to - shown.from) / MINUTE) * MINUTE);
}

/**
 * Return whether there is a time range to step to.
 *
 * @param {-1 | 1} direction to an earlier or a later one
 * @param {number} now
 */
export function canStep(direction, now) {
  const shown = moments(now);
  return shown !== null && (direction < 0 || shown.to < now);
}

/**
 * Show the time range that ends where this one begins, or begins where it ends. What comes to now is the trailing window again.
 *
 * @param {-1 | 1} direction
 * @param {number} now
 */
export function step(direction, now) {
  const shown = moments(now);
  const length = lengthOf(now);
  if (!shown || length === null || !canStep(direction, now)) return;
  const from = Math.floor(shown.from / MINUTE) * MINUTE + direction * length;
  const to = from + length;
  if (ZOOM.zoomed()) {
    ZOOM.to({ from, to });
    return;
  }
  const trailing = Object.entries(SECONDS).find(([, seconds]) => seconds === length);
  if (to <= now - MINUTE) chooseSpan(from, to);
  else if (trailing) choose(/** @type {keyof typeof SECONDS} */ (trailing[0]));
  else chooseSpan(from, null);
}

/** @param {number} unixSeconds */
function text(unixSeconds) {
  return utc(new Date(Math.round(unixSeconds) * 1000));
}
