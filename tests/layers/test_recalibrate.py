"""Recalibration against whole-data statistics in NumPy, and what must survive it, or an error on the way."""

import doctest
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from bncourse import layers
from bncourse.layers import recalibrate

CUTS = {"one batch": (60,), "even": (20, 20, 20), "uneven": (29, 13, 17, 1), "single": (1,) * 60}


def sorted_data(rows: int = 60, features: int = 4) -> torch.Tensor:
    """Two groups, one after the other, far apart: most of the variance is between batches. No mean is zero."""
    x = np.random.default_rng(0).normal(3, 1, (rows, features)) * [1, 2, 0.5, 3]
    x[rows // 3 :] += [8, -5, 2, 9]
    return torch.from_numpy(x)


def multilayer(dropout: float = 0.0) -> nn.Sequential:
    torch.manual_seed(1)
    blocks: list[nn.Module] = []
    for before, after in ((4, 7), (7, 6), (6, 5)):
        blocks += [nn.Linear(before, after), nn.BatchNorm1d(after, momentum=0.3), nn.Tanh(), nn.Dropout(dropout)]
    model = nn.Sequential(*blocks).double()
    for block in model:
        if isinstance(block, nn.BatchNorm1d):
            nn.init.uniform_(block.weight, 0.5, 2)
            nn.init.uniform_(block.bias, -1, 1)
            nn.init.uniform_(block.running_mean, -1, 1)
            nn.init.uniform_(block.running_var, 0.5, 2)
    return model


def norms(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]


def statistics(model: nn.Module) -> list[np.ndarray]:
    return [value.numpy().copy() for norm in norms(model) for value in (norm.running_mean, norm.running_var)]


def by_hand(model: nn.Sequential, x: torch.Tensor) -> list[np.ndarray]:
    """Layer by layer, all data at once: each batch norm takes its inputs' statistics, then normalizes with them."""
    found, h = [], x.numpy()
    for block in model:
        if isinstance(block, nn.Linear):
            h = h @ block.weight.detach().numpy().T + block.bias.detach().numpy()
        elif isinstance(block, nn.BatchNorm1d):
            mean, var = h.mean(axis=0), h.var(axis=0, ddof=1)
            found += [mean, var]
            gamma, beta = block.weight.detach().numpy(), block.bias.detach().numpy()
            h = gamma * (h - mean) / np.sqrt(var + block.eps) + beta
        elif isinstance(block, nn.Tanh):
            h = np.tanh(h)
    return found


@pytest.mark.parametrize("cut", CUTS)
def test_statistics_are_those_of_all_data_whatever_the_batches(cut: str) -> None:
    """Catches averages of variances, batches that count alike, the biased variance, and old statistics below."""
    x, model = sorted_data(), multilayer()
    assert recalibrate(model, x.split(CUTS[cut])) is model
    for ours, theirs in zip(statistics(model), by_hand(model, x), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_pytorchs_way_would_fail_this() -> None:
    """Were it to pass, the data would tell nothing: even for the first layer, averages of variances are far off."""
    x, model = sorted_data(), multilayer()
    update_bn(x.split((29, 13, 18)), model)
    mean, var, *_, last = statistics(model)
    right_mean, right_var, *_, right_last = by_hand(model, x)
    assert np.abs(mean - right_mean).max() > 0.2
    assert (var < 0.8 * right_var).any()
    assert np.abs(last / right_last - 1).max() > 0.1


def test_images_in_ours_and_half_precision() -> None:
    """float16 inputs whose sums overflow, and a mean that is large against the deviation."""
    x = 1000 + torch.randn(10, 2, 30, 30, generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(layers.BatchNorm2d(2), nn.Conv2d(2, 3, 3), layers.BatchNorm2d(3))
    recalibrate(model, x.split(3))
    first, second = norms(model)
    numbers = x.double().numpy()
    np.testing.assert_allclose(first.running_mean, numbers.mean(axis=(0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(first.running_var, numbers.var(axis=(0, 2, 3), ddof=0) * 9000 / 8999, rtol=1e-5)
    with torch.no_grad():
        h = model.eval()[1](model[0](x)).double()
    np.testing.assert_allclose(second.running_mean, h.mean(dim=(0, 2, 3)), atol=1e-4)
    np.testing.assert_allclose(second.running_var, h.var(dim=(0, 2, 3)), rtol=1e-4)
    alone = nn.BatchNorm2d(2)
    recalibrate(alone, x.half().split(3))
    np.testing.assert_allclose(alone.running_var, x.half().double().var(dim=(0, 2, 3)), rtol=1e-5)


@pytest.mark.parametrize(
    "make", [lambda: layers.GhostBatchNorm(4, 5), lambda: layers.BatchRenorm(4), lambda: nn.SyncBatchNorm(4)]
)
def test_relatives_get_the_statistics_of_all_data(make: Callable[[], nn.Module]) -> None:
    """Whatever they normalize by in training. Batches that ghost batches of 5 do not fill are no obstacle."""
    x, layer = sorted_data().float(), make()
    recalibrate(layer, x.split((29, 13, 17, 1)))
    np.testing.assert_allclose(layer.running_mean, x.mean(dim=0), rtol=1e-5)
    np.testing.assert_allclose(layer.running_var, x.var(dim=0), rtol=1e-5)


class Branches(nn.Module):
    """Two branches in parallel, one layer that is called twice, one that nobody calls, and one without statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.BatchNorm1d(4), nn.BatchNorm1d(4)
        self.shared = nn.BatchNorm1d(4, affine=False)
        self.unused = nn.BatchNorm1d(4)
        self.free = nn.BatchNorm1d(4, track_running_stats=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.inputs = [self.left(input=x), self.right(x.square())]
        return self.free(sum(self.shared(each.relu()) for each in self.inputs))


def test_a_layer_that_is_called_twice_gets_all_of_its_inputs() -> None:
    x, model = sorted_data(), Branches().double()
    nn.init.constant_(model.unused.running_mean, 5)
    recalibrate(model, x.split((29, 31)))
    np.testing.assert_allclose(model.right.running_mean, x.square().mean(dim=0))
    model.eval()(x)
    together = torch.cat([each.relu() for each in model.inputs]).detach()
    np.testing.assert_allclose(model.shared.running_mean, together.mean(dim=0), rtol=1e-9)
    np.testing.assert_allclose(model.shared.running_var, together.var(dim=0), rtol=1e-9)
    assert (model.unused.running_mean == 5).all()
    assert [int(each.num_batches_tracked) for each in (model.left, model.shared, model.unused)] == [2, 4, 0]
    assert model.free.running_mean is None


def test_modes_momenta_and_counts() -> None:
    """Catches model.train(...) at the end, which thaws a layer that was frozen, or freezes one that was not."""
    model = multilayer(dropout=0.5).train()
    model[1].eval()
    model[6].eval()
    before = {name: module.training for name, module in model.named_modules()}
    recalibrate(model, [(part, "label") for part in sorted_data().split(13)])
    assert {name: module.training for name, module in model.named_modules()} == before
    assert [(norm.momentum, int(norm.num_batches_tracked)) for norm in norms(model)] == [(0.3, 5)] * 3
    assert not any(norm._forward_pre_hooks for norm in norms(model))
    assert not any(parameter.grad_fn or parameter.grad is not None for parameter in model.parameters())


def test_dropout_is_off() -> None:
    """It adds to the variances of the layers behind it, and inference knows none."""
    x = sorted_data()
    with_dropout, without = (recalibrate(multilayer(share), x.split(13)) for share in (0.5, 0.0))
    for one, other in zip(statistics(with_dropout), statistics(without), strict=True):
        np.testing.assert_array_equal(one, other)
    theirs = multilayer(0.5)
    update_bn([x], theirs)
    assert not np.allclose(statistics(theirs)[2], statistics(without)[2], rtol=0.1)


def test_a_second_call_changes_nothing() -> None:
    x, model = sorted_data(), multilayer()
    first = statistics(recalibrate(model, x.split(13)))
    for one, other in zip(statistics(recalibrate(model, x.split(7))), first, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)


class Counted:
    """Batches, and how often they were asked for."""

    def __init__(self, *batches: torch.Tensor) -> None:
        self.batches, self.passes = batches, 0

    def __iter__(self) -> Iterator[torch.Tensor]:
        self.passes += 1
        return iter(self.batches)


def test_no_more_passes_than_it_takes() -> None:
    """One for each layer, each to that layer only; a single batch needs one."""
    x, model, seen = sorted_data(), multilayer(), []
    for number, block in enumerate(model):
        block.register_forward_hook(lambda *_, number=number: seen.append(number))
    loader = Counted(*x.split(20))
    recalibrate(model, loader)
    assert loader.passes == 3
    assert [seen.count(number) for number in (0, 1, 4, 5, 8, 9, 11)] == [9, 9, 9, 6, 6, 3, 3]
    for loader, its_model in ((Counted(x), multilayer()), (Counted(*x.split(20)), nn.BatchNorm1d(4).double())):
        recalibrate(its_model, loader)
        assert loader.passes == 1


def test_nothing_grows_in_a_deep_network() -> None:
    """Catches passes that take the statistics of all layers at once: their errors grow with every layer."""
    torch.manual_seed(0)
    rows, blocks = torch.randn(300, 8), [[nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU()] for _ in range(20)]
    deep = nn.Sequential(*(module for block in blocks for module in block)).double()
    recalibrate(deep, rows.double().split(40))
    with torch.no_grad():
        last = deep.eval()[:58](rows.double())
    np.testing.assert_allclose(deep[58].running_var, last.var(dim=0), rtol=1e-6)


def broken(at: int) -> list[torch.Tensor]:
    parts = list(sorted_data().split(20))
    parts[at] = parts[at].clone()
    parts[at][3, 2] = np.nan
    return parts


class Failing(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) == 17:
            raise KeyboardInterrupt
        return x


@pytest.mark.parametrize(
    ("make", "loader", "error", "words"),
    [
        (multilayer, list, ValueError, "a batch at least in every pass, got none"),
        (multilayer, lambda: iter(sorted_data().split(20)), ValueError, "an iterator can be read once only"),
        (multilayer, lambda: broken(1), ValueError, "layer 1 got NaN or infinity in call 2"),
        (multilayer, lambda: sorted_data()[:1].split(1), ValueError, "two values to each channel of layer 1.* got 1"),
        (multilayer, lambda: [{"x": sorted_data()}], TypeError, "tensors, or lists or tuples .* got dict"),
        (multilayer, lambda: [[]], TypeError, "got list"),
        (multilayer, lambda: [("x", 1)], TypeError, "got str"),
        (
            lambda: nn.Sequential(*multilayer(), Failing()),
            lambda: sorted_data().split(CUTS["uneven"]),
            KeyboardInterrupt,
            None,
        ),
        (lambda: nn.Sequential(*multilayer(), nn.Linear(3, 1)), lambda: [sorted_data()], RuntimeError, None),
    ],
)
def test_after_an_error_everything_is_as_it_was(
    make: Callable[[], nn.Module], loader: Callable[[], Any], error: type[BaseException], words: str | None
) -> None:
    model = make().train()
    before, counts = statistics(model), [int(norm.num_batches_tracked) for norm in norms(model)]
    with pytest.raises(error, match=words):
        recalibrate(model, loader())
    for one, other in zip(statistics(model), before, strict=True):
        np.testing.assert_array_equal(one, other)
    assert [int(norm.num_batches_tracked) for norm in norms(model)] == counts
    assert all(module.training for module in model.modules())
    assert not any(norm._forward_pre_hooks for norm in norms(model))


@pytest.mark.parametrize(
    ("model", "error", "words"),
    [
        ("resnet18", TypeError, "expected model to be a torch.nn.Module, got str"),
        (nn.Linear(4, 2), ValueError, "that keep running statistics, got Linear"),
        (nn.BatchNorm1d(4, track_running_stats=False), ValueError, "got BatchNorm1d, which has none"),
        (nn.Sequential(nn.LazyBatchNorm1d()), ValueError, "layer 0 does not know its features yet"),
        (nn.ModuleDict({"norm": nn.BatchNorm1d(4)}), NotImplementedError, "forward"),
    ],
)
def test_models_that_are_refused(model: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        recalibrate(model, [torch.ones(3, 4)])


def test_a_model_whose_layers_no_batch_reaches() -> None:
    class Aside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(x) if self.training else x

    with pytest.raises(ValueError, match="no batch reached one"):
        recalibrate(Aside(), [torch.ones(3, 4)])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_model_on_a_gpu_takes_batches_from_anywhere() -> None:
    x, model = sorted_data(), multilayer()
    right = by_hand(model, x)
    recalibrate(model.cuda(), x.split((29, 31)))
    for ours, theirs in zip(statistics(model.cpu()), right, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_the_example_of_the_docstring() -> None:
    found = doctest.testmod(sys.modules["bncourse.layers.recalibrate"])
    assert found.attempted
    assert not found.failed
