// The form in which the reader chooses light or dark, and the zone of times.

import { byId, part, setText } from "./dom.js";
import { chooseTheme, chooseZone, chosenTheme, chosenZone, onColors, onZone } from "./preferences.js";

/** Make the form work, and show in it what is chosen. */
export function start() {
  byId("preferences").addEventListener("change", ({ target }) => {
    if (!(target instanceof HTMLInputElement)) return;
    if (target.name === "theme") chooseTheme(/** @type {any} */ (target.value));
    else chooseZone(/** @type {any} */ (target.value));
  });
  onColors(show);
  onZone(show);
  show();
}

function show() {
  for (const [name, value] of [["theme", chosenTheme()], ["zone", chosenZone()]]) {
    part(byId("preferences"), `[name="${name}"][value="${value}"]`, HTMLInputElement).checked = true;
  }
  const utc = chosenZone() === "utc";
  document.documentElement.dataset.zone = chosenZone();
  setText(byId("show-preferences"), utc ? "Display, UTC" : "Display");
  setText(byId("zone-name"), utc ? "Times are UTC." : `Times are those of ${new Intl.DateTimeFormat().resolvedOptions().timeZone}.`);
}
