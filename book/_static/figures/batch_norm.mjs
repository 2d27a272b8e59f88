/** The transform and its backward pass for one feature, in the names of bncourse.reference, which tests compare. */

export const sum = (values) => values.reduce((total, value) => total + value, 0);

export const mean = (values) => sum(values) / values.length;

/** Return the biased variance: the sum of squared deviations divided by their number. */
export function variance(values) {
  const centre = mean(values);
  return mean(values.map((value) => (value - centre) ** 2));
}

export const std = (values) => Math.sqrt(variance(values));

export const dot = (a, b) => sum(a.map((value, place) => value * b[place]));

/** Return y = gamma x_hat + beta, with x_hat and inv_std = 1 / sqrt(var + eps). */
export function batchNorm(x, gamma, beta, eps) {
  const centre = mean(x);
  const invStd = 1 / Math.sqrt(variance(x) + eps);
  const xHat = x.map((value) => (value - centre) * invStd);
  return { y: xHat.map((value) => gamma * value + beta), xHat, invStd };
}

/**
 * Split dy into what the backward pass takes off and what it keeps: its mean, x_hat times the mean of dy x_hat, and
 * the rest, which is dx / (gamma inv_std).
 */
export function split(dy, xHat) {
  const offset = mean(dy);
  const slope = dot(dy, xHat) / dy.length;
  const along = xHat.map((value) => slope * value);
  return { offset: dy.map(() => offset), along, rest: dy.map((value, place) => value - offset - along[place]) };
}

/** Return dx, dgamma and dbeta. */
export function batchNormBackward(dy, xHat, invStd, gamma) {
  const dx = split(dy, xHat).rest.map((value) => gamma * invStd * value);
  return { dx, dgamma: dot(dy, xHat), dbeta: sum(dy) };
}

/** Return the shares of the squared length of dy that its mean, its part along x_hat and the rest make up. */
export function shares(dy, xHat) {
  const { offset, along, rest } = split(dy, xHat);
  const whole = dot(dy, dy);
  const share = (part) => (whole > 0 ? dot(part, part) / whole : 0);
  return { offset: share(offset), along: share(along), rest: share(rest) };
}
