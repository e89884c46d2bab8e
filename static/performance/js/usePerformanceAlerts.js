/** The alerts that fire, and what is silenced. The state and the acts are in docs/hooks.md. */
import { createStore, withActs } from "./store.js";

const ACTS = {
  acknowledge: "alerts.acknowledge",
  silence: "alerts.silence",
  silenceMatching: "alerts.silence_matching",
  endSilence: "alerts.end_silence",
};

export function createPerformanceAlerts({ act, ...options } = {}) {
  return withActs(createStore("alerts", options), ACTS, act);
}
