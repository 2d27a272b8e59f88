"""The running averages of batch statistics that inference uses."""

import numpy as np
from jaxtyping import Float

from bncourse.reference.statistics import moments, reduction_axes
from bncourse.reference.validation import require_batch, require_data


class RunningStatistics:
    r"""Averages of the batch mean and of the unbiased batch variance, as PyTorch's layers keep them.

    .. math:: \mu_{\text{run}} \leftarrow (1 - a)\, \mu_{\text{run}} + a\, \mu, \qquad
              \sigma^2_{\text{run}} \leftarrow (1 - a)\, \sigma^2_{\text{run}} + a\, \tfrac{m}{m - 1} \sigma^2

    where :math:`a` is ``momentum``, the weight of the *new* statistic, or :math:`1/t` at the ``t``-th batch where
    ``momentum`` is None: then each batch counts the same. They start at 0 and 1.

    Parameters
    ----------
    num_features : C.
    momentum : between 0 and 1, or None for the cumulative average.

    Attributes
    ----------
    mean, var : the averages so far, of shape (C,), in float64.
    num_batches : how many batches they have seen.

    Raises
    ------
    ValueError : if ``num_features`` is not positive or ``momentum`` is outside [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> from bncourse.reference import RunningStatistics
    >>> running = RunningStatistics(1)
    >>> running.update(np.array([[1.0], [3.0], [3.0], [9.0]]))
    >>> print(running.mean, running.var)
    [0.4] [2.1]
    """

    mean: Float[np.ndarray, " C"]
    var: Float[np.ndarray, " C"]

    def __init__(self, num_features: int, momentum: float | None = 0.1) -> None:
        if num_features < 1:
            raise ValueError(f"expected num_features >= 1, got {num_features}")
        if momentum is not None and not 0 <= momentum <= 1:
            raise ValueError(f"expected momentum in [0, 1] or None, got {momentum}")
        self.momentum = momentum
        self.mean = np.zeros(num_features)
        self.var = np.ones(num_features)
        self.num_batches = 0

    def update(self, x: Float[np.ndarray, "N C *spatial"]) -> None:
        """Take in one training batch.

        Parameters
        ----------
        x : a batch, of two values or more per feature.

        Raises
        ------
        TypeError : if ``x`` is not of a floating dtype.
        ValueError : if ``x`` is not a batch of ``num_features`` features with two values or more each.
        """
        x = require_data(x)
        if x.shape[1] != len(self.mean):
            raise ValueError(f"expected x of shape (N, {len(self.mean)}, ...), got {x.shape}")
        require_batch(x)
        batch = moments(x, reduction_axes(x.ndim))
        self.num_batches += 1
        weight = 1 / self.num_batches if self.momentum is None else self.momentum
        self.mean = (1 - weight) * self.mean + weight * batch.mean
        self.var = (1 - weight) * self.var + weight * batch.unbiased_var
