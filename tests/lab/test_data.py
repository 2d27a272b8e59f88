"""The split of the digits, fixed for ever, in proportion, without overlap; and the clusters, fixed likewise."""

import hashlib

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from bncourse.lab import clusters, digits, with_noisy_labels
from bncourse.lab.data import split_indices

PIXELS, LABELS = load_digits(return_X_y=True)


@pytest.mark.parametrize(
    ("part", "size", "checksum"),
    [
        ("train", 1000, "3c3353b3556aaf8a"),
        ("validation", 297, "7d6e997bbb356658"),
        ("test", 500, "4893011f5ba7b853"),
    ],
)
def test_the_split_is_the_one_that_the_recorded_results_were_made_with(part, size, checksum):
    rows = split_indices(LABELS)[part]
    assert len(rows) == size
    assert hashlib.sha256(",".join(map(str, rows.tolist())).encode()).hexdigest()[:16] == checksum


def test_every_row_is_in_exactly_one_part():
    rows = np.concatenate(list(split_indices(LABELS).values()))
    assert sorted(rows.tolist()) == list(range(len(LABELS)))


def test_every_part_holds_each_class_in_its_share():
    """Catches a split that follows the order of the file, or the labels."""
    share = np.bincount(LABELS) / len(LABELS)
    for rows in split_indices(LABELS).values():
        assert np.abs(np.bincount(LABELS[rows]) - share * len(rows)).max() <= 1.5


def test_consecutive_images_come_apart():
    """Neighbours in the file are one writer's; a part that takes every k-th image, or a run of them, is no sample."""
    rows = split_indices(LABELS)["test"]
    gaps = np.diff(rows)
    assert len(np.unique(gaps)) > 8
    assert gaps.max() < 40


def test_labels_stay_with_their_images():
    data, rows = digits(), split_indices(LABELS)["validation"]
    assert data.validation_y.tolist() == LABELS[rows].tolist()
    correlation = [
        np.corrcoef(a, b)[0, 1] for a, b in zip(data.validation_x.numpy().T[9:15], PIXELS[rows].T[9:15], strict=True)
    ]
    assert min(correlation) > 0.9999


def test_the_training_part_alone_sets_mean_and_scale():
    """Catches statistics that have seen the validation or test images."""
    data = digits()
    assert data.train_x.mean(dim=0).abs().max() < 1e-6
    assert data.train_x.square().mean().item() == pytest.approx(1, abs=1e-5)
    for x in (data.validation_x, data.test_x):
        assert x.mean(dim=0).abs().max() > 0.01
        assert abs(x.square().mean().item() - 1) > 1e-4


def test_empty_pixels_stay_finite_and_small():
    data = digits()
    for x in (data.train_x, data.validation_x, data.test_x):
        assert x.dtype == torch.float32
        assert x.abs().max() < 5


def test_other_labels_are_refused():
    with pytest.raises(ValueError, match="expected 1797 labels, one for each row of the parts, got 3"):
        split_indices(np.array([0, 1, 2]))


def test_the_clusters_are_the_ones_that_were_recorded():
    """NumPy may change a generator's stream one day: then this says so, and not a verdict."""
    data = clusters()
    assert [len(y) for y in (data.train_y, data.validation_y, data.test_y)] == [512, 1000, 4000]
    labels = [hashlib.sha256(bytes(y.tolist())).hexdigest()[:8] for y in (data.train_y, data.validation_y, data.test_y)]
    assert labels == ["3ec96e0a", "26e7850f", "ec582c44"]
    values = [float(x[7, 3]) for x in (data.train_x, data.validation_x, data.test_x)]
    assert values == pytest.approx([0.807806, 1.375474, 0.957936], abs=1e-5)


def test_clusters_have_the_distribution_that_they_state():
    """Centres are recovered as means of many points of one class's six; the noise is what remains around them."""
    data = clusters(examples=200_000)
    assert data.train_x.shape == (200_000, 20)
    assert np.bincount(data.train_y).min() > 0.09 * 200_000
    variance = 0.45**2 * 20 / 4
    centres = np.random.default_rng([0, 0, 0, 1]).standard_normal((60, 20))
    # A feature's variance, before it is standardized, is that of its sixty centres and the noise's.
    deviation = np.sqrt(centres.var(axis=0) + variance)
    points = data.train_x.numpy() * deviation + centres.mean(axis=0)
    distance = np.linalg.norm(points[:3000, None] - centres, axis=-1)
    nearest = distance.argmin(axis=1)
    assert (nearest % 10 == data.train_y[:3000].numpy()).mean() > 0.9
    own = np.arange(60)[None] % 10 == data.train_y[:3000].numpy()[:, None]
    residual = np.where(own, distance, np.inf).min(axis=1) ** 2
    assert residual.mean() / 20 == pytest.approx(variance, rel=0.05)


def test_a_smaller_training_part_is_the_beginning_of_a_larger_one_and_the_test_part_stays():
    small, large = clusters(examples=100), clusters(examples=300)
    assert small.train_y.tolist() == large.train_y[:100].tolist()
    assert small.test_y.tolist() == large.test_y.tolist()
    # Each is standardized by its own training part: up to that, the points are the same.
    for feature in range(3):
        assert np.corrcoef(small.train_x[:, feature], large.train_x[:100, feature])[0, 1] > 0.99999
    for data in (small, large):
        assert data.train_x.mean(dim=0).abs().max() < 1e-6
        assert (data.train_x.std(dim=0, correction=0) - 1).abs().max() < 1e-5
        assert data.validation_x.mean(dim=0).abs().max() > 1e-3


def test_another_seed_is_another_task_and_no_part_repeats_another():
    assert clusters(seed=1).test_y.tolist() != clusters().test_y.tolist()
    data = clusters(examples=1000)
    assert data.train_y.tolist() != data.validation_y.tolist()
    assert data.test_y[:1000].tolist() != data.validation_y.tolist()


@pytest.mark.parametrize("load", [digits, clusters])
def test_noisy_labels_are_drawn_from_all_classes_in_the_training_part_alone(load):
    clean, noisy = load(), load(noisy_labels=0.4)
    changed = (clean.train_y != noisy.train_y).double().mean().item()
    assert changed == pytest.approx(0.4 * 0.9, abs=0.05)
    assert np.bincount(noisy.train_y[clean.train_y != noisy.train_y], minlength=10).min() > 5
    rows = torch.nonzero(clean.train_y != noisy.train_y)[:, 0] / len(clean.train_y)
    assert np.histogram(rows, bins=4, range=(0, 1))[0].min() > 0.15 * len(rows)
    assert torch.equal(noisy.validation_y, clean.validation_y)
    assert torch.equal(noisy.test_y, clean.test_y)
    assert torch.equal(noisy.train_x, clean.train_x)
    assert torch.equal(load().train_y, clean.train_y)


def test_more_noise_keeps_the_labels_that_less_noise_changed():
    clean, some, more = digits(), digits(noisy_labels=0.2), digits(noisy_labels=0.5)
    changed = clean.train_y != some.train_y
    assert torch.equal(some.train_y[changed], more.train_y[changed])
    assert (clean.train_y != more.train_y).sum() > changed.sum()


def test_all_labels_noisy_leaves_a_tenth_right():
    right = (with_noisy_labels(clusters(examples=5000), 1.0).train_y == clusters(examples=5000).train_y).double()
    assert right.mean().item() == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("share", [-0.1, 1.01, float("nan")])
def test_what_is_no_share_is_refused(share):
    with pytest.raises(ValueError, match="share of noisy labels between 0 and 1, got"):
        digits(noisy_labels=share)


def test_too_few_examples_are_refused():
    with pytest.raises(ValueError, match="at least two examples, got 1"):
        clusters(examples=1)
