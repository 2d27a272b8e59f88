"""The exercises of part 5 say what holds for real batches and real dropout."""

import re
from itertools import product
from pathlib import Path

import nbformat
import numpy as np
import pytest

from bncourse.exercises import dropout_order, ghost_batch_norm
from bncourse.reference import RunningStatistics, batch_norm
from tests.exercises import dropout_mistakes, ghost_mistakes
from tests.exercises.bank import SEEDS, verdict

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "book/5_regularization/exercises.ipynb"
ghost_forward, variance_shift = ghost_batch_norm.solution_function, dropout_order.solution_function


def page_code(exercise):
    """The code that the page offers to paste once the exercise has passed."""
    name = f"{exercise.id.replace('_', '-')}-help"
    (cell,) = (cell for cell in nbformat.read(PAGE, as_version=4).cells if cell.id == name)
    (code,) = re.findall(r"```python\n(.*?)```", cell.source, re.DOTALL)
    assert max(map(len, code.splitlines())) <= 72, "it would scroll"
    return code


def batch(seed=5, examples=12, features=3):
    rng = np.random.default_rng(seed)
    x = rng.normal(rng.uniform(-3, 3, features), 2, (examples, features))
    return x, *rng.uniform(0.5, 2, (4, features))


def test_one_group_is_ordinary_batch_norm():
    x, gamma, beta, mean, var = batch()
    y, *kept = ghost_forward(x, gamma, beta, mean, var, len(x), momentum=0.3, eps=1e-3)
    statistics = RunningStatistics(3, momentum=0.3)
    statistics.mean, statistics.var = mean, var
    statistics.update(x)
    np.testing.assert_allclose(y, batch_norm(x, gamma, beta, 1e-3)[0], rtol=1e-12)
    np.testing.assert_allclose(kept, [statistics.mean, statistics.var], rtol=1e-12)


@pytest.mark.parametrize("group", [2, 3, 4, 6, 12])
def test_ghost_batches_are_those_of_the_laboratory(group):
    """Catches an exercise that teaches other ghost batches than the experiments of chapter 5.2 use."""
    torch = pytest.importorskip("torch")
    from bncourse.lab.stacked import EPS, MOMENTUM, Normalization, StackedBatchNorm

    x, gamma, beta, mean, var = batch()
    layer = StackedBatchNorm(3, [0], Normalization(group=group), stream=0)
    with torch.no_grad():
        for name, value in {"gamma": gamma, "beta": beta, "running_mean": mean, "running_var": var}.items():
            target = layer.get_buffer(name) if name.startswith("running") else layer.get_parameter(name)
            target.copy_(torch.tensor(value).view(target.shape))
        y = layer(torch.tensor(x.T[np.newaxis], dtype=torch.float32))[0].T
    wanted = ghost_forward(x, gamma, beta, mean, var, group, momentum=MOMENTUM, eps=EPS)
    for ours, theirs in zip(wanted, (y, layer.running_mean[0], layer.running_var[0]), strict=True):
        np.testing.assert_allclose(theirs.numpy(), ours, rtol=1e-4, atol=1e-5)


def running_variances(function, capsys):
    """The last column of what the page prints, by group size."""
    exec(page_code(ghost_batch_norm), {"np": np, "ghost_forward": function})
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    for group, largest, bound, _ in rows:
        assert float(largest) <= float(bound) == round(np.sqrt(int(group) - 1), 1)
    return {int(row[0]): float(row[-1]) for row in rows}


def test_what_is_kept_does_not_depend_on_the_group_size(capsys):
    variances = running_variances(ghost_forward, capsys)
    assert list(variances) == [2, 4, 8, 16, 64]
    assert all(3.8 < var < 4.2 for var in variances.values())


@pytest.mark.parametrize("name", ["biased_kept", "kept_summed"])
def test_on_the_page_a_mistake_in_what_is_kept_shows(name, capsys):
    assert not 3.5 < running_variances(ghost_mistakes.SINGLES[name], capsys)[2] < 4.5


def small_network(rng, order, units=2, examples=7):
    """Inputs, and what each layer of a random network does: a function of the values of a layer and of a mask."""
    linear = iter(rng.normal(size=(order.count("linear"), units, units)))
    weights, steps = [], []
    for layer in order:
        if layer == "linear":
            w, bias = next(linear), rng.normal(size=units)
            weights.append(w)
            steps.append(lambda h, d, w=w, bias=bias: h @ w.T + bias)
        elif layer == "relu":
            steps.append(lambda h, d: np.maximum(h, 0))
        elif layer == "dropout":
            steps.append(lambda h, d: h * d)
        else:
            steps.append(lambda h, d: (h - h.mean(axis=0)) / h.std(axis=0) + 0.5)
    return rng.normal(1, 2, (examples, units)), np.array(weights), steps


def over_all_masks(order, shares, steps, inputs, end):
    """The variance that reaches layer ``end`` from the batch norm before, over examples and masks, by enumeration."""
    start = max((i + 1 for i in range(end) if order[i] == "batch_norm"), default=0)
    places = [i for i in range(start, end) if order[i] == "dropout"]
    share = dict(zip([i for i, layer in enumerate(order) if layer == "dropout"], shares, strict=True))
    units = inputs[0].shape[1]
    first, second = 0.0, 0.0
    for kept in product([False, True], repeat=len(places) * units):
        masks = dict(zip(places, np.reshape(kept, (len(places), units)), strict=True))
        chance = np.prod([np.where(mask, 1 - share[i], share[i]) for i, mask in masks.items()])
        h = inputs[start]
        for i in range(start, end):
            h = steps[i](h, masks[i] / (1 - share[i]) if i in masks else None)
        first, second = first + chance * h.mean(axis=0), second + chance * (h**2).mean(axis=0)
    return second - first**2


def orders():
    return {probe.name: probe.arguments["layers"] for probe in dropout_order.make_probes(np.random.default_rng(0))}


def predicted_and_counted(function, order, seed):
    """What a function predicts for a network of this order, and what all its masks come to."""
    rng = np.random.default_rng(seed)
    shares = np.array([0.3, 0.6])[: order.count("dropout")]
    x, weights, steps = small_network(rng, order)
    inputs = [x]
    for step in steps:
        inputs.append(step(inputs[-1], 1.0))
    received = np.array(inputs[:-1])
    predicted = function(order, shares, weights, received.mean(axis=1), received.var(axis=1))
    ends = [i for i, layer in enumerate(order) if layer == "batch_norm"]
    return predicted, [over_all_masks(order, shares, steps, inputs, end) / received[end].var(axis=0) for end in ends]


@pytest.mark.parametrize("name", orders())
def test_the_prediction_is_exact_over_all_masks(name):
    for seed in range(3):
        predicted, counted = predicted_and_counted(variance_shift, orders()[name], seed)
        np.testing.assert_allclose(predicted, counted, rtol=1e-10)


@pytest.mark.parametrize("name", dropout_mistakes.SINGLES)
def test_a_mistake_is_not_what_masks_come_to(name):
    """Catches a fault that is none: one whose prediction is right as well."""
    wrong = dropout_mistakes.SINGLES[name]
    results = [predicted_and_counted(wrong, order, seed=1) for order in orders().values()]
    assert any(not np.allclose(predicted, counted, rtol=1e-3) for predicted, counted in results)


def test_only_behind_the_last_batch_norm_a_dropout_leaves_all_of_them_alone():
    for seed in SEEDS:
        for probe in dropout_order.make_probes(np.random.default_rng(seed)):
            safe = np.array_equal(variance_shift(**probe.arguments), np.ones_like(variance_shift(**probe.arguments)))
            assert safe == (probe.name == "behind the last batch norm")


def test_the_table_shows_the_order_of_the_layers():
    """Catches a table in which a learner cannot see which network was right."""
    for mistake, wrong in (
        ("relu_ignored", "on both sides of a ReLU"),
        ("squared_one_by_one", "before two linear layers"),
    ):
        rows = {row[0]: row for row in verdict(dropout_order, dropout_mistakes.SINGLES[mistake], 0).table.rows}
        assert rows[wrong][-1] == "differs"
        assert rows["behind the last batch norm"][-1] == "agrees"
        assert rows["before the ReLU"][1].startswith("layers linear batch_norm dropout relu linear batch_norm linear, ")


def test_on_the_page_prediction_and_measurement_agree_and_two_orders_are_one_network(capsys):
    exec(page_code(dropout_order), {"np": np, "variance_shift": variance_shift})
    rows = [line.split()[-2:] for line in capsys.readouterr().out.splitlines()[1:]]
    (right_before, *_), *others = rows
    for predicted, measured in rows:
        assert float(measured) == pytest.approx(float(predicted), rel=0.02)
    assert others[0][0] == others[1][0] < right_before
