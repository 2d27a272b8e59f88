"""What the weights of networks with batch norm do while they train: angles, norms and growth, against theory."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from jaxtyping import Float

from bncourse.experiments.weight_decay.gains import CLASSES, RunAll
from bncourse.experiments.weight_decay.settings import Settings
from bncourse.lab import Gradients, Interval, MLPEnsemble, Weights, clusters, mean_interval, train

Values = dict[str, Float[np.ndarray, "S ..."]]


@dataclass(frozen=True)
class Member:
    """What the networks of one comparison differ in, apart from their seeds."""

    rate: float
    decay: float = 0.0
    gain: float = 1.0
    hidden_rate: float | None = None


@dataclass(frozen=True)
class Followed:
    """An ensemble to look at in every step."""

    members: tuple[Member, ...]
    seeds: tuple[int, ...]
    momentum: float
    steps: int
    hidden: tuple[int, ...]
    batch_size: int
    gradients: bool


def follow(cell: Followed) -> Values:
    """Train each member with each seed, and read every step.

    Returns
    -------
    norm, angle, relative_update : (M S, T, L), of the hidden layers' weights; if asked for, gradient likewise.
    loss : (M S, T), of the batches.
    """
    data = clusters()
    members = [member for member in cell.members for _ in cell.seeds]
    seeds = cell.seeds * len(cell.members)
    widths = (data.train_x.shape[1], *cell.hidden, CLASSES)
    network = MLPEnsemble(widths, seeds, True, gain=[member.gain for member in members])
    history = train(
        network,
        data,
        [member.rate for member in members],
        cell.steps,
        cell.batch_size,
        cell.momentum,
        evaluate_every=cell.steps,
        weight_decay=[member.decay for member in members],
        hidden_rates=[member.rate if member.hidden_rate is None else member.hidden_rate for member in members],
        probes=[Weights(), *([Gradients()] if cell.gradients else [])],
    )
    names = {
        "norm": "weight_norm",
        "angle": "angle",
        "relative_update": "relative_update",
        "gradient": "weight_gradient",
    }
    traces = {name: history.traces[quantity] for name, quantity in names.items() if quantity in history.traces}
    return {name: trace.values[:, :, :-1] for name, trace in traces.items()} | {"loss": history.batch_loss}


def measure_dynamics(settings: Settings, run_all: RunAll) -> dict[str, Any]:
    """The parts of the outcome that are about the weights."""
    seeds = settings.test_seeds[: settings.followed_seeds]

    def cell(members: Sequence[Member], momentum: float, steps: int, gradients: bool = False) -> Followed:
        return Followed(tuple(members), seeds, momentum, steps, settings.hidden, settings.batch_size, gradients)

    equilibria = [
        (list(group), momentum) for momentum, group in groupby(settings.equilibria, key=lambda each: each.momentum)
    ]
    ways = {
        (name, gain): Member(settings.followed_rate, decay, gain)
        for name, decay in (("decay", settings.followed_decay), ("no decay", 0.0))
        for gain in settings.followed_gains
    }
    rate = settings.followed_rate
    matched = [Member(rate), Member(rate, gain=4.0), Member(rate, gain=4.0, hidden_rate=16 * rate)]
    cells = [
        *(
            cell([Member(each.rate, each.decay) for each in group], momentum, settings.equilibrium_steps)
            for group, momentum in equilibria
        ),
        cell(list(ways.values()), settings.momentum, settings.trajectory_steps),
        *(
            cell([Member(each)], momentum, settings.growth_steps, gradients=True)
            for momentum, each in settings.growth_rates
        ),
        cell(matched, settings.momentum, settings.matched_steps, gradients=True),
    ]
    found = iter(run_all(follow, cells))

    angles, norms = {}, {}
    for group, _ in equilibria:
        values = next(found)
        for each, late in zip(group, by_member(values, len(group)), strict=True):
            half = settings.equilibrium_steps // 2
            angles[each.name] = mean_interval(root_mean_square(late["angle"][:, half:]) / each.angle)
            norms[each.name] = mean_interval(root_mean_square(late["norm"][:, half:]))
    trajectories: dict[str, dict[str, dict[str, list[Interval]]]] = {"decay": {}, "no decay": {}}
    for (name, gain), values in zip(ways, by_member(next(found), len(ways)), strict=True):
        trajectories[name][f"{gain:g}"] = {
            quantity: over_steps(values[quantity][:, :: settings.read_every]) for quantity in ("norm", "angle")
        }
    growth = {
        f"{momentum:g}": {name: mean_interval(ratio) for name, ratio in growths(next(found), each, momentum).items()}
        for momentum, each in settings.growth_rates
    }
    return {
        "angle_ratio": angles,
        "norms": norms,
        "trajectories": trajectories,
        "growth": growth,
        "matched": compare(*by_member(next(found), len(matched))),
    }


def by_member(values: Values, members: int) -> list[Values]:
    """The values of each member's seeds."""
    return [
        dict(zip(values, parts, strict=True))
        for parts in zip(*(np.split(array, members) for array in values.values()), strict=True)
    ]


def root_mean_square(values: Float[np.ndarray, "S T L"]) -> Float[np.ndarray, "S"]:
    """Over steps and layers."""
    return np.asarray(np.sqrt(np.square(values).mean(axis=(1, 2))))


def over_steps(values: Float[np.ndarray, "S K L"]) -> list[Interval]:
    """Root mean square over layers, averaged over seeds, at each step."""
    return [mean_interval(column) for column in np.sqrt(np.square(values).mean(axis=2)).T]


def growths(values: Values, rate: float, momentum: float) -> dict[str, Float[np.ndarray, "S"]]:
    """Growth of the squared norm, with what momentum has yet to add to it, by the two sums that predict it.

    The norm that the last step starts from is the end of the growth: the sums are over the steps before.
    """
    squared = np.square(values["norm"]).sum(axis=2)
    steps = np.square(values["relative_update"] * values["norm"]).sum(axis=2)[:, :-1]
    gradients = np.square(values["gradient"])[:, :-1].sum(axis=(1, 2))
    owed = momentum / (1 - momentum) * (squared[:, -1] - squared[:, -2] + steps[:, -1])
    grown = squared[:, -1] - squared[:, 0] + owed
    return {
        "steps": grown / (steps.sum(axis=1) * (1 + momentum) / (1 - momentum)),
        "gradients": grown / (gradients * (rate / (1 - momentum)) ** 2),
    }


def compare(usual: Values, same_rate: Values, rescaled: Values) -> dict[str, Interval]:
    """How far the losses of larger weights are from the usual ones, and the size of their first gradient."""

    def apart(other: Values) -> Interval:
        return mean_interval(np.abs(other["loss"] - usual["loss"]).max(axis=1))

    ratio = root_mean_square(same_rate["gradient"][:, :1]) / root_mean_square(usual["gradient"][:, :1])
    return {"same rate": apart(same_rate), "rescaled": apart(rescaled), "gradient": mean_interval(ratio)}
