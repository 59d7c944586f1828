// Exact numbers: counts and money are BigInt, money in units of 10^-decimals dollars.
const data = JSON.parse(document.getElementById("figures").textContent);
const UNIT = 10n ** BigInt(data.decimals);

const exact = (value) => (value === null ? null : BigInt(value));
const plus = (sum, value) => (value === null ? sum : (sum ?? 0n) + value);
const grouped = (digits) => digits.replace(/\B(?=(\d{3})+(?!\d))/g, ",");
const absolute = (value) => (value < 0n ? -value : value);
const signed = (value, text) => (value < 0n ? "−" : "") + text;

const counted = (value) => {
  const whole = BigInt(value ?? 0);
  return signed(whole, grouped(absolute(whole).toString()));
};

/** The dollars to so many decimals, half up. */
const dollars = (value, decimals = 4) => {
  if (value === null || value === undefined) return "–";
  const step = UNIT / 10n ** BigInt(decimals);
  const rounded = (absolute(value) + step / 2n) / step;
  const digits = rounded.toString().padStart(decimals + 1, "0");
  const cut = digits.length - decimals;
  return signed(value, `$${grouped(digits.slice(0, cut))}.${digits.slice(cut)}`);
};

/** Every decimal of it, without grouping: what a program would read. */
const allDecimals = (value) => {
  if (value === null || value === undefined) return "";
  const digits = absolute(value).toString().padStart(data.decimals + 1, "0");
  const cut = digits.length - data.decimals;
  return `${value < 0n ? "-" : ""}${digits.slice(0, cut)}.${digits.slice(cut)}`;
};

/** For a chart's pixels alone. */
const pixels = (value) => (value === null || value === undefined ? 0 : Number(value));
const dollarPixels = (value) => pixels(value) / Number(UNIT);

const seconds = (value) =>
  value === null ? "–" : `${value.toLocaleString("en", { maximumSignificantDigits: 4 })} s`;
const percent = (part, whole) =>
  whole > 0n ? `${(Number((part * 10000n) / whole) / 100).toFixed(1)} %` : "–";
