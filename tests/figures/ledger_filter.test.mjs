import assert from "node:assert/strict";
import { test } from "node:test";

import { ALL, counts, matches } from "../../book/_static/ledger/filter.mjs";

const claims = [
  { verdict: "supported", part: "4" },
  { verdict: "not yet run", part: "5" },
  { verdict: "supported", part: "5" },
];

test("a claim is shown if it has everything that was chosen", () => {
  const shown = (verdict, part) => claims.map((claim) => matches(claim, { verdict, part }));
  assert.deepEqual(shown(ALL, ALL), [true, true, true]);
  assert.deepEqual(shown("supported", ALL), [true, false, true]);
  assert.deepEqual(shown("supported", "5"), [false, false, true]);
  assert.deepEqual(shown("contradicted", ALL), [false, false, false]);
});

test("every value is offered once, with how many claims have it", () => {
  assert.deepEqual([...counts(claims, "verdict")], [["supported", 2], ["not yet run", 1]]);
  assert.deepEqual([...counts(claims, "part")], [["4", 1], ["5", 2]]);
});
