/** Throughput, latency, errors, memory and the age of prices, each second. The state and the acts are in docs/hooks.md. */
import { createStore, withActs } from "./store.js";

const ACTS = {};

export function createPerformance({ act, ...options } = {}) {
  return withActs(createStore("monitor", options), ACTS, act);
}
