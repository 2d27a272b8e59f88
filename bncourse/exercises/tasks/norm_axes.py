"""Exercise: batch, layer, instance and group norm as one function."""

# mypy: disable-error-code="no-any-return"
# NumPy's stubs type the reductions of an array as Any, and the solution is shown to learners without casts.

from __future__ import annotations

import numpy as np

from bncourse.exercises.common_faults import DIVISOR
from bncourse.exercises.exercise import Arguments, Exercise, Property
from bncourse.exercises.faults import Fault, FaultSet
from bncourse.exercises.maps import designed_maps
from bncourse.exercises.probe import Probe

KINDS = ("batch", "layer", "instance", "group")
EPS = 1e-5


def normalize(x: np.ndarray, kind: str, num_groups: int) -> np.ndarray:
    """Normalize x with the statistics of one of four norms.

    x_hat = (x - mean) / sqrt(var + eps),    eps = 1e-5

    mean and var are the mean and the biased variance of the values that
    are normalized together:

    "batch"     one channel of all examples, at all positions
    "layer"     all channels of one example, at all positions
    "instance"  one channel of one example, at all positions
    "group"     one group of channels of one example, at all positions

    A group is C / num_groups neighbouring channels.

    Parameters
    ----------
    x : array of shape (N, C, *spatial), with one spatial axis or more.
    kind : "batch", "layer", "instance" or "group".
    num_groups : a divisor of C, used by "group" alone.

    Returns
    -------
    x_hat : array of the shape of x.
    """
    n, c = x.shape[:2]
    groups = num_groups if kind == "group" else c
    grouped = x.reshape(n, groups, c // groups, -1)
    axes = {
        "batch": (0, 3),
        "layer": (1, 3),
        "instance": (3,),
        "group": (2, 3),
    }[kind]
    centred = grouped - grouped.mean(axis=axes, keepdims=True)
    var = (centred**2).mean(axis=axes, keepdims=True)
    return (centred / np.sqrt(var + 1e-5)).reshape(x.shape)


# The id of a mistake that concerns one kind begins with that kind.
FAULTS = (
    Fault(
        "batch_without_space",
        "batch: the statistics run over the examples alone, one of each for every position. All positions of a "
        "channel are normalized together: take them over every axis but 1.",
        ("batch axes",),
    ),
    Fault(
        "batch_over_everything",
        "batch: one mean and one variance are taken over the whole array. Each channel has its own: take them over "
        "every axis but 1.",
        ("batch axes",),
    ),
    Fault(
        "batch_channels_last",
        "batch: the last axis is taken for the channels. They are on axis 1: take the statistics over every axis but "
        "that one.",
        ("batch axes",),
    ),
    Fault(
        "batch_as_layer",
        "batch: the statistics run over the channels of each example, which is layer norm. Take them over every axis "
        "but 1, one of each for every channel.",
        ("batch axes", "batch or layer"),
    ),
    Fault(
        "layer_as_batch",
        "layer: the statistics run over the examples too, and keep the channels, which is batch norm. Each example has "
        "its own: take them over every axis but 0.",
        ("layer axes", "batch or layer"),
    ),
    Fault(
        "swapped_batch_and_layer",
        "batch and layer have changed places: batch norm takes the statistics over every axis but 1, one of each for "
        "every channel, and layer norm over every axis but 0, one of each for every example.",
        ("batch axes", "layer axes"),
    ),
    Fault(
        "layer_without_space",
        "layer: the statistics run over the channels alone, one of each for every position. A whole example is "
        "normalized together: take them over every axis but 0.",
        ("layer axes",),
    ),
    Fault(
        "layer_over_everything",
        "layer: one mean and one variance are taken over the whole array. Each example has its own: take them over "
        "every axis but 0.",
        ("layer axes",),
    ),
    Fault(
        "layer_over_last_axis",
        "layer: the statistics run over the last axis alone, which is where the features of a Transformer are. Here a "
        "whole example is normalized together: take them over every axis but 0.",
        ("layer axes",),
    ),
    Fault(
        "layer_as_instance",
        "layer: the statistics run over space alone, which is instance norm. Layer norm takes in the channels as well: "
        "every axis but 0.",
        ("layer axes", "layer or instance"),
    ),
    Fault(
        "instance_over_batch",
        "instance: the statistics run over the examples too, which is batch norm. Each example has its own: take them "
        "over the spatial axes alone.",
        ("instance axes",),
    ),
    Fault(
        "instance_as_layer",
        "instance: the statistics run over the channels too, which is layer norm. Each channel has its own: take them "
        "over the spatial axes alone.",
        ("instance axes", "layer or instance"),
    ),
    Fault(
        "instance_over_last_axis",
        "instance: the statistics run over the last axis alone. Take them over all spatial axes, those from 2 on.",
        ("instance axes",),
    ),
    Fault(
        "swapped_layer_and_instance",
        "layer and instance have changed places: layer norm takes the statistics over every axis but 0, instance norm "
        "over the spatial axes alone.",
        ("layer axes", "instance axes"),
    ),
    Fault(
        "group_without_space",
        "group: the statistics run over the channels of a group, one of each for every position. Take them over space "
        "as well.",
        ("group axes",),
    ),
    Fault(
        "group_over_batch",
        "group: the statistics run over the examples too. Each example has its own: take them over the channels of a "
        "group and over space, and keep axis 0.",
        ("group axes",),
    ),
    Fault(
        "group_strided",
        "group: the groups are made of every num_groups-th channel. They are neighbours: split axis 1 into "
        "`(num_groups, C // num_groups)`, in this order.",
        ("group axes",),
    ),
    Fault(
        "group_size_taken",
        "group: num_groups is taken for the number of channels in a group. It is the number of groups, each of "
        "`C // num_groups` channels.",
        ("group axes",),
    ),
    Fault(
        "group_across_groups",
        "group: after the split into `(num_groups, C // num_groups)` the statistics run over axis 1, across the "
        "groups. The channels of one group are on axis 2.",
        ("group axes",),
    ),
    Fault(
        "group_as_layer",
        "group: num_groups is not used, and all channels are normalized together, which is layer norm. Split axis 1 "
        "into `(num_groups, C // num_groups)`.",
        ("group axes",),
    ),
    Fault(
        "group_as_instance",
        "group: each channel is normalized alone, which is instance norm. Take the statistics over the channels of a "
        "group as well.",
        ("group axes",),
    ),
    Fault(
        "unbiased_variance",
        "This is the unbiased variance: divide the sum of squares by the number of values normalized together, not by "
        "one less (in NumPy, `ddof=0`).",
        ("variance",),
    ),
    Fault("eps_missing", "eps is missing: divide by `sqrt(var + eps)`, with eps = 1e-5.", ("eps",)),
    Fault("eps_too_small", "eps is 1e-8 in your function: this exercise asks for 1e-5.", ("eps",)),
    Fault(
        "eps_outside",
        "eps is added outside the square root: write `sqrt(var + eps)`, not `sqrt(var) + eps`.",
        ("eps", "root"),
    ),
    *DIVISOR,
)


# A set of one value is 0 / 0 without eps, and with the unbiased variance: NaN is then the mistake's result.
@np.errstate(divide="ignore", invalid="ignore")
def faulty_normalize(faults: FaultSet, arguments: Arguments) -> tuple[np.ndarray]:
    """The function as someone writes it who makes the mistakes in ``faults``; with none, it is right."""
    x, num_groups = arguments["x"], arguments["num_groups"]
    shape, axes = _normalized_together(_way(faults, arguments["kind"]), x.shape, num_groups)
    values = x.reshape(shape)
    mean = values.mean(axis=axes, keepdims=True)
    deviations = values if "variance_about_zero" in faults else values - mean
    count = values.size / mean.size - ("unbiased_variance" in faults)
    var = (deviations**2).sum(axis=axes, keepdims=True) / count

    inside = {"eps_missing": 0.0, "eps_outside": 0.0, "eps_too_small": 1e-8}
    var_plus = var + next((value for fault, value in inside.items() if fault in faults), EPS)
    divisor = var_plus if "divided_by_variance" in faults else np.sqrt(var_plus)
    if "eps_outside" in faults:
        divisor = divisor + EPS
    numerator = values if "no_centring" in faults else values - mean
    if "sign_flipped" in faults:
        numerator = -numerator
    return ((numerator / divisor).reshape(x.shape),)


def _way(faults: FaultSet, kind: str) -> str:
    """The kind, or the mistake that is made with its axes."""
    if "swapped_layer_and_instance" in faults:
        kind = {"layer": "instance", "instance": "layer"}.get(kind, kind)
    if "swapped_batch_and_layer" in faults:
        kind = {"batch": "layer", "layer": "batch"}.get(kind, kind)
    return next((fault for fault in faults if fault.startswith(f"{kind}_")), kind)


def _normalized_together(way: str, shape: tuple[int, ...], num_groups: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shape to give to x, and the axes of the statistics in that shape, for each way to choose them."""
    n, c, *space = shape
    split = (n, num_groups, c // num_groups, *space)
    split_the_other_way = (n, c // num_groups, num_groups, *space)
    positions = tuple(range(2, len(shape)))
    after_split = tuple(range(3, len(split)))
    batch, layer, instance = (0, *positions), (1, *positions), positions
    everything, last = (0, 1, *positions), (len(shape) - 1,)
    return {
        "batch": (shape, batch),
        "batch_without_space": (shape, (0,)),
        "batch_over_everything": (shape, everything),
        "batch_channels_last": (shape, everything[:-1]),
        "batch_as_layer": (shape, layer),
        "layer": (shape, layer),
        "layer_without_space": (shape, (1,)),
        "layer_over_everything": (shape, everything),
        "layer_over_last_axis": (shape, last),
        "layer_as_batch": (shape, batch),
        "layer_as_instance": (shape, instance),
        "instance": (shape, instance),
        "instance_over_batch": (shape, batch),
        "instance_as_layer": (shape, layer),
        "instance_over_last_axis": (shape, last),
        "group": (split, (2, *after_split)),
        "group_without_space": (split, (2,)),
        "group_over_batch": (split, (0, 2, *after_split)),
        "group_strided": (split_the_other_way, (1, *after_split)),
        "group_size_taken": (split_the_other_way, (2, *after_split)),
        "group_across_groups": (split, (1, *after_split)),
        "group_as_layer": (shape, layer),
        "group_as_instance": (shape, instance),
    }[way]


def make_probes(rng: np.random.Generator) -> list[Probe]:
    """Every kind on every designed input with this eps, and group norm with one group and with one for each channel."""
    probes = []
    inputs = [maps for maps in designed_maps(rng) if maps.eps == EPS]
    for kind in KINDS:
        for maps in inputs:
            channels = maps.x.shape[1]
            if kind != "group" and maps.num_groups in (1, channels):
                continue
            # A string of its own, so that `kind is "batch"` is wrong here as it is in the grader.
            arguments = {"x": maps.x, "kind": "".join(list(kind)), "num_groups": maps.num_groups}
            # Where a group is one channel, statistics without space are those of single values: 0 / 0.
            diagnosed = maps.num_groups < channels
            probes.append(Probe(f"{kind}, {maps.name}", arguments, maps.condition, maps.alone, diagnosed))
    return probes


def _over_its_set(statistic: str, x_hat: np.ndarray, arguments: Arguments) -> np.ndarray:
    """Mean or standard deviation of each set of values that belongs together, by example and by channel or group."""
    shape, axes = _normalized_together(arguments["kind"], x_hat.shape, arguments["num_groups"])
    values: np.ndarray = getattr(x_hat.reshape(shape), statistic)(axis=axes, keepdims=True)
    return values.reshape(values.shape[:2])


EXERCISE = Exercise(
    id="norm_axes",
    title="Four norms as one function",
    chapter="1.2",
    statement=(
        "Write batch, layer, instance and group norm as one function. The formula is the same; what differs is which "
        "values share a mean and a variance, and the docstring says it in words: turn each line into axes. `x` has the "
        "shape `(N, C, *spatial)`; leave it unchanged, and return `x_hat` of the same shape, without scale and shift, "
        "with `eps` fixed at `1e-5`."
    ),
    solution_function=normalize,
    outputs=("x_hat",),
    reference=faulty_normalize,
    faults=FAULTS,
    coincidences=(),
    make_probes=make_probes,
    properties=(
        Property(
            "the mean of x_hat (by example, by channel or group; 0 where they share it)",
            "x_hat",
            lambda x_hat, arguments: _over_its_set("mean", x_hat, arguments),
        ),
        Property(
            "the standard deviation of x_hat (by example, by channel or group; 0 where they share it)",
            "x_hat",
            lambda x_hat, arguments: _over_its_set("std", x_hat, arguments),
        ),
        Property("x_hat", "x_hat", lambda x_hat, arguments: x_hat),
    ),
    hints=(
        "For each kind, ask which indices a mean has: those are the axes that stay, and the statistics run over all "
        "the others. The mean of batch norm has the index of a channel; that of layer norm has which? With "
        "keepdims=True it lines up with x again.",
        "Group norm needs one more axis: split axis 1 with reshape into (num_groups, C // num_groups). The first of "
        "the two says which group, and stays. At the end reshape back to the shape of x.",
        "As axes of (N, C, *spatial): batch 0 and space; layer 1 and space; instance space alone. As axes of "
        "(N, G, C // G, *spatial): group 2 and the space after it. With reshape(N, G, C // G, -1), space is one axis.",
    ),
    explanation="""
    A norm is named by what shares its statistics, and axes are what the statistics run over. So list the indices that
    a mean keeps: the channel for batch norm, the example for layer norm, both for instance norm, the example and the
    group for group norm. The axes are the others.

    The reshape makes room for the group and makes one axis of space, whatever its shape was: axis 1 counts the groups
    and axis 2 the channels in each. For the other three, each channel is a group of its own, and axis 2 has length 1.

    With one group, group norm has the statistics of layer norm; with a group for each channel, those of instance norm.
    Batch norm alone looks at other examples, which is why it alone needs running statistics for inference.
    """,
    passed_message=(
        "Your function agrees with the reference on eighteen fresh inputs: each of the four kinds on images, on "
        "sequences, on videos far from zero and on values so small that eps decides, and group norm with a single "
        "group and with a group for each channel. Your input came back unchanged."
    ),
)
