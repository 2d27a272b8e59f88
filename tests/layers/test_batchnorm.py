"""Our layers stand where ``torch.nn``'s stood: state, attributes, errors, and what users do with them."""

import copy
import io
import os
import pickle
import subprocess
import sys
from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import nn

from bncourse import layers
from tests.conftest import ROOT

SHAPES = {
    "BatchNorm1d": [(6, 4), (5, 4, 3)],
    "BatchNorm2d": [(3, 4, 5, 2)],
    "BatchNorm3d": [(2, 4, 3, 2, 5)],
}
CASES = [(name, shape) for name, shapes in SHAPES.items() for shape in shapes]


def pair(name: str, *arguments: Any, **options: Any) -> tuple[Any, Any]:
    """Our layer and torch's, of the same asymmetric state."""
    ours, theirs = (getattr(place, name)(*arguments, **options) for place in (layers, nn))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for value in [*theirs.parameters(), *theirs.buffers()]:
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


def batch(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return (torch.randn(shape, generator=torch.Generator().manual_seed(5)) * 3 + 7).to(dtype)


def assert_same(ours: nn.Module, theirs: nn.Module, **tolerance: float) -> None:
    expected = theirs.state_dict()
    found = ours.state_dict()
    assert list(found) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, **tolerance, msg=lambda text, at=name: f"{at}: {text}")


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("tracking", [True, False])
@pytest.mark.parametrize("name", SHAPES)
def test_checkpoints_load_both_ways(name: str, affine: bool, tracking: bool) -> None:
    ours, theirs = pair(name, 4, 1e-3, 0.2, affine, tracking)
    for source, place in ((theirs, layers), (ours, nn)):
        file = io.BytesIO()
        torch.save(nn.Sequential(OrderedDict(norm=source)).state_dict(), file)
        file.seek(0)
        fresh = nn.Sequential(OrderedDict(norm=getattr(place, name)(4, 1e-3, 0.2, affine, tracking)))
        fresh.load_state_dict(torch.load(file, weights_only=True), strict=True)
        assert_same(fresh.norm, source, rtol=0, atol=0)


@pytest.mark.parametrize("name", SHAPES)
def test_a_checkpoint_from_before_batches_were_counted_loads(name: str) -> None:
    """Such checkpoints have no version and no ``num_batches_tracked``; others must have it."""
    ours, theirs = pair(name, 4)
    old = OrderedDict((key, value) for key, value in theirs.state_dict().items() if key != "num_batches_tracked")
    fresh = getattr(layers, name)(4)
    fresh.load_state_dict(old, strict=True)
    assert fresh.num_batches_tracked == 0
    torch.testing.assert_close(fresh.running_var, theirs.running_var)
    current = ours.state_dict()
    del current["num_batches_tracked"]
    with pytest.raises(RuntimeError, match="num_batches_tracked"):
        fresh.load_state_dict(current, strict=True)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"momentum": None},
        {"affine": False},
        {"track_running_stats": False},
        {"bias": False},
        {"dtype": torch.float64},
        {"device": "meta"},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", SHAPES)
def test_attributes_and_repr_are_torchs(name: str, options: dict[str, Any]) -> None:
    ours, theirs = (getattr(place, name)(4, **options) for place in (layers, nn))
    assert repr(ours) == repr(theirs)
    public = {key: value for key, value in vars(theirs).items() if not key.startswith("_")}
    assert {key: vars(ours)[key] for key in public} == public
    for key, value in [*theirs.named_parameters(), *theirs.named_buffers()]:
        mine = getattr(ours, key)
        assert (mine.shape, mine.dtype, mine.device) == (value.shape, value.dtype, value.device)


@pytest.mark.parametrize("name", SHAPES)
def test_it_is_found_by_those_who_look_for_torchs(name: str) -> None:
    layer = getattr(layers, name)(4)
    assert isinstance(layer, getattr(nn, name))
    assert isinstance(layer, nn.modules.batchnorm._BatchNorm)
    others = [getattr(nn, other) for other in SHAPES if other != name]
    assert not isinstance(layer, tuple(others))
    synchronized = nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(layer))[0]
    assert type(synchronized) is nn.SyncBatchNorm
    assert synchronized.weight is layer.weight


@pytest.mark.parametrize("momentum", [0.3, None, 0.0])
@pytest.mark.parametrize(("name", "shape"), CASES)
def test_a_run_of_steps_then_evaluation(name: str, shape: tuple[int, ...], momentum: float | None) -> None:
    """Catches a momentum of the wrong end, a count that starts at the wrong number, and a biased running variance."""
    ours, theirs = pair(name, 4, momentum=momentum)
    for step in range(3):
        x = batch(shape) * (step + 1)
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)
    assert_same(ours, theirs, rtol=1e-5, atol=1e-5)
    assert ours.num_batches_tracked == 3
    before = copy.deepcopy(ours.state_dict())
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=1e-5, atol=1e-5)
    for key, value in ours.state_dict().items():
        assert torch.equal(value, before[key]), f"evaluation changed {key}"


def without_tracking(layer: nn.modules.batchnorm._BatchNorm) -> None:
    layer.track_running_stats = False


def without_buffers(layer: nn.modules.batchnorm._BatchNorm) -> None:
    layer.running_mean = layer.running_var = None


def without_count(layer: nn.modules.batchnorm._BatchNorm) -> None:
    layer.num_batches_tracked, layer.momentum = None, None


@pytest.mark.parametrize("change", [without_tracking, without_buffers, without_count])
@pytest.mark.parametrize("training", [True, False])
def test_a_layer_that_was_changed_after_it_was_made(change: Any, training: bool) -> None:
    """Users switch tracking off to use the batch's statistics, or take the buffers away to use them in evaluation."""
    ours, theirs = pair("BatchNorm2d", 4)
    x = batch(SHAPES["BatchNorm2d"][0])
    for layer in (ours, theirs):
        change(layer.train(training))
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)
    assert_same(ours, theirs, rtol=1e-5, atol=1e-5)


def test_cumulative_statistics_are_averages() -> None:
    layer = layers.BatchNorm1d(3, momentum=None, dtype=torch.float64)
    batches = [torch.randn(size, 3, dtype=torch.float64) * size + 2 for size in (4, 7, 5)]
    for x in batches:
        layer(x)
    torch.testing.assert_close(layer.running_mean, torch.stack([x.mean(0) for x in batches]).mean(0))
    torch.testing.assert_close(layer.running_var, torch.stack([x.var(0) for x in batches]).mean(0))


def test_statistics_are_recalibrated_by_torchs_own_tool() -> None:
    """``update_bn`` looks for batch norm by ``isinstance`` and sets ``momentum`` to None."""
    data = [batch((9, 4)) * scale for scale in (1.0, 2.0, -3.0)]
    models = [nn.Sequential(layer) for layer in pair("BatchNorm1d", 4)]
    for model in models:
        torch.optim.swa_utils.update_bn(data, model)
    assert_same(*models, rtol=1e-5, atol=1e-5)
    assert models[0][0].momentum == 0.1
    torch.testing.assert_close(models[0][0].running_mean, torch.stack([x.mean(0) for x in data]).mean(0))


@pytest.mark.parametrize("name", SHAPES)
def test_a_wrong_number_of_axes_is_refused_in_torchs_words(name: str) -> None:
    ours, theirs = pair(name, 4)
    right = {len(shape) for shape in SHAPES[name]}
    for axes in set(range(1, 7)) - right:
        x = torch.zeros((4,) * axes)
        messages = []
        for layer in (theirs, ours):
            with pytest.raises(ValueError, match="expected") as caught:
                layer(x)
            messages.append(str(caught.value))
        assert messages[0] == messages[1]


@pytest.mark.parametrize("options", [{}, {"affine": False}, {"track_running_stats": False}], ids=str)
def test_a_wrong_number_of_channels_is_refused(options: dict[str, Any]) -> None:
    ours, theirs = pair("BatchNorm2d", 4, **options)
    for training in (True, False):
        with pytest.raises(RuntimeError):
            theirs.train(training)(torch.randn(2, 5, 3, 3))
        with pytest.raises(
            RuntimeError, match=r"BatchNorm2d: expected input with 4 channels .* got shape \(2, 5, 3, 3\)"
        ):
            ours.train(training)(torch.randn(2, 5, 3, 3))


def test_a_layer_without_state_takes_any_number_of_channels() -> None:
    ours, theirs = pair("BatchNorm1d", 4, affine=False, track_running_stats=False)
    x = batch((6, 5))
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", SHAPES)
def test_one_value_per_channel_is_refused_in_training_only(name: str) -> None:
    ours, theirs = pair(name, 4)
    x = torch.ones(1, 4, *[1] * (len(SHAPES[name][-1]) - 2))
    messages = []
    for layer in (theirs, ours):
        with pytest.raises(ValueError, match="Expected more than 1 value per channel") as caught:
            layer(x)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_a_copy_has_a_state_of_its_own(copied: Any) -> None:
    ours, theirs = pair("BatchNorm1d", 4)
    other = copied(ours)
    x = batch((6, 4))
    torch.testing.assert_close(other(x), theirs(x), rtol=1e-5, atol=1e-5)
    assert_same(other, theirs, rtol=1e-5, atol=1e-5)
    assert ours.num_batches_tracked == 0
    assert type(other) is layers.BatchNorm1d


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("state", ["float32", "same"])
@pytest.mark.parametrize(("name", "shape"), CASES)
def test_half_precision(name: str, shape: tuple[int, ...], dtype: torch.dtype, state: str) -> None:
    """Against float64 on the same rounded input and state: what remains is the rounding of what is stored.

    Catches sums in half precision: they lose a fifth of a standard deviation at this mean.
    """
    ours, _ = pair(name, 4)
    x = (batch(shape) + 30).to(dtype)
    if state == "same":
        ours = ours.half() if dtype == torch.float16 else ours.to(dtype)
    exact = getattr(nn, name)(4).double()
    exact.load_state_dict(ours.state_dict())
    y, expected = ours(x), exact(x.double())
    assert (y.dtype, ours.running_var.dtype, ours.weight.dtype) == (
        dtype,
        *[dtype if state == "same" else torch.float32] * 2,
    )
    unit = torch.finfo(dtype).eps
    torch.testing.assert_close(y.double(), expected, rtol=unit, atol=1e-4)
    for key in ("running_mean", "running_var"):
        found = getattr(ours, key)
        torch.testing.assert_close(found.double(), getattr(exact, key), rtol=2 * torch.finfo(found.dtype).eps, atol=0)
    y.sum().backward()
    assert ours.weight.grad.dtype == ours.weight.dtype
    torch.testing.assert_close(ours.eval()(x).double(), exact.eval()(x.double()), rtol=8 * unit, atol=8 * unit)


@pytest.mark.parametrize(
    ("name", "shape", "form"),
    [
        ("BatchNorm2d", (3, 4, 5, 2), torch.channels_last),
        ("BatchNorm3d", (2, 4, 3, 2, 5), torch.channels_last_3d),
    ],
)
def test_channels_last_in_and_out(name: str, shape: tuple[int, ...], form: torch.memory_format) -> None:
    ours, theirs = pair(name, 4)
    ours = ours.to(memory_format=form)
    given = batch(shape).contiguous(memory_format=form)
    gradients = []
    for layer in (ours, theirs):
        x = given.clone().requires_grad_()
        y = layer(x)
        assert y.is_contiguous(memory_format=form)
        y.square().sum().backward()
        assert x.grad.is_contiguous(memory_format=form)
        gradients.append([x.grad, layer.weight.grad, layer.bias.grad])
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)
    assert_same(ours, theirs, rtol=1e-5, atol=1e-5)


def test_reset_parameters_makes_a_new_layer() -> None:
    ours, _ = pair("BatchNorm1d", 4)
    ours(batch((6, 4)))
    ours.reset_parameters()
    assert_same(ours, nn.BatchNorm1d(4), rtol=0, atol=0)


def test_residual_and_activation_are_what_follows() -> None:
    ours, theirs = pair("BatchNorm2d", 4)
    x, z = batch((3, 4, 5, 2)).requires_grad_(), batch((3, 4, 5, 2)).flip(0).sub_(8).requires_grad_()
    found = ours(x, residual=z, activation="relu")
    expected = (theirs(x) + z).relu()
    assert 0.2 < (expected > 0).float().mean() < 0.8
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    upstream = torch.rand_like(found)
    inputs = [x, z]
    torch.testing.assert_close(
        torch.autograd.grad(found, [*inputs, *ours.parameters()], upstream),
        torch.autograd.grad(expected, [*inputs, *theirs.parameters()], upstream),
        rtol=1e-4,
        atol=1e-4,
    )
    with pytest.raises(ValueError, match="activation"):
        ours(x, activation="gelu")
    with pytest.raises(ValueError, match="residual"):
        ours(x, residual=z[:1])


@pytest.fixture
def threads() -> Any:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("mean", [1e4, 1e5])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_right_where_the_mean_is_large(mean: float, count: int, threads: Any) -> None:
    threads(count)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((65536, 64), generator=generator).add_(mean)
    exact = nn.BatchNorm1d(64).double()
    expected = exact(x.double()).float()
    ours = layers.BatchNorm1d(64)
    # The mean itself is stored in float32, to half a unit of its last place.
    unit = torch.finfo(torch.float32).eps * mean
    torch.testing.assert_close(ours(x), expected, rtol=0, atol=unit)
    torch.testing.assert_close(ours.running_mean.double(), exact.running_mean, rtol=2e-7, atol=0)
    torch.testing.assert_close(ours.running_var.double(), exact.running_var, rtol=1e-5, atol=0)
    if mean == 1e5 or count == 1:
        # Why anybody should care, and that this test can fail.
        assert (nn.BatchNorm1d(64)(x) - expected).abs().max() > 0.1


def test_importing_the_layers_does_not_load_triton() -> None:
    code = "import sys, bncourse.layers; print('torch' in sys.modules, 'triton' in sys.modules)"
    environment = {**os.environ, "TRITON_INTERPRET": "0"}
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert output.split() == ["True", "False"]
