"""The path in PyTorch's functions, on its own: precision, blocks and memory formats."""

import pytest
import torch
from torch import Tensor

from bncourse.kernels import batch_norm, cpu
from bncourse.kernels.backend import INTERPRETED

pytestmark = pytest.mark.slow

ROUNDING = 2.0**-24
"""Half a unit in the last place of a float32, relative."""


@pytest.fixture
def threads():
    """Restores the number of threads, which a test may set."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def small_blocks(monkeypatch):
    """So small that a few examples make several blocks, the last one shorter."""
    monkeypatch.setattr(cpu, "BLOCK", 64)
    monkeypatch.setattr(cpu, "FEW", 4)


def batch(shape: tuple[int, ...], mean: float = 0.0, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    """x, dy, weight and bias, where every channel has another mean and spread."""
    generator = torch.Generator().manual_seed(0)
    c = (1, shape[1], *[1] * (len(shape) - 2))
    spread = 0.5 + torch.rand(c, generator=generator, dtype=torch.float64)
    centre = mean * (1 + 0.1 * torch.randn(c, generator=generator, dtype=torch.float64))
    x = (torch.randn(shape, generator=generator, dtype=torch.float64) + centre) * spread
    dy = torch.randn(shape, generator=generator, dtype=torch.float64) + 0.7
    weight, bias = (torch.randn(shape[1], generator=generator, dtype=torch.float64) for _ in range(2))
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    return x.to(dtype), dy.to(dtype), weight.to(wide), bias.to(wide)


def exact(
    x: Tensor, dy: Tensor, weight: Tensor, bias: Tensor, residual: Tensor | None, relu: bool
) -> dict[str, Tensor]:
    """PyTorch's results in float64."""
    leaves = [values.double().requires_grad_() for values in (x, weight, bias)]
    y = torch.nn.functional.batch_norm(leaves[0], None, None, leaves[1], leaves[2], True)
    y = y if residual is None else y + residual.double()
    y = y.relu() if relu else y
    dx, dweight, dbias = torch.autograd.grad(y, leaves, dy.double())
    axes = [axis for axis in range(x.ndim) if axis != 1]
    var, mean = torch.var_mean(x.double(), axes, correction=0)
    return {
        "y": y.detach(),
        "mean": mean,
        "inv_std": (var + 1e-5).rsqrt(),
        "dx": dx,
        "dweight": dweight,
        "dbias": dbias,
    }


def computed(
    x: Tensor, dy: Tensor, weight: Tensor, bias: Tensor, residual: Tensor | None, relu: bool
) -> dict[str, Tensor]:
    y, mean, inv_std, flags = cpu.forward(
        x, weight, bias, None, None, True, 0.1, 1e-5, residual, relu, relu and residual is not None
    )
    dx, dweight, dbias, _ = cpu.backward(
        dy, x, weight, bias, mean, inv_std, flags, True, relu, relu and residual is not None
    )
    return {"y": y, "mean": mean, "inv_std": inv_std, "dx": dx, "dweight": dweight, "dbias": dbias}


def distance(one: Tensor, other: Tensor) -> float:
    """Largest difference, relative to the largest value."""
    return ((one.double() - other).abs().max() / other.abs().max()).item()


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("mean", [1e4, 1e5])
def test_a_far_mean_leaves_the_statistics_right_at_any_number_of_threads(mean, count, threads):
    """Catches long sums in float32: torch.nn.functional.batch_norm is off by standard deviations."""
    threads(count)
    x, dy, weight, bias = batch((65536, 64), mean)
    found, right = computed(x, dy, weight, bias, None, False), exact(x, dy, weight, bias, None, False)
    # What storing the mean in float32 costs, in standard deviations. x * a + b would cost as much twice more.
    unit = 1.2 * ROUNDING * (right["mean"].abs() * right["inv_std"]).max()
    assert distance(found["inv_std"], right["inv_std"]) < 1e-4
    assert ((found["mean"].double() - right["mean"]).abs() * right["inv_std"]).max() < unit
    assert ((found["y"].double() - right["y"]).abs() / weight.abs()).max() < unit + 3e-4
    assert distance(found["dbias"], right["dbias"]) < 1e-5


def test_this_is_more_than_torch_does(threads):
    """The case above is one on which a plain implementation fails."""
    threads(1)
    x, dy, weight, bias = batch((65536, 64), 1e4)
    y = torch.nn.functional.batch_norm(x, None, None, weight, bias, True)
    assert distance(y, exact(x, dy, weight, bias, None, False)["y"]) > 0.5


@pytest.mark.parametrize("mean", [0.0, 1.5, 1e3])
@pytest.mark.parametrize("epilogue", ["nothing", "relu", "residual", "residual and relu"])
@pytest.mark.parametrize(
    ("shape", "channels_last"),
    [((11, 3), False), ((11, 129), False), ((7, 3, 5), False), ((3, 5, 7, 2), False), ((3, 5, 7, 2), True)],
)
def test_blocks_make_no_difference(shape, channels_last, epilogue, mean, small_blocks, threads):
    """Catches blocks that are lost, taken twice or misplaced, far means and near ones."""
    threads(1)
    x, dy, weight, bias = batch(shape, mean, torch.float64)
    residual = torch.randn(shape, dtype=torch.float64) if "residual" in epilogue else None
    if channels_last:
        x, dy = (values.contiguous(memory_format=torch.channels_last) for values in (x, dy))
    arguments = x, dy, weight, bias, residual, "relu" in epilogue
    found, right = computed(*arguments), exact(*arguments)
    for name, values in found.items():
        assert distance(values, right[name]) < 1e-10, name
    assert found["y"].stride() == found["dx"].stride() == x.stride()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(300, 6), (5, 6, 9, 4)])
@pytest.mark.parametrize("mean", [1.0, 50.0])
def test_half_precision_is_rounded_only_when_stored(dtype, shape, mean, small_blocks):
    """Catches statistics, or x_hat, in half precision: they lose two digits more."""
    x, dy, weight, bias = batch(shape, mean, dtype)
    residual = torch.randn(shape).to(dtype)
    found = computed(x, dy, weight, bias, residual, True)
    right = exact(x, dy, weight, bias, residual, False)
    assert found["mean"].dtype == found["inv_std"].dtype == found["dweight"].dtype == torch.float32
    assert distance(found["mean"], right["mean"]) < 1e-6
    assert distance(found["inv_std"], right["inv_std"]) < 1e-5
    step = torch.finfo(dtype).eps
    off = (found["y"].double() - right["y"].relu()).abs()
    assert (off <= step * right["y"].abs() / 2 + 1e-4).all()
    # Rounded to zero in the forward pass or not, its gradient is let through by what stood there before.
    plain = [computed(x, dy, weight, bias, None, False)["dx"], exact(x, dy, weight, bias, None, False)["dx"]]
    assert ((plain[0].double() - plain[1]).abs() <= step * plain[1].abs() / 2 + 1e-4).all()


def test_a_drifting_batch_has_the_right_variance(small_blocks):
    """Catches a shift that is taken from the first examples, when the others lie far from them."""
    x, dy, weight, bias = batch((400, 5), 3.0)
    x += torch.linspace(0, 3e3, 400)[:, None]
    found, right = computed(x, dy, weight, bias, None, False), exact(x, dy, weight, bias, None, False)
    assert distance(found["inv_std"], right["inv_std"]) < 1e-6
    assert distance(found["y"], right["y"]) < 1e-5


def test_sums_over_many_examples_keep_their_digits(threads):
    """Catches sums of a gradient in float32, one value after another: they are off by 3e-3 on 300 000 equal values."""
    threads(1)
    x, _, weight, bias = batch((300_000, 2), 0.0)
    dy = torch.full_like(x, 0.1)
    found = computed(x, dy, weight, bias, None, False)
    assert distance(found["dbias"], torch.full((2,), 0.1 * 300_000, dtype=torch.float64)) < 3e-5
    # A gradient that is the same everywhere changes nothing in front of a batch norm.
    assert found["dx"].abs().max() < 3e-5 * 0.1 * (weight * found["inv_std"]).abs().max()


def test_channels_do_not_touch_each_other():
    """A NaN, an infinity and a constant stay in their channels, though the far means take another path for all."""
    x, dy, weight, bias = batch((40, 5), 0.5)
    expected = cpu.forward(x, weight, bias, None, None, True, 0.1, 1e-5, None, False, False)[0]
    x[3, 1], x[5, 2], x[:, 4] = float("nan"), float("inf"), 777.7
    found = computed(x, dy, weight, bias, None, False)
    for name in ("y", "dx"):
        assert found[name][:, [1, 2]].isnan().any(dim=0).all()
        assert found[name][:, [0, 3, 4]].isfinite().all()
    assert torch.allclose(found["y"][:, [0, 3]], expected[:, [0, 3]], rtol=0, atol=1e-5)
    assert torch.allclose(found["y"][:, 4], bias[4], rtol=0, atol=2e-2)


def test_two_runs_are_equal_to_the_bit():
    x, dy, weight, bias = batch((3000, 70), 1.0)
    first, second = (computed(x, dy, weight, bias, None, True) for _ in range(2))
    assert all(torch.equal(values, second[name]) for name, values in first.items())


@pytest.mark.skipif(INTERPRETED, reason="the interpreter computes")
@pytest.mark.parametrize(("shape", "channels_last"), [((256, 64), False), ((7, 3, 5, 4), False), ((9, 70, 7, 7), True)])
def test_batches_that_pytorch_gets_right_are_left_to_it(shape, channels_last):
    """Catches a missing gradient, the biased variance in the running ones, and a momentum that is not ours."""
    x, dy, weight, bias = batch(shape, mean=0.5)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    right = exact(x, dy, weight, bias, None, False)
    leaves = [values.clone().requires_grad_() for values in (x, weight, bias)]
    running_mean, running_var = torch.full((shape[1],), 3.0), torch.full((shape[1],), 2.0)
    assert cpu.suits_pytorch(leaves[0], *leaves[1:], running_mean, running_var)
    y = cpu.pytorch_batch_norm(*leaves, running_mean, running_var, 0.3, 1e-5)
    assert y is not None
    assert torch.equal(y, batch_norm(*leaves, training=True))
    found = dict(zip(("dx", "dweight", "dbias"), torch.autograd.grad(y, leaves, dy), strict=True)) | {"y": y}
    for name, values in found.items():
        assert distance(values, right[name]) < 5e-6, name
    count = x.numel() // shape[1]
    unbiased = (right["inv_std"] ** -2 - 1e-5) * count / (count - 1)
    assert distance(running_mean, 0.7 * 3 + 0.3 * right["mean"]) < 1e-6
    assert distance(running_var, 0.7 * 2 + 0.3 * unbiased) < 1e-6


@pytest.mark.parametrize("value", [1e4, float("nan"), float("inf")])
def test_what_pytorch_may_get_wrong_is_not_left_to_it(value):
    """Catches a batch whose statistics were never looked at, and running statistics that it has moved already."""
    x, _, weight, bias = batch((256, 5), mean=0.5)
    if value == 1e4:
        x[:, 3] += value
    else:
        x[17, 3] = value
    running_mean, running_var = torch.zeros(5), torch.ones(5)
    assert cpu.pytorch_batch_norm(x, weight, bias, running_mean, running_var, 0.1, 1e-5) is None
    assert not running_mean.any()
    assert torch.equal(running_var, torch.ones(5))


def test_pytorch_is_not_asked_where_its_sums_are_long_or_nobody_can_look():
    """Catches a limit on values where rows are meant, and looking at values that are not there yet."""
    x, vector = torch.randn(cpu.FEW, 2), torch.ones(2)
    cases = {
        "many rows": (torch.randn(cpu.FEW + 1, 2), vector),
        "half precision": (x.half(), vector),
        "parameters of another precision": (x, vector.double()),
        "parameters with gaps": (x, torch.ones(2, 2)[:, 0]),
        "large maps": (torch.randn(2, 2, 300, 300), vector),
    }
    assert cpu.suits_pytorch(x, vector) is not INTERPRETED
    for name, (values, parameters) in cases.items():
        assert not cpu.suits_pytorch(values, parameters), name
    looked: list[bool] = []
    torch.func.vmap(lambda part: looked.append(cpu.suits_pytorch(part)) or part)(x.view(2, -1, 2))
    with torch._subclasses.FakeTensorMode():
        looked.append(cpu.suits_pytorch(x))
        looked.append(cpu.suits_pytorch(torch.empty(4, 2)))
    assert looked == [False] * 3
