"""Checks of arguments, each raising an error that names the argument, what it got and what it wants."""

from typing import Any

import numpy as np


def require_floating(name: str, value: Any) -> np.ndarray:
    """``value`` as an array of a floating dtype; TypeError for integers, booleans, complex numbers and objects."""
    array = np.asarray(value)
    if not np.issubdtype(array.dtype, np.floating):
        raise TypeError(
            f"expected {name} of a floating dtype, got {array.dtype}; convert it first: {name}.astype(np.float32)"
        )
    return array


def require_data(value: Any, name: str = "x") -> np.ndarray:
    """``value`` as a floating array with a batch axis and a feature axis."""
    array = require_floating(name, value)
    if array.ndim < 2:
        raise ValueError(f"expected {name} of shape (N, C, ...), got {array.shape}")
    return array


def require_per_feature(name: str, value: Any, x: np.ndarray) -> np.ndarray:
    """``value`` as a floating array of shape (C,), for data ``x`` of shape (N, C, ...)."""
    array = require_floating(name, value)
    if array.shape != (x.shape[1],):
        raise ValueError(
            f"expected {name} of shape ({x.shape[1]},), one value per feature of x with shape {x.shape}, "
            f"got {array.shape}"
        )
    return array


def require_batch(x: np.ndarray) -> None:
    """ValueError unless each feature of ``x`` has the two values or more that a batch variance needs."""
    count = x.size // x.shape[1] if x.shape[1] else 0
    if x.size == 0:
        raise ValueError(f"expected a batch with values in it, got an empty x of shape {x.shape}")
    if count < 2:
        raise ValueError(
            f"expected more than one value per feature in training, got one: x of shape {x.shape}; "
            "its variance would be 0 and its output beta, whatever the input"
        )


def require_eps(eps: float) -> None:
    """ValueError unless ``eps`` is positive and finite: it keeps a constant feature from dividing by zero."""
    if not (np.isfinite(eps) and eps > 0):
        raise ValueError(f"expected eps > 0, got {eps}")
