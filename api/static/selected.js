// The figures of now where filters narrow them: what they are of, and how often that was counted.

import { byId, make, nameElement, setText } from "./dom.js";
import { whole } from "./format.js";
import { onChange, view } from "./view.js";

/** Show what the address has, and each change of it. */
export function start() {
  onChange((_, changed) => {
    if (changed.has("type") || changed.has("word")) show();
  });
  show();
}

/** Return what the live feed is asked for: what it narrows its figures to. */
export function asked() {
  const { type, word } = view();
  return { type: [...type], word: [...word] };
}

/**
 * Show what a message of the live feed says of it, and return the rates to be shown: of all events where nothing is narrowed.
 *
 * @param {Api.Now} now
 * @returns {{[seconds: string]: number | null}}
 */
export function rates(now) {
  if (!isNarrowed()) return now.events_per_second;
  setText(byId("selected-count"), now.selected ? whole(now.selected.count) : "–");
  return now.selected?.per_second ?? {};
}

function isNarrowed() {
  const { type, word } = view();
  return type.length > 0 || word.length > 0;
}

function show() {
  const { type, word } = view();
  const narrowed = isNarrowed();
  setText(byId("now-title"), word.length ? "Words per second" : "Events per second");
  byId("now-of").replaceChildren(...narrowed ? [...part("", "words", word), ...part(word.length ? " in " : "of ", "types", type)] : []);
  byId("now-of").title = byId("now-of").textContent;
  byId("selected").hidden = !narrowed;
  setText(byId("selected-title"), word.length ? "These words" : "These events");
  setText(byId("selected-count"), "–");
  // What is shown until the feed tells more is of something else.
  for (const seconds of ["1", "10", "60"]) setText(byId(`rate-${seconds}`), "–");
}

/**
 * @param {string} before
 * @param {string} several
 * @param {readonly string[]} names
 */
function part(before, several, names) {
  if (!names.length) return [];
  return [before, names.length === 1 ? nameElement(names[0]) : make("span", { textContent: `${names.length} ${several}` })];
}
