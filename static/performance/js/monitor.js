/** PerformanceMonitor: tiles, tables and charts move each second; a longer range stands still. */
import { chart } from "./chart.js";
import { badge, bind, element, format, page, snapshot, table } from "./page.js";

const ENDPOINTS = [
  { heading: true, cell: (row) => element("a", { href: `?${new URLSearchParams({ range: "15m", endpoint: row.endpoint })}` }, row.endpoint) },
  { className: "num", cell: (row) => row.per_minute },
  { className: "num", cell: (row) => format.ms(row.p50_ms) },
  { className: "num", cell: (row) => (row.level ? badge(format.ms(row.p95_ms), row.level) : format.ms(row.p95_ms)) },
  { className: "num", cell: (row) => format.ms(row.p99_ms) },
  { className: "num", cell: (row) => row.errors },
  { className: "num", cell: (row) => format.ratio(row.time_ratio) },
  { className: "num narrow-hide", cell: (row) => format.bytes(row.grown_bytes) },
];

const PROCESSES = [
  { heading: true, cell: (row) => row.node },
  { cell: (row) => row.process },
  { className: "num", cell: (row) => row.pid },
  { className: "num", cell: (row) => format.bytes(row.memory_bytes) },
  { className: "num", cell: (row) => format.ratio(row.cpu_ratio) },
  { className: "num", cell: (row) => format.ms(row.lag_ms) },
  { className: "num narrow-hide", cell: (row) => format.ms(row.cost_ms) },
  { className: "num", cell: (row) => row.dropped },
  { className: "num", cell: (row) => `${row.silent_s} s` },
  { className: "mono narrow-hide", cell: (row) => row.build || null },
];

const HOSTS = [
  { heading: true, cell: (row) => row.name },
  { className: "num", cell: (row) => row.cores },
  { className: "num", cell: (row) => format.ratio(row.cpu_ratio) },
  { className: "num", cell: (row) => row.load },
  { className: "num", cell: (row) => format.bytes(row.memory_used_bytes) },
  { className: "num narrow-hide", cell: (row) => format.bytes(row.memory_bytes) },
  { className: "num", cell: (row) => format.bytes(row.disk_used_bytes) },
  { className: "num narrow-hide", cell: (row) => format.bytes(row.disk_bytes) },
  { className: "num", cell: (row) => `${row.silent_s} s` },
];

const OUTGOING = [
  { heading: true, cell: (row) => row.host },
  { className: "num", cell: (row) => row.requests },
  { className: "num", cell: (row) => row.failed },
  { className: "num", cell: (row) => format.ms(row.p50_ms) },
  { className: "num", cell: (row) => format.ms(row.p95_ms) },
  { className: "num", cell: (row) => format.ms(row.p99_ms) },
];

const TASKS = [
  { heading: true, cell: (row) => row.task },
  { className: "num", cell: (row) => row.runs },
  { className: "num", cell: (row) => row.failed },
  { className: "num", cell: (row) => row.retried },
  { className: "num", cell: (row) => format.ms(row.run_p95_ms) },
  { className: "num", cell: (row) => format.ms(row.wait_p95_ms) },
];

/** Each chart: its place, its lines, and where in a snapshot's columns and in a point they are. */
const CHARTS = [
  {
    place: "#chart-throughput", label: "Requests a second", format: format.rate,
    series: [{ label: "requests/s", token: "accent", kind: "area" }],
    columns: ["per_second"],
    point: (now) => [now.requests / now.span_s],
  },
  {
    place: "#chart-latency", label: "Response time", format: format.ms,
    series: [
      { label: "p99", token: "bad" }, { label: "p95", token: "warn" }, { label: "p50", token: "accent" },
    ],
    columns: ["p99_ms", "p95_ms", "p50_ms"],
    point: (now) => [now.p99_ms, now.p95_ms, now.p50_ms],
  },
  {
    place: "#chart-errors", label: "Share of requests answered 5xx", format: format.ratio,
    series: [{ label: "errors", token: "bad", kind: "area" }],
    columns: ["error_ratio"],
    point: (now) => [now.requests ? now.errors / now.requests : null],
  },
  {
    place: "#chart-price-age", label: "Age of prices when served", format: format.age,
    series: [{ label: "p95", token: "warn" }, { label: "median", token: "accent" }],
    columns: ["price_age_p95_s", "price_age_p50_s"],
    point: (now) => [now.price_age_p95_s, now.price_age_p50_s],
  },
  {
    place: "#chart-memory", label: "Memory of all processes", format: format.bytes,
    series: [{ label: "memory", token: "info", kind: "area" }],
    columns: ["memory_bytes"],
    point: (now) => [now.memory_bytes],
  },
];

/** What last week's same time is called in the columns, for those charts that show it. */
const LAST_WEEK = { "#chart-throughput": "week_per_second", "#chart-latency": "week_p95_ms", "#chart-errors": "week_error_ratio" };

const chosen = document.getElementById("chosen");
const onePage = document.getElementById("endpoint-page");
const deploys = JSON.parse(document.getElementById("deploys").textContent);
const marks = deploys.map(({ at_s, build }) => ({ at_s, label: build }));
let drawn;
let drawnFrom;

/** A drag on a chart is a zoom: the same page from there to there. */
function onZoom(from, to) {
  const asked = new URLSearchParams(location.search);
  asked.set("from", Math.floor(from));
  asked.set("to", Math.ceil(to));
  location.search = asked;
}

function draw(series) {
  const options = chosen
    ? { step_s: Number(chosen.dataset.step), window_s: Number(chosen.dataset.length) }
    : {};
  drawn = CHARTS.filter(({ place }) => document.querySelector(place)).map(({ place, columns, point, series: lines, ...rest }) => {
    const week = LAST_WEEK[place];
    const all = week && series[week] ? [...columns, week] : columns;
    const named = all === columns ? lines : [...lines, { label: "a week before", token: "muted", kind: "dashed" }];
    return chart(place, {
      ...rest, ...options, marks, onZoom, series: named, times: series.times, values: all.map((name) => series[name]),
    });
  });
}

function charts(data) {
  if (chosen) {
    if (!drawn) draw(JSON.parse(document.getElementById("chosen-series").textContent));
  } else if (!drawn) {
    draw(data.series);
  } else if (data.series !== drawnFrom) { // a whole snapshot came after a gap
    CHARTS.forEach(({ columns }, index) => {
      drawn[index].set(data.series.times, columns.map((name) => data.series[name]));
    });
  }
  drawnFrom = data.series;
}

function tiles({ latest, minute, cache, processes, firing }) {
  bind("per_second", latest.requests === null ? null : `${format.rate(latest.requests / latest.span_s)}/s`);
  bind("minute_requests", `${format.count(minute.requests ?? 0)} in the last minute`);
  bind("p50", format.ms(minute.p50_ms));
  bind("p95", format.ms(minute.p95_ms));
  bind("p99", format.ms(minute.p99_ms));
  bind("errors", format.count(minute.errors), { level: minute.errors ? "bad" : "" });
  bind("price_age", minute.price_age_p95_s === null ? null : format.age(minute.price_age_p95_s));
  bind("hit_ratio", format.ratio(cache.hit_ratio));
  bind("memory", format.bytes(latest.memory_bytes));
  bind("processes", `${processes.length} processes`);
  bind("firing", firing, { level: firing ? "bad" : "" });
  bind("queue_depth", latest.queue_depth);
}

function itself(monitor) {
  bind("monitor_lag", format.ms(monitor.lag_ms));
  bind("monitor_cost", format.ms(monitor.cost_ms));
  bind("monitor_series", monitor.series);
  bind("monitor_folded", monitor.folded);
  bind("monitor_undecodable", monitor.undecodable);
  bind("monitor_waiting", monitor.minutes_waiting);
  bind("monitor_lost", monitor.minutes_lost);
}

function render(data) {
  charts(data);
  tiles(data);
  itself(data.monitor);
  bind("window", data.window_s);
  bind("beat_late", data.beat_late_p95_s === null ? null : `${data.beat_late_p95_s} s`);
  if (!chosen) {
    table("#endpoints", data.endpoints, {
      key: (row) => row.endpoint, columns: ENDPOINTS, empty: "No request was counted.",
    });
  }
  table("#processes", data.processes, {
    key: (row) => `${row.node}|${row.pid}`, columns: PROCESSES, empty: "No process has been heard of.",
  });
  table("#hosts", data.hosts, { key: (row) => row.name, columns: HOSTS, empty: "No host has been heard of." });
  table("#outgoing", data.outgoing, { key: (row) => row.host, columns: OUTGOING, empty: "None was asked." });
  table("#tasks", data.tasks, { key: (row) => row.task, columns: TASKS, empty: "No task ran." });
}

if (onePage) charts(snapshot()); // one endpoint stands still, and the status line says as of when
else page({
  update({ latest }) {
    if (chosen || !drawn || !latest?.at_s) return;
    CHARTS.forEach(({ point }, index) => drawn[index].push(latest.at_s, point(latest)));
  },
  render,
});
