// Names that the timeline draws besides what it stacks, each as a line: they are in the page's address, as type:foo or word:bar.

import { make, parts } from "./dom.js";
import { visible } from "./format.js";
import { change, onChange, view } from "./view.js";

const SVG = "http://www.w3.org/2000/svg";

/** So many at once, the last that were asked for: the chart has no more colours. */
const MOST = 4;

/** @type {Record<Api.Kind, string>} */
const CALLED = Object.freeze({ types: "type", words: "word" });

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
function isDrawn(kind, name) {
  return view().overlay.includes(textOf(kind, name));
}

/** @type {WeakMap<Element, {kind: Api.Kind, name: string}>} what each button that was made here draws */
const drawn = new WeakMap();

onChange((_, changed) => {
  if (changed.has("overlay")) for (const button of parts(document, "button.draw")) mark(button);
});

/**
 * Return a button that draws a name besides, or no longer.
 *
 * @param {Api.Kind} kind
 * @param {string} name
 * @param {string} [text] a picture without it
 */
export function drawButton(kind, name, text) {
  const button = make("button", { type: "button", className: text ? "quiet draw" : "link draw", title: "Draw in the chart" }, text ?? picture());
  if (!text) button.setAttribute("aria-label", `Draw ${visible(name)} in the chart`);
  drawn.set(button, { kind, name });
  mark(button);
  button.addEventListener("click", () => draw(kind, name, !isDrawn(kind, name)));
  return button;
}

/** Return the picture of a line with steps. */
function picture() {
  const icon = document.createElementNS(SVG, "svg");
  icon.setAttribute("viewBox", "0 0 16 12");
  icon.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("d", "M1 10h4V3h5v5h5");
  icon.append(line);
  return icon;
}

/** @param {Element} button */
function mark(button) {
  const named = drawn.get(button);
  if (named) button.setAttribute("aria-pressed", String(isDrawn(named.kind, named.name)));
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
