// The live page: puts its parts together. The live feed gives the figures of now and tells the other parts that there is
// something new; each of them asks for what it shows by itself.

import { byId, setText } from "./dom.js";
import { Feed } from "./feed.js";
import { rate } from "./format.js";
import { Health } from "./health.js";
import * as picker from "./picker.js";
import { Ranking } from "./ranking.js";
import * as sheet from "./sheet.js";
import { Timeline } from "./timeline.js";
import { Trending } from "./trending.js";
import { onChange } from "./view.js";

/** A time range that ends now loses its oldest events even when none comes. */
const IDLE_MS = 10_000;

const health = new Health();
const timeline = new Timeline();
const types = new Ranking("types", { onSamples: sheet.showRejected });
const words = new Ranking("words", { onSamples: sheet.showRejected });
const trending = new Trending();
const parts = [types, words, timeline, trending];

let state = "";
let lastEvents = null;
let grew = false; // since the tick before
let lastNudge = 0;

const feed = new Feed({
  onMessage(type, message) {
    if (type === "unavailable") {
      connection("unavailable", "Redis is unavailable, retrying");
      health.unavailable();
      health.alarm([`Redis is unavailable: these are the last counts that were read (${message.detail})`]);
      lastEvents = null;
      return;
    }
    // What failed meanwhile took its time, and would be asked for again only after four times as long.
    const back = state === "unavailable";
    connection("live", "Live");
    health.show(message);
    title(message);
    for (const list of [types, words]) list.totals(message.totals);
    const now = performance.now();
    const growing = message.totals.events !== lastEvents;
    // After the last of them once more: an answer that others ask for too may be a little older than this message.
    if (back || growing || grew || now - lastNudge >= IDLE_MS) {
      lastEvents = message.totals.events;
      grew = growing;
      lastNudge = now;
      for (const part of parts) part.nudge(back);
    }
  },
  onState(reached, why) {
    if (reached === "retrying") {
      connection("unavailable", `Disconnected, retrying: ${why}`);
      lastEvents = null;
      health.unavailable();
    }
    byId("retry").hidden = reached !== "retrying";
  },
});

/** Said aloud by a screen reader when it changes, so it changes only then. */
function connection(reached, text) {
  state = reached;
  byId("connection").dataset.state = state;
  document.body.classList.toggle("unavailable", state === "unavailable");
  setText(byId("connection-text"), text);
  if (state === "unavailable") document.title = "Disconnected – Tally";
}

function title(message) {
  const text = `${health.alarming ? "Alarm" : `${rate(message.events_per_second["1"])}/s`} – Tally`;
  if (document.title !== text) document.title = text;
}

onChange((_, changed) => {
  const has = (...names) => names.some((name) => changed.has(name));
  const moved = has("window", "from", "to");
  if (moved || has("q", "types_order", "types_offset")) types.ask();
  if (moved || has("q", "words_order", "words_offset")) words.ask();
  if (moved) trending.ask();
  if (moved) timeline.ask();
});

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) for (const part of parts) part.nudge();
});

byId("retry").addEventListener("click", () => feed.retry());

picker.start();
sheet.start();
types.ask();
words.ask();
trending.ask();
timeline.start();
feed.run();
