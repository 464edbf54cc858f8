// What a ranked list says of itself: how much it has, what it is narrowed to, why it is empty.

import { nameElement } from "./dom.js";
import { moment, span, whole } from "./format.js";
import { range, view } from "./view.js";

/**
 * Return the filter that narrows a list: words are narrowed by type, and types by word.
 *
 * @param {Api.Kind} kind
 * @returns {"type" | "word"}
 */
export function narrowedBy(kind) {
  return kind === "types" ? "word" : "type";
}

/**
 * Return what stands beside the title of a list that is narrowed, else nothing.
 *
 * @param {Api.Kind} kind
 */
export function narrowing(kind) {
  const names = view()[narrowedBy(kind)];
  if (!names.length) return [];
  const [of, several] = kind === "types" ? ["with ", "words"] : ["of ", "types"];
  return [of, names.length === 1 ? nameElement(names[0]) : `${names.length} ${several}`];
}

/**
 * Return how much there is, in a line.
 *
 * @param {Api.Ranking} answer
 */
export function summary(answer) {
  const least = (answer.distinct_at_most ?? 0) > answer.distinct ? "at least " : ""; // with several shards
  const sentences = [`${least}${whole(answer.distinct)} distinct`, `${whole(answer.total)} in all`];
  if (typeof answer.from === "number" && typeof answer.to === "number") sentences.unshift(span(answer.from, answer.to));
  if (view().q) sentences.push(`${whole(answer.matched)} found`);
  if (answer.elsewhere) sentences.push(`${whole(answer.elsewhere)} in types that are not told apart`);
  if (overLimit(answer)) sentences.push(`${whole(answer.other)} over the limit of names`);
  if (typeof answer.since === "number" && answer.since > (answer.from ?? 0)) sentences.push(`counted by type from ${moment(answer.since)} on`);
  return sentences.join(" · ");
}

/**
 * Return whether there is something under `__other__`. Of types by words that is what stands elsewhere.
 *
 * @param {Api.Ranking} answer
 */
export function overLimit({ other, elsewhere }) {
  return other > 0 && typeof elsewhere !== "number";
}

/**
 * Return why a list is empty.
 *
 * @param {Api.Kind} kind
 * @param {Api.Totals | null} totals of all time
 */
export function whyEmpty(kind, totals) {
  if (view().q) return "No name contains this.";
  if (view()[narrowedBy(kind)].length) return kind === "types" ? "No type has this word here." : "No words in these events.";
  if (range().window !== "all") return "Nothing in this time range. An event belongs to the time that it carries: see All.";
  if (!totals?.events) return "Nothing was counted yet.";
  // The totals come by themselves, and may be newer than the list.
  return kind === "words" && !totals.words ? "No words in what was counted." : "Not up to date yet.";
}

/**
 * Return the beginning of a sentence that ends with a button for samples of them.
 *
 * @param {number} lines
 */
export function rejectedLines(lines) {
  return lines === 1 ? "1 line was rejected: " : `${whole(lines)} lines were rejected: `;
}
