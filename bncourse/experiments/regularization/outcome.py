"""What the experiment measured."""

from dataclasses import dataclass

from bncourse.lab import Interval


@dataclass(frozen=True)
class Outcome:
    """Accuracies of each arm on each data set, and the differences made of them.

    An *arm* is a key as made by ``Arm.name``, a *data set* one of ``TASKS``.

    Attributes
    ----------
    seeds : how many test seeds.
    rates : (R,).
    sizes : of the ghost batches; the last is the optimizer's batch.
    size : {data set: the size chosen}.
    tuned : {data set: {arm: (rate, steps)}}.
    validation_accuracy : {data set: {arm: the mean over the tuning seeds that it was chosen for}}.
    test_accuracy : {data set: {arm: (S,)}}.
    train_accuracy : {data set: {arm: (S,)}}, on the labels that were trained on, after the same steps.
    mean_accuracy : {data set: {arm: mean of the test accuracy}}.
    noise : {data set: {"batch", "ghosts" or "noise": difference of test accuracy to full statistics}}, of C9.
    accuracy : {data set: difference of test accuracy, ordinary batch norm - none}, of C18.
    gap : {data set: the same difference of training accuracy - test accuracy}, in no rule.
    """

    seeds: int
    rates: list[float]
    sizes: list[int]
    size: dict[str, int]
    tuned: dict[str, dict[str, list[float]]]
    validation_accuracy: dict[str, dict[str, float]]
    test_accuracy: dict[str, dict[str, list[float]]]
    train_accuracy: dict[str, dict[str, list[float]]]
    mean_accuracy: dict[str, dict[str, Interval]]
    noise: dict[str, dict[str, Interval]]
    accuracy: dict[str, Interval]
    gap: dict[str, Interval]
