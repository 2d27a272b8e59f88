"""Exercise: a comparison of two ways to train, with three unfair choices to find and repair."""

from __future__ import annotations

import numpy as np

from bncourse.exercises.exercise import Arguments, Exercise, Property
from bncourse.exercises.faults import Fault, FaultSet
from bncourse.exercises.probe import Probe

VALIDATION, TEST = "validation", "test"
TUNING, COMPARED = "tuning", "compared"
SPLITS, GROUPS, ARMS = (VALIDATION, TEST), (TUNING, COMPARED), (0, 1)


def compare_arms(
    rates: np.ndarray,
    seeds: np.ndarray,
    tuning_seeds: np.ndarray,
    validation: np.ndarray,
    test: np.ndarray,
) -> tuple[np.ndarray, float, float]:
    """By how much arm 1 is more accurate than arm 0, and how sure that is.

    Each arm has one run for every rate and seed. With the same seed, both
    arms begin from the same weights and see the same batches.

    Parameters
    ----------
    rates : array of shape (R,), the learning rates.
    seeds : integer array of shape (2, S): the seed of each column, by arm.
        Both arms have the same seeds, in the order in which the runs ended.
    tuning_seeds : integer array, the seeds set aside for tuning.
    validation, test : arrays of shape (2, R, S), accuracies by arm, rate
        and column, on the validation and on the test part of the data.

    Returns
    -------
    chosen : array of shape (2,), the rate of each arm: the one with the
        highest mean accuracy over the seeds set aside.
    effect : float, mean accuracy of arm 1 less that of arm 0, at the chosen
        rates, over all other seeds.
    error : float, the standard error of the effect.
    """
    chosen, scores = [], []
    for arm in range(2):
        tuning = np.isin(seeds[arm], tuning_seeds)
        best = validation[arm][:, tuning].mean(axis=1).argmax()
        in_order = np.argsort(seeds[arm][~tuning])
        chosen.append(rates[best])
        scores.append(test[arm, best][~tuning][in_order])
    differences = scores[1] - scores[0]
    variance = differences.var(ddof=1) / len(differences)
    return np.array(chosen), differences.mean(), variance**0.5


def given_comparison(
    rates: np.ndarray,
    seeds: np.ndarray,
    tuning_seeds: np.ndarray,
    validation: np.ndarray,
    test: np.ndarray,
) -> tuple[np.ndarray, float, float]:
    """By how much arm 1 is more accurate than arm 0, and how sure that is.

    Each arm has one run for every rate and seed. With the same seed, both
    arms begin from the same weights and see the same batches.

    Parameters
    ----------
    rates : array of shape (R,), the learning rates.
    seeds : integer array of shape (2, S): the seed of each column, by arm.
        Both arms have the same seeds, in the order in which the runs ended.
    tuning_seeds : integer array, the seeds set aside for tuning.
    validation, test : arrays of shape (2, R, S), accuracies by arm, rate
        and column, on the validation and on the test part of the data.

    Returns
    -------
    chosen : array of shape (2,), the rate of each arm: the one with the
        highest mean accuracy over the seeds set aside.
    effect : float, mean accuracy of arm 1 less that of arm 0, at the chosen
        rates, over all other seeds.
    error : float, the standard error of the effect.
    """
    tuning = np.isin(seeds, tuning_seeds)
    best = test[1][:, tuning[1]].mean(axis=1).argmax()
    chosen = np.array([rates[best], rates[best]])

    scores = [test[arm, best][~tuning[arm]] for arm in range(2)]
    effect = scores[1].mean() - scores[0].mean()
    variances = [arm.var(ddof=1) / len(arm) for arm in scores]
    return chosen, effect, np.sqrt(sum(variances))


FAULTS = (
    Fault(
        "rate_of_arm_1",
        "Both arms run at the rate that is best for arm 1, and it suits one of them: choose each arm's rate by its own "
        "runs.",
        ("arms",),
    ),
    Fault(
        "rate_of_arm_0",
        "Both arms run at the rate that is best for arm 0, and it suits one of them: choose each arm's rate by its own "
        "runs.",
        ("arms",),
    ),
    Fault(
        "shared_rate",
        "Both arms run at one rate, the best for the mean of the two. That is nobody's own best: choose each arm's "
        "rate by its own runs.",
        ("arms", "criterion"),
    ),
    Fault(
        "tuned_on_test",
        "The rates are tuned on the test part. Whatever is chosen by test accuracies looks better on them than it is: "
        "choose by validation accuracies, and look at the test part once, at the end.",
        ("tuning split",),
    ),
    Fault(
        "tuned_on_compared_seeds",
        "The rates are tuned on the seeds that are compared. They look better on these seeds than they are: tune on "
        "the seeds set aside for it.",
        ("tuned on",),
    ),
    Fault(
        "tuned_on_all_seeds",
        "The rates are tuned on all seeds, those that are compared among them: tune on the seeds set aside for it "
        "alone.",
        ("tuned on",),
    ),
    Fault(
        "best_single_run",
        "The rate of the best single run is chosen, which may have been lucky: take the mean over the tuning seeds "
        "before you look for the largest.",
        ("criterion",),
    ),
    Fault(
        "scored_on_validation",
        "The arms are compared on the validation part, which the rates were chosen by: compare them on the test part.",
        ("score split",),
    ),
    Fault(
        "compared_on_tuning_seeds",
        "The arms are compared on the seeds that the rates were chosen by: compare them on the others.",
        ("compared on",),
    ),
    Fault(
        "compared_on_all_seeds",
        "The arms are compared on all seeds, those that the rates were chosen by among them: leave these out.",
        ("compared on",),
    ),
    Fault(
        "columns_of_arm_0",
        "The columns of arm 1 are taken for those of arm 0. Each arm has an order of its own: find the tuning seeds, "
        "and the pairs, by `seeds[1]` there.",
        ("tuned on", "compared on", "pairing"),
    ),
    Fault(
        "not_paired",
        "The standard error is that of two independent groups. The arms are paired by their seeds, and the luck that a "
        "pair shares is in neither's favour: subtract within each pair, and take the standard error of the "
        "differences.",
        ("pairing",),
    ),
    Fault(
        "errors_added",
        "The standard errors of the two arms are added. The arms are paired by their seeds: subtract within each pair, "
        "and take the standard error of the differences.",
        ("pairing",),
    ),
    Fault(
        "paired_by_column",
        "The arms are paired by the place of their columns, and each arm's runs ended in another order: bring both "
        "into the order of the seeds before you subtract.",
        ("pairing",),
    ),
    Fault(
        "mask_not_sorted",
        "The accuracies are brought into the order of the seeds, and the mask is not: it was made for the columns as "
        "they came, and now takes other seeds, some of those set aside for tuning among them. Mask first, then sort.",
        ("compared on", "pairing"),
    ),
    Fault(
        "sign_flipped",
        "The effect has the wrong sign: it is arm 1 less arm 0.",
        ("sign",),
    ),
    Fault(
        "spread_not_error",
        "This is the standard deviation of single seeds: divide it by the square root of their number, to have the "
        "standard error of their mean.",
        ("error",),
    ),
    Fault(
        "error_squared",
        "This is the square of the standard error: take the root.",
        ("error",),
    ),
    Fault(
        "half_an_interval",
        "This is half of a 95 % interval: return the standard error itself, without the factor 1.96.",
        ("error",),
    ),
    Fault(
        "root_of_count_missing",
        "The standard deviation is divided by the number of seeds: divide it by the square root of that.",
        ("error",),
    ),
    Fault(
        "biased_spread",
        "The standard deviation divides by the number of seeds, and underestimates: divide by one less (in NumPy, "
        "`ddof=1`).",
        ("divisor",),
    ),
    Fault(
        "effect_error_swapped",
        "Effect and error have changed places: return `chosen, effect, error`, in this order.",
        ("order",),
    ),
    Fault(
        "as_given",
        "All three unfair choices are still there.",
        (
            "arms",
            "criterion",
            "tuning split",
            "tuned on",
            "score split",
            "compared on",
            "pairing",
            "sign",
            "error",
            "divisor",
            "order",
        ),
    ),
)


def faulty_comparison(faults: FaultSet, arguments: Arguments) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The comparison of someone who makes the mistakes in ``faults``; with none, it is fair."""
    if "as_given" in faults:
        faults = frozenset({"rate_of_arm_1", "tuned_on_test", "not_paired"})
    seeds = arguments["seeds"]
    if "columns_of_arm_0" in faults:
        seeds = seeds[[0, 0]]
    tuning = np.isin(seeds, arguments["tuning_seeds"])
    best = _best(faults, arguments, tuning)

    accuracies = arguments["validation" if "scored_on_validation" in faults else "test"]
    compared = ~tuning
    if "compared_on_tuning_seeds" in faults:
        compared = tuning
    if "compared_on_all_seeds" in faults:
        compared = np.ones_like(tuning)
    scores = []
    for arm in ARMS:
        columns = np.flatnonzero(compared[arm])
        if "mask_not_sorted" in faults:
            columns = seeds[arm].argsort()[compared[arm]]
        elif "paired_by_column" not in faults:
            columns = columns[seeds[arm, columns].argsort()]
        scores.append(accuracies[arm, best[arm], columns])

    differences = scores[1] - scores[0]
    count, ddof = len(differences), "biased_spread" not in faults
    if "not_paired" in faults:
        spread = np.sqrt(scores[0].var(ddof=ddof) + scores[1].var(ddof=ddof))
    elif "errors_added" in faults:
        spread = scores[0].std(ddof=ddof) + scores[1].std(ddof=ddof)
    else:
        spread = differences.std(ddof=ddof)
    error = spread / np.sqrt(count)
    instead = {
        "spread_not_error": spread,
        "error_squared": error**2,
        "half_an_interval": 1.96 * error,
        "root_of_count_missing": spread / count,
    }
    error = next((value for fault, value in instead.items() if fault in faults), error)
    effect = differences.mean() * (-1 if "sign_flipped" in faults else 1)
    if "effect_error_swapped" in faults:
        effect, error = error, effect
    return arguments["rates"][best], np.array(effect), np.array(error)


def _best(faults: FaultSet, arguments: Arguments, tuning: np.ndarray) -> list[int]:
    """The place of each arm's rate in the grid; ``tuning`` says which columns are set aside."""
    accuracies = arguments["test" if "tuned_on_test" in faults else "validation"]
    if "tuned_on_compared_seeds" in faults:
        tuning = ~tuning
    if "tuned_on_all_seeds" in faults:
        tuning = np.ones_like(tuning)
    columns = [accuracies[arm][:, tuning[arm]] for arm in ARMS]
    merits = [runs.max(axis=1) if "best_single_run" in faults else runs.mean(axis=1) for runs in columns]
    if "shared_rate" in faults:
        merits = [merits[0] + merits[1]] * 2
    if "rate_of_arm_0" in faults:
        merits[1] = merits[0]
    if "rate_of_arm_1" in faults:
        merits[0] = merits[1]
    return [int(merit.argmax()) for merit in merits]


def make_probes(rng: np.random.Generator) -> list[Probe]:
    """Tables in which unfair choices lead to other rates than fair ones: first one kind of choice, then all kinds."""
    alike = [("one rate suits everybody", ()), ("each arm has its own best rate", ("arm",))]
    alike += [("validation and test disagree", ("split",)), ("tuning seeds and others disagree", ("group",))]
    # Arm 1 is the better one in some tables, and arm 0 in others.
    ahead = iter(rng.permutation([1.0, -1.0] * 4))
    probes = [_probe(rng, name, (7, 6, 9), differing, "", next(ahead)) for name, differing in alike]
    everything = ("arm", "split", "group")
    for name, tuning, compared, lucky in (
        ("a lucky run among the tuning seeds", 5, 6, TUNING),
        ("a lucky run among the others", 8, 8, COMPARED),
        ("few seeds", 3, 4, TUNING),
        ("many seeds", 16, 20, COMPARED),
    ):
        probes.append(_probe(rng, name, (27, tuning, compared), everything, lucky, next(ahead)))
    return probes


def _probe(
    rng: np.random.Generator,
    name: str,
    sizes: tuple[int, int, int],
    differing: tuple[str, ...],
    lucky: str,
    ahead: float,
) -> Probe:
    """One pair of tables, of so many rates, tuning seeds and other seeds.

    Every way of choosing a rate has a rate of its own, which stands out for whoever chooses like that: by the mean over
    one group of seeds (by 0.12), over all of them (0.09), over both arms (0.09), over both arms and all seeds (0.07).
    Where arms, splits or groups do not differ, these are the same. ``lucky`` is the group with the best single run.
    """
    count, tuning, compared = sizes
    total = tuning + compared
    seeds = rng.permutation(1000)[:total]
    groups = {TUNING: slice(tuning), COMPARED: slice(tuning, total)}
    places = iter(rng.permutation(count).tolist())
    drawn: dict[tuple[object, ...], int] = {}

    def place(kind: str, **where: object) -> int:
        key = (kind if len(differing) > 1 else "", *(value for axis, value in where.items() if axis in differing))
        if key not in drawn:
            drawn[key] = next(places)
        return drawn[key]

    # Luck that a seed brings to both arms, and luck of a run's own.
    luck = rng.uniform(-0.03, 0.03, total)
    base = np.array([0.55, 0.55 + ahead * rng.uniform(0.03, 0.06)])
    tables = {split: base[:, None, None] + luck + rng.normal(0, 0.003, (2, count, total)) for split in SPLITS}
    for split, table in tables.items():
        raised = np.zeros_like(table)

        def raise_to(level: float, arm: int, rate: int, columns: slice, raised: np.ndarray = raised) -> None:
            raised[arm, rate, columns] = np.maximum(raised[arm, rate, columns], level)

        for arm in ARMS:
            raise_to(0.09, arm, place("all seeds", arm=arm, split=split), slice(None))
            raise_to(0.07, arm, place("both arms, all seeds", split=split), slice(None))
            for group, columns in groups.items():
                raise_to(0.12, arm, place("own", arm=arm, split=split, group=group), columns)
                raise_to(0.09, arm, place("both arms", split=split, group=group), columns)
        table += raised
        if not lucky:
            continue
        for arm in ARMS:
            for group, columns in groups.items():
                rate = place("lucky", arm=arm, split=split, group=group)
                table[arm, rate, columns] -= 0.2
                run = int(rng.integers(columns.start or 0, columns.stop))
                table[arm, rate, run] += 0.2 + (0.36 if group == lucky else 0.28)

    orders = _two_orders(rng, total, tuning)
    arguments = {
        "rates": 0.0005 * 2.0 ** (np.arange(count) * 13 / (count - 1)),
        "seeds": seeds[orders],
        "tuning_seeds": rng.permutation(seeds[:tuning]),
        **{split: np.stack([table[arm][:, orders[arm]] for arm in ARMS]) for split, table in tables.items()},
    }
    return Probe(name, arguments)


def _two_orders(rng: np.random.Generator, total: int, tuning: int) -> np.ndarray:
    """Two orders of the columns, in which neither the tuning seeds nor the others have the same places in turn."""
    while True:
        orders = np.array([rng.permutation(total) for _ in ARMS])
        first, second = ([order[order < tuning], order[order >= tuning]] for order in orders)
        moved = all((one != other).any() for one, other in zip(first, second, strict=True))
        if moved and ((orders[0] < tuning) != (orders[1] < tuning)).any():
            return orders


EXERCISE = Exercise(
    id="fair_comparison",
    title="Three unfair choices",
    chapter="4.2",
    statement=(
        "The function below compares two ways to train, by the accuracies of many runs: arm 0 trains without batch "
        "norm, say, and arm 1 with it. Three of its choices are unfair. Find them, and repair the function by the "
        "rules of chapter 4.2; what its docstring promises is right. Leave the inputs unchanged."
    ),
    solution_function=compare_arms,
    given_function=given_comparison,
    given_faults=frozenset({"as_given"}),
    outputs=("chosen", "effect", "error"),
    reference=faulty_comparison,
    faults=FAULTS,
    coincidences=(),
    make_probes=make_probes,
    properties=(
        Property("chosen", "chosen", lambda chosen, arguments: chosen, counts="arm"),
        Property("effect", "effect", lambda effect, arguments: effect),
        Property("error", "error", lambda error, arguments: error),
    ),
    hints=(
        "Ask of every line who profits from it. Whose runs decide about the rate, and who has to live with it? And "
        "which numbers may be looked at before the end?",
        "The rate is that of arm 1, found on the test part: two of the three. The third is in the error. The two "
        "scores of one seed share their luck, good or bad. What is left of that luck in their difference?",
        "Tune each arm on its own runs in validation, over the seeds set aside. Bring both arms into the order of "
        "their seeds, np.argsort(seeds[arm]), subtract, and take the standard deviation of the differences over the "
        "root of their number.",
    ),
    explanation="""
    A rate is not a common currency: the rate that is best for one arm is an arbitrary one for the other. So each arm
    chooses from its own runs.

    What has been chosen by an accuracy looks better by that accuracy than it is. Validation accuracies choose, on seeds
    that play no further part, and the test part is looked at once, for the rates that are chosen by then.

    With the same seed both arms start from the same weights and see the same batches, so that good luck for one is in
    part good luck for the other. In the difference it cancels. The standard error of two independent groups counts it
    twice instead: it is right for other data, and here it is too large. An effect that is there may be missed.
    Subtracting column by column without a look at the seeds makes pairs of strangers, and comes to the same.
    """,
    passed_message=(
        "Your comparison agrees with the reference on eight fresh pairs of tables: where one rate suits everybody, "
        "where arms, parts of the data or seeds disagree about it, with a lucky run, and with few seeds and many. Your "
        "inputs came back unchanged."
    ),
)
