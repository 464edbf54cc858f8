// A link to what is shown now, which shows the same tomorrow: with times in place of "the last hour".

import { write } from "./address.js";
import { announce } from "./announce.js";
import { copyText } from "./clipboard.js";
import { byId, setText } from "./dom.js";
import { span } from "./format.js";
import { fixed, moments } from "./view.js";

/** For how long the button says what it did, in milliseconds. */
const SAID_MS = 2500;

let saying = 0;

/** Make the button work. */
export function start() {
  byId("copy-link").addEventListener("click", async () => {
    const now = Date.now() / 1000;
    const link = `${location.origin}${location.pathname}${write(fixed(now))}`;
    if (await copyText(link)) copied(now);
    else offer(link);
  });
}

/** @param {number} now */
function copied(now) {
  const range = moments(now);
  announce(range ? `Link copied, with the times ${span(range.from, range.to)}` : "Link copied");
  setText(byId("copy-link"), "Copied");
  clearTimeout(saying);
  byId("link-offer").hidden = true;
  saying = setTimeout(() => setText(byId("copy-link"), "Copy link"), SAID_MS);
}

/**
 * Show the link, to be copied by hand.
 *
 * @param {string} link
 */
function offer(link) {
  const field = byId("link", HTMLInputElement);
  field.value = link;
  byId("link-offer").hidden = false;
  field.focus();
  field.select();
}
