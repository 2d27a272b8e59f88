import assert from "node:assert/strict";
import { test } from "node:test";

import { mean, std } from "../../book/_static/figures/batch_norm.mjs";
import { KEPT, LARGEST, batch, look, startDraws } from "../../book/_static/figures/draws.mjs";
import { normal, uniform } from "../../book/_static/figures/random.mjs";

const MANY = 100_000;
const settings = { m: 16, centre: 5, spread: 2, gamma: 1, beta: 0, eps: 1e-5 };
const take = (next, count) => Array.from({ length: count }, next);

test("one seed gives one sequence, and neighbouring seeds unrelated ones", () => {
  assert.deepEqual(take(uniform(5), 9), take(uniform(5), 9));
  const firsts = Array.from({ length: 2000 }, (_, seed) => uniform(seed)());
  assert.equal(new Set(firsts).size, firsts.length);
  assert.ok(Math.abs(mean(firsts) - 0.5) < 0.03, "five standard errors");
  const products = firsts.slice(1).map((value, place) => (value - 0.5) * (firsts[place] - 0.5));
  assert.ok(Math.abs(mean(products)) < 5 / 12 / Math.sqrt(2000));
});

test("uniform numbers are spread evenly, and follow each other without relation", () => {
  const values = take(uniform(1), MANY);
  assert.ok(values.every((value) => value > 0 && value < 1));
  const bins = new Array(20).fill(0);
  for (const value of values) bins[Math.floor(20 * value)] += 1;
  const chiSquared = bins.reduce((total, count) => total + (count - MANY / 20) ** 2 / (MANY / 20), 0);
  assert.ok(chiSquared < 50, `${chiSquared} of 19 degrees of freedom`);
  const products = values.slice(1).map((value, place) => (value - 0.5) * (values[place] - 0.5));
  assert.ok(Math.abs(mean(products)) < 5 / 12 / Math.sqrt(MANY));
});

test("normal numbers have the moments and the tails of a normal distribution", () => {
  const values = take(normal(1), MANY);
  const error = 1 / Math.sqrt(MANY);
  assert.ok(Math.abs(mean(values)) < 5 * error);
  assert.ok(Math.abs(std(values) - 1) < 5 * error);
  assert.ok(Math.abs(mean(values.map((value) => value ** 4)) - 3) < 5 * Math.sqrt(96) * error);
  const beyond = values.filter((value) => Math.abs(value) > 1.96).length / MANY;
  assert.ok(Math.abs(beyond - 0.05) < 5 * Math.sqrt(0.05 * 0.95) * error);
  const products = values.slice(1).map((value, place) => value * values[place]);
  assert.ok(Math.abs(mean(products)) < 5 * error, "the two of a pair are independent");
});

test("the means of batches scatter as sigma over the root of m says", () => {
  const draws = startDraws(9);
  const all = [...draws.drawn];
  while (all.length < 2000) {
    draws.another();
    all.push(draws.drawn.at(-1));
  }
  for (const m of [2, 16, LARGEST]) {
    const { means } = look(all, { ...settings, m });
    assert.equal(means.predicted, 2 / Math.sqrt(m));
    assert.ok(Math.abs(means.std / means.predicted - 1) < 5 / Math.sqrt(2 * 2000), `${means.std} for m = ${m}`);
  }
});

test("a batch is the last one drawn, moved and stretched, and a smaller one is its beginning", () => {
  const draws = startDraws(4);
  const small = look(draws.drawn, { ...settings, m: 4 }).x.values;
  const large = look(draws.drawn, { ...settings, m: 32 }).x.values;
  assert.deepEqual(large.slice(0, 4), small);
  assert.deepEqual(small, batch(draws.drawn.at(-1), 4, 5, 2));
  draws.another();
  assert.notDeepEqual(look(draws.drawn, { ...settings, m: 4 }).x.values, small);
});

test("the newest batches are kept, in order", () => {
  const draws = startDraws(4);
  assert.deepEqual([draws.drawn.length, draws.count], [KEPT, KEPT]);
  const second = draws.drawn[1];
  draws.another();
  assert.deepEqual([draws.drawn.length, draws.count], [KEPT, KEPT + 1]);
  assert.equal(draws.drawn[0], second);
});

test("neither the feature's mean nor its spread reaches y, which has mean beta and spread gamma", () => {
  const { drawn } = startDraws(4);
  for (const [centre, spread] of [
    [0, 0.1],
    [10, 2.5],
  ]) {
    const { y } = look(drawn, { ...settings, centre, spread, gamma: -1.5, beta: 2, eps: 1e-12 });
    assert.ok(Math.abs(y.mean - 2) < 1e-9);
    assert.ok(Math.abs(y.std - 1.5) < 1e-6);
  }
});
