// The controls of the time range: trailing windows, all time, from one moment to another, and a step to the one before or behind.

import { byId, parts, setText } from "./dom.js";
import { fieldMoment, fieldText } from "./format.js";
import { onZone } from "./preferences.js";
import { canStep, choose, chooseSpan, step } from "./range.js";
import { RANGE, moments, onChange, range } from "./view.js";

/** What the form begins with, so long ago, where all time is shown. */
const HOUR = 3600;

/** Make the controls work, and show in them what the address says. */
export function start() {
  byId("windows").addEventListener("change", ({ target }) => {
    if (!(target instanceof HTMLInputElement)) return;
    setOpen(false); // nothing has come of it
    choose(/** @type {any} */ (target.value));
  });
  for (const [id, direction] of /** @type {const} */ ([["earlier", -1], ["later", 1]])) {
    byId(id).addEventListener("click", () => step(direction, now()));
  }
  byId("show-custom").addEventListener("click", () => (byId("custom").hidden ? open() : close()));
  byId("custom").addEventListener("submit", (event) => {
    event.preventDefault();
    apply();
  });
  byId("custom").addEventListener("keydown", ({ key }) => {
    if (key === "Escape") close();
  });
  byId("custom-close").addEventListener("click", close);
  onChange((_, changed) => {
    if (RANGE.some((name) => changed.has(name))) show();
  });
  onZone(show);
  show();
}

function show() {
  const { window } = range();
  for (const radio of parts(byId("windows"), "input", HTMLInputElement)) radio.checked = radio.value === window;
  byId("show-custom").setAttribute("aria-pressed", String(window === "custom"));
  byId("earlier", HTMLButtonElement).disabled = !canStep(-1, now());
  byId("later", HTMLButtonElement).disabled = !canStep(1, now());
  if (!byId("custom").hidden) fill();
}

/** Open the form; nothing changes until there is a time range to show. */
function open() {
  setOpen(true);
  fill();
  input("from").focus();
}

function close() {
  setOpen(false);
  byId("show-custom").focus();
}

/** @param {boolean} opened */
function setOpen(opened) {
  byId("custom").hidden = !opened;
  byId("show-custom").setAttribute("aria-expanded", String(opened));
  setText(byId("custom-error"), "");
}

function fill() {
  const shown = moments(now()) ?? { from: now() - HOUR, to: now() };
  input("from").value = fieldText(new Date(shown.from * 1000));
  const { window, to } = range();
  input("to").value = window === "custom" && to ? fieldText(new Date(shown.to * 1000)) : "";
}

function apply() {
  const from = fieldMoment(input("from").value);
  const to = input("to").value ? fieldMoment(input("to").value) : null;
  const reversed = from >= (to ?? new Date());
  setText(byId("custom-error"), reversed ? `The beginning must be before ${to ? "the end" : "now"}.` : "");
  if (reversed) return;
  chooseSpan(from.getTime() / 1000, to && to.getTime() / 1000);
  close();
}

function now() {
  return Date.now() / 1000;
}

/** @param {"from" | "to"} end */
function input(end) {
  return byId(`custom-${end}`, HTMLInputElement);
}
