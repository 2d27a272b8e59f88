"""Ensembles of multilayer perceptrons and of small convolutional networks, each member with a seed of its own."""

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bncourse.lab.ensemble import Activation, Ensemble
from bncourse.lab.noise import StackedDropout
from bncourse.lab.norms import Norm, norm_and_activation
from bncourse.lab.residual import Residual, check_residual
from bncourse.lab.stacked import Normalization, StackedBatchNorm, StackedConv2d, StackedLinear, per_member

ORDER = ("norm", "activation", "dropout")


class MLPEnsemble(Ensemble):
    r"""S multilayer perceptrons of one architecture, each with a seed of its own, trained side by side.

    Each hidden layer is :math:`h \leftarrow \phi(W h + b)`, or with batch norm
    :math:`h \leftarrow \phi(\mathrm{BN}_{\gamma,\beta}(W h))`, in which :math:`\beta` takes the bias's place.
    With a residual branch, from the second hidden layer on,

    .. math:: \text{post:}\quad h \leftarrow \phi\left(\kappa (h + \alpha\,\mathrm{BN}(W h))\right), \qquad
              \text{pre:}\quad h \leftarrow \kappa (h + \alpha\,(W \phi(\mathrm{BN}(h)) + b)).

    In the second kind the first layer is linear alone, and batch norm and activation come once more before the
    output. :math:`\alpha` and :math:`\kappa` are 1 if nothing is said.

    Weights start as normal draws of variance 2 / fan-in for ReLU, which is He's, and 1 / fan-in for other activations
    and in the last layer, from a generator seeded by the member's seed: members of equal seed start from equal
    weights, whatever else distinguishes them.

    Parameters
    ----------
    widths : inputs, hidden widths, classes; at least two numbers.
    seeds : one for each member; repeated where members differ in something else, such as their learning rate.
    batch_norm : whether each hidden layer normalizes, or the variant with which it does.
    activation : relu, tanh, sigmoid or linear.
    order : of what follows a linear layer: "norm", "activation" and "dropout"; what the network lacks is passed over.
    dropout : the share that is dropped, in all hidden layers or for each of them.
    residual : "pre" or "post", for a branch of that kind around each hidden layer but the first.
    branch_scale : the number at which :math:`\alpha` starts, learned for each branch, for all members or one for each;
        0 is SkipInit.
    sum_scale : :math:`\kappa`.
    zero_last_gamma : whether the batch norm that ends each branch starts with a gamma of 0; with "post" only.
    gain, output_gain : factors of the initial weights of the hidden layers and of the output, for all members or one
        for each.
    bias : whether the hidden linear layers have one; by default, where batch norm does not take it away at once.

    Raises
    ------
    ValueError : if there are no seeds or fewer than two widths, or if an option has a value that is unknown or that
        another option excludes.

    Examples
    --------
    >>> import torch
    >>> from bncourse.lab import MLPEnsemble
    >>> networks = MLPEnsemble((64, 32, 10), seeds=(0, 1, 2), batch_norm=True)
    >>> networks(torch.zeros(3, 8, 64)).shape  # members, classes, examples
    torch.Size([3, 10, 8])
    """

    def __init__(
        self,
        widths: Sequence[int],
        seeds: Sequence[int],
        batch_norm: bool | Normalization,
        *,
        activation: str = "relu",
        order: Sequence[str] = ORDER,
        dropout: float | Sequence[float] = 0.0,
        residual: str | None = None,
        branch_scale: float | Sequence[float] | None = None,
        sum_scale: float = 1.0,
        zero_last_gamma: bool = False,
        gain: float | Sequence[float] = 1.0,
        output_gain: float | Sequence[float] = 1.0,
        bias: bool | None = None,
    ) -> None:
        super().__init__()
        if len(widths) < 2:
            raise ValueError(f"expected widths to name the inputs and the classes at least, got {tuple(widths)}")
        if sorted(order) != sorted(ORDER):
            raise ValueError(f"expected order to hold each of {', '.join(ORDER)} once, got {tuple(order)}")
        hidden = tuple(widths[1:-1])
        dropped = _dropout_of_layers(dropout, len(hidden))
        check_residual(
            residual,
            hidden,
            usual_layers=tuple(order) == ORDER and not any(dropped),
            ends_in_norm=residual == "post" and bool(batch_norm),
            branch_scale=branch_scale,
            sum_scale=sum_scale,
            zero_last_gamma=zero_last_gamma,
        )
        self.seeds = at_least_one(seeds)
        self.batch_norm = bool(batch_norm)
        variant = batch_norm if isinstance(batch_norm, Normalization) else Normalization()
        members = len(self.seeds)
        *weights, last = initial_weights(widths, self.seeds, Activation(activation).initial_variance)
        factor = per_member("gain", gain, members)

        def norm(width: int, number: int) -> StackedBatchNorm | None:
            ends_branch = residual == "post" and number > 0
            its_variant = replace(variant, gamma=0.0) if zero_last_gamma and ends_branch else variant
            return StackedBatchNorm(width, self.seeds, its_variant, number) if batch_norm else None

        layers: list[nn.Module] = []
        for number, (weight, width) in enumerate(zip(weights, hidden, strict=True)):
            follows: dict[str, nn.Module | None] = {
                "norm": norm(width, number),
                "activation": Activation(activation),
                "dropout": StackedDropout(dropped[number], self.seeds, number) if dropped[number] else None,
            }
            steps = {name: follows[name] for name in order if follows[name]}
            redundant = next(iter(steps)) == "norm" and residual != "pre"
            linear = StackedLinear(weight * factor, bias=not redundant if bias is None else bias)
            if residual == "pre":
                branch = _sequence({**steps, "linear": linear})
                layers.append(Residual(branch, members, branch_scale, sum_scale) if number else linear)
            elif residual == "post" and number:
                after = steps.pop("activation")
                branch = _sequence({"linear": linear, **steps})
                layers.append(Residual(branch, members, branch_scale, sum_scale, after))
            else:
                layers.append(_sequence({"linear": linear, **steps}))
        self.layers = nn.ModuleList(layers)
        self.head = nn.Sequential()
        if residual == "pre":
            self.head = _sequence({"norm": norm(hidden[-1], len(hidden)), "activation": Activation(activation)})
        self.output = StackedLinear(last * per_member("output_gain", output_gain, members), bias=True)


class ConvEnsemble(Ensemble):
    r"""S convolutional networks of one architecture, each with a seed of its own, trained side by side.

    Each hidden layer is a 3 x 3 convolution, a norm where asked for, and ReLU, or the activation that belongs to the
    norm. With a norm there is no bias, as each has a beta. The stride is 1 in the first layer and 2 in the others. A
    linear layer reads all that is left of the image. Seeds and initial weights are as in :class:`MLPEnsemble`.

    Parameters
    ----------
    channels : of the input and of each hidden layer; at least two numbers.
    classes : logits.
    seeds : one for each member.
    batch_norm : whether each hidden layer has batch norm.
    image : height and width of the input, whose pixels come in a row.
    norm : another norm in the place of batch norm.

    Raises
    ------
    ValueError : if there are no seeds, fewer than two numbers of channels, or batch norm and another one.
    """

    def __init__(
        self,
        channels: Sequence[int],
        classes: int,
        seeds: Sequence[int],
        batch_norm: bool = False,
        image: int = 8,
        *,
        norm: Norm | None = None,
    ) -> None:
        super().__init__()
        if len(channels) < 2:
            raise ValueError(f"expected channels of the input and of a hidden layer at least, got {tuple(channels)}")
        if batch_norm and norm:
            raise ValueError(f"expected batch_norm or another norm, got batch_norm and {norm}")
        self.seeds = at_least_one(seeds)
        self.batch_norm = batch_norm
        norm = Norm("batch") if batch_norm else norm
        self.image = image
        self.channels = channels[0]
        size = image
        for _ in channels[2:]:
            size = (size + 1) // 2
        shapes = [(after, before, 3, 3) for before, after in pairwise(channels)]
        *kernels, last = draw_weights([*shapes, (classes, channels[-1] * size**2)], 2.0, self.seeds)
        layers = []
        for number, kernel in enumerate(kernels):
            conv = StackedConv2d(kernel, bias=norm is None, stride=2 if number else 1)
            layers.append(_sequence({"linear": conv, **norm_and_activation(norm, kernel.shape[1], self.seeds, number)}))
        self.layers = nn.ModuleList(layers)
        self.head = PixelsToFeatures()
        self.output = StackedLinear(last, bias=True)

    def enter(self, x: Float[Tensor, "S B F"]) -> Float[Tensor, "S C B H W"]:
        """The images, their channels before the batch."""
        return x.reshape(*x.shape[:2], self.channels, self.image, self.image).transpose(1, 2)


class PixelsToFeatures(nn.Module):
    """Every channel and pixel becomes a feature: (S, C, B, H, W) to (S, C H W, B)."""

    def forward(self, h: Float[Tensor, "S C B H W"]) -> Float[Tensor, "S F B"]:
        return h.movedim(2, -1).flatten(1, 3)


def initial_weights(
    widths: Sequence[int], seeds: Sequence[int], variance: float = 2.0
) -> list[Float[Tensor, "S out in"]]:
    """Normal draws of a variance over fan-in, of 1 over fan-in for the last layer; a member's depend on its seed alone.

    The default variance is He's.
    """
    return draw_weights([(fan_out, fan_in) for fan_in, fan_out in pairwise(widths)], variance, seeds)


def draw_weights(shapes: Sequence[tuple[int, ...]], variance: float, seeds: Sequence[int]) -> list[Tensor]:
    """The same for weights of any shapes, (out, in, ...) each, all inputs of an output counted as its fan-in."""
    variances = [variance] * (len(shapes) - 1) + [1.0]
    members = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        members.append(
            [
                torch.randn(shape, generator=generator) * (its_variance / math.prod(shape[1:])) ** 0.5
                for shape, its_variance in zip(shapes, variances, strict=True)
            ]
        )
    return [torch.stack(layer) for layer in zip(*members, strict=True)]


def _sequence(steps: "dict[str, nn.Module | None]") -> nn.Sequential:
    return nn.Sequential(OrderedDict((name, step) for name, step in steps.items() if step is not None))


def at_least_one(seeds: Sequence[int]) -> tuple[int, ...]:
    """The seeds; a ValueError if there are none."""
    if not seeds:
        raise ValueError("expected at least one seed, got none")
    return tuple(seeds)


def _dropout_of_layers(dropout: float | Sequence[float], layers: int) -> tuple[float, ...]:
    shares = tuple(dropout) if isinstance(dropout, Sequence) else (dropout,) * layers
    if len(shares) != layers:
        raise ValueError(f"expected one dropout, or one for each of {layers} hidden layers, got {dropout}")
    return shares
