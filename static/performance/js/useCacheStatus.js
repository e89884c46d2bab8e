/** What the cache holds and how often it is hit. The state and the acts are in docs/hooks.md. */
import { createStore, withActs } from "./store.js";

const ACTS = {
  purge: "cache.purge", warm: "cache.warm", configure: "cache.configure", reset: "cache.reset",
};

export function createCacheStatus({ act, ...options } = {}) {
  return withActs(createStore("cache", options), ACTS, act);
}
