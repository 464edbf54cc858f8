// Stacked areas over time, drawn by uPlot. One chart for each place in the page.

const LIBRARY = new URL("./vendor/uplot/uPlot.esm.js", import.meta.url);
const STYLE = new URL("./vendor/uplot/uPlot.min.css", import.meta.url);

/** What is said where uPlot is not: it is an npm package, which a build without a network could not get. */
export const MISSING = "The chart needs uPlot, which is not here. To get it: make assets, then reload this page.";

let loading;

/** uPlot's constructor, or null where it was not installed. */
function library() {
  loading ??= import(LIBRARY).then((module) => {
    const link = document.createElement("link");
    link.rel = "stylesheet";
    link.href = STYLE;
    document.head.append(link);
    return new Promise((resolve) => { link.onload = link.onerror = () => resolve(module.default); });
  }).catch(() => null);
  return loading;
}

const dark = matchMedia("(prefers-color-scheme: dark)");

export class Chart {
  #host;
  #height;
  #axes;
  #onCursor;
  #onZoom;
  #uPlot;
  #plot = null;
  #shape = "";
  #shown = null;
  #zoomed = false;
  #ended = new AbortController();

  /**
   * `axes` has the functions time(unixSeconds, stepSeconds) and value(number), which give the labels.
   * `onCursor(index)` and `onZoom({from, to})` get null when there is none.
   */
  constructor(host, { height, axes, onCursor = () => {}, onZoom = () => {} }) {
    this.#host = host;
    this.#height = height;
    this.#axes = axes;
    this.#onCursor = onCursor;
    this.#onZoom = onZoom;
    const { signal } = this.#ended;
    dark.addEventListener("change", () => this.#draw(true), { signal });
    const sizes = new ResizeObserver(() => this.#plot?.setSize(this.#size()));
    sizes.observe(host);
    signal.addEventListener("abort", () => sizes.disconnect());
    host.addEventListener("keydown", (event) => this.#key(event));
    host.addEventListener("blur", () => this.#moveTo(null));
  }

  /** False where uPlot is not installed. */
  async ready() {
    this.#uPlot = await library();
    return this.#uPlot !== null;
  }

  /** Show `rows` of {color, values} over `times`, the first row at the bottom. `color` is a custom property's name. */
  set({ times, rows }) {
    this.#shown = { times, rows };
    this.#draw(false);
  }

  /** The whole of it again. */
  zoomOut() {
    if (!this.#plot) return;
    this.#zoomed = false;
    this.#plot.setData(this.#plot.data, true);
    this.#onZoom(null);
  }

  /** It is no longer needed. */
  destroy() {
    this.#ended.abort();
    this.#plot?.destroy();
    this.#plot = null;
    this.#uPlot = null;
  }

  #size() {
    return { width: Math.max(200, this.#host.clientWidth), height: this.#height };
  }

  #draw(afresh) {
    if (!this.#shown || !this.#uPlot) return;
    const { times, rows } = this.#shown;
    const shape = rows.map((row) => row.color).join();
    const data = [times, ...stacked(rows)];
    if (this.#plot && !afresh && shape === this.#shape) {
      this.#plot.setData(data, !this.#zoomed);
      if (this.#zoomed) this.#plot.redraw(); // setData without new scales does not
      return;
    }
    this.#shape = shape;
    this.#zoomed = false;
    this.#onZoom(null);
    this.#plot?.destroy();
    this.#plot = new this.#uPlot(this.#options(rows), data, this.#host);
  }

  #options(rows) {
    const style = getComputedStyle(this.#host);
    const color = (name) => style.getPropertyValue(name).trim();
    const font = `12px ${style.fontFamily}`;
    const lines = { stroke: color("--line"), width: 1 };
    return {
      ...this.#size(),
      legend: { show: false },
      padding: [8, 28, 0, 0],
      cursor: {
        y: false,
        points: { show: false },
        drag: { x: true, y: false, dist: 5 },
        bind: { dblclick: () => () => this.zoomOut() },
      },
      scales: { y: { range: (_, __, most) => [0, most > 0 ? most * 1.08 : 1] } },
      axes: [
        { stroke: color("--muted"), font, grid: { show: false }, ticks: { ...lines, size: 4 }, size: 30, space: 76,
          values: (_, splits) => splits.map((at) => this.#axes.time(at, splits[1] - splits[0])) },
        { stroke: color("--muted"), font, grid: lines, ticks: { show: false }, size: 48, space: 36,
          values: (_, splits) => splits.map(this.#axes.value) },
      ],
      series: [{}, ...rows.map((row) => ({
        stroke: color(row.color),
        fill: color(`${row.color}-fill`),
        width: 1.5,
        points: { show: false },
      }))],
      // Each area reaches down to the one under it only, or their colours would add up.
      bands: rows.slice(1).map((_, below) => ({ series: [below + 2, below + 1] })),
      hooks: {
        setCursor: [(plot) => this.#onCursor(plot.cursor.left >= 0 ? plot.cursor.idx : null)],
        setSelect: [(plot) => this.#selected(plot)],
      },
    };
  }

  #selected(plot) {
    if (plot.select.width <= 0) return;
    const from = plot.posToVal(plot.select.left, "x");
    const to = plot.posToVal(plot.select.left + plot.select.width, "x");
    this.#zoomed = true;
    this.#onZoom({ from, to });
  }

  #key(event) {
    if (!this.#plot) return;
    const last = this.#shown.times.length - 1;
    const at = this.#plot.cursor.left >= 0 ? this.#plot.cursor.idx : null;
    const next = {
      ArrowLeft: Math.max(0, (at ?? last + 1) - 1),
      ArrowRight: Math.min(last, (at ?? -1) + 1),
      Home: 0,
      End: last,
    }[event.key];
    if (event.key === "Escape") this.zoomOut();
    else if (next !== undefined) this.#moveTo(next);
    else return;
    event.preventDefault();
  }

  #moveTo(index) {
    if (!this.#plot) return;
    const left = index === null ? -10 : this.#plot.valToPos(this.#shown.times[index], "x");
    this.#plot.setCursor({ left, top: index === null ? -10 : 0 });
  }
}

/** Each row with all that are under it added. */
function stacked(rows) {
  let under = null;
  return rows.map(({ values }) => {
    under = values.map((value, at) => value + (under ? under[at] : 0));
    return under;
  });
}
