/**
 * The filter of the claims ledger: by verdict and by part of the book. The page shows every claim; this module adds two
 * lists of choices above the first and hides what is not chosen. An address such as #c7 always shows its claim.
 */

export const ALL = "all";

/** Whether a claim has what was chosen. */
export function matches(claim, choice) {
  return Object.entries(choice).every(([kind, value]) => value === ALL || claim[kind] === value);
}

/** The values of one kind that claims have, in the order of their first appearance, with how many have each. */
export function counts(claims, kind) {
  const found = new Map();
  for (const claim of claims) found.set(claim[kind], (found.get(claim[kind]) ?? 0) + 1);
  return found;
}

const KINDS = {
  verdict: { name: "Verdict", option: (value) => value },
  part: { name: "Part", option: (value) => `part ${value}` },
};
const ORDER = ["supported", "qualified", "contradicted", "inconclusive", "not yet run"];

function rank(value) {
  const place = ORDER.indexOf(value);
  return place < 0 ? Number(value) : place;
}

/** A labelled list of choices. */
function choices(kind, claims, changed) {
  const list = document.createElement("select");
  const options = [...counts(claims, kind)].sort(([one], [other]) => rank(one) - rank(other));
  list.append(new Option(`all (${claims.length})`, ALL));
  list.append(...options.map(([value, count]) => new Option(`${KINDS[kind].option(value)} (${count})`, value)));
  list.addEventListener("change", changed);
  const label = document.createElement("label");
  label.append(`${KINDS[kind].name} `, list);
  return { label, list };
}

function mount() {
  const claims = [...document.querySelectorAll(".claim-state")].map((state) => {
    const section = state.closest("section");
    // Its row in the table, and its line in the page's contents.
    const links = [...document.querySelectorAll(`:is(tr, nav li) a[href="#${section.id}"]`)];
    return { ...state.dataset, section, shown: [section, ...links.map((link) => link.closest("tr, li"))] };
  });
  if (!claims.length) return;

  const form = document.createElement("div");
  form.className = "claim-filter";
  form.setAttribute("role", "group");
  form.setAttribute("aria-label", "Show claims");
  const said = document.createElement("output");

  const apply = () => {
    const choice = Object.fromEntries(Object.entries(lists).map(([kind, { list }]) => [kind, list.value]));
    let count = 0;
    for (const claim of claims) {
      const visible = matches(claim, choice);
      count += visible;
      for (const part of claim.shown) part.hidden = !visible;
    }
    said.textContent = `${count} of ${claims.length} claims`;
  };
  const lists = Object.fromEntries(Object.keys(KINDS).map((kind) => [kind, choices(kind, claims, apply)]));
  form.append(...Object.values(lists).map(({ label }) => label), said);

  // An address leads to its claim, whatever was chosen before.
  const follow = () => {
    const claim = claims.find(({ section }) => `#${section.id}` === location.hash);
    if (!claim?.section.hidden) return;
    for (const { list } of Object.values(lists)) list.value = ALL;
    apply();
    claim.section.scrollIntoView();
  };
  addEventListener("hashchange", follow);

  const table = claims[0].section.parentElement.querySelector("table");
  (table ?? claims[0].section).before(form);
  apply();
}

if (typeof document !== "undefined") mount();
