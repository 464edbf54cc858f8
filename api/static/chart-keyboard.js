// A chart by keyboard and for the ear: arrow keys read it, with Shift they select, Enter zooms in on that.

import { make, setText } from "./dom.js";

const HELP = "Arrow keys read the chart; with Shift they select, Enter zooms in on that, Escape zooms out.";

/** Cells that Page Up and Page Down move by. */
const LEAP = 10;

let charts = 0;

export class ChartKeyboard {
  #chart;
  #host;
  #describe;
  #describeSpan;
  /** What is said; a screen reader reads it when it changes. */
  #said = make("p", { className: "hidden said", role: "status" });
  /** @type {number | null} the time that the keys have come to; an index would move with new data */
  #at = null;
  /** @type {number | null} the time from which they select */
  #anchor = null;

  /**
   * @param {import("./chart.js").Chart} chart
   * @param {HTMLElement} host
   * @param {object} words
   * @param {string} words.label
   * @param {(index: number) => string} words.describe
   * @param {(from: number, to: number) => string} words.describeSpan
   */
  constructor(chart, host, { label, describe, describeSpan }) {
    this.#chart = chart;
    this.#host = host;
    this.#describe = describe;
    this.#describeSpan = describeSpan;
    this.help = make("p", { className: "muted help", id: `chart-help-${(charts += 1)}`, textContent: HELP });
    host.after(this.help, this.#said);
    host.tabIndex = 0;
    host.setAttribute("role", "application"); // or a screen reader would keep the arrow keys for itself
    host.setAttribute("aria-roledescription", "chart");
    host.setAttribute("aria-label", label);
    host.setAttribute("aria-describedby", this.help.id);
  }

  listen() {
    this.#host.addEventListener("keydown", (event) => this.#press(event));
    this.#host.addEventListener("blur", () => this.#leave());
    this.#host.addEventListener("pointermove", (event) => {
      if (event.pointerType === "mouse") this.#at = this.#anchor = null; // it leads now
    });
  }

  /** Go on at the same time, now that the chart was drawn anew. */
  redrawn() {
    // uPlot draws, and takes its scales, in a microtask of its own.
    if (this.#at !== null) queueMicrotask(() => this.#follow());
  }

  /** @param {KeyboardEvent} event */
  #press(event) {
    if (!this.#chart.times.length || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter") this.#zoomIn();
    else if (event.key === "Escape" && (this.#anchor !== null || this.#chart.zoomed)) this.#back();
    else if (!this.#move(event.key, event.shiftKey)) return;
    event.preventDefault();
    event.stopPropagation(); // in a dialog, Escape would close that as well
  }

  /**
   * Go where a key leads, and with Shift select up to there. Returns false if it is no such key.
   *
   * @param {string} key
   * @param {boolean} selecting
   */
  #move(key, selecting) {
    const [first, last] = [0, this.#chart.times.length - 1];
    const here = this.#index();
    const next = new Map([
      ["ArrowLeft", (here ?? last + 1) - 1],
      ["ArrowRight", (here ?? first - 1) + 1],
      ["PageUp", (here ?? last) - LEAP],
      ["PageDown", (here ?? first) + LEAP],
      ["Home", first],
      ["End", last],
    ]).get(key);
    if (next === undefined) return false;
    const index = Math.min(last, Math.max(first, next));
    const before = this.#at;
    this.#at = this.#chart.times[index];
    this.#anchor = selecting ? this.#anchor ?? before ?? this.#at : null;
    this.#follow();
    const selected = this.#selected();
    this.#say(selected ? `Selected ${this.#describeSpan(selected.from, selected.to)}` : this.#describe(index));
    return true;
  }

  #zoomIn() {
    const selected = this.#selected();
    if (!selected) {
      this.#say("Nothing is selected: Shift and an arrow key select");
      return;
    }
    this.#anchor = null;
    this.#follow();
    this.#say(`Zoomed in on ${this.#describeSpan(selected.from, selected.to)}`);
    this.#chart.zoomTo(selected);
  }

  /** Take back the selection; if there is none, the zoom. */
  #back() {
    if (this.#anchor !== null) {
      this.#anchor = null;
      this.#follow();
      this.#say("Nothing is selected");
      return;
    }
    this.#say("Zoomed out");
    this.#chart.zoomOut();
  }

  #leave() {
    this.#at = this.#anchor = null;
    this.#say("");
    this.#follow();
  }

  /** Move the cursor and the selection to where they are, after they or the data have changed. */
  #follow() {
    if (this.#index() === null) this.#at = this.#anchor = null; // its time has left the chart
    this.#chart.pointTo(this.#at === null ? null : this.#at + this.#chart.step / 2);
    this.#chart.select(this.#selected());
  }

  /** Return what is selected, with the cell that the keys have come to and the one that they came from; or null. */
  #selected() {
    if (this.#at === null || this.#anchor === null) return null;
    return { from: Math.min(this.#anchor, this.#at), to: Math.max(this.#anchor, this.#at) + this.#chart.step };
  }

  /** Return the index of the cell that the keys have come to, or null. */
  #index() {
    const found = this.#at === null ? -1 : this.#chart.times.indexOf(this.#at);
    return found < 0 ? null : found;
  }

  /** @param {string} text */
  #say(text) {
    setText(this.#said, text);
  }
}
