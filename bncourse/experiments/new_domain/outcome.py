"""What the experiment measured."""

from dataclasses import dataclass

from bncourse.lab import Interval


@dataclass(frozen=True)
class Outcome:
    """Accuracies on the test part, over seeds, with intervals.

    Attributes
    ----------
    seeds : how many test seeds.
    tuned : {network: rate on the clean digits}.
    clean : {network: accuracy on clean digits}, with clean statistics.
    kept : {network: {domain: accuracy}}, with clean statistics.
    recalibrated : {network: {domain: (E,)}}, with those of so many images of the domain as ``examples`` says.
    examples : (E,).
    adapted : {domain or "clean": {batch size: (P,)}}, MLPs with the statistics of each batch, by prior.
    sorted : {domain or "clean": (P,)}, the same for images that come class by class.
    sorted_batch_size : of these.
    priors : (P,).
    not_fine_tuned : {domain: {"frozen" or "recalibrated": accuracy}}, MLPs before fine-tuning; "recalibrated" with the
        statistics of the labelled images.
    fine_tuned : {domain: {way: (B,)}}, MLPs, at tuned rates.
    fine_tuning_batch_sizes : (B,).
    fine_tuning_rates : (R,).
    fine_tuning_tuned : {domain: {way: (B,)}}, the rates.
    differences : {domain: {pair: (B,)}}, of accuracy, paired; the pairs are those of ``measure.DIFFERENCES``.
    """

    seeds: int
    tuned: dict[str, float]
    clean: dict[str, Interval]
    kept: dict[str, dict[str, Interval]]
    recalibrated: dict[str, dict[str, list[Interval]]]
    examples: list[int]
    adapted: dict[str, dict[str, list[Interval]]]
    sorted: dict[str, list[Interval]]
    sorted_batch_size: int
    priors: list[int]
    not_fine_tuned: dict[str, dict[str, Interval]]
    fine_tuned: dict[str, dict[str, list[Interval]]]
    fine_tuning_batch_sizes: list[int]
    fine_tuning_rates: list[float]
    fine_tuning_tuned: dict[str, dict[str, list[float]]]
    differences: dict[str, dict[str, list[Interval]]]
