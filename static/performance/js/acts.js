/**
 * Acts without leaving the page. A form works without this script too; with it, an act that needs
 * no second look answers in a notice above the numbers.
 */
import { element, notice } from "./elements.js";

/** Take over the act forms inside `root`, those that come later too. */
export function enhance(root) {
  root.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.matches("form.act[data-direct]")) return;
    event.preventDefault();
    send(form);
  });
}

async function send(form) {
  const buttons = [...form.querySelectorAll("button")];
  const body = new FormData(form);
  buttons.forEach((button) => { button.disabled = true; });
  try {
    const outcome = await run(form.action, body);
    notice(outcome.message, outcome.ok ? "good" : "bad");
    if (outcome.next) location.assign(outcome.next);
    // Only an act that has ended gets a new key: the same key again is the same act.
    else if (outcome.ended) form.elements.act_key.value = newKey();
  } finally {
    buttons.forEach((button) => { button.disabled = false; });
  }
}

/**
 * Post an act. Resolves to `{ok, message, ended, next}`: `ended` says that it ran or was refused
 * for good, `next` is the page where it wants a password or better input first.
 */
export async function run(address, body) {
  let answer;
  try {
    answer = await fetch(address, { method: "POST", body, headers: { Accept: "application/json" } });
    if (answer.redirected) return { ok: false, ended: false, message: "Log in again first.", next: answer.url };
    return await answer.json();
  } catch {
    const message = "The server did not answer, so it is not known whether this was done. "
      + "Press again: it will not be done twice.";
    return { ok: false, ended: false, message };
  }
}

/**
 * Run an act by name with values for its fields, from a script or a hook.
 * The address comes from the page's act template, so the act need not be on this page.
 */
export function perform(name, values = {}, key = newKey()) {
  const template = document.querySelector("[data-act-address]");
  const body = new FormData();
  body.set("csrfmiddlewaretoken", template.dataset.actToken);
  body.set("act_key", key);
  for (const [field, value] of Object.entries(values)) body.set(field, value);
  return run(address(name), body);
}

/** 128 random bits; `crypto.randomUUID` would want https. */
function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))]
    .map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function address(name) {
  const template = document.querySelector("[data-act-address]");
  return template.dataset.actAddress.replace("act.name", encodeURIComponent(name));
}

/** A link to an act's own page with its fields filled in, for a row of a table that a script draws. */
export function actLink(name, values, label, className = "button small") {
  const query = new URLSearchParams({ ...values, back: location.pathname });
  return element("a", { className, href: `${address(name)}?${query}` }, label);
}
