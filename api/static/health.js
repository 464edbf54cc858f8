// The cells that say how the pipeline is, and the alarms above everything else.

import { byId, make, part, setText } from "./dom.js";
import { duration, percent, rate, short, size, whole } from "./format.js";

/** From when on an uncounted line is late, in seconds: worth a look; wrong. */
const LATE = 10;
const TOO_LATE = 60;

/** From which share of rejected lines on: worth a look; wrong. A few are part of every stream, and one in ten of the demo. */
const MANY_REJECTED = 0.2;
const MOST_REJECTED = 0.5;

/** From when on nothing comes, in seconds: a stream with an event now and then is not still between them. */
const STILL = 60;

/** The past over which the share of rejected lines is taken, in seconds, and how many lines are enough to take it. */
const LATELY = 60;
const LEAST_LINES = 10;

/**
 * @typedef {"" | "warn" | "bad"} Level
 * @typedef {{value: string, more?: string, level: Level}} Cell
 * @typedef {{share: number, lately: boolean}} Rejection a share of lines; of all time where there is none of late
 */

export class Health {
  #lastAlarms = "";
  #rejected = new RejectedShare();

  /**
   * Show a message of the live feed.
   *
   * @param {Api.Now} now
   */
  show(now) {
    const rejection = this.#rejected.add(now.as_of, now.totals);
    for (const [name, cell] of Object.entries(cells(now, rejection))) {
      const element = byId(`health-${name}`);
      setText(part(element, ".value"), cell.value);
      if (cell.more !== undefined) setText(element.querySelector(".part") ?? part(element, ".more"), cell.more);
      element.dataset.level = cell.level;
    }
    this.#rates(now.events_per_second);
    setText(byId("total-events"), whole(now.totals.events));
    setText(byId("total-words"), whole(now.totals.words));
    this.alarm(alarms(now, rejection));
  }

  /** Show that nothing is heard of the pipeline: no rate is known, and nothing is known to be well. */
  unknown() {
    this.#rates({});
    for (const cell of document.querySelectorAll('.health [data-level=""]')) cell.removeAttribute("data-level");
    setText(part(byId("health-oldest"), ".more"), "not known");
  }

  /**
   * Show these sentences; they are announced when they change.
   *
   * @param {string[]} sentences
   */
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

  /** @param {{[seconds: string]: number | null}} rates */
  #rates(rates) {
    for (const seconds of ["1", "10", "60"]) setText(byId(`rate-${seconds}`), rate(rates[seconds]));
  }
}

/** Remembers a minute of totals, to say which share of the lines was rejected in it. */
class RejectedShare {
  /** @type {{at: number, lines: number, rejected: number}[]} oldest first */
  #past = [];

  /**
   * Take the totals of a moment, in seconds, and return the share that was rejected of late.
   *
   * @param {number} at
   * @param {Api.Totals} totals
   * @returns {Rejection}
   */
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
 * Return what each cell shows.
 *
 * @param {Api.Now} now
 * @param {Rejection} rejection
 * @returns {Record<string, Cell>}
 */
function cells({ totals, backlog, aggregators_alive: alive, dead_letters: deadLetters }, rejection) {
  const oldest = backlog.oldest_seconds ?? 0;
  const stuck = isStuck(backlog, alive);
  /** @type {Level} */
  let late = "";
  if (oldest >= LATE) late = oldest >= TOO_LATE ? "bad" : "warn";
  let pace = late ? "counting is behind" : "counting keeps up";
  if (stuck) [late, pace] = ["bad", "nothing is being counted"];
  return {
    backlog: { value: whole(backlog.blocks), more: waiting(backlog), level: late || (backlog.full || backlog.held ? "warn" : "") },
    oldest: { value: backlog.oldest_seconds === null ? "–" : duration(oldest), more: pace, level: late },
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
      more: deadLetters ? "blocks set aside, not counted" : "none",
      level: deadLetters ? "bad" : "",
    },
  };
}

/**
 * Return why nothing is counted just now; an empty text if something is.
 *
 * @param {Api.Now} now
 */
export function stillness({ as_of: asOf, backlog, aggregators_alive: alive }) {
  if (isStuck(backlog, alive)) return "lines wait, none is counted";
  if (backlog.held) return `appends are held by tally ${backlog.held.by}`;
  if (backlog.appended_at === null) return "nothing came yet";
  const seconds = asOf - backlog.appended_at;
  return seconds < STILL || backlog.blocks ? "" : `nothing came for ${duration(seconds)}`;
}

/**
 * Return a sentence for each thing that is wrong.
 *
 * @param {Api.Now} now
 * @param {Rejection} rejection
 */
function alarms({ totals, backlog, aggregators_alive: alive, dead_letters: deadLetters }, rejection) {
  const found = [];
  if (isStuck(backlog, alive)) {
    found.push("No aggregator is alive: lines wait and nothing is being counted. Start one with: tally aggregate");
    if (backlog.full) found.push("The backlog is full: sources are not read until some of it is counted.");
  } else if ((backlog.oldest_seconds ?? 0) >= TOO_LATE) {
    found.push("Counting is more than a minute behind. More aggregators may help.");
  }
  // Of now only: what was rejected long ago is no reason to wake anybody.
  if (rejection.lately && rejection.share >= MOST_REJECTED) {
    found.push("Most lines of the last minute were rejected. The samples have the reasons; tally check FILE suggests settings.");
  }
  if (deadLetters > 0) found.push("There are dead letters: blocks that no aggregator could count were set aside; see “tally dead-letters list”.");
  if (totals.lost > 0) found.push("Some blocks were deleted from the stream before they were counted; their lines are lost.");
  return found;
}

/**
 * @param {Api.Now["backlog"]} backlog
 * @param {number} aggregators how many are alive
 */
function isStuck(backlog, aggregators) {
  return backlog.blocks > 0 && aggregators === 0;
}

/** @param {Api.Now["backlog"]} backlog */
function waiting({ blocks, settled_blocks: settled, bytes, lines, full, bulk_full: bulkFull, held }) {
  if (held) return `held by tally ${held.by}, sources are not read`;
  if (!blocks) return "nothing waits";
  const unit = blocks === 1 ? "block" : "blocks";
  if (full) return `${unit}, ${size(bytes)}: full, sources are not read`;
  if (bulkFull) return `${unit}, ${size(bytes)}: full for files, not for live sources`;
  const waits = bytes ? `${unit}, ${size(bytes)}` : `${unit}, about ${short(lines)} lines`; // others may have added them
  return settled ? `${waits}; ${whole(settled)} settled` : waits;
}

/**
 * @param {Rejection} rejection
 * @returns {Level}
 */
function rejectedLevel({ share }) {
  if (share >= MOST_REJECTED) return "bad";
  return share >= MANY_REJECTED ? "warn" : "";
}
