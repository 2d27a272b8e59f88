/** Interactive figure of chapter 6.2: how gradients change from layer to layer, in two networks side by side. */

import { button, choice, html, picture, summary, svg, whenResized } from "./dom.mjs";
import { TABLES } from "./gradient_profiles.mjs";
import { bandPath, factor, linePath, powerOfTen, scale, ticks } from "./plot.mjs";

const ACTIVATIONS = { relu: "ReLU", tanh: "tanh", sigmoid: "sigmoid", linear: "none (linear)" };
const LINES = { first: "Solid line", second: "Dashed line" };
const START = {
  first: ["residual, pre-activation, batch norm before", "relu"],
  second: ["residual, pre-activation, none", "relu"],
  depth: "20",
};
// Room for the numbers of the vertical axis at its left, for its name above it, for half a number at the right.
const [LEFT, RIGHT, TOP] = [52, 14, 30];
const [HEIGHT, BASE] = [330, 284];

export function build() {
  const kinds = Object.entries(TABLES.networks).map(([kind, names]) => [kind, named(...names)]);
  const activations = TABLES.activations.map((name) => [name, ACTIVATIONS[name]]);
  const select = (label, options, start) => choice({ label, options, start, change: draw });
  const curve = (line, [kind, activation]) => ({
    kind: select(`${line}: network`, kinds, kind),
    activation: select(`${line}: activation`, activations, activation),
  });
  const curves = { first: curve("solid", START.first), second: curve("dashed", START.second) };
  const depth = select("hidden layers", TABLES.depths.map(String), START.depth);
  const plot = picture("Gradient by layer");
  const verdicts = { first: html("p", { class: "figure-first" }), second: html("p", { class: "figure-second" }) };
  const spoken = summary(words(current()));
  const panel = html(
    "div",
    { class: "figure-profiles" },
    plot.root,
    ...Object.values(verdicts),
    html("p", {}, `Geometric means over ${TABLES.seeds} seeds; bands and brackets are 95\u00a0% intervals.`),
  );
  whenResized(panel, draw);
  return html(
    "div",
    { role: "group", "aria-label": "Interactive figure: gradients through depth" },
    html(
      "div",
      { class: "figure-controls figure-pairs" },
      ...["kind", "activation"].flatMap((part) => [curves.first[part].root, curves.second[part].root]),
      depth.root,
    ),
    html("div", { class: "figure-buttons" }, button("Reset", reset)),
    panel,
    spoken.root,
  );

  /** Return both networks, with the profile of each. */
  function current() {
    return Object.entries(curves).map(([name, { kind, activation }]) => ({
      name,
      words: `${kinds.find(([value]) => value === kind.value())[1]}, ${ACTIVATIONS[activation.value()]}`,
      layers: Number(depth.value()),
      ...TABLES.profiles[`${kind.value()}/${activation.value()}/${depth.value()}`],
    }));
  }

  function reset() {
    for (const each of Object.values(curves)) {
      each.kind.reset();
      each.activation.reset();
    }
    depth.reset();
    draw();
  }

  function draw() {
    const chosen = current();
    drawProfiles(plot, chosen);
    for (const each of chosen) verdicts[each.name].replaceChildren(html("strong", {}, `${title(each)}.`), result(each));
    spoken.say(words(chosen));
  }
}

/** Return a network's name. Residual ones have their norm in one place only. */
function named(network, norm) {
  if (norm === "none") return `${network}, no norm`;
  return network === "plain" ? `${network}, ${norm} the activation` : `${network}, ${norm.replace(" before", "")}`;
}

const title = ({ name, words: network }) => `${LINES[name]}: ${network}`;

function result({ layers, mean, low, high }) {
  return (
    ` From layer ${layers} to layer 1 the gradient is multiplied by ${factor(mean[0])} ` +
    `[${factor(low[0])}, ${factor(high[0])}].`
  );
}

const words = (chosen) => chosen.map((each) => `${title(each)}.${result(each)}`).join(" ");

/** Draw both profiles from the input's side to the output's, with their intervals. */
function drawProfiles(drawing, chosen) {
  const width = drawing.root.parentElement.clientWidth;
  const layers = chosen[0].layers;
  const all = chosen.flatMap(({ low, high }) => [...low, ...high]);
  const reach = [Math.min(-1, Math.floor(Math.min(...all))), Math.max(1, Math.ceil(Math.max(...all)))];
  const along = scale([1, layers], [LEFT, width - RIGHT]);
  const up = scale(reach, [BASE, TOP]);
  const points = (values) => values.map((value, place) => [along(place + 1), up(value)]);
  drawing.show(
    width,
    HEIGHT,
    words(chosen),
    svg("path", { class: "figure-level", d: `M${LEFT} ${up(0)}H${width - RIGHT}` }),
    ...chosen.map(({ name, mean, low, high }) =>
      svg(
        "g",
        { class: `figure-${name}` },
        svg("path", { class: "figure-interval", d: bandPath(points(low), points(high)) }),
        svg("path", { class: "figure-profile", d: linePath(points(mean)) }),
      ),
    ),
    svg(
      "g",
      { class: "figure-axis" },
      svg("path", { d: `M${LEFT} ${TOP}V${BASE}M${LEFT} ${BASE}H${width - RIGHT}` }),
      ...ticks([1, layers], 8)
        .filter(Number.isInteger)
        .concat(1)
        .flatMap((layer) => [
          svg("path", { d: `M${along(layer)} ${BASE}v4` }),
          svg("text", { x: along(layer), y: BASE + 18, "text-anchor": "middle" }, String(layer)),
        ]),
      ...ticks(reach, 7)
        .filter(Number.isInteger)
        .flatMap((exponent) => [
          svg("path", { d: `M${LEFT} ${up(exponent)}h-4` }),
          svg("text", { x: LEFT - 8, y: up(exponent) + 4, "text-anchor": "end" }, powerOfTen(exponent)),
        ]),
    ),
    svg(
      "text",
      { class: "figure-name", x: (LEFT + width - RIGHT) / 2, y: BASE + 38, "text-anchor": "middle" },
      "hidden layer, 1 next to the input",
    ),
    svg("text", { class: "figure-name", x: 0, y: 12 }, "norm of the gradient / that at the last layer"),
  );
}
