"""What the conventions page says of PyTorch is what PyTorch does; ONNX's row is tested with ONNX's own cases."""

import inspect

import numpy as np
import pytest
import torch


def updated(momentum=None):
    """A layer of PyTorch with its defaults, or this momentum, after one batch; the batch and what came out."""
    layer = torch.nn.BatchNorm1d(3, dtype=torch.float64, **({} if momentum is None else {"momentum": momentum}))
    x = np.random.default_rng(0).normal(5, 2, (8, 3))
    y = layer(torch.tensor(x)).detach().numpy()
    return layer, x, y


def test_pytorch_normalizes_with_the_biased_variance_and_eps_inside_the_root():
    layer, x, y = updated()
    assert layer.eps == 1e-5
    np.testing.assert_allclose(y, (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5), rtol=1e-12)
    layer.eps = 0.5  # large enough to tell where it stands
    y = layer(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(y, (x - x.mean(0)) / np.sqrt(x.var(0) + 0.5), rtol=1e-12)


def test_pytorch_keeps_the_unbiased_variance_and_momentum_weighs_the_new():
    layer, x, _ = updated()
    assert layer.momentum == 0.1
    np.testing.assert_allclose(layer.running_mean.numpy(), 0.1 * x.mean(0), rtol=1e-12)
    np.testing.assert_allclose(layer.running_var.numpy(), 0.9 + 0.1 * x.var(0, ddof=1), rtol=1e-12)


def test_a_momentum_of_the_other_kind_keeps_little_but_the_last_batch():
    layer, x, _ = updated(0.9)
    np.testing.assert_allclose(layer.running_mean.numpy(), 0.9 * x.mean(0), rtol=1e-12)


def test_the_packages_defaults_are_those_of_the_page():
    from bncourse.reference import RunningStatistics, batch_norm

    assert inspect.signature(batch_norm).parameters["eps"].default == 1e-5
    assert inspect.signature(RunningStatistics).parameters["momentum"].default == 0.1


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.999])
def test_dividing_by_the_share_of_the_batches_takes_the_start_off(decay):
    """The page says that Haiku's way and Caffe's are one average, and that the first batch is its first value.

    Haiku averages from zero and divides by 1 - decay**t; Caffe keeps a plain sum, and the sum of its weights.
    """
    statistics = np.random.default_rng(1).normal(5, 2, 6)
    hidden = total = weight = 0.0
    for t, statistic in enumerate(statistics, 1):
        hidden = decay * hidden + (1 - decay) * statistic
        total, weight = decay * total + statistic, decay * weight + 1
        weights = decay ** np.arange(t)[::-1]
        expected = np.average(statistics[:t], weights=weights)
        assert hidden / (1 - decay**t) == pytest.approx(expected)
        assert total / weight == pytest.approx(expected)
        if t == 1:
            assert expected == statistics[0]
