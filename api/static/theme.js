// Light or dark, where the reader has chosen: before anything is drawn, or the page would flash. So it is no module, which
// would wait, and asks nothing of another file. preferences.js keeps the choice.

try {
  const theme = localStorage.getItem("tally-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // A browser that keeps nothing shows what the system has.
}
