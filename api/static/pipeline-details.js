// Samples of rejected lines, and the parts of the pipeline, for the sheet.

import { getJson } from "./api.js";
import { make, nameElement } from "./dom.js";
import { duration, moment, second, visible, whole } from "./format.js";

const MOST_SAMPLES = 50;

/**
 * Fill the body with samples of rejected lines.
 *
 * @param {HTMLElement} body
 */
export async function rejected(body) {
  const { items, total, by_reason: byReason } = await getJson("v1/rejected", { limit: MOST_SAMPLES });
  const reasons = Object.entries(byReason).filter(([, number]) => number > 0).sort(([, a], [, b]) => b - a);
  const each = reasons.map(([reason, number]) => `${reason} ${whole(number)}`).join(", ");
  if (each) body.append(make("p", { className: "reasons", textContent: `By reason: ${each}` }));
  // Of those that were counted together only so many are kept: these need not be the newest lines.
  body.append(make("p", { className: "muted", textContent: `${whole(total)} in all; ${whole(items.length)} as samples, with the reason:` }));
  body.append(make("ol", { className: "samples" }, ...items.map(({ rejected_at: at, reason, line, source }) => make("li", {},
    make("p", { className: "reason", textContent: visible(reason) }),
    make("p", { className: "muted" }, `${second(at)} from `, nameElement(source)),
    make("bdi", { className: "given line", textContent: visible(line) || "(nothing)" })))));
  await accepted(body);
}

/**
 * Add samples of lines that were counted, where some are kept.
 *
 * @param {HTMLElement} body
 */
async function accepted(body) {
  const { items } = await getJson("v1/accepted", { limit: MOST_SAMPLES });
  if (!items.length) return;
  body.append(make("h3", { textContent: "Accepted lines" }));
  body.append(make("p", { className: "muted", textContent: "The newest that were kept, as they came:" }));
  body.append(make("ol", { className: "samples" }, ...items.map(({ accepted_at: at, line, source }) => make("li", {},
    make("p", { className: "muted" }, `${second(at)} from `, nameElement(source)),
    make("bdi", { className: "given line", textContent: visible(line) })))));
}

/**
 * Fill the body with the aggregators and the sources.
 *
 * @param {HTMLElement} body
 */
export async function pipeline(body) {
  const { namespace, backlog: { held }, aggregators, sources, sources_total: total } = await getJson("v1/stats");
  if (namespace !== "tally") body.append(make("p", { className: "muted" }, "Namespace: ", nameElement(namespace)));
  if (held) {
    const since = `since ${moment(held.since)}, and until that ends.`;
    body.append(make("p", {}, `Sources are not read: “tally ${held.by}” on `, nameElement(held.host), ` holds appends ${since}`));
  }
  body.append(make("h3", { textContent: "Aggregators" }));
  body.append(table(["Name", "State", "Pending blocks", "Idle for"], aggregators.map((each) => [
    nameElement(each.name), each.alive ? "alive" : "idle", whole(each.pending), duration(each.idle_seconds),
  ])));
  const some = total > sources.length ? `: the latest ${whole(sources.length)} of ${whole(total)}` : "";
  body.append(make("h3", { textContent: `Sources${some}` }));
  body.append(table(["Name", "Position in bytes", "Last line"], sources.map((each) => [
    nameElement(each.name), whole(each.position), each.appended_at === null ? "–" : moment(each.appended_at),
  ])));
}

/**
 * @param {string[]} heads
 * @param {(Node | string)[][]} rows
 */
export function table(heads, rows) {
  const head = make("tr", {}, ...heads.map((text) => make("th", { scope: "col", textContent: text })));
  const cells = rows.map((row) => make("tr", {}, ...row.map((cell) => make("td", {}, cell))));
  // It may be wider than a phone, so it is scrolled by itself, by keyboard too.
  const around = make("div", { className: "scrolled", tabIndex: 0, role: "group" },
    make("table", {}, make("thead", {}, head), make("tbody", {}, ...cells)));
  around.setAttribute("aria-label", "Table");
  return around;
}
