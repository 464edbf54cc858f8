// The live feed: one connection for as long as somebody looks at the page, made again whenever it ends.

import { explain, request } from "./api.js";
import { backoff } from "./backoff.js";
import { messages } from "./sse.js";
import { isAsked } from "./token.js";

/** Something comes every second; a connection that is silent for so long is dead, whatever the network says. */
const SILENCE_MS = 10_000;

/** How often a page that is hidden looks. All pages of a browser share six connections to a server: kept open by six of
 * them, they would leave none for anything else. */
const HIDDEN_MS = 10_000;

/**
 * Follows /v1/live for ever. After a break it goes on where it was, by Last-Event-ID.
 *
 * @typedef {"connecting" | "live" | "retrying"} FeedState
 */
export class Feed {
  #asked;
  #onMessage;
  #onState;
  #lastId = "";
  #attempts = 0;
  #wake = () => {};
  #leave = () => {};
  #left = false; // because something else is asked

  /**
   * @param {() => object} asked returns the parameters of the question, anew for each connection
   * @param {object} listeners
   * @param {(type: string, data: any) => void} listeners.onMessage is called for each event
   * @param {(state: FeedState, why?: string) => void} listeners.onState is called as the connection comes and goes
   */
  constructor(asked, { onMessage, onState }) {
    this.#asked = asked;
    this.#onMessage = onMessage;
    this.#onState = onState;
  }

  /** Run for ever. */
  async run() {
    addEventListener("online", () => this.retry());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.retry();
    });
    this.#onState("connecting");
    for (;;) {
      let why = "the connection ended";
      try {
        if (await this.#follow()) {
          if (document.hidden) await this.#pause(HIDDEN_MS);
          continue;
        }
      } catch (error) {
        why = explain(error);
      }
      if (this.#left) {
        this.#left = false;
        continue;
      }
      this.#attempts += 1;
      this.#onState("retrying", why);
      await this.#pause(backoff(this.#attempts));
    }
  }

  /** Do not wait for the next attempt. */
  retry() {
    this.#wake();
  }

  /** Ask anew, because something else is asked. What was missed meanwhile is not: a snapshot has all of it. */
  renew() {
    this.#left = true;
    this.#lastId = "";
    this.#leave();
    this.#wake();
  }

  /** Follow one connection to its end. Returns true if it was left because the page is hidden. */
  async #follow() {
    const aborting = new AbortController();
    this.#leave = () => aborting.abort();
    this.#left = false;
    let silence = 0;
    const heard = () => {
      clearTimeout(silence);
      // While a person looks for the token, the api is not silent: it has not been asked.
      silence = setTimeout(() => (isAsked() ? heard() : aborting.abort()), SILENCE_MS);
    };
    /** @type {Record<string, string>} */
    const headers = this.#lastId ? { "Last-Event-ID": this.#lastId } : {};
    try {
      heard();
      const response = await request("v1/live", this.#asked(), { headers, signal: aborting.signal, cache: "no-store" });
      if (!response.body) return false;
      for await (const { type, data, id } of messages(response.body)) {
        heard();
        if (this.#left) return false;
        this.#lastId = id;
        this.#attempts = 0;
        this.#onState("live");
        this.#onMessage(type, JSON.parse(data));
        if (document.hidden) {
          this.#lastId = ""; // what is of now is wanted next, not what was missed
          return true;
        }
      }
      return false;
    } finally {
      clearTimeout(silence);
      aborting.abort();
    }
  }

  /**
   * Wait, but no longer than until retry().
   *
   * @param {number} milliseconds
   * @returns {Promise<void>}
   */
  #pause(milliseconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
