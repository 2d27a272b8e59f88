"""The kernels against float64 in Triton's interpreter, over all pairs of what a batch can be."""

import pytest

from tests.kernels.cases import Case, cases, check

CASES, IMPOSSIBLE = cases()


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")  # of values behind a mask, which nobody stores
def test_kernels_agree_with_float64_and_stay_within_their_arrays(case: Case):
    check(case)


def test_only_pairs_that_cannot_be_are_left_out():
    """Catches a choice of cases that drops what is hard, or what is slow beyond the largest feature maps."""
    assert {
        *((("layout", "N C"), ("positions", positions)) for positions in (7, 49, 196, 3136)),
        (("training", False), ("running", False)),
        *((("channels", channels), ("positions", 3136)) for channels in (40, 64, 129)),
        (("positions", 3136), ("examples", 33)),
    } == IMPOSSIBLE
