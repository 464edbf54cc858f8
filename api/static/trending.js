// What rises most against its own past.

import { explain, getJson } from "./api.js";
import { byId, make, nameElement, setText } from "./dom.js";
import { ratio as times, short, span, whole } from "./format.js";
import { Poll } from "./poll.js";
import { change, view } from "./view.js";

const MOST = 8;

const KINDS = ["types", "words"];

/** The least score, a G², of what is shown: that of one name in a thousand by chance alone (chi-squared, one degree of
 * freedom). Something is always a little more frequent than before, though all be steady. */
const LEAST_SCORE = 10.83;

/** A trailing window that trending can be asked for; all time and a custom time range have no present. */
const DEFAULT_WINDOW = "15m";

export class Trending {
  #poll = new Poll({
    load: (signal) => Promise.all(KINDS.map((kind) =>
      getJson(`v1/${kind}:trending`, { window: windowOf(view()), limit: MOST }, signal))),
    show: (answers) => this.#show(answers),
    fail: (error) => setText(byId("trending-note"), explain(error)),
    pauseMs: 5000,
  });

  /** The time range has changed. */
  ask() {
    this.#poll.ask();
  }

  /** Something was counted, or a while has passed. */
  nudge(atOnce) {
    this.#poll.nudge(atOnce);
  }

  #show(answers) {
    const [{ present, baseline }] = answers;
    setText(byId("trending-note"),
      `last ${windowOf(view())}, ${span(present.from, present.to)}, against ${span(baseline.from, baseline.to)}`);
    for (const [at, kind] of KINDS.entries()) {
      const answer = answers[at];
      const list = byId(`trending-${kind}`);
      const focused = list.contains(document.activeElement) ? document.activeElement.given : null;
      const rises = answer.items.filter(({ score }) => score >= LEAST_SCORE);
      list.replaceChildren(...rises.map((rise) => item(kind, rise)));
      const nothing = answer.baseline.total ? "Nothing rises." : "Nothing to compare with yet.";
      if (!rises.length) list.append(make("li", { className: "muted", textContent: nothing }));
      [...list.querySelectorAll("button")].find((button) => button.given === focused)?.focus({ preventScroll: true });
    }
  }
}

const windowOf = ({ window }) => (window === "all" || window === "custom" ? DEFAULT_WINDOW : window);

function item(kind, { name, count, expected, ratio }) {
  const button = make("button", { type: "button" }, nameElement(name));
  button.given = name;
  button.addEventListener("click", () => change(kind === "types" ? { type: name, word: null } : { word: name, type: null }));
  return make("li", {}, button,
    make("span", { className: "ratio", textContent: ratio === null ? "new" : times(ratio) }),
    make("span", { className: "muted counts", textContent: `${whole(count)}, expected ${short(expected)}` }));
}
