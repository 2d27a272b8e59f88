"""The exercises of part 7 say what holds when several ranks run, and for real convolutions."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, BrokenBarrierError

import numpy as np
import pytest

from bncourse.exercises import fold_norm, merge_ranks
from bncourse.exercises.functions import NamedFunction
from bncourse.exercises.tasks.fold_norm import WRONG_SHIFT, faulty_fold
from bncourse.reference import RunningStatistics, batch_norm, batch_norm_backward
from tests.exercises import fold_mistakes, ranks_mistakes
from tests.exercises.bank import SEEDS, name_of, verdict
from tests.exercises.fold_alternatives import FOLD
from tests.exercises.ranks_alternatives import RANKS

synchronized_step, fold = merge_ranks.solution_function, fold_norm.solution_function
EPS = 0.01
COUNTS = [(4, 0, 7, 3), (1, 6), (0, 5), (5, 5, 5), (9,)]


def whole_batch(counts, features=3, seed=1):
    rng = np.random.default_rng(seed)
    dy, x = rng.normal(rng.uniform(-3, 3, (2, 1, features)), 2, (2, sum(counts), features))
    return dy, x, rng.uniform(0.5, 2, features)


def on_all_ranks(function, counts, wait=5.0):
    """What the ranks return when all of them run ``function``, each in a thread, with a real exchange."""
    dy, x, gamma = whole_batch(counts)
    rows, barrier = {}, Barrier(len(counts), timeout=wait)
    edges = np.cumsum((0, *counts))

    def run(rank):
        def all_gather(row):
            rows[rank] = np.array(row)
            barrier.wait()
            gathered = np.stack([rows[other] for other in range(len(counts))])
            barrier.wait()
            return gathered

        own = slice(edges[rank], edges[rank + 1])
        return function(dy[own], x[own], gamma, all_gather, eps=EPS)

    with np.errstate(all="ignore"), ThreadPoolExecutor(len(counts)) as pool:
        return list(pool.map(run, range(len(counts))))


def by_one_machine(counts):
    """Mean, unbiased variance, dx, dgamma, dbeta of the whole batch."""
    dy, x, gamma = whole_batch(counts)
    _, cache = batch_norm(x, gamma, np.zeros_like(gamma), EPS)
    statistics = RunningStatistics(len(gamma), momentum=1.0)
    statistics.update(x)
    return statistics.mean, statistics.var, *batch_norm_backward(dy, cache)


@pytest.mark.parametrize("counts", COUNTS, ids=str)
@pytest.mark.parametrize("function", [synchronized_step, *RANKS], ids=name_of)
def test_ranks_that_run_a_right_function_do_what_one_machine_does(function, counts):
    """Catches rows of other ranks that are not those which the learner's own function would send there."""
    if "torch" in name_of(function):
        pytest.importorskip("torch")
    mean, var, dx, dgamma, dbeta = zip(*on_all_ranks(function, counts), strict=True)
    wanted = by_one_machine(counts)
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if "float32" in name_of(function) else {"rtol": 1e-9, "atol": 1e-12}
    for rank in range(len(counts)):
        np.testing.assert_allclose(mean[rank], wanted[0], **tolerance)
        np.testing.assert_allclose(var[rank], wanted[1], **tolerance)
    np.testing.assert_allclose(np.concatenate(dx), wanted[2], **tolerance)
    np.testing.assert_allclose(sum(dgamma), wanted[3], **tolerance)
    np.testing.assert_allclose(sum(dbeta), wanted[4], **tolerance)


@pytest.mark.parametrize("name", ranks_mistakes.SINGLES)
def test_ranks_that_run_a_mistake_do_not(name):
    """Catches a fault that is none once all ranks agree on it; one is harmless then, and its message says so."""
    mean, var, dx, dgamma, dbeta = zip(*on_all_ranks(ranks_mistakes.SINGLES[name], (4, 7, 3)), strict=True)
    found = mean[0], var[0], np.concatenate(dx), sum(dgamma), sum(dbeta)
    wanted = by_one_machine((4, 7, 3))
    right = all(np.allclose(one, other, rtol=1e-3) for one, other in zip(found, wanted, strict=True))
    assert right == (name == "parameters_averaged")


def test_a_rank_that_leaves_early_leaves_the_others_waiting():
    """What the statement's solution says of an empty rank."""
    with pytest.raises(BrokenBarrierError):
        on_all_ranks(ranks_mistakes.an_empty_rank_leaves_early, (4, 0, 7), wait=0.2)


def leaves_between(dy, x, gamma, all_gather, eps):
    if len(x):
        return synchronized_step(dy, x, gamma, all_gather, eps)
    return synchronized_step(dy, x, gamma, lambda row: all_gather(row) if len(row) % 2 else row[None], eps)


def gathers_once_more(dy, x, gamma, all_gather, eps):
    results = synchronized_step(dy, x, gamma, all_gather, eps)
    all_gather(np.concatenate(results[-2:]))
    return results


@pytest.mark.parametrize("function", [leaves_between, gathers_once_more])
def test_exchanges_are_counted_where_the_values_do_not_show_them(function):
    """Catches a rank without examples that leaves before the second exchange, and one that waits for a third."""
    for seed in SEEDS:
        result = verdict(merge_ranks, function, seed)
        assert (result.outcome, result.faults) == ("failed", ("calls_of_all_gather",))
        assert "`all_gather` is called more or less often than 2 times" in result.message


def test_where_a_rank_leaves_between_the_exchanges_the_others_wait():
    with pytest.raises(BrokenBarrierError):
        on_all_ranks(leaves_between, (4, 0, 7), wait=0.2)


def test_ordinary_batch_norm_on_each_rank_is_named_for_what_it_is():
    def unsynchronized(dy, x, gamma, all_gather, eps):
        n = np.float64(len(x))
        _, cache = batch_norm(x, gamma, np.zeros_like(gamma), eps)
        return x.mean(0), x.var(0) * n / (n - 1), *batch_norm_backward(dy, cache)

    def numbers_only(dy, x, gamma, all_gather, eps):
        if len(x) < 2:
            return 0 * gamma, 0 * gamma, dy, gamma, gamma
        return unsynchronized(dy, x, gamma, all_gather, eps)

    assert verdict(merge_ranks, numbers_only, 0).faults == ("own_statistics", "own_gradients")


def test_a_row_of_another_length_is_told_what_is_expected():
    def sums_and_count(dy, x, gamma, all_gather, eps):
        return all_gather(np.hstack([x.sum(0), (x**2).sum(0)[:-1]]))

    result = verdict(merge_ranks, sums_and_count, 0)
    assert result.outcome == "error"
    assert (
        "a row of 9 numbers in the first exchange and of 8 in the second, got an array of shape (7,)" in result.message
    )


def test_the_exchange_puts_the_row_in_its_place_and_hands_out_fresh_rows():
    """Catches rows that are the grader's own, which a learner could overwrite before the next exchange."""
    statistics, sums = np.arange(10.0).reshape(2, 5), np.arange(8.0).reshape(2, 4)
    for rank in range(3):
        all_gather = NamedFunction("all_gather", {"statistics": statistics, "sums": sums, "rank": rank})
        for others in (statistics, sums):
            row = np.full(others.shape[1], -1.0)
            rows = all_gather(row)
            np.testing.assert_array_equal(rows[rank], row)
            np.testing.assert_array_equal(np.delete(rows, rank, axis=0), others)
            rows[...] = np.nan
    assert np.isfinite(statistics).all()


@pytest.mark.parametrize("dx", [np.zeros((0, 4)), np.zeros((1, 3)), np.zeros(3)], ids=str)
def test_an_empty_gradient_of_another_shape_is_a_wrong_interface(dx):
    """Catches a comparison of empty arrays that lets any shape pass."""

    def step(dy, x, gamma, all_gather, eps):
        mean, var, right, dgamma, dbeta = synchronized_step(dy, x, gamma, all_gather, eps)
        return mean, var, (right if len(x) else dx), dgamma, dbeta

    result = verdict(merge_ranks, step, 0)
    assert result.outcome == "wrong interface"
    assert f"dx has shape {dx.shape}, and shape (0, 3) is expected (probe: this rank is empty" in result.message


def norm_and_layer(torch, arguments, x, pad):
    """What batch norm and the layer do in inference, in the order that the probe says."""
    values = {name: torch.tensor(value) for name, value in arguments.items() if isinstance(value, np.ndarray)}
    kernel = arguments["weight"].shape[2:]

    def layer(h):
        if not kernel:
            return torch.nn.functional.linear(h, values["weight"], values.get("bias"))
        convolution = {1: torch.nn.functional.conv1d, 2: torch.nn.functional.conv2d}[len(kernel)]
        return convolution(h, values["weight"], values.get("bias"), padding=pad, groups=arguments["groups"])

    def norm(h):
        names = ("mean", "var", "gamma", "beta")
        return torch.nn.functional.batch_norm(h, *(values[name] for name in names), eps=arguments["eps"])

    return norm(layer(x)) if arguments["place"] == "after" else layer(norm(x))


def folded_layer(torch, arguments, x, pad, new):
    """What the folded layer does, which pads each channel with a number of its own."""
    weight, bias, padding = (torch.as_tensor(value).to(x.dtype) for value in new)
    kernel = weight.shape[2:]
    if not kernel:
        return torch.nn.functional.linear(x, weight, bias)
    size = [length + 2 * pad for length in x.shape[2:]]
    surrounded = padding.reshape(1, -1, *(1 for _ in kernel)).repeat(len(x), 1, *size)
    surrounded[(..., *(slice(pad, pad + length) for length in x.shape[2:]))] = x
    convolution = {1: torch.nn.functional.conv1d, 2: torch.nn.functional.conv2d}[len(kernel)]
    return convolution(surrounded, weight, bias, groups=arguments["groups"])


def difference(function, probe, pad):
    torch = pytest.importorskip("torch")
    arguments = dict(probe.arguments)
    inputs, kernel = arguments["weight"].shape[1] * arguments["groups"], arguments["weight"].shape[2:]
    x = torch.tensor(np.random.default_rng(0).normal(2, 3, (2, inputs, *(6 for _ in kernel))))
    wanted = norm_and_layer(torch, arguments, x, pad)
    found = folded_layer(torch, arguments, x, pad, function(**probe.fresh()))
    return ((found - wanted).abs().max() / wanted.abs().max()).item()


@pytest.mark.parametrize("function", [fold, *FOLD], ids=name_of)
def test_the_folded_layer_does_what_the_two_did_at_the_edges_too(function):
    for seed in SEEDS:
        for probe in fold_norm.make_probes(np.random.default_rng(seed)):
            for pad in (0, 1, 2):
                assert difference(function, probe, pad) < (1e-5 if "float32" in name_of(function) else 1e-12)


@pytest.mark.parametrize("name", fold_mistakes.SINGLES)
def test_with_a_mistake_it_does_not(name):
    """Catches a fault that is none."""
    probes = fold_norm.make_probes(np.random.default_rng(0))
    assert max(difference(fold_mistakes.SINGLES[name], probe, 1) for probe in probes) > 1e-3


def test_zeros_around_what_comes_before_the_norm_are_wrong_at_the_edges_only():
    """Catches a padding that is asked for and needed nowhere."""
    for probe in fold_norm.make_probes(np.random.default_rng(0)):
        padded = probe.arguments["place"] == "before" and probe.arguments["weight"].ndim > 2
        assert difference(fold_mistakes.padding_zero, probe, 0) < 1e-12
        assert (difference(fold_mistakes.padding_zero, probe, 1) > 1e-2) == padded


@pytest.mark.parametrize("name", sorted(WRONG_SHIFT))
@pytest.mark.parametrize("from_shift", [True, False])
def test_a_wrong_shift_is_named_wherever_the_padding_was_taken_from(name, from_shift):
    """Catches a diagnosis of one style only: -shift / scale is wrong then, and mean - beta / scale is right."""
    names = list(fold_norm.make_probes(np.random.default_rng(0))[0].arguments)

    def learner(*arguments, eps):
        given = dict(zip(names, (*arguments, eps), strict=True))
        return faulty_fold(frozenset({name}), {**given, "padding_from_shift": from_shift})

    for seed in SEEDS:
        assert verdict(fold_norm, learner, seed).faults == (name,)


def test_a_layer_without_bias_that_gets_none_is_told():
    def nothing_to_fold_into(*arguments, eps):
        weight, bias, padding = fold(*arguments, eps=eps)
        return weight, bias if arguments[1] is not None else None, padding

    result = verdict(fold_norm, nothing_to_fold_into, 0)
    assert result.outcome == "wrong interface"
    assert "bias is a NoneType" in result.message
    assert "It did run on: linear, norm after" in result.message
