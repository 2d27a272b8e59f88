"""Running statistics estimated anew, for weights that stand still: after training, or on data of another kind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy

from bncourse.kernels.view import accumulator_dtype

Model = TypeVar("Model", bound=torch.nn.Module)


@torch.no_grad()
def recalibrate(model: Model, loader: Iterable[Any]) -> Model:
    r"""Let the running statistics of every batch norm layer be those of its inputs in inference on these batches.

    .. math:: \mu = \frac1n \sum_i x_i, \qquad \sigma^2 = \frac{1}{n - 1} \sum_i (x_i - \mu)^2

    over all n values of a channel in all batches, so that neither the order nor the sizes of the batches matter.
    Counts, means and sums of squares are merged (Chan, Golub and LeVeque 1983; equation ``eq-merge``), where an average
    of the batches' variances would lose the variance between them.

    The model runs in evaluation mode throughout, dropout and all, and x is what a layer gets behind layers that
    normalize with *their* new statistics, as in inference. So the layers come one after another, each in a pass of its
    own that ends at this layer. In the first pass all normalize with the moments of what they have met so far, the
    batch included; if there is but one batch, that is all it takes.

    A layer that is called several times in a forward pass gets the moments of all its inputs together; where a later
    one depends on an earlier, it is what moments on the way have made of it. Layers without running statistics, and
    those that no batch reaches, are left as they are. In a distributed run each rank would get statistics of its own
    batches: recalibrate on one, and send them to the others.

    Parameters
    ----------
    model : its layers of ``torch.nn`` and of :mod:`bncourse.layers` are recalibrated. Each module keeps its mode;
        weights and momenta stay; ``num_batches_tracked`` becomes the number of calls in one pass.
    loader : gives batches: a tensor each, or a list or tuple that begins with one. It is read once in each pass,
        so let it hold what is costly to prepare. The tensor is sent to the device of the first of these layers.

    Returns
    -------
    model : the same object.

    Raises
    ------
    TypeError : if ``model`` is no module, or a batch is something else.
    ValueError : if no layer keeps running statistics, or none is reached; if a pass gives no batch; if there is but one
        value to a channel; if a layer gets NaN or infinite values, which names the layer. After these errors, and after
        any other, all statistics are the old ones.

    Examples
    --------
    >>> import torch
    >>> from bncourse.layers import recalibrate
    >>> model = torch.nn.Sequential(torch.nn.BatchNorm1d(1), torch.nn.ReLU())
    >>> one, another = torch.tensor([[0.0], [1.0]]), torch.tensor([[10.0], [11.0], [13.0]])
    >>> recalibrate(model, [one, another])[0].running_mean
    tensor([7.])
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"expected model to be a torch.nn.Module, got {type(model).__name__}")
    tracking = {
        name or type(layer).__name__: layer
        for name, layer in model.named_modules()
        if isinstance(layer, _BatchNorm) and layer.running_mean is not None
    }
    if not tracking:
        raise ValueError(
            f"expected model to have batch norm layers that keep running statistics, got {type(model).__name__}, "
            f"which has none"
        )
    for name, layer in tracking.items():
        if is_lazy(layer.get_buffer("running_mean")):
            raise ValueError(f"expected model to have met a batch, but layer {name} does not know its features yet")
    modes = {module: module.training for module in model.modules()}
    layers = [_Watched(name, layer) for name, layer in tracking.items()]
    model.eval()
    try:
        _estimate(model, loader, layers)
    except BaseException:
        for watched in layers:
            watched.restore()
        raise
    finally:
        for watched in layers:
            watched.handle.remove()
        for module, training in modes.items():
            module.training = training
    return model


class _Enough(BaseException):
    """A layer has met all that it waits for in this batch, and the rest of the model need not run."""


def _estimate(model: torch.nn.Module, loader: Iterable[Any], layers: Sequence[_Watched]) -> None:
    reached: list[_Watched] = []
    for layer in layers:
        layer.gather(reached)
    batches = _one_pass(model, loader, layers)
    if not reached:
        raise ValueError("expected the model to call its batch norm layers, but no batch reached one")
    reached[0].finish()
    for layer in reached[1:]:
        if batches > 1:
            layer.gather()
            _one_pass(model, loader, layers)
        layer.finish()


def _one_pass(model: torch.nn.Module, loader: Iterable[Any], layers: Sequence[_Watched]) -> int:
    batches = 0
    for batch in loader:
        inputs = batch[0] if isinstance(batch, list | tuple) and batch else batch
        if not isinstance(inputs, Tensor):
            raise TypeError(
                f"expected loader to give tensors, or lists or tuples that begin with one, got {type(inputs).__name__}"
            )
        batches += 1
        for layer in layers:
            layer.calls_in_batch = 0
        with suppress(_Enough):
            model(inputs.to(layers[0].running_mean.device))
    if not batches:
        raise ValueError(
            "expected loader to give a batch at least in every pass, got none "
            "(an iterator can be read once only: pass a list or a DataLoader)"
        )
    return batches


class _Watched:
    """A layer, the statistics that it had, and the moments of what it gets while it gathers them."""

    def __init__(self, name: str, layer: _BatchNorm) -> None:
        self.name = name
        self.running_mean = layer.get_buffer("running_mean")
        self.running_var = layer.get_buffer("running_var")
        self.num_batches_tracked = layer.num_batches_tracked
        self._old = [(buffer, buffer.clone()) for buffer in layer.buffers(recurse=False)]
        self._gathers = False
        self._most_calls = self.calls_in_batch = 0
        self.handle = layer.register_forward_pre_hook(self._meet, with_kwargs=True)

    def gather(self, reached: list[_Watched] | None = None) -> None:
        """Begin to gather moments: all layers, which enter a list in the order of their first calls, or this alone."""
        self._reached = reached
        self._gathers = True
        self._calls = self._count = 0
        self._mean = self._m2 = torch.zeros_like(self.running_mean, dtype=accumulator_dtype(self.running_mean))

    def finish(self) -> None:
        """Gather no more, and keep what there is."""
        self._gathers = False
        if self._count < 2:
            raise ValueError(
                f"expected at least two values to each channel of layer {self.name}, for a variance, got {self._count}"
            )

    def restore(self) -> None:
        """Put the old statistics back."""
        for buffer, value in self._old:
            buffer.copy_(value)

    def _meet(self, layer: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self._gathers:
            return
        self._calls += 1
        self.calls_in_batch += 1
        self._merge(args[0] if args else kwargs["input"])
        if self._reached is None:
            if self.calls_in_batch == self._most_calls:
                raise _Enough
            return
        self._most_calls = max(self._most_calls, self.calls_in_batch)
        if self not in self._reached:
            self._reached.append(self)

    def _merge(self, x: Float[Tensor, "N C *spatial"]) -> None:
        """Add the moments of x to those gathered so far (equation ``eq-merge``), and normalize with the sum."""
        count = x.numel() // max(1, x.shape[1])
        if not count:
            return
        others = [axis for axis in range(x.ndim) if axis != 1]
        var, mean = torch.var_mean(x.to(accumulator_dtype(x)), dim=others, correction=0)
        delta, total = mean - self._mean, self._count + count
        self._m2 = self._m2 + count * var + delta.square() * (self._count * count / total)
        self._mean = self._mean + delta * (count / total)
        self._count = total
        if not self._m2.isfinite().all():
            raise ValueError(f"expected finite inputs, but layer {self.name} got NaN or infinity in call {self._calls}")
        if total > 1:
            self.running_mean.copy_(self._mean)
            self.running_var.copy_(self._m2 / (total - 1))
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.fill_(self._calls)
