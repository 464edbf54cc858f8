// What to do where nothing was counted yet: commands that send a first event, each to copy. It goes away with that event.

import { getJson } from "./api.js";
import { announce } from "./announce.js";
import { copyText } from "./clipboard.js";
import { byId, make, part, parts, setText } from "./dom.js";
import { Poll } from "./poll.js";

const EVENT = '{"event_type": "login", "data": "hello world"}';

/** What is started where no source takes events over HTTP, and where that one does. */
const OWN_SOURCE = "http://127.0.0.1:9000";

/** Addresses on which a source listens for all of a machine's. From here that machine is what this page came from. */
const ALL_ADDRESSES = /^(0\.0\.0\.0|\[::\])$/;

/** For how long a button says that it has copied, in milliseconds. */
const SAID_MS = 2500;

export class FirstEvent {
  #card = byId("first-event");
  /** @type {Poll<Api.Status>} */
  #poll = new Poll({
    load: (signal) => getJson("v1/stats", undefined, signal),
    show: ({ sources }) => this.#offer(httpAddress(sources.map(({ name }) => name))),
    fail: () => {}, // what is wrong is said elsewhere
    pauseMs: 3000,
  });

  constructor() {
    for (const button of parts(this.#card, "button", HTMLButtonElement)) button.addEventListener("click", () => copy(button));
    this.#offer(null);
  }

  /**
   * Show the card while no line was ever counted.
   *
   * @param {Api.Totals} totals
   */
  totals({ events, rejected }) {
    const empty = !events && !rejected;
    if (this.#card.hidden !== empty) {
      if (empty) this.#poll.nudge(); // a source may have begun to listen
      return;
    }
    this.#card.hidden = !empty;
    if (empty) this.#poll.ask();
  }

  /**
   * Offer the command that sends an event over HTTP.
   *
   * @param {string | null} address of a source that listens; null: none does
   */
  #offer(address) {
    byId("first-source").hidden = address !== null;
    setText(part(byId("first-source"), "code"), `tally ingest ${OWN_SOURCE}`);
    setText(part(byId("first-http"), "code"), `curl -d '${EVENT}' ${address ?? OWN_SOURCE}/events`);
  }
}

/**
 * Return the address of the first http source among the names of sources, which were seen lately; null if there is none.
 *
 * @param {string[]} names
 */
export function httpAddress(names) {
  for (const name of names) {
    const found = /^(https?):\/\/(\[[\d:a-f]+\]|[\w.-]+):(\d+)\/?$/i.exec(name);
    if (!found) continue;
    const [, scheme, host, port] = found;
    return `${scheme}://${ALL_ADDRESSES.test(host) ? location.hostname : host}:${port}`;
  }
  return null;
}

/** @param {HTMLButtonElement} button stands behind the command that it copies */
async function copy(button) {
  const command = part(/** @type {HTMLElement} */ (button.parentElement), "code");
  if (!(await copyText(command.textContent ?? ""))) {
    // Then it is marked, for the reader to copy.
    getSelection()?.selectAllChildren(command);
    announce("The command is selected; copy it by keyboard.");
    return;
  }
  announce("Command copied");
  const said = make("span", { textContent: "Copied" });
  button.replaceChildren(said);
  setTimeout(() => {
    if (button.firstChild === said) button.textContent = "Copy";
  }, SAID_MS);
}
