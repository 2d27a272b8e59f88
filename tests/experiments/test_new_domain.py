"""The experiment of chapter 7.4: adaptation and fine-tuning against networks of torch.nn, and its fairness."""

import dataclasses
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

from bncourse.experiments import new_domain
from bncourse.experiments.new_domain import REDUCED, Outcome, Settings, measure
from bncourse.experiments.new_domain.adaptation import (
    accuracy_in_batches,
    adapt,
    by_class,
    drawn_orders,
    own_accuracy,
    recalibrated,
)
from bncourse.experiments.new_domain.fine_tuning import fine_tune
from bncourse.experiments.new_domain.settings import WAYS
from bncourse.lab import Interval, MLPEnsemble, accuracy, corrupted_digits, digits, train
from bncourse.lab.stacked import StackedBatchNorm
from bncourse.layers import recalibrate
from tests.experiments.common import read_again

pytestmark = pytest.mark.slow

SEEDS = (3, 4)
DATA = digits()


@pytest.fixture(scope="module")
def reduced() -> Outcome:
    return new_domain.run(REDUCED)


@pytest.fixture
def network() -> MLPEnsemble:
    stack = MLPEnsemble((64, 12, 9, 10), SEEDS, batch_norm=True)
    train(stack, DATA, [0.1] * 2, 30, 50, evaluate_every=30)
    return stack


def single(stack: MLPEnsemble, member: int) -> nn.Sequential:
    """One member as a network of torch.nn."""
    blocks: list[nn.Module] = []
    for layer in stack.layers:
        linear, norm = nn.Linear(layer.linear.weight.shape[2], layer.linear.weight.shape[1], bias=False), layer.norm
        linear.weight = nn.Parameter(layer.linear.weight[member].detach().clone())
        own = nn.BatchNorm1d(len(linear.weight))
        own.weight = nn.Parameter(norm.gamma[member, :, 0].detach().clone())
        own.bias = nn.Parameter(norm.beta[member, :, 0].detach().clone())
        own.running_mean, own.running_var = norm.running_mean[member].clone(), norm.running_var[member].clone()
        blocks += [linear, own, nn.ReLU()]
    output = nn.Linear(blocks[-3].weight.shape[0], 10)
    output.weight = nn.Parameter(stack.output.weight[member].detach().clone())
    output.bias = nn.Parameter(stack.output.bias[member, :, 0].detach().clone())
    return nn.Sequential(*blocks, output).eval()


def norms(stack: MLPEnsemble) -> list[StackedBatchNorm]:
    return [module for module in stack.modules() if isinstance(module, StackedBatchNorm)]


def own_batches(count: int) -> torch.Tensor:
    """Other images for each member, of another domain than that of the statistics."""
    x = corrupted_digits("glare").validation_x
    return torch.stack([x[:count], x[count : 2 * count]])


def test_without_a_prior_the_batch_is_read_as_in_training_mode(network):
    x = own_batches(20)
    with torch.no_grad(), network.preserved():
        expected = network.train()(x)
    torch.testing.assert_close(adapt(network, x), expected, rtol=1e-4, atol=1e-4)


def test_a_prior_counts_as_so_many_examples(network):
    """Catches shares that are exchanged, and layers behind the first that see what the old statistics make."""
    x, prior = own_batches(20), 5
    members = [single(network, number) for number in range(2)]
    logits = adapt(network, x, prior)
    for member, (model, own) in enumerate(zip(members, x, strict=True)):
        h = own
        for block in model:
            if isinstance(block, nn.BatchNorm1d):
                var, mean = torch.var_mean(h, dim=0, correction=0)
                block.running_mean = 0.2 * block.running_mean + 0.8 * mean
                block.running_var = 0.2 * block.running_var + 0.8 * var
            h = block(h).detach()
        torch.testing.assert_close(logits[member].T, h, rtol=1e-4, atol=1e-4)


def test_statistics_of_a_sample_are_those_of_recalibrate(network):
    """Catches the biased variance, and statistics that stay."""
    x = own_batches(30)
    before = [value.clone() for value in network.buffers()]
    models = [recalibrate(single(network, member), x[member].split(11)) for member in range(2)]
    with recalibrated(network, x):
        found = [[norm.running_mean.clone(), norm.running_var.clone()] for norm in norms(network)]
    for member, model in enumerate(models):
        own = [block for block in model if isinstance(block, nn.BatchNorm1d)]
        for (mean, var), norm in zip(found, own, strict=True):
            torch.testing.assert_close(mean[member], norm.running_mean, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(var[member], norm.running_var, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(*pair) for pair in zip(network.buffers(), before, strict=True))
    assert not any(norm._forward_pre_hooks for norm in norms(network))


def test_every_batch_is_read_by_itself_and_in_the_members_own_order(network):
    """Catches statistics that one batch leaves to the next, and rows of one member that are given to another."""
    data = corrupted_digits("haze")
    orders = drawn_orders(500, SEEDS)[:, :75]
    found = accuracy_in_batches(network, data.test_x, data.test_y, orders, 20, prior=7)
    for member in range(2):
        right = 0
        for rows in orders[member, :60].split(20):
            alone = network.subset([member])
            right += (adapt(alone, data.test_x[rows][None], 7)[0].argmax(0) == data.test_y[rows]).sum().item()
        assert found[member] == right / 60
    whole = accuracy_in_batches(network, DATA.test_x, DATA.test_y, orders, 75, prior=1e9)
    expected = own_accuracy(network, DATA.test_x[orders], DATA.test_y[orders])
    np.testing.assert_allclose(whole, expected, atol=0.014)


def test_orders_belong_to_seeds_and_can_be_sorted_by_class():
    orders = drawn_orders(500, (5, 6, 5))
    assert torch.equal(orders[0], orders[2])
    assert not torch.equal(orders[0], orders[1])
    classes = by_class(orders, DATA.test_y)
    for row, in_classes in zip(orders, classes, strict=True):
        assert torch.equal(DATA.test_y[in_classes], DATA.test_y.sort().values)
        zeros = row[DATA.test_y[row] == 0]
        assert torch.equal(in_classes[: len(zeros)], zeros)


@pytest.mark.parametrize("way", ["training mode", "frozen", "affine"])
def test_fine_tuning_is_torchs(network, way):
    """SGD of each member on its own images, in the mode that was asked for, and of the parameters that may learn."""
    x = own_batches(12)
    y = corrupted_digits("glare").validation_y[:24].reshape(2, 12)
    rates, training = (0.05, 0.02), way == "training mode"
    models = [single(network, member) for member in range(2)]
    fine_tune(network, x, y, rates, 2, 4, 0.9, training_mode=training, affine_only=way == "affine")
    for member, model in enumerate(models):
        learning = [
            parameter
            for module in model.train(training)
            for parameter in module.parameters()
            if way != "affine" or isinstance(module, nn.BatchNorm1d)
        ]
        optimizer = torch.optim.SGD(learning, rates[member], momentum=0.9)
        generator = np.random.default_rng([SEEDS[member], 8, 1])
        for _ in range(2):
            for rows in torch.from_numpy(generator.permutation(12)).split(4):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x[member, rows]), y[member, rows]).backward()
                optimizer.step()
        after = single(network, member)
        for (name, one), (_, other) in zip(after.state_dict().items(), model.state_dict().items(), strict=True):
            if "num_batches" not in name:
                torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4, msg=lambda text, name=name: name + text)


def test_a_network_that_diverges_scores_nothing_and_leaves_the_others(network):
    x = own_batches(12)
    y = corrupted_digits("glare").validation_y[:24].reshape(2, 12)
    alone = deepcopy(network)
    fine_tune(network, x, y, (1e30, 0.01), 3, 4, 0.9, training_mode=True)
    fine_tune(alone, x, y, (0.01, 0.01), 3, 4, 0.9, training_mode=True)
    assert accuracy(network, DATA.test_x, DATA.test_y)[0] == 0
    assert accuracy(network, DATA.test_x, DATA.test_y)[1] == accuracy(alone, DATA.test_x, DATA.test_y)[1]


def test_affine_domains_give_what_the_clean_one_gives(reduced):
    """Catches statistics of another sample, and a domain that is centred by itself."""
    for clean, haze in zip(*(reduced.recalibrated["MLP"][domain] for domain in ("clean", "haze")), strict=True):
        assert haze.estimate == pytest.approx(clean.estimate, abs=0.002)
    for size in ("4", "100"):
        clean, haze = (reduced.adapted[domain][size][0].estimate for domain in ("clean", "haze"))
        assert haze == pytest.approx(clean, abs=0.002)
    assert reduced.recalibrated["MLP"]["negative"][-1].estimate < 0.05
    assert reduced.sorted["clean"][0].estimate < 0.5 < reduced.clean["MLP"].estimate


def test_a_run_ends_in_intervals_for_everything(reduced):
    for network in new_domain.NETWORKS:
        assert reduced.kept[network].keys() == set(REDUCED.domains)
        assert {len(row) for row in reduced.recalibrated[network].values()} == {3}
    for by_size in reduced.adapted.values():
        assert [len(by_size[size]) for size in ("4", "100")] == [2, 2]
    (domain,) = REDUCED.fine_tuning_domains
    ways = reduced.fine_tuned[domain]
    assert set(ways) == set(WAYS)
    pairs = {
        "new statistics": ("recalibrated", "frozen"),
        "batches' statistics": ("batches", "recalibrated"),
        "taken afterwards": ("batches, recalibrated", "batches"),
        "gamma and beta alone": ("affine", "recalibrated"),
    }
    assert reduced.differences[domain].keys() == pairs.keys()
    for name, (first, second) in pairs.items():
        for difference, one, other in zip(reduced.differences[domain][name], ways[first], ways[second], strict=True):
            assert isinstance(difference, Interval)
            assert difference.estimate == pytest.approx(one.estimate - other.estimate)


def test_rates_are_tuned_without_the_test_seeds_and_the_test_part(reduced, monkeypatch):
    settings = dataclasses.replace(REDUCED, test_seeds=(13, 14), domains=("haze",), priors=(0,), examples=(4,))

    def without_test_part(name):
        data = corrupted_digits(name)
        return dataclasses.replace(data, test_x=torch.zeros_like(data.test_x))

    monkeypatch.setattr(measure, "corrupted_digits", without_test_part)
    other = new_domain.run(settings)
    assert (other.tuned, other.fine_tuning_tuned) == (reduced.tuned, reduced.fine_tuning_tuned)
    assert other.fine_tuned["haze"]["affine"][0].estimate < 0.2


def test_tuning_scores_none_of_the_images_that_were_trained_on(monkeypatch):
    asked = []

    def recording(network, x, y):
        asked.append(x)
        return np.zeros(len(x))

    monkeypatch.setattr(measure, "own_accuracy", recording)
    source = measure.Source(REDUCED, "MLP", (0.125, 0.125), (14500, 14501))
    measure.score_fine_tuning(measure.FineTuning(source, "haze", "frozen", 40, (0.01, 0.02), "validation"))
    (x,) = asked
    assert x.shape == (4, 257, 64)
    validation = corrupted_digits("haze").validation_x
    for member, seed in enumerate((14500, 14501) * 2):
        labelled = validation[drawn_orders(297, (seed,))[0, :40]]
        assert not (x[member][:, None] == labelled).all(dim=2).any()


def test_a_run_survives_its_record(reduced, tmp_path):
    assert read_again(new_domain, REDUCED, reduced, tmp_path) == reduced


def test_seeds_of_the_recorded_run_are_fresh_and_apart():
    full = Settings()
    assert len(full.test_seeds) >= 24
    assert not {*full.tuning_seeds, *full.test_seeds} & {*range(900, 1000), *REDUCED.tuning_seeds, *REDUCED.test_seeds}
    with pytest.raises(ValueError, match="tuning_seeds and test_seeds to have none in common"):
        dataclasses.replace(full, tuning_seeds=full.test_seeds[:1])
    with pytest.raises(ValueError, match="fine_tuning_batch_sizes to divide 40"):
        dataclasses.replace(full, fine_tuning_batch_sizes=(3,))
