// The document's title, which is what of the page is seen in a tab: what is wrong, what is looked at, else how much comes.

/** What the page is called, with the instance's name where it has one. */
const HERE = document.title;

/** Letters of a name that the title has: a browser shows fewer. */
const MOST = 80;

const parts = { wrong: "", sheet: "", rate: "" };

/**
 * Change parts of the title.
 *
 * @param {Partial<typeof parts>} changed what is `wrong`, what a `sheet` shows, the `rate` of events; empty for none
 */
export function entitle(changed) {
  Object.assign(parts, changed);
  const { wrong, sheet, rate } = parts;
  const looked = sheet.length > MOST ? `${sheet.slice(0, MOST)}…` : sheet;
  const text = [wrong, looked || (wrong ? "" : rate), HERE].filter(Boolean).join(" – ");
  if (document.title !== text) document.title = text;
}
