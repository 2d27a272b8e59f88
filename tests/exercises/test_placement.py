"""The exercises of part 6 say what holds for real networks, and a run tells right places from wrong ones."""

import re
from dataclasses import replace
from itertools import compress, product
from pathlib import Path

import nbformat
import numpy as np
import pytest

from bncourse.exercises import choose_placement, residual_branch
from bncourse.exercises.tasks.choose_placement import DRAWS, GOAL, WRONG
from bncourse.exercises.trials import NETWORKS, Add, Branch, QuickBatchNorm, Sigmoid, accuracy
from bncourse.reference import numeric_gradient
from bncourse.reference.network import BatchNorm, Linear, Network
from tests.exercises import branch_mistakes
from tests.exercises.bank import SEEDS, verdict

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "book/6_placement/exercises.ipynb"


def page_code(exercise):
    """The code that the page offers to paste."""
    name = f"{exercise.id.replace('_', '-')}-help"
    (cell,) = (cell for cell in nbformat.read(PAGE, as_version=4).cells if cell.id == name)
    (code,) = re.findall(r"```python\n(.*?)```", cell.source, re.DOTALL)
    assert max(map(len, code.splitlines())) <= 72, "it would scroll"
    return code


def test_streams_grow_by_the_factor_whatever_the_branch_and_the_depth(capsys):
    namespace = {"np": np, "initial_values": residual_branch.solution_function}
    exec(page_code(residual_branch), namespace)
    found = [float(line.rsplit(" ", 1)[1]) for line in capsys.readouterr().out.splitlines()]
    assert len(found) == 8
    assert max(abs(growth - 3) for growth in found) < 0.4


@pytest.mark.parametrize(
    ("name", "branch", "grows"),
    [
        ("norm_not_counted", "norm relu linear", 1.4),
        ("norm_assumed", "relu linear", 139),
        ("relu_not_counted", "relu linear scale", 1.75),
        ("root_missing", "linear norm", 1.7),
    ],
)
def test_with_a_mistake_they_grow_by_another(name, branch, grows):
    """Catches a fault that is none, and a page whose measurement would not show it."""
    namespace = {"np": np, "initial_values": branch_mistakes.SINGLES[name]}
    exec(page_code(residual_branch).split("rng = ")[0], namespace)
    growth = namespace["grown"](tuple(branch.split()), 16, 3.0, np.random.default_rng(0))
    assert 0.8 < growth / grows < 1.25
    assert abs(growth - 3) > 1


def gradients_of(branch, values, steps):
    """The largest gradient of each part of a branch around the identity, after some steps of training."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    x, target = torch.randn(2, 64, 8)
    parameters = []
    for part, value in zip((part for part in branch if part != "relu"), values, strict=True):
        shape = {"linear": (8, 8), "norm": (8,), "scale": ()}[part]
        start = value * torch.randn(shape) if part == "linear" else torch.full(shape, float(value))
        parameters.append(start.requires_grad_())
    for _ in range(steps + 1):
        z, left = x, iter(parameters)
        for part in branch:
            if part == "relu":
                z = torch.relu(z)
            elif part == "norm":
                z = torch.nn.functional.batch_norm(z, None, None, next(left), torch.zeros(8), training=True)
            else:
                z = z @ next(left) if part == "linear" else next(left) * z
        gradients = torch.autograd.grad((x + z - target).square().sum(), parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter -= 1e-3 * gradient
    return [gradient.abs().max().item() for gradient in gradients]


@pytest.mark.parametrize("probe", residual_branch.make_probes(np.random.default_rng(0)), ids=lambda probe: probe.name)
def test_from_the_identity_the_last_part_moves_first_and_then_all(probe):
    arguments = dict(probe.arguments) | {"growth": 1.0}
    values = residual_branch.solution_function(**arguments)
    first, later = (gradients_of(arguments["branch"], values, steps) for steps in (0, 2))
    assert max(first[:-1], default=0) == 0
    assert first[-1] > 0.1
    assert min(later) > 0


def test_a_gamma_of_zero_before_relu_is_a_dead_end():
    branch = ("norm", "relu", "linear")
    values = branch_mistakes.last_gamma(branch, np.array([8, 8]), 4, 1.0, 1.0)
    assert gradients_of(branch, values, 20) == [0, 0]


def test_the_gradients_of_a_network_with_a_branch_are_right():
    rng = np.random.default_rng(0)
    branch = Branch()
    layers = [Linear(5, 5, rng), branch, Sigmoid(), Linear(5, 5, rng), Add(branch), QuickBatchNorm(5), Sigmoid()]
    network = Network([*layers, Linear(5, 3, rng)])
    x, labels = rng.normal(size=(7, 5)), rng.integers(3, size=7)
    network.loss_and_gradients(x, labels)
    for layer in network.layers:
        for name, gradient in list(layer.gradients.items()):

            def loss(values, layer=layer, name=name):
                layer.parameters[name] = values
                return np.array(network.loss_and_gradients(x, labels))

            start = layer.parameters[name].copy()
            numeric = numeric_gradient(loss, start)
            layer.parameters[name] = start
            np.testing.assert_allclose(gradient, numeric, rtol=1e-4, atol=1e-8)


def test_the_quick_batch_norm_is_the_layer_of_the_package():
    rng = np.random.default_rng(0)
    quick, slow = QuickBatchNorm(4), BatchNorm(4)
    for layer in (quick, slow):
        layer.parameters = {"gamma": np.array([0.5, 1.5, -2, 1.2]), "beta": np.array([0.3, -0.4, 1, 0.6])}
    for examples in (2, 9):
        x, dy = rng.normal(3, 2, (2, examples, 4))
        np.testing.assert_allclose(quick.forward(x, training=True), slow.forward(x, training=True), rtol=1e-9)
        np.testing.assert_allclose(quick.backward(dy), slow.backward(dy), rtol=1e-6, atol=1e-9)
        for name, gradient in slow.gradients.items():
            np.testing.assert_allclose(quick.gradients[name], gradient, rtol=1e-9)
        np.testing.assert_allclose(quick.forward(x, training=False), slow.forward(x, training=False), rtol=1e-9)


RULES = {
    "nowhere": lambda layer, after: False,
    "everywhere": lambda layer, after: True,
    "before every activation": lambda layer, after: after in ("relu", "sigmoid"),
    "after every activation": lambda layer, after: layer in ("relu", "sigmoid"),
    "after every linear layer": lambda layer, after: layer == "linear",
    "at the end of every block": lambda layer, after: after == "",
}


@pytest.mark.parametrize("rule", RULES)
def test_no_rule_of_thumb_passes(rule):
    result = verdict(
        choose_placement,
        lambda block, blocks, batch: [RULES[rule](*pair) for pair in zip(block, (*block[1:], ""), strict=True)],
        seed=0,
    )
    assert result.outcome == "failed"
    assert {row[-1] for row in result.table.rows} <= {"works", "fails"}


def right_places(network, layers):
    """What the explanation says: any place in the sigmoid network, any in a branch, none with batches of two."""
    if network.batch == 2:
        return not layers
    inside = network.block[: network.block.index("add")] if "add" in network.block else network.block
    return bool(layers) and set(layers) <= set(inside)


# All draws on the schedule, with its many seeds; two in the everyday run.
@pytest.mark.parametrize("draw", range(DRAWS) if len(SEEDS) > DRAWS else (0, 3))
@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_every_answer_is_far_from_the_goal_on_the_side_where_it_belongs(network, draw):
    for places in product((0, 1), repeat=len(network.block)):
        reached = accuracy(network, places, draw)
        if right_places(network, tuple(compress(network.block, places))):
            assert reached > GOAL + 0.1, places
        else:
            assert reached < GOAL - 0.1, places


def test_with_ten_times_the_steps_one_of_two_learns_with_batch_norm_on_the_stream():
    """What the page says of wrong places."""
    post, pre = (replace(network, steps=10 * network.steps) for network in NETWORKS[1:3])
    assert accuracy(post, (0, 0, 1, 0), 0) < GOAL - 0.2
    assert accuracy(pre, (0, 0, 0, 1), 0) > GOAL


def test_what_is_known_to_be_wrong_is_wrong():
    for places in WRONG.values():
        for block, layers in places.items():
            (network,) = (network for network in NETWORKS if network.block == block)
            assert not right_places(network, layers)


def test_the_verdict_says_what_became_of_the_networks():
    result = verdict(choose_placement, lambda block, blocks, batch: np.zeros(len(block)), 0)
    assert set(result.faults) == {"sigmoid_bare", "residual_bare"}
    assert re.search(r"Without batch norm in its blocks, .* test accuracy of \d\d% in 80 steps; 75% is", result.message)
    assert "your network diverged; 75% is the goal. (probe: ReLU in the branch)" in result.message
    assert [row[-1] for row in result.table.rows] == ["fails", "fails", "fails", "works"]

    result = verdict(choose_placement, lambda block, blocks, batch: [0.5] * len(block), 0)
    assert "places holds other numbers than 1" in result.message


def test_the_run_decides_and_bad_luck_does_not_count_against_the_reference():
    """Catches a check that compares with one right answer of several, and one in which the solution may fail."""

    def learner(block, blocks, batch):
        return np.ones(len(block))

    probes = choose_placement.make_probes(np.random.default_rng(0))
    assert replace(choose_placement, run=lambda outputs, probe: "").verdict(learner, probes).outcome == "passed"
    unlucky = replace(choose_placement, run=lambda outputs, probe: "It did not learn.")
    assert unlucky.verdict(choose_placement.solution_function, probes).outcome == "passed"
    assert "It did not learn. (probe: sigmoid units)" in unlucky.verdict(learner, probes).message


def test_each_check_draws_other_runs():
    rng = np.random.default_rng(0)
    seeds = [tuple(probe.seed for probe in choose_placement.make_probes(rng)) for _ in range(20)]
    assert len(set(seeds)) > 15
    assert set().union(*seeds) == set(range(DRAWS))
    assert len({accuracy(NETWORKS[0], (1, 1), seed) for seed in range(DRAWS)}) > 1


@pytest.mark.parametrize("places", [[1], [1, 0, 0], [2, 0], [0.5, 0.5]])
def test_places_that_are_none_are_refused(places):
    with pytest.raises(ValueError, match="expected places to hold 0 or 1 for each of linear, sigmoid"):
        accuracy(NETWORKS[0], places, 0)


def test_the_page_trains_what_the_function_returns(capsys):
    namespace = {"place_norms": choose_placement.solution_function}
    code = page_code(choose_placement).replace("(1 / 4, 1, 4)", "(1,)").replace("range(3)", "range(1)")
    exec(code, namespace)
    lines = capsys.readouterr().out.splitlines()
    found = [float(line.rsplit(" ", 1)[1]) for line in lines if "rate" in line]
    assert len(found) == len(NETWORKS)
    assert min(found) > GOAL
