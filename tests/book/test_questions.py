"""Every chapter closes with concept questions, and every answer to one says why it is right or wrong."""

# mypy: disable-error-code="no-untyped-call"
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.book.chapters import ROOT, notebooks, read

OPENING = "## Questions\n\nDecide first, then open your answer.\n"
QUESTION = re.compile(r"^\*\*(?P<number>\d+)\. ", re.MULTILINE)
ANSWER = re.compile(r"^:::\{dropdown\} (?P<title>\S.*)\n(?P<feedback>(?:(?!:::).*\n)+):::$", re.MULTILINE)
VERDICT = re.compile(r"\*\*(?P<verdict>Right|No)\.\*\*\s")
# In a title only text and mathematics are shown alike by the book and by the plain copies.
MATH = re.compile(r"\$[^$\n]+\$")
MARKUP = re.compile(r"[`*<>\[\]{}\\$]")
WORDS_OF_FEEDBACK = 12


@dataclass(frozen=True)
class Answer:
    """A title to choose, and the feedback that it opens."""

    title: str
    feedback: str

    @property
    def verdict(self) -> str | None:
        match = VERDICT.match(self.feedback)
        return match["verdict"] if match else None

    @property
    def words(self) -> int:
        return len(VERDICT.sub("", self.feedback, count=1).split())


@dataclass(frozen=True)
class Question:
    """A question, the answers to choose from, and what stands there that is neither."""

    number: int
    text: str
    answers: list[Answer]
    stray: str

    @property
    def right(self) -> list[int]:
        """The places of the right answers, from 0."""
        return [place for place, answer in enumerate(self.answers) if answer.verdict == "Right"]


def questions_in(text: str) -> list[Question]:
    """Return the questions of one cell, in order."""
    heads = list(QUESTION.finditer(text))
    ends = [*(head.start() for head in heads[1:]), len(text)]
    questions = []
    for head, end in zip(heads, ends, strict=True):
        body = text[head.end() : end]
        asked, closed, after = body.partition("**\n\n")
        answers = [Answer(match["title"], match["feedback"].strip()) for match in ANSWER.finditer(after)]
        stray = ANSWER.sub("", after).strip() if closed else body.strip()
        questions.append(Question(int(head["number"]), asked, answers, stray))
    return questions


def problems(text: str) -> list[str]:
    """Return what is wrong with the questions of a chapter, one line each."""
    questions = questions_in(text)
    found = []
    if not text.startswith(f"{OPENING}\n**1. "):
        found.append("the cell does not begin as all do, with question 1 after its two opening lines")
    if not 3 <= len(questions) <= 5:
        found.append(f"{len(questions)} questions, and not 3 to 5")
    if [question.number for question in questions] != list(range(1, len(questions) + 1)):
        found.append("the questions are not numbered 1, 2, 3, …")
    if len(questions) > 2 and len({tuple(question.right) for question in questions}) == 1:
        found.append("the right answer stands in the same place every time")
    return found + [f"question {question.number}: {one}" for question in questions for one in faults(question)]


def faults(question: Question) -> list[str]:
    """Return what is wrong with one question."""
    found = []
    if question.stray:
        found.append(f"neither question nor answer: {question.stray[:60]!r}")
    if not 3 <= len(question.answers) <= 4:
        found.append(f"{len(question.answers)} answers, and not 3 or 4")
    if len(question.right) != 1:
        found.append(f"{len(question.right)} right answers, and not one")
    for answer in question.answers:
        if answer.verdict is None:
            found.append(f"the feedback of {answer.title!r} begins with neither **Right.** nor **No.**")
        if answer.words < WORDS_OF_FEEDBACK:
            found.append(f"the feedback of {answer.title!r} has {answer.words} words")
        if MARKUP.search(MATH.sub("", answer.title)) or "<" in answer.title:
            found.append(f"the title {answer.title!r} holds more than text and mathematics")
    for part in ("title", "feedback"):
        texts = {" ".join(getattr(answer, part).rstrip(".").split()) for answer in question.answers}
        if len(texts) < len(question.answers):
            found.append(f"two answers have the same {part}")
    return found


def giveaways(questions: list[Question]) -> list[str]:
    """Return by what, other than knowledge, a reader could find the right answers of the whole book."""
    answerable = [question for question in questions if len(question.right) == 1]
    cues: Counter[str] = Counter()
    for question in answerable:
        (place,) = question.right
        lengths = [len(answer.title) for answer in question.answers]
        cues[f"number {place + 1}"] += 1
        if place == len(question.answers) - 1:
            cues["the last"] += 1
        if lengths[place] == max(lengths) and lengths.count(max(lengths)) == 1:
            cues["the longest"] += 1
        if lengths[place] == min(lengths) and lengths.count(min(lengths)) == 1:
            cues["the shortest"] += 1
    return [f"{cue}: {count} of {len(answerable)}" for cue, count in cues.items() if 2 * count > len(answerable)]


def chapters() -> list[Path]:
    return [path for path in notebooks() if path.name[0].isdigit()]


def cells(path: Path) -> list[str]:
    """Return the text of the cells that hold a chapter's questions: one, if all is well."""
    return [cell.source for cell in read(path).cells if cell.id == "questions" and cell.cell_type == "markdown"]


@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_chapter_closes_with_questions(path: Path) -> None:
    (text,) = cells(path)
    assert problems(text) == []
    ids = [cell.id for cell in read(path).cells]
    assert ids[-2:] == ["questions", "end"]


def test_nothing_but_knowledge_finds_the_right_answers() -> None:
    questions = [question for path in chapters() for text in cells(path) for question in questions_in(text)]
    assert giveaways(questions) == []


FEEDBACK = "Here stand twelve words of feedback, and they explain the answer for {}."


def an_answer(title: str, verdict: str = "No") -> str:
    return f":::{{dropdown}} {title}\n**{verdict}.** {FEEDBACK.format(title)}\n:::\n"


def a_question(number: int, right: int = 0, count: int = 3) -> str:
    titles = ("$a < b$", "two", "the third", "four, at last")[:count]
    titles = tuple(title.replace("<", r"\lt") for title in titles)
    answers = [an_answer(title, "Right" if place == right else "No") for place, title in enumerate(titles)]
    return "\n".join([f"**{number}. Which one, and where is `x`?**\n", *answers])


GOOD = "\n".join([OPENING, *(a_question(number, right=number % 3, count=4 - number % 2) for number in (1, 2, 3))])


def test_good_questions_pass() -> None:
    assert problems(GOOD) == []
    assert [question.right for question in questions_in(GOOD)] == [[1], [2], [0]]
    assert [len(question.answers) for question in questions_in(GOOD)] == [3, 4, 3]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (OPENING, "## Questions\n", "does not begin as all do"),
        (OPENING, OPENING + "\nMore.\n", "does not begin as all do"),
        ("**3. ", "**4. ", "not numbered"),
        ("**1. ", "**One.** ", "2 questions, and not 3 to 5"),
        (GOOD, GOOD + "\n".join(["", *(a_question(number) for number in (4, 5, 6))]), "6 questions"),
        (GOOD, "\n".join([OPENING, *(a_question(number) for number in (1, 2, 3))]), "in the same place every time"),
        (GOOD, GOOD + "\n" + an_answer("four") + "\n" + an_answer("five"), "question 3: 5 answers"),
        (an_answer("two"), "", "question 3: 2 answers, and not 3 or 4"),
        ("**No.** Here", "**Right.** Here", "right answers, and not one"),
        ("**Right.** Here", "**No.** Here", "0 right answers"),
        ("**No.** Here", "Here", "begins with neither"),
        ("**No.** Here", "**No**. Here", "begins with neither"),
        ("**No.** Here", "**Nearly.** Here", "begins with neither"),
        ("and they explain the answer for two.", "and no more.", "has 9 words"),
        (FEEDBACK.format("two"), FEEDBACK.format("the third"), "the same feedback"),
        ("{dropdown} two\n", "{dropdown} the  third.\n", "the same title"),
        ("{dropdown} two\n", "{dropdown} the gradient `dx`\n", "more than text"),
        ("{dropdown} two\n", "{dropdown} by {eq}`eq-bn-dx`\n", "more than text"),
        ("{dropdown} two\n", "{dropdown} $m<n$\n", "more than text"),
        ("{dropdown} two\n", "{dropdown} two\n:open:\n", "begins with neither"),
        (":::{dropdown} two\n", ":::{dropdown}\n", "neither question nor answer"),
        (":::{dropdown} two\n", "```{dropdown} two\n", "neither question nor answer"),
        ("`x`?**\n", "`x`?**\n\nThink of a batch.\n", "neither question nor answer"),
        ("`x`?**\n", "`x`?\n", "neither question nor answer"),
        (an_answer("two"), an_answer("two") + "\nThat was the second.\n", "neither question nor answer"),
    ],
)
def test_a_planted_defect_is_found(old: str, new: str, problem: str) -> None:
    assert old in GOOD
    found = problems(GOOD.replace(old, new))
    assert any(problem in one for one in found), found


def planted(places: list[int], lengths: dict[int, int] | None = None) -> list[Question]:
    """Return questions of four answers whose right ones stand at ``places``; the titles have the lengths given."""
    questions = []
    for number, right in enumerate(places):
        titles = ["x" * (lengths or {}).get(place - right, 10) for place in range(4)]
        answers = [
            Answer(title, "**Right.** Yes." if place == right else "**No.**") for place, title in enumerate(titles)
        ]
        questions.append(Question(number, "", answers, ""))
    return questions


@pytest.mark.parametrize(
    ("questions", "found"),
    [
        (planted([0, 1, 2, 3, 0, 1]), []),
        (planted([1, 1, 1, 1, 2, 0]), ["number 2: 4 of 6"]),
        (planted([3, 3, 3, 3, 2, 0]), ["number 4: 4 of 6", "the last: 4 of 6"]),
        (planted([0, 1, 2, 3], {0: 12}), ["the longest: 4 of 4"]),
        (planted([0, 1, 2, 3], {0: 8}), ["the shortest: 4 of 4"]),
        (planted([0, 1, 2, 3], {1: 12, -1: 12}), []),
    ],
    ids=["fair", "same place", "last", "longest", "shortest", "a wrong one is longest"],
)
def test_a_cue_is_found(questions: list[Question], found: list[str]) -> None:
    assert giveaways(questions) == found
