// The strip that says how the pipeline is, and the alarms above everything else.

import { byId, make, setText } from "./dom.js";
import { duration, percent, rate, short, whole } from "./format.js";

/** From when an uncounted line is late, in seconds: worth a look; wrong. */
const LATE = 10;
const TOO_LATE = 60;

/**
 * What a message of the live feed means for each cell: {value, more, level}, where level is "", "warn" or "bad".
 */
export function judge({ totals, backlog, consumers, dead }) {
  const oldest = backlog.oldest_seconds ?? 0;
  const stuck = backlog.blocks > 0 && consumers === 0;
  let late = "";
  if (oldest >= LATE) late = oldest >= TOO_LATE ? "bad" : "warn";
  return {
    backlog: {
      value: whole(backlog.blocks),
      more: backlog.blocks ? `blocks, about ${short(backlog.lines)} lines` : "nothing waits",
      level: stuck ? "bad" : late,
    },
    oldest: {
      value: backlog.oldest_seconds === null ? "–" : duration(oldest),
      more: late ? "counting is behind" : "counting keeps up",
      level: late,
    },
    consumers: { value: whole(consumers), level: stuck ? "bad" : "" },
    rejected: { value: whole(totals.rejected), level: "" },
    lost: {
      value: whole(totals.lost),
      more: totals.lost ? "blocks were deleted uncounted" : "none, ever",
      level: totals.lost ? "bad" : "",
    },
    dead: {
      value: whole(dead),
      more: dead ? "set aside, not counted" : "none",
      level: dead ? "bad" : "",
    },
  };
}

/** A sentence for each thing that is wrong. */
export function alarms({ totals, backlog, consumers, dead }) {
  const found = [];
  if (backlog.blocks > 0 && consumers === 0) {
    found.push("No aggregator is alive: lines wait and nothing is being counted. Start one with: tally aggregate");
  } else if ((backlog.oldest_seconds ?? 0) >= TOO_LATE) {
    found.push("Counting is more than a minute behind. More aggregators may help.");
  }
  if (dead > 0) found.push("Some blocks could not be counted by any aggregator and were set aside; see the aggregators’ logs.");
  if (totals.lost > 0) found.push("Some blocks were deleted from the stream before they were counted; their lines are lost.");
  return found;
}

export class Health {
  #lastAlarms = "";

  /** Show a message of the live feed. */
  show(message) {
    for (const [name, cell] of Object.entries(judge(message))) {
      const element = byId(`health-${name}`);
      setText(element.querySelector(".value"), cell.value);
      if (cell.more !== undefined) setText(element.querySelector(".more"), cell.more);
      element.dataset.level = cell.level;
    }
    byId("health-rejected").title = `${percent(message.totals.rejected / (message.totals.lines || 1))} of all lines`;
    for (const span of ["1", "10", "60"]) setText(byId(`rate-${span}`), rate(message.rate[span]));
    setText(byId("total-events"), whole(message.totals.events));
    setText(byId("total-words"), whole(message.totals.words));
    this.alarm(alarms(message));
  }

  /** Show these sentences; they are announced when they change. */
  alarm(sentences) {
    const joined = sentences.join("\n");
    if (joined === this.#lastAlarms) return;
    this.#lastAlarms = joined;
    byId("alarms").replaceChildren(...sentences.map((text) => make("p", { className: "alarm", textContent: text })));
  }

  /** Whether something is wrong. */
  get alarming() {
    return this.#lastAlarms !== "";
  }
}
