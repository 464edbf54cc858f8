// The controls that say what is shown: the time range, the search, the tab of a narrow screen.

import { byId, parts } from "./dom.js";
import * as rangeControls from "./range-controls.js";
import { FIRST_PAGES, change, onChange, view } from "./view.js";

/** Typing is over after so many milliseconds. */
const TYPED_MS = 250;

/** Make the controls work, and show in them what the address says. */
export function start() {
  rangeControls.start();
  for (const button of tabs()) button.addEventListener("click", () => change({ tab: button.value }));
  startSearch();
  onChange(show);
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

/** @param {Readonly<import("./view.js").View>} view */
function show({ tab }) {
  byId("lists").dataset.tab = tab;
  for (const button of tabs()) button.setAttribute("aria-pressed", String(button.value === tab));
}

function tabs() {
  return parts(byId("tabs"), "button", HTMLButtonElement);
}
