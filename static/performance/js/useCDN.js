/** The edges, their health and the ledger of purges. The state and the acts are in docs/hooks.md. */
import { createStore, withActs } from "./store.js";

const ACTS = { purge: "cdn.purge", warm: "cdn.warm", purgeAll: "cdn.purge_all" };

export function createCDN({ act, ...options } = {}) {
  return withActs(createStore("cdn", options), ACTS, act);
}
