/** A store over one live page: what the hooks are made of. */
import { perform } from "./acts.js";
import { follow } from "./live.js";

/**
 * Follow a page and keep its newest state.
 *
 * `get()` is `{data, sequence, status, at, reason}`; data is null until the first snapshot.
 * `subscribe(listener)` calls it now and at each change, and returns how to stop that.
 * `url` defaults to the page's own socket, so that one page may follow another.
 */
export function createStore(slug, { url = `/ws/performance/${slug}/`, pollUrl, ...more } = {}) {
  let state = { data: null, sequence: null, status: "reconnecting", at: null, reason: null };
  const listeners = new Set();

  function change(next) {
    state = { ...state, ...next };
    for (const listener of listeners) listener(state);
  }

  const stop = follow(url, {
    pollUrl,
    ...more,
    onSnapshot: (data, sequence) => change({ data, sequence }),
    onUpdate: (difference, sequence) => change({ data: { ...state.data, ...difference }, sequence }),
    onStatus: (status, { at, reason }) => change({ status, at, reason }),
  });

  return {
    get: () => state,
    subscribe(listener) {
      listeners.add(listener);
      listener(state);
      return () => listeners.delete(listener);
    },
    stop() {
      listeners.clear();
      stop();
    },
  };
}

/** Give a store acts by name: `{purge: "cache.purge"}` makes `store.purge({family: "board"})`. */
export function withActs(store, acts, act = perform) {
  for (const [verb, name] of Object.entries(acts)) store[verb] = (values) => act(name, values);
  return store;
}
