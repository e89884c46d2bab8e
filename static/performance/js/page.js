/** What a page's script needs: the snapshot in the HTML, the status line, texts and tables. */
import { NOTHING } from "./format.js";
import { follow } from "./live.js";
import { enhance } from "./acts.js";
import { element, notice } from "./elements.js";

export * as format from "./format.js";
export { element, notice };

const TEXTS = {
  live: () => "live",
  reconnecting: (at) => `reconnecting · as of ${at}`,
  silent: (at) => `no data since ${at}`,
  polling: (at) => `live updates paused, asking each 10 s · as of ${at}`,
  refused: (at) => `stopped · as of ${at}`,
};

/** The snapshot that the server rendered this page from. */
export function snapshot() {
  return JSON.parse(document.getElementById("snapshot").textContent);
}

/**
 * Run a page: `render(data)` draws all of it, first from the HTML's snapshot, then at each change.
 * `update(data, sequence)`, when given, gets the differences alone, before `render` is called.
 * Returns stop.
 */
export function page({ render, update }) {
  const root = document.getElementById("page");
  let data = snapshot();
  const draw = (next) => { data = next; render(data); };
  enhance(root);
  draw(data);
  const stop = follow(`/ws/performance/${root.dataset.slug}/`, {
    after: data.sequence,
    at: data.at,
    pollUrl: root.dataset.snapshot,
    onSnapshot: draw,
    onUpdate(difference, sequence) {
      update?.(difference, sequence);
      draw({ ...data, ...difference });
    },
    onStatus: status,
  });
  globalThis.addEventListener("pagehide", stop, { once: true });
  globalThis.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  return stop;
}

let shown;

/** Say in the status line how true the numbers are. */
export function status(state, { at, reason }) {
  const line = document.getElementById("status");
  const time = at === null ? NOTHING : `${new Date(at * 1000).toISOString().slice(11, 19)} UTC`;
  const text = (TEXTS[state] ?? TEXTS.silent)(time);
  if (line.textContent !== text) line.textContent = text;
  line.dataset.state = state === "polling" ? "reconnecting" : state;
  if (shown !== state && state === "refused") notice(reason, "bad");
  shown = state;
}

/** A badge; level is good, warn, bad, info or "" . */
export function badge(text, level = "") {
  return element("span", { className: `badge ${level}`.trim() }, text);
}

/**
 * Set the text of all `[data-bind="name"]`; nothing shows as "–". `level` (good, warn, bad, "")
 * goes to the tile around it; `direction` ("up" or "down") is shown for a moment.
 */
export function bind(name, value, { level, direction } = {}) {
  const text = value === null || value === undefined ? NOTHING : String(value);
  for (const place of document.querySelectorAll(`[data-bind="${CSS.escape(name)}"]`)) {
    if (place.textContent !== text) {
      place.textContent = text;
      if (direction) moved(place, direction);
    }
    const tile = level === undefined ? null : place.closest(".tile");
    if (tile) tile.dataset.level = level;
  }
}

function moved(place, direction) {
  delete place.dataset.moved;
  void place.offsetWidth; // restarts the animation
  place.dataset.moved = direction;
}

/**
 * Fill a table's body in place, a row a `key(row)`: what did not change is not touched, so that
 * focus, selection and scroll stay.
 *
 * @param {string|Element} where the table, or a selector of it
 * @param {object[]} rows
 * @param {{key: (row: object) => string, empty?: string,
 *          columns: {cell: (row: object) => (string|number|Node|null), className?: string, heading?: boolean}[]}} options
 *   `heading` makes the cell a `<th scope="row">`; `empty` is said when there are no rows.
 */
export function table(where, rows, { key, columns, empty = "Nothing yet." }) {
  const body = (typeof where === "string" ? document.querySelector(where) : where).tBodies[0];
  const old = new Map([...body.rows].map((line) => [line.dataset.key, line]));
  const lines = rows.map((row) => {
    const name = String(key(row));
    const line = old.get(name) ?? element("tr", { dataset: { key: name } });
    columns.forEach((column, index) => fill(line, index, column, row));
    while (line.cells.length > columns.length) line.deleteCell(-1);
    return line;
  });
  if (!lines.length) {
    const cell = element("td", { colSpan: columns.length, className: "empty" }, empty);
    lines.push(old.get("") ?? element("tr", { dataset: { key: "" } }, cell));
  }
  lines.forEach((line, index) => {
    if (body.rows[index] !== line) body.insertBefore(line, body.rows[index] ?? null);
  });
  while (body.rows.length > lines.length) body.deleteRow(-1);
}

function fill(line, index, column, row) {
  let cell = line.cells[index];
  const tag = column.heading ? "TH" : "TD";
  if (cell?.tagName !== tag) {
    const made = element(tag, { className: column.className ?? "" });
    if (column.heading) made.scope = "row";
    if (cell) cell.replaceWith(made); else line.append(made);
    cell = made;
  }
  const value = column.cell(row) ?? NOTHING;
  if (typeof value !== "object") {
    if (cell.childElementCount || cell.textContent !== String(value)) cell.textContent = String(value);
  } else if (cell.childNodes.length !== 1 || !cell.firstChild.isEqualNode(value)) {
    cell.replaceChildren(value);
  }
}
