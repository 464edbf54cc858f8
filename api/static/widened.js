// An answer is a sum of whole windows, so it may be of a longer time range than was asked for. This says so.

import { moment, span } from "./format.js";
import { moments, range } from "./view.js";

/** A minute more at the beginning of "15 m" is no surprise, nor is up to this share of a longer time range. */
const EXPECTED_SECONDS = 60;
const EXPECTED_SHARE = 0.1;

/**
 * Return a sentence where the answer's time range is not the one that was asked for, else an empty text.
 *
 * @param {Pick<Api.Ranking, "from" | "to" | "as_of">} answer
 */
export function widened({ from, to, as_of: asOf }, asking = range()) {
  const asked = moments(asOf, asking);
  if (!asked || typeof from !== "number" || typeof to !== "number") return "";
  const exact = asking.window === "custom";
  const slack = exact ? 0 : Math.max(EXPECTED_SECONDS, EXPECTED_SHARE * (asked.to - asked.from));
  if (from - asked.from > slack) return `Nothing is kept any more of the time before ${moment(from)}.`;
  // What ends now ends with the window of now, which holds nothing that is later.
  const wider = Math.max(asked.from - from, asking.to ? to - asked.to : 0);
  if (wider <= slack) return "";
  if (wider < EXPECTED_SECONDS) return "Widened to whole windows of time.";
  return `Wider than the ${span(asked.from, asked.to)} that was asked for: of that time only longer windows are kept.`;
}
