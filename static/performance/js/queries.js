/** QueryOptimizer: what runs now moves each second; what the server counted, with it. */
import { actLink } from "./acts.js";
import { bind, element, format, page, table } from "./page.js";

const sql = (row) => element("span", { className: "mono", title: row.sql }, row.sql);

const since = (row) => element("span", { title: row.backend_start }, row.backend_start.slice(11, 19));

const RUNNING = [
  { heading: true, className: "num", cell: (row) => row.pid },
  { className: "mono", cell: since },
  { className: "num", cell: (row) => format.ms(row.ms) },
  { cell: (row) => row.application_name },
  { cell: (row) => (row.waits_for ? `${row.state} (${row.waits_for})` : row.state) },
  { cell: (row) => row.blocked_by.join(", ") },
  { className: "clip", cell: sql },
  { cell: (row) => acts({ pid: row.pid, backend_start: row.backend_start }) },
];

const plan = (row) =>
  element("a", { className: "mono", href: `../queries-plan/?query=${row.key}`, title: row.sql }, row.sql);

const STATEMENTS = [
  { heading: true, className: "clip", cell: plan },
  { className: "clip", cell: (row) => row.route || null },
  { className: "num", cell: (row) => format.count(row.calls) },
  { className: "num", cell: (row) => format.ms(row.total_ms) },
  { className: "num", cell: (row) => format.ms(row.mean_ms) },
  { className: "num narrow-hide", cell: (row) => format.ms(row.stddev_ms) },
  { className: "num", cell: (row) => format.ms(row.max_ms) },
  { className: "num narrow-hide", cell: (row) => format.count(row.rows) },
  { className: "num narrow-hide", cell: (row) => format.ratio(row.hit_ratio) },
];

const N_PLUS_ONES = [
  { heading: true, cell: (row) => row.route || null },
  { className: "mono", cell: (row) => row.line },
  { className: "num", cell: (row) => format.count(row.count) },
  { className: "num", cell: (row) => format.ms(row.ms) },
  { className: "wraps", cell: (row) => row.remedy ?? "" },
  { className: "clip", cell: sql },
];

const CONNECTIONS = [
  { heading: true, cell: (row) => row.application_name || "(unnamed)" },
  { cell: (row) => row.state },
  { className: "num", cell: (row) => row.connections },
];

const POOLS = [
  { heading: true, cell: (row) => row.name },
  { className: "num narrow-hide", cell: (row) => row.pid },
  { className: "narrow-hide", cell: (row) => row.alias },
  { className: "num", cell: (row) => `${row.in_use} / ${row.most}` },
  { className: "num", cell: (row) => row.waiting },
  { className: "num", cell: (row) => `${format.count(row.waited)} / ${format.count(row.asked)}` },
  { className: "num", cell: (row) => format.ms(row.mean_wait_ms) },
  { className: "num", cell: (row) => row.refused },
];

function acts(values) {
  return element(
    "span",
    {},
    actLink("queries.cancel", values, "Cancel"),
    " ",
    actLink("queries.terminate", values, "End"),
  );
}

page({
  render(data) {
    bind("running", data.running.length);
    bind("blocked", data.blocked, { level: data.blocked ? "warn" : "" });
    bind("connection_count", data.connection_count);
    bind("n_plus_one_count", data.n_plus_ones.length, {
      level: data.n_plus_ones.length ? "warn" : "",
    });
    table("#running", data.running, {
      key: (row) => row.pid,
      columns: RUNNING,
      empty: "No statement runs at this moment.",
    });
    if (document.getElementById("statements")) table("#statements", data.statements, { key: (row) => row.key, columns: STATEMENTS });
    table("#n-plus-ones", data.n_plus_ones, {
      key: (row) => row.key,
      columns: N_PLUS_ONES,
      empty: "None found since the bus was started.",
    });
    table("#connections", data.connections, {
      key: (row) => `${row.application_name}|${row.state}`,
      columns: CONNECTIONS,
    });
    bind("pool_waiting", data.pool_waiting, { level: data.pool_waiting ? "warn" : "" });
    table("#pools", data.pools, {
      key: (row) => row.key,
      columns: POOLS,
      empty: "No process holds a pool: each thread has a connection of its own.",
    });
  },
});
