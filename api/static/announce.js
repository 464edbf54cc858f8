// What a screen reader says besides what has the focus: once, when it is done with what it says.

import { byId, make } from "./dom.js";

/**
 * Have this said. A new element is said even if its text is that of the one before.
 *
 * @param {string} text
 */
export function announce(text) {
  byId("announcer").replaceChildren(make("span", { textContent: text }));
}
