// The sheet over the page: one name in full, rejected lines, the pipeline's parts, lines by source.

import { explain } from "./api.js";
import { byId, make } from "./dom.js";
import { oneName } from "./name-details.js";
import { pipeline, rejected } from "./pipeline-details.js";
import { sources } from "./source-list.js";
import { onChange, openSheet, view } from "./view.js";

/** @typedef {() => (void | Promise<void>)} Draw draws what must be on the page to be drawn */

/** Aborts when what is shown is not shown any more. */
let closing = new AbortController();

/** Make the sheet's buttons work, and show the name that the address has. */
export function start() {
  const sheet = byId("sheet", HTMLDialogElement);
  byId("sheet-close").addEventListener("click", () => sheet.close());
  sheet.addEventListener("close", () => {
    if (sheet.open) return; // opened again since: this comes later
    leave();
    byId("sheet-body").replaceChildren();
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
  });
  follow();
}

/** Show what the view says. */
function follow() {
  const { sheet, name } = view();
  if (sheet === null) byId("sheet", HTMLDialogElement).close();
  else if (sheet === "rejected") show("Rejected lines", rejected);
  else if (sheet === "pipeline") show("Aggregators and sources", pipeline);
  else if (sheet === "sources") show("Lines by source", sources);
  else if (sheet === "type" && name !== null) show("Event type", (body, signal) => oneName(body, "types", name, signal));
  else if (sheet === "word" && name !== null) show("Word", (body, signal) => oneName(body, "words", name, signal));
}

/**
 * Open the sheet and fill it, unless it is closed or used for something else meanwhile.
 *
 * @param {string} title
 * @param {(body: HTMLElement, signal: AbortSignal) => Promise<Draw | void>} fill gets an empty body that is not on the page yet, and a
 *   signal that aborts when it is left
 */
async function show(title, fill) {
  const { signal } = leave();
  byId("sheet-title").textContent = title;
  const body = make("div");
  byId("sheet-body").replaceChildren(make("p", { className: "muted", textContent: "Loading" }));
  const sheet = byId("sheet", HTMLDialogElement);
  if (!sheet.open) sheet.showModal();
  const draw = await fill(body, signal).catch((error) => {
    body.replaceChildren(make("p", { className: "note", textContent: explain(error) }));
  });
  if (signal.aborted) return;
  byId("sheet-body").replaceChildren(body);
  await draw?.();
}

/** Leave what is shown, and return what aborts the next. */
function leave() {
  closing.abort();
  closing = new AbortController();
  return closing;
}
