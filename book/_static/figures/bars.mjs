/** Rows of horizontal bars, one an example, in two kinds: bars that are dragged, and bars that are computed. */

import { html, picture, svg } from "./dom.mjs";
import { fixed, scale } from "./plot.mjs";

// A row in pixels: its height, the room at its left for the example's number (where it is dragged) and at its right for
// the value, and a slider's thumb, by half of which the ends of its track lie inside.
const [ROW, NAME, VALUE, THUMB] = [28, 14, 42, 14];
const SIZES = `--row: ${ROW}px; --name: ${NAME}px; --value: ${VALUE}px; --thumb: ${THUMB}px`;

export const clamp = (value, [low, high]) => Math.min(high, Math.max(low, value));

/**
 * Return bars that are sliders, up to `most` of them: a native one lies over each bar, so that pointer, touch and
 * keyboard all work. `change` gets the example's place and its new value.
 */
export function editableBars(name, domain, most, change) {
  const drawing = svg("svg", { "aria-hidden": "true" });
  const [min, max] = domain;
  const inputs = Array.from({ length: most }, (_, place) => {
    const label = `${name} of example ${place + 1}`;
    const attributes = { type: "range", min, max, step: 0.1, "aria-label": label, class: "figure-bar-input" };
    const input = html("input", attributes);
    input.style.top = `${place * ROW}px`;
    input.addEventListener("input", () => change(place, Number(input.value)));
    return input;
  });
  const attributes = { class: "figure-rows", style: SIZES, role: "group", "aria-label": name };
  const root = html("div", attributes, drawing, ...inputs);
  return {
    root,
    show(values, from) {
      drawing.setAttribute("height", values.length * ROW);
      drawing.replaceChildren(...bars(root.clientWidth, NAME, values, from, domain), ...names(values.length));
      inputs.forEach((input, place) => {
        input.hidden = place >= values.length;
        if (input.hidden) return;
        input.value = values[place];
        input.setAttribute("aria-valuetext", fixed(values[place], 2));
      });
    },
  };
}

/** Return bars from zero that are one picture. */
export function computedBars(name, domain) {
  const drawing = picture(name);
  const root = html("div", { class: "figure-rows" }, drawing.root);
  return {
    root,
    show(values) {
      const width = root.clientWidth;
      const words = values.map((value) => fixed(value, 2)).join(", ");
      drawing.show(width, values.length * ROW, words, ...bars(width, 0, values, 0, domain));
    },
  };
}

/** Return one bar a value, from `from` to the value, and the value as text; a bar that is too long ends at the edge. */
function bars(width, left, values, from, domain) {
  const place = scale(domain, [left + THUMB / 2, width - VALUE - THUMB / 2]);
  const start = place(from);
  const line = svg("path", { class: "figure-curve", d: `M${start} 0v${values.length * ROW}` });
  const rows = values.flatMap((value, row) => {
    const middle = (row + 0.5) * ROW;
    const end = place(clamp(value, domain));
    const [x, length] = [Math.min(start, end), Math.abs(end - start)];
    return [
      svg("rect", { class: "figure-bar", x, y: middle - 6, width: length, height: 12 }),
      svg("text", { x: width, y: middle + 4, "text-anchor": "end" }, fixed(value, 2)),
    ];
  });
  return [line, ...rows];
}

/** Return the numbers of the examples. */
function names(count) {
  const text = (_, row) => svg("text", { class: "figure-name", x: 0, y: (row + 0.5) * ROW + 4 }, String(row + 1));
  return Array.from({ length: count }, text);
}
