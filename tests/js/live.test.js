import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";

import { alone, series } from "../../static/performance/js/chart.js";
import * as format from "../../static/performance/js/format.js";
import { follow } from "../../static/performance/js/live.js";
import { createCacheStatus } from "../../static/performance/js/useCacheStatus.js";
import { createCDN } from "../../static/performance/js/useCDN.js";
import { createLoadBalancer } from "../../static/performance/js/useLoadBalancer.js";
import { createPerformance } from "../../static/performance/js/usePerformance.js";
import { createPerformanceAlerts } from "../../static/performance/js/usePerformanceAlerts.js";

globalThis.location = { href: "http://127.0.0.1:8000/admin/" };

/** The server's end of a socket, in the test's hand. */
class FakeSocket {
  static all = [];
  readyState = 0;
  sent = [];
  constructor(url) { this.url = url; FakeSocket.all.push(this); }
  send(text) { this.sent.push(JSON.parse(text)); }
  open() { this.readyState = 1; this.onopen?.(); }
  say(type, sequence, data) {
    this.onmessage?.({ data: JSON.stringify({ type, sequence, at: Date.now() / 1000, data }) });
  }
  close(code = 1005) { this.readyState = 3; this.onclose?.({ code }); }
}

const newest = () => FakeSocket.all.at(-1);

beforeEach(() => {
  FakeSocket.all = [];
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: 1_800_000_000_000 });
});

function started(options = {}) {
  const seen = { snapshots: [], updates: [], states: [] };
  const stop = follow("/ws/performance/demo/", {
    WebSocket: FakeSocket,
    after: 5,
    at: Date.now() / 1000,
    onSnapshot: (data, sequence) => seen.snapshots.push([sequence, data]),
    onUpdate: (data, sequence) => seen.updates.push([sequence, data]),
    onStatus: (state, { reason }) => seen.states.push(reason ? [state, reason] : state),
    ...options,
  });
  newest().open();
  return { ...seen, stop };
}

test("a page that is up to date is live without asking again", () => {
  const { states, updates, stop } = started();
  newest().say("hello", 5);
  newest().say("page.update", 6, { a: 1 });
  assert.equal(newest().url, "ws://127.0.0.1:8000/ws/performance/demo/");
  assert.deepEqual(newest().sent, []);
  assert.deepEqual(updates, [[6, { a: 1 }]]);
  assert.equal(states[0], "live");
  stop();
});

test("a gap asks for a snapshot once, and what was heard already is ignored", () => {
  const { snapshots, updates, stop } = started();
  newest().say("hello", 5);
  newest().say("page.update", 5, {});
  newest().say("page.update", 8, {});
  newest().say("page.update", 9, {});
  assert.deepEqual(newest().sent, [{ resync: true }]);
  newest().say("page.snapshot", 9, { all: 1 });
  newest().say("page.update", 10, { b: 2 });
  assert.deepEqual(snapshots, [[9, { all: 1 }]]);
  assert.deepEqual(updates, [[10, { b: 2 }]]);
  stop();
});

test("a counter that began anew is a gap too", () => {
  const { stop } = started();
  newest().say("hello", 5);
  newest().say("page.update", 1, {});
  assert.deepEqual(newest().sent, [{ resync: true }]);
  stop();
});

test("a message that cannot be read asks for a snapshot", () => {
  mock.method(console, "error", () => {});
  const { stop } = started();
  newest().say("hello", 5);
  newest().onmessage({ data: "{" });
  assert.deepEqual(newest().sent, [{ resync: true }]);
  stop();
});

test("a lost socket reconnects with growing, random waits, and resyncs", () => {
  const { states, stop } = started();
  newest().say("hello", 5);
  newest().close(1006);
  assert.equal(states.at(-1), "reconnecting");
  mock.timers.tick(500);
  assert.equal(FakeSocket.all.length, 2);
  newest().close(1006);
  mock.timers.tick(1000);
  assert.equal(FakeSocket.all.length, 3);
  newest().open();
  newest().say("hello", 5);
  assert.deepEqual(newest().sent, [{ resync: true }]);
  newest().say("page.snapshot", 5, {});
  assert.equal(states.at(-1), "live");
  stop();
});

test("a refusal is final and says why", () => {
  const { states } = started();
  newest().close(4401);
  mock.timers.tick(60_000);
  assert.equal(FakeSocket.all.length, 1);
  assert.equal(states.at(-1)[0], "refused");
  assert.match(states.at(-1)[1], /Log in again/);
});

test("numbers that stop are never called live", () => {
  const { states, stop } = started();
  newest().say("hello", 5);
  mock.timers.tick(5000);
  newest().say("pulse", 5);
  assert.equal(states.at(-1), "silent");
  newest().say("page.update", 6, {});
  assert.equal(states.at(-1), "live");
  stop();
});

test("a server that is not heard for 12 s is left for another", () => {
  const { states, stop } = started();
  newest().say("hello", 5);
  mock.timers.tick(14_000);
  assert.equal(states.at(-1), "reconnecting");
  mock.timers.tick(1_000);
  assert.ok(FakeSocket.all.length > 1);
  stop();
});

test("a store lays each difference over the snapshot, and tells its listeners", async () => {
  const acts = [];
  const act = async (name, values) => { acts.push([name, values]); return { ok: true, message: "Purged." }; };
  const cache = createCacheStatus({ WebSocket: FakeSocket, act });
  const heard = [];
  const quiet = cache.subscribe(({ data }) => heard.push(data));
  newest().open();
  newest().say("hello", 3);
  newest().say("page.snapshot", 3, { hits: 1, misses: 2 });
  newest().say("page.update", 4, { hits: 5 });
  assert.deepEqual(cache.get().data, { hits: 5, misses: 2 });
  assert.equal(cache.get().status, "live");
  assert.deepEqual(heard[0], null);
  quiet();
  newest().say("page.update", 5, { hits: 6 });
  assert.equal(heard.filter((data) => data?.hits === 6).length, 0);
  assert.equal((await cache.purge({ family: "board" })).message, "Purged.");
  assert.deepEqual(acts, [["cache.purge", { family: "board" }]]);
  cache.stop();
});

test("each hook follows its own page", () => {
  const made = { monitor: createPerformance, cdn: createCDN, balancer: createLoadBalancer, alerts: createPerformanceAlerts };
  for (const [slug, create] of Object.entries(made)) {
    const store = create({ WebSocket: FakeSocket });
    assert.ok(newest().url.endsWith(`/ws/performance/${slug}/`));
    store.stop();
  }
});

test("a silence is drawn as a gap, and old points go", () => {
  const points = series({ series: [{ label: "a" }], times: [1, 2], values: [[10, 20]], window_s: 10 });
  assert.equal(points.push(2, [99]), false);
  points.push(7, [30]);
  assert.deepEqual(points.data(), [[1, 2, 3, 7], [10, 20, null, 30]]);
  points.push(12.5, [40]);
  assert.deepEqual(points.data()[0], [3, 7, 8, 12.5]);
});

test("numbers read as on the server", () => {
  const { ms, bytes, age, ratio, count, clock } = format;
  assert.deepEqual([null, 0.42, 17.3, 1250].map(ms), ["–", "0.42 ms", "17.3 ms", "1.25 s"]);
  assert.deepEqual([512, 1536, 3.2 * 1024 ** 2].map(bytes), ["512 B", "1.5 KB", "3.2 MB"]);
  assert.deepEqual([null, 4, 180, 7200, 432000].map(age), ["never", "4 s", "3 min", "2 h", "5 d"]);
  assert.deepEqual([ratio(0.963), count(12400), clock(0)], ["96.3 %", "12,400", "00:00:00"]);
});

test("a value with silence on both sides is a dot, one that a line goes through is not", () => {
  const places = (values) => alone({ data: [[], values] }, 1);
  assert.deepEqual(places([1, null, 2, 3, null, 4]), [0, 5]);
  assert.deepEqual(places([null, 7, undefined]), [1]);
  assert.equal(places([1, 2, 3]), null);
});
