"""Exercise: the gradients of group norm."""

# mypy: disable-error-code="no-any-return"
# NumPy's stubs type the reductions of an array as Any, and the solution is shown to learners without casts.

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bncourse.exercises.common_faults import DGAMMA, INV_STD, SWAPPED, VARIANCE_PATH, X_HAT
from bncourse.exercises.exercise import Arguments, Exercise, Property
from bncourse.exercises.faults import Coincidence, Fault, FaultSet
from bncourse.exercises.maps import designed_maps
from bncourse.exercises.probe import Probe


def group_norm_gradients(
    dy: np.ndarray,
    x: np.ndarray,
    gamma: np.ndarray,
    num_groups: int,
    eps: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of a loss through group norm.

    y = gamma * x_hat + beta,    x_hat = (x - mean) / sqrt(var + eps)

    mean and var are the mean and the biased variance of a group: of
    C / num_groups neighbouring channels of one example, at all positions.
    They depend on x. gamma and beta have one value for each channel.

    Parameters
    ----------
    dy : array of the shape of x, gradient of the loss with respect to y.
    x : array of shape (N, C, *spatial), with one spatial axis or more.
    gamma : array of shape (C,).
    num_groups : a divisor of C.
    eps : positive float.

    Returns
    -------
    dx : array of the shape of x.
    dgamma, dbeta : arrays of shape (C,).
    """
    n, c = x.shape[:2]
    by_group, by_channel = (n, num_groups, -1), (n, c, -1)
    values = x.reshape(by_group)
    centred = values - values.mean(axis=2, keepdims=True)
    inv_std = 1 / np.sqrt((centred**2).mean(axis=2, keepdims=True) + eps)
    x_hat = centred * inv_std

    upstream = dy.reshape(by_channel)
    dgamma = (upstream * x_hat.reshape(by_channel)).sum(axis=(0, 2))
    dbeta = upstream.sum(axis=(0, 2))

    dx_hat = (gamma[:, None] * upstream).reshape(by_group)
    offset = dx_hat.mean(axis=2, keepdims=True)
    along_x_hat = (dx_hat * x_hat).mean(axis=2, keepdims=True)
    dx = inv_std * (dx_hat - offset - x_hat * along_x_hat)
    return dx.reshape(x.shape), dgamma, dbeta


BOTH_PATHS = ("mean path", "variance path", "count")
PER_GROUP = ("dgamma_per_group", "dbeta_per_group")
FAULTS = (
    Fault(
        "mean_path_dropped",
        "dx lacks the path through the mean: the mean of a group depends on every x in it, which takes `mean(dx_hat)` "
        "off dx_hat.",
        ("mean path",),
    ),
    Fault(
        "variance_path_dropped",
        "dx lacks the path through the variance: the variance of a group depends on every x in it, which takes "
        "`x_hat * mean(dx_hat * x_hat)` off dx_hat.",
        ("variance path",),
    ),
    Fault(
        "count_missing",
        "The two terms that dx takes off hold sums: they are the means of dx_hat and dx_hat * x_hat over a group.",
        BOTH_PATHS,
    ),
    Fault(
        "count_of_channels",
        "The two sums in dx are divided by the number of channels of a group alone: a group has that many values at "
        "every position. Take the means over channels and space.",
        (*BOTH_PATHS, "groups"),
    ),
    Fault(
        "count_of_positions",
        "The two sums in dx are divided by the number of positions alone: a group has that many values in each of its "
        "channels. Take the means over channels and space.",
        (*BOTH_PATHS, "groups"),
    ),
    Fault(
        "count_of_batch_norm",
        "The two sums in dx are divided by the count of batch norm, examples times positions: they run over the "
        "channels of a group and over space, so divide by as many.",
        (*BOTH_PATHS, "groups"),
    ),
    Fault(
        "sums_of_batch_norm",
        "The two sums in dx are dbeta and dgamma, over the examples and space, as in batch norm. Here they are others: "
        "take the means of dx_hat and dx_hat * x_hat over the channels of a group and space.",
        (*BOTH_PATHS, "groups"),
    ),
    Fault(
        "mean_path_sign",
        "The path through the mean has the wrong sign: `mean(dx_hat)` is subtracted from dx_hat.",
        ("mean path",),
    ),
    Fault(
        "variance_path_sign",
        "The path through the variance has the wrong sign: `x_hat * mean(dx_hat * x_hat)` is subtracted from dx_hat.",
        ("variance path",),
    ),
    *VARIANCE_PATH,
    Fault(
        "scaled_by_count",
        "dx is m times too large: the form `m * dx_hat - sum(dx_hat) - x_hat * sum(dx_hat * x_hat)` is still to be "
        "divided by m, the number of values in a group.",
        ("count",),
    ),
    Fault("gamma_missing", "gamma is missing in dx: the gradient reaches x_hat as `dx_hat = dy * gamma`.", ("gamma",)),
    Fault(
        "gamma_outside",
        "gamma multiplies dx after the means are taken. In batch norm it may, being constant where the means run; in a "
        "group it differs from channel to channel. Multiply dy by gamma first, and take the means of that.",
        ("gamma",),
    ),
    Fault(
        "means_over_space",
        "The two means in dx run over space, one of each for every channel: the statistics belong to a group, so take "
        "them over its channels too.",
        ("groups",),
    ),
    Fault(
        "means_over_channels",
        "The two means in dx run over the channels of a group, one of each for every position: take them over space "
        "too.",
        ("groups",),
    ),
    Fault(
        "means_over_batch",
        "The two means in dx run over the examples too: the statistics belong to one example, so keep axis 0.",
        ("groups",),
    ),
    Fault(
        "means_of_batch_norm",
        "The two means in dx are those of batch norm, over the examples and space: take them where the statistics were "
        "taken, over the channels of a group and space.",
        ("groups",),
    ),
    *INV_STD,
    *DGAMMA,
    Fault(
        "dgamma_averaged",
        "dgamma is averaged over the batch and space: gamma is used once by every value of its channel, and the "
        "gradients of all uses add up. Take the sum.",
        ("dgamma reduction",),
    ),
    Fault(
        "dgamma_per_group",
        "dgamma is summed over the channels of a group too: groups share statistics, not parameters. Each channel has "
        "its own gamma, so sum over the batch and space alone.",
        ("dgamma reduction",),
    ),
    Fault(
        "dgamma_times_gamma",
        "dgamma is multiplied by gamma: it is the sum of `dy * x_hat`, with dy as it arrives, not dx_hat.",
        ("dgamma gamma",),
    ),
    Fault(
        "dbeta_averaged",
        "dbeta is averaged over the batch and space: beta is used once by every value of its channel, and the "
        "gradients of all uses add up. Take the sum.",
        ("dbeta reduction",),
    ),
    Fault(
        "dbeta_per_group",
        "dbeta is summed over the channels of a group too: groups share statistics, not parameters. Each channel has "
        "its own beta, so sum over the batch and space alone.",
        ("dbeta reduction",),
    ),
    Fault(
        "dbeta_times_gamma",
        "dbeta is multiplied by gamma: it is the sum of dy as it arrives, not of dx_hat.",
        ("dbeta gamma",),
    ),
    *SWAPPED,
    *X_HAT,
    Fault(
        "groups_strided",
        "The groups are made of every num_groups-th channel. They are neighbours: split axis 1 into "
        "`(num_groups, C // num_groups)`, in this order.",
        ("groups",),
    ),
    Fault(
        "group_size_taken",
        "num_groups is taken for the number of channels in a group. It is the number of groups, each of "
        "`C // num_groups` channels.",
        ("groups",),
    ),
    Fault(
        "one_group",
        "num_groups is not used, and each example is one group: that is layer norm. Split axis 1 into "
        "`(num_groups, C // num_groups)`.",
        ("groups",),
    ),
    Fault(
        "single_channels",
        "Each channel is a group of its own: that is instance norm. Take the statistics, and the two means in dx, over "
        "the channels of a group as well.",
        ("groups",),
    ),
    Fault(
        "batch_norm",
        "These are the gradients of batch norm. The statistics, and the two means in dx, belong to one example and one "
        "group: take them over the channels of the group and space, and keep axis 0.",
        ("groups",),
    ),
    Fault(
        "groups_over_batch",
        "The statistics, and the two means in dx, run over the examples too. Each example has its own: keep axis 0.",
        ("groups",),
    ),
)


class Together(NamedTuple):
    """Which values of an array of shape (N, C, positions) are summed together.

    Attributes
    ----------
    channels : symmetric matrix, 1 where two channels are in one set and 0 elsewhere.
    batch, space : whether a set holds all examples, and all positions.
    """

    channels: np.ndarray
    batch: bool = False
    space: bool = True

    def total(self, values: np.ndarray) -> np.ndarray:
        """The sum of each value's set, with length 1 along the axes that a set holds whole."""
        axes = (0,) * self.batch + (2,) * self.space
        sums: np.ndarray = self.channels @ values.sum(axis=axes, keepdims=True)
        return sums

    def size(self, values: np.ndarray) -> float:
        """The number of values in a set; all sets have as many."""
        examples, _, positions = values.shape
        return float(self.channels[0].sum() * (examples if self.batch else 1) * (positions if self.space else 1))


def faulty_group_norm_backward(faults: FaultSet, arguments: Arguments) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gradients as someone writes them who makes the mistakes in ``faults``; with none, they are right."""
    gamma, eps = arguments["gamma"], arguments["eps"]
    shape = arguments["x"].shape
    x, dy = (arguments[name].reshape(*shape[:2], -1) for name in ("x", "dy"))
    scale = gamma[:, np.newaxis]
    statistics, means = _sets(faults, shape[1], arguments["num_groups"])

    m = statistics.size(x)
    mean = statistics.total(x) / m
    var = statistics.total((x - mean) ** 2) / (m - ("unbiased_variance" in faults))
    inside = {"eps_missing": 0.0, "eps_outside": 0.0, "eps_fixed": 1e-5}
    var_plus = var + next((value for fault, value in inside.items() if fault in faults), eps)
    std = var_plus if "root_missing" in faults else np.sqrt(var_plus)
    inv_std = 1 / (std + eps if "eps_outside" in faults else std)
    x_hat = (x if "no_centring" in faults else x - mean) * inv_std

    dx_hat = dy if faults & {"gamma_missing", "gamma_outside"} else dy * scale
    m = means.size(x)
    counts = {
        "count_missing": 1.0,
        "count_of_channels": means.channels[0].sum(),
        "count_of_positions": x.shape[2],
        "count_of_batch_norm": x.size / x.shape[1],
        "sums_of_batch_norm": statistics.size(x),
    }
    divisor = next((count for fault, count in counts.items() if fault in faults), m)
    through_mean = means.total(dx_hat) / divisor
    through_variance = (
        (x - mean if "variance_path_centred" in faults else x_hat) * means.total(dx_hat * x_hat) / divisor
    )
    mean_factor = {"mean_path_dropped": 0.0, "mean_path_sign": -1.0}
    variance_factor = {
        "variance_path_dropped": 0.0,
        "variance_path_sign": -1.0,
        "variance_path_halved": 0.5,
        "variance_path_doubled": 2.0,
    }
    through_mean = through_mean * next((f for fault, f in mean_factor.items() if fault in faults), 1.0)
    through_variance = through_variance * next((f for fault, f in variance_factor.items() if fault in faults), 1.0)
    power = 0 if "inv_std_missing" in faults else 2 if "inv_std_squared" in faults else 1
    dx = inv_std**power * (dx_hat - through_mean - through_variance)
    dx = dx * (scale if "gamma_outside" in faults else 1.0) * (m if "scaled_by_count" in faults else 1.0)

    factor = x if "dgamma_from_x" in faults else x - mean if "dgamma_from_centred" in faults else x_hat
    gradients = {"dgamma": (dy * factor).sum(axis=(0, 2)), "dbeta": dy.sum(axis=(0, 2))}
    for name, gradient in gradients.items():
        if f"{name}_averaged" in faults:
            gradient = gradient / (x.size / x.shape[1])
        if f"{name}_per_group" in faults:
            gradient = statistics.channels @ gradient
        gradients[name] = gradient * (gamma if f"{name}_times_gamma" in faults else 1.0)
    dgamma, dbeta = gradients["dgamma"], gradients["dbeta"]
    dx = dx.reshape(shape)
    return (dx, dbeta, dgamma) if "dgamma_dbeta_swapped" in faults else (dx, dgamma, dbeta)


def _sets(faults: FaultSet, channels: int, num_groups: int) -> tuple[Together, Together]:
    """What the statistics run over, and what the two means in dx run over."""
    index = np.arange(channels)
    alone = np.eye(channels)
    group = index // (channels // num_groups)
    if "groups_strided" in faults:
        group = index % num_groups
    if "group_size_taken" in faults:
        group = index // num_groups
    if "one_group" in faults:
        group = np.zeros_like(index)
    if faults & {"single_channels", "batch_norm"}:
        group = index
    grouped = (group[:, np.newaxis] == group).astype(float)
    statistics = Together(grouped, batch=bool(faults & {"groups_over_batch", "batch_norm"}))
    means = {
        "means_over_space": Together(alone),
        "means_over_channels": Together(grouped, space=False),
        "means_over_batch": Together(grouped, batch=True),
        "means_of_batch_norm": Together(alone, batch=True),
        "sums_of_batch_norm": Together(alone, batch=True),
    }
    return statistics, next((sets for fault, sets in means.items() if fault in faults), statistics)


def _where_gamma_is_constant(name: str) -> Coincidence:
    return Coincidence(
        frozenset({name}),
        frozenset({name, "gamma_outside"}),
        "over one channel gamma is constant, and it does not matter whether it is inside the means or outside",
    )


def _in_groups_of_one(name: str, sums: str) -> Coincidence:
    return Coincidence(
        frozenset({name}),
        frozenset({name, sums}),
        "in a group of one channel there is nothing to sum over",
    )


def make_probes(rng: np.random.Generator) -> list[Probe]:
    """One call for each designed input, with a dy that has a part along 1, along x_hat, and along neither."""
    probes = []
    for maps in designed_maps(rng):
        x_hat = _standardized(maps.x, maps.num_groups)
        each = (*maps.x.shape[:2], *[1] * (maps.x.ndim - 2))
        # With the signs of gamma, the parts of dy * gamma in the channels of a group do not cancel.
        signs = np.sign(maps.gamma).reshape(each[1:])
        # Each example has another level, so that a mean over the examples is nobody's own.
        levels = np.linspace(0.5, 1.0, len(maps.x)).reshape(-1, *[1] * (maps.x.ndim - 1))
        along_one, along_x_hat = (
            signs * rng.choice([-1.0, 1.0]) * rng.permutation(levels) * rng.uniform(0.8, 1.0, each) for _ in range(2)
        )
        dy = along_one + along_x_hat * x_hat + 0.5 * rng.standard_normal(maps.x.shape)
        arguments = {"dy": dy, "x": maps.x, "gamma": maps.gamma, "num_groups": maps.num_groups, "eps": maps.eps}
        probes.append(Probe(maps.name, arguments, maps.condition, maps.alone))
    return probes


def _standardized(x: np.ndarray, num_groups: int) -> np.ndarray:
    """x with mean 0 and standard deviation 1 in each group."""
    values = x.reshape(len(x), num_groups, -1)
    values = (values - values.mean(axis=2, keepdims=True)) / values.std(axis=2, keepdims=True)
    return values.reshape(x.shape)


def _over_groups(values: np.ndarray, arguments: Arguments) -> np.ndarray:
    """The mean over each group, of shape (N, num_groups)."""
    means: np.ndarray = values.reshape(len(values), arguments["num_groups"], -1).mean(axis=2)
    return means


EXERCISE = Exercise(
    id="group_norm_backward",
    title="The gradients of group norm",
    chapter="2.5",
    statement=(
        "Write the backward pass of group norm: from `dy`, the gradient of the loss with respect to `y`, compute the "
        "gradients with respect to `x`, `gamma` and `beta`. `x` has the shape `(N, C, *spatial)`. The formula of batch "
        "norm carries over with two changes; find out which before you write it: what do its means run over here, and "
        "is `gamma` still constant there? Leave the inputs unchanged."
    ),
    solution_function=group_norm_gradients,
    outputs=("dx", "dgamma", "dbeta"),
    reference=faulty_group_norm_backward,
    faults=FAULTS,
    coincidences=(
        _where_gamma_is_constant("single_channels"),
        _where_gamma_is_constant("means_over_space"),
        _where_gamma_is_constant("means_of_batch_norm"),
        _where_gamma_is_constant("sums_of_batch_norm"),
        _where_gamma_is_constant("batch_norm"),
        *(_in_groups_of_one(name, sums) for name in ("single_channels", "batch_norm") for sums in PER_GROUP),
    ),
    make_probes=make_probes,
    properties=(
        Property("dbeta", "dbeta", lambda dbeta, arguments: dbeta),
        Property("dgamma", "dgamma", lambda dgamma, arguments: dgamma),
        Property("the mean of dx (by example and group)", "dx", _over_groups),
        Property(
            "the mean of dx times the normalized x (by example and group)",
            "dx",
            lambda dx, arguments: _over_groups(dx * _standardized(arguments["x"], arguments["num_groups"]), arguments),
        ),
        Property("dx", "dx", lambda dx, arguments: dx),
    ),
    hints=(
        "Parameters first: each channel has its own gamma and beta, used by every example at every position. Whatever "
        "the statistics run over, dgamma and dbeta are sums over all axes but 1. Then dx: reshape to "
        "(N, num_groups, -1), and a group is one row of numbers.",
        "Two statistics per group, and each depends on every x of the group: through the mean, dx loses its offset in "
        "the group; through the variance, what lies along x_hat. Both are means over the channels of the group and "
        "space, and the gradient that they are means of has passed gamma already.",
        "dx_hat = dy * gamma, with gamma of shape (C, 1, ...). Then dx = inv_std * (dx_hat - mean(dx_hat) - x_hat * "
        "mean(dx_hat * x_hat)), with inv_std = 1 / sqrt(var + eps) and all means over a group.",
    ),
    explanation="""
    Backwards through gamma first: dx_hat = gamma * dy. From there the group is a row of numbers with a mean and a
    variance of its own, and the closed form of batch norm holds in it: dx_hat, less its mean, less its part along
    x_hat, times inv_std.

    In batch norm gamma may wait until the end, because the means run over one channel, where it is constant. A group
    holds several channels with different gammas, so the mean of gamma * dy is not gamma times the mean of dy.

    Statistics are shared by a group, parameters by a channel: dgamma and dbeta are sums over the batch and space, which
    are other axes than those of the statistics. So they cannot be reused for dx, as the sums of batch norm can.
    """,
    passed_message=(
        "Your three gradients agree with the reference on seven fresh inputs: images, sequences, videos far from zero, "
        "values so small that eps decides, a large eps, a single group, and a group for each channel. dy had a part "
        "along every path, gamma differed from channel to channel, and your inputs came back unchanged."
    ),
)
