/** Alerts: states and history move each second. */
import { actLink } from "./acts.js";
import { badge, bind, element, page, table } from "./page.js";

const RULES = [
  { heading: true, cell: (row) => row.name },
  { cell: (row) => badge(row.state_text, row.level) },
  { className: "num", cell: (row) => row.value_text },
  { className: "num", cell: (row) => `${row.comparison} ${row.limit_text}` },
  { className: "mono clip narrow-hide", cell: (row) => row.subject || null },
  { cell: (row) => row.taken_text || null },
  { cell: acts },
];

const EVENTS = [
  { className: "num", cell: (row) => row.at },
  { cell: (row) => row.event },
  { cell: (row) => row.text },
  { cell: (row) => row.by || null },
];

function acts(row) {
  return element(
    "span",
    {},
    row.can_acknowledge ? actLink("alerts.acknowledge", { rule: row.id }, "Acknowledge") : "",
    " ",
    actLink("alerts.silence", { rule: row.id, minutes: 60 }, "Silence 1 h"),
  );
}

page({
  render(data) {
    bind("firing", data.firing, { level: data.firing ? "bad" : "" });
    bind("undelivered", data.undelivered, { level: data.undelivered ? "warn" : "" });
    bind("pending", data.pending, { level: data.pending ? "warn" : "" });
    bind("no_data", data.no_data, { level: data.no_data ? "warn" : "" });
    bind("silenced", data.silenced);
    table("#rules", data.rules, { key: (row) => row.id, columns: RULES, empty: "There is no rule." });
    table("#events", data.events, { key: (row) => row.id, columns: EVENTS, empty: "No alert has ever fired." });
  },
});
