"""The lean layer against the oracle: any shape and layout, blocks of any size, means far from zero."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bncourse.reference import batch_norm, batch_norm_backward, lean, relative_error
from bncourse.reference.lean import batch_norm_lean, batch_norm_lean_backward
from tests.reference.strategies import Case, cases

pytestmark = pytest.mark.slow


def lean_forward_backward(x, gamma, beta, dy, eps):
    y, cache = batch_norm_lean(x, gamma, beta, eps)
    return [y, *batch_norm_lean_backward(dy, cache)]


def exact(x, gamma, beta, dy, eps):
    wide = [np.asarray(array, np.float64) for array in (x, gamma, beta, dy)]
    y, cache = batch_norm(*wide[:3], eps)
    return [y, *batch_norm_backward(wide[3], cache)]


def random_case(shape, offset=1.0, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    places = (1, shape[1]) + (1,) * (len(shape) - 2)
    x = offset * rng.uniform(0.5, 1.5, places) + rng.uniform(0.5, 2, places) * rng.normal(size=shape)
    gamma, beta = rng.uniform(0.5, 2, shape[1]), rng.normal(size=shape[1])
    dy = 0.5 + 0.3 * x / x.std() + rng.normal(size=shape)
    return Case(*(array.astype(dtype) for array in (x, gamma, beta, dy)), eps=1e-5)


# ROW_LENGTH, BLOCK_BYTES, MAP_SIZE, MAPS_SUMMED: small arrays, worked on as large ones are. In many blocks, the last
# one shorter; in blocks of one row; channel by channel; and that in many pieces.
ARRANGEMENTS = {
    "as it is": (2**13, 2**20, 2**10, 2**8),
    "small blocks": (16, 256, 2**10, 2**8),
    "single rows": (5, 1, 2**10, 2**8),
    "maps apart": (2**13, 2**20, 1, 2**8),
    "maps in pieces": (5, 1, 1, 2),
}


def arrange(patch, arrangement):
    for name, size in zip(
        ("ROW_LENGTH", "BLOCK_BYTES", "MAP_SIZE", "MAPS_SUMMED"), ARRANGEMENTS[arrangement], strict=True
    ):
        assert hasattr(lean, name)
        patch.setattr(lean, name, size)


@pytest.fixture(params=ARRANGEMENTS)
def arrangement(request, monkeypatch):
    arrange(monkeypatch, request.param)


@settings(max_examples=150)
@given(cases(), st.sampled_from(sorted(ARRANGEMENTS)))
def test_it_agrees_with_the_oracle_in_float64(case, arrangement):
    """Catches a block that is skipped or counted twice, and a coefficient written out over the wrong columns."""
    with pytest.MonkeyPatch.context() as patch:
        arrange(patch, arrangement)
        ours = lean_forward_backward(*case)
    std = case.x.std(axis=tuple(axis for axis in range(case.x.ndim) if axis != 1))
    steep = np.abs(case.gamma).max() / np.sqrt(std.min() ** 2 + case.eps) * np.abs(case.dy).sum()
    for one, other in zip(ours, exact(*case), strict=True):
        assert one.shape == other.shape
        assert np.abs(one - other).max() <= 1e-11 * max(np.abs(other).max(), steep)


@pytest.mark.usefixtures("arrangement")
@pytest.mark.parametrize("shape", [(33, 5), (7, 3, 11), (5, 3, 4, 6), (64, 2, 33, 32)])
@pytest.mark.parametrize("offset", [0.0, 1.0, 3.9, -100.0, 1e4, -1e6])
def test_float32_is_right_to_rounding_however_far_the_mean(shape, offset):
    """Catches E[x²] - E[x]² without its guard, or with one for positive means: at 100 it has lost three digits.

    At a million a mean rounded to float32 is off by hundredths of the spread, and has to be corrected for.
    """
    case = random_case(shape, offset)
    for one, other in zip(lean_forward_backward(*case), exact(*case), strict=True):
        assert one.dtype == np.float32
        assert relative_error(one, other) < 1e-6


@pytest.mark.parametrize("shape", [(1, 1, 2**22), (2**16, 3), (2**10, 1, 32, 32), (7, 2**15), (2, 400, 31, 31)])
def test_float32_is_right_to_rounding_however_large_the_batch(shape):
    """Catches sums that run through all of it in float32: at 4 million values of one channel they lose two digits."""
    case = random_case(shape)
    for one, other in zip(lean_forward_backward(*case), exact(*case), strict=True):
        assert relative_error(one, other) < 1e-6


@pytest.mark.parametrize("shape", [(64, 40), (64, 2, 33, 32)])
@pytest.mark.parametrize("offset", [0.2, 1e4])
def test_far_means_are_subtracted_and_near_ones_cost_no_operation(shape, offset):
    """Both branches of the guard are taken: the other tests would also pass if every batch were shifted."""
    _, cache = batch_norm_lean(*random_case(shape, offset)[:3])
    if len(shape) == 2:
        assert (cache.shift is None) == (offset == 0.2)
    else:
        assert (cache.mean == 0).all() == (offset == 0.2)


def test_no_sum_in_float32_is_longer_than_some_hundred_values():
    """The accuracy of sums down the rows rests on the relation of these constants."""
    assert lean.BLOCK_BYTES // (lean.ROW_LENGTH * np.float32().itemsize) <= 2**8
    assert lean.MAPS_SUMMED <= 2**8


def test_it_is_right_where_torch_is_not():
    """The sums of torch's layer run through 65 536 rows in float32."""
    case = random_case((2**16, 8), 1e4)
    y, *_ = exact(*case)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    theirs = torch.nn.functional.batch_norm(
        torch.tensor(case.x), None, None, torch.tensor(case.gamma), torch.tensor(case.beta), training=True
    ).numpy()
    torch.set_num_threads(threads)
    assert relative_error(lean_forward_backward(*case)[0], y) < 1e-6
    assert relative_error(theirs, y) > 1e-2


def test_values_whose_squares_overflow_are_shifted_first():
    """Catches a variance of infinity taken for a variance: y would be beta everywhere."""
    case = random_case((40, 3))
    x = case.x * np.float32(1e18) + np.float32(3e19)
    with np.errstate(over="ignore"):
        assert np.isinf(np.square(x)).all()
    ours = lean_forward_backward(x, *case[1:])
    for one, other in zip(ours, exact(x, *case[1:]), strict=True):
        assert relative_error(one, other) < 1e-6


@pytest.mark.parametrize("shape", [(40, 3), (2, 2, 40, 40)])
def test_a_spread_whose_square_overflows_is_not_passed_over_in_silence(shape):
    case = random_case(shape, 0.0)
    with pytest.warns(RuntimeWarning, match="overflow"):
        batch_norm_lean(case.x * np.float32(1e20), case.gamma, case.beta)


@pytest.mark.parametrize("shape", [(6, 4), (3, 2, 40, 40)])
def test_a_constant_feature_becomes_beta_and_a_nan_stays_in_its_feature(shape):
    case = random_case(shape)
    x = case.x.copy()
    x[:, 0], x[0, 1] = 7.0, np.nan
    y, _ = batch_norm_lean(x, case.gamma, case.beta, 1e-30)
    np.testing.assert_allclose(y[:, 0], case.beta[0], rtol=1e-6)
    assert np.isnan(y[:, 1]).all()
    assert np.isfinite(np.delete(y, 1, axis=1)).all()


@pytest.mark.parametrize("shape", [(50, 6), (3, 2, 40, 40)])
@pytest.mark.parametrize("offset", [1.0, 100.0])
def test_nothing_is_changed_and_the_cache_copies_nothing(shape, offset):
    """Read-only inputs: a result that goes into one of them, or into the cache's x, raises."""
    case = random_case(shape, offset)
    for array in case[:4]:
        array.flags.writeable = False
    y, cache = batch_norm_lean(*case[:3])
    first = batch_norm_lean_backward(case.dy, cache)
    assert cache.x is case.x
    assert not np.shares_memory(y, case.x)
    for one, other in zip(first, batch_norm_lean_backward(case.dy, cache), strict=True):
        np.testing.assert_array_equal(one, other)


def test_bad_input_is_named():
    case = random_case((8, 3))
    x, gamma, beta, dy, _ = case
    with pytest.raises(TypeError, match=r"expected x in float32 or float64, got float16"):
        batch_norm_lean(x.astype(np.float16), gamma, beta)
    with pytest.raises(TypeError, match=r"expected x in float32 or float64, got (longdouble|float128)"):
        batch_norm_lean(x.astype(np.longdouble), gamma, beta)
    with pytest.raises(ValueError, match=r"expected gamma of shape \(3,\)"):
        batch_norm_lean(x, gamma[:2], beta)
    with pytest.raises(ValueError, match="more than one value per feature"):
        batch_norm_lean(x[:1], gamma, beta)
    with pytest.raises(ValueError, match="expected eps > 0"):
        batch_norm_lean(x, gamma, beta, 0.0)
    _, cache = batch_norm_lean(x, gamma, beta)
    with pytest.raises(TypeError, match="expected dy of the dtype of x, float32, got float64"):
        batch_norm_lean_backward(dy.astype(np.float64), cache)
    with pytest.raises(ValueError, match=r"expected dy of the shape of x, \(8, 3\), got \(7, 3\)"):
        batch_norm_lean_backward(dy[1:], cache)
