// Where the newest events are, for a time range that has none.

import { Problem, getJson } from "./api.js";

/** Of so many names it is looked when they were last counted. */
const MOST_ASKED = 5;

/**
 * Return when the last window ends that has anything of what is chosen, in Unix seconds; null where nothing is kept.
 *
 * @param {import("./event-rates.js").Chosen} chosen
 * @param {AbortSignal} signal
 * @returns {Promise<number | null>}
 */
export async function newest({ type, word }, signal) {
  const kind = type.length ? "types" : "words";
  const names = (type.length ? type : word).slice(0, MOST_ASKED);
  if (!names.length) return (await getJson("v1/stats", undefined, signal)).kept?.to ?? null;
  const ends = await Promise.all(names.map((name) => lastOf(kind, name, signal)));
  return ends.reduce((latest, end) => (latest === null || (end !== null && end > latest) ? end : latest), null);
}

/**
 * @param {Api.Kind} kind
 * @param {string} name
 * @param {AbortSignal} signal
 */
async function lastOf(kind, name, signal) {
  try {
    return (await getJson(`v1/${kind}:lookup`, { name }, signal)).last?.to ?? null;
  } catch (error) {
    if (error instanceof Problem && error.is("never-counted")) return null;
    throw error;
  }
}
