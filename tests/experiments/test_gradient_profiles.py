"""The profiles of gradients for the interactive figure: networks, placement, and what theory knows of them."""

import dataclasses
import math
from itertools import product

import numpy as np
import pytest
import torch

from bncourse.experiments.gradient_profiles import (
    NETWORKS,
    NORMS,
    Cell,
    Outcome,
    Profile,
    Settings,
    build,
    log_ratio,
    profile,
    recorded,
    run,
)
from bncourse.lab import digits
from bncourse.lab.stacked import StackedBatchNorm, StackedLayerNorm
from bncourse.lab.training import batch_indices

SMALL = Cell("plain", "none", "relu", 5, 16, 20, (1, 2, 3))


def cell(**changes) -> Cell:
    return dataclasses.replace(SMALL, **changes)


@pytest.mark.parametrize(
    ("network", "norm"), [pair for pair in product(NETWORKS, NORMS) if pair[0] == "plain" or "after" not in pair[1]]
)
def test_each_network_has_the_norm_and_the_order_that_its_name_says(network, norm):
    kind = {"b": StackedBatchNorm, "l": StackedLayerNorm}.get(norm[0])
    modules = list(build(cell(network=network, norm=norm)).modules())
    norms = [module for module in modules if isinstance(module, StackedBatchNorm | StackedLayerNorm)]
    assert all(type(module) is kind for module in norms)
    assert len(norms) == (5 if kind else 0)
    if kind and network == "plain":
        names = [type(module).__name__ for module in modules]
        first = names.index(kind.__name__)
        assert (first < names.index("Activation")) == ("before" in norm)


def test_the_ratios_are_those_of_a_network_written_out():
    network, data = build(cell(activation="tanh")), digits()
    rows = next(batch_indices(len(data.train_x), 20, SMALL.seeds))
    found = log_ratio(cell(activation="tanh"))
    assert found.shape == (3, 5)
    for member in range(3):
        h, outputs = data.train_x[rows[member]].double(), []
        for weight in network.weights[:-1]:
            h = torch.tanh(h @ weight[member].double().T)
            outputs.append(h)
        logits = h @ network.weights[-1][member].double().T
        loss = torch.nn.functional.cross_entropy(logits, data.train_y[rows[member]])
        norms = np.array([gradient.norm().item() for gradient in torch.autograd.grad(loss, outputs)])
        assert found[member] == pytest.approx(np.log10(norms / norms[-1]), abs=1e-5)


def test_theorys_growth_with_batch_norm_and_relu_is_met_and_layer_norms_is_none():
    wide = {"depth": 10, "width": 128, "batch_size": 200, "seeds": tuple(range(8))}
    growth = {
        norm: log_ratio(cell(norm=norm, **wide)).mean(axis=0) for norm in ("batch norm before", "layer norm before")
    }
    assert growth["batch norm before"][0] / 9 == pytest.approx(math.log10(math.pi / (math.pi - 1)) / 2, abs=0.012)
    assert abs(growth["layer norm before"][0]) < 0.1


def test_a_profile_is_mean_and_interval_over_the_seeds():
    one = profile(SMALL)
    values = log_ratio(SMALL)
    assert one.mean == pytest.approx(values.mean(axis=0), abs=6e-4)
    assert all(low <= mean <= high for low, mean, high in zip(one.low, one.mean, one.high, strict=True))
    assert one.mean[-1] == one.low[-1] == one.high[-1] == 0


def test_a_run_has_every_network_once():
    outcome = run(Settings(activations=("relu",), depths=(2, 3), width=8, batch_size=10, seeds=(1, 2)))
    assert [len(each.mean) for each in outcome.profiles] == [each.depth for each in outcome.profiles]
    kinds = {(each.network, each.norm, each.depth) for each in outcome.profiles}
    assert len(kinds) == len(outcome.profiles) == (5 + 3 + 3) * 2


def test_the_record_was_made_with_the_settings_of_the_code():
    outcome, settings = recorded(), Settings()
    assert isinstance(outcome, Outcome)
    assert isinstance(outcome.profiles[0], Profile)
    assert outcome.seeds == len(settings.seeds)
    assert {each.activation for each in outcome.profiles} == set(settings.activations)
    assert {each.depth for each in outcome.profiles} == set(settings.depths)
    assert len(outcome.profiles) == 11 * len(settings.activations) * len(settings.depths)


def test_the_chapters_answers_about_the_figure():
    """What chapter 6.2 says a reader should have seen."""
    found = {(each.network, each.norm, each.activation): each for each in recorded().profiles if each.depth == 40}
    relu, sigmoid = ({norm: found["plain", norm, name].mean[0] for norm in NORMS} for name in ("relu", "sigmoid"))
    assert abs(relu["layer norm before"]) < 0.2
    growing = [relu[norm] for norm in ("batch norm before", "batch norm after", "layer norm after")]
    assert 3 < min(growing) < max(growing) < 1.1 * min(growing)
    assert {norm for norm in NORMS if abs(sigmoid[norm]) < 1} == {*NORMS} - {"none", "layer norm before"}
    assert max(sigmoid["none"], sigmoid["layer norm before"]) < -10
    for network in [*NETWORKS][1:]:
        bare, normed = (np.array(found[network, norm, "relu"].mean) for norm in ("none", "batch norm before"))
        steps = -np.diff(bare)
        assert steps.max() < 1.3 * steps.min()
        assert normed[19] < normed[0] / 3
