/**
 * Charts over time, drawn by uPlot and coloured from the page's CSS variables.
 *
 * Where uPlot is not installed nothing is drawn and nothing fails: the block stays hidden, and the
 * server's table beside it says the same.
 */
import { clock } from "./format.js";

const LEGEND_PX = 24;
const drawn = new Set();
let library;

function uplot() {
  library ??= (async () => {
    const { uplot: address, uplotCss: look } = document.getElementById("page")?.dataset ?? {};
    if (!address) return null;
    try { return (await Promise.all([import(address), styled(look)]))[0].default; } catch { return null; }
  })();
  return library;
}

/** Its styles come with it and before ours, which outweigh them by order; without any it draws too. */
function styled(address) {
  if (!address) return null;
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = address;
  const settled = new Promise((resolve) => { link.onload = resolve; link.onerror = resolve; });
  document.head.prepend(link);
  return settled;
}

/** The colour that a CSS variable has now, `--accent` or `accent`; `alpha` 0 to 1 thins it. */
export function colour(token, alpha = 1) {
  const probe = document.createElement("span");
  probe.hidden = true;
  probe.style.color = `var(--${token.replace(/^--/, "")})`; // resolves light-dark() too
  document.body.append(probe);
  const [red, green, blue] = getComputedStyle(probe).color.match(/[\d.]+/g);
  probe.remove();
  return `rgb(${red} ${green} ${blue} / ${alpha})`;
}

/**
 * Draw series over time in `where`.
 *
 * @param {string|Element} where an element of class `chart` (it has the height), or its selector
 * @param {{label: string,
 *          series: {label: string, token?: string, kind?: "line"|"area"|"dashed"}[],
 *          bands?: [number, number][], format?: (value: number) => string,
 *          times?: number[], values?: (number|null)[][], window_s?: number, step_s?: number,
 *          zero?: boolean, marks?: {at_s: number, label: string}[],
 *          onZoom?: (from: number, to: number) => void}} options
 *   `label` says what the chart is, for those who cannot see it. `times` are unix seconds, `values`
 *   one list a series. `bands` fill between two series, by their places. Points closer than
 *   1.5 x `step_s` (default 1) are joined; a longer silence is drawn as a gap. Points older than
 *   `window_s` (default 900) before the newest are dropped. `zero` (default true) starts y at 0.
 *   `marks` are upright lines, such as deploys. `onZoom` is called with what a drag has selected.
 * @returns {{push: (time: number, values: (number|null)[]) => void,
 *            set: (times: number[], values: (number|null)[][]) => void, stop: () => void}}
 */
export function chart(where, options) {
  const place = typeof where === "string" ? document.querySelector(where) : where;
  const format = options.format ?? ((value) => String(value));
  const points = series(options);
  let plot = null;
  let stopped = false;

  place.tabIndex = 0;
  place.setAttribute("role", "img");
  const observer = new ResizeObserver(() => plot?.setSize(size(place)));

  async function build() {
    const Plot = await uplot();
    if (stopped) return;
    if (!Plot) { place.hidden = true; return; }
    plot?.destroy();
    plot = new Plot(settings(Plot, options, format, place), points.data(), place);
    rest(plot);
  }

  const redraw = () => { describe(place, options, format, points); if (plot) { plot.setData(points.data()); rest(plot); } };
  const made = {
    push(time, values) { if (points.push(time, values)) redraw(); },
    set(times, values) { points.set(times, values); redraw(); },
    stop() {
      stopped = true;
      observer.disconnect();
      drawn.delete(build);
      plot?.destroy();
    },
  };
  observer.observe(place);
  drawn.add(build);
  redraw();
  build();
  return made;
}

/** The points of a chart: bounded, in order, with silence as a gap. Pure; exported for its test. */
export function series({ series: lines, times = [], values = [], window_s = 900, step_s = 1 }) {
  let columns = [];
  const all = {
    data: () => columns,
    /** False when the time is not newer than the last one: then the point is known already. */
    push(time, next) {
      const last = columns[0].at(-1);
      if (last !== undefined && time <= last) return false;
      if (last !== undefined && time - last > step_s * 1.5) add(last + step_s, lines.map(() => null));
      add(time, next);
      let old = 0;
      while (columns[0][old] < time - window_s) old += 1;
      if (old) columns.forEach((column) => column.splice(0, old));
      return true;
    },
    set(newTimes, newValues) {
      columns = [[], ...lines.map(() => [])];
      newTimes.forEach((time, index) => all.push(time, lines.map((_, at) => newValues[at]?.[index])));
    },
  };
  function add(time, next) {
    columns[0].push(time);
    lines.forEach((_, index) => columns[index + 1].push(next[index] ?? null));
  }
  all.set(times, values);
  return all;
}

/** Until someone points at a time, the legend says the newest values. */
function rest(plot) {
  if (plot.cursor.idx === null || plot.cursor.idx === undefined) plot.setLegend({ idx: plot.data[0].length - 1 });
}

function size(place) {
  return { width: place.clientWidth, height: Math.max(place.clientHeight - LEGEND_PX, 60) };
}

/** Say the newest values in words, as the label of the picture. */
function describe(place, { label, series: lines }, format, points) {
  const [times, ...columns] = points.data();
  const newest = lines.map((line, index) => {
    const value = columns[index].at(-1);
    return `${line.label} ${value === null || value === undefined ? "no data" : format(value)}`;
  });
  const text = times.length ? `${label}. Newest: ${newest.join(", ")}.` : `${label}. No data yet.`;
  place.setAttribute("aria-label", text);
}

const SHORTEST_DRAG_PX = 8;

function zoom(plot, onZoom) {
  if (!onZoom || plot.select.width < SHORTEST_DRAG_PX) return;
  onZoom(plot.posToVal(plot.select.left, "x"), plot.posToVal(plot.select.left + plot.select.width, "x"));
}

function drawMarks(plot, marks) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = colour("info");
  ctx.font = `${11 * devicePixelRatio}px sans-serif`;
  ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
  for (const { at_s, label } of marks) {
    const x = Math.round(plot.valToPos(at_s, "x", true));
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    // Beside its line, on the side where there is room: the whole name is to be read.
    const gap = 4 * devicePixelRatio;
    const fits = x + gap + ctx.measureText(label).width < bbox.left + bbox.width;
    ctx.textAlign = fits ? "left" : "right";
    ctx.fillText(label, fits ? x + gap : x - gap, bbox.top + 11 * devicePixelRatio);
  }
  ctx.restore();
}

function settings(Plot, { series: lines, bands = [], zero = true, marks = [], onZoom }, format, place) {
  const axis = {
    stroke: colour("muted"),
    grid: { stroke: colour("line"), width: 1 },
    ticks: { show: false },
    font: `11px ${getComputedStyle(place).fontFamily}`,
  };
  return {
    ...size(place),
    tzDate: (seconds) => Plot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    cursor: { y: false, points: { size: 6 }, drag: { x: Boolean(onZoom), y: false, setScale: false } },
    hooks: { setCursor: [rest], draw: [(plot) => drawMarks(plot, marks)], setSelect: [(plot) => zoom(plot, onZoom)] },
    legend: { live: true },
    padding: [8, 8, 0, 0],
    scales: {
      x: { time: true },
      y: { range: (plot, low, high) => range(low, high, zero) },
    },
    axes: [
      { ...axis, size: 30, space: 70, values: (plot, ticks, place, space, step) =>
        ticks.map((tick) => clock(tick).slice(0, step < 60 ? 8 : 5)) },
      { ...axis, size: 62, space: 32, values: (plot, ticks) => ticks.map(format) },
    ],
    series: [{ label: "UTC", value: (plot, time) => clock(time) }, ...lines.map((line) => drawnAs(line, format))],
    bands: bands.map(([upper, lower]) => ({
      series: [upper + 1, lower + 1],
      fill: colour(lines[upper].token ?? "accent", 0.12),
    })),
  };
}

function range(low, high, zero) {
  if (low === null || high === null) return [0, 1];
  const bottom = zero ? Math.min(0, low) : low;
  const room = (high - bottom || Math.abs(high) || 1) * 0.08;
  return [zero && low >= 0 ? 0 : bottom - room, high + room];
}

function drawnAs({ label, token = "accent", kind = "line" }, format) {
  return {
    label,
    stroke: colour(token),
    width: 1.75,
    fill: kind === "area" ? colour(token, 0.14) : undefined,
    dash: kind === "dashed" ? [5, 4] : undefined,
    spanGaps: false,
    points: { show: false, size: 5, filter: alone },
    value: (plot, value) => (value === null || value === undefined ? "–" : format(value)),
  };
}

/** The places of values with silence on both sides: no line goes through them, so they are dots. */
export function alone(plot, line) {
  const values = plot.data[line];
  const empty = (at) => values[at] === null || values[at] === undefined;
  const found = values.map((_, at) => at).filter((at) => !empty(at) && empty(at - 1) && empty(at + 1));
  return found.length ? found : null;
}

/** The theme has changed: colours are read anew. */
function recolour() {
  for (const build of drawn) build();
}

if (globalThis.document) {
  new MutationObserver(recolour).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
}
