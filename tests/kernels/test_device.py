"""The kernels on a GPU: the interpreter's cases, whole layers at their real sizes, and arrays beyond 32 bits.

``make gpu`` runs this file, with no more than PyTorch, Triton and pytest; the names with ``small`` in them also under
compute-sanitizer.
"""

import os

import pytest
import torch

pytest.importorskip("triton", reason="no Triton here: pip install 'bncourse[kernels]' (Linux only)")
if not torch.cuda.is_available():
    pytest.skip("no CUDA device here", allow_module_level=True)
if os.environ.get("TRITON_INTERPRET", "0") not in ("", "0"):
    pytest.skip("TRITON_INTERPRET is set, so that nothing would run on the device", allow_module_level=True)

from bncourse.kernels import batch_norm, launch
from bncourse.kernels.backend import unpack_flags
from tests.kernels.cases import Case, cases, check

CASES, _ = cases()
SMALL = [case for case in CASES if case.examples * case.channels * case.positions < 2000]
SIZES = {  # with the tiles and programs that the package chooses
    "resnet": ((32, 64, 56, 56), None),
    "resnet-last": ((32, 64, 56, 56), torch.channels_last),
    "late": ((256, 512, 7, 7), None),
    "late-last": ((256, 512, 7, 7), torch.channels_last),
    "efficientnet-last": ((64, 24, 112, 112), torch.channels_last),
    "tall": ((2**20, 64), None),
    "skinny": ((64, 8192), None),
    "odd": ((1025, 129), None),
    "video": ((8, 64, 16, 28, 28), None),
    "video-last": ((8, 64, 16, 28, 28), torch.channels_last_3d),
}


@pytest.mark.parametrize("case", SMALL, ids=str)
def test_small_case(case: Case):
    check(case, "cuda")


@pytest.mark.parametrize("case", [case for case in CASES if case not in SMALL], ids=str)
def test_case(case: Case):
    check(case, "cuda")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("size", SIZES)
def test_layers_at_their_real_sizes(size, dtype):
    """Catches what only many programs at a time can show: a race, a split that the small cases do not have."""
    shape, memory_format = SIZES[size]
    torch.manual_seed(0)

    def draw(offset: float) -> torch.Tensor:
        values = (torch.randn(shape, device="cuda") + offset).to(dtype)
        return values if memory_format is None else values.contiguous(memory_format=memory_format)

    x, residual, dy = draw(2.0), draw(0.5), draw(0.1)
    weight, bias = torch.rand(shape[1], device="cuda") + 0.5, torch.randn(shape[1], device="cuda")
    runs = []
    for _ in range(3):  # a race need not show at once
        running = torch.zeros(shape[1], device="cuda"), torch.ones(shape[1], device="cuda")
        y, mean, inv_std, flags = launch.forward(x, weight, bias, *running, True, 0.1, 1e-5, residual, True, True)
        grads = launch.backward(dy, x, weight, bias, mean, inv_std, flags, True, True, True)
        runs.append((y, mean, inv_std, *running, *grads))
    for again in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], again, strict=True)), "runs differ"

    leaves = [values.double().requires_grad_() for values in (x, weight, bias)]
    exact_running = torch.zeros_like(mean).double(), torch.ones_like(mean).double()
    exact = torch.nn.functional.batch_norm(leaves[0], *exact_running, *leaves[1:], True, 0.1, 1e-5) + residual.double()
    rounding = torch.finfo(dtype).eps
    torch.testing.assert_close(y.double(), exact.relu(), rtol=rounding, atol=1e-5)
    torch.testing.assert_close(running[0].double(), exact_running[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(running[1].double(), exact_running[1], rtol=1e-5, atol=1e-6)
    passed = unpack_flags(flags, x)
    assert torch.equal(passed, y > 0)
    upstream = dy.double() * passed
    wanted = torch.autograd.grad(exact, leaves, upstream)
    dx, dweight, dbias, dresidual = grads
    assert torch.equal(dresidual.double(), upstream)
    torch.testing.assert_close(dx.double(), wanted[0], rtol=rounding, atol=1e-5)
    axes = [axis for axis in range(len(shape)) if axis != 1]
    roundings = 1e-5 * upstream.abs().sum(axes).max().item()
    torch.testing.assert_close(dweight.double(), wanted[1], rtol=1e-5, atol=roundings)
    torch.testing.assert_close(dbias.double(), wanted[2], rtol=1e-5, atol=roundings)


@pytest.mark.parametrize("shape", [(2**25 + 64, 64), (2**16 + 2, 1, 2**15), (2**21 + 2, 1024)], ids=str)
def test_arrays_of_more_than_two_to_the_31_values(shape):
    """Catches an offset or a count in 32 bits. The batch's second half repeats the first."""
    size = torch.Size(shape).numel()
    if torch.cuda.mem_get_info()[0] < 11 * size:
        pytest.skip(f"needs {11 * size / 2**30:.0f} GiB of the device's memory")
    period = shape[0] // 2
    torch.manual_seed(0)
    x = torch.empty(shape, dtype=torch.float16, device="cuda")
    x[:period] = torch.randn(period, *shape[1:], dtype=torch.float16, device="cuda")
    x[period:] = x[:period]
    y, mean, inv_std, flags = launch.forward(x, None, None, None, None, True, 0.1, 1e-5, None, True, False)
    assert torch.equal(y[:period], y[period:])
    channel = shape[1], *[1] * (len(shape) - 2)
    last = ((x[-1] - mean.view(channel)) * inv_std.view(channel)).relu()
    torch.testing.assert_close(y[-1].float(), last, rtol=2.0**-10, atol=1e-6)
    axes, count = [axis for axis in range(len(shape)) if axis != 1], size // shape[1]
    # In blocks, so that no second array in float64 is needed.
    exact_mean = 2 * sum(block.sum(axes, dtype=torch.float64) for block in x[:period].split(4096)) / count
    torch.testing.assert_close(mean.double(), exact_mean, rtol=1e-3, atol=1e-6)
    assert (inv_std - 1).abs().max() < 1e-2
    dx, _, dbias, _ = launch.backward(y, x, None, None, mean, inv_std, flags, True, True, False)
    assert torch.equal(dx[:period], dx[period:])
    # The mean of the positive part of a normal number.
    torch.testing.assert_close(dbias / count, torch.full_like(dbias, 0.3989), rtol=2e-2, atol=0)


def test_the_operator_on_the_device():
    x = torch.randn(8, 4, 5, 5, device="cuda", requires_grad=True)
    weight, bias = (torch.rand(4, device="cuda", requires_grad=True) for _ in range(2))
    y = batch_norm(x, weight, bias, training=True, activation="relu")
    exact = torch.nn.functional.batch_norm(x.double(), None, None, weight.double(), bias.double(), True).relu()
    torch.testing.assert_close(y.double(), exact, rtol=1e-6, atol=1e-6)
    ours = torch.autograd.grad(y.square().sum(), (x, weight, bias))
    theirs = torch.autograd.grad(exact.square().sum(), (x, weight, bias))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
