import assert from "node:assert/strict";
import { test } from "node:test";

import {
  batchNorm,
  batchNormBackward,
  dot,
  mean,
  shares,
  split,
  std,
  sum,
  variance,
} from "../../book/_static/figures/batch_norm.mjs";
import { normal } from "../../book/_static/figures/random.mjs";

const near = (actual, expected, tolerance = 1e-12) =>
  assert.ok(Math.abs(actual - expected) <= tolerance * Math.max(1, Math.abs(expected)), `${actual} is not ${expected}`);

const next = normal(3);
const batch = (m, centre, spread) => Array.from({ length: m }, () => centre + spread * next());

test("the transform on four numbers by hand, with the biased variance", () => {
  const { y, xHat, invStd } = batchNorm([1, 3, 3, 9], 6, 10, 0);
  assert.deepEqual([mean([1, 3, 3, 9]), variance([1, 3, 3, 9])], [4, 9]);
  near(invStd, 1 / 3);
  [-1, -1 / 3, -1 / 3, 5 / 3].forEach((expected, place) => near(xHat[place], expected));
  [4, 8, 8, 20].forEach((expected, place) => near(y[place], expected));
});

test("eps stands inside the root: the output's variance is var / (var + eps)", () => {
  const x = batch(9, 40, 0.2);
  const { y } = batchNorm(x, -3, 7, 0.05);
  near(mean(y), 7);
  near(std(y), 3 * Math.sqrt(variance(x) / (variance(x) + 0.05)), 1e-9);
});

test("the backward pass agrees with finite differences of the transform", () => {
  const [x, dy] = [batch(7, 3, 2), batch(7, 1, 1)];
  const [gamma, beta, eps, step] = [-1.7, 0.4, 0.3, 1e-5];
  const loss = (inputs, scale = gamma, shift = beta) => dot(batchNorm(inputs, scale, shift, eps).y, dy);
  const { xHat, invStd } = batchNorm(x, gamma, beta, eps);
  const { dx, dgamma, dbeta } = batchNormBackward(dy, xHat, invStd, gamma);
  x.forEach((value, place) => {
    const slope = (loss(x.with(place, value + step)) - loss(x.with(place, value - step))) / (2 * step);
    near(dx[place], slope, 1e-8);
  });
  near(dgamma, (loss(x, gamma + step) - loss(x, gamma - step)) / (2 * step), 1e-8);
  near(dbeta, (loss(x, gamma, beta + step) - loss(x, gamma, beta - step)) / (2 * step), 1e-8);
});

test("the parts add up to dy, and what remains has no mean and nothing along x_hat", () => {
  const { xHat } = batchNorm(batch(6, 5, 2), 1, 0, 0);
  const dy = batch(6, 2, 1);
  const { offset, along, rest } = split(dy, xHat);
  dy.forEach((value, place) => near(offset[place] + along[place] + rest[place], value));
  near(sum(rest), 0);
  near(dot(rest, xHat), 0);
  assert.ok(Math.abs(sum(along)) < 1e-12 && dot(along, along) > 1e-3);
});

test("the shares of the squared length sum to one, and are zero where a part is", () => {
  const { xHat } = batchNorm(batch(8, 5, 2), 1, 0, 0);
  const taken = shares(batch(8, 1, 1), xHat);
  near(taken.offset + taken.along + taken.rest, 1);
  assert.ok(Math.min(taken.offset, taken.along, taken.rest) > 0);
  near(
    shares(
      xHat.map(() => -2),
      xHat,
    ).offset,
    1,
  );
  near(
    shares(
      xHat.map((value) => -2 * value),
      xHat,
    ).along,
    1,
  );
  assert.deepEqual(shares([0, 0], [1, -1]), { offset: 0, along: 0, rest: 0 });
});

test("of a batch of two nothing remains", () => {
  const { xHat } = batchNorm([3, 8], 1, 0, 1e-5);
  assert.ok(shares([0.3, -2], xHat).rest < 1e-10);
});
