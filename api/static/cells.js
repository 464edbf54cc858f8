// Which cells of a series are drawn, and how much of each is over.

/** The cell of now has only begun: before this share of it is over it says too little to be drawn. */
const LEAST_SHARE = 1 / 12;

/**
 * Return the cells to draw: no empty ones of what is to come, and none that has hardly begun. `seconds` is how much of each is
 * over, and `begun` since when they are not.
 *
 * @param {object} grid
 * @param {number[]} grid.times where the cells begin
 * @param {number} grid.step how wide they are
 * @param {number} grid.asOf
 * @param {number} grid.counted the beginning of the last one that has anything
 */
export function drawnCells({ times: all, step, asOf, counted }) {
  const times = all.filter((time) => time + step * LEAST_SHARE <= asOf || (counted > asOf && time <= counted));
  const seconds = times.map((time) => (time < asOf && asOf < time + step ? Math.max(asOf - time, step * LEAST_SHARE) : step));
  return { times, seconds, begun: times.find((time) => time + step > asOf) ?? null };
}

/**
 * Return where the last cell begins that has anything; 0 if none has.
 *
 * @param {number[]} times
 * @param {number[][]} counts a row of counts in these cells for each series
 */
export function lastCounted(times, counts) {
  return times[times.findLastIndex((_, at) => counts.some((row) => row[at]))] ?? 0;
}
