/* What the search shows of a page: words of its text. A word of the title would be found in the title first, or in the
   contents that are meant for print. */
const shown = Search.htmlToText;

Search.htmlToText = (html, anchor) => {
  const page = new DOMParser().parseFromString(html, "text/html");
  page.querySelectorAll("#jb-print-docs-body, article h1, .prev-next-footer").forEach((part) => part.remove());
  return shown(page.documentElement.outerHTML, anchor);
};
