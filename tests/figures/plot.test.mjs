import assert from "node:assert/strict";
import { test } from "node:test";

import {
  bandPath,
  barsPath,
  factor,
  fixed,
  histogram,
  linePath,
  logScale,
  normalDensity,
  percent,
  powerOfTen,
  powersOfTen,
  scale,
  short,
  ticks,
} from "../../book/_static/figures/plot.mjs";

test("a scale sends the ends of one range to those of the other, reversed ones too", () => {
  const down = scale([-2, 3], [100, 0]);
  assert.deepEqual([down(-2), down(3), down(0.5)], [100, 0, 50]);
});

test("on a logarithmic scale equal factors are equal lengths", () => {
  const place = logScale([0.1, 1000], [0, 40]);
  [0.1, 1, 10, 1000].forEach((value, step) => assert.ok(Math.abs(place(value) - [0, 10, 20, 40][step]) < 1e-9));
  assert.ok(Math.abs(place(6) - place(3) - (place(0.4) - place(0.2))) < 1e-9);
});

test("powers of ten, the ends of the domain among them", () => {
  assert.deepEqual(powersOfTen([0.1, 1000]), [0.1, 1, 10, 100, 1000]);
  assert.deepEqual(powersOfTen([0.2, 99]), [1, 10]);
  assert.equal(powersOfTen([1e9, 1e14]).length, 6);
});

test("ticks are round, evenly spaced, inside, and as many as fit", () => {
  assert.deepEqual(ticks([-4, 4], 9), [-4, -3, -2, -1, 0, 1, 2, 3, 4]);
  assert.deepEqual(ticks([-8, 18], 6), [-5, 0, 5, 10, 15]);
  assert.deepEqual(
    ticks([0, 0.7], 4).map((value) => fixed(value, 1)),
    ["0.0", "0.2", "0.4", "0.6"],
  );
  for (const most of [2, 3, 5, 8]) assert.ok(ticks([-7, 7], most).length <= most);
});

test("a value on an edge belongs to the bin at its right, the last edge to the last bin", () => {
  assert.deepEqual(histogram([0, 0.9, 1, 1, 2.5, 4], [0, 4], 4), [2, 2, 1, 1]);
  assert.deepEqual(histogram([-0.1, 4.1], [0, 4], 4), [0, 0, 0, 0]);
});

test("the density integrates to one and is the normal one", () => {
  const step = 0.01;
  let area = 0;
  for (let at = -20; at < 30; at += step) area += step * normalDensity(at, 5, 2);
  assert.ok(Math.abs(area - 1) < 1e-6);
  assert.ok(Math.abs(normalDensity(7, 5, 2) / normalDensity(5, 5, 2) - Math.exp(-0.5)) < 1e-12);
});

test("paths are what SVG reads", () => {
  assert.equal(
    linePath([
      [0, 1],
      [2.26, -3.04],
    ]),
    "M0 1L2.3 -3",
  );
  assert.equal(linePath([]), "");
  assert.equal(barsPath([5, 0, 2.5], 10, 4, 100), "M10 100v-5h4v5zM18 100v-2.5h4v2.5z");
});

test("numbers have a true minus sign, and zero has none", () => {
  assert.deepEqual([fixed(-1.256, 2), fixed(-0.001, 2), fixed(0, 1), fixed(12, 0)], ["−1.26", "0.00", "0.0", "12"]);
  assert.equal(percent(0.456), "46 %");
});

test("large numbers carry the prefix of their size, also those that rounding lifts into the next", () => {
  assert.deepEqual(
    [1, 11, 999, 999.6, 2048, 51_380_224, 417_464_832, 3.35e12, 1e15, 2e18].map(short),
    ["1 ", "11 ", "999 ", "1 k", "2.05 k", "51.4 M", "417 M", "3.35 T", "1 P", "2000 P"],
  );
});

test("a band runs along its upper line and back along its lower one, and is closed", () => {
  const [lower, upper] = [
    [
      [0, 9],
      [1, 8],
    ],
    [
      [0, 5],
      [1, 4],
    ],
  ];
  assert.equal(bandPath(lower, upper), "M0 5L1 4L1 8L0 9Z");
});

test("powers of ten in raised figures", () => {
  assert.deepEqual([-12, -1, 0, 1, 30].map(powerOfTen), ["10⁻¹²", "10⁻¹", "1", "10¹", "10³⁰"]);
});

test("a factor from its logarithm, with two digits and no break inside", () => {
  const shown = {
    0: "1.0",
    1.668: "47",
    3.9: "7900",
    4.3: "2.0 × 10⁴",
    [-0.05]: "0.89",
    [-1.2]: "0.063",
    [-1.9999]: "0.010",
    [-11.93]: "1.2 × 10⁻¹²",
    0.9999: "10",
    3.9999: "1.0 × 10⁴",
    4.9999: "1.0 × 10⁵",
    [-24.551]: "2.8 × 10⁻²⁵",
  };
  for (const [logarithm, text] of Object.entries(shown)) {
    assert.equal(factor(Number(logarithm)), text.replaceAll(" ", "\u00a0"));
  }
});
