"""What every rank checks about SyncBatchNorm. Started by test_sync.py, through torchrun, with 1, 2 and 4 ranks.

Ranks make the same random batch, take a part of it each, and compare with what one process computes on the whole.
"""

import copy
import json
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from bncourse import layers
from bncourse.layers import SyncBatchNorm, convert

# Sums are taken in another order, and differ in their last digits.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 3e-6}
UNEVEN = (3, 1, 0, 4)
CHECKS: dict[str, tuple[Callable[[], None], tuple[int, ...]]] = {}
"""By name: a check, and the numbers of ranks with which it has something to say."""


def check(*ranks: int) -> Callable[[Callable[[], None]], None]:
    def register(function: Callable[[], None]) -> None:
        CHECKS[function.__name__.replace("_", " ")] = function, ranks

    return register


def rank() -> int:
    return dist.get_rank()


def count() -> int:
    return dist.get_world_size()


def mine(x: torch.Tensor, sizes: tuple[int, ...]) -> torch.Tensor:
    """This rank's part of a batch, as a leaf of its own."""
    return x.detach().split(sizes)[rank()].clone().requires_grad_(x.requires_grad)


def sizes_of(kind: str) -> tuple[int, ...]:
    return {"even": (4,) * count(), "uneven": UNEVEN[: count()]}[kind]


def batch(sizes: tuple[int, ...], *shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Every rank's part has a mean and a scale of its own: what averages variances or means is far off."""
    parts = [torch.randn(size, *shape, dtype=dtype) * (place + 1) + 5 * place + 2 for place, size in enumerate(sizes)]
    return torch.cat(parts).requires_grad_()


def pair(name: str, channels: int, *args: Any, **options: Any) -> tuple[Any, SyncBatchNorm]:
    """The plain layer and the synchronized one, of one asymmetric state."""
    plain = getattr(layers, name)(channels, *args, **options)
    with torch.no_grad():
        for value in [*plain.parameters(), *plain.buffers()]:
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape) + 0.5)
    return plain, convert(copy.deepcopy(plain), to=SyncBatchNorm)


def summed(value: torch.Tensor) -> torch.Tensor:
    value = value.clone()
    dist.all_reduce(value)
    return value


def close(found: torch.Tensor, expected: torch.Tensor, what: str, tolerance: float | None = None) -> None:
    tolerance = TOLERANCE[expected.dtype] if tolerance is None else tolerance
    scale = max(1.0, expected.abs().max().item()) if expected.numel() else 1.0
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * scale, msg=lambda text: f"{what}: {text}")


def compare(plain: Any, sync: Any, x: torch.Tensor, sizes: tuple[int, ...], **options: Any) -> None:
    """A step of both: output, gradients, and buffers."""
    part = mine(x, sizes)
    theirs, ours = dict(options), dict(options)
    if "residual" in options:
        ours["residual"] = mine(options["residual"], sizes)
    y, expected = sync(part, **ours), plain(x, **theirs)
    dy = torch.randn_like(expected) + torch.rand(expected.shape[1:], dtype=expected.dtype)
    torch.autograd.backward(expected, dy)
    torch.autograd.backward(y, mine(dy, sizes))
    gradients = {name: summed(value.grad) for name, value in sync.named_parameters()}
    close(y, mine(expected, sizes), "y")
    close(part.grad, mine(x.grad, sizes), "dx")
    if "residual" in options:
        close(ours["residual"].grad, mine(theirs["residual"].grad, sizes), "gradient of the residual")
    for name, value in plain.named_parameters():
        close(gradients[name], value.grad, f"gradient of {name}", 10 * TOLERANCE[x.dtype])
        value.grad = sync.get_parameter(name).grad = None
    for name, value in plain.named_buffers():
        close(sync.get_buffer(name), value, name, 0 if name == "num_batches_tracked" else None)


def refuses(error: type[Exception], words: str, function: Callable[..., Any], *args: Any) -> None:
    try:
        function(*args)
    except error as caught:
        assert words in str(caught), f"expected {words!r} in {caught}"  # noqa: PT017
    else:
        raise AssertionError(f"expected {error.__name__}: {words}")


class Calls:
    """Counts the collectives of torch.distributed."""

    def __enter__(self) -> Counter[str]:
        calls: Counter[str] = Counter()

        def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **options: Any) -> Any:
                calls[name] += 1
                return function(*args, **options)

            return call

        words = ("gather", "reduce", "scatter", "broadcast", "all_to_all", "barrier", "send", "recv")
        names = [name for name, value in vars(dist).items() if callable(value) and any(word in name for word in words)]
        patches = [mock.patch.object(dist, name, counted(name, getattr(dist, name))) for name in names]
        self.patches = [patch for patch in patches if patch.start()]
        return calls

    def __exit__(self, *_: object) -> None:
        for patch in self.patches:
            patch.stop()


@check(1, 2, 4)
def equals_one_process_on_all_shapes() -> None:
    for kind in ("even", "uneven"):
        for name, shape in (("1d", (3,)), ("1d", (3, 2)), ("2d", (3, 2, 5)), ("3d", (2, 1, 3, 2))):
            for dtype in (torch.float64, torch.float32):
                plain, sync = pair(f"BatchNorm{name}", shape[0], momentum=0.3, dtype=dtype)
                for _ in range(2):
                    compare(plain, sync, batch(sizes_of(kind), *shape, dtype=dtype), sizes_of(kind))


@check(1, 2, 4)
def equals_one_process_with_all_options() -> None:
    for options in (
        {"momentum": None},
        {"affine": False, "eps": 0.1},
        {"track_running_stats": False},
        {"bias": False, "momentum": 0.0},
    ):
        plain, sync = pair("BatchNorm2d", 3, **{"dtype": torch.float64, **options})
        for _ in range(3):
            compare(plain, sync, batch(UNEVEN[: count()], 3, 2, 5), UNEVEN[: count()])


@check(1, 2, 4)
def residual_and_relu() -> None:
    for with_residual, activation in ((True, None), (True, "relu"), (False, "relu")):
        plain, sync = pair("BatchNorm2d", 3, dtype=torch.float64)
        for _ in range(2):
            sizes = sizes_of("uneven")
            residual = {"residual": batch(sizes, 3, 2, 2) * -0.3} if with_residual else {}
            if residual:
                residual["residual"] = residual["residual"].detach().requires_grad_()
            compare(plain, sync, batch(sizes, 3, 2, 2), sizes, activation=activation, **residual)


@check(1, 2, 4)
def channels_last() -> None:
    plain, sync = pair("BatchNorm2d", 6, dtype=torch.float64)
    sizes = sizes_of("uneven")
    x = batch(sizes, 6, 3, 2).detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    compare(plain, sync, x, sizes)
    part = mine(x, sizes).detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    y = sync(part)
    y.square().sum().backward()
    for value in (y, part.grad):
        assert value is not None
        assert value.is_contiguous(memory_format=torch.channels_last)


@check(1, 2, 4)
def a_large_mean_costs_no_digits() -> None:
    """Catches sums of squares, which lose everything here, and moments that are sent in half precision."""
    sizes = (64,) * count()
    x = batch(sizes, 3, 7, dtype=torch.float32).detach() * 0.1 + 10_000
    exact = nn.BatchNorm1d(3, momentum=1.0).double()
    sync = SyncBatchNorm(3, momentum=1.0)
    expected = exact(x.double())
    y = sync(mine(x, sizes))
    # The mean is stored in float32, to half a unit in its last place.
    close(y.double(), mine(expected, sizes), "y", 1e-3 / x.double().std(dim=(0, 2)).min().item())
    torch.testing.assert_close(sync.running_var.double(), exact.running_var, rtol=1e-6, atol=0)


@check(1, 2, 4)
def statistics_are_the_same_bits_on_every_rank() -> None:
    sync = SyncBatchNorm(5)
    for _ in range(3):
        sync(mine(batch(sizes_of("uneven"), 5, 7, dtype=torch.float32), sizes_of("uneven")))
    for value in (sync.running_mean, sync.running_var):
        rows = [torch.empty_like(value) for _ in range(count())]
        dist.all_gather(rows, value)
        assert all(torch.equal(row, value) for row in rows)


@check(1, 2, 4)
def counts_are_exact() -> None:
    """Catches counts in float32, in which 2**24 + 1 is 2**24: in float64 the mean shows the difference."""
    sizes = (2**24 + 1, 2, 0, 0)[: count()]
    x = torch.zeros(sizes[rank()], 1, dtype=torch.bfloat16)
    x[-1:] = 3 - rank()
    sync = SyncBatchNorm(1, momentum=1.0, dtype=torch.float64)
    with torch.no_grad():
        sync(x)
    total, sum_of_values = sum(sizes), 3 + 2 * (count() > 1)
    torch.testing.assert_close(
        sync.running_mean, torch.tensor([sum_of_values / total], dtype=torch.float64), rtol=1e-9, atol=0
    )


@check(1, 2, 4)
def half_precision() -> None:
    """Against float64 on the same rounded values: what remains is the rounding of what is stored."""
    sizes = sizes_of("even")
    for dtype in (torch.float16, torch.bfloat16):
        for state in (torch.float32, dtype):
            exact = pair("BatchNorm2d", 3, momentum=0.3)[0].to(state)
            sync = convert(copy.deepcopy(exact), to=SyncBatchNorm)
            exact = exact.double()
            x = (batch(sizes, 3, 4, 4).detach() + 30).to(dtype)
            wide, part = x.double().requires_grad_(), mine(x, sizes).requires_grad_()
            dy = (torch.randn(x.shape) + 8).to(dtype)
            y = sync(part)
            assert y.dtype == dtype
            torch.autograd.backward(y, mine(dy, sizes))
            expected = exact(wide)
            torch.autograd.backward(expected, dy.double())
            unit = torch.finfo(dtype).eps
            close(y.double(), mine(expected, sizes), "y", unit)
            # Against what is largest on the way: dy, times the scale.
            close(part.grad.double(), mine(wide.grad, sizes), "dx", 10 * unit)
            for name in ("running_mean", "running_var"):
                close(sync.get_buffer(name).double(), exact.get_buffer(name), name, 2 * torch.finfo(state).eps)


@check(1, 2, 4)
def a_gradient_that_mostly_cancels_does_not_overflow_on_the_way() -> None:
    """Channels that hardly vary have a large scale: times dy it leaves float16, though dx is small."""
    x = (torch.randn(4 * count(), 3) * 1e-3).half()
    part = mine(x, (4,) * count()).requires_grad_()
    sync = SyncBatchNorm(3)
    torch.autograd.backward(sync(part), torch.full_like(part, 600.0))
    assert part.grad.isfinite().all()
    assert part.grad.abs().max() < 600


@check(2, 4)
def ranks_of_different_dtypes() -> None:
    sizes = sizes_of("even")
    x = batch(sizes, 3, 2, 2, dtype=torch.float32).detach().half()
    exact = nn.BatchNorm2d(3)
    sync = SyncBatchNorm(3)
    part = mine(x, sizes).to(torch.float16 if rank() == 0 else torch.float32)
    close(sync(part).float(), mine(exact(x.float()), sizes), "y", 2e-3)
    close(sync.running_var, exact.running_var, "running_var")


@check(1, 2, 4)
def one_value_in_all_is_refused_on_every_rank() -> None:
    sync = SyncBatchNorm(3)
    before = copy.deepcopy(sync.state_dict())
    for _ in range(2):
        refuses(ValueError, "Expected more than 1 value per channel", sync, torch.ones(int(rank() == 0), 3))
    assert all(torch.equal(value, before[name]) for name, value in sync.state_dict().items() if count() > 1)
    if count() > 1:
        x = batch((1,) * count(), 3, dtype=torch.float32)
        close(sync(mine(x, (1,) * count())), mine(layers.BatchNorm1d(3)(x), (1,) * count()), "y")


@check(1, 2, 4)
def no_value_in_all_leaves_the_statistics() -> None:
    sync = SyncBatchNorm(3)
    x = torch.ones(0, 3, 2, requires_grad=True)
    y = sync(x)
    assert y.shape == x.shape
    y.sum().backward()
    assert x.grad is not None
    assert sync.weight.grad is not None
    assert not sync.weight.grad.any()
    assert not sync.running_mean.any()
    assert (sync.running_var == 1).all()


@check(1, 2, 4)
def one_collective_forward_and_one_backward() -> None:
    sync, x = SyncBatchNorm(3, dtype=torch.float64), batch((4,) * count(), 3)
    several = int(count() > 1)
    part = mine(x, (4,) * count())
    with Calls() as calls:
        y = sync(part)
    assert calls == Counter(all_gather=2 * several) + Counter(), calls  # what must agree, then the moments
    with Calls() as calls:
        y = sync(part)
    assert calls == Counter(all_gather=several) + Counter(), calls
    with Calls() as calls:
        y.sum().backward()
    assert calls == Counter(all_reduce=several) + Counter(), calls
    with Calls() as calls:
        sync(part.detach()).sum().backward()
    assert calls == Counter(all_gather=several) + Counter(), calls
    assert sync.weight.grad is not None
    with Calls() as calls:
        y = sync.eval()(part)
        SyncBatchNorm(3, track_running_stats=False).eval()(part)  # by the batch of this rank
    assert not calls
    plain = nn.BatchNorm1d(3, dtype=torch.float64).eval()
    plain.load_state_dict(sync.state_dict())
    close(y, plain(part), "y in evaluation")


@check(1, 2, 4)
def several_backward_passes() -> None:
    """Catches an operator that marks what is saved as changed, and sums that are added up twice."""
    sizes = sizes_of("uneven")
    part = mine(batch(sizes, 3, 2), sizes)
    y = SyncBatchNorm(3)(part)
    dy = torch.randn_like(y)
    first, *_ = torch.autograd.grad(y, part, dy, retain_graph=True)
    second, *_ = torch.autograd.grad(y, part, dy)
    assert torch.equal(first, second)


@check(2, 4)
def gradients_of_gradients_are_refused() -> None:
    x = mine(batch((4,) * count(), 3), (4,) * count())
    gradient, *_ = torch.autograd.grad(SyncBatchNorm(3)(x).pow(3).sum(), x, create_graph=True)
    refuses(RuntimeError, "differentiate twice", gradient.sum().backward)


@check(2, 4)
def what_one_rank_refuses_is_an_error_on_every_rank() -> None:
    last = rank() == count() - 1
    sync = convert(nn.Sequential(nn.Identity(), nn.BatchNorm1d(3)), to=SyncBatchNorm)
    for shape in ((4, 5), (4,)):
        x = torch.ones(shape if last else (4, 3))
        if last:
            refuses((RuntimeError, ValueError), "expected input", sync, x)
        else:
            refuses(RuntimeError, f"SyncBatchNorm '1': ranks [{count() - 1}] refused their input", sync, x)
    unaffine = SyncBatchNorm(3, affine=False, track_running_stats=False)
    words = "expected input with 3 channels" if last else f"ranks [{count() - 1}] refused"
    refuses(RuntimeError, words, unaffine, torch.ones(4, 5 if last else 3))
    sync(torch.randn(4, 3))


@check(2, 4)
def ranks_that_differ_in_what_needs_a_gradient() -> None:
    sync = SyncBatchNorm(3)
    x = torch.randn(4, 3, requires_grad=rank() == 0)
    refuses(ValueError, "SyncBatchNorm(3): expected input.requires_grad to be the same", sync, x)
    with torch.set_grad_enabled(rank() == 0):
        refuses(ValueError, "got [True, False", sync, torch.randn(4, 3, requires_grad=True))
    sync(torch.randn(4, 3))


@check(2, 4)
def ranks_that_differ_in_their_layers() -> None:
    x = torch.randn(4, 5)
    wider, looser = SyncBatchNorm(5 + (rank() == 1)), SyncBatchNorm(5, eps=0.25 if rank() == 1 else 0.5)
    refuses(ValueError, "expected the same num_features on every rank, got [5.0, 6.0", wider, x)
    refuses(ValueError, "expected the same eps on every rank, got [0.5, 0.25", looser, x)
    # From the first call on, by name; later on, without one.
    named = convert(nn.ModuleDict({"a": nn.BatchNorm1d(5), "b": nn.BatchNorm1d(5)}), to=SyncBatchNorm)
    refuses(RuntimeError, "are in another one", named["b" if rank() == 0 else "a"], x)
    unnamed = [SyncBatchNorm(5), SyncBatchNorm(5)]
    for layer in unnamed:
        layer(x)
    refuses(RuntimeError, "are in another one", unnamed[int(rank() == 0)], x)


@check(4)
def groups_of_ranks() -> None:
    groups = [dist.new_group([0, 1]), dist.new_group([2, 3])]
    x = batch((2, 3, 1, 4), 3)
    half = x.detach()[:5] if rank() < 2 else x.detach()[5:]
    expected = layers.BatchNorm1d(3, dtype=torch.float64)(half)
    own = groups[rank() // 2]
    made = SyncBatchNorm(3, process_group=own, dtype=torch.float64)
    converted = convert(nn.Sequential(nn.BatchNorm1d(3, dtype=torch.float64)), to=SyncBatchNorm, process_group=own)
    start = (0, 2, 0, 1)[rank()]
    for layer in (made, converted, copy.deepcopy(made), torch.optim.swa_utils.AveragedModel(converted)):
        part = mine(x, (2, 3, 1, 4))
        close(layer(part), expected[start : start + len(part)], "y")
    other = SyncBatchNorm(3, process_group=groups[1 - rank() // 2])
    refuses(ValueError, "expected a process_group with this rank in it", other, torch.ones(2, 3))
    # Back to a plain layer, which can be copied: it has forgotten the group.
    assert not hasattr(copy.deepcopy(convert(converted, to=nn))[0], "process_group")


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 5, 2),
        nn.BatchNorm2d(5, momentum=None),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(5 * 3 * 3, 3),
        nn.BatchNorm1d(3),
    ).double()


@check(1, 2, 4)
def training_under_ddp_is_that_of_one_process() -> None:
    for sizes in (sizes_of("even"), sizes_of("uneven")):
        whole = network()
        parallel = DistributedDataParallel(convert(copy.deepcopy(whole), to=SyncBatchNorm))
        start = copy.deepcopy(whole)
        optimizers = [torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9) for model in (whole, parallel)]
        for _ in range(4):
            x, labels = batch(sizes, 2, 6, 6).detach(), torch.randint(3, (sum(sizes),))
            nn.functional.cross_entropy(whole(x), labels).backward()
            loss = nn.functional.cross_entropy(parallel(mine(x, sizes)), mine(labels, sizes), reduction="sum")
            # The mean over the local batch, times W n_r / n; without the division by 0 where that batch is empty.
            (loss * count() / sum(sizes)).backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
        moved = max((a - b).abs().max().item() for a, b in zip(whole.parameters(), start.parameters(), strict=True))
        assert moved > 0.01
        for name, value in whole.state_dict().items():
            close(parallel.module.state_dict()[name].double(), value.double(), name, 1e-9)
        parallel.eval()
        close(parallel(x), whole.eval()(x), "evaluation", 1e-9)


@check(2)
def torch_compile_goes_around() -> None:
    # With one number of ranks only: loading the compiler takes longer than all else here.
    model = nn.Sequential(nn.Conv2d(2, 3, 1), SyncBatchNorm(3), nn.ReLU())
    x = mine(batch((2, 2), 2, 3, 3, dtype=torch.float32), (2, 2))
    expected = model(x)
    gradient, *_ = torch.autograd.grad(expected.pow(2).sum(), x)
    with warnings.catch_warnings(record=True) as given:
        found = torch.compile(model, backend="eager")(x)
    assert not [warning for warning in given if "Dynamo does not know" in str(warning.message)]
    close(found, expected, "y")
    close(torch.autograd.grad(found.pow(2).sum(), x)[0], gradient, "dx")


def main(folder: Path) -> None:
    torch.manual_seed(11)
    dist.init_process_group("gloo", timeout=timedelta(seconds=20))
    outcomes: dict[str, str] = {}
    for name, (function, ranks) in CHECKS.items():
        if count() not in ranks:
            continue
        try:
            function()
            outcomes[name] = "passed"
        except Exception:
            outcomes[name] = traceback.format_exc()
        try:
            # One seed for the next check, even if a rank left this one early.
            torch.manual_seed(len(outcomes))
            dist.barrier()
        except RuntimeError:
            break
    (folder / f"{rank()}.json").write_text(json.dumps(outcomes))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
