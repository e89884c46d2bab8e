/** The edges, their health and the ledger of purges. The state and the acts are in docs/hooks.md. */
import { createStore, withActs } from "./store.js";

const ACTS = { purge: "cdn.purge" };

export function createCDN({ act, ...options } = {}) {
  return withActs(createStore("cdn", options), ACTS, act);
}
