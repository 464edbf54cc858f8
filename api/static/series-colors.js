// The colours of the chart's series. Each name prefers some colours to others, and so has the same one at every load, whatever
// is beside it, as long as nobody else has a better claim to that.

export const OTHERS_COLOR = "--series-other";

/** More than are in the chart at once: most names get the colour that they like best. */
const COLORS = Array.from({ length: 10 }, (_, at) => `--series-${at + 1}`);

/**
 * Give each of the series a colour of its own, those in `stack` first; the colour of all others to those that are too many.
 *
 * @param {readonly string[]} stack
 * @param {readonly string[]} besides
 * @returns {Map<string, string>}
 */
export function colorsOf(stack, besides = []) {
  const first = matched(stack, COLORS);
  const left = COLORS.filter((color) => ![...first.values()].includes(color));
  return new Map([...first, ...matched(besides, left)]);
}

/**
 * Match names and colours as Gale and Shapley match colleges and applicants: a name asks for the colours in the order in which it
 * likes them, a colour keeps the name that claims it most. The outcome is the same in whatever order the names come, and
 * one more name moves few of the others.
 *
 * @param {readonly string[]} names
 * @param {readonly string[]} colors
 */
function matched(names, colors) {
  /** @type {Map<string, string>} */
  const holders = new Map();
  /** @type {Map<string, string>} */
  const found = new Map();
  for (const each of names) {
    let name = each;
    let wishes = wishesOf(name, colors);
    while (wishes.length) {
      const [color] = wishes;
      const holder = holders.get(color);
      if (holder === undefined) {
        holders.set(color, name);
        break;
      }
      if (claims(name, holder, color)) {
        holders.set(color, name);
        name = holder;
        wishes = wishesOf(name, colors);
      }
      wishes = wishes.slice(wishes.indexOf(color) + 1);
    }
    if (!wishes.length) found.set(name, OTHERS_COLOR);
  }
  for (const [color, name] of holders) found.set(name, color);
  return found;
}

/**
 * @param {string} name
 * @param {readonly string[]} colors
 */
function wishesOf(name, colors) {
  return [...colors].sort((one, other) => liking(name, other) - liking(name, one));
}

/**
 * Return whether a name claims a colour more than another one does.
 *
 * @param {string} name
 * @param {string} other
 * @param {string} color
 */
function claims(name, other, color) {
  const difference = liking(name, color) - liking(other, color);
  return difference > 0 || (difference === 0 && name < other);
}

/**
 * Return how much a name likes a colour: the FNV-1a hash of both, mixed as MurmurHash3 does in its end.
 *
 * @param {string} name
 * @param {string} color
 */
function liking(name, color) {
  let hash = 0x811c9dc5;
  for (const each of new TextEncoder().encode(`${color} ${name}`)) hash = Math.imul(hash ^ each, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
