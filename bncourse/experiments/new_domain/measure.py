"""The run: networks trained on clean digits, scored on new domains, and fine-tuned there."""

from copy import deepcopy
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from jaxtyping import Float

from bncourse.experiments.ensembles import side_by_side
from bncourse.experiments.new_domain.adaptation import (
    accuracy_in_batches,
    adapt,
    by_class,
    drawn_orders,
    own_accuracy,
    recalibrated,
)
from bncourse.experiments.new_domain.fine_tuning import fine_tune
from bncourse.experiments.new_domain.outcome import Outcome
from bncourse.experiments.new_domain.settings import NETWORKS, WAYS, Settings
from bncourse.lab import (
    Interval,
    accuracy,
    difference_of_means,
    digits,
    mean_interval,
    paired_interval,
    run_all,
    take_statistics,
    train,
)
from bncourse.lab.corruptions import corrupted_digits
from bncourse.lab.ensemble import Ensemble

DIFFERENCES = {
    "new statistics": ("recalibrated", "frozen"),
    "batches' statistics": ("batches", "recalibrated"),
    "taken afterwards": ("batches, recalibrated", "batches"),
    "gamma and beta alone": ("affine", "recalibrated"),
}
"""Minuend and subtrahend."""

Scores = dict[str, Float[np.ndarray, "..."]]
Place = tuple[str, str, int]
"""Domain, way and batch size of a fine-tuning."""


@dataclass(frozen=True)
class Source:
    """Networks of one kind to be trained on clean digits, each with its rate and seed."""

    settings: Settings
    network: str
    rates: tuple[float, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class FineTuning:
    """MLPs to be fine-tuned in one way: every seed at every rate, from the network that its seed has become."""

    source: Source
    domain: str
    way: str
    batch_size: int
    rates: tuple[float, ...]
    part: str


def run(settings: Settings, *, jobs: int = 1, cache: bool = False, progress: bool = False) -> Outcome:
    """Train on clean digits at tuned rates, and measure everything on the new domains."""
    spread_out = partial(run_all, jobs=jobs, cache=cache, progress=progress)
    members = side_by_side(settings.rates, settings.tuning_seeds)
    scores = spread_out(score_clean, [Source(settings, network, *members) for network in NETWORKS])
    tuned = {
        network: settings.rates[int(np.argmax(found["accuracy"].reshape(len(settings.rates), -1).mean(axis=1)))]
        for network, found in zip(NETWORKS, scores, strict=True)
    }

    def sources(network: str, seeds: tuple[int, ...]) -> Source:
        return Source(settings, network, (tuned[network],) * len(seeds), seeds)

    still = dict(
        zip(
            NETWORKS,
            spread_out(score_statistics, [sources(network, settings.test_seeds) for network in NETWORKS]),
            strict=True,
        )
    )
    places = [
        (domain, way, size)
        for domain in settings.fine_tuning_domains
        for way in WAYS
        for size in settings.fine_tuning_batch_sizes
    ]
    to_tune = sources("MLP", settings.tuning_seeds)
    tuning = spread_out(
        score_fine_tuning,
        [FineTuning(to_tune, *place, settings.fine_tuning_rates, "validation") for place in places],
    )
    rates = [settings.fine_tuning_rates[int(np.argmax(found["accuracy"].mean(axis=1)))] for found in tuning]
    to_test = sources("MLP", settings.test_seeds)
    tested = spread_out(
        score_fine_tuning,
        [FineTuning(to_test, *place, (rate,), "test") for place, rate in zip(places, rates, strict=True)],
    )
    return _summarize(
        settings,
        tuned,
        still,
        dict(zip(places, rates, strict=True)),
        {place: found["accuracy"][0] for place, found in zip(places, tested, strict=True)},
    )


@cache
def trained(source: Source) -> Ensemble:
    """Trained on clean digits, with the statistics of their whole training part. To be copied before it is changed."""
    settings, data = source.settings, digits()
    network = settings.ensemble(source.network, source.seeds)
    train(network, data, source.rates, settings.steps, settings.batch_size, settings.momentum, settings.steps)
    take_statistics(network, data.train_x)
    return network


def score_clean(source: Source) -> Scores:
    """Clean validation accuracy."""
    data = digits()
    return {"accuracy": accuracy(trained(source), data.validation_x, data.validation_y)}


def score_statistics(source: Source) -> Scores:
    """Test accuracy with all kinds of statistics; weights stay as they are."""
    settings, network = source.settings, deepcopy(trained(source))
    data = digits()
    scores: Scores = {}
    sample = drawn_orders(len(data.validation_x), source.seeds)
    orders = drawn_orders(len(data.test_x), source.seeds)
    for domain in ("clean", *settings.domains):
        new = data if domain == "clean" else corrupted_digits(domain)
        scores[f"{domain} kept"] = accuracy(network, new.test_x, new.test_y)
        rows = []
        for count in settings.examples:
            with recalibrated(network, new.validation_x[sample[:, :count]]):
                rows.append(accuracy(network, new.test_x, new.test_y))
        scores[f"{domain} recalibrated"] = np.stack(rows)
        if domain in settings.fine_tuning_domains:
            with recalibrated(network, new.validation_x[sample[:, : settings.labelled]]):
                scores[f"{domain} labelled"] = accuracy(network, new.test_x, new.test_y)
        if source.network == "MLP":
            read = partial(accuracy_in_batches, network, new.test_x, new.test_y)
            for size in settings.batch_sizes:
                scores[f"{domain} {size}"] = np.stack([read(orders, size, prior) for prior in settings.priors])
            classes = by_class(orders, new.test_y)
            scores[f"{domain} sorted"] = np.stack(
                [read(classes, settings.sorted_batch_size, prior) for prior in settings.priors]
            )
    return scores


def score_fine_tuning(tuning: FineTuning) -> Scores:
    """Accuracy after fine-tuning, (rates, seeds), on the part that is named; and on no other."""
    settings, seeds = tuning.source.settings, tuning.source.seeds
    data = corrupted_digits(tuning.domain)
    rates, _ = side_by_side(tuning.rates, seeds)
    network = trained(tuning.source).subset(list(range(len(seeds))) * len(tuning.rates))
    rows = drawn_orders(len(data.validation_x), network.seeds)
    labelled, others = rows[:, : settings.labelled], rows[:, settings.labelled :]
    x, y = data.validation_x[labelled], data.validation_y[labelled]
    way, optimization = tuning.way, (rates, settings.epochs, tuning.batch_size, settings.momentum)
    if way in ("recalibrated", "affine"):
        adapt(network, x, correction=1)
    fine_tune(network, x, y, *optimization, training_mode="batches" in way, affine_only=way == "affine")
    if way == "batches, recalibrated":
        adapt(network, x, correction=1)
    if tuning.part == "test":
        found = accuracy(network, data.test_x, data.test_y)
    else:
        found = own_accuracy(network, data.validation_x[others], data.validation_y[others])
    return {"accuracy": found.reshape(len(tuning.rates), len(seeds))}


def _summarize(
    settings: Settings,
    tuned: dict[str, float],
    still: dict[str, Scores],
    rates: dict[Place, float],
    tested: dict[Place, Float[np.ndarray, "S"]],
) -> Outcome:
    mlp = still["MLP"]
    with_clean = ("clean", *settings.domains)

    sizes = settings.fine_tuning_batch_sizes

    return Outcome(
        seeds=len(settings.test_seeds),
        tuned=tuned,
        clean={network: mean_interval(found["clean kept"]) for network, found in still.items()},
        kept={
            network: {domain: mean_interval(found[f"{domain} kept"]) for domain in settings.domains}
            for network, found in still.items()
        },
        recalibrated={
            network: {domain: _means(found[f"{domain} recalibrated"]) for domain in with_clean}
            for network, found in still.items()
        },
        examples=list(settings.examples),
        adapted={
            domain: {str(size): _means(mlp[f"{domain} {size}"]) for size in settings.batch_sizes}
            for domain in with_clean
        },
        sorted={domain: _means(mlp[f"{domain} sorted"]) for domain in with_clean},
        sorted_batch_size=settings.sorted_batch_size,
        priors=list(settings.priors),
        not_fine_tuned={
            domain: {
                "frozen": mean_interval(mlp[f"{domain} kept"]),
                "recalibrated": mean_interval(mlp[f"{domain} labelled"]),
            }
            for domain in settings.fine_tuning_domains
        },
        fine_tuned={
            domain: {way: [mean_interval(tested[domain, way, size]) for size in sizes] for way in WAYS}
            for domain in settings.fine_tuning_domains
        },
        fine_tuning_batch_sizes=list(sizes),
        fine_tuning_rates=list(settings.fine_tuning_rates),
        fine_tuning_tuned={
            domain: {way: [rates[domain, way, size] for size in sizes] for way in WAYS}
            for domain in settings.fine_tuning_domains
        },
        differences={
            domain: {
                name: [
                    paired_interval(tested[domain, first, size], tested[domain, second, size], difference_of_means)
                    for size in sizes
                ]
                for name, (first, second) in DIFFERENCES.items()
            }
            for domain in settings.fine_tuning_domains
        },
    )


def _means(rows: Float[np.ndarray, "K S"]) -> list[Interval]:
    return [mean_interval(row) for row in rows]
