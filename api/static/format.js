// Numbers, times and names as text, in the reader's own locale, and times in the zone that the reader prefers.

import { chosenZone, onZone } from "./preferences.js";

const wholeFormat = new Intl.NumberFormat();
const shortFormat = new Intl.NumberFormat(undefined, { notation: "compact", maximumSignificantDigits: 3 });
const tenthFormat = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const ratioFormat = new Intl.NumberFormat(undefined, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const percentFormat = new Intl.NumberFormat(undefined, { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });
const growthFormat = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 0 });
const signedFormat = new Intl.NumberFormat(undefined, { signDisplay: "exceptZero" });

/** @type {Intl.DateTimeFormatOptions} */
const momentParts = { day: "numeric", month: "short", hour: "numeric", minute: "2-digit" };

/** Formats of times, in the zone that the reader prefers. */
let times = timeFormats();
onZone(() => { times = timeFormats(); });

/** @type {(readonly [unit: string, bytes: number])[]} */
const SIZES = [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]];

/** @type {(readonly [unit: string, seconds: number])[]} */
const DURATIONS = [["d", 86_400], ["h", 3600], ["m", 60]];

/**
 * A number with its unit: they stay on one line.
 *
 * @param {string} number
 * @param {string} unit
 */
function withUnit(number, unit) {
  return `${number}\u00a0${unit}`;
}

/**
 * 1234567 as 1,234,567.
 *
 * @param {number} number
 */
export const whole = (number) => wholeFormat.format(number);

/**
 * 1234567 as 1.23M.
 *
 * @param {number} number
 */
export const short = (number) => shortFormat.format(number);

/**
 * 1234567 bytes as 1.2 MB.
 *
 * @param {number} bytes
 */
export function size(bytes) {
  for (const [unit, length] of SIZES) {
    if (bytes >= length) return withUnit(tenthFormat.format(bytes / length), unit);
  }
  return withUnit(whole(bytes), "B");
}

/**
 * 1234 as +1,234.
 *
 * @param {number} number
 */
export const signed = (number) => signedFormat.format(number);

/**
 * 0.1234 as 12.3%; a share that would round to nothing as <0.1%.
 *
 * @param {number} share
 */
export function percent(share) {
  return share > 0 && share < 0.0005 ? `<${percentFormat.format(0.001)}` : percentFormat.format(share);
}

/**
 * Events per second; null while that is not known.
 *
 * @param {number | null | undefined} number
 */
export const rate = (number) => (number === null || number === undefined ? "–" : mean(number));

/**
 * A number that need not be whole as 0.2 or 1,235. What would round to nothing is <0.1.
 *
 * @param {number} number
 */
export function mean(number) {
  if (number > 0 && number < 0.05) return `<${tenthFormat.format(0.1)}`;
  if (number >= 1e6) return short(number);
  return number < 100 ? tenthFormat.format(number) : whole(Math.round(number));
}

/**
 * 1.234 as ×1.2.
 *
 * @param {number} number
 */
export const ratio = (number) => `×${number < 100 ? ratioFormat.format(number) : short(number)}`;

/**
 * How much larger or smaller than before, as ↑ 12%: an arrow says nothing of good or bad. Nothing grows by a share of nothing:
 * that is new.
 *
 * @param {number} change
 * @param {number} previous
 */
export function growth(change, previous) {
  if (!previous) return change ? "new" : "–";
  const share = Math.abs(change / previous);
  if (!change) return growthFormat.format(0);
  let text = growthFormat.format(share);
  if (share >= 10) text = ratio(share + 1);
  else if (share < 0.005) text = `<${growthFormat.format(0.01)}`;
  return `${change > 0 ? "↑" : "↓"}\u00a0${text}`;
}

/**
 * Seconds as 0.4 s, 12 s, 3 m, 5 h, 2 d, with the same letters as the API has them.
 *
 * @param {number} seconds
 */
export function duration(seconds) {
  if (seconds < 10) return withUnit(tenthFormat.format(seconds), "s");
  for (const [unit, length] of DURATIONS) {
    if (seconds >= 2 * length || seconds === length) return withUnit(whole(Math.round(seconds / length)), unit);
  }
  return withUnit(whole(Math.round(seconds)), "s");
}

/**
 * Hours and minutes.
 *
 * @param {number} unixSeconds
 */
export const minute = (unixSeconds) => times.minute.format(date(unixSeconds));

/**
 * Hours, minutes and seconds, behind the day where it is not today.
 *
 * @param {number} unixSeconds
 */
export function second(unixSeconds) {
  const at = date(unixSeconds);
  return (isToday(at) ? times.second : times.full).format(at);
}

/**
 * Day and month.
 *
 * @param {number} unixSeconds
 */
export const day = (unixSeconds) => times.day.format(date(unixSeconds));

/**
 * The same with its year.
 *
 * @param {number} unixSeconds
 */
export const dayAndYear = (unixSeconds) => times.dayAndYear.format(date(unixSeconds));

/**
 * @param {number} unixSeconds
 */
export const month = (unixSeconds) => times.month.format(date(unixSeconds));

/**
 * @param {number} unixSeconds
 */
export const year = (unixSeconds) => times.year.format(date(unixSeconds));

/**
 * Day and time; the year only of another one than this.
 *
 * @param {number} unixSeconds
 */
export const moment = (unixSeconds) => formatOf(date(unixSeconds)).format(date(unixSeconds));

/**
 * From one moment to another, in Unix seconds; without the day where both are today.
 *
 * @param {number} from
 * @param {number} to
 */
export function span(from, to) {
  const [first, last] = [date(from), date(to)];
  const format = isToday(first) && isToday(last) ? times.minute : formatOf(first, last);
  return format.formatRange(first, last);
}

/** @param {number} unixSeconds */
function date(unixSeconds) {
  return new Date(unixSeconds * 1000);
}

/** @param {Date} at */
function isToday(at) {
  return times.date.format(at) === times.date.format(new Date());
}

/** @param {...Date} dates */
function formatOf(...dates) {
  const year = times.year.format(new Date());
  return dates.every((each) => times.year.format(each) === year) ? times.thisYear : times.moment;
}

function timeFormats() {
  const timeZone = timeZoneName();
  /** @param {Intl.DateTimeFormatOptions} parts */
  const of = (parts) => new Intl.DateTimeFormat(undefined, { ...parts, timeZone });
  return {
    minute: of({ hour: "numeric", minute: "2-digit" }),
    second: of({ timeStyle: "medium" }),
    full: of({ dateStyle: "medium", timeStyle: "medium" }),
    day: of({ day: "numeric", month: "short" }),
    thisYear: of(momentParts),
    moment: of({ ...momentParts, year: "numeric" }),
    dayAndYear: of({ day: "numeric", month: "short", year: "numeric" }),
    month: of({ month: "short" }),
    date: of({ dateStyle: "short" }),
    year: of({ year: "numeric" }),
  };
}

/** Return the name of the zone of times; undefined for the reader's own. */
export function timeZoneName() {
  return chosenZone() === "utc" ? "UTC" : undefined;
}

/**
 * Return a moment as a field for local date and time has it, to the second, in the zone of times.
 *
 * @param {Date} at
 */
export function fieldText(at) {
  const shift = chosenZone() === "utc" ? 0 : at.getTimezoneOffset() * 60_000;
  return new Date(at.getTime() - shift).toISOString().slice(0, 19);
}

/**
 * Return the moment that such a field has; an invalid one where it has none.
 *
 * @param {string} text
 */
export function fieldMoment(text) {
  return new Date(chosenZone() === "utc" && text ? `${text}Z` : text);
}

// What would be invisible, or would turn the text around it: control characters, marks of direction, fillers,
// half surrogates. Joiners (U+200C, U+200D) stay, because some scripts are written with them.
// eslint-disable-next-line no-control-regex, no-misleading-character-class -- it is these that are looked for
const INVISIBLE = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]|\p{Cs}/gu;

/**
 * A name as it came from events, with everything in it to be seen. It is still only text: set it as textContent.
 *
 * @param {string} name
 */
export function visible(name) {
  if (name === "") return "(empty)";
  return name.replace(INVISIBLE, codePoint).replace(/^ +| +$/g, (spaces) => "␣".repeat(spaces.length));
}

/** @param {string} character */
function codePoint(character) {
  return `⟨U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}⟩`;
}
