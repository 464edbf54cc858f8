// The bearer token, where the api wants one: asked for once, kept in this tab's session storage.

import { byId, setText } from "./dom.js";

const KEY = "tally-token";

/** What a token is made of; the api takes no other. With anything else in a header, fetch throws before it asks. */
const TOKEN = /^[!-~]+$/;

/** @type {Promise<void> | null} */
let asking = null;

/** Return whether the token is being asked for. */
export const isAsked = () => asking !== null;

/** Return the token as it was given, or null. */
export function token() {
  const kept = sessionStorage.getItem(KEY);
  return kept !== null && TOKEN.test(kept) ? kept : null;
}

/**
 * Wait for another token than `refused`. Many requests that were refused wait for the same answer.
 *
 * @param {string | null} refused
 * @returns {Promise<void>}
 */
export function askForToken(refused) {
  if (token() !== refused) return Promise.resolve();
  asking ??= ask(refused).finally(() => { asking = null; });
  return asking;
}

/**
 * @param {string | null} refused
 * @returns {Promise<void>}
 */
function ask(refused) {
  const dialog = byId("token", HTMLDialogElement);
  const form = byId("token-form");
  const input = byId("token-value", HTMLInputElement);
  setText(byId("token-error"), refused ? "The api does not know this token." : "");
  if (!dialog.open) dialog.showModal();
  return new Promise((resolve) => {
    const reopen = () => dialog.showModal(); // without a token there is nothing to see behind it
    /** @param {SubmitEvent} event */
    const submit = (event) => {
      event.preventDefault();
      const given = input.value.trim(); // what is copied often brings a space or a line end along
      if (!TOKEN.test(given)) {
        setText(byId("token-error"), "A token has only letters, digits and signs of ASCII, and no space inside.");
        return;
      }
      sessionStorage.setItem(KEY, given);
      input.value = "";
      form.removeEventListener("submit", submit);
      dialog.removeEventListener("close", reopen);
      dialog.close();
      resolve();
    };
    form.addEventListener("submit", submit);
    dialog.addEventListener("close", reopen);
  });
}
