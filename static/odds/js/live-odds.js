/**
 * Keep a board, an event or the arbitrage list up to date, and never call old prices live.
 *
 * The server's HTML is the only drawing of a page: frames change prices in it, and whatever a frame
 * cannot say is read again as HTML. What the page shows is "as of" some server time; a greeting
 * says since when it covers, and only a page older than that is read again.
 */
import { age, margin, price } from "./odds-format.js";
import { calculator } from "./stakes.js";

const FIRST_DELAY_MS = 500;
const MAX_DELAY_MS = 10_000;
const MOVE_JITTER_MS = 8_000; // a node that is drained sends all its sockets away at once
const DEAF_MS = 40_000; // the server is never silent for more than 15 s
const POLL_MS = 10_000;
const READ_AGAIN_MS = 2_000; // answers of before a change are given for 3 s at most
const TOLD_WITHIN_S = 0.2; // a change is told so soon: an older answer may be without it
const READ_TRIES = 4;
const FLASH_MS = 2_500;
const REFUSED = 4000;

let page, cells, shown, socket, stopped, asOf, offsetS, retry;
let delayMs = FIRST_DELAY_MS;
let state = "still";
let heardAt = 0;
let polledAt = 0;
let reading = null;
let expected = null; // number of the next frame
let unknown = false; // a frame named a price for which this page has no place

/** Take over the page as it stands in the document; called again whenever it was replaced. */
function attach() {
  const found = document.getElementById("page");
  if (!found?.dataset.live) return detach();
  const same = page?.dataset.live === found.dataset.live;
  page = found;
  asOf = Number(page.dataset.asOf);
  index();
  localTimes();
  calculator(page);
  say(state);
  if (!same || !socket) open();
}

function detach() {
  stopped = true;
  clearTimeout(retry);
  socket?.close();
  socket = page = null;
}

/** Find every cell by what it is the price of. */
function index() {
  cells = new Map();
  shown = new Set([...page.querySelectorAll("[data-market]")].map((body) => body.dataset.market));
  for (const cell of page.querySelectorAll("td[data-book]")) {
    const row = cell.closest("tr[data-outcome]");
    const body = cell.closest("[data-event]");
    if (row && body) cells.set(key(body.dataset.event, body.dataset.market, cell.dataset.book, row.dataset.outcome, row.dataset.point), cell);
  }
}

const key = (event, market, book, outcome, line) => [event, market, book, outcome, line ?? ""].join("\u001f");

// --- the socket --------------------------------------------------------------------------------

function open() {
  stopped = false;
  clearTimeout(retry);
  if (socket) { socket.onclose = socket.onmessage = null; socket.close(); }
  const url = new URL(`/ws/odds/${page.dataset.live}`, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  expected = 0;
  heardAt = Date.now();
  socket = new WebSocket(url);
  socket.onmessage = ({ data }) => { heardAt = Date.now(); take(JSON.parse(data)); };
  socket.onclose = ({ code }) => closed(code);
}

function closed(code) {
  socket = null;
  if (stopped || !page) return;
  if (code >= REFUSED) return say("refused");
  say("reconnecting");
  const wait = code === 1012 ? Math.random() * MOVE_JITTER_MS : delayMs * (0.1 + 0.9 * Math.random());
  delayMs = Math.min(delayMs * 2, MAX_DELAY_MS);
  retry = setTimeout(open, wait);
}

function take(frame) {
  if (frame.n !== expected) return open(); // a frame is missing: begin anew
  expected += 1;
  offsetS = frame.at - Date.now() / 1000;
  if (frame.type === "hello" || frame.type === "resync") {
    delayMs = FIRST_DELAY_MS;
    frame.prices.forEach(show);
    say(frame.live ? "live" : "paused");
    if (asOf < frame.from) readAgain(frame.from); else asOf = frame.at;
  } else if (frame.type === "prices") {
    frame.prices.forEach(show);
    if (!reading) asOf = frame.at;
    say("live");
  } else if (frame.type === "refresh") {
    readAgain(frame.at - TOLD_WITHIN_S, Math.random() * 1000);
  } else if (frame.type === "paused") {
    say("paused");
  } else if (frame.type === "beat") {
    if (frame.live && !reading) asOf = frame.at;
    say(frame.live ? "live" : "paused");
  }
}

// --- what is shown ------------------------------------------------------------------------------

/** Put one change into its cell, mark where it went, and find the row's best again. */
function show({ e, m, b, o, l, p, t }) {
  const cell = cells.get(key(e, m, b, o, l === undefined || l === null ? "" : String(l)));
  if (!cell) { unknown ||= shown.has(m); return; }
  const before = Number(cell.textContent) || null;
  const old = cell.textContent;
  cell.classList.remove("up", "down", "none", "susp", "aging", "old");
  if (p === null) {
    cell.classList.add("susp");
    cell.classList.remove("best");
    cell.textContent = "susp.";
    cell.title = "Suspended: not offered now";
  } else {
    cell.textContent = price(p);
    cell.dataset.at = Math.floor((t ? Date.parse(t) : Date.now() + (offsetS ?? 0) * 1000) / 1000);
    cell.title = `${b}, confirmed ${age(nowS() - cell.dataset.at)} ago`;
    if (before && old !== cell.textContent) flash(cell, p > before ? "up" : "down");
  }
  best(cell.closest("tr"));
  margins(cell.closest("tbody"));
}

function flash(cell, direction) {
  void cell.offsetWidth; // a second move within the flash starts it anew
  cell.classList.add(direction);
  clearTimeout(cell.flashing);
  cell.flashing = setTimeout(() => cell.classList.remove("up", "down"), FLASH_MS);
}

const offered = (cell) => (cell.classList.contains("susp") ? null : Number(cell.textContent) || null);

function best(row) {
  const lay = "lay" in row.dataset;
  const priced = [...row.querySelectorAll("td[data-book]")].filter(offered);
  const values = priced.map(offered);
  const top = values.length ? (lay ? Math.min(...values) : Math.max(...values)) : null;
  const at = [];
  for (const cell of row.querySelectorAll("td[data-book]")) {
    const is = top !== null && offered(cell) === top;
    cell.classList.toggle("best", is);
    if (is) at.push(cell);
  }
  row.querySelector("[data-best]").textContent = price(top);
  row.querySelector("[data-best-at]").textContent = at.length
    ? heading(at[0].dataset.book) + (at.length > 1 ? ` +${at.length - 1}` : "") : "suspended";
  const newest = Math.max(...at.map((cell) => Number(cell.dataset.at)));
  row.querySelector("[data-age]").dataset.age = at.length ? newest : "";
}

const heading = (book) => page.querySelector(`th[data-book="${CSS.escape(book)}"]`)?.title ?? book;

/** A book's margin: the sum of its inverses, where it prices every outcome. */
function margins(body) {
  const rows = [...body.querySelectorAll("tr[data-outcome]")];
  for (const place of body.querySelectorAll("[data-margin]")) {
    const book = place.dataset.margin;
    const values = rows.map((row) => (book === "best"
      ? Number(row.querySelector("[data-best]").textContent) || null
      : offered(row.querySelector(`td[data-book="${CSS.escape(book)}"]`))));
    const text = values.length > 1 && values.every(Boolean) ? margin(100 * (values.reduce((sum, one) => sum + 1 / one, 0) - 1)) : "–";
    (place.lastChild ?? place.appendChild(document.createTextNode(""))).textContent = text;
  }
}

const nowS = () => Date.now() / 1000 + (offsetS ?? 0);

/** Ages grow, and prices that nobody confirms grow dim, whatever the socket does. */
function ages() {
  if (!page) return;
  for (const place of page.querySelectorAll("[data-age]")) {
    if (place.dataset.age) place.textContent = age(Math.max(0, nowS() - Number(place.dataset.age)));
  }
  for (const cell of page.querySelectorAll("td[data-at]")) {
    const old = nowS() - Number(cell.dataset.at);
    cell.classList.toggle("old", old > 900);
    cell.classList.toggle("aging", old > 120 && old <= 900);
  }
}

const SAY = {
  live: "live", still: "as of", reconnecting: "reconnecting, as of", polling: "asking each 10 s, as of",
  paused: "live updates paused, as of", refused: "not live, as of",
};

function say(next) {
  state = next;
  const status = document.getElementById("status");
  if (!status) return;
  if (status.dataset.state !== next) status.dataset.state = next;
  const words = status.querySelector(".say");
  if (words.textContent !== SAY[next]) words.textContent = SAY[next];
  status.querySelector("[data-clock]").textContent = `${new Date(asOf * 1000).toISOString().slice(11, 19)} UTC`;
}

/** Start times in the reader's own zone; the server's UTC stays in the title. */
function localTimes() {
  const format = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
  for (const time of page.querySelectorAll("time[data-local]:not([data-date-only])")) {
    time.title = time.textContent;
    time.textContent = format.format(new Date(time.dateTime));
  }
}

// --- reading again -------------------------------------------------------------------------------

/** Fetch this address and take its page over, until it is at least as new as `since`. */
function readAgain(since, delay = 0, tries = READ_TRIES) {
  clearTimeout(reading);
  reading = setTimeout(async () => {
    let newer = false;
    try { newer = await read(since); } catch { /* the next round or the poll tries again */ }
    reading = null;
    if (!newer && tries > 1) readAgain(since, READ_AGAIN_MS, tries - 1);
  }, delay);
}

async function read(since = 0) {
  polledAt = Date.now();
  const address = location.href;
  const answer = await fetch(address, { headers: { Accept: "text/html" }, cache: "no-cache" });
  if (!answer.ok || address !== location.href) return false;
  const next = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("page");
  if (!next) return false;
  const at = Number(next.dataset.asOf);
  if (at > asOf || at >= since) swap(next);
  unknown = false;
  return at >= since;
}

/** Replace what is shown and keep what the reader was doing: focus, scrolling, half-typed fields. */
function swap(next) {
  const field = document.activeElement?.closest?.("form") && page.contains(document.activeElement);
  if (field) return; // never under someone's fingers
  const scrolled = [...page.querySelectorAll(".scroll")].map((one) => one.scrollLeft);
  const opened = [...page.querySelectorAll("details")].map((one) => one.open);
  page.replaceWith(next);
  next.querySelectorAll(".scroll").forEach((one, at) => { one.scrollLeft = scrolled[at] ?? 0; });
  next.querySelectorAll("details").forEach((one, at) => { one.open = opened[at] ?? one.open; });
  globalThis.htmx?.process(next);
  const live = state;
  attach();
  say(live);
}

function watch() {
  ages();
  if (!page || stopped || document.visibilityState !== "visible") return;
  const now = Date.now();
  if (socket?.readyState === 1 && now - heardAt > DEAF_MS) { open(); say("reconnecting"); }
  if (state !== "live" && now - polledAt > POLL_MS) {
    read().then((done) => { if (done && state !== "live") { if (state === "reconnecting") say("polling"); else say(state); } }).catch(() => {});
  }
  if (unknown && !reading && now - polledAt > 3 * POLL_MS) readAgain(0);
}

/** After sleep: say at once from when the prices are, then find out what is new. */
function wake() {
  if (document.visibilityState !== "visible" || !page || stopped) return;
  if (!socket || Date.now() - heardAt > DEAF_MS / 2) {
    say("reconnecting");
    delayMs = FIRST_DELAY_MS;
    open();
  }
}

setInterval(watch, 1000);
document.addEventListener("visibilitychange", wake);
addEventListener("online", wake);
addEventListener("pageshow", ({ persisted }) => { if (persisted) wake(); });
addEventListener("pagehide", () => { stopped = true; socket?.close(); socket = null; });
document.addEventListener("htmx:afterSettle", attach);
document.addEventListener("change", ({ target }) => { // choosing a sport needs no button
  if (target.matches?.(".filter select")) target.form.requestSubmit();
});
attach();
