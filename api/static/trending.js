// What rises most against its own past.

import { Problem, explain, getJson } from "./api.js";
import { byId, detailsButton, make, nameElement, setText } from "./dom.js";
import { mean, ratio as times, span, whole } from "./format.js";
import { isHeld, onRelease } from "./held.js";
import { Poll } from "./poll.js";
import { filters, isFilter, open, range, toggleFilter } from "./view.js";

const MOST = 8;

/** The least score, a G², of what is shown: that of one name in a thousand by chance alone (chi-squared, one degree of
 * freedom). Something is always a little more frequent than before, though all be steady. */
const LEAST_SCORE = 10.83;

/** How many times as frequent as before a name is at the least: where much is counted, chance is no matter, and yet a tenth more
 * is no news. */
const LEAST_RATIO = 1.5;

/** The trailing window where none is chosen: all time and a custom time range have no present. */
const DEFAULT_WINDOW = "15m";

/** @typedef {Api.Trending | Problem} Answer or why there is none to this question */

/** @type {Api.Kind[]} */
const KINDS = ["types", "words"];

export class Trending {
  /** @type {Poll<Answer[]>} an answer for each of KINDS */
  #poll = new Poll({
    load: (signal) => Promise.all(KINDS.map((kind) => getJson(`v1/${kind}:trending`, {
      window: chosenWindow(), limit: MOST, least_ratio: LEAST_RATIO, ...filters(kind),
    }, signal).catch(unanswerable))),
    show: (answers) => this.#show(answers),
    fail: (error) => setText(byId("trending-note"), explain(error)),
    pauseMs: 5000,
  });

  /** @type {WeakMap<Element, string>} the name that each button of the lists opens */
  #names = new WeakMap();

  #section = byId("trending");
  #anew = true; // the next answer is to another question
  /** @type {Answer[] | null} what waits until the list is no longer held */
  #waiting = null;

  constructor() {
    onRelease(this.#section, () => {
      if (this.#waiting) this.#show(this.#waiting);
    });
  }

  /** Ask for the time range that is chosen now. */
  ask() {
    this.#anew = true;
    this.#poll.ask();
  }

  /**
   * Ask again: something was counted, or a while has passed.
   *
   * @param {boolean} [atOnce]
   */
  nudge(atOnce) {
    this.#poll.nudge(atOnce);
  }

  /** @param {Answer[]} answers */
  #show(answers) {
    const held = !this.#anew && isHeld(this.#section);
    this.#section.classList.toggle("held", held);
    this.#waiting = held ? answers : null;
    if (held) return;
    this.#anew = false;
    const [answer] = answers.filter(/** @returns {each is Api.Trending} */ (each) => !(each instanceof Problem));
    setText(byId("trending-note"), answer ? compared(answer) : "");
    KINDS.forEach((kind, at) => this.#list(kind, answers[at]));
  }

  /**
   * @param {Api.Kind} kind
   * @param {Answer} answer
   */
  #list(kind, answer) {
    const list = byId(`trending-${kind}`);
    const focused = document.activeElement && list.contains(document.activeElement) ? document.activeElement : null;
    const rises = answer instanceof Problem ? [] : answer.items.filter(({ score }) => score >= LEAST_SCORE);
    list.replaceChildren(...rises.map((rise) => this.#item(kind, rise)));
    if (!rises.length) list.append(make("li", { className: "muted", textContent: nothing(answer) }));
    if (!focused) return;
    const again = [...list.querySelectorAll("button")]
      .find((button) => this.#names.get(button) === this.#names.get(focused) && button.className === focused.className);
    again?.focus({ preventScroll: true });
  }

  /**
   * @param {Api.Kind} kind
   * @param {Api.Rise} rise
   */
  #item(kind, { name, count, expected, ratio }) {
    const button = make("button", { type: "button" }, nameElement(name));
    button.setAttribute("aria-pressed", String(isFilter(kind, name)));
    button.addEventListener("click", () => toggleFilter(kind, name));
    const details = detailsButton(name);
    details.addEventListener("click", () => open(kind, name));
    for (const each of [button, details]) this.#names.set(each, name);
    return make("li", {}, button, details,
      make("span", { className: "ratio", textContent: ratio === null ? "new" : times(ratio) }),
      make("span", { className: "muted counts", textContent: `${whole(count)} now, ${ratio === null ? "never before" : `usually ${mean(expected)}`}` }));
  }
}

/**
 * Return a problem that is all there is to say to this question; throw any other.
 *
 * @param {unknown} error
 * @returns {Problem}
 */
function unanswerable(error) {
  if (error instanceof Problem && error.lasting) return error;
  throw error;
}

/**
 * Return which time ranges are compared.
 *
 * @param {Api.Trending} answer
 */
function compared({ present, baseline }) {
  const window = chosenWindow().replace(/(?<=\d)(?=[a-z])/, "\u00a0");
  return `last ${window}, ${span(present.from, present.to)}, against ${span(baseline.from, baseline.to)}`;
}

/**
 * Return why there is nothing in a list.
 *
 * @param {Answer} answer
 */
function nothing(answer) {
  if (answer instanceof Problem) return answer.is("words-not-by-type") ? answer.message : explain(answer);
  return answer.baseline.total ? "Nothing rises." : "Nothing to compare with yet.";
}

function chosenWindow() {
  const { window } = range();
  return window === "all" || window === "custom" ? DEFAULT_WINDOW : window;
}
