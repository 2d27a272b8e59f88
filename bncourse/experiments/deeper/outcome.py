"""What the experiment measured."""

from dataclasses import dataclass

from bncourse.lab import Interval


@dataclass(frozen=True)
class Outcome:
    """Values of each network by depth and seed, and the estimates made of them; networks are keys of ``NETWORKS``.

    Attributes
    ----------
    seeds : how many test seeds.
    target_accuracy : what "works" refers to.
    rates : (R,).
    depths : {network: (D,)}, its sweep.
    tuning_accuracy : {network: (D, R)}, mean final validation accuracy over the tuning seeds.
    tuned : {network: (D,)}, the rate chosen at each depth.
    test_accuracy : {network: (D, S)}.
    mean_accuracy : {network: (D,)}, over seeds, with intervals.
    largest : {network: (S,)}, the largest depth at which each seed works, the smallest of all if at none.
    reached : {network: geometric mean of the largest depths, with its interval}.
    estimates : "plain ratio" and "residual ratio", batch norm / none, and "skip_init ratio", batch norm / SkipInit,
        as in the package's docstring; and beside them, for no verdict, "branches ratio", residual / plain networks with
        batch norm.
    """

    seeds: int
    target_accuracy: float
    rates: list[float]
    depths: dict[str, list[int]]
    tuning_accuracy: dict[str, list[list[float]]]
    tuned: dict[str, list[float]]
    test_accuracy: dict[str, list[list[float]]]
    mean_accuracy: dict[str, list[Interval]]
    largest: dict[str, list[float]]
    reached: dict[str, Interval]
    estimates: dict[str, Interval]
