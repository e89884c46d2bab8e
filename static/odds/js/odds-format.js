/** Prices, margins and ages as the server writes them (odds/templatetags/odds_format.py). */
export const price = (value) => {
  if (value === null || value === undefined) return "–";
  const text = value.toFixed(3);
  return text.endsWith("0") ? text.slice(0, -1) : text;
};

export const margin = (value) => `${value < 0 ? "-" : "+"}${Math.abs(value).toFixed(1)} %`;

export const age = (seconds) => {
  for (const [limit, size, unit] of [[90, 1, "s"], [5400, 60, "min"], [129600, 3600, "h"]]) {
    if (seconds < limit) return `${(seconds / size).toFixed(0)} ${unit}`;
  }
  return `${(seconds / 86400).toFixed(0)} d`;
};
