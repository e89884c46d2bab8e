import { bind, format, page } from "./page.js";
import { chart } from "./chart.js";

let latency;
page({
  update: ({ time, p95 }) => latency.push(time, [p95, p95 / 2]),
  render(data) {
    latency ??= chart("#latency", {
      label: "Latency", format: format.ms, times: data.times, values: data.values,
      series: [{ label: "p95", token: "warn" }, { label: "p50", token: "accent", kind: "area" }],
    });
    bind("rate", format.rate(data.requests_per_s));
  },
});
