// Small helpers to find, make and fill elements. Text is always set as text: nothing here, or anywhere, parses markup.

import { visible } from "./format.js";

/**
 * Return the element with this id, which must be there, and be of the given class.
 *
 * @template {Element} [T=HTMLElement]
 * @param {string} id
 * @param {new () => T} [type]
 */
export function byId(id, type) {
  return part(document, `#${id}`, type);
}

/**
 * Return the first element within another that a selector finds; there must be one, and of the given class.
 *
 * @template {Element} [T=HTMLElement]
 * @param {ParentNode} within
 * @param {string} selector
 * @param {new () => T} [type]
 * @returns {T}
 */
export function part(within, selector, type = /** @type {any} */ (HTMLElement)) {
  const found = within.querySelector(selector);
  if (!(found instanceof type)) throw new Error(`no ${type.name} ${selector}`);
  return found;
}

/**
 * Return all elements within another that a selector finds, and that are of the given class.
 *
 * @template {Element} [T=HTMLElement]
 * @param {ParentNode} within
 * @param {string} selector
 * @param {new () => T} [type]
 * @returns {T[]}
 */
export function parts(within, selector, type = /** @type {any} */ (HTMLElement)) {
  return [...within.querySelectorAll(selector)].filter(/** @returns {each is T} */ (each) => each instanceof type);
}

/**
 * Return a new element with properties and children.
 *
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Partial<HTMLElementTagNameMap[T]>} [properties]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/**
 * Set text only where it differs, so that what stays the same costs no layout and is not announced again.
 *
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Show a name from events in this element, with the whole of it as its tooltip.
 *
 * @param {HTMLElement} element
 * @param {string} name
 */
export function setName(element, name) {
  const text = visible(name);
  setText(element, text);
  if (element.title !== text) element.title = text;
}

/**
 * Return an element for a name from events: <bdi>, because its direction is its own.
 *
 * @param {string} name
 */
export function nameElement(name) {
  const element = make("bdi", { className: "given" });
  setName(element, name);
  return element;
}

/**
 * Return a button that is to show a name in full.
 *
 * @param {string} name
 */
export function detailsButton(name) {
  const button = make("button", { type: "button", className: "link details", textContent: "⋯", title: "Details" });
  button.setAttribute("aria-label", `Details of ${visible(name)}`);
  return button;
}

/**
 * Put children into this order, and move only those that are not where they belong: one that is moved loses the focus.
 *
 * @param {Element} parent
 * @param {Element[]} children
 */
export function arrange(parent, children) {
  children.forEach((child, at) => {
    const there = parent.children[at] ?? null;
    if (there !== child) parent.insertBefore(child, there);
  });
}
