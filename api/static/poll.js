// Asking again and again, but never faster than is good for the api.

/** Waiting takes at least so many times as long as the answer took: a slow api is asked less often. */
const PATIENCE = 4;

/**
 * One question, the newest answer of which is shown. Answers to older questions are dropped.
 *
 * @template T
 */
export class Poll {
  #load;
  #show;
  #fail;
  #pauseMs;
  /** @type {AbortController | null} */
  #running = null;
  #nextAt = 0;
  /** @type {number | null} of a nudge that came too early */
  #timer = null;
  #again = false; // a nudge came while an answer was awaited, which may be from before it

  /**
   * @param {object} question
   * @param {(signal: AbortSignal) => Promise<T>} question.load asks
   * @param {(answer: T) => void} question.show
   * @param {(error: unknown) => void} question.fail
   * @param {number} question.pauseMs how long an answer stands at least
   */
  constructor({ load, show, fail, pauseMs }) {
    this.#load = load;
    this.#show = show;
    this.#fail = fail;
    this.#pauseMs = pauseMs;
  }

  /**
   * Ask as soon as that is allowed, because something may have changed; nothing is asked while the page is hidden.
   *
   * @param {boolean} [atOnce] do not wait until it is allowed
   */
  nudge(atOnce = false) {
    if (document.hidden) return;
    if (atOnce) this.ask();
    else if (this.#running) this.#again = true;
    else this.#timer ??= setTimeout(() => this.#due(), this.#nextAt - performance.now());
  }

  #due() {
    this.#timer = null;
    if (!document.hidden) this.ask();
  }

  /** Ask now, because the question has changed. */
  async ask() {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#again = false;
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
      if (this.#again) this.nudge();
    }
  }
}
