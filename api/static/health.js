// The strip that says how the pipeline is, and the alarms above everything else.

import { byId, make, setText } from "./dom.js";
import { duration, percent, rate, short, size, whole } from "./format.js";

/** From when an uncounted line is late, in seconds: worth a look; wrong. */
const LATE = 10;
const TOO_LATE = 60;

/** From which share of rejected lines on: worth a look; wrong. A few are part of every stream, and one in ten of the demo. */
const MANY_REJECTED = 0.2;
const MOST_REJECTED = 0.5;

/** The past that rejected lines are reckoned over, in seconds, and how many lines say enough. */
const LATELY = 60;
const LEAST_LINES = 10;

/** Remembers a minute of totals, to say which share of the lines was rejected in it. */
export class RejectedShare {
  #past = []; // {at, lines, rejected}, oldest first

  /** Take the totals of this moment, in seconds; gives {share, lately}, the share of all time where there is no other. */
  add(at, { lines, rejected }) {
    const newest = this.#past.at(-1);
    if (newest && (lines < newest.lines || rejected < newest.rejected)) this.#past = []; // Redis lost its data
    this.#past.push({ at, lines, rejected });
    while (this.#past.length > 2 && this.#past[1].at <= at - LATELY) this.#past.shift();
    const recent = lines - this.#past[0].lines;
    if (recent >= LEAST_LINES) return { share: (rejected - this.#past[0].rejected) / recent, lately: true };
    return { share: lines ? rejected / lines : 0, lately: false };
  }
}

/**
 * What a message of the live feed means for each cell: {value, more, level}, where level is "", "warn" or "bad".
 * `rejection` is what RejectedShare says.
 */
export function judge({ totals, backlog, aggregators_alive: alive, dead_letters: deadLetters }, rejection) {
  const oldest = backlog.oldest_seconds ?? 0;
  const stuck = backlog.blocks > 0 && alive === 0;
  let late = "";
  if (oldest >= LATE) late = oldest >= TOO_LATE ? "bad" : "warn";
  let pace = late ? "counting is behind" : "counting keeps up";
  if (stuck) [late, pace] = ["bad", "nothing is being counted"];
  return {
    backlog: { value: whole(backlog.blocks), more: waiting(backlog), level: late || (backlog.full ? "warn" : "") },
    oldest: {
      value: backlog.oldest_seconds === null ? "–" : duration(oldest),
      more: pace,
      level: late,
    },
    aggregators: { value: whole(alive), level: stuck ? "bad" : "" },
    rejected: {
      value: whole(totals.rejected),
      more: totals.rejected ? `${percent(rejection.share)} ${rejection.lately ? "lately" : "of all"}` : "none",
      level: rejectedLevel(rejection),
    },
    lost: {
      value: whole(totals.lost),
      more: totals.lost ? "blocks were deleted uncounted" : "none, ever",
      level: totals.lost ? "bad" : "",
    },
    "dead-letters": {
      value: whole(deadLetters),
      more: deadLetters ? "set aside, not counted" : "none",
      level: deadLetters ? "bad" : "",
    },
  };
}

function waiting({ blocks, bytes, lines, full }) {
  if (!blocks) return "nothing waits";
  if (full) return `blocks, ${size(bytes)}: full, sources are not read`;
  return bytes ? `blocks, ${size(bytes)}` : `blocks, about ${short(lines)} lines`; // others may have added them
}

function rejectedLevel({ share }) {
  if (share >= MOST_REJECTED) return "bad";
  return share >= MANY_REJECTED ? "warn" : "";
}

/** A sentence for each thing that is wrong. */
export function alarms({ totals, backlog, aggregators_alive: alive, dead_letters: deadLetters }, rejection) {
  const found = [];
  if (backlog.blocks > 0 && alive === 0) {
    found.push("No aggregator is alive: lines wait and nothing is being counted. Start one with: tally aggregate");
    if (backlog.full) found.push("The backlog is full: sources are not read until some of it is counted.");
  } else if ((backlog.oldest_seconds ?? 0) >= TOO_LATE) {
    found.push("Counting is more than a minute behind. More aggregators may help.");
  }
  // Of now only: what was rejected long ago needs nobody at three in the morning.
  if (rejection.lately && rejection.share >= MOST_REJECTED) {
    found.push("Most lines of the last minute were rejected. The samples have the reasons; tally check FILE suggests settings.");
  }
  if (deadLetters > 0) found.push("Some blocks could not be counted by any aggregator and were set aside; see the aggregators’ logs.");
  if (totals.lost > 0) found.push("Some blocks were deleted from the stream before they were counted; their lines are lost.");
  return found;
}

export class Health {
  #lastAlarms = "";
  #rejected = new RejectedShare();

  /** Show a message of the live feed. */
  show(message) {
    const rejection = this.#rejected.add(message.as_of, message.totals);
    for (const [name, cell] of Object.entries(judge(message, rejection))) {
      const element = byId(`health-${name}`);
      setText(element.querySelector(".value"), cell.value);
      if (cell.more !== undefined) setText(element.querySelector(".part") ?? element.querySelector(".more"), cell.more);
      element.dataset.level = cell.level;
    }
    byId("health-rejected").title = rejection.lately ? "of the lines of the last minute" : "";
    this.#rates(message.events_per_second);
    setText(byId("total-events"), whole(message.totals.events));
    setText(byId("total-words"), whole(message.totals.words));
    this.alarm(alarms(message, rejection));
  }

  /** Nothing is heard of the pipeline: no rate is known, and nothing is known to be well. */
  unavailable() {
    this.#rates({});
    for (const cell of document.querySelectorAll('.health [data-level=""]')) cell.removeAttribute("data-level");
    setText(byId("health-oldest").querySelector(".more"), "not known");
  }

  /** Show these sentences; they are announced when they change. */
  alarm(sentences) {
    const joined = sentences.join("\n");
    if (joined === this.#lastAlarms) return;
    this.#lastAlarms = joined;
    byId("alarms").replaceChildren(...sentences.map((text) => make("p", { className: "alarm", textContent: text })));
  }

  #rates(rates) {
    for (const span of ["1", "10", "60"]) setText(byId(`rate-${span}`), rate(rates[span]));
  }

  /** Whether something is wrong. */
  get alarming() {
    return this.#lastAlarms !== "";
  }
}
