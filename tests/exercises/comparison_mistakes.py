"""Unfair comparisons as people make them, by hand and not through the faulty reference."""

import numpy as np


def tuned(rates, seeds, tuning_seeds, accuracies):
    """Each arm's place in the grid, rightly, from one table."""
    return [
        int(np.argmax([run[np.isin(seeds[arm], tuning_seeds)].mean() for run in accuracies[arm]])) for arm in (0, 1)
    ]


def by_seed(seeds, wanted, row_0, row_1):
    """The accuracies of both arms on the wanted seeds, in the order of the seeds."""
    of_seed = [dict(zip(seeds[arm], row, strict=True)) for arm, row in enumerate((row_0, row_1))]
    return np.array([[each[seed] for seed in sorted(wanted)] for each in of_seed])


def others(seeds, tuning_seeds):
    return set(seeds[0]) - set(tuning_seeds)


def summary(pairs):
    differences = pairs[1] - pairs[0]
    return differences.mean(), differences.std(ddof=1) / np.sqrt(differences.size)


def at(best, rates, seeds, tuning_seeds, test):
    """The right comparison at these places in the grid."""
    pairs = by_seed(seeds, others(seeds, tuning_seeds), test[0, best[0]], test[1, best[1]])
    return np.array([rates[best[0]], rates[best[1]]]), *summary(pairs)


def rate_of_arm_1(rates, seeds, tuning_seeds, validation, test):
    _, best = tuned(rates, seeds, tuning_seeds, validation)
    return at((best, best), rates, seeds, tuning_seeds, test)


def rate_of_arm_0(rates, seeds, tuning_seeds, validation, test):
    best, _ = tuned(rates, seeds, tuning_seeds, validation)
    return at((best, best), rates, seeds, tuning_seeds, test)


def shared_rate(rates, seeds, tuning_seeds, validation, test):
    means = np.mean([validation[arm][:, np.isin(seeds[arm], tuning_seeds)] for arm in (0, 1)], axis=(0, 2))
    best = means.argmax()
    return at((best, best), rates, seeds, tuning_seeds, test)


def tuned_on_test(rates, seeds, tuning_seeds, validation, test):
    return at(tuned(rates, seeds, tuning_seeds, test), rates, seeds, tuning_seeds, test)


def tuned_on_compared_seeds(rates, seeds, tuning_seeds, validation, test):
    best = tuned(rates, seeds, list(others(seeds, tuning_seeds)), validation)
    return at(best, rates, seeds, tuning_seeds, test)


def tuned_on_all_seeds(rates, seeds, tuning_seeds, validation, test):
    return at(validation.mean(axis=2).argmax(axis=1), rates, seeds, tuning_seeds, test)


def best_single_run(rates, seeds, tuning_seeds, validation, test):
    best = []
    for arm in (0, 1):
        runs = validation[arm][:, np.isin(seeds[arm], tuning_seeds)]
        best.append(np.unravel_index(runs.argmax(), runs.shape)[0])
    return at(best, rates, seeds, tuning_seeds, test)


def scored_on_validation(rates, seeds, tuning_seeds, validation, test):
    return at(tuned(rates, seeds, tuning_seeds, validation), rates, seeds, tuning_seeds, validation)


def compared_on_tuning_seeds(rates, seeds, tuning_seeds, validation, test):
    first, second = tuned(rates, seeds, tuning_seeds, validation)
    pairs = by_seed(seeds, tuning_seeds, test[0, first], test[1, second])
    return rates[[first, second]], *summary(pairs)


def compared_on_all_seeds(rates, seeds, tuning_seeds, validation, test):
    first, second = tuned(rates, seeds, tuning_seeds, validation)
    pairs = by_seed(seeds, seeds[0], test[0, first], test[1, second])
    return rates[[first, second]], *summary(pairs)


def columns_of_arm_0(rates, seeds, tuning_seeds, validation, test):
    tuning = np.isin(seeds[0], tuning_seeds)
    best = validation[:, :, tuning].mean(axis=2).argmax(axis=1)
    pairs = test[[0, 1], best][:, ~tuning]
    return rates[best], *summary(pairs)


def not_paired(rates, seeds, tuning_seeds, validation, test):
    best = tuned(rates, seeds, tuning_seeds, validation)
    scores = [test[arm, best[arm]][~np.isin(seeds[arm], tuning_seeds)] for arm in (0, 1)]
    errors = [np.std(score, ddof=1) / len(score) ** 0.5 for score in scores]
    return rates[best], scores[1].mean() - scores[0].mean(), np.hypot(*errors)


def errors_added(rates, seeds, tuning_seeds, validation, test):
    best = tuned(rates, seeds, tuning_seeds, validation)
    scores = [test[arm, best[arm]][~np.isin(seeds[arm], tuning_seeds)] for arm in (0, 1)]
    errors = [np.std(score, ddof=1) / len(score) ** 0.5 for score in scores]
    return rates[best], scores[1].mean() - scores[0].mean(), sum(errors)


def paired_by_column(rates, seeds, tuning_seeds, validation, test):
    best = tuned(rates, seeds, tuning_seeds, validation)
    scores = [test[arm, best[arm]][~np.isin(seeds[arm], tuning_seeds)] for arm in (0, 1)]
    return rates[best], *summary(np.array(scores))


def mask_not_sorted(rates, seeds, tuning_seeds, validation, test):
    best = tuned(rates, seeds, tuning_seeds, validation)
    order = np.argsort(seeds, axis=1)
    compared = ~np.isin(seeds, tuning_seeds)
    pairs = [test[arm, best[arm]][order[arm]][compared[arm]] for arm in (0, 1)]
    return rates[best], *summary(np.array(pairs))


def right(rates, seeds, tuning_seeds, validation, test):
    return at(tuned(rates, seeds, tuning_seeds, validation), rates, seeds, tuning_seeds, test)


def sign_flipped(*tables):
    chosen, effect, error = right(*tables)
    return chosen, -effect, error


def spread_not_error(rates, seeds, tuning_seeds, validation, test):
    chosen, effect, error = right(rates, seeds, tuning_seeds, validation, test)
    return chosen, effect, error * np.sqrt(len(others(seeds, tuning_seeds)))


def error_squared(*tables):
    chosen, effect, error = right(*tables)
    return chosen, effect, error * error


def half_an_interval(*tables):
    chosen, effect, error = right(*tables)
    return chosen, effect, 1.96 * error


def root_of_count_missing(rates, seeds, tuning_seeds, validation, test):
    chosen, effect, error = right(rates, seeds, tuning_seeds, validation, test)
    return chosen, effect, error / np.sqrt(len(others(seeds, tuning_seeds)))


def biased_spread(rates, seeds, tuning_seeds, validation, test):
    first, second = tuned(rates, seeds, tuning_seeds, validation)
    pairs = by_seed(seeds, others(seeds, tuning_seeds), test[0, first], test[1, second])
    differences = pairs[1] - pairs[0]
    return rates[[first, second]], differences.mean(), differences.std() / np.sqrt(len(differences))


def effect_error_swapped(*tables):
    chosen, effect, error = right(*tables)
    return chosen, error, effect


def as_given(rates, seeds, tuning_seeds, validation, test):
    """Written anew, and still with all three unfair choices."""
    is_tuning = [np.isin(order, tuning_seeds) for order in seeds]
    best = int(np.argmax(test[1][:, is_tuning[1]].mean(1)))
    without, with_it = (test[arm, best, ~is_tuning[arm]] for arm in (0, 1))
    error = np.sqrt((without.var(ddof=1) + with_it.var(ddof=1)) / len(without))
    return np.full(2, rates[best]), np.mean(with_it) - np.mean(without), error


SINGLES = {
    function.__name__: function
    for function in (
        rate_of_arm_1,
        rate_of_arm_0,
        shared_rate,
        tuned_on_test,
        tuned_on_compared_seeds,
        tuned_on_all_seeds,
        best_single_run,
        scored_on_validation,
        compared_on_tuning_seeds,
        compared_on_all_seeds,
        columns_of_arm_0,
        not_paired,
        errors_added,
        paired_by_column,
        mask_not_sorted,
        sign_flipped,
        spread_not_error,
        error_squared,
        half_an_interval,
        root_of_count_missing,
        biased_spread,
        effect_error_swapped,
        as_given,
    )
}


def sorts_in_place(rates, seeds, tuning_seeds, validation, test):
    for arm in (0, 1):
        order = seeds[arm].argsort()
        validation[arm], test[arm] = validation[arm][:, order], test[arm][:, order]
        seeds[arm] = seeds[arm][order]
    return right(rates, seeds, tuning_seeds, validation, test)


def sorts_in_place_and_tunes_on_test(rates, seeds, tuning_seeds, validation, test):
    tuning_seeds.sort()
    return tuned_on_test(rates, seeds, tuning_seeds, validation, test)


IN_PLACE = [
    (sorts_in_place, {"in_place"}),
    (sorts_in_place_and_tunes_on_test, {"in_place", "tuned_on_test"}),
]


def zeros(rates, seeds, tuning_seeds, validation, test):
    return np.zeros(2), np.float64(0), np.float64(0)


def not_a_number(rates, seeds, tuning_seeds, validation, test):
    return np.full(2, np.nan), np.float64(np.nan), np.float64(np.nan)


def largest_rate(rates, seeds, tuning_seeds, validation, test):
    return at((-1, -1), rates, seeds, tuning_seeds, test)


def best_rate_of_every_seed(rates, seeds, tuning_seeds, validation, test):
    """Each run may choose the rate by its own result."""
    chosen, _, _ = right(rates, seeds, tuning_seeds, validation, test)
    best = [test[arm].max(axis=0) for arm in (0, 1)]
    return chosen, *summary(by_seed(seeds, others(seeds, tuning_seeds), *best))


def mean_over_all_rates(rates, seeds, tuning_seeds, validation, test):
    chosen, _, _ = right(rates, seeds, tuning_seeds, validation, test)
    means = test.mean(axis=1)
    return chosen, *summary(by_seed(seeds, others(seeds, tuning_seeds), *means))


def size_of_the_effect(*tables):
    """As if the better arm were known."""
    chosen, effect, error = right(*tables)
    return chosen, abs(effect), error


def relative_effect(rates, seeds, tuning_seeds, validation, test):
    first, second = tuned(rates, seeds, tuning_seeds, validation)
    pairs = by_seed(seeds, others(seeds, tuning_seeds), test[0, first], test[1, second])
    ratios = pairs[1] / pairs[0] - 1
    return rates[[first, second]], ratios.mean(), ratios.std(ddof=1) / np.sqrt(ratios.size)


UNNAMED = [
    zeros,
    not_a_number,
    largest_rate,
    best_rate_of_every_seed,
    mean_over_all_rates,
    size_of_the_effect,
    relative_effect,
]
