"""Sphinx extension: what a link to a page shows where it is posted: title, a sentence or two of the page, the cover.

A page's description is the beginning of its first paragraph: whole sentences, none with a formula that plain text
cannot show. The address of a page and of the picture are given where the site's own is known, and left out elsewhere.
"""

import re
import textwrap
import unicodedata
from html import escape, unescape
from itertools import dropwhile
from typing import Any

from docutils import nodes  # type: ignore[import-untyped]
from repository import Repository
from sphinx.application import Sphinx

IMAGE = "_static/social.png"
IMAGE_SIZE = (1200, 630)
IMAGE_ALT = "Batch Normalization, a course that can be run. What reaches ten layers, without batch norm and with it."
LONGEST = 220
SENTENCE_END = re.compile(r"(?<=[.?!])\s+")
DESCRIPTION = re.compile(r'<meta [^>]*name="description"[^>]*>')
TAG = re.compile(r"<[^>]+>")


def describe(doctree: nodes.document) -> str:
    """Return a page's first sentences that plain text can show, up to LONGEST characters; empty if there are none."""
    for paragraph in doctree.findall(nodes.paragraph):
        sentences = dropwhile(unspeakable, SENTENCE_END.split(plain(paragraph).strip()))
        text = next(sentences, "")
        for sentence in sentences:
            if unspeakable(sentence) or len(text) + 1 + len(sentence) > LONGEST:
                break
            text = f"{text} {sentence}"
        if text:
            return textwrap.shorten(text, LONGEST, placeholder=" …")
    return ""


def unspeakable(sentence: str) -> bool:
    return not sentence or "\0" in sentence


def plain(node: nodes.Node) -> str:
    """Return a paragraph's text on one line, with a NUL for each formula that is more than a Greek letter."""
    if isinstance(node, nodes.math):
        return greek(node.astext())
    text = str(node) if isinstance(node, nodes.Text) else "".join(map(plain, node.children))
    return re.sub(r"\s+", " ", text)


def greek(tex: str) -> str:
    try:
        return unicodedata.lookup(f"GREEK SMALL LETTER {tex.removeprefix(chr(92))}")
    except KeyError:
        return "\0"


def tags(title: str, description: str, site_name: str, page: str, repository: Repository | None) -> dict[str, str]:
    """Return the Open Graph properties of a page."""
    properties = {"og:title": title, "og:type": "article", "og:site_name": site_name}
    if description:
        properties["og:description"] = description
    if repository:
        width, height = map(str, IMAGE_SIZE)
        properties |= {
            "og:url": repository.page(page),
            "og:image": f"{repository.site}/{IMAGE}",
            "og:image:width": width,
            "og:image:height": height,
            "og:image:alt": IMAGE_ALT,
        }
    return properties


def add_tags(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Add the properties to the head of a page that has a source, and make the description the page's own."""
    if doctree is None:
        return
    title, description = unescape(TAG.sub("", context["title"])), describe(doctree)
    repository = app.config.book_repository
    properties = tags(title, description, app.config.html_title, page, repository)
    lines = [f'<meta property="{name}" content="{escape(content)}"/>' for name, content in properties.items()]
    if repository:
        lines.append('<meta name="twitter:card" content="summary_large_image"/>')
    metatags = context.get("metatags", "")
    if description and page != app.config.root_doc:
        metatags = DESCRIPTION.sub("", metatags)
        lines.append(f'<meta name="description" content="{escape(description)}"/>')
    context["metatags"] = "\n".join([metatags, *lines])


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("html-page-context", add_tags)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
