/** Alerts: states and history move each second. */
import { actLink } from "./acts.js";
import { badge, bind, element, page, table } from "./page.js";

const RULES = [
  { className: "nowrap", heading: true, cell: (row) => row.name },
  { cell: (row) => badge(row.state_text, row.level) },
  { className: "num", cell: (row) => row.value_text },
  { className: "num", cell: (row) => `${row.comparison} ${row.limit_text}` },
  { className: "mono clip narrow-hide", cell: (row) => row.subject || null },
  { className: "wraps", cell: (row) => [row.taken_text, row.held_text].filter(Boolean).join("; ") || null },
  { cell: acts },
];

const SILENCES = [
  { heading: true, cell: (row) => row.what },
  { cell: (row) => badge(row.state, row.level) },
  { className: "nowrap", cell: (row) => row.starts_at },
  { className: "nowrap", cell: (row) => row.ends_at },
  { className: "wraps", cell: (row) => row.reason },
  { cell: (row) => row.by || null },
  { cell: (row) => row.can_end && may("silences", "maySilence") ? actLink("alerts.end_silence", { silence: row.id }, "End") : null },
];

const WINDOWS = [
  { heading: true, cell: (row) => row.name },
  { className: "nowrap", cell: (row) => row.when },
  { cell: (row) => badge(row.state, row.level) },
  { cell: (row) => row.what },
];

const CAUSES = [
  { heading: true, cell: (row) => row.name },
  { cell: (row) => row.causes.join(", ") },
  { cell: (row) => row.firing.length ? badge(row.firing.join(", "), "bad") : badge("none fires", "good") },
];

const EVENTS = [
  { className: "nowrap", cell: (row) => row.at },
  { cell: (row) => row.event },
  { className: "wraps", cell: (row) => row.text },
  { cell: (row) => row.by || null },
];

/** Whether the viewer may do this, as the server said with the table. */
function may(table, what) {
  return what in document.getElementById(table).dataset;
}

function acts(row) {
  const offered = [];
  if (row.can_acknowledge && may("rules", "mayAcknowledge")) {
    offered.push(actLink("alerts.acknowledge", { rule: row.id }, "Acknowledge"));
  }
  if (may("rules", "maySilence")) {
    offered.push(actLink("alerts.silence", { rule: row.id, minutes: 60 }, "Silence 1 h"));
  }
  return offered.length ? element("span", { className: "acts" }, ...offered) : null;
}

page({
  render(data) {
    bind("firing", data.firing, { level: data.firing ? "bad" : "" });
    bind("undelivered", data.undelivered, { level: data.undelivered ? "warn" : "" });
    bind("pending", data.pending, { level: data.pending ? "warn" : "" });
    bind("no_data", data.no_data, { level: data.no_data ? "warn" : "" });
    bind("held_back", data.held_back);
    table("#rules", data.rules, { key: (row) => row.id, columns: RULES, empty: "There is no rule." });
    table("#silences", data.silences, { key: (row) => row.id, columns: SILENCES, empty: "Nothing is silenced." });
    table("#windows", data.windows, { key: (row) => row.id, columns: WINDOWS, empty: "No hours of the week are muted." });
    table("#causes", data.causes, { key: (row) => row.id, columns: CAUSES, empty: "No rule is a consequence of another." });
    table("#events", data.events, { key: (row) => row.id, columns: EVENTS, empty: "No alert has ever fired." });
  },
});
