/** Batches drawn from one feature, and what the statistics of the last of them were. */

import { batchNorm, mean, std } from "./batch_norm.mjs";
import { normal } from "./random.mjs";

export const LARGEST = 256;
export const KEPT = 50;

/**
 * Return the last batches drawn, as standard normal numbers: a batch of m is the first m of them, shifted and
 * stretched. So a slider that changes the feature or the batch size changes the batches that are there, and draws none.
 */
export function startDraws(seed) {
  const next = normal(seed);
  const drawn = [];
  const draws = {
    drawn,
    count: 0,
    another() {
      drawn.push(Array.from({ length: LARGEST }, next));
      if (drawn.length > KEPT) drawn.shift();
      draws.count += 1;
    },
  };
  for (let first = 0; first < KEPT; first += 1) draws.another();
  return draws;
}

/** Return the batch of m that a feature with this mean and spread gives. */
export const batch = (standard, m, centre, spread) => standard.slice(0, m).map((value) => centre + spread * value);

/** Return what the figure shows: the last batch before and after, and the means of all batches that are kept. */
export function look(drawn, { m, centre, spread, gamma, beta, eps }) {
  const x = batch(drawn.at(-1), m, centre, spread);
  const { y } = batchNorm(x, gamma, beta, eps);
  const means = drawn.map((standard) => mean(batch(standard, m, centre, spread)));
  return {
    x: { values: x, mean: mean(x), std: std(x) },
    y: { values: y, mean: mean(y), std: std(y) },
    // Their distances from the feature's mean; the prediction is sigma over the root of m.
    means: { values: means.map((value) => value - centre), std: std(means), predicted: spread / Math.sqrt(m) },
  };
}
