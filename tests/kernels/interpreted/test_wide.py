"""Offsets beyond 32 bits, with no more memory than the few channels take that are computed."""

import mmap
import resource
from unittest.mock import patch

import pytest
import torch

from bncourse.kernels import launch, view
from bncourse.kernels.backend import unpack_flags
from bncourse.kernels.view import View

EPS = 1e-5
MAP_NORESERVE = 0x4000
"""Of Linux; Python names it from 3.13 on."""


def reserve(like, shape=None, dtype=None):
    """Addresses without memory behind them: the system gives a page when it is first touched."""
    shape, dtype = (tuple(like.shape), like.dtype) if shape is None else (shape, dtype)
    size = max(torch.Size(shape).numel() * dtype.itemsize, 1)
    try:
        buffer = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE)
    except OSError as error:
        pytest.skip(f"this machine refuses {size / 2**30:.0f} GiB of addresses: {error}")
    return torch.frombuffer(buffer, dtype=dtype, count=torch.Size(shape).numel()).view(shape)


@pytest.mark.parametrize("shape", [(2**14 + 2, 2**20), (2**14 + 2, 2**17, 8)])
def test_the_last_rows_of_an_array_with_more_than_two_to_the_34_values(shape, monkeypatch):
    """Catches an offset in 32 bits: that of a value, and, beyond 2**34 values, that of a byte of flags."""
    torch.manual_seed(0)
    # The first programs alone run, which serve the first channels.
    monkeypatch.setattr(View, "grid", lambda self, cores, limit=None: (1, 3))
    monkeypatch.setattr(view, "TILE", 2**15)
    channels = View(shape[0], shape[1], 8 if len(shape) == 3 else 1).blocks["BLOCK_C"]
    full = torch.empty(shape, dtype=torch.float16, device="meta")
    x, dy, residual = (reserve(full) for _ in range(3))
    for values in (x, dy, residual):
        values[:, :channels] = torch.randn(shape[0], channels, *shape[2:])
    weight = torch.rand(shape[1]) + 0.5
    with patch.object(launch, "allocate", reserve):
        y, mean, inv_std, flags = launch.forward(
            x, weight, None, None, None, True, 0.1, EPS, residual, True, save_flags=True
        )
        dx, dweight, dbias, dresidual = launch.backward(
            dy, x, weight, None, mean, inv_std, flags, True, True, needs_residual=True
        )

    def computed(values):
        return values[:, :channels].double()

    exact = computed(x).requires_grad_()
    before = torch.nn.functional.batch_norm(exact, None, None, weight[:channels].double(), training=True, eps=EPS)
    passed = before + computed(residual) > 0
    last = computed(y)[-100:]
    torch.testing.assert_close(last, (before + computed(residual)).relu().detach()[-100:], rtol=2e-3, atol=2e-3)
    upstream = computed(dy) * (computed(y) > 0)
    assert ((computed(y) > 0) == passed).double().mean() > 0.999
    assert torch.equal(computed(dresidual), upstream)
    (gradient,) = torch.autograd.grad(before, exact, upstream)
    torch.testing.assert_close(computed(dx)[-100:], gradient[-100:], rtol=2e-3, atol=2e-3)
    axes = [axis for axis in range(len(shape)) if axis != 1]
    torch.testing.assert_close(dbias[:channels].double(), upstream.sum(axes), rtol=1e-4, atol=1e-2)
    assert torch.equal(unpack_flags(flags[-4:], x[-4:])[:, :channels], (y[-4:] > 0)[:, :channels])
    assert dweight.shape == weight.shape
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4 * 2**20  # in KiB
