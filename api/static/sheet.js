// The sheet over the page: one name in full, rejected lines, the pipeline's parts, lines by source. Which one is open is a part of
// the view, so that Back closes it, and a link opens it.

import { explain } from "./api.js";
import { byId, make } from "./dom.js";
import { visible } from "./format.js";
import { NameDetails } from "./name-details.js";
import { entitle } from "./page-title.js";
import { pipeline, rejected } from "./pipeline-details.js";
import { sources } from "./source-list.js";
import { RANGE, onChange, openSheet, view } from "./view.js";

/**
 * Fills a body that is not on the page yet.
 *
 * @typedef {(body: HTMLElement, signal: AbortSignal) => Promise<void>} Fill the signal aborts when it is shown no longer
 */

/** The sheets that are not of a name. */
const SHEETS = new Map(/** @type {[string, {title: string, fill: Fill}][]} */ ([
  ["rejected", { title: "Rejected lines", fill: rejected }],
  ["pipeline", { title: "Aggregators and sources", fill: pipeline }],
  ["sources", { title: "Lines by source", fill: sources }],
]));

/** Aborts when what is shown is not shown any more. */
let closing = new AbortController();

/** @type {NameDetails | null} what is asked for again as things are counted */
let live = null;

/** Make the sheet's buttons work, and show what the address has. */
export function start() {
  const sheet = byId("sheet", HTMLDialogElement);
  byId("sheet-close").addEventListener("click", () => sheet.close());
  sheet.addEventListener("close", () => {
    if (sheet.open) return; // opened again since: this comes later
    leave();
    byId("sheet-body").replaceChildren();
    entitle({ sheet: "" });
    // What opened it has the focus again, but for a sheet that was there from the beginning, or a row that is gone.
    const focused = document.activeElement;
    if (focused === document.body || sheet.contains(focused)) byId("lists").focus({ preventScroll: true });
    openSheet(null);
  });
  byId("show-rejected").addEventListener("click", () => openSheet("rejected"));
  byId("show-pipeline").addEventListener("click", () => openSheet("pipeline"));
  byId("show-sources").addEventListener("click", () => openSheet("sources"));
  onChange((_, changed) => {
    if (changed.has("sheet") || changed.has("name")) follow();
    else if (RANGE.some((name) => changed.has(name))) live?.ask();
  });
  follow();
}

/** Ask for what is shown, with times as they are to be written now. */
export function ask() {
  live?.ask();
}

/**
 * Ask again for what is shown: something was counted, or a while has passed.
 *
 * @param {boolean} [atOnce]
 */
export function nudge(atOnce) {
  live?.nudge(atOnce);
}

/** Show what the view says. */
function follow() {
  const { sheet, name } = view();
  const other = SHEETS.get(sheet ?? "");
  if (other) fillIn(other.title, other.fill);
  else if (sheet !== null && name !== null) showName(sheet === "type" ? "types" : "words", name);
  else byId("sheet", HTMLDialogElement).close();
}

/**
 * @param {Api.Kind} kind
 * @param {string} name
 */
function showName(kind, name) {
  const signal = begin(kind === "types" ? "Event type" : "Word", visible(name));
  const body = make("div");
  byId("sheet-body").replaceChildren(body);
  live = new NameDetails(body, kind, name, signal);
}

/**
 * Fill the sheet, unless it is closed or used for something else meanwhile.
 *
 * @param {string} title
 * @param {Fill} fill
 */
async function fillIn(title, fill) {
  const signal = begin(title, title);
  const body = make("div");
  byId("sheet-body").replaceChildren(make("p", { className: "muted", textContent: "Loading" }));
  await fill(body, signal).catch((error) => {
    body.replaceChildren(make("p", { className: "note", textContent: explain(error) }));
  });
  if (!signal.aborted) byId("sheet-body").replaceChildren(body);
}

/**
 * Open the sheet, and leave what it showed before. Returns what aborts when this is left.
 *
 * @param {string} title
 * @param {string} looked what is looked at, for the document's title
 */
function begin(title, looked) {
  const { signal } = leave();
  byId("sheet-title").textContent = title;
  entitle({ sheet: looked });
  const sheet = byId("sheet", HTMLDialogElement);
  if (!sheet.open) sheet.showModal();
  sheet.scrollTop = 0;
  return signal;
}

/** Leave what is shown, and return what aborts the next. */
function leave() {
  closing.abort();
  live = null;
  closing = new AbortController();
  return closing;
}
