"""Who races: each peer is a function of a batch that returns ``y``, with gradients behind it."""

# mypy: disable-error-code="no-untyped-call, import-not-found"
from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from bncourse.kernels.backend import INTERPRETED
from bncourse.kernels.bench.batch import EPS, MOMENTUM, Batch
from bncourse.kernels.bench.suite import OURS, Case

Function = Callable[[Batch], Tensor]


def _nothing(device: torch.device) -> str:
    return ""


@dataclass(frozen=True)
class Peer:
    """An implementation of batch norm.

    Attributes
    ----------
    make : the function for a case, not yet compiled.
    missing : what keeps it from running on this device, in words; empty where nothing does.
    takes : whether it is made for such a case.
    name : by which results name it.
    """

    name: str
    make: Callable[[Case], Function]
    missing: Callable[[torch.device], str] = _nothing
    takes: Callable[[Case], bool] = lambda case: True


def selected_backend(batch: Batch) -> str:
    """What PyTorch itself chooses for this batch: Cudnn, Native or Miopen."""
    statistics = (batch.weight, batch.bias, batch.running_mean, batch.running_var)
    return str(torch._C._select_batch_norm_backend(batch.x, *statistics, True, EPS)).rsplit(".", 1)[-1]


def _ours(case: Case) -> Function:
    from bncourse.kernels import batch_norm

    activation = "relu" if "relu" in case.fusion else None

    def function(batch: Batch) -> Tensor:
        statistics = (batch.running_mean, batch.running_var)
        return batch_norm(
            batch.x, batch.weight, batch.bias, *statistics, True, MOMENTUM, EPS, batch.residual, activation
        )

    return function


def _in_torch(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    residual: Tensor | None,
    relu: bool,
) -> Tensor:
    y = functional.batch_norm(x, running_mean, running_var, weight, bias, True, MOMENTUM, EPS)
    return _and_then(y, residual, relu)


def _and_then(y: Tensor, residual: Tensor | None, relu: bool) -> Tensor:
    if residual is not None:
        y = y + residual
    return functional.relu(y) if relu else y


def _arguments(batch: Batch) -> tuple[Any, ...]:
    statistics = (batch.running_mean, batch.running_var)
    return (batch.x, batch.weight, batch.bias, *statistics, batch.residual, batch.relu)


def _pytorch(case: Case) -> Function:
    return lambda batch: _in_torch(*_arguments(batch))


def _native(case: Case) -> Function:
    def function(batch: Batch) -> Tensor:
        with torch.backends.cudnn.flags(enabled=False):
            return _in_torch(*_arguments(batch))

    return function


def _cudnn(case: Case) -> Function:
    def function(batch: Batch) -> Tensor:
        statistics = (batch.running_mean, batch.running_var)
        y = torch.cudnn_batch_norm(batch.x, batch.weight, batch.bias, *statistics, True, MOMENTUM, EPS)[0]
        return _and_then(y, batch.residual, batch.relu)

    return function


def _compiled(cooperative: bool) -> Callable[[Case], Function]:
    def make(case: Case) -> Function:
        from torch._functorch import config

        # Backward runs many times over one forward pass, whose results must not be overwritten.
        config.donated_buffer = False
        # What TORCHINDUCTOR_COOPERATIVE_REDUCTIONS=1 sets, for this function alone.
        options: dict[str, Any] = {"triton.cooperative_reductions": cooperative}
        compiled = torch.compile(_in_torch, dynamic=False, fullgraph=True, options=options)
        return lambda batch: compiled(*_arguments(batch))

    return make


def _per_channel(case: Case) -> Function:
    from bncourse.kernels.bench.per_channel import batch_norm

    return batch_norm


def _apex(case: Case) -> Function:
    from apex.contrib.groupbn.batch_norm import BatchNorm2d_NHWC

    module = BatchNorm2d_NHWC(case.shape[1], fuse_relu="relu" in case.fusion).cuda().train()
    module.momentum, module.eps = MOMENTUM, EPS

    def function(batch: Batch) -> Tensor:
        # Not as nn.Parameter: the gradients are asked for at the batch's own tensors.
        module._parameters.update(weight=batch.weight, bias=batch.bias)
        module._buffers.update(running_mean=batch.running_mean, running_var=batch.running_var)
        inputs = [array.permute(0, 2, 3, 1) for array in (batch.x, batch.residual) if array is not None]
        y: Tensor = module(*inputs).permute(0, 3, 1, 2)
        return y

    return function


def _needs_cuda(device: torch.device) -> str:
    return "" if device.type == "cuda" else "needs a GPU"


def _needs_cudnn(device: torch.device) -> str:
    return _needs_cuda(device) or ("" if torch.backends.cudnn.is_available() else "PyTorch has no cuDNN here")


def _needs_triton(device: torch.device) -> str:
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    return "" if INTERPRETED else _needs_cuda(device)


def _needs_inductor(device: torch.device) -> str:
    return _needs_cuda(device) or _needs_triton(device)


def _needs_apex(device: torch.device) -> str:
    if (reason := _needs_cuda(device)) == "":
        try:
            from apex.contrib.groupbn.batch_norm import BatchNorm2d_NHWC  # noqa: F401
        except Exception as error:
            return f"apex.contrib.groupbn does not import: {type(error).__name__}: {error}"
    return reason


PEERS = (
    Peer(OURS, _ours),
    Peer("PyTorch native", _native),
    Peer("PyTorch", _pytorch),
    Peer("cuDNN", _cudnn, _needs_cudnn, lambda case: len(case.shape) > 2),
    Peer("torch.compile", _compiled(False), _needs_inductor),
    Peer("torch.compile, cooperative", _compiled(True), _needs_inductor),
    Peer(
        "one program per channel",
        _per_channel,
        _needs_triton,
        lambda case: case.format == "channels_first" and not case.fusion,
    ),
    Peer(
        "apex groupbn",
        _apex,
        _needs_apex,
        lambda case: case.dtype == "float16" and case.format == "channels_last" and len(case.shape) == 4,
    ),
)
"""Who races."""
