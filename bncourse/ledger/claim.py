"""What an entry of the ledger says, before anything is run."""

from dataclasses import dataclass, field

ARTICLES = {
    "A0": ("The Role of Batch Normalization in Overcoming Common Deep Learning Challenges", "S. Pal"),
    "A1": ("Unleashing the Potential of Deep Learning: Harnessing Batch Normalization", None),
    "A2": ("The Role of Batch Normalization in Overcoming Vanishing and Exploding Gradients", "S. Pal"),
    "A3": ("From Theory to Practice: Implementing Batch Normalization in Deep Learning Models", "S. Pal"),
    "A4": ("The Impact of Batch Normalization on Model Accuracy and Stability", "S. Pal"),
}
"""The popular articles that make the claims: title, and author where one is known."""

ALL_ARTICLES = tuple(ARTICLES)


@dataclass(frozen=True)
class Claim:
    """A claim, and how it is put to the test.

    The texts are MyST Markdown: mathematics stands between dollars, and citations are keys of ``references.bib``.

    Attributes
    ----------
    id : its name in the book, ``C1`` to ``C25``.
    statement : what articles say, in our words, short; a verdict repeats it.
    articles : who says so, keys of :data:`ARTICLES`.
    chapter : where the book argues it, such as ``4.2``.
    literature : what published work says.
    test : what is done.
    estimand : what is estimated, of which the interval is shown.
    smallest : the smallest effect of interest.
    rule : how the numbers become a verdict.
    seeds : how many the recorded run compares; 0 where chance has no part.
    experiment : module below ``bncourse.experiments`` that runs it and has the rule as code.
    """

    id: str
    statement: str
    articles: tuple[str, ...]
    chapter: str
    literature: str = field(repr=False)
    test: str = field(repr=False)
    estimand: str = field(repr=False)
    smallest: str = field(repr=False)
    rule: str = field(repr=False)
    seeds: int
    experiment: str

    @property
    def number(self) -> int:
        """Its place in the ledger."""
        return int(self.id[1:])

    @property
    def part(self) -> int:
        """The part of the book that its chapter belongs to."""
        return int(self.chapter.split(".")[0])

    @property
    def command(self) -> str:
        """What runs its experiment."""
        return f"bncourse claims run {self.id}"
