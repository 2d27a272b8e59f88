"""The digits of other domains: what each corruption does to a pixel, and which of them batch statistics undo."""

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter

from bncourse.lab import MLPEnsemble, corrupted_digits, digits
from bncourse.lab.corruptions import CORRUPTIONS
from bncourse.lab.data import digit_images

CLEAN = digit_images()


def pixels(name: str) -> np.ndarray:
    """The corrupted pixels, made anew from the standardized ones: (1797, 8, 8)."""
    split = corrupted_digits(name)
    training_pixels = CLEAN.pixels[CLEAN.rows["train"]]
    mean = training_pixels.mean(axis=0)
    scale = np.sqrt(((training_pixels - mean) ** 2).mean())
    found = np.empty_like(CLEAN.pixels)
    for part, rows in CLEAN.rows.items():
        found[rows] = getattr(split, f"{part}_x").double().numpy() * scale + mean
    return found.reshape(-1, 8, 8)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_images_stay_in_their_parts_with_their_labels(name):
    """Catches pixels that are centred by their own domain's mean, which would undo half of the change."""
    new, clean = corrupted_digits(name), digits()
    for part in ("train", "validation", "test"):
        assert torch.equal(getattr(new, f"{part}_y"), getattr(clean, f"{part}_y"))
        x = getattr(new, f"{part}_x")
        assert x.shape == getattr(clean, f"{part}_x").shape
        assert x.dtype == torch.float32
    corrupted_digits.cache_clear()
    assert torch.equal(corrupted_digits(name).test_x, new.test_x)


def test_what_each_does_to_an_image():
    clean = CLEAN.pixels.reshape(-1, 8, 8)
    close = {"rtol": 0, "atol": 1e-4}  # of float32, with values up to 50
    np.testing.assert_allclose(pixels("haze"), 0.3 * clean + 6, **close)
    np.testing.assert_allclose(pixels("negative"), 16 - clean, **close)
    shade = pixels("shade") - clean
    np.testing.assert_allclose(shade[:, :, [0, 7]], np.broadcast_to([0.0, 16.0], (1797, 8, 2)), **close)
    np.testing.assert_allclose(np.diff(shade, axis=2), 16 / 7, **close)
    np.testing.assert_allclose(pixels("glare"), (clean + 10).clip(max=16), **close)
    np.testing.assert_allclose(pixels("blur"), uniform_filter(clean, (0, 3, 3), mode="constant"), **close)
    moved = pixels("move")
    np.testing.assert_allclose(moved[:, :, 1:], clean[:, :, :-1], **close)
    np.testing.assert_allclose(moved[:, :, 0], 0, **close)


def test_exposure_has_a_factor_for_each_image():
    clean = CLEAN.pixels.reshape(-1, 8, 8)
    factor = pixels("exposure").max(axis=(1, 2)) / clean.max(axis=(1, 2))
    np.testing.assert_allclose(pixels("exposure"), factor[:, None, None] * clean, rtol=0, atol=1e-4)
    assert 0.1249 < factor.min() < factor.max() < 1.0001
    assert np.log2(factor).mean() == pytest.approx(-1.5, abs=0.1)
    assert np.log2(factor).std() == pytest.approx(3 / 12**0.5, abs=0.1)


def test_noise_is_independent_in_each_pixel():
    added = (pixels("noise") - CLEAN.pixels.reshape(-1, 8, 8)).reshape(-1, 64)
    assert added.std() == pytest.approx(6, rel=0.02)
    assert added.mean() == pytest.approx(0, abs=0.1)
    correlation = np.corrcoef(added.T) - np.eye(64)
    assert np.abs(correlation).max() < 0.15


def test_batch_statistics_undo_haze_and_shade_and_nothing_else():
    network = MLPEnsemble((64, 30, 20, 10), (1, 2), batch_norm=True).train()
    with torch.no_grad():
        logits = {
            name: network(data.test_x.expand(2, -1, -1))
            for name, data in [("clean", digits()), *((name, corrupted_digits(name)) for name in CORRUPTIONS)]
        }
    clean = logits.pop("clean")
    off = {name: ((other - clean).square().mean() / clean.var()).item() for name, other in logits.items()}
    assert {name for name, value in off.items() if value < 1e-4} == {"haze", "shade"}
    assert min(value for name, value in off.items() if name not in ("haze", "shade")) > 0.02


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match=r"one of the corruptions haze, shade, .* got 'fog'"):
        corrupted_digits("fog")
