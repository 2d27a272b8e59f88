/* What a result of the search is worth: Sphinx's own numbers, and more where its name says the words of the query.
   Sphinx looks at each word apart: of three words, one in a title is worth as much as all, and "eps" in "steps" as
   much as in "eps". */
var Scorer = {
  objNameMatch: 11,
  objPartialMatch: 1,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,

  score: ([, title, , description, score]) => {
    const words = (text) => text.toLowerCase().split(/[^\p{Letter}\p{Number}_]+/u).filter(Boolean);
    const query = words(new URLSearchParams(location.search).get("q") || "");
    const python = (description || "").startsWith("Python");
    const name = words(python ? title.split(".").pop() : title.replace(/^[\d.]+\s/, ""));
    const said = query.filter((word) => name.some((other) => other.startsWith(word)));
    const whole = query.length > 0 && query.every((word, place) => name[place] === word);
    // What is looked for is a function or a class of this name. Modules and data share theirs with chapters' subjects.
    const minor = /^Python (module|data|attribute|property)/.test(description || "");
    return score + 5 * said.length + (whole ? 10 : 0) - (minor ? 30 : 0);
  },
};
