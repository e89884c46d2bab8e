/** CacheStatus: hits by family and tier, the processes' memories, the store. */
import { badge, bind, format, page, table } from "./page.js";

const seconds = (value) => `${value.toFixed(1)} s`;

const FAMILIES = [
  { heading: true, cell: (row) => row.name },
  { className: "num", cell: (row) => row.reads },
  { className: "num", cell: (row) => format.ratio(row.hit_ratio) },
  { className: "num", cell: (row) => format.ratio(row.memory_ratio) },
  { className: "num", cell: (row) => format.ratio(row.store_ratio) },
  { className: "num", cell: (row) => row.stale },
  { className: "num", cell: (row) => format.ms(row.load_p95_ms) },
  { className: "num", cell: (row) => seconds(row.saved_s) },
  { className: "num", cell: (row) => row.entries },
  { className: "num", cell: (row) => format.bytes(row.held_bytes) },
  { className: "num", cell: (row) => format.age(row.oldest_s) },
  { cell: (row) => `${row.ttl_s} s, ${row.strategy}, v${row.version}${row.overridden ? " (changed)" : ""}` },
];

const PROCESSES = [
  { heading: true, cell: (row) => row.process },
  { cell: (row) => badge(row.store, row.store === "up" ? "good" : "bad") },
  { cell: (row) => badge(row.memory, row.memory === "on" ? "good" : "warn") },
  { className: "num", cell: (row) => row.pushes },
  { className: "num", cell: (row) => row.push_losses },
];

page({
  render({ total, server, families, processes, error }) {
    bind("hit_ratio", format.ratio(total.hit_ratio));
    bind("reads", total.reads);
    bind("saved", seconds(total.saved_s));
    bind("stale", total.stale);
    bind("failed", total.failed);
    bind("held", format.bytes(total.held_bytes));
    bind("entries", total.entries);
    bind("used", server.error ? "away" : format.bytes(server.used_bytes), { level: server.error ? "bad" : "good" });
    bind("store", server.error
      ? `memory and database go on: ${server.error}`
      : `${server.keys} keys, ${server.evicted} evicted (${server.policy})`);
    bind("error", error ?? "");
    table("#families", families, { key: (row) => row.name, columns: FAMILIES, empty: "No family is registered." });
    table("#processes", processes, {
      key: (row) => row.process,
      columns: PROCESSES,
      empty: "No process has used a cache in the last 10 s.",
    });
  },
});
