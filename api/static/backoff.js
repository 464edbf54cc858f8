// When to try again.

const FIRST_MS = 500;
const MOST_MS = 10_000;

/**
 * Return the milliseconds to wait before attempt number `attempt` (from 1): doubling, with full jitter, so that many pages
 * do not come back all at once; never under a tenth, so that one page does not spin.
 *
 * @param {number} attempt
 */
export function backoff(attempt) {
  const full = Math.min(MOST_MS, FIRST_MS * 2 ** Math.min(attempt - 1, 20));
  return full * (0.1 + 0.9 * Math.random());
}
