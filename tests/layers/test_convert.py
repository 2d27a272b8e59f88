"""Swapping the layers of a model, and what must survive it."""

import copy
import types
from typing import Any

import pytest
import torch
from torch import nn

from bncourse import layers
from bncourse.layers import convert


class Own(nn.BatchNorm2d):
    """Somebody's layer, with a forward pass of its own."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input) * 2


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU())
        self.volume = nn.BatchNorm3d(5, affine=False)
        self.head = nn.ModuleDict({"norm": nn.BatchNorm1d(3, momentum=None), "same": self.stem[1]})
        self.own = Own(3)
        self.sync = nn.SyncBatchNorm(3)
        self.lazy = nn.LazyBatchNorm2d()
        self.unregistered = [self.stem[1]]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head["norm"](self.own(self.stem(x)).mean((2, 3)))


def kinds(model: nn.Module) -> dict[str, type]:
    return {name: type(module) for name, module in model.named_modules()}


def test_there_and_back() -> None:
    model = Model()
    before = kinds(model)
    assert convert(model) is model
    changed = {name: kind for name, kind in kinds(model).items() if kind is not before[name]}
    assert changed == {
        "stem.1": layers.BatchNorm2d,
        "volume": layers.BatchNorm3d,
        "head.norm": layers.BatchNorm1d,
    }
    assert convert(model, to=layers) is model
    assert convert(model, to=torch.nn) is model
    assert kinds(model) == before


def test_a_layer_remains_the_same_object_with_all_that_hangs_on_it() -> None:
    model = Model().eval()
    model.stem[1].train()
    norm = model.stem[1]
    norm.remark = "a user's attribute"
    norm.weight.requires_grad_(False)
    seen: list[str] = []
    norm.register_forward_hook(lambda module, args, y: seen.append(type(module).__module__))
    held = {id(value) for value in [*model.stem.parameters(), *model.stem.buffers()]}
    convert(model)
    assert model.stem[1] is norm is model.unregistered[0] is model.head["same"]
    assert (norm.training, model.volume.training) == (True, False)
    assert norm.remark == "a user's attribute"
    assert not norm.weight.requires_grad
    assert {id(value) for value in [*model.stem.parameters(), *model.stem.buffers()]} == held
    model(torch.randn(4, 2, 6, 6))
    assert seen == ["bncourse.layers.batchnorm"]


def test_the_model_computes_the_same() -> None:
    theirs = Model().double()
    del theirs.lazy  # which cannot be copied yet
    ours = convert(copy.deepcopy(theirs))
    x = torch.randn(4, 2, 6, 6, dtype=torch.float64)
    for training in (True, False):
        torch.testing.assert_close(ours.train(training)(x), theirs.train(training)(x))
    torch.testing.assert_close(dict(ours.named_buffers()), dict(theirs.named_buffers()))


def test_synchronized_and_back() -> None:
    """Each layer becomes what it was, of the package that is asked for."""
    model = Model()
    before, norm = kinds(model), model.stem[1]
    convert(model.head, to=layers)
    held = {id(value) for value in norm.state_dict(keep_vars=True).values()}
    assert convert(model, to=layers.SyncBatchNorm) is model
    changed = {name for name, kind in kinds(model).items() if kind is layers.SyncBatchNorm}
    assert changed == {"stem.1", "volume", "head.norm", "sync"}
    assert model.own.__class__ is Own
    assert model.stem[1] is norm is model.unregistered[0]
    assert {id(value) for value in norm.state_dict(keep_vars=True).values()} == held
    assert (norm.name, model.head["norm"].name, norm.process_group) == ("stem.1", "head.norm", None)
    convert(model, to=layers.SyncBatchNorm)  # changes nothing, and nothing is forgotten
    convert(model, to=torch.nn)
    assert kinds(model) == before
    assert vars(norm).keys() == vars(nn.BatchNorm2d(3)).keys() | {"_forward_pre_hooks"}
    convert(convert(model, to=layers.SyncBatchNorm), to=layers)
    assert {name: kind for name, kind in kinds(model).items() if kind is not before[name]} == {
        "stem.1": layers.BatchNorm2d,
        "volume": layers.BatchNorm3d,
        "head.norm": layers.BatchNorm1d,
        "sync": layers.SyncBatchNorm,  # ours has no other
    }


def test_process_groups_of_synchronized_layers() -> None:
    first, second = object(), object()
    model = nn.Sequential(nn.SyncBatchNorm(2, process_group=first), nn.BatchNorm1d(2), layers.SyncBatchNorm(2))
    convert(model, to=layers.SyncBatchNorm)
    assert [layer.process_group for layer in model] == [first, None, None]
    convert(model, to=layers.SyncBatchNorm, process_group=second)
    assert [layer.process_group for layer in model] == [second] * 3
    convert(model, to=torch.nn)
    assert [type(layer) for layer in model] == [nn.SyncBatchNorm, nn.BatchNorm1d, nn.SyncBatchNorm]
    assert model[0].process_group is second
    assert not hasattr(model[1], "process_group")


def test_a_layer_alone() -> None:
    layer = nn.BatchNorm1d(3)
    assert convert(layer) is layer
    assert type(layer) is layers.BatchNorm1d


def test_a_lazy_layer_after_its_first_batch() -> None:
    layer = nn.LazyBatchNorm2d()
    layer(torch.randn(2, 3, 4, 4))
    assert type(convert(layer)) is layers.BatchNorm2d


def test_an_optimizer_goes_on() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    convert(model)
    before = model[1].bias.detach().clone()
    model(torch.randn(5, 2)).square().mul(torch.arange(1, 4)).sum().backward()
    model[1].bias.grad += 1
    optimizer.step()
    assert not torch.equal(model[1].bias, before)


def test_what_needs_torchs_classes_works_after_converting_back() -> None:
    """FX knows leaves by the name of their package; forward mode wants rules that our operator has not."""
    norm = nn.BatchNorm2d(3, track_running_stats=False)
    model = convert(nn.Sequential(nn.Conv2d(2, 3, 3), norm))
    x = torch.randn(2, 2, 5, 5)

    def loss(x: torch.Tensor) -> torch.Tensor:
        return model(x).pow(3).sum()

    with pytest.raises(torch.fx.proxy.TraceError):
        torch.fx.symbolic_trace(model)
    with pytest.raises(NotImplementedError, match="forward mode AD"):
        torch.func.jvp(loss, (x,), (x,))
    gradient = torch.func.grad(loss)(x)
    convert(model, to=torch.nn)
    torch.testing.assert_close(torch.fx.symbolic_trace(model)(x), model(x))
    torch.testing.assert_close(torch.func.jvp(loss, (x,), (x,))[1], (gradient * x).sum(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("resnet18",), TypeError, "expected model to be a torch.nn.Module, got str"),
        ((nn.Sequential(), types), ValueError, "to be bncourse.layers, torch.nn or SyncBatchNorm, got 'types'"),
        ((nn.Sequential(), "torch"), ValueError, "got 'torch'"),
        ((nn.Sequential(), None), ValueError, "got None"),
        ((nn.BatchNorm1d(2), layers.BatchNorm1d), ValueError, "got 'BatchNorm1d'"),
        ((nn.BatchNorm1d(2), nn.SyncBatchNorm), ValueError, "got 'SyncBatchNorm'"),
        ((nn.BatchNorm1d(2), layers, object()), ValueError, "expected process_group with to=SyncBatchNorm only"),
    ],
)
def test_errors_name_what_is_wrong(arguments: tuple[Any, ...], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        convert(*arguments)
