"""The algebra of folding: what becomes of a layer's weights when a batch norm goes into them, and when that is exact.

In evaluation batch norm is one factor and one shift for each channel. A layer that is linear takes both in.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Layer: TypeAlias = (
    "nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d"
)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED)


def factor_and_shift(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    r"""What batch norm does in evaluation, to each of C channels: :math:`y = a x + c`.

    .. math:: a = \frac{\gamma}{\sqrt{\sigma^2 + \epsilon}}, \qquad c = \beta - a \mu

    Parameters
    ----------
    norm : with running statistics.

    Returns
    -------
    factor, shift : of shape (C,), in float64 on the CPU, as is everything here until weights are rounded, once.

    Raises
    ------
    ValueError : if ``norm`` has no running statistics.

    Examples
    --------
    >>> import torch
    >>> from bncourse.layers.folding import factor_and_shift
    >>> norm = torch.nn.BatchNorm1d(1, eps=0.0).eval()
    >>> norm.running_mean.fill_(4.0), norm.running_var.fill_(9.0)
    (tensor([4.]), tensor([9.]))
    >>> factor, shift = factor_and_shift(norm)
    >>> print(round(factor.item(), 3), round(shift.item(), 3))
    0.333 -1.333
    """
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError(f"expected norm with running statistics, got {norm}")
    factor = torch.rsqrt(_double(norm.running_var) + norm.eps)
    if norm.weight is not None:
        factor = factor * _double(norm.weight)
    shift = -factor * _double(norm.running_mean)
    if norm.bias is not None:
        shift = shift + _double(norm.bias)
    return factor, shift


def fold_after(layer: Layer, factor: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    r"""Weight and bias of one layer that does what ``layer`` and then a batch norm do.

    .. math:: W'_{o i t} = a_o W_{o i t}, \qquad b'_o = a_o b_o + c_o

    with :math:`o` for an output channel, :math:`i` for an input channel, and :math:`t` for a place in the kernel.

    Parameters
    ----------
    layer : one of ``LAYERS``.
    factor, shift : :math:`a` and :math:`c`, one for each output channel.

    Returns
    -------
    weight, bias : in float64, of the shapes of the layer's; a bias comes back where there was none.
    """
    weight = _by_group(layer)
    weight = weight * factor.reshape(len(weight), -1, 1, 1)
    return _as_stored(layer, weight), _bias(layer) * factor + shift


def fold_before(layer: Layer, factor: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    r"""Weight and bias of one layer that does what a batch norm and then ``layer`` do.

    .. math:: W'_{o i t} = W_{o i t} a_i, \qquad b'_o = b_o + \sum_{i, t} W_{o i t} c_i

    Exact where every output sees its whole kernel, which :func:`partial_kernels` decides.

    Parameters
    ----------
    layer : one of ``LAYERS``.
    factor, shift : :math:`a` and :math:`c`, one for each input channel.

    Returns
    -------
    weight, bias : as from :func:`fold_after`.
    """
    weight = _by_group(layer)
    bias = torch.einsum("goit,gi->go", weight, shift.reshape(len(weight), -1))
    weight = weight * factor.reshape(len(weight), 1, -1, 1)
    return _as_stored(layer, weight), _bias(layer) + bias.flatten()


def partial_kernels(layer: Layer) -> str | None:
    """Why some outputs of a layer see a part of its kernel only, or None if each sees all of it.

    There a shift of the input adds less to the output than elsewhere, which no bias can do. A convolution that pads
    with zeros has such outputs at its border. Padding by values of the input has none: these are shifted as well. A
    transposed convolution has them nearly always: at its border, unless ``padding`` cuts that off, and everywhere with
    a stride, where each output sees those places of the kernel that fall on it.
    """
    if isinstance(layer, nn.Linear):
        return None
    kernel, dilation = layer.kernel_size, layer.dilation
    overhang = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    padding = layer.padding
    if isinstance(layer, TRANSPOSED):
        assert not isinstance(padding, str)
        if any(stride > 1 for stride in layer.stride):
            return "with its stride, an output sees a part of the kernel only"
        cut = zip(padding, overhang, layer.output_padding, strict=True)
        if any(p < o + added for p, o, added in cut):
            return "its outputs at the border see a part of the kernel only"
        return None
    pads = overhang if padding == "same" else [] if padding == "valid" else padding
    if layer.padding_mode == "zeros" and any(pads):
        return "it pads with zeros, which the shift of a batch norm does not reach"
    return None


def store(layer: Layer, weight: Tensor, bias: Tensor) -> None:
    """Give a layer another weight and bias, rounded to its own dtype, on its device and in its memory format.

    Parameters
    ----------
    layer : whose parameters are replaced.
    weight, bias : in float64; they are rounded to the layer's dtype.
    """
    old, new = layer.weight, torch.empty_like(layer.weight, requires_grad=False).copy_(weight)
    layer.weight = nn.Parameter(new, old.requires_grad)
    layer.bias = nn.Parameter(bias.to(old), old.requires_grad if layer.bias is None else layer.bias.requires_grad)


class Folded(nn.Module):
    """Stands where a batch norm stood, and returns its input.

    It refuses inputs for which channels are not where they were for the layer that took the batch norm in. A Linear's
    features are the last axis of (N, L, C), a BatchNorm1d's channels are axis 1: the two meet in (N, C) alone.

    Parameters
    ----------
    into : name of the layer.
    axes : how many axes the input must have.
    """

    def __init__(self, into: str, axes: int) -> None:
        super().__init__()
        self.into, self.axes = into, axes

    def forward(self, input: Tensor) -> Tensor:
        """Return ``input``; raise AssertionError if it has another number of axes."""
        # Not an `if`, so that the folded model can be traced in its turn.
        torch._assert(  # type: ignore[no-untyped-call]
            input.dim() == self.axes,
            f"expected input with {self.axes} axes, for which a batch norm was folded into {self.into}",
        )
        return input

    def extra_repr(self) -> str:
        """Show where the batch norm has gone."""
        return f"into {self.into}"


def _double(value: Tensor) -> Tensor:
    # On the CPU because not every device has float64.
    return value.detach().cpu().double()


def _bias(layer: Layer) -> Tensor:
    return torch.zeros((), dtype=torch.float64) if layer.bias is None else _double(layer.bias)


def _by_group(layer: Layer) -> Tensor:
    """The weight as (groups, outputs of a group, inputs of a group, places in the kernel)."""
    groups = 1 if isinstance(layer, nn.Linear) else layer.groups
    weight = _double(layer.weight).reshape(groups, -1, layer.weight.shape[1], layer.weight[0, 0].numel())
    # A transposed convolution stores (inputs, outputs of a group, *kernel).
    return weight.transpose(1, 2) if isinstance(layer, TRANSPOSED) else weight


def _as_stored(layer: Layer, weight: Tensor) -> Tensor:
    if isinstance(layer, TRANSPOSED):
        weight = weight.transpose(1, 2)
    return weight.reshape(layer.weight.shape)
