"""Exercise: a training run with four faults to find and repair."""

from __future__ import annotations

from itertools import product

import numpy as np

from bncourse.exercises.exercise import Arguments, Exercise, Property
from bncourse.exercises.faults import Coincidence, Fault
from bncourse.exercises.faulty_runs import LAST_BATCHES, LEFT_OUT, OUTPUTS, faulty_training, off, read_choices
from bncourse.exercises.judge import Outputs
from bncourse.exercises.probe import Probe


def train(
    x: np.ndarray,
    labels: np.ndarray,
    x_test: np.ndarray,
    w: np.ndarray,
    v: np.ndarray,
    batch: int,
    epochs: int,
    rate: float,
    momentum: float,
    eps: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Train a network with one hidden layer, and classify other examples.

    z = x @ w,   z_hat = (z - mean) / sqrt(var + eps)
    logits = tanh(gamma * z_hat + beta) @ v
    running <- (1 - momentum) * running + momentum * new

    Parameters
    ----------
    x : array of shape (N, F), the training examples; one that could not be
        read is NaN in all its features.
    labels : integer array of shape (N,), their classes.
    x_test : array of shape (M, F), examples to be classified in inference,
        each by itself.
    w, v : arrays of shape (F, H) and (H, K), the weights to start from.
    batch : int, 2 or more, how many examples are in a batch. They are taken
        in order, and the last batch of an epoch may be of another size.
    epochs : int, how often to go through x.
    rate : float, of plain gradient descent on the mean loss of a batch.
    momentum : float, the weight of a new batch in the running statistics.
    eps : positive float.

    Returns
    -------
    w : the trained weights of the first layer.
    running_mean, running_var : arrays of shape (H,), running averages of
        the mean and of the unbiased variance, begun at 0 and 1.
    logits : array of shape (M, K), for x_test.
    """
    gamma, beta = np.ones(len(v)), np.zeros(len(v))
    running_mean, running_var = np.zeros(len(v)), np.ones(len(v))

    for first in list(range(0, len(x), batch)) * epochs:
        rows, classes = x[first:][:batch], labels[first:][:batch]
        n = len(rows)
        if n == 1:
            continue
        z = rows @ w
        mean, var = z.mean(axis=0), z.var(axis=0)
        inv_std = 1 / np.sqrt(var + eps)
        z_hat = (z - mean) * inv_std
        h = np.tanh(gamma * z_hat + beta)
        p = np.exp(h @ v)
        p = p / p.sum(axis=1, keepdims=True)
        loss = -np.log(p[np.arange(n), classes]).mean()
        if not np.isfinite(loss):
            continue

        unbiased = var * n / (n - 1)
        running_mean = (1 - momentum) * running_mean + momentum * mean
        running_var = (1 - momentum) * running_var + momentum * unbiased

        dlogits = (p - np.eye(v.shape[1])[classes]) / n
        dy = (dlogits @ v.T) * (1 - h**2)
        dgamma, dbeta = (dy * z_hat).sum(axis=0), dy.sum(axis=0)
        dz = gamma * inv_std * (dy - dbeta / n - z_hat * dgamma / n)
        w, v = w - rate * rows.T @ dz, v - rate * h.T @ dlogits
        gamma, beta = gamma - rate * dgamma, beta - rate * dbeta

    z_hat = (x_test @ w - running_mean) / np.sqrt(running_var + eps)
    return w, running_mean, running_var, np.tanh(gamma * z_hat + beta) @ v


def given_run(
    x: np.ndarray,
    labels: np.ndarray,
    x_test: np.ndarray,
    w: np.ndarray,
    v: np.ndarray,
    batch: int,
    epochs: int,
    rate: float,
    momentum: float,
    eps: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Train a network with one hidden layer, and classify other examples.

    z = x @ w,   z_hat = (z - mean) / sqrt(var + eps)
    logits = tanh(gamma * z_hat + beta) @ v
    running <- (1 - momentum) * running + momentum * new

    Parameters
    ----------
    x : array of shape (N, F), the training examples; one that could not be
        read is NaN in all its features.
    labels : integer array of shape (N,), their classes.
    x_test : array of shape (M, F), examples to be classified in inference,
        each by itself.
    w, v : arrays of shape (F, H) and (H, K), the weights to start from.
    batch : int, 2 or more, how many examples are in a batch. They are taken
        in order, and the last batch of an epoch may be of another size.
    epochs : int, how often to go through x.
    rate : float, of plain gradient descent on the mean loss of a batch.
    momentum : float, the weight of a new batch in the running statistics.
    eps : positive float.

    Returns
    -------
    w : the trained weights of the first layer.
    running_mean, running_var : arrays of shape (H,), running averages of
        the mean and of the unbiased variance, begun at 0 and 1.
    logits : array of shape (M, K), for x_test.
    """
    gamma, beta = np.ones(len(v)), np.zeros(len(v))
    running_mean, running_var = np.zeros(len(v)), np.ones(len(v))

    for first in list(range(0, len(x), batch)) * epochs:
        rows, classes = x[first:][:batch], labels[first:][:batch]
        n = len(rows)
        z = rows @ w
        mean, var = z.mean(axis=0), z.var(axis=0)
        unbiased = var * n / max(n - 1, 1)
        running_mean = momentum * running_mean + (1 - momentum) * mean
        running_var = momentum * running_var + (1 - momentum) * unbiased

        inv_std = 1 / np.sqrt(var + eps)
        z_hat = (z - mean) * inv_std
        h = np.tanh(gamma * z_hat + beta)
        p = np.exp(h @ v)
        p = p / p.sum(axis=1, keepdims=True)
        loss = -np.log(p[np.arange(n), classes]).mean()
        if not np.isfinite(loss):
            continue

        dlogits = (p - np.eye(v.shape[1])[classes]) / n
        dy = (dlogits @ v.T) * (1 - h**2)
        dgamma, dbeta = (dy * z_hat).sum(axis=0), dy.sum(axis=0)
        dz = gamma * inv_std * (dy - dbeta / n - z_hat * dgamma / n)
        w, v = w - rate * rows.T @ dz, v - rate * h.T @ dlogits
        gamma, beta = gamma - rate * dgamma, beta - rate * dbeta

    z = x_test @ w
    z_hat = (z - z.mean(axis=0)) / np.sqrt(z.var(axis=0) + eps)
    return w, running_mean, running_var, np.tanh(gamma * z_hat + beta) @ v


FAULTS = (
    Fault(
        "momentum_flipped",
        "The running statistics are nearly those of the last batch: compare how much of the old average is kept with "
        "what the docstring says.",
        ("mean average", "var average"),
    ),
    Fault(
        "mean_flipped",
        "momentum is read the other way round in running_mean: it is the weight of the new batch.",
        ("mean average",),
    ),
    Fault(
        "var_flipped",
        "momentum is read the other way round in running_var: it is the weight of the new batch.",
        ("var average",),
    ),
    Fault(
        "never_updated",
        "The running statistics are never updated: the weights move, and evaluation still normalizes with 0 and 1.",
        ("mean average", "var average", "times", "kept"),
    ),
    Fault(
        "updated_twice",
        "The running statistics are updated twice in each step: once for every batch that the weights learn from.",
        ("times",),
    ),
    Fault(
        "biased_kept",
        "running_var averages biased variances: those normalize, and what is kept for inference is the unbiased one, "
        "`var * n / (n - 1)`.",
        ("kept",),
    ),
    Fault(
        "kept_by_batch",
        "The unbiased variance takes the nominal size of a batch: a batch that holds n examples has the factor "
        "`n / (n - 1)`.",
        ("kept",),
    ),
    Fault(
        "corrected_twice",
        "running_var averages variances that are corrected twice: what comes from `var(ddof=1)` is unbiased already.",
        ("kept",),
    ),
    Fault(
        "unbiased_normalizes",
        "The unbiased variance normalizes in training: there it is the biased one, and the unbiased one is kept in "
        "running_var.",
        ("normalizing",),
    ),
    Fault(
        "evaluated_on_batch",
        "The class of a test example depends on which others it comes with, and the docstring says that each is "
        "classified by itself: find what it takes from the others.",
        ("test mean", "test var"),
    ),
    Fault(
        "test_mean_of_batch",
        "The test examples are centred with their own mean, so that the class of each depends on the others: use "
        "running_mean.",
        ("test mean",),
    ),
    Fault(
        "test_var_of_batch",
        "The test examples are scaled with their own variance, so that the class of each depends on the others: use "
        "running_var.",
        ("test var",),
    ),
    Fault(
        "evaluated_on_last_batch",
        "The test examples are normalized with mean and variance of the last training batch, which is one batch of "
        "many: use running_mean and running_var.",
        ("test mean", "test var"),
    ),
    Fault(
        "batch_of_one",
        "A last batch of one example is trained on: work out what z_hat is there, whatever the example holds, and what "
        "becomes of the variance.",
        ("one",),
    ),
    Fault(
        "one_trained",
        "A last batch of one example stays out of the statistics, and a step is still made with it. Its z_hat is 0 "
        "whatever it holds: leave it out, or let the batch before take it.",
        ("one",),
    ),
    Fault(
        "one_in_statistics",
        "No step is made with a last batch of one example, and yet it gets into the running statistics: leave it out "
        "before they are updated.",
        ("one",),
    ),
    Fault(
        "nan_in_statistics",
        "NaN gets into the running statistics, and no average ever loses it: look where it is found out that a batch "
        "cannot be used, and what has happened by then.",
        ("unread",),
    ),
    Fault(
        "nan_trained",
        "A step is made with a batch that holds NaN, after which all is NaN: leave out the batch, or the example.",
        ("unread",),
    ),
    Fault(
        "nan_as_zeros",
        "An example that could not be read is replaced by zeros: the network learns a class from an example that does "
        "not exist, and the statistics count it. Leave it out, or its batch.",
        ("unread",),
    ),
    Fault(
        "divided_by_batch",
        "The gradient is divided by the nominal size of a batch: the mean loss of one that holds n examples is a sum "
        "over n.",
        ("gradient",),
    ),
    Fault(
        "gradient_summed",
        "The gradient is that of the sum of losses: the rate is meant for their mean, so divide by n.",
        ("gradient",),
    ),
    Fault(
        "statistics_constant",
        "The backward pass takes mean and variance for constants: in training they depend on z, and dz loses its share "
        "along a constant and along z_hat.",
        ("backward",),
    ),
)
# Their messages say what goes wrong, and not how to repair it: who has repaired one is still to find the others.
PLANTED = frozenset({"momentum_flipped", "evaluated_on_batch", "batch_of_one", "nan_in_statistics"})


def examine(outputs: Outputs, probe: Probe) -> str:
    """What is off after training, if no right way to train comes to it."""
    left_out = LEFT_OUT if np.isnan(probe.arguments["x"]).any() else LEFT_OUT[:1]
    choices = [{**last, **out} for last, out in product(LAST_BATCHES, left_out)]
    wrong = min((off(probe, outputs, choice) for choice in choices), key=len)
    if not wrong:
        return ""
    if spoiled := [name for name in wrong if not np.isfinite(outputs[OUTPUTS.index(name)]).all()]:
        return f"NaN or infinity after training: {', '.join(spoiled)}."
    found, wanted = (
        np.mean(logits.argmax(axis=1) == _classes(probe.arguments))
        for logits in (outputs[-1], faulty_training(frozenset(), probe.arguments)[-1])
    )
    return f"Off after training: {', '.join(wrong)}. Test accuracy {found:.0%}, and {wanted:.0%} if all is right."


def _classes(arguments: Arguments) -> np.ndarray:
    """The class of each test example: the clusters are far apart."""
    x, labels, x_test = (arguments[name] for name in ("x", "labels", "x_test"))
    centres = np.array([np.nanmean(x[labels == label], axis=0) for label in range(arguments["v"].shape[1])])
    distances = ((x_test[:, None] - centres) ** 2).sum(axis=2)
    nearest: np.ndarray = distances.argmin(axis=1)
    return nearest


def make_probes(rng: np.random.Generator) -> list[Probe]:
    """Clusters to tell apart, with even batches and uneven ones, and a NaN; most test examples are of one class."""

    def probe(
        name: str,
        examples: int,
        batch: int,
        epochs: int,
        sizes: tuple[int, int, int] = (4, 5, 3),
        tested: int = 20,
        unread: bool = False,
        eps: float = 1e-5,
    ) -> Probe:
        features, hidden, classes = sizes
        # Far from 0, so that it matters which mean is subtracted.
        centres = rng.uniform(1.0, 2.0, features) * rng.choice([-1, 1], features) + 2.0 * _apart(rng, classes, features)
        # All classes in every batch, as far as it goes; and one class most of all in what is tested.
        labels = np.concatenate([rng.permutation(classes) for _ in range(examples)])[:examples]
        of_tested = np.where(rng.random(tested) < 0.7, rng.integers(classes), rng.integers(classes, size=tested))
        x, x_test = (centres[each] + 0.4 * rng.standard_normal((len(each), features)) for each in (labels, of_tested))
        if unread:
            x[rng.integers(batch, 2 * batch)] = np.nan
        arguments = {
            "x": x,
            "labels": labels,
            "x_test": x_test,
            "w": rng.standard_normal((features, hidden)) / np.sqrt(features),
            "v": rng.standard_normal((hidden, classes)) / np.sqrt(hidden),
            "batch": batch,
            "epochs": epochs,
            "rate": float(rng.uniform(0.8, 1.2)),
            "momentum": float(rng.uniform(0.2, 0.3)),
            "eps": eps,
        }
        return Probe(name, arguments, shown=("x", "x_test", "batch"))

    return [
        probe("whole batches", 24, 6, 3),
        probe("batches of three", 15, 3, 2),
        probe("one test example", 28, 7, 2, (5, 4, 3), tested=1),
        probe("large eps", 32, 8, 2, (3, 6, 4), eps=float(rng.uniform(0.3, 0.9))),
        probe("four examples left over", 25, 7, 3),
        probe("one example left over", 21, 5, 3, (5, 6, 3)),
        probe("an example that could not be read", 27, 6, 3, unread=True),
    ]


def _apart(rng: np.random.Generator, classes: int, features: int) -> np.ndarray:
    """As many directions, the least alike of twenty drawn."""
    drawn = rng.standard_normal((20, classes, features))
    drawn /= np.linalg.norm(drawn, axis=2, keepdims=True)
    alike = (drawn @ drawn.transpose(0, 2, 1) - np.eye(classes)).max(axis=(1, 2))
    apart: np.ndarray = drawn[alike.argmin()]
    return apart


EXERCISE = Exercise(
    id="find_the_fault",
    title="Find the fault",
    chapter="7.5",
    statement=(
        "The function below trains a network with batch norm and classifies other examples. It runs, the loss falls, "
        "and four things are wrong with it. Find them, and repair the function; what its docstring promises is right, "
        "and so is the backward pass. Some of the four hide others, and some can be repaired in more than one way. "
        "Leave the inputs unchanged."
    ),
    solution_function=train,
    given_function=given_run,
    given_faults=PLANTED,
    outputs=OUTPUTS,
    reference=faulty_training,
    faults=FAULTS,
    coincidences=(
        Coincidence(
            frozenset({"momentum_flipped"}),
            frozenset({"mean_flipped", "var_flipped"}),
            "both averages are all that there are",
        ),
        Coincidence(
            frozenset({"evaluated_on_batch"}),
            frozenset({"test_mean_of_batch", "test_var_of_batch"}),
            "mean and variance are all that there is to normalize with",
        ),
        *(
            Coincidence(
                frozenset({"never_updated", *named}),
                frozenset({"never_updated", same}),
                "statistics that are never updated take in nothing wrong either",
            )
            for named, same in (
                ((), "nan_in_statistics"),
                ((), "one_in_statistics"),
                (("batch_of_one",), "one_trained"),
            )
        ),
    ),
    make_probes=make_probes,
    properties=(
        Property("w", "w", lambda w, arguments: w),
        Property("running_mean", "running_mean", lambda mean, arguments: mean),
        Property("running_var", "running_var", lambda var, arguments: var),
        Property("logits", "logits", lambda logits, arguments: logits),
    ),
    run=examine,
    read_free=read_choices,
    hints=(
        "Read the table by columns first. Where are the weights right, and what is wrong there all the same? Then by "
        "rows: which probes have weights that are wrong, or NaN, and what is special about their last batch, or one of "
        "their examples?",
        "Follow one number at a time. What share of the old running_mean is left after a batch, if momentum is 0.1? "
        "What does the class of a test example depend on? What becomes of z_hat in a batch of one? And what has "
        "happened already when a loss that is not finite is found?",
        "Give the new statistic the weight momentum, and the old one the rest. Evaluate with running_mean and "
        "running_var. Leave out a batch of one, or let the batch before have its example. Update the running "
        "statistics after the check of the loss, or leave out what is NaN before anything is computed from it.",
    ),
    explanation="""
    None of the four raises an error, and the loss falls with all of them.

    momentum weighs the new batch here, as in PyTorch; code from elsewhere has it the other way round. With 0.1 read as
    0.9, the running statistics are those of the last batch, nearly, and as noisy. Nobody sees it as long as evaluation
    does not use them. It takes the statistics of the test examples instead, so that the class of an example depends on
    its neighbours, and a single example is always classified alike. That may even look good on a large, mixed test set.

    A last batch of one has z_hat = 0, and the network takes a step with an example that it has not seen. Its variance
    is 0, and the division by n - 1 would have told: max(n - 1, 1) has silenced it. Here the batch is left out. Giving
    its example to the batch before is as good, and so is a loader that drops what is left over.

    The check of the loss keeps NaN out of the weights. By then it is in the running statistics, and
    (1 - momentum) * NaN is NaN for good. So they are updated after the check. Leaving out the example instead of its
    batch, in the batch or before there are batches, is right as well: the check tries all of these.
    """,
    passed_message=(
        "Your function agrees with a right one in seven fresh training runs: with whole batches, small ones, four "
        "examples left over and one, a large eps, a single test example, and one to train on that could not be read. "
        "Your inputs came back unchanged."
    ),
)
