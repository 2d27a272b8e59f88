/** Interactive figure of chapter 3.1: a kernel under the roof of a GPU, and what its time is made of. */

import { button, choice, html, picture, slider, summary, svg, whenResized } from "./dom.mjs";
import { describe, join, predict, roof, split } from "./floor.mjs";
import { TABLES } from "./floor_tables.mjs";
import { fixed, linePath, logScale, powersOfTen, scale, short } from "./plot.mjs";

const INTENSITY = [0.1, 1000];
const RATE = [1e9, 1e14];
const SIDES = [1, 7, 14, 28, 56, 112];
const FOLLOWS = { "": "nothing", relu: "ReLU", "add+relu": "sum and ReLU" };
// Room for the numbers of the vertical axis at its left, for its name above it, for half a number at the right.
const [LEFT, RIGHT, TOP] = [46, 18, 30];

export function build() {
  const operations = Object.keys(TABLES.operations).map(split);
  const distinct = (place) => [...new Set(operations.map((parts) => parts[place]))];
  const select = (label, options, start) => choice({ label, options, start, change: draw });
  const range = (label, min, max, start, show, read) =>
    slider({ label, min, max, step: 1, start, show, read, change: draw });
  const power = (exponent) => 2 ** exponent;
  const controls = {
    device: select("GPU", Object.keys(TABLES.devices), "H100 SXM"),
    direction: select("batch norm", distinct(0), "forward"),
    follows: select(
      "followed by",
      distinct(1).map((value) => [value, FOLLOWS[value] ?? value]),
      "add+relu",
    ),
    design: select("design", TABLES.designs, "eager"),
    dtype: select("dtype", TABLES.dtypes, "bfloat16"),
    examples: range("examples N", 0, 13, 8, String, power),
    channels: range("channels C", 3, 12, 6, String, power),
    side: range(
      "maps",
      0,
      SIDES.length - 1,
      SIDES.indexOf(56),
      (side) => (side > 1 ? `${side} × ${side}` : "none"),
      (place) => SIDES[place],
    ),
    launchTime: range("one launch", 0, 10, 5, (time) => `${time} µs`),
  };
  const plot = picture("Roofline of the chosen GPU");
  const bars = picture("What the time is made of");
  const verdict = html("strong");
  const traffic = html("p");
  const parts = html("p");
  const spoken = summary(words(...current()));
  const panels = html(
    "div",
    { class: "figure-roofline" },
    html("div", {}, plot.root),
    html("div", {}, html("p", {}, verdict), bars.root, traffic, parts),
  );
  whenResized(panels, draw);
  return html(
    "div",
    { role: "group", "aria-label": "Interactive figure: a kernel under the roofline" },
    html("div", { class: "figure-controls" }, ...Object.values(controls).map((each) => each.root)),
    html("div", { class: "figure-buttons" }, button("Reset", reset)),
    panels,
    spoken.root,
  );

  /** Return what is chosen, and what follows from it. */
  function current() {
    const value = Object.fromEntries(Object.entries(controls).map(([name, each]) => [name, each.value()]));
    const maps = value.side > 1 ? [value.side, value.side] : [];
    const chosen = {
      ...value,
      operation: join(value.direction, value.follows),
      shape: [value.examples, value.channels, ...maps],
    };
    return [chosen, predict(TABLES, chosen)];
  }

  function reset() {
    for (const each of Object.values(controls)) each.reset();
    draw();
  }

  function draw() {
    const [chosen, found] = current();
    drawRoofline(plot, TABLES.devices[chosen.device], found);
    drawTimes(bars, found);
    verdict.textContent = `At least ${time(found.time)}: ${limitInWords(found)}`;
    traffic.textContent =
      `${short(found.bytes)}B cross memory: ${found.bytesPerValue} bytes for each of ${short(found.values).trim()} ` +
      `values of x, and ${found.bytesPerChannel} for each channel.`;
    parts.textContent = describe(found.passes);
    spoken.say(words(chosen, found));
  }
}

function time(microseconds) {
  if (microseconds > 0 && microseconds < 0.05) return "< 0.1 µs";
  if (microseconds < 1e4) return `${fixed(microseconds, 1)} µs`;
  return microseconds < 1e7 ? `${fixed(microseconds / 1e3, 1)} ms` : `${fixed(microseconds / 1e6, 1)} s`;
}

/** Return the bars' names. */
const named = ({ passes }) => ({
  memory: "memory",
  arithmetic: "arithmetic",
  launches: passes.length > 1 ? `${passes.length} launches` : "1 launch",
});

function limitInWords({ limit }) {
  return { memory: "memory-bound", arithmetic: "bound by arithmetic", launches: "waiting for launches" }[limit];
}

function timesInWords(found) {
  const names = named(found);
  return Object.entries(found.times)
    .map(([name, each]) => `${names[name]} ${time(each)}`)
    .join(", ");
}

function words({ device, direction, follows, design, dtype, shape }, found) {
  const after = follows ? `, followed by ${FOLLOWS[follows] ?? follows}` : "";
  return (
    `Batch norm ${direction}${after}, ${design}, on ${shape.join(" by ")} values of ${dtype}, on ${device}: ` +
    `${short(found.bytes)}B cross memory. At least ${time(found.time)}, ${limitInWords(found)}: ` +
    `${timesInWords(found)}. Memory takes ${fixed(found.ridge / found.intensity, 1)} times as long as arithmetic.`
  );
}

/** Draw the roof and, at the kernel's intensity, how many FLOPs in a second it can reach: on the roof or below it. */
function drawRoofline(drawing, device, found) {
  const width = drawing.root.parentElement.clientWidth;
  const [height, base] = [310, 264];
  const along = logScale(INTENSITY, [LEFT, width - RIGHT]);
  const up = logScale(RATE, [base, TOP]);
  const [low, high] = INTENSITY;
  const corners = [low, found.ridge, high].map((at) => [along(at), up(roof(device, at))]);
  const [x, y] = [along(found.intensity), up(Math.max(found.rate, RATE[0]))];
  const top = up(roof(device, found.intensity));
  const shape =
    found.rate < RATE[0]
      ? svg("path", { class: "figure-kernel", d: `M${x} ${base - 2}l-6 -10h12z` })
      : svg("circle", { class: "figure-kernel", cx: x, cy: y, r: 6 });
  const right = found.intensity < Math.sqrt(low * high);
  drawing.show(
    width,
    height,
    `The roof rises to ${short(device.flops)}FLOPs in a second at ${fixed(found.ridge, 1)} FLOPs for each byte, and ` +
      `is flat from there. The kernel has ${fixed(found.intensity, 2)} FLOPs for each byte, and reaches at most ` +
      `${short(found.rate)}FLOPs in a second.`,
    svg("path", { class: "figure-curve", d: `M${x} ${base}V${top}` }),
    svg("path", { class: "figure-roof", d: linePath(corners) }),
    shape,
    svg(
      "text",
      { x: x + (right ? 12 : -12), y: Math.min(base - 8, y + 16), "text-anchor": right ? "start" : "end" },
      `${fixed(found.intensity, 2)} FLOPs/B`,
    ),
    svg(
      "text",
      { x: width - RIGHT, y: corners[1][1] + 18, "text-anchor": "end" },
      `ridge at ${fixed(found.ridge, 1)}`,
    ),
    svg(
      "g",
      { class: "figure-axis" },
      svg("path", { d: `M${LEFT} ${TOP}V${base}M${LEFT} ${base}H${width - RIGHT}` }),
      ...powersOfTen(INTENSITY).flatMap((at) => [
        svg("path", { d: `M${along(at)} ${base}v4` }),
        svg("text", { x: along(at), y: base + 18, "text-anchor": "middle" }, String(at)),
      ]),
      ...powersOfTen(RATE).flatMap((at) => [
        svg("path", { d: `M${LEFT} ${up(at)}h-4` }),
        svg("text", { x: LEFT - 8, y: up(at) + 4, "text-anchor": "end" }, short(at)),
      ]),
    ),
    svg(
      "text",
      { class: "figure-name", x: (LEFT + width - RIGHT) / 2, y: base + 38, "text-anchor": "middle" },
      "FLOPs for each byte",
    ),
    svg("text", { class: "figure-name", x: 0, y: 12 }, "FLOPs in a second"),
  );
}

/** Draw the three times as bars, the longest filled. */
function drawTimes(drawing, found) {
  const width = drawing.root.parentElement.clientWidth;
  const [row, name, value] = [26, 76, 84];
  const length = scale([0, found.time || 1], [0, width - name - value]);
  const names = named(found);
  const rows = Object.entries(found.times).flatMap(([kind, each], place) => {
    const middle = (place + 0.5) * row;
    return [
      svg("text", { x: 0, y: middle + 4 }, names[kind]),
      svg("rect", {
        class: kind === found.limit ? "figure-bar" : "figure-band",
        x: name,
        y: middle - 7,
        width: length(each),
        height: 14,
      }),
      svg("text", { x: name + length(each) + 6, y: middle + 4 }, time(each)),
    ];
  });
  drawing.show(width, 3 * row, `${timesInWords(found)}.`, ...rows);
}
