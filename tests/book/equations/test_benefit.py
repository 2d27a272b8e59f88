"""The equation of chapter 4.2's section on where batch norm helps, both sides evaluated on random input."""

import numpy as np
import pytest

from bncourse.experiments.benefit.summary import growth_per_doubling


@pytest.mark.equation("eq-benefit-growth")
def test_growth_is_two_to_the_mean_slope_of_logarithms():
    """Catches a line through sizes instead of their logarithms, natural for binary ones, and a mean of factors."""
    generator = np.random.default_rng(2)
    sizes, benefit = [125, 250, 700, 1000], generator.uniform(0.5, 4, (4, 7))
    x = [np.log2(size) for size in sizes]
    middle = sum(x) / 4
    slopes = [
        sum((place - middle) * np.log2(b) for place, b in zip(x, column, strict=True))
        / sum((place - middle) ** 2 for place in x)
        for column in benefit.T
    ]
    assert growth_per_doubling(sizes, benefit).estimate == pytest.approx(2 ** (sum(slopes) / 7))
