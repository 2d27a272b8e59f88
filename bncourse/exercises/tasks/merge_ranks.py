"""Exercise: what one rank does in a step of synchronized batch norm."""

# mypy: disable-error-code="no-untyped-def, no-any-return"
# The solution is shown to learners, in a cell that imports NumPy alone.

from __future__ import annotations

import numpy as np

from bncourse.exercises.batches import FAR_FROM_ZERO, affine_parameter
from bncourse.exercises.common_faults import INV_STD, PATHS, SWAPPED, X_HAT
from bncourse.exercises.exercise import Arguments, Exercise, Property
from bncourse.exercises.faults import Coincidence, Fault, FaultSet
from bncourse.exercises.functions import NamedFunction
from bncourse.exercises.probe import Probe

EMPTY_ALONE = (
    "So the formulas are right where every rank holds examples. A rank without any takes part in both exchanges, since "
    "the others wait for its rows. But it has no mean: `x.mean(axis=0)` is NaN there, and stays NaN when it is "
    "multiplied by the count 0. Send numbers in its place, or leave out the rows of count 0 before you merge; and "
    "divide by no count that may be 0."
)
ONE_ALONE = (
    "So the formulas are right where a rank holds more than one example. One alone has an m2 of 0 and no unbiased "
    "variance: nothing may be divided by this rank's n - 1, not even on the way to m2."
)


def synchronized_step(
    dy: np.ndarray,
    x: np.ndarray,
    gamma: np.ndarray,
    all_gather,
    eps: float,
) -> tuple[np.ndarray, ...]:
    """Statistics and gradients of batch norm, on one rank of several.

    y = gamma * x_hat + beta,    x_hat = (x - mean) / sqrt(var + eps)

    mean and var are those of the whole batch, which is what all ranks hold
    together. Every rank runs this function on its own part.

    Parameters
    ----------
    dy, x : arrays of shape (n, C), for the n examples of this rank. Other
        ranks hold more or fewer, and n may be 0.
    gamma : array of shape (C,), the same on all ranks.
    all_gather : function that hands a row of numbers to all ranks: it takes
        an array with one axis, and returns one with a row for every rank.
        Every rank calls it twice. The first row holds 2 C + 1 numbers: n,
        then the mean of each feature over this rank's examples, then their
        m2, the sum of (x - this mean)**2. The second holds 2 C: sum(dy),
        then sum(dy * x_hat), over this rank's examples.
    eps : positive float.

    Returns
    -------
    mean, var : arrays of shape (C,) for the running statistics: the mean
        and the unbiased variance of the whole batch.
    dx : array of shape (n, C), the gradient with respect to x. The loss is
        summed over all ranks, and dy is its gradient with respect to y.
    dgamma, dbeta : arrays of shape (C,), what the examples of this rank
        contribute. Parameters are synchronized later, by other code.
    """
    n, features = x.shape
    own_mean = x.sum(axis=0) / max(n, 1)
    own_m2 = ((x - own_mean) ** 2).sum(axis=0)
    rows = all_gather(np.concatenate([[n], own_mean, own_m2]))

    counts, means, m2s = np.split(rows, [1, 1 + features], axis=1)
    count = counts.sum()
    mean = (counts * means).sum(axis=0) / count
    m2 = m2s.sum(axis=0) + (counts * (means - mean) ** 2).sum(axis=0)

    inv_std = 1 / np.sqrt(m2 / count + eps)
    x_hat = (x - mean) * inv_std
    dbeta = dy.sum(axis=0)
    dgamma = (dy * x_hat).sum(axis=0)
    rows = all_gather(np.concatenate([dbeta, dgamma]))

    mean_dy, mean_dy_x_hat = np.split(rows.sum(axis=0) / count, 2)
    dx = gamma * inv_std * (dy - mean_dy - x_hat * mean_dy_x_hat)
    return mean, m2 / (count - 1), dx, dgamma, dbeta


DX_PATHS = ("mean path", "variance path")
FAULTS = (
    Fault(
        "own_statistics",
        "The statistics are those of this rank's own examples: merge the rows of all ranks, which the first exchange "
        "brings.",
        ("merged mean", "within", "between", "sent mean", "sent m2"),
    ),
    Fault(
        "mean_unweighted",
        "The means of the ranks are averaged with equal weights, as a sum over ranks divided by their number does: "
        "weigh each by its count, since ranks hold unequal parts.",
        ("merged mean",),
    ),
    Fault(
        "variances_averaged",
        "The variances of the ranks are averaged with equal weights, and how their means differ is left out: sum up "
        "the m2, add `counts * (means - mean)**2`, and divide by the number of all examples.",
        ("within", "between"),
    ),
    Fault(
        "variance_unweighted",
        "The variance is an average over ranks with equal weights: each of them counts as often as it has examples.",
        ("within", "between"),
    ),
    Fault(
        "between_missing",
        "What lies between the ranks is missing in the variance: examples also deviate from the common mean because "
        "the means of the ranks differ. Add `counts * (means - mean)**2` to the sum of the m2.",
        ("between",),
    ),
    Fault(
        "between_unweighted",
        "What lies between the ranks has no weights in m2: `(means - mean)**2` counts for every example of a rank, so "
        "multiply it by the counts.",
        ("between",),
    ),
    Fault(
        "variance_sent",
        "This rank sends its variance where its m2 belongs, the sum of squares before any division.",
        ("sent m2",),
    ),
    Fault(
        "m2_about_zero",
        "This rank sends the sum of `x**2` where its m2 belongs: square the deviations from its own mean.",
        ("sent m2",),
    ),
    Fault(
        "sum_sent",
        "This rank sends the sum of x where its mean belongs.",
        ("sent mean",),
    ),
    Fault(
        "unbiased_normalizes",
        "The unbiased variance normalizes: divide m2 by the number of all examples there. The variance that is "
        "returned, for the running one, divides by one less.",
        ("variance",),
    ),
    Fault(
        "biased_kept",
        "The variance that is returned divides by the number of examples: the running one takes the unbiased variance, "
        "which divides by one less.",
        ("kept",),
    ),
    Fault(
        "corrected_by_rank",
        "The factor that makes the variance unbiased is taken from this rank's n: it is N / (N - 1), with the number N "
        "of examples on all ranks.",
        ("kept",),
    ),
    *X_HAT[1:],
    Fault(
        "dgamma_from_x",
        "dgamma, and the sum that is sent, are made from x: gamma multiplies x_hat, so both are the sum of "
        "`dy * x_hat`.",
        ("dgamma",),
    ),
    Fault(
        "dgamma_from_centred",
        "dgamma, and the sum that is sent, are made from `x - mean`: gamma multiplies x_hat, which is also divided by "
        "`sqrt(var + eps)`.",
        ("dgamma",),
    ),
    Fault(
        "own_mean_in_dgamma",
        "dgamma, and the sum that is sent, are made with this rank's own statistics: x_hat is normalized with those of "
        "the whole batch.",
        ("dgamma",),
    ),
    Fault(
        "sums_averaged",
        "dgamma and dbeta are averaged over this rank's examples: take the sums, and send them.",
        ("sums",),
    ),
    Fault(
        "means_sent",
        "This rank sends averages in the second exchange: send sums, as others do. What is divided by is the number of "
        "all examples, after the exchange.",
        ("sums",),
    ),
    Fault(
        "sums_exchanged",
        "The two halves of the second row have changed places: first comes the sum of dy, then that of `dy * x_hat`.",
        ("second row",),
    ),
    Fault(
        "own_gradients",
        "dx is made with this rank's own means of dy and `dy * x_hat`: mean and variance depend on the examples of all "
        "ranks, so both means run over all of them. That is what the second exchange is for.",
        DX_PATHS,
    ),
    Fault(
        "own_sums",
        "dx is made with this rank's own sums of dy and `dy * x_hat`, divided by the number of all examples: take the "
        "sums over all ranks, which the second exchange brings.",
        DX_PATHS,
    ),
    Fault(
        "own_count",
        "The sums over all ranks are divided by this rank's n in dx: divide them by the number of all examples.",
        DX_PATHS,
    ),
    Fault(
        "even_assumed",
        "The sums in dx are divided by this rank's n times the number of ranks: that is the number of all examples "
        "only if every rank holds equally many. Add up the counts.",
        DX_PATHS,
    ),
    Fault(
        "ranks_counted",
        "The sums in dx are divided by the number of ranks: divide them by the number of all examples.",
        DX_PATHS,
    ),
    *PATHS,
    *INV_STD,
    Fault("gamma_missing", "gamma is missing in dx: y is `gamma * x_hat + beta`.", ("gamma",)),
    Fault(
        "parameters_reduced",
        "dgamma and dbeta are summed over all ranks: return this rank's own part. The code that synchronizes "
        "parameters would count the sum once for every rank.",
        ("parameters", "sums"),
    ),
    Fault(
        "parameters_averaged",
        "dgamma and dbeta are averaged over all ranks: return this rank's own part. Where parameters are synchronized "
        "later you would not notice, since averaging averages again changes nothing; but it is not what the examples "
        "of this rank contribute.",
        ("parameters", "sums"),
    ),
    *SWAPPED,
)


# Some mistakes divide by nothing where a rank holds few examples or none.
@np.errstate(all="ignore")
def faulty_step(faults: FaultSet, arguments: Arguments) -> tuple[np.ndarray, ...]:
    """The step as someone writes it who makes the mistakes in ``faults``; with none, it is right."""
    dy, x, all_gather = arguments["dy"], arguments["x"], arguments["all_gather"]
    n, features = x.shape
    own_mean = x.sum(axis=0) / max(n, 1)
    own_m2 = ((x - own_mean) ** 2).sum(axis=0)
    sent_mean = own_mean * n if "sum_sent" in faults else own_mean
    sent_m2 = own_m2 / max(n, 1) if "variance_sent" in faults else own_m2
    if "m2_about_zero" in faults:
        sent_m2 = (x**2).sum(axis=0)
    rows = all_gather(np.concatenate([[n], sent_mean, sent_m2]))
    everywhere = rows[:, 0].sum()
    if "own_statistics" in faults:
        rows = np.concatenate([[n], own_mean, own_m2])[np.newaxis]
    mean, m2, count = _merged(faults, *np.split(rows, [1, 1 + features], axis=1))

    var = m2 / (count - 1 if "unbiased_normalizes" in faults else count)
    inv_std, own_inv_std = (_inv_std(faults, value, arguments["eps"]) for value in (var, own_m2 / max(n, 1)))
    x_hat = (x if "no_centring" in faults else x - mean) * inv_std
    factor = x_hat
    if "dgamma_from_x" in faults:
        factor = x
    if "dgamma_from_centred" in faults:
        factor = x - mean
    if "own_mean_in_dgamma" in faults:
        factor = (x if "no_centring" in faults else x - own_mean) * own_inv_std
    dbeta, dgamma = dy.sum(axis=0), (dy * factor).sum(axis=0)
    if "sums_averaged" in faults:
        dbeta, dgamma = dbeta / n, dgamma / n
    sent = [dgamma, dbeta] if "sums_exchanged" in faults else [dbeta, dgamma]
    rows = all_gather(np.concatenate(sent) / (n if "means_sent" in faults else 1))
    dx = _dx(faults, arguments, x_hat, inv_std, rows, everywhere)

    if faults & {"parameters_reduced", "parameters_averaged"}:
        total = rows.sum(axis=0) / (len(rows) if "parameters_averaged" in faults else 1)
        dbeta, dgamma = np.split(total, 2)[:: -1 if "sums_exchanged" in faults else 1]
    kept = m2 / (count - 1)
    if "biased_kept" in faults:
        kept = m2 / count
    if "corrected_by_rank" in faults:
        kept = m2 / count * np.divide(n, n - 1)
    return mean, kept, dx, *((dbeta, dgamma) if "dgamma_dbeta_swapped" in faults else (dgamma, dbeta))


def _merged(
    faults: FaultSet, counts: np.ndarray, means: np.ndarray, m2s: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean and m2 of all examples, and their number, from the ranks' rows."""
    count, holding = counts.sum(), counts[:, 0] > 0
    mean = means[holding].mean(axis=0) if "mean_unweighted" in faults else (counts * means).sum(axis=0) / count
    squares = (means - mean) ** 2
    between = (squares if "between_unweighted" in faults else counts * squares).sum(axis=0)
    m2 = m2s.sum(axis=0) + (0 if "between_missing" in faults else between)
    if "variances_averaged" in faults:
        m2 = count * (m2s / counts)[holding].mean(axis=0)
    if "variance_unweighted" in faults:
        m2 = count * (m2s / counts + squares)[holding].mean(axis=0)
    return mean, m2, count


def _inv_std(faults: FaultSet, var: np.ndarray, eps: float) -> np.ndarray:
    if "eps_outside" in faults:
        return 1 / (np.sqrt(var) + eps)
    inside = var + (0 if "eps_missing" in faults else 1e-5 if "eps_fixed" in faults else eps)
    return 1 / (inside if "root_missing" in faults else np.sqrt(inside))


def _dx(
    faults: FaultSet, arguments: Arguments, x_hat: np.ndarray, inv_std: np.ndarray, rows: np.ndarray, count: float
) -> np.ndarray:
    """The gradient of x from what the second exchange brought, and the number of all examples."""
    dy, n = arguments["dy"], len(x_hat)
    sums = rows.sum(axis=0)
    if faults & {"own_gradients", "own_sums"}:
        sums = rows[arguments["all_gather"].settings["rank"]]
    divisor = count
    if faults & {"own_gradients", "own_count"}:
        divisor = n
    if "even_assumed" in faults:
        divisor = n * len(rows)
    if "ranks_counted" in faults:
        divisor = len(rows)
    mean_path, variance_path = (
        total
        / (1 if faults & {"count_missing", f"{path}_path_summed"} else divisor)
        * (0 if f"{path}_path_dropped" in faults else -1 if f"{path}_path_sign" in faults else 1)
        for path, total in zip(("mean", "variance"), np.split(sums, 2), strict=True)
    )
    factor = 1 if "inv_std_missing" in faults else inv_std**2 if "inv_std_squared" in faults else inv_std
    gamma = 1 if "gamma_missing" in faults else arguments["gamma"]
    dx: np.ndarray = gamma * factor * (dy - mean_path - x_hat * variance_path)
    return dx


def make_probes(rng: np.random.Generator) -> list[Probe]:
    """Ranks that differ in number, size, mean and spread; far from zero, small, with a large eps, and empty ones."""

    def probe(
        name: str,
        counts: tuple[int, ...],
        rank: int,
        features: int,
        offset: float = 0.0,
        scale: float = 1.0,
        eps: float = 1e-5,
        condition: float = 8.0,
        alone: str = "",
    ) -> Probe:
        # The means of the ranks are spread evenly, so that no two are alike; the features are far from zero.
        levels = rng.permuted(np.linspace(-1.2, 1.2, len(counts))[:, None] + np.zeros((1, features)), axis=0)
        levels += rng.uniform(2.0, 3.0, features) * rng.choice([-1, 1], features)
        parts = [
            offset + scale * (level + rng.uniform(0.6, 1.8, features) * rng.standard_normal((count, features)))
            for count, level in zip(counts, levels, strict=True)
        ]
        whole = np.concatenate(parts)
        mean = whole.mean(axis=0)
        inv_std = 1 / np.sqrt(((whole - mean) ** 2).mean(axis=0) + eps)
        statistics, sums, dys = [], [], []
        for part in parts:
            x_hat = (part - mean) * inv_std
            # Of another mean and along x_hat differently on each rank, so that both paths of dx matter.
            dy = rng.standard_normal(part.shape) + rng.uniform(0.5, 1.5, features) * rng.choice([-1, 1], features)
            dy += rng.uniform(0.5, 1.5, features) * rng.choice([-1, 1], features) * x_hat
            own = part.sum(axis=0) / max(len(part), 1)
            statistics.append(np.concatenate([[len(part)], own, ((part - own) ** 2).sum(axis=0)]))
            sums.append(np.concatenate([dy.sum(axis=0), (dy * x_hat).sum(axis=0)]))
            dys.append(dy)
        others = {"statistics": np.delete(statistics, rank, axis=0), "sums": np.delete(sums, rank, axis=0)}
        arguments = {
            "dy": dys[rank],
            "x": parts[rank],
            "gamma": affine_parameter(rng, features),
            "all_gather": NamedFunction("all_gather", {**others, "rank": rank}),
            "eps": eps,
        }
        return Probe(name, arguments, condition, alone, diagnosed=alone in ("", FAR_FROM_ZERO))

    return [
        probe("ranks of 9, 5 and 3", (9, 5, 3), 1, 4),
        probe("ranks of 7 and 3, more features", (7, 3), 1, 8),
        probe("four ranks of 5", (5, 5, 5, 5), 0, 5),
        probe("ranks of 6, 1 and 4", (6, 1, 4), 2, 3),
        probe("far from zero", (4, 8, 6), 1, 3, offset=1e6, condition=2e6, alone=FAR_FROM_ZERO),
        probe("small scale", (4, 7), 0, 4, scale=1e-3),
        probe("large eps", (8, 3, 5), 2, 3, eps=float(rng.uniform(0.3, 0.9))),
        probe("another rank is empty", (6, 0, 9), 0, 4, alone=EMPTY_ALONE),
        probe("this rank is empty", (5, 7, 0), 2, 3, alone=EMPTY_ALONE),
        probe("this rank holds one example", (8, 1), 1, 4, alone=ONE_ALONE),
    ]


EXERCISE = Exercise(
    id="merge_ranks",
    title="Merge the ranks",
    chapter="7.2",
    statement=(
        "A batch is spread over several processes, the ranks. They hold unequal parts of it, some perhaps none, and "
        "batch norm is to do what one machine with the whole batch would do. Write what each rank runs in a training "
        "step: it sees its own examples, and exchanges one row of numbers with the others twice, statistics for the "
        "way forward and sums for the way back. Leave the inputs unchanged."
    ),
    solution_function=synchronized_step,
    outputs=("mean", "var", "dx", "dgamma", "dbeta"),
    reference=faulty_step,
    faults=FAULTS,
    coincidences=(
        Coincidence(
            frozenset({"count_missing"}),
            frozenset({"mean_path_summed", "variance_path_summed"}),
            "the factor 1/m stands once for each of the two paths",
        ),
        *(
            Coincidence(
                frozenset({"own_statistics"}),
                frozenset({"own_statistics", same}),
                "where the rank's own examples take the place of all, they do so here too",
            )
            for same in ("corrected_by_rank", "own_mean_in_dgamma")
        ),
    ),
    make_probes=make_probes,
    properties=(
        Property("mean", "mean", lambda mean, arguments: mean),
        Property("var", "var", lambda var, arguments: var),
        Property("dbeta", "dbeta", lambda dbeta, arguments: dbeta),
        Property("dgamma", "dgamma", lambda dgamma, arguments: dgamma),
        Property("dx", "dx", lambda dx, arguments: dx),
    ),
    hints=(
        "Write batch norm's forward and backward pass for the whole batch, and mark every place where something is "
        "summed over examples. Each of these sums is over all ranks, but for two. Which two? What do you need from the "
        "others to complete the rest, and what may you divide by only after that?",
        "Counts and m2 of parts cannot be averaged: the mean is a sum of `counts * means` over the number of all "
        "examples, and m2 has one term from within the ranks and one from between them. On the way back, dx needs the "
        "means of dy and of `dy * x_hat` over all examples, where x_hat is made with the merged statistics. What does "
        "your code send if x has no rows?",
        "m2 = m2s.sum(axis=0) + (counts * (means - mean)**2).sum(axis=0). It is divided by the number N of all "
        "examples where it normalizes, and by N - 1 where it is returned. The second exchange brings the sums of all "
        "ranks: their sum over N gives both means in dx. dgamma and dbeta are what you sent.",
    ),
    explanation="""
    Everything that batch norm sums over the batch, a rank can only sum over its part. For the statistics the parts are
    merged, weighted by their counts: within the ranks m2 adds up, and between them come the squared distances of their
    means from the common one, once for every example. Averages over ranks would be right for equal parts only, and the
    average of the variances not even then.

    A row of counts, means and m2 costs one exchange. Sums of x and x**2 would do so as well, but their difference loses
    its digits far from zero.

    On the way back, each x acts on all examples of all ranks through mean and variance. So the means of dy and of
    dy * x_hat run over the whole batch, and that is a second exchange: their values did not exist at the first one,
    since x_hat needs its result. gamma and beta are different. Each rank has its own copy, whose gradient is what its
    own examples contribute; adding up the copies' gradients is done for all parameters alike, after the backward pass.

    A rank without examples sends zeros, which change nothing. But it has to send them: the others wait.
    """,
    passed_message=(
        "Your function agrees with the reference on ten fresh batches: over two, three and four ranks that hold "
        "unequal parts and equal ones, far from zero, with small values and a large eps, with another rank or your own "
        "empty, and with a single example on yours. Your inputs came back unchanged."
    ),
)
