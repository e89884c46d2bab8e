/** The CDN page: what the edge answers, its health, the ledger of purges, and the builds. */
import { badge, bind, format, page, table } from "./page.js";

const dollars = (usd, digits) => `$${usd.toFixed(digits)}`;

const PURGES = [
  { heading: true, cell: (row) => row.at },
  { className: "mono clip", cell: (row) => row.targets.join(" ") },
  { cell: (row) => (row.soft ? "soft" : "hard") },
  { cell: (row) => badge(row.trouble ? `${row.state}: ${row.trouble}` : row.state, row.level) },
  { className: "num", cell: (row) => row.attempts },
  { className: "num", cell: (row) => (row.cost_usd ? dollars(row.cost_usd, 3) : null) },
  { cell: (row) => row.answer },
];

const EVENTS = [
  { heading: true, cell: (row) => row.at },
  { cell: (row) => row.provider },
  { cell: (row) => badge(row.healthy ? "back" : "out", row.healthy ? "good" : "bad") },
  { cell: (row) => row.detail },
];

const size = (encoding) => ({
  className: "num", cell: (row) => format.bytes(row.bytes_by_encoding[encoding]),
});
const BUILDS = [
  { heading: true, className: "mono", cell: (row) => row.hash },
  { cell: (row) => row.published_at },
  { className: "num", cell: (row) => row.files },
  size("identity"), size("gzip"), size("zstd"), size("br"),
];

page({
  render(data) {
    const { edge, month, budget } = data;
    bind("health", data.healthy ? "well" : "taken out", { level: data.healthy ? "good" : "bad" });
    bind("probe", data.probe);
    bind("hit_ratio", format.ratio(edge.hit_ratio));
    bind("requests", `${edge.requests} requests · ${edge.from}`);
    bind("saved_ratio", format.ratio(edge.saved_ratio));
    bind("saved", `${format.bytes(edge.saved_bytes)} not asked of the origin`);
    bind("waiting", data.waiting, { level: data.waiting ? "warn" : "" });
    bind("day", `${data.sent_24h} sent, ${data.failed_24h} given up in 24 h`);
    bind("month", month.items);
    bind("cost", `${month.calls} calls · ${dollars(month.cost_usd, 2)}`);
    bind("budget", `${budget.spent} of ${budget.allowed}`);
    table("#purges", data.purges, {
      key: (row) => row.key, columns: PURGES, empty: "Nothing was purged at an edge yet.",
    });
    table("#events", data.events, {
      key: (row) => row.key, columns: EVENTS, empty: "The edge was never taken out.",
    });
    table("#builds", data.builds, {
      key: (row) => row.hash, columns: BUILDS, empty: "publish_static notes the first build.",
    });
  },
});
