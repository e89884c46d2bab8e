/**
 * Follow a live page: apply numbered differences, notice a gap, reconnect, and never claim "live"
 * of numbers that have stopped.
 *
 * Messages from the server: `hello`, `pulse`, `page.update`, `page.snapshot`, `move`; each has the
 * `sequence` it brings the page to, and `at` (server time, unix seconds). To the server goes
 * `{"resync": true}` only.
 *
 * States: "live", "reconnecting", "silent" (connected, but nothing new is measured), "polling" (no
 * socket, so asking by HTTP each 10 s), "refused" (the server will not change its mind).
 */
const FIRST_DELAY_MS = 500;
const MAX_DELAY_MS = 10_000;
const STABLE_MS = 10_000; // a connection that lasted this long starts the delays anew
const DEAF_MS = 12_000; // the server speaks at least each 5 s
const SILENT_MS = 3_000; // differences come each second
const POLL_MS = 10_000;
const REFUSED = 4000; // our own close codes start here

export const REASONS = {
  4401: "You are logged out, or your session has changed. Log in again.",
  4403: "You may no longer see this page.",
  4404: "There is no such page.",
  4429: "You have too many live pages open. Close some, then reload.",
};

const wait = (ms) => ms * (0.1 + 0.9 * Math.random()); // full jitter, but never at once

/** Where `path` is spoken to: ws:// for http://, wss:// for https://. */
export function socketUrl(path) {
  const url = new URL(path, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  return url.href;
}

/**
 * Follow `url`. `after` is the sequence that the page already shows, `at` when it was taken.
 *
 * @param {string} url path or address of the socket
 * @param {{onSnapshot: (data: object, sequence: number) => void,
 *          onUpdate?: (data: object, sequence: number) => void,
 *          onStatus?: (state: string, detail: {at: ?number, reason: ?string}) => void,
 *          after?: number, at?: number, pollUrl?: string, WebSocket?: Function}} options
 * @returns {() => void} stop
 */
export function follow(url, options) {
  const { onSnapshot, onUpdate = onSnapshot, onStatus = () => {}, pollUrl } = options;
  const Socket = options.WebSocket ?? globalThis.WebSocket;
  let sequence = options.after ?? null; // null: nothing is shown yet
  let at = options.at ?? null;
  let delayMs = FIRST_DELAY_MS;
  let resyncing = false;
  let stopped = false;
  let connectedBefore = false;
  let socket, openedAt, heardAt, freshAt, retry, state;
  let polledAt = 0;
  let downSince = Date.now();

  function say(next, reason = null) {
    state = next;
    onStatus(next, { at, reason });
  }

  function open() {
    socket = new Socket(socketUrl(url));
    heardAt = Date.now();
    socket.onopen = () => { openedAt = heardAt = Date.now(); };
    socket.onmessage = ({ data }) => {
      heardAt = Date.now();
      try { take(JSON.parse(data)); } catch (error) {
        console.error("A message could not be used:", error);
        resync();
      }
    };
    socket.onclose = ({ code }) => closed(code);
  }

  function closed(code) {
    socket.onmessage = socket.onclose = null;
    if (stopped) return;
    if (code >= REFUSED && REASONS[code]) { stop(); return say("refused", REASONS[code]); }
    if (openedAt && Date.now() - openedAt > STABLE_MS) delayMs = FIRST_DELAY_MS;
    openedAt = null;
    if (state !== "reconnecting" && state !== "polling") { downSince = Date.now(); say("reconnecting"); }
    retry = setTimeout(open, wait(delayMs));
    delayMs = Math.min(delayMs * 2, MAX_DELAY_MS);
  }

  function resync() {
    if (resyncing) return;
    resyncing = true;
    if (socket?.readyState === 1) socket.send('{"resync":true}');
  }

  function take(message) {
    if (message.type === "hello") {
      resyncing = false;
      // What was sent while we were away is lost, and the page may have been old when it came.
      const missed = sequence !== message.sequence || connectedBefore || message.at - at > 5;
      connectedBefore = true;
      freshAt = Date.now();
      if (missed) resync(); else say("live");
    } else if (message.type === "page.snapshot") {
      resyncing = false;
      ({ sequence, at } = message);
      onSnapshot(message.data, sequence);
      fresh();
    } else if (message.type === "page.update") {
      if (message.sequence === sequence + 1) {
        ({ sequence, at } = message);
        onUpdate(message.data, sequence);
        fresh();
      } else if (message.sequence !== sequence) resync(); // a gap, or a counter that began anew
    } else if (message.type === "move") {
      setTimeout(() => socket.close(), Math.random() * 1000 * message.within_s);
    }
  }

  function fresh() {
    freshAt = Date.now();
    say("live");
  }

  async function poll() {
    polledAt = Date.now();
    try {
      const answer = await fetch(pollUrl, { headers: { Accept: "application/json" } });
      if (answer.redirected || answer.status === 401) { stop(); return say("refused", REASONS[4401]); }
      if (answer.status === 403) { stop(); return say("refused", REASONS[4403]); }
      if (!answer.ok || stopped || state === "live") return;
      const data = await answer.json();
      ({ sequence, at } = data);
      onSnapshot(data, sequence);
      say("polling");
    } catch { /* as unreachable as the socket; the next round tries again */ }
  }

  function watch() {
    const now = Date.now();
    const isOpen = socket.readyState === 1;
    if (isOpen && now - heardAt > DEAF_MS) { // asleep, or a cut that TCP has not noticed
      socket.onclose = null;
      socket.close();
      return closed(1006);
    }
    if (isOpen && state === "live" && now - freshAt > SILENT_MS) say("silent");
    if (!isOpen && pollUrl && now - downSince > POLL_MS && now - polledAt > POLL_MS) poll();
  }

  function wake() {
    if (document.visibilityState !== "visible" || stopped) return;
    if (socket.readyState === 3) { clearTimeout(retry); delayMs = FIRST_DELAY_MS; open(); }
    else watch();
  }

  const timer = setInterval(watch, 1000);
  globalThis.document?.addEventListener("visibilitychange", wake);
  globalThis.addEventListener?.("online", wake);

  function stop() {
    stopped = true;
    clearInterval(timer);
    clearTimeout(retry);
    globalThis.document?.removeEventListener("visibilitychange", wake);
    globalThis.removeEventListener?.("online", wake);
    if (socket) { socket.onmessage = socket.onclose = null; socket.close(); }
  }

  open();
  return stop;
}
