"""The equations of chapter 7.4: statistics of another domain, kept, taken anew and mixed."""

import numpy as np
import pytest
import torch

from bncourse.experiments.new_domain.adaptation import adapt
from bncourse.lab import MLPEnsemble
from bncourse.reference import batch_norm, batch_norm_inference

RNG = np.random.default_rng(7)
H = RNG.gamma(2, 3, (400, 5)) + np.array([4, 2, 0.5, 9, 1])
"""Values of five units for 400 images: skewed, with means far from 0."""


def standardized(values):
    return (values - values.mean(axis=0)) / values.std(axis=0)


@pytest.mark.equation("eq-affine-undone")
@pytest.mark.parametrize("sign", [1, -1])
def test_new_statistics_undo_an_affine_change_up_to_its_sign(sign):
    """Catches a result that keeps the scale, and one without the sign."""
    a, b = sign * np.array([0.3, 2.0, 1.4, 5.0, 0.7]), RNG.normal(0, 4, 5)
    new, _ = batch_norm(a * H + b, np.ones(5), np.zeros(5), eps=1e-12)
    np.testing.assert_allclose(new, sign * standardized(H), rtol=1e-9, atol=1e-9)


def test_a_common_factor_and_a_pattern_of_the_pixels_are_affine_in_every_unit():
    """The unlabelled step; catches gains that differ from pixel to pixel, which are not."""
    x, w, pattern = RNG.normal(1, 2, (300, 6)), RNG.normal(0, 1, (6, 4)), RNG.normal(0, 3, 6)
    before = standardized(x @ w)
    np.testing.assert_allclose(standardized((0.4 * x + pattern) @ w), before, rtol=1e-9, atol=1e-9)
    gains = np.array([0.2, 0.5, 1, 1.5, 2, 3])
    assert np.abs(standardized((gains * x) @ w) - before).max() > 0.5


@pytest.mark.equation("eq-shift-scale-shape")
def test_the_error_of_kept_statistics_has_three_parts():
    """Both sides from samples, exactly; the left one by the layer itself. Catches a shape without its factor r."""
    new = 0.6 * H**1.3 + RNG.normal(0, 3, H.shape) - 5
    mean, deviation = H.mean(axis=0), H.std(axis=0)
    kept = batch_norm_inference(new, mean, deviation**2, np.ones(5), np.zeros(5), eps=1e-12)
    error = np.square(kept - standardized(H)).mean(axis=0)
    shift, scale = (new.mean(axis=0) - mean) / deviation, new.std(axis=0) / deviation
    rho = np.array([np.corrcoef(*pair)[0, 1] for pair in zip(H.T, new.T, strict=True)])
    np.testing.assert_allclose(error, shift**2 + (scale - 1) ** 2 + 2 * scale * (1 - rho), rtol=1e-9)
    left = np.square(standardized(new) - standardized(H)).mean(axis=0)
    np.testing.assert_allclose(left, 2 * (1 - rho), rtol=1e-12)


@pytest.mark.equation("eq-noise-correlation")
def test_independent_noise_leaves_one_over_the_scale():
    """Of units of correlated pixels. Catches the variance of one weight, and a correlation of 1 / r²."""
    pixels = RNG.normal(0, 1, (200_000, 4)) @ RNG.normal(0, 1, (4, 4))
    w, s = np.array([0.5, -1.2, 0.3, 0.9]), 1.7
    h, new = pixels @ w, (pixels + s * RNG.normal(0, 1, pixels.shape)) @ w
    assert new.var() == pytest.approx(h.var() + s**2 * (w @ w), rel=0.02)
    assert np.corrcoef(h, new)[0, 1] == pytest.approx(h.std() / new.std(), rel=0.02)


@pytest.mark.equation("eq-prior-mix")
def test_the_prior_counts_as_so_many_images():
    """What the experiment's networks mix, in their first layer. Catches shares that are exchanged."""
    network = MLPEnsemble((6, 5, 3), (1,), batch_norm=True)
    norm = network.layers[0].norm
    source = torch.from_numpy(RNG.normal(0, 2, (1, 5))).float()
    norm.running_mean.copy_(source)
    x, prior = torch.from_numpy(RNG.normal(3, 1, (1, 8, 6))).float(), 24
    h = (network.layers[0].linear.weight.detach() @ x.mT)[0]
    adapt(network, x, prior)
    expected = (24 * source[0] + 8 * h.mean(dim=1)) / 32
    torch.testing.assert_close(norm.running_mean[0], expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(norm.running_var[0], (24 + 8 * h.var(dim=1, correction=0)) / 32, rtol=1e-5, atol=1e-5)


@pytest.mark.equation("eq-best-prior")
@pytest.mark.parametrize("n", [3, 20])
def test_the_best_prior_depends_on_the_shift_alone(n):
    """The error over many samples, at the best prior and on both sides of it. Catches the deviation for the variance,
    and a prior that grows with n."""
    rng = np.random.default_rng(n)
    source, new_mean, deviation = 1.0, 2.5, 3.0
    best = deviation**2 / (source - new_mean) ** 2
    means = rng.normal(new_mean, deviation, (400_000, n)).mean(axis=1)

    def error(prior):
        return np.square((prior * source + n * means) / (prior + n) - new_mean).mean()

    told = (best**2 * (source - new_mean) ** 2 + n * deviation**2) / (best + n) ** 2
    assert error(best) == pytest.approx(told, rel=0.01)
    assert error(best) < min(error(best / 2), error(2 * best))
    priors = np.linspace(0.1, 12, 600)
    assert priors[np.argmin([error(prior) for prior in priors[::10]]) * 10] == pytest.approx(best, rel=0.1)
