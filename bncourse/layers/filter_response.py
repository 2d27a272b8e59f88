"""Filter response normalization: each map by its own second moment, with an activation that makes up for the mean."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bncourse.kernels.view import accumulator_dtype
from bncourse.layers.batches import check_channels


class FilterResponseNorm(nn.Module):
    r"""Filter response normalization of (N, C, \*spatial), with its thresholded linear unit.

    .. math:: y = \max\!\left( \gamma\, \frac{x}{\sqrt{\nu^2 + \epsilon}} + \beta,\ \tau \right), \qquad
              \nu^2 = \operatorname{mean}(x^2)

    The mean runs over the positions of one channel of one example. No other example has a part in it, so training and
    evaluation are the same. No mean is subtracted, and a map may come out far from zero as a whole; the threshold
    :math:`\tau`, which is learned, stands in for the zero of a ReLU. Put no activation after this layer. (Singh and
    Krishnan 2020.)

    Parameters
    ----------
    num_features : C.
    eps : added to the second moment, positive.
    device, dtype : of the parameters: ``weight`` :math:`\gamma`, ``bias`` :math:`\beta` and ``threshold``
        :math:`\tau`, of shape (C,), at first ones, zeros and zeros. Second moments are computed in float32 at least.

    Raises
    ------
    ValueError : for an ``eps`` that is not positive; in a forward pass, if there is no spatial axis.
    RuntimeError : in a forward pass, if the channels are not as many as the layer's.

    Notes
    -----
    Where a map is one value and ``eps`` small, :math:`x / \sqrt{x^2 + \epsilon}` is the sign of x, and nearly no
    gradient gets through. For such maps the paper learns :math:`\epsilon`; here it is a number to choose, near the
    values' second moment.

    Examples
    --------
    >>> import torch
    >>> from bncourse.layers import FilterResponseNorm
    >>> layer = FilterResponseNorm(1)
    >>> layer(torch.tensor([[[3.0, -4.0, 0.0, 5.0, 0.0]]])).detach().round(decimals=3)
    tensor([[[0.9490, 0.0000, 0.0000, 1.5810, 0.0000]]])
    """

    def __init__(
        self, num_features: int, eps: float = 1e-6, device: Any = None, dtype: torch.dtype | None = None
    ) -> None:
        if not eps > 0:
            raise ValueError(f"expected eps to be positive, got {eps}")
        super().__init__()
        self.num_features, self.eps = num_features, eps
        self.weight, self.bias, self.threshold = (
            nn.Parameter(torch.empty(num_features, device=device, dtype=dtype)) for _ in range(3)
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Ones for ``weight``, zeros for ``bias`` and ``threshold``."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)
        nn.init.zeros_(self.threshold)

    def forward(self, input: Tensor) -> Tensor:
        check_channels(self, input)
        if input.ndim < 3:
            raise ValueError(
                f"{type(self).__name__}: expected input of shape (N, C, *spatial), with one spatial axis at least, "
                f"got {tuple(input.shape)}"
            )
        axes = tuple(range(2, input.ndim))
        gamma, beta, tau = (value.view(-1, *[1] * len(axes)) for value in (self.weight, self.bias, self.threshold))
        x = input.to(accumulator_dtype(input))
        x_hat = x * (x.square().mean(dim=axes, keepdim=True) + self.eps).rsqrt()
        return torch.maximum(gamma * x_hat + beta, tau).to(input.dtype)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}"
