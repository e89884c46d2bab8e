/** The page of the load balancer: nodes, queues and decisions, each second. */
import { page, bind, table, badge, element, format } from "./page.js";
import { actLink } from "./acts.js";

const dash = (value) => value ?? "–";

function meter(ratio) {
  if (ratio === null) return "–";
  const bar = element("meter", { className: "bar" }, format.ratio(ratio));
  for (const [name, value] of Object.entries({ min: 0, max: 1, high: 0.8, optimum: 0, value: ratio })) {
    bar.setAttribute(name, value);
  }
  return bar;
}

function acts(node) {
  if (!("mayDrain" in document.getElementById("nodes").dataset)) return "";
  return node.draining
    ? actLink("balancing.undrain", { node: node.id }, "Undrain")
    : actLink("balancing.drain", { node: node.id }, "Drain");
}

function drawKind(kind) {
  bind(`${kind.kind}_up`, `${kind.up} of ${kind.nodes}`, {
    level: kind.nodes && kind.up === kind.nodes ? "good" : "warn",
  });
  bind(`${kind.kind}_note`, kind.note);
  bind(`${kind.kind}_load`, `${dash(kind.sessions)} of ${kind.slots}`);
  bind(`${kind.kind}_queue`, `${dash(kind.queued)} waiting, ${dash(kind.rate_per_s)} a second`);
}

function drawTroubles(troubles) {
  const place = document.getElementById("troubles");
  if ([...place.children].map((line) => line.textContent).join("\n") === troubles.join("\n")) return;
  place.replaceChildren(...troubles.map((text) => element("p", { className: "notice warn" }, text)));
}

page({
  render(data) {
    data.kinds.forEach(drawKind);
    bind("balancer", data.balancer, {
      level: data.balancer === "leads" && data.proxy === "up" ? "good" : "bad",
    });
    bind("balancer_note", `proxy ${data.proxy}${data.policy ? `, ${data.policy}` : ""}`);
    drawTroubles(data.troubles);
    table("#nodes", data.nodes, {
      key: (node) => node.id,
      empty: data.balancer === "away"
        ? "No balancer has spoken for some seconds; the proxy goes on with the nodes it has."
        : "No node has announced itself.",
      columns: [
        { heading: true, className: "nowrap", cell: (node) => node.id },
        { className: "nowrap", cell: (node) => badge(node.state, node.level) },
        { className: "mono narrow-hide", cell: (node) => node.check || "–" },
        { className: "narrow-hide", cell: (node) => meter(node.load_ratio) },
        { className: "num nowrap", cell: (node) => `${dash(node.sessions)} / ${node.slots}` },
        { className: "num narrow-hide", cell: (node) => format.ms(node.latency_ms) },
        { className: "num narrow-hide", cell: (node) => format.ratio(node.cpu_ratio) },
        { className: "num narrow-hide", cell: (node) => format.bytes(node.memory_bytes) },
        { className: "num narrow-hide", cell: (node) => format.age(node.uptime_s) },
        { className: "num narrow-hide", cell: (node) => dash(node.errors) },
        { className: "num narrow-hide", cell: (node) => node.weight ?? 100 },
        { className: "num narrow-hide", cell: (node) => format.ms(node.queue_p95_ms) },
        { className: "mono nowrap narrow-hide", cell: (node) => node.texts.build },
        { className: "stays", cell: acts },
      ],
    });
    table("#decisions", data.decisions, {
      key: (decision) => decision.id,
      empty: "Nothing was decided yet.",
      columns: [
        { className: "mono nowrap", cell: (decision) => decision.at },
        { cell: (decision) => decision.action },
        { className: "nowrap", cell: (decision) => decision.what },
        { className: "num nowrap", cell: (decision) => decision.change },
        { className: "wraps", cell: (decision) => decision.reason },
        { className: "narrow-hide", cell: (decision) => decision.by },
      ],
    });
  },
});
