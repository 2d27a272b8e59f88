/* What the search shows of a page: words of its text, not of its title or of its contents for print, where each word of a title
   stands before the text. */
const shown = Search.htmlToText;

Search.htmlToText = (html, anchor) => {
  const page = new DOMParser().parseFromString(html, "text/html");
  page.querySelectorAll("#jb-print-docs-body, article h1, .prev-next-footer").forEach((part) => part.remove());
  return shown(page.documentElement.outerHTML, anchor);
};
