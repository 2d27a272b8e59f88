"""Fair comparisons that differ from the solution in how they go about it."""

import math
import statistics

import numpy as np


def sorted_first(rates, seeds, tuning_seeds, validation, test):
    """Both tables in the order of the seeds; from there on a column is a seed."""
    order = np.argsort(seeds, axis=1)
    validation, test = (np.take_along_axis(table, order[:, None, :], axis=2) for table in (validation, test))
    tuning = np.isin(np.sort(seeds[0]), tuning_seeds)
    best = validation[..., tuning].mean(axis=-1).argmax(axis=-1)
    differences = np.diff(test[np.arange(2), best][:, ~tuning], axis=0)[0]
    return rates[best], differences.mean(), differences.std(ddof=1) / differences.size**0.5


def dictionaries(rates, seeds, tuning_seeds, validation, test):
    aside = set(tuning_seeds.tolist())
    chosen, scores = [], []
    for arm, names in enumerate(seeds.tolist()):
        means = []
        for runs in validation[arm].tolist():
            means.append(statistics.fmean(run for name, run in zip(names, runs, strict=True) if name in aside))
        best = means.index(max(means))
        chosen.append(rates[best])
        scores.append(dict(zip(names, test[arm, best].tolist(), strict=True)))
    differences = [scores[1][name] - scores[0][name] for name in scores[0] if name not in aside]
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    return chosen, statistics.fmean(differences), error


def common_seeds_by_numpy(rates, seeds, tuning_seeds, validation, test):
    """The places of the seeds in both arms from intersect1d; tuning by a matrix product."""
    compared = np.setdiff1d(seeds[0], tuning_seeds)
    best, rows = [], []
    for arm in range(2):
        weights = np.isin(seeds[arm], tuning_seeds) / len(tuning_seeds)
        best.append(np.argmax(validation[arm] @ weights))
        _, places, _ = np.intersect1d(seeds[arm], compared, return_indices=True)
        rows.append(test[arm, best[arm], places])
    paired = rows[1] - rows[0]
    return rates[best], np.mean(paired), np.sqrt(np.cov(paired) / len(paired))


def from_the_covariance(rates, seeds, tuning_seeds, validation, test):
    """The variance of a difference is the sum of the variances less twice the covariance."""
    best = [validation[arm][:, np.isin(seeds[arm], tuning_seeds)].sum(1).argmax() for arm in (0, 1)]
    rows = []
    for arm in (0, 1):
        keep = ~np.isin(seeds[arm], tuning_seeds)
        rows.append(test[arm, best[arm], keep][np.argsort(seeds[arm, keep])])
    covariance = np.cov(rows)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    return rates[best], rows[1].mean() - rows[0].mean(), math.sqrt(variance / len(rows[0]))


def arm_1_in_the_order_of_arm_0(rates, seeds, tuning_seeds, validation, test):
    place = {seed: column for column, seed in enumerate(seeds[1])}
    moved = [place[seed] for seed in seeds[0]]
    validation = np.stack([validation[0], validation[1][:, moved]])
    test = np.stack([test[0], test[1][:, moved]])
    aside = (seeds[0][:, None] == tuning_seeds[None, :]).any(axis=1)
    best = np.argmax(np.mean(validation[:, :, aside], axis=2), axis=1)
    difference = test[1, best[1]] - test[0, best[0]]
    difference = difference[~aside]
    n = len(difference)
    effect = difference.sum() / n
    return rates[best], effect, (((difference - effect) ** 2).sum() / (n * (n - 1))) ** 0.5


def seed_by_seed(rates, seeds, tuning_seeds, validation, test):
    def columns(arm, wanted):
        return [int(np.flatnonzero(seeds[arm] == seed)[0]) for seed in wanted]

    best = [int(validation[arm][:, columns(arm, tuning_seeds)].mean(1).argmax()) for arm in (0, 1)]
    rest = [seed for seed in seeds[1] if seed not in tuning_seeds]
    arms = [test[arm, best[arm]][columns(arm, rest)] for arm in (0, 1)]
    return (
        np.array([rates[i] for i in best]),
        (arms[1] - arms[0]).mean(),
        (arms[1] - arms[0]).std(ddof=1) / math.sqrt(len(rest)),
    )


def comparison_in_float32(rates, seeds, tuning_seeds, validation, test):
    rates, validation, test = (value.astype(np.float32) for value in (rates, validation, test))
    order = seeds.argsort(axis=1)
    tuning = np.isin(np.sort(seeds[0]), tuning_seeds)
    rows, best = [], []
    for arm in (0, 1):
        ordered = validation[arm][:, order[arm]]
        best.append(ordered[:, tuning].mean(axis=1).argmax())
        rows.append(test[arm, best[arm]][order[arm]][~tuning])
    differences = rows[1] - rows[0]
    return rates[best], differences.mean(), differences.std(ddof=1) / np.sqrt(np.float32(len(differences)))


def jackknife(rates, seeds, tuning_seeds, validation, test):
    """Leaving out one pair at a time gives the standard error of a mean exactly."""
    chosen, rows = [], []
    for arm in (0, 1):
        order = np.argsort(seeds[arm])
        aside = np.isin(seeds[arm][order], tuning_seeds)
        means = np.average(validation[arm][:, order], axis=1, weights=aside)
        chosen.append(rates[means == means.max()][0])
        rows.append(test[arm, means.argmax(), order][~aside])
    differences = rows[1] - rows[0]
    n = len(differences)
    left_out = np.array([np.delete(differences, i).mean() for i in range(n)])
    return chosen, differences.mean(), np.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum())


def torch_comparison(rates, seeds, tuning_seeds, validation, test):
    import torch

    rates, seeds, tuning_seeds, validation, test = map(torch.tensor, (rates, seeds, tuning_seeds, validation, test))
    order = seeds.argsort(dim=1)
    aside = torch.isin(seeds[0][order[0]], tuning_seeds)
    best = [int(validation[arm][:, order[arm]][:, aside].mean(1).argmax()) for arm in (0, 1)]
    rows = [test[arm, best[arm]][order[arm]][~aside] for arm in (0, 1)]
    differences = rows[1] - rows[0]
    return rates[best], differences.mean(), differences.std() / len(differences) ** 0.5


COMPARISON = [
    sorted_first,
    dictionaries,
    common_seeds_by_numpy,
    from_the_covariance,
    arm_1_in_the_order_of_arm_0,
    seed_by_seed,
    comparison_in_float32,
    jackknife,
    torch_comparison,
]
