/** Reads the book's tables and cases as JSON, predicts each case as the figure does: for tests/book/test_figures.py. */

import { readFileSync } from "node:fs";

import { predict } from "../../book/_static/figures/floor.mjs";

const { tables, cases } = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(cases.map((each) => predict(tables, each))));
