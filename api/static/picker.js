// The controls that say what is shown: the time range, the search, the tab of a narrow screen.

import { byId, setText } from "./dom.js";
import { change, onChange, view } from "./view.js";

/** Typing is over after so many milliseconds. */
const TYPED_MS = 250;

const FIRST_PAGES = { types_offset: "0", words_offset: "0" };

/** Make the controls work, and show in them what the address says. */
export function start() {
  const windows = byId("windows");
  windows.addEventListener("change", ({ target }) => {
    if (target.value === "custom") askForRange();
    else change({ window: target.value, from: "", to: "", ...FIRST_PAGES });
  });

  const search = byId("search");
  let typing;
  const find = () => {
    clearTimeout(typing);
    if (view().q !== search.value) change({ q: search.value, ...FIRST_PAGES });
  };
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(find, TYPED_MS);
  });
  // Whoever leaves the field has typed all: a page turned meanwhile must not be turned back when the time is up.
  search.addEventListener("change", find);
  addEventListener("keydown", (event) => {
    const elsewhere = event.target.matches("input:not([type=radio])") || document.querySelector("dialog[open]");
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || elsewhere) return;
    event.preventDefault();
    search.focus();
  });

  byId("custom").addEventListener("submit", (event) => {
    event.preventDefault();
    applyRange();
  });

  for (const button of byId("tabs").children) button.addEventListener("click", () => change({ tab: button.value }));

  onChange(show);
  show(view());
  search.value = view().q;
}

function show({ window, from, to, tab }) {
  byId("windows").querySelector(`[value="${window}"]`).checked = true;
  byId("custom").hidden = window !== "custom";
  if (window === "custom") {
    byId("custom-from").value = local(from);
    byId("custom-to").value = local(to);
  }
  setText(byId("custom-error"), "");
  byId("lists").dataset.tab = tab;
  for (const button of byId("tabs").children) button.setAttribute("aria-pressed", String(button.value === tab));
}

/** Open the form; nothing changes until there is a time range to show. */
function askForRange() {
  byId("custom").hidden = false;
  const hourAgo = new Date(Date.now() - 3_600_000);
  if (!byId("custom-from").value) byId("custom-from").value = local(hourAgo.toISOString());
  byId("custom-from").focus();
}

function applyRange() {
  const [from, to] = ["custom-from", "custom-to"].map((id) => byId(id).value).map((text) => text && new Date(text));
  if (to ? from >= to : from >= new Date()) {
    setText(byId("custom-error"), to ? "The beginning must be before the end." : "The beginning must be before now.");
    return;
  }
  setText(byId("custom-error"), "");
  change({ window: "custom", from: utc(from), to: to ? utc(to) : "", ...FIRST_PAGES });
}

/** A moment as an address has it, to the second. */
const utc = (date) => `${date.toISOString().slice(0, 19)}Z`;

/** The same as an input of local time has it. */
function local(text) {
  if (!text) return "";
  const date = new Date(text);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}
