import assert from "node:assert/strict";
import { test } from "node:test";

import { place, target } from "../../book/_static/previews.mjs";

const SITE = "https://example.org/course/";

test("each kind of target is known by its anchor, and by nothing else", () => {
  const kind = (end) => target(SITE + end, SITE)?.kind ?? null;
  assert.equal(kind("book/1_one/2_first.html#equation-eq-mean"), "equation");
  assert.equal(kind("book/appendix/glossary.html#term-feature-axis"), "term");
  assert.equal(kind("book/appendix/bibliography.html#cite-one2015"), "cite");
  assert.equal(kind("book/appendix/ledger.html#c25"), "claim");
  for (const end of ["a.html", "a.html#", "a.html#c25x", "a.html#exercise-1", "a.html#my-term-x"]) assert.equal(kind(end), null);
});

test("the key is the page as the build names it, wherever the site lies", () => {
  assert.equal(target(`${SITE}book/a.html#c1`, SITE).key, "book/a#c1");
  assert.equal(target(`${SITE}book/a.html?x=1#c1`, SITE).key, "book/a#c1");
  assert.equal(target(`${SITE}book/a.html#term-na%C3%AFve`, SITE).key, "book/a#term-naïve");
  assert.equal(target("https://example.org/other/book/a.html#c1", SITE), null);
});

const VIEW = { width: 390, height: 800 };

test("a preview lies below its link, and above it where there is no room", () => {
  const box = { width: 200, height: 100 };
  assert.deepEqual(place({ left: 50, top: 100, bottom: 120 }, box, VIEW), { left: 50, top: 126 });
  assert.deepEqual(place({ left: 50, top: 700, bottom: 720 }, box, VIEW), { left: 50, top: 594 });
});

test("a preview that fits on neither side lies below, where scrolling reaches it", () => {
  assert.equal(place({ left: 50, top: 300, bottom: 320 }, { width: 200, height: 790 }, VIEW).top, 326);
});

test("a preview stays between the sides of the window", () => {
  assert.equal(place({ left: 350, top: 0, bottom: 20 }, { width: 200, height: 50 }, VIEW).left, 174);
  assert.equal(place({ left: 350, top: 0, bottom: 20 }, { width: 358, height: 50 }, VIEW).left, 16);
});
