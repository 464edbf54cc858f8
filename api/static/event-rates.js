// What the timeline draws: events per second by type, out of counts of windows.

import { getJson } from "./api.js";
import { drawable } from "./plot.js";

/** Types that have a name of their own. */
export const MOST_TYPES = 6;

/** The newest cell has only begun: in its first seconds it says too little to be drawn. */
const LEAST_SECONDS = 5;

/** The chart is never narrower than that. */
const LEAST_CELLS = 10;

/**
 * @typedef {object} EventRates
 * @property {number} from
 * @property {number} to
 * @property {number[]} times where each cell begins
 * @property {RatesOfType[]} rows the most frequent type first
 *
 * @typedef {{name: string | null, values: number[]}} RatesOfType events per second in each cell; name null is all others
 */

/**
 * Ask for the rates of a time range.
 *
 * @param {Api.TimeRange} range
 * @param {AbortSignal} signal
 * @returns {Promise<EventRates>}
 */
export async function eventRates(range, signal) {
  const top = await getJson("v1/types", { ...range, limit: MOST_TYPES }, signal);
  const names = top.items.map((item) => item.name);
  if (!names.length) return { from: 0, to: 0, times: [], rows: [] };
  const [all, named] = await Promise.all([
    getJson("v1/types:series", range, signal),
    getJson("v1/types:series", { name: names, ...range }, signal),
  ]);
  const cells = drawnCells(all, named);
  const [first] = cells;
  /**
   * @param {Api.Series} answer
   * @param {number} row
   */
  const countsOf = (answer, row) => {
    const from = first ? answer.starts_at.indexOf(first.time) : 0;
    return answer.series[row].counts.slice(from, from + cells.length);
  };
  /** @type {{name: string | null, counts: number[]}[]} */
  const rows = named.series.map(({ name }, row) => ({ name, counts: countsOf(named, row) }));
  if (top.matched > names.length) {
    const others = countsOf(all, 0).map((count, at) => Math.max(0, count - rows.reduce((sum, { counts }) => sum + counts[at], 0)));
    rows.push({ name: null, counts: others });
  }
  const rates = rows.map(({ name, counts }) => ({ name, values: counts.map((count, at) => count / cells[at].seconds) }));
  return { from: all.from, to: all.to, ...drawable({ times: cells.map(({ time }) => time), rows: rates }, all.step_seconds) };
}

/**
 * Return the cells to draw, each with its beginning and how many seconds of it are over.
 *
 * @param {Api.Series} all
 * @param {Api.Series} named
 */
function drawnCells(all, named) {
  // The two may have been made on either side of a full minute: only what both have.
  const [{ counts }] = all.series;
  const shared = all.starts_at
    .map((time, at) => ({ time, seconds: Math.min(all.step_seconds, all.as_of - time), count: counts[at] }))
    .filter(({ time }) => time >= named.from && time < named.to);
  const kept = shared.filter(({ seconds }) => seconds >= LEAST_SECONDS);
  // Where counting has just begun its first minutes are seen, not an hour of nothing.
  const begun = kept.findIndex(({ count }) => count > 0);
  return kept.slice(Math.max(0, Math.min(begun - 1, kept.length - LEAST_CELLS)));
}
