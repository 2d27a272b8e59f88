/** The parts that the figures are put together from: elements, sliders, buttons, axes, spoken summaries. */

import { fixed, linePath, scale, ticks } from "./plot.mjs";

const SVG = "http://www.w3.org/2000/svg";
let serial = 0;

/** Return a name that nothing else on the page has. */
const unique = (stem) => `figure-${stem}-${(serial += 1)}`;

/** Return an HTML element with attributes and children (elements or text). */
export function html(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** Return an SVG element with attributes and children. */
export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/**
 * Return a labelled slider. `read` turns its position into the value (its default: the position itself), `show` turns
 * the value into text, which is also what a screen reader speaks.
 */
export function slider({ label, min, max, step, start, read = (position) => position, show, change }) {
  const id = unique("slider");
  const input = html("input", { type: "range", id, min, max, step, value: start });
  const output = html("output", { for: id });
  const control = {
    root: html("div", { class: "figure-slider" }, html("label", { for: id }, label), output, input),
    value: () => read(Number(input.value)),
    set(position) {
      input.value = position;
      tell();
    },
    reset: () => control.set(start),
  };
  input.addEventListener("input", () => {
    tell();
    change();
  });
  tell();
  return control;

  function tell() {
    output.textContent = show(control.value());
    input.setAttribute("aria-valuetext", output.textContent);
  }
}

/** Return a labelled list to choose from; an option is its value, or a pair of the value and the text to show. */
export function choice({ label, options, start, change }) {
  const id = unique("choice");
  const entries = options.map((option) => (Array.isArray(option) ? option : [option, option]));
  const select = html("select", { id }, ...entries.map(([value, text]) => html("option", { value }, text)));
  const reset = () => (select.value = start);
  select.addEventListener("change", change);
  reset();
  return {
    root: html("div", { class: "figure-choice" }, html("label", { for: id }, label), select),
    value: () => select.value,
    reset,
  };
}

export function button(text, act, attributes = {}) {
  const element = html("button", { type: "button", ...attributes }, text);
  element.addEventListener("click", act);
  return element;
}

/** Return a drawing that is one picture to a screen reader; `show` replaces its content and its description. */
export function picture(title) {
  const heading = svg("title", { id: unique("title") }, title);
  const description = svg("desc", { id: unique("description") });
  const content = svg("g");
  const root = svg(
    "svg",
    { role: "img", "aria-labelledby": heading.id, "aria-describedby": description.id },
    heading,
    description,
    content,
  );
  return {
    root,
    show(width, height, words, ...children) {
      root.setAttribute("viewBox", `0 0 ${width} ${height}`);
      root.setAttribute("height", height);
      description.textContent = words;
      content.replaceChildren(...children);
    },
  };
}

/** Return a horizontal axis at the height `base`: a line, ticks and their numbers. */
export function axis(domain, range, base, most = 6) {
  const place = scale(domain, range);
  const numbers = ticks(domain, most);
  const digits = numbers.some((value) => !Number.isInteger(value)) ? 1 : 0;
  return svg(
    "g",
    { class: "figure-axis" },
    svg("path", {
      d: linePath([
        [range[0], base],
        [range[1], base],
      ]),
    }),
    ...numbers.flatMap((value) => [
      svg("path", { d: `M${place(value)} ${base}v4` }),
      svg("text", { x: place(value), y: base + 16, "text-anchor": "middle" }, fixed(value, digits)),
    ]),
  );
}

/** Return a text for screen readers, read out when it has changed and then rested: not at every step of a slider. */
export function summary(start, rest = 400) {
  const root = html("p", { class: "figure-summary", "aria-live": "polite" }, start);
  let timer = 0;
  return {
    root,
    say(words) {
      clearTimeout(timer);
      timer = setTimeout(() => {
        if (root.textContent !== words) root.textContent = words;
      }, rest);
    },
  };
}

/** Call `draw` at the start and whenever the element's width changes, but not while it takes up no room. */
export function whenResized(element, draw) {
  let width = -1;
  new ResizeObserver(() => {
    if ([0, width].includes(element.clientWidth)) return;
    width = element.clientWidth;
    draw();
  }).observe(element);
}
