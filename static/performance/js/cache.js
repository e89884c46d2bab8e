/** CacheStatus: hits by family and tier, what misses cost, lifetimes advised, processes, the store. */
import { actLink } from "./acts.js";
import { chart } from "./chart.js";
import { badge, bind, element, format, page, table } from "./page.js";

const seconds = (value) => `${value.toFixed(1)} s`;
const short = (value) => `${Number(value.toFixed(1))} s`;

const FAMILIES = [
  { heading: true, cell: (row) => row.name },
  { className: "num", cell: (row) => row.reads },
  { className: "num", cell: (row) => format.ratio(row.hit_ratio) },
  { className: "num", cell: (row) => format.ratio(row.memory_ratio) },
  { className: "num", cell: (row) => format.ratio(row.store_ratio) },
  { className: "num", cell: (row) => format.ratio(row.stale_ratio) },
  { className: "num", cell: (row) => seconds(row.saved_s) },
  { className: "num", cell: (row) => format.age(row.oldest_s) },
  { cell: (row) => `${short(row.ttl_s)}, ${row.strategy}, v${row.version}${row.overridden ? " (set by staff)" : ""}` },
  { cell: acts },
];

const WORK = [
  { heading: true, cell: (row) => row.name },
  { className: "num", cell: (row) => row.loads },
  { className: "num", cell: (row) => format.ms(row.load_mean_ms) },
  { className: "num", cell: (row) => format.ms(row.load_p95_ms) },
  { className: "num", cell: (row) => row.waited },
  { className: "num", cell: (row) => row.failed },
  { className: "num", cell: (row) => row.outdated },
  { className: "num", cell: (row) => format.ratio(row.audited_stale_ratio) },
  { className: "num", cell: (row) => row.entries },
  { className: "num", cell: (row) => format.bytes(row.held_bytes) },
  { className: "num", cell: (row) => row.evicted },
  { className: "num", cell: (row) => format.bytes(row.written_bytes) },
];

const ADVICE = [
  { heading: true, cell: (row) => row.name },
  { className: "num", cell: (row) => short(row.ttl_s) },
  { className: "num", cell: (row) => (row.advice.ttl_s === null ? "–" : short(row.advice.ttl_s)) },
  { className: "wraps", cell: (row) => row.advice.said },
  { className: "wraps muted", cell: (row) => row.advice.evidence },
  { cell: taking },
];

const PROCESSES = [
  { heading: true, cell: (row) => row.process },
  { cell: (row) => badge(row.store, row.store === "up" ? "good" : "bad") },
  { cell: (row) => badge(row.memory, row.memory === "on" ? "good" : "warn") },
  { className: "num", cell: (row) => format.ms(row.push_lag_ms) },
  { className: "num", cell: (row) => row.pushes },
  { className: "num", cell: (row) => row.push_losses },
];

const TIERS = [
  { label: "Memory", token: "good", kind: "area" },
  { label: "Store", token: "accent" },
  { label: "Stale", token: "warn", kind: "dashed" },
  { label: "Missed", token: "bad" },
];

/** Whether the viewer may set a family: the server says so in the table's own mark. */
const maySet = () => "maySet" in document.getElementById("families").dataset;

function settings(row, changed = {}) {
  return { family: row.name, ...row.settings, invalidation_rules: row.rules_text, ...changed };
}

function acts(row) {
  if (!maySet()) return "";
  const set = actLink("cache.configure", settings(row), "Set…");
  if (!row.overridden) return set;
  return element("span", { className: "acts" }, set, actLink("cache.reset", { family: row.name }, "Reset…"));
}

function taking(row) {
  if (!maySet() || row.advice.ttl_seconds === null) return "";
  const wanted = settings(row, { ttl_seconds: row.advice.ttl_seconds });
  return actLink("cache.configure", wanted, "Take it…");
}

let reads;
let drawnTo;

function drawReads(series) {
  reads ??= chart("#chart-reads", {
    label: "Reads a second, by who answered", series: TIERS, step_s: 60, format: format.rate,
  });
  const state = JSON.stringify(series.at) + series.memory.at(-1);
  if (state === drawnTo) return;
  drawnTo = state;
  reads.set(series.at, [series.memory, series.store, series.stale, series.missed]);
}

function drawServer(server) {
  const limit = server.limit_bytes ? format.bytes(server.limit_bytes) : "no limit";
  bind("used", server.error ? "away" : format.bytes(server.used_bytes), { level: server.error ? "bad" : "good" });
  bind("store", server.error ? `memory and database go on: ${server.error}` : `of ${limit}, ${server.policy}`);
  bind("server_version", server.version);
  const share = server.limit_bytes ? ` (${format.ratio(server.used_ratio)})` : "";
  bind("server_memory", server.error ? null : `${format.bytes(server.used_bytes)} of ${limit}${share}`);
  bind("server_policy", server.policy);
  bind("server_keys", server.keys);
  bind("server_evicted", server.evicted);
  bind("server_clients", server.clients);
}

page({
  render({ total, server, families, processes, series, error }) {
    bind("hit_ratio", format.ratio(total.hit_ratio));
    bind("reads", total.reads);
    bind("saved", seconds(total.saved_s));
    bind("stale", total.stale);
    bind("failed", total.failed);
    bind("waited", total.waited);
    bind("wrong", format.ratio(total.audited_stale_ratio), { level: total.audited_stale_ratio ? "warn" : "" });
    bind("audited", total.audited);
    bind("held", format.bytes(total.held_bytes));
    bind("entries", total.entries);
    bind("evicted", total.evicted);
    bind("lag", format.ms(total.push_lag_ms));
    bind("error", error ?? "");
    drawServer(server);
    drawReads(series);
    const key = (row) => row.name;
    table("#families", families, { key, columns: FAMILIES, empty: "No family is registered." });
    table("#work", families, { key, columns: WORK, empty: "No family is registered." });
    table("#advice", families.filter((row) => row.reads), {
      key, columns: ADVICE, empty: "Nothing was read in the window, so there is nothing to advise.",
    });
    table("#processes", processes, {
      key: (row) => row.process,
      columns: PROCESSES,
      empty: "No process has used a cache in the last 10 s.",
    });
  },
});
