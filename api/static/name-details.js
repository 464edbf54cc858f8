// One type or one word in full, for the sheet.

import { getJson } from "./api.js";
import { make, setName } from "./dom.js";
import { duration, moment, percent, span, whole } from "./format.js";
import { NameChart } from "./name-chart.js";
import { MISSING } from "./plot.js";
import { range, timeRange } from "./view.js";

/** What of all time is drawn at least, in seconds. */
const LEAST_DRAWN = 3600;

/**
 * Fill the body with one name: its count, its rank, when it was seen, its chart.
 *
 * @param {HTMLElement} body
 * @param {Api.Kind} kind
 * @param {string} name
 * @param {AbortSignal} signal aborts when it is shown no longer
 * @returns {Promise<import("./sheet.js").Draw | void>}
 */
export async function oneName(body, kind, name, signal) {
  const found = await load(kind, name, signal);
  const { step_seconds: step, from, to, total } = found.series;
  const full = make("bdi", { className: "given whole" });
  setName(full, name);
  const note = make("p", { className: "muted", textContent: total
    ? `Counts in each ${duration(step)}, ${span(from, to)}`
    : `Not counted in ${span(from, to)}: there is nothing to draw.` });
  body.append(make("p", { className: "full-name" }, full), facts(found, total), note);
  if (!total) return undefined;
  const plot = make("div", { className: "plot small" });
  body.append(plot);
  return async () => {
    const chart = new NameChart(plot, kind, name, signal);
    if (!(await chart.ready())) note.textContent = MISSING;
    else if (!signal.aborted) chart.show(found);
  };
}

/**
 * @param {Api.Kind} kind
 * @param {string} name
 * @param {AbortSignal} signal
 */
async function load(kind, name, signal) {
  /** @param {Api.TimeRange} range */
  const ask = (range) => getJson(`v1/${kind}:lookup`, { name, ...range }, signal);
  const found = await ask(timeRange());
  const { first } = found;
  const sinceFirst = range().window === "all" && first && first.from < found.as_of - LEAST_DRAWN;
  return sinceFirst ? ask({ from: String(first.from) }) : found;
}

/**
 * @param {Api.OneName} found
 * @param {number} total what the series adds up to
 */
function facts({ count, share, rank, first, last }, total) {
  // The series may be read a moment later than the count.
  const entries = [["Count of all time", whole(Math.max(count, total))]];
  if (range().window !== "all") entries.push(["Count in this time range", whole(total)]);
  entries.push(
    ["Share", percent(share)],
    ["Rank", rank === null ? "–" : whole(rank)],
    ["First seen", seen(first)],
    ["Last seen", seen(last)],
  );
  return make("dl", { className: "facts" }, ...entries.map(([term, text]) => (
    make("div", {}, make("dt", { textContent: term }), make("dd", { textContent: text })))));
}

/** @param {Api.OneName["first"]} window */
function seen(window) {
  if (!window) return "not in what is kept";
  // Windows of more than a minute are all that is kept of what is long ago.
  const seconds = window.to - window.from;
  return `${moment(window.from)}${seconds > 60 ? `, within ${duration(seconds)}` : ""}`;
}
