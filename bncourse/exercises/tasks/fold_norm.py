"""Exercise: folding batch norm into a linear layer or a convolution."""

# mypy: disable-error-code="no-any-return"
# NumPy's stubs type the reductions of an array as Any, and the solution is shown to learners without casts.

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bncourse.exercises.batches import affine_parameter
from bncourse.exercises.exercise import Arguments, Exercise, Property
from bncourse.exercises.faults import Coincidence, Fault, FaultSet
from bncourse.exercises.judge import Outputs
from bncourse.exercises.probe import Probe


def fold(
    weight: np.ndarray,
    bias: np.ndarray | None,
    groups: int,
    gamma: np.ndarray,
    beta: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    place: str,
    eps: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The layer that does what a layer and a batch norm do in inference.

    norm(h) = gamma * (h - mean) / sqrt(var + eps) + beta
    folded(x) = norm(layer(x))   if place is "after"
    folded(x) = layer(norm(x))   if place is "before"

    Parameters
    ----------
    weight : array of shape (O, I // groups, *kernel): a convolution from I
        channels to O, or a linear layer, whose kernel has no axes.
    bias : array of shape (O,), or None for a layer without.
    groups : int. Outputs and inputs are split into this many runs of
        consecutive channels; an output channel of the first run sees the
        input channels of the first run, and so on. A linear layer has one.
    gamma, beta, mean, var : arrays with one number for each channel of the
        norm; mean and var are its running statistics. gamma is not 0.
    place : "after" or "before", on which side of the layer the norm is.
    eps : positive float.

    Returns
    -------
    weight : array of the shape of weight.
    bias : array of shape (O,).
    padding : array of shape (I,). A convolution may surround what it gets
        with zeros. The folded one gets x itself: with which number does it
        surround each channel of x, so that the results are equal at the
        edges too? A linear layer counts as a convolution here, whose kernel
        is a single point.
    """
    scale = gamma / np.sqrt(var + eps)
    shift = beta - mean * scale
    outputs, inputs = len(weight), weight.shape[1] * groups
    ones = (1,) * (weight.ndim - 2)
    old_bias = np.zeros(outputs) if bias is None else bias

    if place == "after":
        new_weight = weight * scale.reshape(outputs, 1, *ones)
        return new_weight, scale * old_bias + shift, np.zeros(inputs)

    # For each output channel, the numbers of the input channels it sees.
    own_group = np.repeat(np.arange(groups), outputs // groups)
    seen = np.arange(inputs).reshape(groups, -1)[own_group]
    new_weight = weight * scale[seen].reshape(*seen.shape, *ones)
    summed = weight.reshape(*seen.shape, -1).sum(axis=2)
    new_bias = old_bias + (summed * shift[seen]).sum(axis=1)
    return new_weight, new_bias, -shift / scale


FAULTS = (
    Fault("eps_missing", "eps is missing: the norm divides by `sqrt(var + eps)`, running statistics or not.", ("eps",)),
    Fault(
        "eps_fixed",
        "The argument eps is not used; 1e-5 stands in its place. Divide by `sqrt(var + eps)` with the eps that the "
        "caller gives.",
        ("eps",),
    ),
    Fault(
        "eps_outside",
        "eps is added outside the square root: write `sqrt(var + eps)`, not `sqrt(var) + eps`.",
        ("eps", "root"),
    ),
    Fault(
        "root_missing",
        "The square root is missing: running_var, which you get as var, is a variance. Divide by `sqrt(var + eps)`.",
        ("root",),
    ),
    Fault(
        "multiplied",
        "The norm multiplies by `sqrt(var + eps)` here: it divides by it.",
        ("quotient",),
    ),
    Fault("gamma_missing", "gamma is missing: the scale is `gamma / sqrt(var + eps)`.", ("gamma",)),
    Fault("beta_missing", "beta is missing: the norm adds it last, and the bias has to.", ("beta",)),
    Fault(
        "gamma_beta_swapped",
        "gamma and beta have changed places: gamma multiplies, and beta is added.",
        ("gamma", "beta"),
    ),
    Fault("mean_missing", "mean is missing: the norm subtracts it before it scales.", ("mean",)),
    Fault("mean_added", "mean is added: the norm subtracts it.", ("mean",)),
    Fault(
        "mean_not_scaled",
        "mean is subtracted as it is: the norm scales after it has subtracted, so what remains of the mean is "
        "`mean * gamma / sqrt(var + eps)`.",
        ("mean",),
    ),
    Fault(
        "beta_scaled",
        "beta is scaled like the mean: the norm adds it after it has scaled.",
        ("beta",),
    ),
    Fault(
        "weight_unchanged",
        "The weights come back unchanged: the scale of the norm goes into them.",
        ("weight",),
    ),
    Fault(
        "bias_dropped",
        "The bias that the layer had is lost: start from it, and from zeros only where it is None.",
        ("bias",),
    ),
    Fault(
        "bias_not_scaled",
        "With the norm after the layer, the bias of the layer is added as it is: it goes through the norm like "
        "everything else that the layer returns, so scale it.",
        ("bias",),
    ),
    Fault(
        "shift_not_carried",
        "With the norm before the layer, what the norm adds is left out: it goes through the weights and reaches the "
        "bias. Multiply the shift by the weights, and sum over the input channels and the kernel.",
        ("carried", "kernel"),
    ),
    Fault(
        "carried_twice_scaled",
        "With the norm before the layer, the shift goes through the scaled weights: it contains the scale already. Use "
        "the weights that the layer had.",
        ("carried",),
    ),
    Fault(
        "kernel_averaged",
        "With the norm before a convolution, the bias gets an average over the kernel: every weight of the kernel "
        "carries the shift, so sum them up.",
        ("kernel",),
    ),
    Fault(
        "kernel_centre_only",
        "With the norm before a convolution, the bias gets what the centre of the kernel carries: every weight of the "
        "kernel carries the shift, so sum over all of them.",
        ("kernel",),
    ),
    Fault(
        "first_group_for_all",
        "With the norm before a grouped convolution, all groups are folded with the numbers of the first group's "
        "channels. Entry j of axis 1 is channel j of the output channel's own group.",
        ("groups",),
    ),
    Fault(
        "groups_interleaved",
        "With the norm before a grouped convolution, the channels are dealt out to the groups in turn: a group is a "
        "run of consecutive ones.",
        ("groups",),
    ),
    Fault(
        "padding_zero",
        "With the norm before the layer, the folded one surrounds x with zeros: the zeros that were padded are behind "
        "the norm, which does not make zero of zero. Find the number of which it does.",
        ("padding",),
    ),
    Fault(
        "padding_shift",
        "The number to surround x with is the one that the norm makes of zero. Needed is the reverse: the number of "
        "which the norm makes zero.",
        ("padding",),
    ),
    Fault(
        "padding_mean",
        "The folded layer surrounds x with the mean: the norm makes beta of it. Needed is the number of which the norm "
        "makes zero.",
        ("padding",),
    ),
)

WRONG_SHIFT = {"mean_missing", "mean_added", "mean_not_scaled", "beta_scaled"}


def faulty_fold(faults: FaultSet, arguments: Arguments) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The folding as someone writes it who makes the mistakes in ``faults``; with none, it is right."""
    weight, groups, mean = (arguments[name] for name in ("weight", "groups", "mean"))
    scale, shift, beta = _scale_and_shift(faults, arguments)
    outputs, inputs = len(weight), weight.shape[1] * groups
    bias = arguments["bias"]
    if bias is None or "bias_dropped" in faults:
        bias = np.zeros(outputs)

    if arguments["place"] == "after":
        by_output = scale.reshape(-1, *(1,) * (weight.ndim - 1))
        kept = bias if "bias_not_scaled" in faults else scale * bias
        return weight * (1 if "weight_unchanged" in faults else by_output), kept + shift, np.zeros(inputs)

    seen = _seen(faults, outputs, inputs, groups)
    scaled = weight * scale[seen].reshape(*seen.shape, *(1,) * (weight.ndim - 2))
    carrying = (scaled if "carried_twice_scaled" in faults else weight).reshape(*seen.shape, -1)
    if "kernel_averaged" in faults:
        summed = carrying.mean(axis=2)
    elif "kernel_centre_only" in faults:
        summed = carrying[:, :, carrying.shape[2] // 2]
    else:
        summed = carrying.sum(axis=2)
    if "shift_not_carried" not in faults:
        bias = bias + (summed * shift[seen]).sum(axis=1)

    # A wrong shift may be used here as well, or not.
    padding = -shift / scale if arguments.get("padding_from_shift", True) else mean - beta / scale
    if "padding_zero" in faults:
        padding = np.zeros(inputs)
    if "padding_shift" in faults:
        padding = shift
    if "padding_mean" in faults:
        padding = mean
    return weight if "weight_unchanged" in faults else scaled, bias, padding


def _scale_and_shift(faults: FaultSet, arguments: Arguments) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the norm multiplies by and what it adds, as ``norm(h) = scale * h + shift``, and what counts as beta."""
    gamma, beta, mean, var = (arguments[name] for name in ("gamma", "beta", "mean", "var"))
    if "gamma_beta_swapped" in faults:
        gamma, beta = beta, gamma
    if "gamma_missing" in faults:
        gamma = np.ones_like(gamma)
    if "beta_missing" in faults:
        beta = np.zeros_like(beta)
    inside = {"eps_missing": 0.0, "eps_outside": 0.0, "eps_fixed": 1e-5}
    inside_root = var + next((value for fault, value in inside.items() if fault in faults), arguments["eps"])
    root = inside_root if "root_missing" in faults else np.sqrt(inside_root)
    if "eps_outside" in faults:
        root = root + arguments["eps"]
    scale = gamma * root if "multiplied" in faults else gamma / root
    subtracted = mean * scale
    if "mean_missing" in faults:
        subtracted = np.zeros_like(mean)
    if "mean_added" in faults:
        subtracted = -subtracted
    if "mean_not_scaled" in faults:
        subtracted = mean
    return scale, (scale * beta if "beta_scaled" in faults else beta) - subtracted, beta


def _seen(faults: FaultSet, outputs: int, inputs: int, groups: int) -> np.ndarray:
    """The numbers of the input channels that each output channel sees."""
    group = np.arange(outputs)[:, np.newaxis] // (outputs // groups)
    place = np.arange(inputs // groups)[np.newaxis, :]
    if "first_group_for_all" in faults:
        return place + 0 * group
    if "groups_interleaved" in faults:
        return place * groups + group
    return group * place.shape[1] + place


def read_padding(faults: FaultSet, probes: Sequence[Probe], outputs: Sequence[Outputs]) -> Arguments:
    """Whether someone whose shift is wrong found the padding from it, or from mean and beta anew."""
    if not faults & WRONG_SHIFT:
        return {}
    anew: Arguments = {"padding_from_shift": False}
    (probe, returned), *_ = (
        pair for pair in zip(probes, outputs, strict=True) if pair[0].arguments["place"] == "before"
    )
    _, _, padding = faulty_fold(faults, {**probe.arguments, **anew})
    return anew if abs(returned[2] - padding).max() < 1e-3 * abs(padding).max() else {}


def make_probes(rng: np.random.Generator) -> list[Probe]:
    """Linear layers and convolutions of all kinds, with the norm on either side, with a bias and without."""

    def probe(
        name: str,
        shape: tuple[int, ...],
        groups: int = 1,
        bias: bool = True,
        variance: float = 1.0,
        eps: float = 1e-5,
    ) -> Probe:
        outputs, inputs = shape[0], shape[1] * groups
        place = name.partition("norm ")[2].partition(",")[0]
        channels = outputs if place == "after" else inputs
        signs = rng.choice([-1, 1], channels)
        small, large = rng.uniform(0.2, 0.5, channels), rng.uniform(2.5, 6.0, channels)
        arguments = {
            # Not around zero, so that sums over channels and over the kernel do not cancel.
            "weight": rng.uniform(0.5, 1.0, outputs).reshape(-1, *(1,) * (len(shape) - 1)) + rng.normal(size=shape),
            "bias": rng.uniform(1.0, 2.0, outputs) * rng.choice([-1, 1], outputs) if bias else None,
            "groups": groups,
            "gamma": affine_parameter(rng, channels),
            "beta": affine_parameter(rng, channels),
            "mean": rng.uniform(1.0, 3.0, channels) * signs,
            # Neither it nor its root is near 1.
            "var": variance * np.where(rng.random(channels) < 0.5, small, large),
            "place": place,
            "eps": eps,
        }
        return Probe(name, arguments)

    return [
        probe("linear, norm after", (3, 5)),
        probe("linear, norm before, no bias", (4, 7), bias=False),
        probe("as many outputs as inputs, norm before", (5, 5), eps=float(rng.uniform(0.3, 0.9))),
        probe("convolution, norm after, no bias", (4, 3, 5), bias=False, eps=float(rng.uniform(0.3, 0.9))),
        probe("convolution, norm before", (3, 4, 3, 5)),
        probe("grouped convolution, norm after", (6, 3, 2), groups=2),
        probe("grouped convolution, norm before", (6, 2, 3, 3), groups=3),
        probe("depthwise convolution, norm before", (8, 1, 3), groups=4, bias=False),
        probe("small variance, norm after", (5, 4), variance=1e-4, eps=1e-3),
    ]


EXERCISE = Exercise(
    id="fold_norm",
    title="Fold batch norm into a layer",
    chapter="7.3",
    statement=(
        "In inference, batch norm multiplies and adds with fixed numbers, and so it can disappear into the layer next "
        "to it. Return the weight and the bias of a linear layer or of a convolution into which the batch norm right "
        "after it, or right before it, is folded. Where a convolution pads with zeros, folding the norm before it goes "
        "wrong at the edges, unless the folded convolution pads with something else: return that as well, one number "
        "for each channel. Leave the inputs unchanged."
    ),
    solution_function=fold,
    outputs=("weight", "bias", "padding"),
    reference=faulty_fold,
    read_free=read_padding,
    faults=FAULTS,
    coincidences=(
        Coincidence(
            frozenset({"beta_missing"}),
            frozenset({"beta_missing", "padding_mean"}),
            "without beta, it is the mean of which the norm makes zero",
        ),
    ),
    make_probes=make_probes,
    properties=(
        Property("weight", "weight", lambda weight, arguments: weight),
        Property("bias", "bias", lambda bias, arguments: bias, counts="channel"),
        Property("padding", "padding", lambda padding, arguments: padding, counts="channel"),
    ),
    hints=(
        "Write the norm as scale * h + shift first, with two numbers for each channel. Then put it into the layer's "
        "formula, y[o] = sum over i of weight[o, i] * x[i] + bias[o], once around the whole right side and once in "
        "place of x[i], and sort what multiplies x from what does not.",
        "After the layer, scale has the axis of the outputs, axis 0 of weight, and the old bias is scaled too. Before "
        "it, scale has the axis of the inputs: entry [o, j] of a grouped weight belongs to input channel "
        "g * (I // groups) + j, with g the group of output o. The shift goes through all weights of the kernel into "
        "the bias.",
        "scale = gamma / sqrt(var + eps), shift = beta - mean * scale. After: weight * scale along axis 0, "
        "scale * bias + shift, and padding 0. Before: weight * scale along axis 1, bias plus the sum of "
        "weight * shift over axis 1 and the kernel, with the unscaled weight. The padding is the h for which "
        "scale * h + shift is 0.",
    ),
    explanation="""
    The norm is scale * h + shift, an affine map of each channel, and a layer is an affine map too. Two of them in a row
    are one. After the layer, scale multiplies all that the layer returns, and so the weights and the bias. Before it,
    scale multiplies what each weight meets, and the shift is an input like any other. It is the same at all places, so
    that each output gets the sum of all its weights times the shifts of their channels.

    At the edges this sum is wrong for zeros that were padded. They come after the norm, and no shift was ever added to
    them. Padded before the norm, they would have to be the number of which it makes zero: scale * h + shift = 0 gives
    h = -shift / scale, which is mean - beta * sqrt(var + eps) / gamma. With this number around it the folded
    convolution is exact everywhere. Most libraries pad a convolution with zeros only, and then it cannot be folded.

    It is why norms are folded into the layer before them wherever there is one. That is exact at the edges as it is.
    """,
    passed_message=(
        "Your function agrees with the reference on nine fresh layers: linear ones and convolutions, plain, grouped "
        "and depthwise, with a bias and without, with the norm after the layer and before it, with a large eps and a "
        "small variance. Your inputs came back unchanged."
    ),
)
