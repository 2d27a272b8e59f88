"""Our layers on the inputs with which PyTorch tests its own.

Run by test_module_inputs.py, in a process for each backend: PyTorch's test utilities change global settings when they
are imported, and Triton decides at its import whether to interpret.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.testing._internal.common_modules import ModuleInfo, ModuleInput, module_db

from bncourse import layers
from bncourse.kernels import cpu
from bncourse.kernels.backend import INTERPRETED

Layer = torch.nn.modules.batchnorm._BatchNorm
OURS = {
    torch.nn.BatchNorm1d: layers.BatchNorm1d,
    torch.nn.BatchNorm2d: layers.BatchNorm2d,
    torch.nn.BatchNorm3d: layers.BatchNorm3d,
}
INFOS = {info.module_cls: info for info in module_db if info.module_cls in OURS}

FORWARD = {True: {"statistics_kernel", "normalize_kernel"}, False: {"normalize_kernel"}}
BACKWARD = {"sums_kernel", "gradients_kernel"}
KERNELS = FORWARD[True] | BACKWARD

# Sums are taken in another order, and differ in their last digits; gradients of gradients add more of them.
TOLERANCE = {torch.float64: 1e-11, torch.float32: 2e-5}


@pytest.fixture(params=["kernels"] if INTERPRETED else ["ours", "as called"])
def calls(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each kernel is launched, or on the CPU path how often it computes a forward and a backward pass.

    That path hands batches with few values to PyTorch where its statistics are right. "ours" computes all of them.
    """
    count: Counter[str] = Counter()

    class Counted:
        def __init__(self, name: str, kernel: Any) -> None:
            self.name, self.kernel = name, kernel

        def __getitem__(self, grid: Any) -> Any:
            count[self.name] += 1
            return self.kernel[grid]

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            found = function(*args)
            if found is not None:
                count[name] += 1
            return found

        return call

    if INTERPRETED:
        from bncourse.kernels import launch

        for name in KERNELS:
            monkeypatch.setattr(launch, name, Counted(name, getattr(launch, name)))
    for name in ("forward", "backward", "pytorch_batch_norm"):
        monkeypatch.setattr(cpu, name, counted(name, getattr(cpu, name)))
    if request.param == "ours":
        monkeypatch.setattr(cpu, "suits_pytorch", lambda *_: False)
    return count


def inputs(dtype: torch.dtype, training: bool) -> Iterator[tuple[ModuleInfo, ModuleInput]]:
    for info in INFOS.values():
        for given in info.module_inputs_func(info, device="cpu", dtype=dtype, requires_grad=True, training=training):
            yield info, given


def each_input(*dtypes: torch.dtype) -> pytest.MarkDecorator:
    """PyTorch's inputs, in training and in evaluation."""
    cases = [
        pytest.param(
            info.module_cls,
            given,
            training,
            id=f"{info.module_cls.__name__}-{given.desc or 'plain'}-{'train' if training else 'eval'}-{str(dtype)[6:]}",
        )
        for dtype in dtypes
        for training in (True, False)
        for info, given in inputs(dtype, training)
    ]
    return pytest.mark.parametrize(("theirs", "given", "training"), cases)


def build(kind: type[Layer], given: ModuleInput, training: bool) -> Layer:
    """A layer whose state is not the one it starts with, in which zeros and ones would hide mistakes."""
    x = given.forward_input.args[0]
    layer = kind(*given.constructor_input.args, **given.constructor_input.kwargs).to(x.dtype).train(training)
    generator = torch.Generator().manual_seed(7)
    state = {
        name: torch.rand(value.shape, generator=generator) + 0.5 if value.is_floating_point() else value + 3
        for name, value in layer.state_dict().items()
    }
    layer.load_state_dict(state, strict=True)
    return layer


def run(layer: Layer, x: torch.Tensor) -> dict[str, torch.Tensor | None]:
    """All that a step makes: the output, the gradients of a loss, those of a function of the gradients, the buffers."""
    x = x.detach().requires_grad_()
    parameters = dict(layer.named_parameters())
    y = layer(x)
    dy = torch.linspace(-1, 2, y.numel(), dtype=y.dtype).reshape(y.shape).cos().requires_grad_()
    first = torch.autograd.grad(y, [x, *parameters.values()], dy, create_graph=True)
    weighed = [(gradient**2).sum() * (place + 1) for place, gradient in enumerate(first)]
    second = torch.autograd.grad(sum(weighed), [dy, x, *parameters.values()], allow_unused=True)
    found: dict[str, torch.Tensor | None] = {"y": y}
    found |= {f"gradient of {name}": value for name, value in zip(["x", *parameters], first, strict=True)}
    found |= {f"second gradient of {name}": value for name, value in zip(["dy", "x", *parameters], second, strict=True)}
    return found | dict(layer.named_buffers())


def check(ours: type[Layer], theirs: type[Layer], given: ModuleInput, training: bool, calls: Counter[str]) -> None:
    x = given.forward_input.args[0]
    found, expected = (run(build(kind, given, training), x) for kind in (ours, theirs))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if value is None:  # PyTorch finds that it does not depend on the input at all
            assert found[name] is None or not found[name].any(), name
            continue
        tolerance = TOLERANCE[x.dtype] * max(1.0, value.abs().max().item() if value.numel() else 0.0)
        torch.testing.assert_close(
            found[name], value, rtol=0, atol=tolerance, msg=lambda text, at=name: f"{at}: {text}"
        )
    if x.numel():
        uses_batch = training or not build(ours, given, training).track_running_stats
        expected_calls = FORWARD[uses_batch] | BACKWARD if INTERPRETED else {"forward", "backward"}
        handed_over = uses_batch and set(calls) == {"pytorch_batch_norm"}
        assert handed_over or set(calls) == expected_calls, f"{ours.__name__} computed through {dict(calls)}"


@each_input(torch.float32, torch.float64)
def test_a_step_is_that_of_torch(theirs: type[Layer], given: ModuleInput, training: bool, calls: Counter[str]) -> None:
    check(OURS[theirs], theirs, given, training, calls)


def test_a_layer_that_calls_torch_is_found(calls: Counter[str]) -> None:
    """Otherwise the test above would pass on a layer that computes nothing itself."""

    class Pretender(torch.nn.BatchNorm2d):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return super().forward(input)

    given = next(given for info, given in inputs(torch.float32, True) if info.module_cls is torch.nn.BatchNorm2d)
    with pytest.raises(AssertionError, match=r"Pretender computed through \{\}"):
        check(Pretender, torch.nn.BatchNorm2d, given, True, calls)


@pytest.mark.parametrize("flaw", ["momentum", "eps", "biased variance", "no tracking"])
def test_a_layer_with_a_flaw_is_found(flaw: str, calls: Counter[str]) -> None:
    class Flawed(layers.BatchNorm2d):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            before = self.running_var.clone()
            if flaw == "momentum":
                self.momentum = 1 - self.momentum
            if flaw == "eps":
                self.eps = 1e-4
            if flaw == "no tracking":
                self.track_running_stats = False
            y = super().forward(input)
            if flaw == "biased variance":
                count = input.numel() // input.shape[1]
                self.running_var -= (self.running_var - before * (1 - self.momentum)) / count
            return y

    plain = next(given for info, given in inputs(torch.float64, True) if info.module_cls is torch.nn.BatchNorm2d)
    with pytest.raises(AssertionError):
        check(Flawed, torch.nn.BatchNorm2d, plain, True, calls)


@each_input(torch.float32)
def test_inputs_in_any_layout(theirs: type[Layer], given: ModuleInput, training: bool) -> None:
    """Catches strides that are taken for others, and an output in another memory format."""
    x = given.forward_input.args[0].detach()
    layouts = [x.transpose(0, -1).contiguous().transpose(0, -1)]
    if x.ndim > 3:
        layouts.append(x.contiguous(memory_format=torch.channels_last if x.ndim == 4 else torch.channels_last_3d))
    for laid_out in layouts:
        y, expected = (build(kind, given, training)(laid_out) for kind in (OURS[theirs], theirs))
        torch.testing.assert_close(y, expected, rtol=0, atol=10 * TOLERANCE[x.dtype])
    if x.ndim > 3 and x.numel():
        assert y.stride() == expected.stride()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("theirs", OURS)
def test_what_torch_refuses_is_refused(theirs: type[Layer], training: bool) -> None:
    info = INFOS[theirs]
    refused = info.module_error_inputs_func(info, device="cpu", dtype=torch.float32, requires_grad=False, training=True)
    assert refused
    for case in refused:
        for kind in (OURS[theirs], theirs):
            given = case.module_error_input
            layer = kind(*given.constructor_input.args, **given.constructor_input.kwargs)
            with pytest.raises(case.error_type, match=case.error_regex):
                layer(*given.forward_input.args)
