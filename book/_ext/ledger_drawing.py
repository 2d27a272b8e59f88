"""An effect with its interval, as a drawing inside a page: it stretches with the page, its text does not."""

from html import escape

from bncourse.results.verdicts import Effect

HEIGHT = 64
MARGIN = 0.06


def drawing(effect: Effect) -> str:
    """Return the effect's name and numbers, and a line with its interval, the value of no effect, and the smallest one.

    Positions are percentages, so that the drawing is as wide as the page and its letters have the page's size.
    """
    values = [effect.low, effect.estimate, effect.high, effect.no_effect, effect.smallest]
    scaled = [effect.scale(value) for value in values]
    start, width = min(scaled), (max(scaled) - min(scaled)) or 1.0

    def x(value: float) -> float:
        return 100 * (MARGIN + (1 - 2 * MARGIN) * (effect.scale(value) - start) / width)

    low, estimate, high, no_effect, smallest = (f"{x(value):.2f}%" for value in values)
    kind, neutral = ("95 % interval", "no effect") if effect.seeds else ("range over the sweep", "as claimed")
    no_effect_label = f"{neutral}: {effect.no_effect:g}"
    smallest_label = f"smallest of interest: {effect.smallest:.3g}"
    spoken = f"{effect.name}: {effect}, {kind}; {no_effect_label}; {smallest_label}"
    middle = HEIGHT / 2
    lines = [
        paragraph("claim-effect", f"{effect.name}: {effect}"),
        f'<svg class="claim-drawing" role="img" aria-label="{escape(spoken)}" width="100%" height="{HEIGHT}">',
        f'<line class="claim-axis" x1="0" x2="100%" y1="{middle}" y2="{middle}"/>',
        f'<line class="claim-no-effect" x1="{no_effect}" x2="{no_effect}" y1="18" y2="{middle + 8}"/>',
        f'<line class="claim-smallest" x1="{smallest}" x2="{smallest}" y1="{middle - 8}" y2="{HEIGHT - 16}"/>',
        f'<line class="claim-interval" x1="{low}" x2="{high}" y1="{middle}" y2="{middle}"/>',
        f'<circle class="claim-estimate" cx="{estimate}" cy="{middle}" r="5"/>',
        text(x(effect.no_effect), 12, no_effect_label),
        text(x(effect.smallest), HEIGHT - 3, smallest_label),
        "</svg>",
    ]
    return "\n".join(lines)


def text(x: float, y: float, content: str) -> str:
    """Return a label that stays inside the drawing."""
    anchor = "start" if x < 30 else "end" if x > 70 else "middle"
    return f'<text x="{x:.2f}%" y="{y}" text-anchor="{anchor}">{escape(content)}</text>'


def paragraph(kind: str, content: str) -> str:
    """Return a paragraph of plain text."""
    return f'<p class="{kind}">{escape(content)}</p>'
