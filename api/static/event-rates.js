// What the timeline draws: counts a second in the cells of a time range, out of counts of windows.

import { Problem, getJson } from "./api.js";
import { drawnCells, lastCounted } from "./cells.js";
import { filters } from "./view.js";

/** Series that have a name of their own; what is left is all others together. */
export const MOST_SERIES = 6;

/** All time is never drawn as less, in seconds: where counting has just begun, its first minutes would be as wide as the page. */
const LEAST_ALL = 600;

/**
 * @typedef {{kind: Api.Kind, names: readonly string[], filters: {type?: string[], word?: string[]}, others: boolean}} Question
 *   `others` is whether all others, without a name, are asked for, too
 *
 * @typedef {{kind: Api.Kind, name: string | null, values: number[], previous: (number | null)[] | null}} Rates a second in each cell;
 *   name null is all others; `previous` is what was so long before, null in cells of which nothing is known
 *
 * @typedef {object} Timeline
 * @property {number} from
 * @property {number} to
 * @property {number} step how wide a cell is
 * @property {number[]} times where each cell begins
 * @property {number | null} begun since when cells are not over yet
 * @property {number} shift so many seconds before is what is called previous; 0 for none
 * @property {Api.Kind} kind what is stacked
 * @property {boolean} filtered whether the filters could be kept to
 * @property {Rates[]} rows stacked, the first at the bottom
 * @property {Rates[]} besides the names that are drawn besides
 */

/**
 * How often names were counted, the first of them by themselves.
 *
 * @typedef {{grid: Api.Series, rows: {name: string | null, counts: number[]}[]}} Counts
 *
 * @typedef {Pick<import("./view.js").View, "type" | "word">} Chosen
 */

/**
 * Ask for the rates of a time range; null where there is nothing to draw in it.
 *
 * @param {object} asked
 * @param {Api.TimeRange} asked.range
 * @param {number} asked.shift how long before is to be drawn, too, in seconds; 0 for nothing
 * @param {Chosen} asked.chosen
 * @param {readonly {kind: Api.Kind, name: string}[]} asked.besides
 * @param {AbortSignal} signal
 * @returns {Promise<Timeline | null>}
 */
export async function timelineOf({ range, shift, chosen, besides }, signal) {
  const drawn = range.window || range.from ? range : await allKept(signal);
  if (!drawn) return null;
  const { question, stacked, filtered } = await stackOf(chosen, drawn, signal);
  if (!stacked) return null;
  const more = besidesOf(besides);
  /**
   * @param {Question[]} questions
   * @param {Api.TimeRange} within
   */
  const ask = (questions, within) => Promise.all(questions.map((each) => countsOf(each, within, signal)));
  const counts = [stacked, ...await ask(more, drawn)];
  if (!counts.some(({ rows }) => rows.some((row) => row.counts.some(Boolean)))) return null;
  const cells = cellsOf(counts.map(({ grid }) => grid));
  const questions = [question, ...more];
  const [kept, before] = shift ? await Promise.all([
    allKept(signal),
    ask(questions, { from: String(cells.from - shift), to: String(cells.to - shift) }),
  ]) : [null, []];
  const since = kept ? Number(kept.from) : Infinity;
  const [rows, ...others] = counts.map((each, at) => ratesOf(questions[at].kind, each, before[at], cells, { shift, since }));
  return { ...cells, shift, kind: question.kind, filtered, rows, besides: others.flat() };
}

/**
 * Return all that is kept, as a time range; null where nothing is.
 *
 * @param {AbortSignal} signal
 */
export async function allKept(signal) {
  const { kept } = await getJson("v1/stats", undefined, signal);
  return kept && { from: String(Math.min(kept.from, kept.to - LEAST_ALL)), to: String(kept.to) };
}

/**
 * Return what is to be stacked, and its counts; not filtered where words are not counted by type: then it is the words alone.
 *
 * @param {Chosen} chosen
 * @param {Api.TimeRange} range
 * @param {AbortSignal} signal
 */
async function stackOf(chosen, range, signal) {
  try {
    const question = await questionOf(chosen, range, signal);
    return { question, stacked: question.names.length ? await countsOf(question, range, signal) : null, filtered: true };
  } catch (error) {
    if (!chosen.word.length || !(error instanceof Problem && error.is("words-not-by-type"))) throw error;
    /** @type {Question} */
    const question = { kind: "words", names: chosen.word, filters: {}, others: false };
    return { question, stacked: await countsOf(question, range, signal), filtered: false };
  }
}

/**
 * Return what is to be stacked: the types that are chosen, or the most frequent ones, of all events or by the words that are
 * chosen; or, of both, how often the words stand in the types.
 *
 * @param {Chosen} chosen
 * @param {Api.TimeRange} range
 * @param {AbortSignal} signal
 * @returns {Promise<Question>}
 */
async function questionOf({ type, word }, range, signal) {
  if (word.length && type.length) return { kind: "words", names: word, filters: filters("words"), others: false };
  if (type.length) return { kind: "types", names: type, filters: {}, others: false };
  const found = await getJson("v1/types", { ...filters("types"), ...range, limit: MOST_SERIES }, signal);
  const names = found.items.map((item) => item.name);
  return { kind: "types", names, filters: filters("types"), others: found.matched > names.length };
}

/**
 * @param {readonly {kind: Api.Kind, name: string}[]} besides
 * @returns {Question[]}
 */
function besidesOf(besides) {
  return besides.map(({ kind, name }) => ({ kind, names: [name], filters: {}, others: false }));
}

/**
 * @param {Question} question
 * @param {Api.TimeRange} range
 * @param {AbortSignal} signal
 * @returns {Promise<Counts>}
 */
async function countsOf({ kind, names, filters: narrowed, others }, range, signal) {
  const [named, all] = await Promise.all([
    getJson(`v1/${kind}:series`, { ...narrowed, ...range, name: [...names] }, signal),
    others ? getJson("v1/types:series", { ...narrowed, ...range }, signal) : null,
  ]);
  /** @type {Counts["rows"]} */
  const rows = named.series.map(({ name, counts }) => ({ name, counts }));
  const least = rows.splice(MOST_SERIES).map(({ counts }) => counts);
  /** @param {number} at */
  const ofRows = (at) => rows.reduce((sum, { counts }) => sum + (counts[at] ?? 0), 0);
  if (all) {
    const [{ counts }] = all.series;
    // The two may have been made on either side of a full minute: each cell is found by its time.
    const where = new Map(all.starts_at.map((time, at) => [time, at]));
    const rest = named.starts_at.map((time, at) => Math.max(0, (counts[where.get(time) ?? -1] ?? 0) - ofRows(at)));
    rows.push({ name: null, counts: rest });
  } else if (least.length) {
    rows.push({ name: null, counts: named.starts_at.map((_, at) => least.reduce((sum, counts) => sum + counts[at], 0)) });
  }
  return { grid: named, rows };
}

/**
 * Return the cells to draw, which all answers have.
 *
 * @param {Api.Series[]} answers
 */
function cellsOf(answers) {
  const [{ from, to, step_seconds: step }] = answers;
  const times = answers[0].starts_at.filter((time) => answers.every((answer) => time >= answer.from && time < answer.to));
  const asOf = Math.min(...answers.map((answer) => answer.as_of));
  const counted = Math.max(...answers.map(({ starts_at: starts, series }) => lastCounted(starts, series.map(({ counts }) => counts))));
  return { from, to, step, ...drawnCells({ times, step, asOf, counted }) };
}

/**
 * @param {Api.Kind} kind
 * @param {Counts} counts
 * @param {Counts | undefined} before
 * @param {ReturnType<typeof cellsOf>} cells
 * @param {{shift: number, since: number}} earlier how long before the previous time range is, and since when there are counts
 * @returns {Rates[]}
 */
function ratesOf(kind, { grid, rows }, before, { times, seconds }, { shift, since }) {
  const first = grid.starts_at.indexOf(times[0]);
  return rows.map(({ name, counts }, row) => ({
    kind,
    name,
    values: times.map((_, at) => (counts[first + at] ?? 0) / seconds[at]),
    previous: before
      ? times.map((time) => (time - shift + grid.step_seconds > since ? rateAt(before.grid, before.rows[row]?.counts ?? [], time - shift) : null))
      : null,
  }));
}

/**
 * Return the rate at a moment. Of what is long ago longer windows are kept: their cells may be wider.
 *
 * @param {Api.Series} grid
 * @param {number[]} counts
 * @param {number} time
 */
function rateAt({ from, step_seconds: step }, counts, time) {
  return (counts[Math.floor((time - from) / step)] ?? 0) / step;
}
