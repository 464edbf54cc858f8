// Names that the timeline draws besides what it stacks, each as a line: they are in the page's address, as type:foo or word:bar.

import { change, view } from "./view.js";

/** So many at once, the last that were asked for: the chart has no more colours. */
const MOST = 4;

/** @type {Record<Api.Kind, string>} */
export const CALLED = Object.freeze({ types: "type", words: "word" });

/** @type {Api.Kind[]} */
const KINDS = ["types", "words"];

/** Return the names that are drawn besides. */
export function besides() {
  return view().overlay.flatMap((text) => {
    const kind = KINDS.find((each) => text.startsWith(textOf(each, "")));
    return kind ? [{ kind, name: text.slice(textOf(kind, "").length) }] : [];
  }).slice(-MOST);
}

/**
 * Return whether a name is drawn besides.
 *
 * @param {Api.Kind} kind
 * @param {string} name
 */
export function isDrawn(kind, name) {
  return view().overlay.includes(textOf(kind, name));
}

/**
 * Draw a name besides, or no longer.
 *
 * @param {Api.Kind} kind
 * @param {string} name
 * @param {boolean} drawn
 */
export function draw(kind, name, drawn) {
  const others = view().overlay.filter((each) => each !== textOf(kind, name));
  change({ overlay: drawn ? [...others, textOf(kind, name)].slice(-MOST) : others });
}

/**
 * @param {Api.Kind} kind
 * @param {string} name
 */
function textOf(kind, name) {
  return `${CALLED[kind]}:${name}`;
}
