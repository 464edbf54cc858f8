// Where the lines come from, for the sheet: each source with its rate, its rejected lines and how far counting is behind.

import { explain, getJson } from "./api.js";
import { make, nameElement } from "./dom.js";
import { duration, mean, moment, percent, whole } from "./format.js";
import { table } from "./pipeline-details.js";

const MOST = 100;

/** How often it is asked anew, in milliseconds. A rate is known with the second answer. */
const PAUSE_MS = 5000;

/**
 * Fill the body with the sources, and keep it true until it is left.
 *
 * @param {HTMLElement} body
 * @param {AbortSignal} signal
 */
export async function sources(body, signal) {
  show(body, await ask(signal));
  if (signal.aborted) return;
  const again = setInterval(async () => {
    if (document.hidden) return;
    try {
      show(body, await ask(signal));
    } catch (error) {
      if (signal.aborted) return;
      body.querySelector(".note")?.remove();
      body.prepend(make("p", { className: "note", textContent: explain(error) }));
    }
  }, PAUSE_MS);
  signal.addEventListener("abort", () => clearInterval(again));
}

/** @param {AbortSignal} signal */
function ask(signal) {
  return getJson("v1/sources", { limit: MOST, order: "-lines" }, signal);
}

/**
 * @param {HTMLElement} body
 * @param {Api.Answer<"v1/sources">} answer
 */
function show(body, { items, matched, other }) {
  const scrolled = body.querySelector(".scrolled");
  const focused = scrolled !== null && scrolled === document.activeElement;
  const some = matched > items.length ? `The ${whole(items.length)} with the most lines of ${whole(matched)}. ` : "";
  const rows = [...items, ...(other ? [other] : [])].map((each) => [
    nameElement(each.name),
    each.lines_per_second === null ? "–" : mean(each.lines_per_second),
    whole(each.lines),
    `${whole(each.rejected)}${each.rejected ? ` (${percent(each.rejected_share)})` : ""}`,
    each.newest_at === null ? "–" : moment(each.newest_at),
    each.lag_seconds === null ? "not known" : each.lag_seconds ? duration(each.lag_seconds) : "none",
  ]);
  const shown = rows.length
    ? table(["Name", "Lines a second", "Lines", "Rejected", "Newest counted", "Waiting for"], rows)
    : make("p", { textContent: "Nothing was counted yet." });
  body.replaceChildren(
    make("p", { className: "muted", textContent:
      `${some}What waits is in the stream; what a source has not been read of is not known here.` }),
    shown,
  );
  const again = body.querySelector(".scrolled");
  if (focused && again instanceof HTMLElement) again.focus({ preventScroll: true });
}
