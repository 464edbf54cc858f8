// Popovers: small texts and forms that open at a button, by mouse, keyboard and touch, as the browser has it. It puts them into
// the middle of the page; here they are put below their buttons.

import { parts } from "./dom.js";

/** Between a popover and its button, and the page's edge, in pixels. */
const GAP = 6;

/** @type {HTMLElement | null} that was used last: several may open the same popover */
let used = null;

/** Have each popover of the page open below its button. */
export function start() {
  document.addEventListener("click", ({ target }) => {
    used = target instanceof Element ? target.closest("[popovertarget]") : null;
  }, { capture: true });
  for (const popover of parts(document, "[popover]")) {
    popover.addEventListener("toggle", (event) => {
      if (/** @type {ToggleEvent} */ (event).newState === "open") place(popover);
    });
  }
  // What is above may grow, and then the button has moved.
  const sizes = new ResizeObserver(() => {
    for (const popover of parts(document, "[popover]:popover-open")) place(popover);
  });
  sizes.observe(document.body);
}

/** @param {HTMLElement} popover */
function place(popover) {
  const buttons = parts(document, `[popovertarget="${popover.id}"]`);
  const button = buttons.find((each) => each === used) ?? buttons[0];
  const at = button.getBoundingClientRect();
  const { width, height } = popover.getBoundingClientRect();
  const room = document.documentElement.clientWidth - width - GAP;
  const below = at.bottom + GAP;
  const fits = below + height <= document.documentElement.clientHeight || at.top < height + GAP;
  popover.style.left = `${Math.max(GAP, Math.min(at.left, room)) + scrollX}px`;
  popover.style.top = `${(fits ? below : at.top - GAP - height) + scrollY}px`;
}
