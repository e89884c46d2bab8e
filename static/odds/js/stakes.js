/**
 * The stake calculator, exactly as odds.arbitrage.plan_stakes reckons: rational numbers, each stake
 * rounded down to the cent, the profit counted after that. Fractions are pairs of BigInt.
 */

/** "2.10" as [210n, 100n]; null when it is no plain decimal number. */
export function fraction(text) {
  const found = /^\s*(\d{1,12})(?:\.(\d{1,12}))?\s*$/.exec(text);
  if (!found) return null;
  const decimals = found[2] ?? "";
  return [BigInt(found[1] + decimals), 10n ** BigInt(decimals.length)];
}

/** Whole cents of "100" or "99.95"; null when it is no amount, or has parts of a cent. */
export function cents(text) {
  const amount = fraction(text);
  if (!amount || (amount[0] * 100n) % amount[1]) return null;
  return (amount[0] * 100n) / amount[1];
}

/**
 * Split `bankroll` (cents) over net prices. Returns null when nothing is left after rounding.
 *
 * @param {[bigint, bigint][]} prices
 * @param {bigint} bankroll
 * @returns {?{stakes: bigint[], pays: bigint[], staked: bigint, profit: bigint}} all in cents
 */
export function plan(prices, bankroll) {
  // stake = bankroll / price / sum(1 / price), over the common denominator of all the inverses
  const whole = prices.reduce((product, [over]) => product * over, 1n);
  const inverses = prices.map(([over, under]) => (whole / over) * under);
  const sum = inverses.reduce((one, other) => one + other, 0n);
  if (sum >= whole) return null;
  const stakes = inverses.map((inverse) => (bankroll * inverse) / sum);
  const staked = stakes.reduce((one, other) => one + other, 0n);
  const pays = stakes.map((stake, at) => (stake * prices[at][0]) / prices[at][1]);
  const least = pays.reduce((one, other) => (other < one ? other : one));
  return least > staked ? { stakes, pays, staked, profit: least - staked } : null;
}

/** Cents as money: `1,234.50`. */
export function money(amount) {
  const sign = amount < 0n ? "-" : "";
  const digits = String(amount < 0n ? -amount : amount).padStart(3, "0");
  const whole = digits.slice(0, -2).replace(/\B(?=(\d{3})+$)/g, ",");
  return `${sign}${whole}.${digits.slice(-2)}`;
}

/** Reckon anew while the bankroll is typed; without it the form's button does. */
export function calculator(page) {
  const place = page.querySelector("#calculator");
  const field = place?.querySelector("#bankroll");
  if (!field) return;
  const rows = [...place.querySelectorAll("tr[data-net]")];
  const prices = rows.map((row) => fraction(row.dataset.net));
  const note = place.querySelector("[data-note]");
  field.addEventListener("input", () => {
    const bankroll = cents(field.value);
    const found = bankroll === null || !rows.length ? null : plan(prices, bankroll);
    field.setAttribute("aria-invalid", String(bankroll === null));
    const put = (row, name, value) => { row.querySelector(`[${name}]`).textContent = value; };
    rows.forEach((row, at) => {
      put(row, "data-stake", found ? money(found.stakes[at]) : "–");
      put(row, "data-pays", found ? money(found.pays[at]) : "–");
      put(row, "data-profit", found ? money(found.pays[at] - found.staked) : "–");
    });
    const foot = place.querySelector("tfoot");
    if (foot) {
      put(foot, "data-staked", found ? money(found.staked) : "–");
      put(foot, "data-least", found ? money(found.profit) : "–");
    }
    note.textContent = bankroll === null ? "Write an amount such as 100 or 99.95."
      : found ? "Stakes are rounded down to the cent; the profit is counted after that."
        : "Rounding the stakes to cents leaves no profit. Try a larger amount.";
  });
}
