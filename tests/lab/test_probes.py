"""Probes read what their equations say, and leave the network that they look at as it was."""

import numpy as np
import pytest
import torch
from torch import nn

from bncourse.lab import (
    Activations,
    CovariateShift,
    Curvature,
    Gradients,
    Landscape,
    MLPEnsemble,
    Normalization,
    Perturbation,
    Probe,
    Stream,
    Weights,
    digits,
    measure,
    train,
)
from bncourse.lab.landscape import lanczos

WIDTHS = (64, 12, 12, 12, 10)
SEEDS = (5, 6, 7)
ALL = (Activations(), Gradients(), Weights(), CovariateShift(), Landscape(), Curvature(iterations=4))
NOISY = Normalization(noise=Perturbation(0.3, 1.2))


def batch(members: int = 3, size: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(members, size, 64, generator=generator) + 0.5, torch.randint(
        10, (members, size), generator=generator
    )


def mean_losses(network: MLPEnsemble, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(network(x), y, reduction="none").mean(dim=1)


@pytest.mark.parametrize("probe", ALL, ids=lambda probe: probe.name)
@pytest.mark.parametrize(
    "options",
    [
        {"batch_norm": NOISY, "dropout": 0.2},
        {"batch_norm": True, "residual": "pre", "branch_scale": 0.0},
        {"batch_norm": False, "activation": "tanh"},
    ],
    ids=["noise", "residual", "tanh"],
)
def test_training_with_a_probe_is_training_without(probe, options):
    """Catches running statistics that a probe's forward pass moves, numbers it draws, weights it does not put back."""
    plain, probed = (MLPEnsemble(WIDTHS, SEEDS, **options) for _ in range(2))
    first = train(plain, digits(), [0.05] * 3, steps=5)
    second = train(probed, digits(), [0.05] * 3, steps=5, probes=[probe])
    assert (first.batch_loss == second.batch_loss).all()
    assert (first.validation_accuracy == second.validation_accuracy).all()
    for one, other in zip(plain.state_dict().values(), probed.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    assert plain.random_state() == probed.random_state()
    for trace in second.traces.values():
        assert trace.values.shape[:2] == (3, 5)
        # A branch that SkipInit has closed has no gradient to compare with in step 1.
        assert np.isfinite(trace.values[:, 1 if "branch_scale" in options else 0 :]).all()


@pytest.mark.parametrize("probe", ALL, ids=lambda probe: probe.name)
def test_a_reading_depends_on_its_own_member_alone(probe):
    x, y = batch()
    options = {"dropout": 0.2}
    together = measure(probe, MLPEnsemble(WIDTHS, SEEDS, NOISY, **options), x, y, rate=0.1)
    alone = measure(probe, MLPEnsemble(WIDTHS, SEEDS[1:2], NOISY, **options), x[1:2], y[1:2], rate=0.1)
    assert together.keys() == alone.keys()
    for quantity, values in together.items():
        np.testing.assert_allclose(alone[quantity][0], values[1], rtol=2e-3, atol=1e-5, err_msg=quantity)


def test_measuring_leaves_a_network_as_it_was():
    network = MLPEnsemble(WIDTHS, SEEDS, NOISY, dropout=0.2).eval()
    before, state = {name: value.clone() for name, value in network.state_dict().items()}, network.random_state()
    for probe in ALL:
        measure(probe, network, *batch(), rate=0.1)
    assert not network.training
    assert network.random_state() == state
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(("activation", "low", "high"), [("tanh", -0.97, 0.97), ("sigmoid", 0.015, 0.985)])
def test_activations_are_those_of_the_hidden_layers(activation, low, high):
    network, (x, y) = MLPEnsemble(WIDTHS, SEEDS, True, activation=activation, gain=9.0), batch()
    with torch.no_grad():
        for layer in network.layers:
            layer.norm.gamma.mul_(torch.tensor([1.0, 2.0, 4.0])[:, None, None])
    found = measure(Activations(), network, x, y)
    h = network.enter(x)
    for number, layer in enumerate(network.layers):
        h = layer(h)
        for member in range(3):
            values = h[member].detach().double().numpy()
            assert found["activation_mean"][member, number] == pytest.approx(values.mean(), rel=1e-5, abs=1e-7)
            assert found["activation_std"][member, number] == pytest.approx(values.std(), rel=1e-5)
            assert found["saturated"][member, number] == ((values < low) | (values > high)).mean()
    assert (found["saturated"][1:] > 0.02).all()
    assert "saturated" not in measure(Activations(), MLPEnsemble(WIDTHS, SEEDS, True), x, y)


def test_activations_are_read_where_the_function_returns_them_even_if_batch_norm_follows():
    network = MLPEnsemble(WIDTHS, SEEDS, True, activation="sigmoid", order=("activation", "norm", "dropout"))
    found = measure(Activations(), network, *batch())
    assert (found["activation_mean"] > 0.3).all()
    before_output = MLPEnsemble(WIDTHS, SEEDS, True, residual="pre")
    # Before each of two branches, and before the output.
    assert measure(Activations(), before_output, *batch())["activation_mean"].shape == (3, 3)


@pytest.mark.parametrize("kind", ["pre", "post"])
def test_the_stream_is_what_flows_between_the_blocks(kind):
    """Catches a branch before its scale, the mean of one sum's terms for their squares, and a way that is cut above."""
    options = {"residual": kind, "branch_scale": (0.3, 1.0, 2.0)}
    network, (x, y) = MLPEnsemble(WIDTHS, SEEDS, True, **options), batch()
    found = measure(Stream(), network, x, y)
    assert {quantity: values.shape for quantity, values in found.items()} == {
        "stream_mean": (3, 3),
        "stream_square": (3, 3),
        "branch_share": (3, 2),
        "straight_share": (3, 3),
    }
    for member in range(3):
        alone = MLPEnsemble(WIDTHS, SEEDS[member : member + 1], True, residual=kind)
        h, sums = alone.layers[0](alone.enter(x[member : member + 1])).detach(), []
        for number in (0, 1, 2):
            if number:
                change = options["branch_scale"][member] * alone.layers[number].branch(h).detach()
                parts = h.square().sum().item(), change.square().sum().item()
                assert found["branch_share"][member, number - 1] == pytest.approx(parts[1] / sum(parts), rel=1e-4)
                sums.append(h + change)
                h = torch.relu(sums[-1]) if kind == "post" else sums[-1]
            assert found["stream_mean"][member, number] == pytest.approx(h.mean().item(), rel=1e-3, abs=1e-5)
            assert found["stream_square"][member, number] == pytest.approx(h.square().mean().item(), rel=1e-4)
        uncut = [(sums[0] > 0) & (sums[1] > 0), sums[1] > 0]
        expected = [*(part.double().mean().item() for part in uncut), 1] if kind == "post" else [1, 1, 1]
        assert found["straight_share"][member] == pytest.approx(expected, abs=1e-3)
        assert kind == "pre" or 0.1 < expected[0] < expected[1] < 0.9


def test_only_a_residual_network_has_a_stream():
    for options in ({"batch_norm": True}, {"batch_norm": False, "activation": "tanh"}):
        with pytest.raises(ValueError, match="expected a residual network"):
            measure(Stream(), MLPEnsemble(WIDTHS, SEEDS, **options), *batch())


def test_measuring_a_stream_changes_nothing():
    plain, probed = (MLPEnsemble(WIDTHS, SEEDS, True, residual="post") for _ in range(2))
    first = train(plain, digits(), [0.05] * 3, steps=5)
    second = train(probed, digits(), [0.05] * 3, steps=5, probes=[Stream()])
    assert (first.batch_loss == second.batch_loss).all()
    assert second.traces["branch_share"].values.shape == (3, 5, 2)
    assert all(
        torch.equal(*pair) for pair in zip(plain.state_dict().values(), probed.state_dict().values(), strict=True)
    )


def test_gradients_are_the_norms_of_autograds():
    """One member again, as a stack of PyTorch's modules whose outputs keep their gradients."""
    network, (x, y) = MLPEnsemble(WIDTHS, SEEDS, True), batch()
    found = measure(Gradients(), network, x, y)
    member, h, outputs, weights = 1, x[1], [], []
    for weight in network.weights[:-1]:
        weights.append(weight[member].detach().clone().requires_grad_())
        h = torch.relu(nn.BatchNorm1d(12)(h @ weights[-1].T))
        h.retain_grad()
        outputs.append(h)
    weights.append(network.weights[-1][member].detach().clone().requires_grad_())
    nn.functional.cross_entropy(h @ weights[-1].T, y[member]).backward()
    expected = [tensor.grad.norm().item() for tensor in outputs]
    np.testing.assert_allclose(found["activation_gradient"][member], expected, rtol=1e-3)
    np.testing.assert_allclose(found["weight_gradient"][member], [w.grad.norm().item() for w in weights], rtol=1e-3)


def test_weights_turn_by_the_angle_that_geometry_says():
    network, (x, y) = MLPEnsemble(WIDTHS, SEEDS, True), batch()
    found = measure(Weights(), network, x, y, rate=3.0)
    loss = mean_losses(network, x, y).sum()
    for layer, (weight, gradient) in enumerate(
        zip(network.weights, torch.autograd.grad(loss, network.weights), strict=True)
    ):
        for member in range(3):
            old = weight[member].detach().double().numpy().ravel()
            update = -3.0 * gradient[member].double().numpy().ravel()
            cosine = old @ (old + update) / np.linalg.norm(old) / np.linalg.norm(old + update)
            assert found["weight_norm"][member, layer] == pytest.approx(np.linalg.norm(old), rel=1e-5)
            relative = np.linalg.norm(update) / np.linalg.norm(old)
            assert found["relative_update"][member, layer] == pytest.approx(relative, rel=1e-3)
            assert found["angle"][member, layer] == pytest.approx(np.arccos(cosine), rel=1e-3)
    # A scale-invariant layer's gradient is perpendicular to its weights, so that a small step's angle is its size.
    small = measure(Weights(), network, x, y, rate=1e-7)
    np.testing.assert_allclose(small["angle"][:, :-1], small["relative_update"][:, :-1], rtol=1e-3)


def test_covariate_shift_updates_the_layers_below_and_no_others():
    """Catches an update of the layer itself, of one layer below instead of all, and of weights alone."""
    rate, layer = 0.5, 2
    network, (x, y) = MLPEnsemble(WIDTHS, SEEDS, True), batch()
    found = measure(CovariateShift(), network, x, y, rate)
    names = [name for name, _ in network.named_parameters()]
    gradients = dict(
        zip(names, torch.autograd.grad(mean_losses(network, x, y).sum(), list(network.parameters())), strict=True)
    )
    before = gradients[f"layers.{layer}.linear.weight"]
    after_network = MLPEnsemble(WIDTHS, SEEDS, True)
    below = [name for name in names if name.startswith(("layers.0.", "layers.1."))]
    assert any("gamma" in name for name in below)
    with torch.no_grad():
        for name, parameter in after_network.named_parameters():
            if name in below:
                parameter.sub_(rate * gradients[name])
    after = torch.autograd.grad(mean_losses(after_network, x, y).sum(), after_network.weights[layer])[0]
    change = (after - before).flatten(1).norm(dim=1)
    cosine = nn.functional.cosine_similarity(after.flatten(1), before.flatten(1))
    np.testing.assert_allclose(found["gradient_change"][:, layer], change, rtol=1e-3)
    norms = before.flatten(1).norm(dim=1)
    np.testing.assert_allclose(found["relative_gradient_change"][:, layer], change / norms, rtol=1e-3)
    np.testing.assert_allclose(found["gradient_cosine"][:, layer], cosine, rtol=1e-4)
    assert (found["gradient_change"][:, 0] == 0).all()
    assert (found["gradient_cosine"][:, 0] == 1).all()

    def first_two(of: MLPEnsemble) -> torch.Tensor:
        return of.layers[1](of.layers[0](of.enter(x))).detach()

    old, new = first_two(network), first_two(after_network)
    alive = old.std(dim=2) > 0
    moved = (new.mean(dim=2) - old.mean(dim=2)) / old.std(dim=2, correction=0)
    for member in range(3):
        expected = moved[member][alive[member]].square().mean().sqrt().item()
        assert found["input_drift"][member, 1] == pytest.approx(expected, rel=1e-3)


def test_without_an_update_there_is_no_shift_even_in_a_noisy_network():
    """Catches gradients that are compared under different draws of the noise."""
    found = measure(CovariateShift(), MLPEnsemble(WIDTHS, SEEDS, NOISY, dropout=0.3), *batch(), rate=0.0)
    assert (found["gradient_change"] == 0).all()
    assert (found["input_drift"] == 0).all()


def test_the_landscape_is_the_loss_along_the_gradient():
    network, (x, y) = MLPEnsemble(WIDTHS, SEEDS, True), batch()
    found = measure(Landscape(multiples=(0.5, 3.0)), network, x, y, rate=0.2)
    before = torch.autograd.grad(mean_losses(network, x, y).sum(), list(network.parameters()))
    moved = MLPEnsemble(WIDTHS, SEEDS, True)
    with torch.no_grad():
        for parameter, gradient in zip(moved.parameters(), before, strict=True):
            parameter.sub_(0.6 * gradient)
    loss = mean_losses(moved, x, y)
    after = torch.autograd.grad(loss.sum(), list(moved.parameters()))
    squares = sum((one - two).flatten(1).square().sum(dim=1) for one, two in zip(after, before, strict=True))
    length = 0.6 * sum(gradient.flatten(1).square().sum(dim=1) for gradient in before).sqrt()
    weights = sum(weight.detach().flatten(1).square().sum(dim=1) for weight in network.weights)
    np.testing.assert_allclose(found["loss_along"][:, 1], loss.detach(), rtol=1e-4)
    np.testing.assert_allclose(found["gradient_distance"][:, 1], squares.sqrt(), rtol=1e-3)
    np.testing.assert_allclose(found["smoothness"][:, 1], squares.sqrt() / length, rtol=1e-3)
    np.testing.assert_allclose(found["scaled_smoothness"][:, 1], squares.sqrt() / length * weights, rtol=1e-3)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_curvature_is_the_hessians_own(batch_norm):
    """Catches a Hessian of all members together, and batch norm whose statistics are held fixed."""
    widths, seeds = (4, 3, 3), (1, 2)
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 30, 4, generator=generator), torch.randint(3, (2, 30), generator=generator)
    network = MLPEnsemble(widths, seeds, batch_norm, activation="tanh", gain=2.0)
    count = sum(parameter[0].numel() for parameter in network.parameters())
    found = measure(Curvature(iterations=count), network, x, y)
    for member in range(2):
        alone = network.subset([member])
        shapes = [parameter.shape for parameter in alone.parameters()]

        def loss(*parameters, alone=alone, member=member):
            named = dict(zip(dict(alone.named_parameters()), parameters, strict=True))
            logits = torch.func.functional_call(alone, named, (x[member : member + 1],))
            return nn.functional.cross_entropy(logits, y[member : member + 1])

        hessian = torch.autograd.functional.hessian(loss, tuple(p.detach() for p in alone.parameters()))
        sizes = [shape.numel() for shape in shapes]
        rows = [
            torch.cat([block.reshape(a, b) for block, b in zip(row, sizes, strict=True)], 1)
            for row, a in zip(hessian, sizes, strict=True)
        ]
        eigenvalues = torch.linalg.eigvalsh(torch.cat(rows).double())
        assert found["largest_curvature"][member] == pytest.approx(eigenvalues[-1].item(), rel=1e-3)
        assert found["smallest_curvature"][member] == pytest.approx(eigenvalues[0].item(), rel=1e-2, abs=1e-3)


def test_lanczos_finds_both_ends_and_survives_a_member_at_nan():
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(3, 60, 60, generator=generator, dtype=torch.float64)).Q
    values = torch.cat([torch.tensor([-9.0]), torch.linspace(-1, 1, 58), torch.tensor([20.0])]).double()
    matrix = basis @ torch.diag(values) @ basis.mT
    matrix[1, 0, 0] = torch.nan
    start = torch.randn(3, 60, generator=generator, dtype=torch.float64)
    found = lanczos(lambda vector: torch.einsum("spq,sq->sp", matrix, vector), start, 15)
    assert found[[0, 2], 0].tolist() == pytest.approx([-9, -9])
    assert found[[0, 2], -1].tolist() == pytest.approx([20, 20])
    assert found[1].isnan().all()


def test_a_probe_is_asked_at_its_own_steps_and_reads_nothing_of_a_diverged_member():
    network = MLPEnsemble(WIDTHS, SEEDS, False)
    probes = [Weights(every=3), Landscape(every=5, multiples=(1.0, 2.0))]
    history = train(network, digits(), [0.02, 1e6, 0.03], steps=9, probes=probes)
    weights, along = history.traces["weight_norm"], history.traces["loss_along"]
    assert weights.steps.tolist() == [1, 4, 7]
    assert (weights.axis, list(weights.labels)) == ("layer", [1, 2, 3, 4])
    assert along.steps.tolist() == [1, 6]
    assert (along.axis, list(along.labels)) == ("multiple", [1.0, 2.0])
    assert np.isfinite(weights.values[[0, 2]]).all()
    assert np.isnan(weights.values[1, 2]).all()
    first = MLPEnsemble(WIDTHS, SEEDS, False).weights[2][2].norm().item()
    frame = history.frame()
    row = frame[(frame.quantity == "weight_norm") & (frame.seed == 7) & (frame.step == 1) & (frame.layer == 3)]
    assert row["value"].item() == pytest.approx(first)
    row = frame[(frame.quantity == "loss_along") & (frame.seed == 7) & (frame.step == 6) & (frame.multiple == 2.0)]
    assert row["value"].item() == along.values[2, 1, 1]
    assert frame[frame.quantity == "batch_loss"][["layer", "multiple"]].isna().all(axis=None)


def test_a_probe_sees_what_the_step_then_does():
    """Catches updates that leave out the velocity or the decay."""
    network = MLPEnsemble(WIDTHS, SEEDS, True)
    options = {"steps": 6, "probes": [Weights()], "weight_decay": 0.02}
    trace = train(network, digits(), [0.1] * 3, **options).traces
    shorter = MLPEnsemble(WIDTHS, SEEDS, True)
    train(shorter, digits(), [0.1] * 3, steps=5, weight_decay=0.02)
    moved = (network.weights[1] - shorter.weights[1]).flatten(1).norm(dim=1) / shorter.weights[1].flatten(1).norm(dim=1)
    np.testing.assert_allclose(trace["relative_update"].values[:, 5, 1], moved.detach(), rtol=1e-3)


class TwoRows(Probe):
    name, every = "two rows", 1

    def measure(self, step):
        return {"weight_norm": torch.zeros(2, 4)}


def test_errors_name_the_probe():
    network = MLPEnsemble(WIDTHS, SEEDS, False)
    with pytest.raises(ValueError, match=r"weight_norm of the probe two rows to have 3 rows.* got shape \(2, 4\)"):
        train(network, digits(), [0.1] * 3, steps=1, probes=[TwoRows()])
    with pytest.raises(ValueError, match="one probe to read weight_norm, got two: weights and two rows"):
        train(network, digits(), [0.1] * 3, steps=1, probes=[Weights(), TwoRows()])


def test_lanczos_invents_no_eigenvalues_where_a_matrix_has_few():
    """Zero outside a corner, as the Hessian of a network of dead units: what is left of vectors is rounding."""
    matrix = torch.zeros(40, 40, dtype=torch.float64)
    corner = torch.randn(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    matrix[:5, :5] = corner @ corner.T
    start = torch.randn(3, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = lanczos(lambda vector: vector @ matrix, start, 20)
    largest = torch.linalg.eigvalsh(matrix)[-1]
    assert found[:, 0].abs().max() < 1e-9
    assert found[:, -1].numpy() == pytest.approx(float(largest), rel=1e-9)
