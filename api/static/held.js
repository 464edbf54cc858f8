// A list that is being pointed at, or gone through by keyboard, is held: nothing moves away from under a pointer or the focus.

const hovers = matchMedia("(hover: hover)"); // a finger leaves behind what looks like a pointer

/**
 * Return whether the mouse is over an element, or the keyboard's focus is in it. What was clicked has the focus too, and holds nothing.
 *
 * @param {Element} element
 */
export function isHeld(element) {
  return (hovers.matches && element.matches(":hover")) || element.querySelector(":focus-visible") !== null;
}

/**
 * Have this called when an element may be held no longer.
 *
 * @param {HTMLElement} element
 * @param {() => void} listener
 */
export function onRelease(element, listener) {
  const look = () => {
    if (!isHeld(element)) listener();
  };
  element.addEventListener("pointerleave", look);
  // The focus is nowhere while it goes from one to the next.
  element.addEventListener("focusout", () => setTimeout(look));
}
