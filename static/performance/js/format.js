/** Numbers as people read them; the same rules as performance/core/units.py, tested together. */
export const NOTHING = "–";

const missing = (value) => value === null || value === undefined || Number.isNaN(value);

/** Milliseconds: `0.42 ms`, `17.3 ms`, `1.25 s`. */
export function ms(value) {
  if (missing(value)) return NOTHING;
  if (value >= 1000) return `${(value / 1000).toFixed(2)} s`;
  return `${value.toFixed(value < 10 ? 2 : 1)} ms`;
}

/** Bytes in steps of 1,024: `512 B`, `1.5 KB`. */
export function bytes(value) {
  if (missing(value)) return NOTHING;
  for (const unit of ["B", "KB", "MB", "GB"]) {
    if (Math.abs(value) < 1024) return `${value.toFixed(unit === "B" ? 0 : 1)} ${unit}`;
    value /= 1024;
  }
  return `${value.toFixed(1)} TB`;
}

/** Seconds as an age: `4 s`, `3 min`, `2 h`, `5 d`; nothing is `never`. */
export function age(value) {
  if (missing(value)) return "never";
  for (const [limit, size, unit] of [[90, 1, "s"], [5400, 60, "min"], [129600, 3600, "h"]]) {
    if (value < limit) return `${(value / size).toFixed(0)} ${unit}`;
  }
  return `${(value / 86400).toFixed(0)} d`;
}

/** 0 to 1 as percent: 0.963 is `96.3 %`. */
export function ratio(value) {
  return missing(value) ? NOTHING : `${(value * 100).toFixed(1)} %`;
}

/** A whole number with its thousands apart: `12,400`. */
export function count(value) {
  return missing(value) ? NOTHING : Math.round(value).toLocaleString("en-US");
}

/** A rate: two digits below ten, none above: `0.25`, `7.5`, `1,240`. */
export function rate(value) {
  if (missing(value)) return NOTHING;
  return value.toLocaleString("en-US", { maximumFractionDigits: value < 1 ? 2 : value < 10 ? 1 : 0 });
}

/** Unix seconds as `hh:mm:ss`, in UTC as everywhere in the admin. */
export function clock(seconds) {
  return missing(seconds) ? NOTHING : new Date(seconds * 1000).toISOString().slice(11, 19);
}
