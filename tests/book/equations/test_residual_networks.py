"""The equations of chapter 6.2: recursions and laws of random walks against networks, paths and simulations."""

import math
from functools import cache

import numpy as np
import pytest
import torch
from scipy.special import binom

from bncourse.lab import MLPEnsemble, Stream, measure
from bncourse.reference import batch_norm

pytestmark = pytest.mark.slow


@cache
def wide_stream(batch_norm, width=400, depth=6, batch=150, **options):
    """What the probe reads of wide networks on normal inputs, averaged over them."""
    generator = np.random.default_rng(3)
    seeds = range(6)
    x = torch.from_numpy(generator.standard_normal((len(seeds), batch, width), dtype=np.float32))
    y = torch.zeros(len(seeds), batch, dtype=torch.long)
    network = MLPEnsemble((width, *(width,) * depth, 10), seeds, batch_norm, residual="pre", **options)
    return {quantity: values.mean(axis=0) for quantity, values in measure(Stream(), network, x, y).items()}


def walks(draw, paths, steps, seed=0):
    """Heights (paths, steps + 1) of sums of independent draws, from 0 on."""
    draws = draw(np.random.default_rng(seed), (paths, steps))
    return np.concatenate([np.zeros((paths, 1)), np.cumsum(draws, axis=1)], axis=1)


@pytest.mark.equation("eq-block-sum")
def test_the_squares_of_identity_and_branch_add_up_over_fresh_weights():
    """Catches a branch without its factor's square; h has a mean, and is far from any symmetry."""
    rng, alpha = np.random.default_rng(0), 0.6
    h = rng.exponential(2, (30, 12)) - 0.5
    f = np.einsum("wij,jb->wib", rng.normal(0, 0.4, (20_000, 30, 30)), np.maximum(h, 0))
    squares = np.square(h + alpha * f).mean(axis=(1, 2))
    told = np.square(h).mean() + alpha**2 * np.square(f).mean()
    assert squares.mean() == pytest.approx(told, abs=6 * squares.std() / math.sqrt(len(squares)))


@pytest.mark.equation("eq-stream-growth")
@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_the_stream_doubles_without_batch_norm_and_gains_one_with_it(alpha):
    """Of wide networks at He's scale; catches alpha for its square, and a gain of 2 or of 1 - 1 / pi."""
    none, normalized = (wide_stream(arm, branch_scale=alpha)["stream_square"] for arm in (False, True))
    np.testing.assert_allclose(none[1:] / none[:-1], 1 + alpha**2, rtol=0.04)
    np.testing.assert_allclose(normalized[1:] - normalized[:-1], alpha**2, rtol=0.04)


@pytest.mark.equation("eq-branch-share")
@pytest.mark.parametrize("options", [{}, {"sum_scale": 0.5**0.5}, {"branch_scale": 0.5}])
def test_shares_of_the_branches(options):
    """As the probe measures them; dividing the sums changes nothing. q_1 is 2: normal inputs and He's
    variance. Tolerance: the spread over networks of this width."""
    alpha = options.get("branch_scale", 1.0)
    np.testing.assert_allclose(wide_stream(False, **options)["branch_share"], alpha**2 / (1 + alpha**2), rtol=0.06)
    if "sum_scale" not in options:
        told = alpha**2 / (2 + np.arange(1, 6) * alpha**2)
        np.testing.assert_allclose(wide_stream(True, **options)["branch_share"], told, rtol=0.06)


@pytest.mark.equation("eq-layers-passed")
def test_expected_passages_are_those_of_all_paths():
    """In a linear network, whose signal can be taken apart: the part that has passed n of the branches, for each n.

    Branches have unequal sizes, so that a wrong order of the shares would show.
    """
    rng, width, alphas = np.random.default_rng(1), 12, (1.0, 0.5, 0.8, 0.3)
    squares = np.zeros(len(alphas) + 1)
    start = rng.normal(size=width)
    for _ in range(4000):
        parts = np.zeros((len(alphas) + 1, width))
        parts[0] = start
        for alpha in alphas:
            weight = rng.normal(0, width**-0.5, (width, width))
            parts[1:] = parts[1:] + alpha * parts[:-1] @ weight.T
        squares += np.square(parts).sum(axis=1)
    passed = np.arange(len(squares)) @ squares / squares.sum()
    assert passed == pytest.approx(sum(alpha**2 / (1 + alpha**2) for alpha in alphas), rel=0.02)


@pytest.mark.equation("eq-layers-passed")
def test_with_batch_norm_the_passages_grow_like_a_logarithm():
    """Of networks, and of the sum itself at other starts and depths; catches ln L, 27 % off at 64 layers."""
    for first, depth in ((1.0, 20), (2.0, 64), (2.0, 1000)):
        exact = np.sum(1 / (first + np.arange(1, depth)))
        assert math.log((first + depth - 0.5) / (first + 0.5)) == pytest.approx(exact, rel=0.01)
    measured = wide_stream(True, width=128, depth=64)["branch_share"].sum()
    assert measured == pytest.approx(np.sum(1 / (2 + np.arange(1, 64))), rel=0.05)
    assert np.sum(wide_stream(False)["branch_share"]) == pytest.approx(5 / 2, rel=0.05)


@pytest.mark.equation("eq-branch-cosine")
@pytest.mark.parametrize("cosine", [-0.6, 0.1, 0.9])
def test_cosine_after_a_block(cosine):
    """Two streams of equal length, one wide block; catches k without its c, and arccos for pi - arccos."""
    rng, width, alpha = np.random.default_rng(2), 3000, 0.7
    first, other = rng.normal(size=(2, width))
    h = np.stack([first, cosine * first + math.sqrt(1 - cosine**2) * other])
    h += alpha * np.maximum(h, 0) @ rng.normal(0, math.sqrt(2 / width), (width, width))
    measured = h[0] @ h[1] / np.linalg.norm(h[0]) / np.linalg.norm(h[1])
    r = alpha**2 / (1 + alpha**2)
    k = (math.sqrt(1 - cosine**2) + cosine * (math.pi - math.acos(cosine))) / math.pi
    assert measured == pytest.approx((1 - r) * cosine + r * k, abs=0.04)
    assert k > cosine


@pytest.mark.equation("eq-post-walk")
def test_a_walk_that_is_set_back_is_its_height_above_its_minimum():
    heights = walks(lambda rng, size: rng.normal(-0.3, 2, size), 50, 40)
    h = np.zeros(50)
    for step in range(1, 41):
        h = np.maximum(0, h + heights[:, step] - heights[:, step - 1])
        np.testing.assert_allclose(h, heights[:, step] - heights[:, : step + 1].min(axis=1), atol=1e-12)


@pytest.mark.equation("eq-post-mean")
def test_mean_height_of_the_walk():
    """Simulated with normal steps, at three lengths; the root is its limit."""
    paths = walks(lambda rng, size: rng.normal(size=size), 40_000, 60, seed=4)
    for length in (1, 7, 60):
        heights = paths[:, length] - paths[:, : length + 1].min(axis=1)
        told = sum(1 / math.sqrt(2 * math.pi * k) for k in range(1, length + 1))
        assert heights.mean() == pytest.approx(told, abs=5 * heights.std() / math.sqrt(len(heights)))
    far = sum(1 / math.sqrt(2 * math.pi * k) for k in range(1, 10_001))
    assert far == pytest.approx(math.sqrt(2 * 10_000 / math.pi), rel=0.01)


def straight_share(layer: int, top: int) -> float:
    u = binom(2 * np.arange(top + 1), np.arange(top + 1)) / 4.0 ** np.arange(top + 1)
    return sum(u[k] * u[top - k] for k in range(layer + 1))


@pytest.mark.equation("eq-straight-share")
@pytest.mark.parametrize("draw", [np.random.Generator.normal, np.random.Generator.laplace], ids=["normal", "laplace"])
def test_share_of_walks_that_are_never_set_back_again(draw):
    """The same for two kinds of steps; catches layers counted from one end too far, 3 % and more here."""
    paths = walks(lambda rng, size: draw(rng, size=size), 60_000, 12, seed=5)
    h = np.zeros(len(paths))
    back = np.zeros((len(paths), 13), dtype=bool)
    for step in range(1, 13):
        h = h + paths[:, step] - paths[:, step - 1]
        back[:, step] = h < 0
        h = np.maximum(h, 0)
    for layer in (1, 5, 11):
        never = ~back[:, layer + 1 :].any(axis=1)
        assert never.mean() == pytest.approx(straight_share(layer, 12), abs=5 * 0.5 / math.sqrt(len(never)))


@pytest.mark.equation("eq-straight-share")
@pytest.mark.parametrize("layer", [20, 250, 400])
def test_the_arcsine_is_its_limit(layer):
    assert straight_share(layer, 500) == pytest.approx(2 / math.pi * math.asin(math.sqrt(layer / 500)), abs=0.01)


@pytest.mark.equation("eq-pre-gradient")
def test_the_gradient_at_the_top_arrives_whole_at_every_layer():
    """By autograd, block by block: catches a Jacobian that is applied to the wrong layer's gradient."""
    generator = torch.Generator().manual_seed(6)
    weights = torch.randn(4, 7, 7, dtype=torch.float64, generator=generator) / 2
    stream = [torch.randn(7, dtype=torch.float64, generator=generator, requires_grad=True)]
    for weight in weights:
        stream.append(stream[-1] + weight @ torch.tanh(stream[-1]))
    gradients = torch.autograd.grad(torch.sin(stream[-1]).sum(), stream)
    jacobians = [weight * (1 - torch.tanh(h) ** 2) for weight, h in zip(weights, stream[:-1], strict=True)]
    for layer in range(4):
        told = gradients[-1] + sum(jacobians[k].T @ gradients[k + 1] for k in range(layer, 4))
        torch.testing.assert_close(gradients[layer], told)


@pytest.mark.equation("eq-zero-gamma")
def test_gradients_of_a_block_whose_last_gamma_is_zero():
    """By autograd through h + gamma BN(W h) and ReLU; x_hat from the reference. Catches a mean in place of the sum."""
    rng = np.random.default_rng(7)
    h, weights = np.abs(rng.normal(2, 1, (20, 5))) * (rng.random((20, 5)) > 0.3), rng.normal(size=(5, 5))
    arriving = rng.normal(1, 2, (20, 5))
    weight = torch.from_numpy(weights).requires_grad_()
    gamma, beta = (torch.zeros(5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    branch = torch.nn.functional.batch_norm(torch.from_numpy(h) @ weight.T, None, None, gamma, beta, training=True)
    out = torch.relu(torch.from_numpy(h) + branch)
    torch.testing.assert_close(out.detach(), torch.from_numpy(h))
    found = torch.autograd.grad((out * torch.from_numpy(arriving)).sum(), (gamma, weight))
    x_hat = batch_norm(h @ weights.T, np.ones(5), np.zeros(5))[1].x_hat
    d = arriving * (h > 0)
    np.testing.assert_allclose(found[0].numpy(), (d * x_hat).sum(axis=0), rtol=1e-9)
    assert not found[1].any()
