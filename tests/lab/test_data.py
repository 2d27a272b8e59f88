"""The split of the digits: fixed for ever, in proportion, without overlap."""

import hashlib

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from bncourse.lab import digits
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
    with pytest.raises(ValueError, match="expected 1797 labels, one for each digit, got 3"):
        split_indices(np.array([0, 1, 2]))
