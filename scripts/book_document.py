"""Put the pages of the built site into one document, in the order of the book, for scripts/print_book.py.

Sphinx's own builder for this, ``singlehtml``, gives every chapter's "Summary" the same anchor and knows no parts. Here
an anchor is prefixed with its page, links lead inside the document, and headings nest: part, chapter, section.
"""

# mypy: disable-error-code="import-untyped"
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml
from bs4 import BeautifulSoup, Tag

# What a page has for the screen, and what its scripts read.
FOR_THE_SCREEN = "a.headerlink, button, script, .sd-stretched-link, .prev-next-footer"
# Names, punctuation and white space in code, which have no colour of their own: half the elements of the file.
WITHOUT_COLOUR = re.compile(r'<span class="(?:n|p|w|nn|nx)">([^<]*)</span>')
# Attributes that hold anchors, one or several.
NAMES_ANCHORS = ("for", "headers", "aria-labelledby", "aria-describedby", "aria-controls", "aria-owns")
WITHIN = re.compile(r"url\(#([^)\s]+)\)")


@dataclass(frozen=True)
class Part:
    """A part of the book: its title (empty before the first part), and its pages with their headings' level."""

    title: str
    pages: dict[str, int]


def parts_of(root: Path) -> list[Part]:
    """Return the book's parts as ``_toc.yml`` lists them, the first page in a part without a title."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    return [Part("", {toc["root"]: 1}), *(Part(part["caption"], dict(pages_of(part))) for part in toc["parts"])]


def pages_of(entry: dict[str, Any], level: int = 2) -> Iterator[tuple[str, int]]:
    """Yield the pages below an entry of ``_toc.yml``, each with the level of its title."""
    for page in [*entry.get("chapters", []), *entry.get("sections", [])]:
        yield page["file"], level
        yield from pages_of(page, level + 1)


def slug(page: str) -> str:
    """Return the anchor at which a page begins; those inside it are prefixed with it."""
    return page.removeprefix("book/").replace("/", ".")


class Assembly:
    """The document, page by page.

    Parameters
    ----------
    site : folder of the built site.
    parts : the book's parts.
    address : where the site is published, for what is not part of the book; empty where unknown.
    """

    def __init__(self, site: Path, parts: list[Part], address: str) -> None:
        self.site, self.parts, self.address = site, parts, address
        self.pages = {page for part in parts for page in part.pages}
        self.titles: dict[str, str] = {}
        self.styles: dict[str, None] = {}
        self.scripts: dict[str, None] = {}

    def document(self, title: str, author: str, language: str, front: str) -> str:
        """Return the whole document, which stands in the site's root, with ``front`` on its first page."""
        body = [str(piece) for part in self.parts for piece in self.part(part)]
        head = "\n".join(
            [
                f"<title>{escape(title)}</title>",
                f'<meta name="author" content="{escape(author)}">',
                *(f'<link rel="stylesheet" href="{escape(style)}">' for style in self.styles),
                *self.scripts,
            ]
        )
        return (
            f'<!DOCTYPE html>\n<html lang="{language}" data-theme="light" data-mode="light">\n'
            f'<head>\n<meta charset="utf-8">\n{head}\n</head>\n<body class="whole-book">\n'
            f'<main class="bd-content"><article class="bd-article">\n{front}\n{self.contents()}\n'
            + "\n".join(body)
            + "\n</article></main>\n</body>\n</html>\n"
        )

    def contents(self) -> str:
        """Return the table of contents, with empty places for the page numbers."""
        lines = []
        for part in self.parts:
            entries = [
                f'<li><a href="#{slug(page)}">{self.titles[page]}</a>'
                f'<span class="page-number" data-page="{slug(page)}"></span></li>'
                for page in part.pages
            ]
            lines.append((f"<p>{escape(part.title)}</p>" if part.title else "") + f"<ul>{''.join(entries)}</ul>")
        return f'<nav class="book-contents"><h1>Contents</h1>{"".join(lines)}</nav>'

    def part(self, part: Part) -> Iterator[str]:
        """Yield a part's heading with its first page, and its other pages."""
        heading = f'<h1 class="book-part">{escape(part.title)}</h1>' if part.title else ""
        for page, level in part.pages.items():
            yield f'<div class="book-page">{heading}{self.page(page, level)}</div>'
            heading = ""

    def page(self, page: str, level: int) -> Tag:
        """Return a page's article with its title as a heading of this level."""
        text = (self.site / f"{page}.html").read_text(encoding="utf-8")
        head, _, body = text.partition("</head>")
        self.collect(BeautifulSoup(head, "html.parser"), page)
        # The sidebars, which every page repeats, would take half the time.
        begin = body.index('<article class="bd-article')
        content = WITHOUT_COLOUR.sub(r"\1", body[begin : body.index("</article>", begin)])
        soup = BeautifulSoup(content, "html.parser")
        article = soup.select_one("article.bd-article")
        assert article is not None, f"{page}.html has no article"
        for tag in article.select(FOR_THE_SCREEN):
            tag.decompose()
        # On paper an interactive figure stands as it begins, and what it would show is said below it.
        for figure in article.select(".interactive"):
            words = soup.new_tag("div", attrs={"class": "interactive-text"})
            words.extend(BeautifulSoup(figure.decode_contents(), "html.parser").contents[:])
            figure.insert_after(words)
        title = article.h1
        assert title is not None, f"{page}.html has no title"
        self.titles[page] = title.decode_contents()
        for tag in article.find_all(True):
            self.rewrite(tag, page, level - 1)
        article.name = "div"
        article["id"] = slug(page)
        article["class"] = "book-chapter"
        return article

    def collect(self, soup: BeautifulSoup, page: str) -> None:
        """Note the page's styles, and of its scripts those that draw: mathematics and interactive figures."""
        for link in soup.select("head link[rel=stylesheet]"):
            self.styles[self.from_root(str(link["href"]), page)] = None
        for script in soup.select("head script"):
            source = str(script.get("src", ""))
            if source and ("mathjax" in source or "figures/" in source):
                script["src"] = self.from_root(source, page)
                self.scripts[str(script)] = None
            elif (script.string or "").lstrip().startswith("window.MathJax"):
                self.scripts[str(script)] = None

    def from_root(self, address: str, page: str) -> str:
        """Return an address of a page as one of the document, which stands in the site's root."""
        parts = urlsplit(address)
        return address if parts.scheme or parts.netloc else normpath(join(dirname(page), address))

    def rewrite(self, tag: Tag, page: str, deeper: int) -> None:
        """Make an element's addresses and anchors those of the document, and a heading as much deeper as its page."""
        if re.fullmatch(r"h[1-6]", tag.name):
            tag.name = f"h{min(int(tag.name[1]) + deeper, 6)}"
        if tag.name == "details":
            tag["open"] = ""
        for name, value in list(tag.attrs.items()):
            if name == "id" and "interactive" not in tag.get_attribute_list("class"):
                tag["id"] = f"{slug(page)}.{value}"
            elif name in NAMES_ANCHORS:
                words = value if isinstance(value, list) else str(value).split()
                tag[name] = " ".join(f"{slug(page)}.{word}" for word in words)
            elif name == "src":
                tag["src"] = self.from_root(str(value), page)
            elif name in ("href", "xlink:href"):
                self.redirect(tag, name, str(value), page)
            elif isinstance(value, str) and "url(#" in value:
                tag[name] = WITHIN.sub(rf"url(#{slug(page)}.\1)", value)

    def redirect(self, tag: Tag, name: str, address: str, page: str) -> None:
        """Lead a link into the document, or to the site, or nowhere where neither holds its target."""
        parts = urlsplit(address)
        if parts.scheme or parts.netloc:
            return
        path = self.from_root(unquote(parts.path), page) if parts.path else f"{page}.html"
        target = path.removesuffix(".html")
        if target in self.pages:
            tag[name] = f"#{slug(target)}" + (f".{unquote(parts.fragment)}" if parts.fragment else "")
        elif self.address:
            tag[name] = f"{self.address}/{path}" + (f"#{parts.fragment}" if parts.fragment else "")
        else:
            del tag[name]
