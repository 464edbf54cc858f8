// Small helpers to make elements. Text is always set as text: nothing here, or anywhere, parses markup.

import { visible } from "./format.js";

/** The element with this id, which must be there. */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element ${id}`);
  return found;
}

/** A new element with properties and children (elements or text). */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Set text only where it differs, so that what stays the same costs no layout and is not announced again. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Show a name from events in this element, with the whole of it as its tooltip. */
export function setName(element, name) {
  const text = visible(name);
  setText(element, text);
  if (element.title !== text) element.title = text;
}

/** An element for a name from events: <bdi>, because its direction is its own. */
export function nameElement(name) {
  const element = make("bdi", { className: "given" });
  setName(element, name);
  return element;
}
