/** What a drawing needs and no browser: scales, ticks, bins, the paths of lines, and numbers as text. */

/** Return the linear map that sends `domain` to `range`. */
export function scale([low, high], [start, end]) {
  return (value) => start + ((value - low) / (high - low)) * (end - start);
}

/** Return the map that sends `domain` to `range`, equal factors to equal lengths. */
export function logScale(domain, range) {
  const place = scale(domain.map(Math.log10), range);
  return (value) => place(Math.log10(value));
}

/** Return the powers of ten in a domain, its ends included. */
export function powersOfTen([low, high]) {
  // The logarithm of a power of ten may be a rounding error away from its exponent.
  const [first, last] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)];
  return Array.from({ length: last - first + 1 }, (_, place) => Number(`1e${first + place}`));
}

/** Return round numbers inside a domain, at most `most` of them: multiples of 1, 2 or 5 times a power of ten. */
export function ticks([low, high], most) {
  const power = 10 ** Math.floor(Math.log10((high - low) / most));
  const factor = [1, 2, 5, 10, 20].find((candidate) => count(candidate * power) <= most);
  const step = factor * power;
  return Array.from({ length: count(step) }, (_, place) => (Math.ceil(low / step) + place) * step);

  function count(spacing) {
    return Math.floor(high / spacing) - Math.ceil(low / spacing) + 1;
  }
}

/** Count the values in bins of equal width; the last bin holds its right edge, and what lies outside is left out. */
export function histogram(values, [low, high], bins) {
  const counts = new Array(bins).fill(0);
  for (const value of values) {
    if (value < low || value > high) continue;
    counts[Math.min(bins - 1, Math.floor(((value - low) / (high - low)) * bins))] += 1;
  }
  return counts;
}

/** Return the height of a normal density. */
export function normalDensity(value, centre, spread) {
  return Math.exp(-0.5 * ((value - centre) / spread) ** 2) / (spread * Math.sqrt(2 * Math.PI));
}

/** Return the SVG path through points (x, y), to a tenth of a pixel. */
export function linePath(points) {
  return points.map(([x, y], place) => `${place ? "L" : "M"}${pixel(x)} ${pixel(y)}`).join("");
}

/** Return the SVG path of a histogram's bars, each a closed box on the base line; empty bins draw nothing. */
export function barsPath(heights, left, width, base) {
  return heights
    .map((height, place) => {
      const box = `M${pixel(left + place * width)} ${pixel(base)}v${pixel(-height)}h${pixel(width)}v${pixel(height)}z`;
      return height > 0 ? box : "";
    })
    .join("");
}

/** Return the closed SVG path between a lower and an upper line of points. */
export function bandPath(lower, upper) {
  return `${linePath([...upper, ...lower.toReversed()])}Z`;
}

const pixel = (value) => String(Math.round(value * 10) / 10 + 0);

/** Return a number with fixed digits, with a true minus sign, and none before zero. */
export function fixed(value, digits) {
  const text = value.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
}

/** Return a share as a whole percentage. */
export const percent = (share) => `${fixed(100 * share, 0)} %`;

/** Return a number from 1 on with three digits and, as text or unit may follow, a space and the prefix of its size. */
export function short(value) {
  const rounded = Number(value.toPrecision(3));
  const step = rounded < 1000 ? 0 : Math.min(PREFIXES.length - 1, Math.floor(Math.log10(rounded) / 3 + 1e-9));
  return `${Number((rounded / 1000 ** step).toPrecision(3))} ${PREFIXES[step]}`;
}

const PREFIXES = ["", "k", "M", "G", "T", "P"];

/** Return a power of ten as text, its exponent raised. */
export const powerOfTen = (exponent) =>
  exponent === 0 ? "1" : `10${[...String(exponent)].map((sign) => RAISED[sign]).join("")}`;

const RAISED = { "-": "⁻", ...Object.fromEntries([..."⁰¹²³⁴⁵⁶⁷⁸⁹"].entries()) };

/** Return the number of a decimal logarithm with two digits, as a power of ten where it is very large or small. */
export function factor(logarithm) {
  const [leading, exponent] = (10 ** logarithm).toExponential(1).split("e").map(Number);
  if (exponent >= 4 || exponent < -2) return `${leading.toFixed(1)}\u00a0×\u00a0${powerOfTen(exponent)}`;
  return (leading * 10 ** exponent).toFixed(Math.max(0, 1 - exponent));
}
