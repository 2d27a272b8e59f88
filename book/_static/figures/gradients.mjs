/** Interactive figure of chapter 6.2: how gradients change from layer to layer, in two networks side by side. */

import { button, choice, html, picture, summary, svg, whenResized } from "./dom.mjs";
import { TABLES } from "./gradient_profiles.mjs";
import { bandPath, factor, linePath, powerOfTen, scale, ticks } from "./plot.mjs";

const ACTIVATIONS = { relu: "ReLU", tanh: "tanh", sigmoid: "sigmoid", linear: "none (linear)" };
const LINES = { first: "Solid line", second: "Dashed line" };
const START = {
  first: ["plain, batch norm before", "relu"],
  second: ["plain, none", "relu"],
  depth: "20",
};
// Room for the numbers of the vertical axis at its left, for its name above it, for half a number at the right.
const [LEFT, RIGHT, TOP] = [52, 14, 30];
const [HEIGHT, BASE] = [330, 284];

export function build() {
  const kinds = Object.entries(TABLES.networks).map(([kind, [network, norm]]) => [kind, `${network}, ${named(norm)}`]);
  const activations = TABLES.activations.map((name) => [name, ACTIVATIONS[name]]);
  const select = (label, options, start) => choice({ label, options, start, change: draw });
  const curve = (line, [kind, activation]) => ({
    kind: select(`${line}: network`, kinds, kind),
    activation: select(`${line}: activation`, activations, activation),
  });
  const curves = { first: curve("solid", START.first), second: curve("dashed", START.second) };
  const depth = select("hidden layers", TABLES.depths.map(String), START.depth);
  const plot = picture("Gradient by layer");
  const verdicts = { first: html("p", {}, html("strong")), second: html("p", {}, html("strong")) };
  const spoken = summary(words(current()));
  const panel = html("div", { class: "figure-profiles" }, plot.root, ...Object.values(verdicts));
  verdicts.first.classList.add("figure-first");
  verdicts.second.classList.add("figure-second");
  whenResized(panel, draw);
  return html(
    "div",
    { role: "group", "aria-label": "Interactive figure: gradients through depth" },
    html(
      "div",
      { class: "figure-controls figure-pairs" },
      ...[curves.first, curves.second].flatMap(({ kind, activation }) => [kind.root, activation.root]),
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
    for (const each of chosen) verdicts[each.name].firstChild.textContent = inWords(each);
    spoken.say(words(chosen));
  }
}

const named = (norm) => (norm === "none" ? "no norm" : `${norm} the activation`);

function inWords({ name, words: network, layers, mean, low, high }) {
  return (
    `${LINES[name]}: ${network}. From layer ${layers} to layer 1 the gradient is multiplied by ${factor(mean[0])} ` +
    `[${factor(low[0])}, ${factor(high[0])}].`
  );
}

function words(chosen) {
  return chosen.map(inWords).join(" ");
}

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
    chosen.map(inWords).join(" "),
    svg("path", { class: "figure-curve", d: `M${LEFT} ${up(0)}H${width - RIGHT}` }),
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
