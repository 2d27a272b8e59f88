/** Interactive figure of chapter 2.2: a gradient taken apart into what batch norm removes and what it passes back. */

import { clamp, computedBars, editableBars } from "./bars.mjs";
import { batchNorm, dot, mean, shares, split, sum } from "./batch_norm.mjs";
import { button, html, picture, slider, summary, svg, whenResized } from "./dom.mjs";
import { fixed, percent } from "./plot.mjs";
import { normal } from "./random.mjs";

const EPS = 1e-5;
const SEED = 7;
const X = { values: [2, 7, 5, 9, 4, 6, 3, 8], domain: [0, 10] };
const DY = { values: [-0.9, 2.1, 1.7, 1.2, -0.7, 0.2, 0.6, -0.4], domain: [-3, 3] };
const [SMALLEST, START, LARGEST] = [2, 6, X.values.length];
const SHARES = "Shares of the squared length of dy";

export function build() {
  const random = normal(SEED);
  let [x, dy] = [X.values, DY.values];
  const size = slider({
    label: "batch size m",
    min: SMALLEST,
    max: LARGEST,
    step: 1,
    start: START,
    show: String,
    change: draw,
  });
  const buttons = html(
    "div",
    { class: "figure-buttons" },
    html("span", {}, "Set dy:"),
    button("constant", () => setGradient(() => 1.5)),
    button("along x_hat", () => setGradient(alongXHat())),
    button("random", () => setGradient(() => clamp(Math.round(10 * random()) / 10, DY.domain))),
    button("Reset", reset),
  );
  const parts = {
    x: editableBars("x", X.domain, LARGEST, (place, value) => {
      x = x.with(place, value);
      draw();
    }),
    dy: editableBars("dy", DY.domain, LARGEST, (place, value) => {
      dy = dy.with(place, value);
      draw();
    }),
    offset: computedBars("mean of dy", DY.domain),
    along: computedBars("along x_hat", DY.domain),
    rest: computedBars("what remains", DY.domain),
  };
  const bar = picture(SHARES);
  const sums = html("p", { class: "figure-sums" });
  const spoken = summary(words(current()));
  const grid = html(
    "div",
    { class: "figure-split" },
    html("div", { class: "figure-settings" }, size.root, buttons),
    titled("x, from its mean", "figure-part figure-part-x", parts.x.root),
    titled("dy", "figure-part figure-part-dy", parts.dy.root),
    titled("= mean", "figure-part figure-part-offset", parts.offset.root),
    titled("+ along x_hat", "figure-part figure-part-along", parts.along.root),
    titled("+ remainder", "figure-part figure-part-rest", parts.rest.root),
    titled(SHARES, "figure-shares", bar.root, sums),
  );
  whenResized(grid, draw);
  const label = "Interactive figure: what the backward pass removes";
  return html("div", { role: "group", "aria-label": label }, grid, spoken.root);

  function current() {
    const m = size.value();
    const [inputs, gradient] = [x.slice(0, m), dy.slice(0, m)];
    const { xHat } = batchNorm(inputs, 1, 0, EPS);
    return { inputs, xHat, gradient, ...split(gradient, xHat), share: shares(gradient, xHat) };
  }

  function setGradient(valueAt) {
    dy = dy.map((_, place) => valueAt(place));
    draw();
  }

  /** Return the longest multiple of x_hat, up to 1.2 times, that the bars can show. */
  function alongXHat() {
    const { xHat } = current();
    const longest = Math.max(...xHat.map(Math.abs));
    const factor = longest > 0 ? Math.min(1.2, DY.domain[1] / longest) : 0;
    return (place) => factor * (xHat[place] ?? 0);
  }

  function reset() {
    [x, dy] = [X.values, DY.values];
    size.reset();
    draw();
  }

  function words({ share }) {
    return (
      `Of the squared length of dy, ${percent(share.offset)} lie in its mean and ${percent(share.along)} along ` +
      `x_hat, which are removed; ${percent(share.rest)} remain.`
    );
  }

  function draw() {
    const seen = current();
    parts.x.show(seen.inputs, mean(seen.inputs));
    parts.dy.show(seen.gradient, 0);
    for (const name of ["offset", "along", "rest"]) parts[name].show(seen[name]);
    drawShares(bar, seen.share);
    const pair = (vector) => [sum(vector), dot(vector, seen.xHat)].map((value) => fixed(value, 3));
    const [rest, gradient] = [pair(seen.rest), pair(seen.gradient)];
    sums.textContent =
      `Sum of the remainder: ${rest[0]}. Its sum weighted with x_hat: ${rest[1]}. ` +
      `(For dy itself: ${gradient[0]} and ${gradient[1]}.)`;
    spoken.say(words(seen));
  }
}

/** Return parts of the figure under a title, which a screen reader hears from the parts themselves. */
function titled(title, kind, ...children) {
  const heading = html("p", { "aria-hidden": "true" }, html("strong", {}, title));
  return html("div", { class: kind }, heading, ...children);
}

/** Draw the shares as pieces of one bar, their names below it at the left, in the middle and at the right. */
function drawShares(drawing, { offset, along, rest }) {
  const width = drawing.root.parentElement.clientWidth;
  const names = [`mean ${percent(offset)}`, `along x_hat ${percent(along)}`, `remains ${percent(rest)}`];
  const ends = [offset, offset + along, offset + along + rest];
  const pieces = [offset, along, rest].map((share, place) => {
    const attributes = { class: `figure-share-${place}`, y: 0, width: share * width, height: 20 };
    return svg("rect", { ...attributes, x: (ends[place] - share) * width });
  });
  const texts = names.map((name, place) => {
    const anchor = ["start", "middle", "end"][place];
    return svg("text", { class: "figure-share", x: (place * width) / 2, y: 40, "text-anchor": anchor }, name);
  });
  drawing.show(width, 44, `${names.join(", ")}.`, ...pieces, ...texts);
}
