/**
 * Reports a page view's web vitals, measured by the library of that name, when the visitor leaves.
 * It says which page, and nothing of who: no cookie goes along. Without the library, or where the
 * browser knows no beacon, nothing is sent and nothing fails.
 */
const ADDRESS = "/api/v1/performance/vitals";
const LIBRARY = document.querySelector('meta[name="web-vitals"]')?.content;
const measured = new Map();

/** Send what was measured since the last time; each value once, the newest. */
function send() {
  if (!measured.size) return;
  const vitals = [...measured].map(([name, value]) => ({ name, value }));
  measured.clear();
  const body = JSON.stringify({ path: location.pathname.slice(0, 300), vitals });
  // Not sendBeacon: that takes cookies along. A fetch with keepalive outlives the page too.
  fetch(ADDRESS, {
    method: "POST", body, keepalive: true, credentials: "omit",
    headers: { "Content-Type": "application/json" },
  }).catch(() => {});
}

async function measure() {
  if (!LIBRARY) return;
  const { onCLS, onFCP, onINP, onLCP, onTTFB } = await import(LIBRARY);
  for (const on of [onCLS, onFCP, onINP, onLCP, onTTFB]) {
    on(({ name, value }) => measured.set(name, Math.round(value * 10_000) / 10_000));
  }
  addEventListener("visibilitychange", () => { if (document.visibilityState === "hidden") send(); });
  addEventListener("pagehide", send);
}

measure().catch(() => {});
