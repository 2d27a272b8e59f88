"""Turn the MyST constructs that a chapter may use into Markdown that any notebook program shows.

References become links to the site, or plain text where the site is unknown; equations carry their number as a
``\\tag``; directives become block quotes and ``<details>``, an interactive figure the text that stands for it. What is
not known here is refused, so that no reader of a plain copy meets raw MyST.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from posixpath import dirname, join, normpath

from interactive import anchor
from repository import Repository

ADMONITIONS = {"note": "Note", "tip": "Tip", "important": "Important", "warning": "Warning"}
# Options that change how a directive looks and not what it says.
LOOKS = {"class", "color", "icon", "animate", "open"}

FENCE = re.compile(r"(?P<indent>\s*)(?P<fence>`{3,}|~{3,}|:{3,})\s*(?P<info>.*)")
DIRECTIVE = re.compile(r"\{(?P<name>[\w:-]+)\}\s*(?P<argument>.*)")
OPTION = re.compile(r"\s*:(?P<name>[\w-]+):")
TARGET = re.compile(r"\s*\([\w.:-]+\)=\s*")
STEP = re.compile(r"\s*<!-- step of [\w:-]+ -->\s*")
EQUATION = re.compile(r"\$\$(?P<body>.*?)\$\$\s*(?:\((?P<label>[\w:-]+)\))?\s*", re.DOTALL)
INLINE = re.compile(
    r"(?P<escaped>\\.)"
    r"|\{(?P<role>[A-Za-z][\w:.-]*)\}(?P<ticks>`+)(?P<content>[^`]+)(?P=ticks)"
    r"|(?P<code>(?P<span>`+)(?!`).+?(?<!`)(?P=span)(?!`))"
    r"|(?P<display>\$\$)"
    r"|(?P<math>\$[^$\n]+(?:\n[^$\n]+)*\$)"
    r"|(?P<image>!\[)"
    r"|\]\((?P<target>[^)\s]*)"
    r"|(?P<footnote>\[\^)"
    r"|(?P<substitution>\{\{)"
    r"|(?P<broken>\{[A-Za-z][\w:.-]*\}`)",
    re.DOTALL,
)
# Lines that mean something to MyST and nothing, or something else, to Markdown.
FOREIGN = {"% comment": r"%", "block break": r"\+\+\+", "front matter": r"---\s*\Z", "definition": r":\s{1,3}\S"}


class UnknownConstructError(Exception):
    """A chapter uses something that has no plain form here, or refers to what the book does not hold."""


@dataclass(frozen=True)
class Book:
    """What references resolve to, and where the site is."""

    table: dict[str, dict[str, dict[str, str]]]
    repository: Repository | None

    def target(self, kind: str, name: str) -> dict[str, str]:
        try:
            return self.table[kind][name]
        except KeyError:
            raise UnknownConstructError(f"the book has no {name!r} among its {kind}") from None

    def link(self, text: str, target: dict[str, str]) -> str:
        """Return Markdown for a text that leads to a target, as a link only where the address is known."""
        if self.repository is None:
            return text
        return f"[{text}]({self.repository.page(target['page'], target['anchor'])})"


def plain(source: str, page: str, book: Book) -> str:
    """Return the Markdown of one cell without MyST.

    Parameters
    ----------
    source : the cell's text.
    page : name of the page that the cell stands on, for relative references ("book/setup").
    book : what references resolve to.

    Raises
    ------
    UnknownConstructError : for a construct outside the list in this module, or a reference to nothing.
    """
    return "\n".join(blocks(source.split("\n"), page, book, quoted=False)).strip("\n")


def blocks(lines: list[str], page: str, book: Book, quoted: bool) -> Iterator[str]:
    """Yield the lines of the plain text; inside a block quote (``quoted``) an equation stays on one line."""
    place = 0
    while place < len(lines):
        line = lines[place]
        if fence := FENCE.fullmatch(line):
            end = closing(lines, place, fence["fence"])
            if DIRECTIVE.fullmatch(fence["info"]):
                inner = [text.removeprefix(fence["indent"]) for text in lines[place + 1 : end]]
                for text in directive(fence["info"], inner, page, book):
                    yield fence["indent"] + text
            elif fence["fence"].startswith(":"):
                raise UnknownConstructError(f"a colon fence without a directive: {line.strip()!r}")
            else:
                yield from lines[place : end + 1]
            place = end + 1
        elif line.lstrip().startswith("$$"):
            end = place
            while (equation := EQUATION.fullmatch("\n".join(lines[place : end + 1]).strip())) is None:
                end += 1
                if end == len(lines):
                    raise UnknownConstructError(f"a display equation that does not end: {line.strip()!r}")
            yield from display(equation, book, quoted)
            place = end + 1
        elif TARGET.fullmatch(line) or STEP.fullmatch(line):
            place += 1
        else:
            for name, pattern in FOREIGN.items():
                if re.match(pattern, line) and not (name == "front matter" and place):
                    raise UnknownConstructError(f"{name}: {line!r}")
            end = place + 1
            while end < len(lines) and not special(lines[end]):
                end += 1
            yield from inline("\n".join(lines[place:end]), page, book).split("\n")
            place = end


def special(line: str) -> bool:
    """Tell whether a line ends a run of ordinary text."""
    starts = bool(FENCE.fullmatch(line)) or line.lstrip().startswith("$$")
    foreign = any(re.match(pattern, line) for name, pattern in FOREIGN.items() if name != "front matter")
    return starts or foreign or bool(TARGET.fullmatch(line) or STEP.fullmatch(line))


def closing(lines: list[str], start: int, fence: str) -> int:
    """Return the line that closes the fence opened at ``start``: the same sign, as often or oftener, and alone."""
    for place in range(start + 1, len(lines)):
        text = lines[place].strip()
        if len(text) >= len(fence) and not text.strip(fence[0]):
            return place
    raise UnknownConstructError(f"a fence that does not close: {lines[start].strip()!r}")


def directive(info: str, body: list[str], page: str, book: Book) -> Iterator[str]:
    """Yield an admonition, and the text of an interactive figure, as a block quote, and a dropdown as ``<details>``."""
    match = DIRECTIVE.fullmatch(info)
    assert match is not None
    name, argument = match["name"], match["argument"]
    if name not in {*ADMONITIONS, "admonition", "dropdown", "interactive"}:
        raise UnknownConstructError(f"the directive {name!r}")
    folded = name == "dropdown"
    while body and (option := OPTION.match(body[0])):
        if option["name"] not in LOOKS:
            raise UnknownConstructError(f"the option {option['name']!r} of the directive {name!r}")
        folded = folded or (option["name"] == "class" and "dropdown" in body[0])
        body = body[1:]
    if name in ADMONITIONS and argument:
        body, argument = [argument, *body], ""
    if name == "interactive":
        target = {"page": page, "anchor": anchor(argument)}
        title = f"Interactive figure, {book.link('on the page in the book', target)}"
    else:
        title = inline(argument, page, book) or ADMONITIONS.get(name, "More")
    text = "\n".join(blocks(body, page, book, quoted=not folded)).strip("\n").split("\n")
    if folded:
        yield from ("<details>", f"<summary>{title}</summary>", "", *text, "", "</details>")
    else:
        yield from (f"> {line}".rstrip() for line in (f"**{title}**", "", *text))


def display(equation: re.Match[str], book: Book, quoted: bool) -> Iterator[str]:
    """Yield a display equation with its number."""
    body = equation["body"].strip("\n")
    if equation["label"]:
        body += rf" \tag{{{book.target('equations', equation['label'])['number']}}}"
    if quoted or "\n" not in equation["body"]:
        yield f"$${' '.join(body.split())}$$"
    else:
        yield from ("$$", *body.split("\n"), "$$")


def inline(text: str, page: str, book: Book) -> str:
    """Return running text with its roles resolved; code and mathematics stay as they are."""

    def replace(match: re.Match[str]) -> str:
        if match["role"]:
            return role(match["role"], " ".join(match["content"].split()), page, book)
        target = match["target"]
        if target is not None and not re.match(r"(https?:|mailto:)", target):
            raise UnknownConstructError(f"a link to {target!r}: inside the book use the role ref or doc")
        for construct in ("display", "image", "footnote", "substitution", "broken"):
            if match[construct]:
                raise UnknownConstructError(f"{construct} inside text: {text[match.start() :][:40]!r}")
        return match[0]

    return INLINE.sub(replace, text)


def role(name: str, content: str, page: str, book: Book) -> str:
    """Return the text, or link, that a role stands for."""
    if name not in ROLES:
        raise UnknownConstructError(f"the role {name!r}")
    match = re.fullmatch(r"(?P<text>.+?)\s*<(?P<target>[^<>]+)>", content)
    return ROLES[name](match["text"] if match else "", match["target"] if match else content, page, book)


def reference(text: str, name: str, page: str, book: Book) -> str:
    target = book.target("labels", name.lower())
    return book.link(text or target["text"], target)


def page_reference(text: str, name: str, page: str, book: Book) -> str:
    path = name.lstrip("/") if name.startswith("/") else normpath(join(dirname(page), name))
    target = book.target("pages", path)
    return book.link(text or target["text"], target)


def equation_reference(text: str, name: str, page: str, book: Book) -> str:
    target = book.target("equations", name)
    return book.link(f"({target['number']})", target)


def figure_reference(text: str, name: str, page: str, book: Book) -> str:
    target = book.target("figures", name)
    shown = (text or "Fig. %s").replace("%s", target["number"]).replace("{number}", target["number"])
    return book.link(shown, target)


def term(text: str, name: str, page: str, book: Book) -> str:
    return book.link(text or name, book.target("terms", name.lower()))


def citation_in_text(text: str, names: str, page: str, book: Book) -> str:
    return ", ".join(book.link(f"{work['authors']} ({work['year']})", work) for work in cited(names, book))


def citation_in_parentheses(text: str, names: str, page: str, book: Book) -> str:
    return "(" + "; ".join(book.link(f"{work['authors']}, {work['year']}", work) for work in cited(names, book)) + ")"


def cited(names: str, book: Book) -> list[dict[str, str]]:
    """Return the works of a citation."""
    return [book.target("citations", name.strip()) for name in names.split(",")]


ROLES: dict[str, Callable[[str, str, str, Book], str]] = {
    "ref": reference,
    "numref": figure_reference,
    "eq": equation_reference,
    "doc": page_reference,
    "term": term,
    "cite:t": citation_in_text,
    "cite:p": citation_in_parentheses,
}
