// The live feed: one connection for as long as the page is looked at, made again whenever it ends.

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
 * Calls onMessage(type, data) for each event of /v1/live, and onState("connecting" | "live" | "retrying", why) as the
 * connection comes and goes. Goes on where it was by Last-Event-ID.
 */
export class Feed {
  #onMessage;
  #onState;
  #lastId = "";
  #attempts = 0;
  #wake = () => {};

  constructor({ onMessage, onState }) {
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
      this.#attempts += 1;
      this.#onState("retrying", why);
      await this.#pause(backoff(this.#attempts));
    }
  }

  /** Do not wait for the next attempt. */
  retry() {
    this.#wake();
  }

  /** True if it has left off because nobody looks. */
  async #follow() {
    const aborting = new AbortController();
    let silence;
    const heard = () => {
      clearTimeout(silence);
      // While a person looks for the token, nobody is silent.
      silence = setTimeout(() => (isAsked() ? heard() : aborting.abort()), SILENCE_MS);
    };
    const headers = this.#lastId ? { "Last-Event-ID": this.#lastId } : {};
    try {
      heard();
      const response = await request("v1/live", {}, { headers, signal: aborting.signal, cache: "no-store" });
      for await (const { type, data, id } of messages(response.body)) {
        heard();
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
