/** The nodes, their load and the last decisions about their number. The state and the acts are in docs/hooks.md. */
import { createStore, withActs } from "./store.js";

const ACTS = {
  drain: "balancing.drain",
  undrain: "balancing.undrain",
  scale: "balancing.scale",
};

export function createLoadBalancer({ act, ...options } = {}) {
  return withActs(createStore("balancer", options), ACTS, act);
}
