/** Interactive figure of chapter 1.2: one batch before and after the transform, and the means of the last batches. */

import { KEPT, look, startDraws } from "./draws.mjs";
import { axis, button, html, picture, slider, summary, svg, whenResized } from "./dom.mjs";
import { barsPath, fixed, histogram, linePath, normalDensity, scale } from "./plot.mjs";

// The newest of its batches lies visibly off.
const SEED = 2;
const KEY = "d";
const BEFORE = [-8, 18];
const AFTER = [-7, 7];
const AROUND_MEAN = [-4, 4];
const BINS = 52;
// Points of the density's curve: four in the narrowest one's spread.
const CORNERS = 1041;
// Room for half a number at both ends of an axis.
const EDGE = 12;

export function build() {
  const number = (digits) => (value) => fixed(value, digits);
  const power = (base) => (exponent) => base ** exponent;
  const control = (label, min, max, step, start, show, read) =>
    slider({ label, min, max, step, start, show, read, change: draw });
  const controls = {
    m: control("batch size m", 1, 8, 1, 4, String, power(2)),
    centre: control("feature's mean", 0, 10, 0.5, 5, number(1)),
    spread: control("feature's spread", 0.1, 2.5, 0.1, 2, number(1)),
    gamma: control("scale gamma", -2, 2, 0.1, 1, number(1)),
    beta: control("shift beta", -3, 3, 0.1, 0, number(1)),
    eps: control("eps", -7, 1, 1, -5, (value) => value.toExponential(0).replace("+", ""), power(10)),
  };
  let draws = startDraws(SEED);

  const before = picture("The batch before the transform, x");
  const after = picture("The same batch after it, y");
  const means = picture(`Means of the last ${KEPT} batches`);
  const spoken = summary(words(look(draws.drawn, settings())));
  const panels = html("div", { class: "figure-panels" });
  const captions = [
    ["Before: x", "figure-before", before],
    ["After: y", "figure-after", after],
    [`The last ${KEPT} batch means, less the feature's mean`, "figure-means", means],
  ].map(([title, kind, { root }]) => {
    // To a screen reader the drawing says the same.
    const caption = html("span");
    const heading = html("p", { "aria-hidden": "true" }, html("strong", {}, title), html("br"), caption);
    panels.append(html("div", { class: kind }, heading, root));
    return caption;
  });

  const root = html(
    "div",
    { role: "group", "aria-label": "Interactive figure: the transform of a batch" },
    html("div", { class: "figure-controls" }, ...Object.values(controls).map((each) => each.root)),
    html(
      "div",
      { class: "figure-buttons" },
      button("Draw another batch", another, { "aria-keyshortcuts": KEY }),
      button("Reset", reset),
      html("span", { class: "figure-hint" }, "key: ", html("kbd", {}, "D")),
    ),
    panels,
    spoken.root,
  );
  // A letter is a shortcut only while something inside the figure has the focus.
  root.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() === KEY && !event.ctrlKey && !event.metaKey && !event.altKey) another();
  });
  whenResized(panels, draw);
  return root;

  function settings() {
    return Object.fromEntries(Object.entries(controls).map(([name, each]) => [name, each.value()]));
  }

  function another() {
    draws.another();
    draw();
  }

  function reset() {
    draws = startDraws(SEED);
    for (const each of Object.values(controls)) each.reset();
    draw();
  }

  function words({ x, y, means }) {
    const { m, centre, spread } = settings();
    return (
      `Batch ${draws.count}, of ${m}: mean ${fixed(x.mean, 2)} and standard deviation ${fixed(x.std, 2)}, where the ` +
      `feature has ${fixed(centre, 2)} and ${fixed(spread, 2)}. After the transform: ${fixed(y.mean, 2)} and ` +
      `${fixed(y.std, 2)}. The means of the last ${KEPT} batches spread by ${fixed(means.std, 2)}; sigma / √m ` +
      `predicts ${fixed(means.predicted, 2)}.`
    );
  }

  function draw() {
    const chosen = settings();
    const seen = look(draws.drawn, chosen);
    drawBatch(before, BEFORE, seen.x, [chosen.centre, chosen.spread]);
    drawBatch(after, AFTER, seen.y, null);
    drawMeans(means, seen.means);
    [
      `mean ${fixed(seen.x.mean, 2)}, std ${fixed(seen.x.std, 2)}\ndashed: the feature`,
      `mean ${fixed(seen.y.mean, 2)}, std ${fixed(seen.y.std, 2)}`,
      `std ${fixed(seen.means.std, 2)}; predicted, as the band: sigma / √m = ${fixed(seen.means.predicted, 2)}`,
    ].forEach((text, panel) => (captions[panel].textContent = text));
    spoken.say(words(seen));
  }
}

/** Draw a batch as bars over a strip of marks, one a value; its mean as a line, the feature's density as a curve. */
function drawBatch(drawing, domain, { values, mean, std }, feature) {
  const width = drawing.root.parentElement.clientWidth;
  const [height, base] = [150, 94];
  const range = [EDGE, width - EDGE];
  const place = scale(domain, range);
  const [low, high] = domain;
  const bin = (high - low) / BINS;
  const heights = histogram(values, domain, BINS).map((count) => count / values.length / bin);
  const corners = Array.from(
    { length: feature ? CORNERS : 0 },
    (_, step) => low + (step * (high - low)) / (CORNERS - 1),
  );
  const densities = corners.map((at) => normalDensity(at, ...feature));
  const top = Math.max(...heights, ...densities);
  const rise = scale([0, top], [0, base - 8]);
  drawing.show(
    width,
    height,
    `${values.length} values with mean ${fixed(mean, 2)} and standard deviation ${fixed(std, 2)}.`,
    svg("path", { class: "figure-bars", d: barsPath(heights.map(rise), EDGE, place(low + bin) - EDGE, base) }),
    svg("path", {
      class: "figure-curve",
      d: linePath(corners.map((at, step) => [place(at), base - rise(densities[step])])),
    }),
    svg("path", { class: "figure-mark", d: values.map((value) => `M${place(value)} ${base + 6}v14`).join("") }),
    svg("path", { class: "figure-mean", d: `M${place(mean)} 0V${base + 24}` }),
    axis(domain, range, base + 28, width < 250 ? 3 : 6),
  );
}

/** Draw the means of the last batches, the newest on top and larger, over the band of their predicted spread. */
function drawMeans(drawing, { values, std, predicted }) {
  const width = drawing.root.parentElement.clientWidth;
  const [height, base] = [170, 140];
  const range = [EDGE, width - EDGE];
  const place = scale(AROUND_MEAN, range);
  const down = scale([0, KEPT - 1], [12, base - 8]);
  const newest = values.length - 1;
  drawing.show(
    width,
    height,
    `The standard deviation of the ${values.length} means is ${fixed(std, 2)}; the band shows the predicted one, ` +
      `${fixed(predicted, 2)}. The newest batch is ${fixed(values[newest], 2)} away from the feature's mean.`,
    svg("rect", {
      class: "figure-band",
      x: place(-predicted),
      y: 0,
      width: place(predicted) - place(-predicted),
      height: base,
    }),
    svg("path", { class: "figure-curve", d: `M${place(0)} 0V${base}` }),
    ...values.map((value, age) =>
      svg("circle", {
        class: age === newest ? "figure-newest" : "figure-dot",
        cx: place(value),
        cy: down(newest - age),
        r: age === newest ? 5 : 2.5,
      }),
    ),
    axis(AROUND_MEAN, range, base, 9),
  );
}
