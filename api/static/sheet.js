// The sheet over the page: one name in full, rejected lines, the pipeline's parts.

import { explain, getJson } from "./api.js";
import { Chart, MISSING, drawable } from "./chart.js";
import { byId, make, nameElement, setName } from "./dom.js";
import { duration, moment, percent, second, span, visible, whole } from "./format.js";
import { AXES } from "./timeline.js";
import { change, onChange, timeRange, view } from "./view.js";

/** What of all time is drawn at least, in seconds. */
const LEAST_DRAWN = 3600;

/** How often it was opened or closed: an answer that comes late belongs to nothing. */
let opened = 0;
let chart = null;

/** Make the sheet's buttons work, and show the name that the address has. */
export function start() {
  const sheet = byId("sheet");
  byId("sheet-close").addEventListener("click", () => sheet.close());
  sheet.addEventListener("close", () => {
    opened += 1;
    chart?.destroy();
    chart = null;
    byId("sheet-body").replaceChildren();
    change({ type: null, word: null });
  });
  byId("show-rejected").addEventListener("click", showRejected);
  byId("show-pipeline").addEventListener("click", () => open("Aggregators and sources", pipeline));
  onChange((_, changed) => {
    if (changed.has("type") || changed.has("word")) showName();
  });
  showName();
}

/** Show samples of rejected lines. */
export function showRejected() {
  open("Rejected lines", rejected);
}

function showName() {
  const { type, word } = view();
  if (type !== null) open("Event type", (body) => oneName(body, "types", type));
  else if (word !== null) open("Word", (body) => oneName(body, "words", word));
}

/**
 * Open the sheet and have `fill(body)` fill it, unless it is closed or used for something else meanwhile. What `fill`
 * returns, if anything, draws what must be on the page to be drawn.
 */
async function open(title, fill) {
  const mine = (opened += 1);
  byId("sheet-title").textContent = title;
  const body = make("div");
  byId("sheet-body").replaceChildren(make("p", { className: "muted", textContent: "Loading" }));
  if (!byId("sheet").open) byId("sheet").showModal();
  const draw = await fill(body).catch((error) => {
    body.replaceChildren(make("p", { className: "note", textContent: explain(error) }));
  });
  if (mine !== opened) return;
  byId("sheet-body").replaceChildren(body);
  await draw?.();
}

/** A list of terms. */
function facts(entries) {
  const list = make("dl", { className: "facts" });
  for (const [term, text] of entries) list.append(make("div", {}, make("dt", { textContent: term }), make("dd", {}, text)));
  return list;
}

function table(heads, rows) {
  const head = make("tr", {}, ...heads.map((text) => make("th", { scope: "col", textContent: text })));
  const cells = rows.map((row) => make("tr", {}, ...row.map((cell) => make("td", {}, cell))));
  // It may be wider than a phone, so it is scrolled by itself, by keyboard too.
  const around = make("div", { className: "scrolled", tabIndex: 0, role: "group" },
    make("table", {}, make("thead", {}, head), make("tbody", {}, ...cells)));
  around.setAttribute("aria-label", "Table");
  return around;
}

async function oneName(body, kind, name) {
  // Not as a part of the path, of which `.` would be taken away.
  const ask = (parameters) => getJson(`v1/${kind}:lookup`, { name, ...parameters });
  let found = await ask(timeRange());
  const { first, last } = found;
  const always = view().window === "all";
  if (always && first && first.from < found.as_of - LEAST_DRAWN) found = await ask({ from: first.from });
  const full = make("bdi", { className: "given whole" });
  setName(full, name);
  // Windows of more than a minute are all that is kept of what is long ago.
  const within = (window) => (window.to - window.from > 60 ? `, within ${duration(window.to - window.from)}` : "");
  const seen = (window) => (window ? `${moment(window.from)}${within(window)}` : "not in what is kept");
  const { starts_at: times, counts, step_seconds: step, from, to, total: drawn } = found.series;
  const entries = [
    ["Count of all time", whole(Math.max(found.count, drawn))], // the series may be read a moment later
    ["Share", percent(found.share)],
    ["Rank", found.rank === null ? "–" : whole(found.rank)],
    ["First seen", seen(first)],
    ["Last seen", seen(last)],
  ];
  if (!always) entries.splice(1, 0, ["Count in this time range", whole(drawn)]);
  const note = make("p", { className: "muted", textContent: drawn
    ? `Counts in each ${duration(step)}, ${span(from, to)}`
    : `Not counted in ${span(from, to)}: there is nothing to draw.` });
  body.append(make("p", { className: "full-name" }, full), facts(entries), note);
  if (!drawn) return null;
  const plot = make("div", { className: "plot small" });
  body.append(plot);
  return async () => {
    const shown = drawable({ times, rows: [{ color: "--series-1", values: counts }] }, step);
    const mine = (chart = new Chart(plot, {
      height: 160,
      axes: AXES,
      label: `Counts of ${visible(name)}`,
      describe: (index) => `${moment(shown.times[index])}: ${whole(shown.rows[0].values[index])}`,
      describeSpan: (since, until) => `${span(since, until)}: ${whole(
        shown.rows[0].values.reduce((sum, count, at) => sum + (shown.times[at] >= since && shown.times[at] <= until ? count : 0), 0))}`,
    }));
    if (await mine.ready()) mine.set(shown);
    else note.textContent = MISSING;
  };
}

async function rejected(body) {
  const { items, total } = await getJson("v1/rejected", { limit: 50 });
  // Of those that were counted together only so many are kept: these need not be the newest lines.
  body.append(make("p", { className: "muted", textContent: `${whole(total)} in all; ${whole(items.length)} as samples, with the reason:` }));
  body.append(make("ol", { className: "samples" }, ...items.map(({ rejected_at: at, reason, line, source }) => make("li", {},
    make("p", { className: "reason", textContent: visible(reason) }),
    make("p", { className: "muted" }, `${second(at)} from `, nameElement(source)),
    make("bdi", { className: "given line", textContent: visible(line) || "(nothing)" })))));
}

async function pipeline(body) {
  const { aggregators, sources, sources_total: total } = await getJson("v1/status");
  body.append(make("h3", { textContent: "Aggregators" }));
  body.append(table(["Name", "State", "Blocks in hand", "Last heard"], aggregators.map((each) => [
    nameElement(each.name), each.alive ? "alive" : "idle", whole(each.pending), `${duration(each.idle_seconds)} ago`,
  ])));
  const some = total > sources.length ? `: the latest ${whole(sources.length)} of ${whole(total)}` : "";
  body.append(make("h3", { textContent: `Sources${some}` }));
  body.append(table(["Name", "Position in bytes", "Last line"], sources.map((each) => [
    nameElement(each.name), whole(each.position), each.appended_at === null ? "–" : moment(each.appended_at),
  ])));
}
