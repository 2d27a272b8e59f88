/**
 * Puts the interactive figures into the page. The book writes `<div class="interactive" id="interactive-name">` with a
 * text for readers without them; the module `name.mjs` beside this one draws the figure, which takes the text's place.
 */

const PREFIX = "interactive-";

for (const place of document.querySelectorAll(`.interactive[id^="${PREFIX}"]`)) {
  const name = place.id.slice(PREFIX.length);
  import(`./${name}.mjs`)
    .then(({ build }) => {
      // Whole before it is shown: where building fails, the text stays.
      const figure = build();
      figure.classList.add("interactive-figure");
      place.replaceChildren(figure);
    })
    .catch((error) => console.error(`the interactive figure ${name} was not drawn:`, error));
}
