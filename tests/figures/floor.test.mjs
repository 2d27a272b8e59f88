import assert from "node:assert/strict";
import { test } from "node:test";

import { describe, join, predict, roof, split } from "../../book/_static/figures/floor.mjs";

// A device with 20 FLOPs in the time of 2 bytes, and a kernel in two passes: numbers to count with in the head.
const passes = [
  { reads: ["x"], writes: [] },
  { reads: ["x", "residual"], writes: ["y", "flags"] },
];
const tables = {
  devices: { slow: { bandwidth: 2e6, flops: 20e6 } },
  operations: {
    both: { flopsPerValue: 5, bytesPerChannel: 8, designs: { fused: { bytesPerValue: { half: 2.5 }, passes } } },
  },
};
const chosen = { device: "slow", operation: "both", design: "fused", dtype: "half", shape: [3, 7, 2, 2], launchTime: 1 };

test("bytes are those of the values and of the channels, rounded up, and a pass is a launch", () => {
  const found = predict(tables, chosen);
  assert.deepEqual([found.values, found.bytes, found.flops], [84, 84 * 2.5 + 7 * 8, 420]);
  assert.deepEqual(found.times, { memory: 133, arithmetic: 21, launches: 2 });
  assert.equal(predict(tables, { ...chosen, shape: [1, 1] }).bytes, 11);
});

test("the longest of the three times is the bound, and names the limit", () => {
  const times = (changes) => {
    const { limit, time } = predict({ ...tables, ...changes.tables }, { ...chosen, ...changes });
    return [limit, time];
  };
  assert.deepEqual(times({}), ["memory", 133]);
  assert.deepEqual(times({ launchTime: 70 }), ["launches", 140]);
  assert.deepEqual(times({ tables: { devices: { slow: { bandwidth: 2e9, flops: 1e6 } } } }), ["arithmetic", 420]);
});

test("a kernel stands on the roof, unless it waits for launches", () => {
  const found = predict(tables, chosen);
  assert.ok(found.intensity < found.ridge);
  assert.ok(Math.abs(found.rate / roof(tables.devices.slow, found.intensity) - 1) < 1e-12);
  assert.equal(found.ridge / found.intensity, found.times.memory / found.times.arithmetic);
  const waiting = predict(tables, { ...chosen, launchTime: 133 });
  assert.ok(Math.abs(waiting.rate / roof(tables.devices.slow, found.intensity) - 0.5) < 1e-12);
});

test("the roof rises to the ridge and is flat from there", () => {
  const device = tables.devices.slow;
  assert.deepEqual(
    [0.5, 10, 1000].map((intensity) => roof(device, intensity)),
    [1e6, 20e6, 20e6],
  );
});

test("an operation's name is taken apart and put together", () => {
  for (const name of ["forward", "inference+relu", "backward+add+relu"]) assert.equal(join(...split(name)), name);
  assert.deepEqual(split("backward+add+relu"), ["backward", "add+relu"]);
});

test("passes in words", () => {
  assert.equal(describe(passes), "Pass 1 reads x. Pass 2 reads x, residual; writes y, flags.");
});
