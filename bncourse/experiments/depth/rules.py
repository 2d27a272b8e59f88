"""The decision rules of claims C6, C7 and C8, as the package's docstring states them."""

import numpy as np

from bncourse.experiments.depth.outcome import Outcome
from bncourse.experiments.shared import Verdict
from bncourse.experiments.votes import Number, at_edge, decide, edge_note, number

SMALLEST_DECADES = 1.0
SMALLEST_ACCURACY = 0.05
SMALLEST_GROWTH = 1.05
SMALLEST_SPREAD_RATIO = 1.25
SMALLEST_SATURATION = 0.05
TRAINS = 0.2
TEST_IMAGES = 500


def verdicts(outcome: Outcome) -> list[Verdict]:
    """Apply the rules of the package's docstring."""
    return [_vanishing(outcome), _exploding(outcome), _saturation(outcome)]


def _vanishing(outcome: Outcome) -> Verdict:
    made_up = [
        number(
            f"decades of gradient that vanish without batch norm and not with it, {activation}, {outcome.depth} layers",
            outcome.estimates[f"{activation}_made_up"],
            seeds=outcome.seeds,
            no_effect=0,
            smallest=SMALLEST_DECADES,
        )
        for activation in ("sigmoid", "tanh")
    ]
    edge = tuned_at_edge(outcome, f"sigmoid {outcome.depth}")
    trained = number(
        "test accuracy with batch norm - without, sigmoid",
        outcome.estimates["sigmoid_accuracy_difference"],
        seeds=outcome.seeds,
        no_effect=0,
        smallest=SMALLEST_ACCURACY,
        resolution=1 / TEST_IMAGES,
        decidable=not edge,
    )
    reason = (
        f"over {outcome.depth} layers batch norm makes up for {made_up[0].effect} decades of vanished gradient with "
        f"sigmoid units, {made_up[1].effect} with tanh; after training, sigmoid networks gain {trained.effect} in test "
        f"accuracy{edge_note(edge)}"
    )
    numbers = [*made_up, trained]
    return decide("C6", "prevents vanishing gradients", reason, numbers)


def _exploding(outcome: Outcome) -> Verdict:
    plain = number(
        "growth of the squared gradient norm a layer, plain ReLU network with batch norm",
        outcome.estimates["plain_growth"],
        seeds=outcome.seeds,
        no_effect=1,
        smallest=SMALLEST_GROWTH,
        ratio=True,
        claimed="below",
    )
    branches = number(
        "growth a layer without batch norm / with it, ReLU network with pre-activation branches",
        outcome.estimates["branch_growth_ratio"],
        seeds=outcome.seeds,
        no_effect=1,
        smallest=SMALLEST_GROWTH,
        ratio=True,
    )
    edge = tuned_at_edge(outcome, f"relu {outcome.depth}")
    updates = number(
        "spread of relative updates without batch norm / with it, plain ReLU network",
        outcome.estimates["spread_ratio"],
        seeds=outcome.seeds,
        no_effect=1,
        smallest=SMALLEST_SPREAD_RATIO,
        ratio=True,
        decidable=not edge,
    )
    without = float(np.exp(np.mean(np.log(outcome.growth["relu plain"]["none"]))))
    reason = (
        f"with batch norm the squared gradient of a plain ReLU network grows {plain.effect}-fold a layer, without "
        f"it {without:.2f}-fold; with branches the growth is {branches.effect} times as large without it; "
        f"spread of the updates none / batch norm {updates.effect}{edge_note(edge)}"
    )
    numbers = [plain, branches, updates]
    statement = "prevents exploding gradients by scaling gradients down, and so keeps weight updates stable"
    return decide("C7", statement, reason, numbers)


def _saturation(outcome: Outcome) -> Verdict:
    edges = {gain: tuned_at_edge(outcome, case) for gain, case in _tanh_cases(outcome).items()}

    def numbers(gain: str, smallest: float) -> list[Number]:
        return [
            number(
                f"share of saturated units without batch norm - with it, {moment}, {gain} gain",
                outcome.estimates[f"{when}_saturation_{gain}_gain"],
                seeds=outcome.seeds,
                no_effect=0,
                smallest=smallest,
                decidable=when == "initial" or not edges[gain],
            )
            for when, moment in (("initial", "at initialization"), ("trained", "after training"))
        ]

    large, usual = numbers("large", SMALLEST_SATURATION), numbers("usual", -SMALLEST_SATURATION)
    deciding = large
    if any(each.vote != "against" for each in large):
        deciding = [*large, *(each for each in usual if each.vote != "for")]
    reason = (
        f"share saturated none - batch norm, at initialization and after training: {large[0].effect} and "
        f"{large[1].effect} with large initial weights, {usual[0].effect} and {usual[1].effect} with the "
        f"usual ones{edge_note(any(edges.values()))}"
    )
    return decide("C8", "keeps activations out of saturation", reason, [*large, *usual], deciding)


def tuned_at_edge(outcome: Outcome, case: str) -> bool:
    """Whether an arm's best rate may lie beyond the grid; not if it trains at no rate, where the best means nothing."""
    return any(
        at_edge([rate], outcome.rates) and max(outcome.tuning_accuracy[case][arm]) >= TRAINS
        for arm, rate in outcome.tuned[case].items()
    )


def _tanh_cases(outcome: Outcome) -> dict[str, str]:
    usual = f"tanh {outcome.depth}"
    return {"usual": usual, "large": next(case for case in outcome.tuned if case.startswith(f"{usual} gain"))}
