"""The run: every arm tuned at every batch size, then scored on other seeds; and what is made of the scores."""

from collections.abc import Iterable, Mapping
from functools import partial

import numpy as np
from jaxtyping import Float

from bncourse.experiments.ensembles import side_by_side
from bncourse.experiments.small_batches.outcome import Outcome
from bncourse.experiments.small_batches.settings import ARMS, READ_THREE_WAYS, Settings
from bncourse.experiments.small_batches.training import Members, train_members
from bncourse.lab import Interval, Norm, difference_of_means, mean_interval, paired_interval, run_all

Choice = tuple[Norm | None, float]
"""A norm, and a rate of batches of one."""

Readings = dict[str, Float[np.ndarray, "S"]]


def run(settings: Settings, *, jobs: int = 1, cache: bool = False, progress: bool = False) -> Outcome:
    """Tune each arm at each batch size, and score it."""
    spread_out = partial(run_all, jobs=jobs, cache=cache, progress=progress)
    sizes, rates = settings.batch_sizes, settings.rates
    candidates = [(norm, size) for size in sizes for norm in _norms()]
    cells = [_members(settings, *place, rates, settings.tuning_seeds, "validation") for place in candidates]
    found = dict(zip(candidates, spread_out(train_members, cells), strict=True))

    def scores(norm: Norm | None, size: int, reading: str) -> Float[np.ndarray, "R"]:
        means = found[norm, size][reading].reshape(len(rates), -1).mean(axis=1)
        return np.asarray(np.round(means, 4))

    def choose(name: str, size: int) -> Choice:
        arm = ARMS[name]
        norm = max(arm.norms, key=lambda norm: float(scores(norm, size, arm.reading).max()))
        return norm, rates[int(scores(norm, size, arm.reading).argmax())]

    chosen = {(name, size): choose(name, size) for name in ARMS for size in sizes}
    places = list(dict.fromkeys((norm, size, rate) for (_, size), (norm, rate) in chosen.items()))
    cells = [_members(settings, norm, size, (rate,), settings.test_seeds, "test") for norm, size, rate in places]
    tested = dict(zip(places, spread_out(train_members, cells), strict=True))
    return summarize(
        settings,
        chosen,
        {
            name: [scores(chosen[name, size][0], size, arm.reading).tolist() for size in sizes]
            for name, arm in ARMS.items()
        },
        {place: tested[norm, place[1], rate] for place, (norm, rate) in chosen.items()},
    )


def _norms() -> Iterable[Norm | None]:
    """Each that some arm may choose, once: arms that differ in their reading share their networks."""
    return dict.fromkeys(norm for arm in ARMS.values() for norm in arm.norms)


def _members(
    settings: Settings, norm: Norm | None, size: int, rates: tuple[float, ...], seeds: tuple[int, ...], part: str
) -> Members:
    each_rate, each_seed = side_by_side([size * rate for rate in rates], seeds)
    return Members(
        norm=norm,
        batch_size=size,
        rates=each_rate,
        seeds=each_seed,
        part=part,
        examples=settings.examples,
        channels=settings.channels,
        momentum=settings.momentum,
    )


def summarize(
    settings: Settings,
    chosen: Mapping[tuple[str, int], Choice],
    tuning_accuracy: dict[str, list[list[float]]],
    tested: Mapping[tuple[str, int], Readings],
) -> Outcome:
    """The estimands, from what was chosen and the test accuracies, by arm and batch size."""
    sizes = settings.batch_sizes
    # Rounded first, so that the estimates can be made again from what the record keeps.
    read = {place: {key: np.round(each, 4) for key, each in found.items()} for place, found in tested.items()}
    accuracy = {name: [read[name, size][arm.reading] for size in sizes] for name, arm in ARMS.items()}
    means = np.array([[values.mean() for values in rows] for rows in accuracy.values()])
    best = [list(ARMS)[number] for number in means.argmax(axis=0)]
    behind = {
        name: [
            None if name == leader else _points(rows[at], accuracy[leader][at])
            for at, leader in enumerate(best)
        ]
        for name, rows in accuracy.items()
    }  # fmt: skip

    def between(name: str, first: str, second: str) -> list[Interval]:
        return [_points(read[name, size][first], read[name, size][second]) for size in sizes]

    return Outcome(
        seeds=len(settings.test_seeds),
        examples=settings.examples,
        batch_sizes=list(sizes),
        rates=list(settings.rates),
        tuning_accuracy=tuning_accuracy,
        tuned={name: [chosen[name, size][1] for size in sizes] for name in ARMS},
        renorm_momentum=[norm.momentum for norm, _ in (chosen["batch renorm", size] for size in sizes) if norm],
        test_accuracy={name: [values.tolist() for values in rows] for name, rows in accuracy.items()},
        mean_accuracy={name: [mean_interval(values) for values in rows] for name, rows in accuracy.items()},
        gains={
            name: [_points(*pair) for pair in zip(rows, accuracy["batch"], strict=True)]
            for name, rows in accuracy.items()
            if name != "batch"
        },
        best=best,
        behind=behind,
        level={name: [gap is None or gap.high >= 0 for gap in gaps] for name, gaps in behind.items()},
        readings={
            name: {
                reading: [mean_interval(read[name, size][reading]) for size in sizes]
                for reading in read[name, sizes[0]]
            }
            for name in READ_THREE_WAYS
        },
        retaken_gain={name: between(name, "retaken", "running") for name in READ_THREE_WAYS},
        mode_gap={name: between(name, "as in training", "retaken") for name in READ_THREE_WAYS},
    )


def _points(first: Float[np.ndarray, "S"], second: Float[np.ndarray, "S"]) -> Interval:
    """First less second, in percentage points, paired by seed."""
    return paired_interval(100 * first, 100 * second, difference_of_means)
