"""An ensemble trains as its members would alone, and as PyTorch's own modules do."""

from itertools import islice

import numpy as np
import pytest
import torch
from torch import nn

from bncourse.lab import MLPEnsemble, Split, accuracy, digits, mean_loss, train
from bncourse.lab import training as training_module
from bncourse.lab.networks import initial_weights
from bncourse.lab.training import batch_indices

WIDTHS = (64, 17, 23, 10)


def plain_network(ensemble: MLPEnsemble, member: int) -> nn.Sequential:
    """One member, as a stack of PyTorch's modules that starts from the member's weights."""
    layers: list[nn.Module] = []
    last = len(ensemble.weights) - 1
    for layer, weight in enumerate(ensemble.weights):
        linear = nn.Linear(weight.shape[2], weight.shape[1], bias=layer == last or not ensemble.batch_norm)
        linear.weight.data = weight[member].detach().clone()
        if linear.bias is not None:
            nn.init.zeros_(linear.bias)
        layers.append(linear)
        if layer != last:
            layers += [nn.BatchNorm1d(weight.shape[1])] if ensemble.batch_norm else []
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_member_trains_as_a_plain_module_under_torchs_sgd(batch_norm):
    """Catches statistics over the wrong axis, a velocity that forgets, a bias in the wrong place."""
    data, rate, steps = digits(), 0.03, 20
    ensemble = MLPEnsemble(WIDTHS, [3, 4], batch_norm)
    module = plain_network(ensemble, member=1)
    optimizer = torch.optim.SGD(module.parameters(), lr=rate, momentum=0.9)
    losses = []
    for rows in islice(batch_indices(len(data.train_x), 40, [4]), steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(module(data.train_x[rows[0]]), data.train_y[rows[0]])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    module.eval()
    right = (module(data.validation_x).argmax(dim=1) == data.validation_y).double().mean().item()

    history = train(ensemble, data, [0.5, rate], steps, batch_size=40)
    # Twenty steps of float32 in another order of summation; a wrong term differs in the first digit.
    np.testing.assert_allclose(history.batch_loss[1], losses, rtol=1e-3)
    assert history.validation_accuracy[1, -1] == pytest.approx(right, abs=1.5 / len(data.validation_x))
    linears = [layer for layer in module if isinstance(layer, nn.Linear)]
    for weight, linear in zip(ensemble.weights, linears, strict=True):
        torch.testing.assert_close(weight[1], linear.weight, rtol=1e-2, atol=1e-4)
    if batch_norm:
        normalizations = [layer for layer in module if isinstance(layer, nn.BatchNorm1d)]
        for layer, normalization in enumerate(normalizations):
            ours = ensemble.layers[layer].norm
            torch.testing.assert_close(ours.running_var[1], normalization.running_var, rtol=1e-2, atol=1e-3)
            torch.testing.assert_close(ours.gamma[1, :, 0], normalization.weight, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_member_does_not_know_who_trains_beside_it(batch_norm):
    seeds, rates = [5, 6, 7, 8], [0.01, 0.1, 0.02, 0.05]
    together = train(MLPEnsemble(WIDTHS, seeds, batch_norm), digits(), rates, steps=15)
    for member in (1, 3):
        alone = train(MLPEnsemble(WIDTHS, [seeds[member]], batch_norm), digits(), [rates[member]], steps=15)
        np.testing.assert_allclose(alone.batch_loss[0], together.batch_loss[member], rtol=1e-4)
        np.testing.assert_allclose(alone.validation_accuracy[0], together.validation_accuracy[member], atol=1.5 / 297)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_not_a_number_stays_in_its_member(batch_norm):
    """Catches a loss that is averaged, or gradients that are clipped, over members."""
    network = MLPEnsemble(WIDTHS, [1, 2, 3], batch_norm)
    with torch.no_grad():
        network.weights[0][1, 0, 0] = torch.nan
    history = train(network, digits(), [0.05] * 3, steps=10)
    assert np.isnan(history.batch_loss[1]).all()
    assert (history.validation_accuracy[1] == 0).all()
    healthy = train(MLPEnsemble(WIDTHS, [1, 3], batch_norm), digits(), [0.05] * 2, steps=10)
    np.testing.assert_allclose(history.batch_loss[[0, 2]], healthy.batch_loss, rtol=1e-4)


def test_results_follow_neither_the_stack_nor_the_threads():
    """Bit by bit, from two members on; a single one may take another path through the matrix product."""
    seeds, rates = [5, 6, 7, 8, 9], [0.01, 0.1, 0.02, 0.05, 0.03]
    together = train(MLPEnsemble(WIDTHS, seeds, True), digits(), rates, steps=12)
    for chosen in ([1, 3], [0, 2, 4]):
        some = MLPEnsemble(WIDTHS, [seeds[member] for member in chosen], True)
        history = train(some, digits(), [rates[member] for member in chosen], steps=12)
        assert (history.batch_loss == together.batch_loss[chosen]).all()
    torch.set_num_threads(2)
    try:
        threaded = train(MLPEnsemble(WIDTHS, seeds, True), digits(), rates, steps=12)
    finally:
        torch.set_num_threads(1)
    assert (threaded.batch_loss == together.batch_loss).all()


def test_decay_pulls_on_weights_alone_and_hidden_weights_may_have_a_rate_of_their_own():
    """Catches decay of biases, gamma and beta, and one that the velocity does not see. Against torch's groups."""
    data, steps = digits(), 15
    ensemble = MLPEnsemble(WIDTHS, [3, 4], True)
    module = plain_network(ensemble, member=1)
    linears = [layer for layer in module if isinstance(layer, nn.Linear)]
    rest = [p for name, p in module.named_parameters() if p.ndim == 1]
    groups = [
        {"params": [layer.weight for layer in linears[:-1]], "lr": 0.08, "weight_decay": 0.05},
        {"params": [linears[-1].weight], "lr": 0.02, "weight_decay": 0.05},
        {"params": rest, "lr": 0.02},
    ]
    optimizer = torch.optim.SGD(groups, lr=1.0, momentum=0.8)
    losses = []
    for rows in islice(batch_indices(len(data.train_x), 40, [4]), steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(module(data.train_x[rows[0]]), data.train_y[rows[0]])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    history = train(ensemble, data, [0.1, 0.02], steps, 40, 0.8, weight_decay=(0.0, 0.05), hidden_rates=[0.1, 0.08])
    np.testing.assert_allclose(history.batch_loss[1], losses, rtol=1e-3)
    for weight, linear in zip(ensemble.weights, linears, strict=True):
        torch.testing.assert_close(weight[1], linear.weight, rtol=1e-2, atol=1e-4)
    undecayed = MLPEnsemble(WIDTHS, [3, 4], True)
    train(undecayed, data, [0.1, 0.02], steps, 40, 0.8, hidden_rates=[0.1, 0.08])
    torch.testing.assert_close(ensemble.weights[0][0], undecayed.weights[0][0], rtol=1e-4, atol=1e-6)
    assert (ensemble.weights[0][1].norm() < 0.97 * undecayed.weights[0][1].norm()).item()


def test_full_statistics_are_those_of_all_training_images_and_the_loss_is_the_batchs():
    data, seeds = digits(), [3, 4]
    module = plain_network(MLPEnsemble(WIDTHS, seeds, True), member=1)
    rows = next(batch_indices(len(data.train_x), 40, [4]))[0]
    expected = nn.functional.cross_entropy(module(data.train_x)[rows], data.train_y[rows])
    ensemble = MLPEnsemble(WIDTHS, seeds, True)
    history = train(ensemble, data, [0.1, 0.1], 2, 40, full_statistics=True)
    assert history.batch_loss[1, 0] == pytest.approx(expected.item(), rel=1e-4)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    expected.backward()
    optimizer.step()
    rows = list(islice(batch_indices(len(data.train_x), 40, [4]), 2))[1][0]
    after = nn.functional.cross_entropy(module(data.train_x)[rows], data.train_y[rows])
    assert history.batch_loss[1, 1] == pytest.approx(after.item(), rel=1e-3)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_diverged_member_costs_nothing_more_and_changes_no_other(batch_norm, monkeypatch):
    """Catches members that change places, velocities that stay behind, and a stack that never gets smaller."""
    seeds, rates = [1, 2, 3, 4], [0.05, 1e3 if not batch_norm else 1e30, 0.02, 0.03]
    sizes = []

    def counted(network, batch, original=training_module.losses):
        sizes.append(len(network.seeds))
        return original(network, batch)

    monkeypatch.setattr(training_module, "losses", counted)
    network = MLPEnsemble(WIDTHS, seeds, batch_norm)
    history = train(network, digits(), rates, steps=25)
    lost = int(history.diverged_at[1])
    assert 2 <= lost < 20
    assert sizes == [4] * lost + [3] * (25 - lost)
    assert history.diverged_at[[0, 2, 3]].tolist() == [np.inf] * 3
    assert np.isnan(history.batch_loss[1, lost:]).all()
    assert (history.validation_accuracy[1, lost:] == 0).all()
    assert all(parameter[1].isnan().all() for parameter in network.parameters())
    assert accuracy(network, digits().test_x, digits().test_y)[1] == 0
    chosen = [0, 2, 3]
    alone = MLPEnsemble(WIDTHS, [1, 3, 4], batch_norm)
    healthy = train(alone, digits(), [0.05, 0.02, 0.03], steps=25)
    assert (history.batch_loss[chosen] == healthy.batch_loss).all()
    assert (history.validation_accuracy[chosen] == healthy.validation_accuracy).all()
    for ours, theirs in zip(network.state_dict().values(), alone.state_dict().values(), strict=True):
        assert torch.equal(ours[chosen], theirs)


def test_training_ends_early_where_all_have_diverged():
    history = train(MLPEnsemble(WIDTHS, [1, 2], False), digits(), [1e6, 1e7], steps=40, evaluate_every=10)
    assert (history.diverged_at < 10).all()
    assert history.batch_loss.shape == (2, 40)
    assert history.validation_accuracy.tolist() == [[0] * 4] * 2


def test_a_table_has_a_row_for_each_value():
    history = train(MLPEnsemble(WIDTHS, [7, 9], False), digits(), [0.01, 1e6], steps=6, evaluate_every=3)
    frame = history.frame()
    assert list(frame.columns) == ["member", "seed", "rate", "step", "quantity", "value"]
    assert len(frame) == 2 * 6 + 2 * 2
    row = frame[(frame.quantity == "batch_loss") & (frame.seed == 7) & (frame.step == 4)]
    assert row["value"].item() == history.batch_loss[0, 3]
    assert row["rate"].item() == 0.01
    row = frame[(frame.quantity == "validation_accuracy") & (frame.member == 0) & (frame.step == 3)]
    assert row["value"].item() == history.validation_accuracy[0, 0]
    assert frame[(frame.member == 1) & (frame.quantity == "batch_loss")]["value"].isna().any()


def test_there_is_a_bar_only_where_asked_for(capsys):
    for progress in (False, True):
        train(MLPEnsemble(WIDTHS, [1], False), digits(), [0.01], steps=2, progress=progress)
        shown = capsys.readouterr()
        assert shown.out == ""
        assert ("2/2" in shown.err) == progress


def test_mean_loss_is_cross_entropy_in_inference():
    data = digits()
    network = MLPEnsemble(WIDTHS, [1, 2], True)
    train(network, data, [0.05, 0.1], steps=20)
    network.eval()
    logits = network(data.test_x.expand(2, -1, -1))[1].T
    expected = nn.functional.cross_entropy(logits, data.test_y).item()
    assert mean_loss(network, data.test_x, data.test_y)[1] == pytest.approx(expected, rel=1e-5)


def test_both_arms_of_a_seed_start_from_equal_weights_and_see_equal_batches():
    none, batch_norm = (MLPEnsemble(WIDTHS, [11, 12], arm) for arm in (False, True))
    for first, second in zip(none.weights, batch_norm.weights, strict=True):
        assert torch.equal(first, second)
        assert not torch.equal(first[0], first[1])


def test_weights_have_hes_variance_and_the_last_layer_half_of_it():
    first, last = initial_weights((400, 300, 200), range(3))
    assert first.shape == (3, 300, 400)
    assert first.var().item() == pytest.approx(2 / 400, rel=0.02)
    assert last.var().item() == pytest.approx(1 / 300, rel=0.02)


def test_an_epoch_shows_every_image_once_in_an_order_of_the_seeds_own():
    batches = torch.stack(list(islice(batch_indices(60, 20, [1, 2]), 6)), dim=1)
    for member in batches:
        first, second = member[:3].flatten(), member[3:].flatten()
        assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(60))
        assert first.tolist() != second.tolist()
    assert batches[0].tolist() != batches[1].tolist()
    alone = torch.stack(list(islice(batch_indices(60, 20, [2]), 6)), dim=1)
    assert torch.equal(alone[0], batches[1])


def test_accuracy_is_read_with_running_statistics():
    """Catches scoring in training mode, where a batch of one has no variance and another batch another score."""
    data = digits()
    network = MLPEnsemble(WIDTHS, [1], batch_norm=True)
    train(network, data, [0.05], steps=30)
    one_by_one = [accuracy(network, data.test_x[row : row + 1], data.test_y[row : row + 1])[0] for row in range(40)]
    assert accuracy(network, data.test_x[:40], data.test_y[:40])[0] == pytest.approx(np.mean(one_by_one))
    assert np.mean(one_by_one) > 0.6


def test_training_never_reads_the_test_part():
    data = digits()
    sealed = Split(
        data.train_x, data.train_y, data.validation_x, data.validation_y, data.test_x * torch.nan, data.test_y - 99
    )
    opened, closed = (train(MLPEnsemble(WIDTHS, [1], True), part, [0.05], steps=5) for part in (data, sealed))
    assert (opened.batch_loss == closed.batch_loss).all()


def test_evaluations_come_as_often_as_asked_and_after_the_last_step():
    history = train(MLPEnsemble(WIDTHS, [1], False), digits(), [0.01], steps=7, evaluate_every=3)
    assert history.evaluated_at.tolist() == [3, 6, 7]
    assert history.validation_accuracy.shape == (1, 3)
    assert history.batch_loss.shape == (1, 7)


def test_errors_name_the_argument_and_what_it_got():
    network = MLPEnsemble(WIDTHS, [1, 2], False)
    with pytest.raises(ValueError, match="one rate for each of 2 members, got 3 rates"):
        train(network, digits(), [0.1] * 3, steps=1)
    with pytest.raises(ValueError, match="one hidden rate for each of 2 members, got 1"):
        train(network, digits(), [0.1] * 2, steps=1, hidden_rates=[0.1])
    with pytest.raises(ValueError, match="one weight_decay, or one for each of 2 members"):
        train(network, digits(), [0.1] * 2, steps=1, weight_decay=[0.1] * 3)
    with pytest.raises(ValueError, match="batch_size between 1 and 1000, got 2000"):
        train(network, digits(), [0.1] * 2, steps=1, batch_size=2000)
    with pytest.raises(ValueError, match=r"widths to name the inputs and the classes at least, got \(64,\)"):
        MLPEnsemble([64], [1], False)
    with pytest.raises(ValueError, match="at least one seed, got none"):
        MLPEnsemble(WIDTHS, [], False)
