/** The CDN page: the edge's health and the ledger of purges. */
import { badge, bind, page, table } from "./page.js";

const PURGES = [
  { heading: true, cell: (row) => row.at },
  { className: "mono clip", cell: (row) => row.targets.join(" ") },
  { cell: (row) => (row.soft ? "soft" : "hard") },
  { cell: (row) => badge(row.state, row.level) },
  { className: "num", cell: (row) => row.attempts },
  { cell: (row) => row.answer },
];

page({
  render(data) {
    bind("health", data.healthy ? "well" : "taken out", { level: data.healthy ? "good" : "bad" });
    bind("probe", data.probe);
    bind("waiting", data.waiting, { level: data.waiting ? "warn" : "" });
    table("#purges", data.purges, {
      key: (row) => row.key,
      columns: PURGES,
      empty: "Nothing was purged at an edge yet.",
    });
  },
});
