// Previews: a reference to an equation, a term, a cited work or a claim shows what it leads to when the mouse or the
// keyboard comes to it. Escape closes, the mouse may go into it, and it stays until mouse and keyboard have left.
// book/_ext/previews.py writes the texts. Where nothing can hover, as on a phone, and over file:// there are none.

const KINDS = [
  ["equation", /^equation-/],
  ["term", /^term-/],
  ["cite", /^cite-/],
  ["claim", /^c\d+$/],
];
const OPEN_AFTER = 250; // milliseconds: not on the way across a page
const CLOSE_AFTER = 250; // and time to go into the preview
const GAP = 6; // pixels between the link and the preview
const MARGIN = 16; // and the edge of the window

/** Return the kind of target that an anchor names and the key of its text, or null: `root` is the site's address. */
export function target(address, root) {
  const { origin, pathname, hash } = new URL(address);
  const anchor = decodeURIComponent(hash.slice(1));
  const kind = KINDS.find(([, pattern]) => pattern.test(anchor));
  const inside = origin + pathname;
  if (!kind || !inside.startsWith(root)) return null;
  const page = decodeURIComponent(inside.slice(root.length)).replace(/\.html$/, "");
  return { kind: kind[0], key: `${page}#${anchor}` };
}

/** Return where a box goes: below the link where there is room, or else above it, and never over the window's sides. */
export function place(link, box, view) {
  const left = Math.max(MARGIN, Math.min(link.left, view.width - box.width - MARGIN));
  const below = link.bottom + GAP;
  const above = link.top - GAP - box.height;
  return { left, top: below + box.height <= view.height || above < 0 ? below : above };
}

const texts = new Map();

/** Return the texts of a kind, fetched once; none where they cannot be had. */
function fetchTexts(kind) {
  if (!texts.has(kind)) {
    const file = new URL(`previews/${kind}.json`, import.meta.url);
    texts.set(kind, fetch(file).then((reply) => (reply.ok ? reply.json() : {})).catch(() => ({})));
  }
  return texts.get(kind);
}

/** The one preview of a page. */
class Preview {
  constructor() {
    this.box = document.createElement("div");
    this.box.className = "preview";
    this.box.id = "preview";
    this.box.setAttribute("role", "tooltip");
    this.box.addEventListener("pointerenter", () => clearTimeout(this.timer));
    this.box.addEventListener("pointerleave", () => this.later(() => this.close(), CLOSE_AFTER));
    document.addEventListener("keydown", (event) => event.key === "Escape" && this.close());
  }

  later(action, delay) {
    clearTimeout(this.timer);
    this.timer = setTimeout(action, delay);
  }

  async open(link) {
    clearTimeout(this.timer);
    if (link === this.link) return;
    this.close();
    this.link = link;
    const { kind, key } = target(link.href, SITE);
    const text = (await fetchTexts(kind))[key];
    if (!text || this.link !== link) return;
    link.removeAttribute("title"); // the browser's own tooltip would say the same
    this.box.innerHTML = text; // of this site, escaped by its build
    this.box.style.visibility = "hidden";
    link.closest("article").append(this.box);
    if (this.box.querySelector(".math")) {
      if (!window.MathJax?.typesetPromise) return this.close(); // a page without formulas has no MathJax
      await window.MathJax.typesetPromise([this.box]);
      if (this.link !== link) return;
    }
    const { top, bottom } = link.getBoundingClientRect(); // of all its lines
    this.position({ left: link.getClientRects()[0].left, top, bottom });
    this.box.style.visibility = "";
    link.setAttribute("aria-describedby", this.box.id);
  }

  position(rect) {
    const view = { width: document.documentElement.clientWidth, height: window.innerHeight };
    this.box.style.left = this.box.style.top = "0"; // its width must not depend on where it was
    const { left, top } = place(rect, this.box.getBoundingClientRect(), view);
    const origin = this.box.offsetParent.getBoundingClientRect();
    this.box.style.left = `${left - origin.left}px`;
    this.box.style.top = `${top - origin.top}px`;
  }

  close() {
    clearTimeout(this.timer);
    this.link?.removeAttribute("aria-describedby");
    this.link = null;
    window.MathJax?.typesetClear?.([this.box]);
    this.box.remove();
  }
}

const SITE = new URL("../", import.meta.url).href;

function start() {
  if (!window.matchMedia("(any-hover: hover)").matches) return;
  const preview = new Preview();
  for (const link of document.querySelectorAll("article a.reference.internal[href*='#']")) {
    if (!target(link.href, SITE)) continue;
    link.addEventListener("pointerenter", (event) => {
      if (event.pointerType !== "touch") preview.later(() => preview.open(link), OPEN_AFTER);
    });
    link.addEventListener("pointerleave", () => preview.later(() => preview.close(), CLOSE_AFTER));
    link.addEventListener("focus", () => link.matches(":focus-visible") && preview.open(link));
    link.addEventListener("blur", () => preview.close());
  }
}

if (globalThis.document) start();
