// The live page: puts its panels together. The live feed gives the figures of now and tells the panels that there is
// something new; each of them asks the api for what it shows by itself.
//
// To be read downwards: health, timeline, ranking, trending and sheet are what is seen; controls and view say what of it is
// asked for, display how; chart draws; feed, poll, api and token speak to the api; format and dom are helpers.

import * as chips from "./chips.js";
import * as controls from "./controls.js";
import * as display from "./display.js";
import { byId, setText } from "./dom.js";
import { Feed } from "./feed.js";
import { FirstEvent } from "./first-event.js";
import { rate, visible } from "./format.js";
import { Health, stillness } from "./health.js";
import { entitle } from "./page-title.js";
import * as popovers from "./popovers.js";
import { onZone } from "./preferences.js";
import { Ranking } from "./ranking.js";
import * as selected from "./selected.js";
import * as share from "./share.js";
import * as sheet from "./sheet.js";
import { Timeline } from "./timeline.js";
import { Trending } from "./trending.js";
import { RANGE, impossible, onChange } from "./view.js";

/** A time range that ends now loses its oldest events even when none comes. */
const IDLE_MS = 10_000;

/** Letters of each part of an address that are repeated to whoever opened it. */
const MOST_TOLD = 100;

const health = new Health();
const timeline = new Timeline();
const types = new Ranking("types", { onNarrowed: (problem) => chips.cannotFollow("types", problem) });
const words = new Ranking("words", { onNarrowed: (problem) => chips.cannotFollow("words", problem) });
const trending = new Trending();
const firstEvent = new FirstEvent();
const panels = [types, words, timeline, trending, sheet];

/** @type {"connecting" | "live" | "unavailable"} */
let state = "connecting";
/** @type {number | null} */
let lastEvents = null;
let grew = false; // since the tick before
let lastNudge = 0;

const feed = new Feed(selected.asked, {
  onMessage(type, message) {
    if (type === "unavailable") unavailable(message);
    else show(message);
  },
  onState(reached, why) {
    if (reached === "retrying") {
      connection("unavailable", `Disconnected, retrying: ${why}`);
      lastEvents = null;
      health.unknown();
    }
    byId("retry").hidden = reached !== "retrying";
  },
});

/** @param {Api.Now} now */
function show(now) {
  const back = state === "unavailable";
  connection("live", "Live", stillness(now));
  const rates = selected.rates(now);
  health.show({ ...now, events_per_second: rates });
  entitle({ wrong: health.alarming ? "Alarm" : "", rate: typeof rates["1"] === "number" ? `${rate(rates["1"])}/s` : "" });
  for (const part of [types, words, firstEvent]) part.totals(now.totals);
  const at = performance.now();
  const growing = now.totals.events !== lastEvents;
  // After the last of them once more: an answer that others ask for too may be a little older than this message.
  if (back || growing || grew || at - lastNudge >= IDLE_MS) {
    lastEvents = now.totals.events;
    grew = growing;
    lastNudge = at;
    // What failed meanwhile took its time, and would be asked for again only after four times as long.
    for (const panel of panels) panel.nudge(back);
  }
}

/** @param {Api.Unavailable} message */
function unavailable({ detail }) {
  connection("unavailable", "Redis is unavailable, retrying");
  health.unknown();
  const shown = lastEvents !== null || document.querySelector("main tbody tr");
  health.alarm([`${shown ? "Redis is unavailable: these are the last counts that were read" : "Redis is unavailable: there is nothing to show until it answers"} (${detail})`]);
  lastEvents = null;
}

/**
 * Show how the connection is. A screen reader says it when it changes, so it changes only then; why nothing is counted, with
 * the time that goes by, stands beside it.
 *
 * @param {"live" | "unavailable"} reached
 * @param {string} text
 * @param {string} [still] why nothing is counted; empty while something is
 */
function connection(reached, text, still = "") {
  state = reached;
  byId("connection").dataset.state = still ? "still" : state;
  setText(byId("stillness"), still);
  document.body.classList.toggle("unavailable", state === "unavailable");
  setText(byId("connection-text"), text);
  if (state === "unavailable") entitle({ wrong: "Disconnected" });
}

onChange((_, changed) => {
  const moved = RANGE.some((name) => changed.has(name));
  const filtered = changed.has("type") || changed.has("word");
  for (const list of [types, words]) {
    if (filtered) list.mark();
    if (moved || list.dependsOn(changed)) list.ask();
  }
  if (moved || filtered) trending.ask();
  if (moved) timeline.ask();
  else timeline.follow(changed);
  if (filtered) feed.renew();
  tellImpossible();
});

/** Say what the address asks for and cannot be: left out in silence, it would seem to have been followed. */
function tellImpossible() {
  const parts = impossible().map((each) => visible(each.slice(0, MOST_TOLD)));
  const note = byId("impossible");
  setText(note, parts.length ? `The address asks for what cannot be, and that is left out: ${parts.join(", ")}` : "");
  note.hidden = !parts.length;
}

// What they show has times in it.
onZone(() => {
  for (const panel of panels) panel.ask();
});

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) for (const panel of panels) panel.nudge();
});

byId("retry").addEventListener("click", () => feed.retry());

tellImpossible();
chips.start();
selected.start();
controls.start();
display.start();
popovers.start();
share.start();
sheet.start();
types.ask();
words.ask();
trending.ask();
timeline.start();
feed.run();
