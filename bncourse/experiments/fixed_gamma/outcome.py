"""What the experiment measured."""

from dataclasses import dataclass

from bncourse.lab import Interval


@dataclass(frozen=True)
class Outcome:
    """Accuracies of each activation, gamma and seed, and the estimates made of them and of the losses.

    A *gamma* as a key is its text, such as "0.3"; a *part* is "train" or "test"; a *fall* is "relu below 1" and so on.

    Attributes
    ----------
    seeds : how many test seeds.
    gammas : (G,).
    rates : (R,).
    tuning_accuracy : {activation: {gamma: (R,)}}, mean validation accuracy over the tuning seeds.
    tuned : {activation: {gamma: the rate chosen on the tuning seeds}}.
    accuracy : {activation: {gamma: {part: (S,)}}}.
    mean_accuracy : {activation: {gamma: {part: mean over seeds}}}.
    mean_loss : the same of cross-entropies; ``None`` where a network diverged.
    gap : {activation: {gamma: mean of training accuracy - test accuracy}}.
    estimates : {fall: gap at the smaller gamma - gap at the larger}.
    accuracy_change : {fall: test accuracy at the larger gamma - that at the smaller}.
    """

    seeds: int
    gammas: list[float]
    rates: list[float]
    tuning_accuracy: dict[str, dict[str, list[float]]]
    tuned: dict[str, dict[str, float]]
    accuracy: dict[str, dict[str, dict[str, list[float]]]]
    mean_accuracy: dict[str, dict[str, dict[str, Interval]]]
    mean_loss: dict[str, dict[str, dict[str, Interval | None]]]
    gap: dict[str, dict[str, Interval]]
    estimates: dict[str, Interval]
    accuracy_change: dict[str, Interval]
