// Popovers: small texts and forms that open at a button, by mouse, keyboard and touch, as the browser has it. It puts them into
// the middle of the page; here they are put below their buttons.

import { parts } from "./dom.js";

/** Between a popover and its button, and the page's edge, in pixels. */
const GAP = 6;

/** Have each popover of the page open below its button. */
export function start() {
  for (const popover of parts(document, "[popover]")) {
    popover.addEventListener("toggle", (event) => {
      if (/** @type {ToggleEvent} */ (event).newState === "open") place(popover);
    });
  }
  addEventListener("resize", () => {
    for (const popover of parts(document, "[popover]:popover-open")) place(popover);
  });
}

/** @param {HTMLElement} popover */
function place(popover) {
  // Of several buttons with the same popover, the one that was used has the focus.
  const [button] = parts(document, `[popovertarget="${popover.id}"]`)
    .sort((one, other) => Number(other === document.activeElement) - Number(one === document.activeElement));
  const at = button.getBoundingClientRect();
  const { width, height } = popover.getBoundingClientRect();
  const room = document.documentElement.clientWidth - width - GAP;
  const below = at.bottom + GAP;
  const fits = below + height <= document.documentElement.clientHeight || at.top < height + GAP;
  popover.style.left = `${Math.max(GAP, Math.min(at.left, room)) + scrollX}px`;
  popover.style.top = `${(fits ? below : at.top - GAP - height) + scrollY}px`;
}
