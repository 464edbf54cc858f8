"use strict";
// Shows both tables and reads them again every second. Names come from events: they are text, never markup.

const MOST_ROWS = 200;
const number = new Intl.NumberFormat();

function fill(body, counts) {
  body.replaceChildren(...Object.entries(counts).slice(0, MOST_ROWS).map(([name, count]) => {
    const row = document.createElement("tr");
    for (const text of [name, number.format(count)]) {
      row.append(Object.assign(document.createElement("td"), { textContent: text }));
    }
    return row;
  }));
}

async function refresh() {
  const state = document.getElementById("state");
  try {
    for (const [id, path] of [["types", "events/CountByEventType"], ["words", "events/CountWords"]]) {
      const answer = await fetch(path);
      if (!answer.ok) throw new Error((await answer.json()).title);
      fill(document.getElementById(id), await answer.json());
    }
    state.textContent = "live";
    state.className = "";
  } catch (error) {
    state.textContent = `disconnected, retrying: ${error.message}`;
    state.className = "away";
  }
  setTimeout(refresh, 1000);
}

refresh();
