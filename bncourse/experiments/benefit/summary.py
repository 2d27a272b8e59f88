"""From steps and accuracies of the seeds to the benefits, and to how they grow with each size."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from bncourse.experiments.benefit.outcome import Outcome
from bncourse.experiments.benefit.settings import SIZES, Setting, Settings
from bncourse.experiments.design import ARMS
from bncourse.experiments.shared import finite
from bncourse.lab import Interval, difference_of_means, mean_interval, paired_interval, ratio_of_geometric_means

TEST_PARTS = {"digits": 500, "clusters": 4000}

Seeds = Float[np.ndarray, "S"]
Places = Mapping[tuple[Setting, str], Seeds]


def summarize(
    settings: Settings,
    ends: Mapping[Setting, float],
    tuned: Mapping[str, Mapping[tuple[Setting, str], float]],
    steps: Mapping[float, Places],
    test_accuracy: Places,
) -> Outcome:
    """Everything that the outcome holds.

    Parameters
    ----------
    settings : of the run.
    ends : what networks without batch norm end with in each setting, by which targets are set.
    tuned : {"steps" or "accuracy": rate of each arm in each setting}.
    steps : {share: steps to this share of ``ends``}.
    test_accuracy : at the rates for accuracy.
    """
    recorded = {place: np.round(values, 6) for place, values in test_accuracy.items()}

    def each_arm(setting: Setting, values: Mapping[tuple[Setting, str], Seeds]) -> dict[str, Seeds]:
        return {arm: values[setting, arm] for arm in ARMS}

    def capped(setting: Setting, share: float) -> dict[str, Seeds]:
        return {arm: np.minimum(values, settings.steps) for arm, values in each_arm(setting, steps[share]).items()}

    def misread(setting: Setting) -> dict[str, Seeds]:
        images = TEST_PARTS[setting.data]
        return {arm: error_share(values, images) for arm, values in each_arm(setting, recorded).items()}

    def factor(size: str, pairs: Sequence[dict[str, Seeds]]) -> Interval:
        benefit = np.stack([pair["none"] / pair["batch_norm"] for pair in pairs])
        return growth_per_doubling(settings.values(size), benefit)

    sweeps = {size: settings.sweep(size) for size in SIZES}
    pairs = {
        "steps": {
            size: [capped(setting, settings.target_share) for setting in sweep] for size, sweep in sweeps.items()
        },
        "errors": {size: [misread(setting) for setting in sweep] for size, sweep in sweeps.items()},
    }
    return Outcome(
        seeds=len(settings.test_seeds),
        horizon=settings.steps,
        target_share=settings.target_share,
        rates=list(settings.rates),
        values={size: list(settings.values(size)) for size in SIZES},
        settings={size: [setting.name for setting in sweep] for size, sweep in sweeps.items()},
        target={setting.name: settings.target_share * end for setting, end in ends.items()},
        tuned={
            setting.name: {outcome: {arm: rates[setting, arm] for arm in ARMS} for outcome, rates in tuned.items()}
            for setting in ends
        },
        steps={
            setting.name: {
                arm: finite(values.tolist()) for arm, values in each_arm(setting, steps[settings.target_share]).items()
            }
            for setting in ends
        },
        test_accuracy={
            setting.name: {arm: values.tolist() for arm, values in each_arm(setting, recorded).items()}
            for setting in ends
        },
        mean_accuracy={
            setting.name: {arm: mean_interval(values) for arm, values in each_arm(setting, recorded).items()}
            for setting in ends
        },
        benefit={
            benefit: {
                size: [paired_interval(pair["none"], pair["batch_norm"], ratio_of_geometric_means) for pair in row]
                for size, row in rows.items()
            }
            for benefit, rows in pairs.items()
        },
        accuracy_difference={
            size: [
                paired_interval(recorded[setting, "batch_norm"], recorded[setting, "none"], difference_of_means)
                for setting in sweep
            ]
            for size, sweep in sweeps.items()
        },
        estimates={f"{size} {benefit}": factor(size, rows[size]) for size in SIZES for benefit, rows in pairs.items()},
        other_targets={
            f"{share:g}": {
                size: factor(size, [capped(setting, share) for setting in sweep]) for size, sweep in sweeps.items()
            }
            for share in settings.other_shares
        },
    )


def error_share(accuracy: Seeds, images: int) -> Seeds:
    """Share of images misread, with half an image added to them and one to all, so that it is never 0."""
    return np.asarray(((1 - accuracy) * images + 0.5) / (images + 1))


def growth_per_doubling(sizes: Sequence[int], benefit: Float[np.ndarray, "K S"]) -> Interval:
    """Factor by which a benefit grows with each doubling of a size.

    2 to the power of the mean over seeds of the slope of the least-squares line through the logarithms of both.
    """
    x = np.log2(sizes)
    x = x - x.mean()
    slopes = mean_interval(x @ np.log2(benefit) / (x @ x))
    return Interval(*(float(2.0**value) for value in (slopes.estimate, slopes.low, slopes.high)))
