/** Reads cases as JSON, computes each as the figures do, writes the results as JSON: for tests/book/test_figures.py. */

import { readFileSync } from "node:fs";

import { batchNorm, batchNormBackward } from "../../book/_static/figures/batch_norm.mjs";

const cases = JSON.parse(readFileSync(0, "utf8"));
const results = cases.map(({ x, dy, gamma, beta, eps }) => {
  const { y, xHat, invStd } = batchNorm(x, gamma, beta, eps);
  return { y, x_hat: xHat, inv_std: invStd, ...batchNormBackward(dy, xHat, invStd, gamma) };
});
process.stdout.write(JSON.stringify(results));
