// The labels of a time axis: the clock, or days, months, years; and under those where it changes, which day or year that is.

import { day, dayAndYear, minute, month, year } from "./format.js";

const MINUTE = 60;
const HOUR = 3600;
const DAY = 86_400;

/** uPlot takes multiples of these as months and years of the calendar. */
const MONTH = 30 * DAY;
const YEAR = 365 * DAY;

/** Seconds that labels may be apart: whole minutes, for they do not show seconds, and what divides a day or a year well. */
export const LABEL_STEPS = [
  ...[1, 2, 5, 10, 15, 30].map((minutes) => minutes * MINUTE),
  ...[1, 2, 3, 4, 6, 8, 12].map((hours) => hours * HOUR),
  ...[1, 2, 3, 7, 14].map((days) => days * DAY),
  ...[1, 2, 3, 6].map((months) => months * MONTH),
  ...[1, 2, 5, 10, 25, 100, 500].map((years) => years * YEAR),
];

/**
 * Return a label for each of these moments, which are so many seconds apart. What is of today, or of this year, needs not say so.
 *
 * @param {number[]} moments
 * @param {number} step
 * @returns {string[]} with a second line where that is needed
 */
export function timeLabels(moments, step) {
  if (step >= YEAR) return moments.map(year);
  const now = Date.now() / 1000;
  const thisYear = moments.every((at) => year(at) === year(now));
  if (step >= DAY) return labels(moments, step >= MONTH ? month : day, thisYear ? null : year);
  const today = moments.every((at) => dayAndYear(at) === dayAndYear(now));
  return labels(moments, minute, today ? null : thisYear ? day : dayAndYear);
}

/**
 * @param {number[]} moments
 * @param {(at: number) => string} fine
 * @param {((at: number) => string) | null} coarse stands under the first label, and wherever it changes
 */
function labels(moments, fine, coarse) {
  return moments.map((at, index) => {
    const changes = coarse && (index === 0 || coarse(moments[index - 1]) !== coarse(at));
    return changes ? `${fine(at)}\n${coarse(at)}` : fine(at);
  });
}
