// The controls that say what is shown: the time range, the search, the tab of a narrow screen.

import { byId, part, parts, setText } from "./dom.js";
import { fieldMoment, fieldText } from "./format.js";
import { onZone } from "./preferences.js";
import { FIRST_PAGES, change, onChange, utc, view } from "./view.js";

/** Typing is over after so many milliseconds. */
const TYPED_MS = 250;

/** What the form has, until something is given, for the beginning of a custom time range. */
const HOUR_MS = 3_600_000;

/** Make the controls work, and show in them what the address says. */
export function start() {
  byId("windows").addEventListener("change", ({ target }) => {
    if (!(target instanceof HTMLInputElement)) return;
    if (target.value === "custom") openForm();
    else {
      byId("custom").hidden = true; // even if that was chosen before: a form that was only opened has changed nothing
      change({ window: /** @type {any} */ (target.value), from: "", to: "", ...FIRST_PAGES });
    }
  });
  byId("windows").addEventListener("click", ({ target, detail }) => {
    if (!(target instanceof HTMLInputElement) || target.value !== "custom") return;
    openForm(); // that it is chosen already is no change
    // Whoever goes through the choices by arrow keys, which click too, goes on among them.
    if (detail > 0) input("from").focus();
  });
  byId("custom").addEventListener("submit", (event) => {
    event.preventDefault();
    applyForm();
  });
  byId("custom").addEventListener("keydown", ({ key }) => {
    if (key === "Escape") closeForm();
  });
  byId("custom-close").addEventListener("click", closeForm);
  for (const button of tabs()) button.addEventListener("click", () => change({ tab: button.value }));
  startSearch();
  onChange(show);
  onZone(() => showRange(view()));
  showRange(view());
  show(view());
}

function startSearch() {
  const search = byId("search", HTMLInputElement);
  search.value = view().q;
  let typing = 0;
  const find = () => {
    clearTimeout(typing);
    // The way back from a search is to what was before it, not to each of its letters.
    if (view().q !== search.value) change({ q: search.value, ...FIRST_PAGES }, { replace: view().q !== "" });
  };
  onChange(({ q }, changed) => {
    if (!changed.has("q") || q === search.value) return;
    clearTimeout(typing);
    search.value = q;
  });
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(find, TYPED_MS);
  });
  // Leaving the field ends the typing: a page that is turned meanwhile must not be turned back when the time is up.
  search.addEventListener("change", find);
  addEventListener("keydown", (event) => {
    const typesText = event.target instanceof Element && event.target.matches("input:not([type=radio])");
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || typesText || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    search.focus();
  });
}

/**
 * @param {Readonly<import("./view.js").View>} view
 * @param {Set<string>} [changed]
 */
function show(view, changed) {
  // A form that is being filled in stays, whatever else changes.
  if (changed && ["window", "from", "to"].some((name) => changed.has(name))) showRange(view);
  byId("lists").dataset.tab = view.tab;
  for (const button of tabs()) button.setAttribute("aria-pressed", String(button.value === view.tab));
}

/** @param {Readonly<import("./view.js").View>} view */
function showRange({ window, from, to }) {
  windowInput(window).checked = true;
  byId("custom").hidden = window !== "custom";
  if (window === "custom") {
    input("from").value = fieldText(new Date(from));
    input("to").value = to && fieldText(new Date(to));
  }
  setText(byId("custom-error"), "");
}

/** Open the form; nothing changes until there is a time range to show. */
function openForm() {
  byId("custom").hidden = false;
  const from = input("from");
  if (!from.value) from.value = fieldText(new Date(Date.now() - HOUR_MS));
}

/** Leave the form; the time range stays what it is. */
function closeForm() {
  showRange(view());
  byId("custom").hidden = true;
  windowInput(view().window).focus();
}

function applyForm() {
  const from = fieldMoment(input("from").value);
  const to = input("to").value ? fieldMoment(input("to").value) : null;
  const reversed = from >= (to ?? new Date());
  setText(byId("custom-error"), reversed ? `The beginning must be before ${to ? "the end" : "now"}.` : "");
  if (!reversed) change({ window: "custom", from: utc(from), to: to ? utc(to) : "", ...FIRST_PAGES });
}

/** @param {"from" | "to"} end */
function input(end) {
  return byId(`custom-${end}`, HTMLInputElement);
}

/** @param {string} window */
function windowInput(window) {
  return part(byId("windows"), `[value="${window}"]`, HTMLInputElement);
}

function tabs() {
  return parts(byId("tabs"), "button", HTMLButtonElement);
}
