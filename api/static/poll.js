// Asking again and again, but never faster than is good for the api.

/** Waiting takes at least so many times as long as the answer took: a slow api is asked less often. */
const PATIENCE = 4;

/** One question, the newest answer of which is shown. Answers to older questions are dropped. */
export class Poll {
  #load;
  #show;
  #fail;
  #pauseMs;
  #running = null;
  #nextAt = 0;
  #timer = null; // of a nudge that came too early
  #late = false; // a nudge came while an answer was awaited, which may be of before

  /** `load(signal)` asks, `show(answer)` and `fail(error)` take what comes. */
  constructor({ load, show, fail, pauseMs }) {
    this.#load = load;
    this.#show = show;
    this.#fail = fail;
    this.#pauseMs = pauseMs;
  }

  /** Something may have changed: ask as soon as that is allowed, or `atOnce`, unless nobody is looking. */
  nudge(atOnce = false) {
    if (document.hidden) return;
    if (atOnce) this.ask();
    else if (this.#running) this.#late = true;
    else this.#timer ??= setTimeout(() => this.#due(), this.#nextAt - performance.now());
  }

  #due() {
    this.#timer = null;
    if (!document.hidden) this.ask();
  }

  /** The question has changed: ask now. */
  async ask() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#late = false;
    this.#running?.abort();
    const mine = new AbortController();
    this.#running = mine;
    const began = performance.now();
    try {
      const answer = await this.#load(mine.signal);
      if (this.#running === mine) this.#show(answer);
    } catch (error) {
      if (this.#running === mine) this.#fail(error);
    }
    if (this.#running === mine) {
      this.#running = null;
      const now = performance.now();
      this.#nextAt = now + Math.max(this.#pauseMs, PATIENCE * (now - began));
      if (this.#late) this.nudge();
    }
  }
}
