"""Recurrent ensembles compute what PyTorch's recurrent networks do, and with a norm what its papers say."""

import numpy as np
import pytest
import torch
from torch import nn

from bncourse.lab import RecurrentEnsemble, digits, train
from bncourse.lab.networks import initial_weights
from bncourse.lab.recurrent import CELLS, NORMS

SEEDS = (5, 6, 7)
MEMBER, INPUTS, UNITS, STEPS = 1, 16, 5, 4
BATCH_NORMS = ("input", "shared", "per_step")


def recurrent(cell: str, norm: str | None, seeds=SEEDS, **options) -> RecurrentEnsemble:
    return RecurrentEnsemble((INPUTS, UNITS, 10), seeds, norm, cell=cell, **options)


def distorted(cell: str, norm: str | None) -> RecurrentEnsemble:
    """Every parameter away from its start, where zeros and ones would hide mistakes."""
    network = recurrent(cell, norm)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return network


def batch(seed: int = 1, size: int = 24) -> torch.Tensor:
    return torch.randn(3, size, 64, generator=torch.Generator().manual_seed(seed)) + 0.5


class Reference:
    """One member, step by step, with a module of PyTorch for every norm: (B, F), from the equations and parameters."""

    def __init__(self, network: RecurrentEnsemble, cell: str, norm: str | None):
        self.network, self.cell, self.norm = network, cell, norm
        layer = network.layers[0]
        self.norms = {
            name: [self._module(module) for _ in range(STEPS if norm == "per_step" else 1)]
            for name, module in (("input", layer.input_norm), ("state", layer.state_norm), ("cell", layer.cell_norm))
            if module is not None
        }

    def _module(self, ours) -> nn.Module:
        features = ours.gamma.shape[1]
        module = nn.LayerNorm(features) if self.norm == "layer" else nn.BatchNorm1d(features)
        module.weight.data = ours.gamma[MEMBER, :, 0].detach().clone()
        if ours.beta is not None:
            module.bias.data = ours.beta[MEMBER, :, 0].detach().clone()
        return module

    def normalize(self, name: str, values, step: int):
        if name not in self.norms:
            return values
        return self.norms[name][step % len(self.norms[name])](values)

    def __call__(self, x):
        layer = self.network.layers[0]
        parts = x[MEMBER].split(INPUTS, dim=1)
        from_input = [part @ layer.input.weight[MEMBER].T for part in parts]
        if self.norm == "input":
            from_input = self.norms["input"][0](torch.cat(from_input)).split(len(x[MEMBER]))
        h = c = torch.zeros(len(x[MEMBER]), UNITS)
        for step, values in enumerate(from_input):
            if self.norm != "input":
                values = self.normalize("input", values, step)
            total = values + self.normalize("state", h @ layer.state.weight[MEMBER].T, step)
            if layer.state.bias is not None:
                total = total + layer.state.bias[MEMBER, :, 0]
            if self.cell == "lstm":
                i, f, g, o = total.split(UNITS, dim=1)
                c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
                h = torch.sigmoid(o) * torch.tanh(self.normalize("cell", c, step))
            else:
                h = getattr(torch, self.cell)(total)
        return h @ self.network.output.weight[MEMBER].T + self.network.output.bias[MEMBER, :, 0]

    def eval(self):
        for modules in self.norms.values():
            for module in modules:
                module.eval()


@pytest.mark.parametrize("cell", CELLS)
def test_without_a_norm_a_member_is_pytorchs_recurrent_network(cell):
    """Catches rows read as columns, gates in another order, and a state that is not the last."""
    network, x = distorted(cell, None), batch()
    layer = network.layers[0]
    theirs = nn.LSTM(INPUTS, UNITS) if cell == "lstm" else nn.RNN(INPUTS, UNITS, nonlinearity=cell)
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(layer.input.weight[MEMBER])
        theirs.weight_hh_l0.copy_(layer.state.weight[MEMBER])
        theirs.bias_ih_l0.copy_(layer.state.bias[MEMBER, :, 0])
        theirs.bias_hh_l0.zero_()
    states, _ = theirs(x[MEMBER].reshape(-1, STEPS, INPUTS).transpose(0, 1))
    expected = states[-1] @ network.output.weight[MEMBER].T + network.output.bias[MEMBER, :, 0]
    ours = network(x)[MEMBER].T
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
    direction = torch.randn(ours.shape, generator=torch.Generator().manual_seed(2))
    found = torch.autograd.grad((ours * direction).sum(), [layer.input.weight, layer.state.weight])
    expected = torch.autograd.grad((expected * direction).sum(), [theirs.weight_ih_l0, theirs.weight_hh_l0])
    for mine, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mine[MEMBER], other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("norm", [norm for norm in NORMS if norm])
@pytest.mark.parametrize("cell", CELLS)
def test_with_a_norm_a_member_is_the_equations_with_pytorchs_norms(cell, norm):
    """Catches statistics over the wrong axes or steps, in training and, after two batches, in inference."""
    network = distorted(cell, norm)
    reference = Reference(network, cell, norm)
    for seed in (1, 2):
        x = batch(seed)
        torch.testing.assert_close(network(x)[MEMBER].T, reference(x), rtol=1e-3, atol=1e-4)
    ours, theirs = network(x)[MEMBER, 0].sum(), reference(x)[:, 0].sum()
    weight = network.layers[0].state.weight
    found, expected = (torch.autograd.grad(total, weight)[0][MEMBER] for total in (ours, theirs))
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-4)
    network.eval(), reference.eval()
    torch.testing.assert_close(network(x)[MEMBER].T, reference(x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("cell", CELLS)
def test_shared_statistics_differ_from_those_of_each_step_in_inference_alone(cell):
    shared, per_step, x = distorted(cell, "shared"), distorted(cell, "per_step"), batch()
    assert torch.equal(shared(x), per_step(x))
    shared.eval(), per_step.eval()
    assert (shared(x) - per_step(x)).abs().max() > 0.05


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("cell", CELLS)
def test_a_member_does_not_know_who_trains_beside_it(cell, norm):
    """Catches a statistic that members share, and buffers that a subset mixes up."""
    rates = [0.01, 0.04, 0.02]
    together = recurrent(cell, norm)
    seen = train(together, digits(), rates, steps=4, batch_size=40)
    some = recurrent(cell, norm, (7, 5))
    history = train(some, digits(), [0.02, 0.01], steps=4, batch_size=40)
    np.testing.assert_allclose(history.batch_loss, seen.batch_loss[[2, 0]], rtol=1e-4)
    x = batch()[[0, 1]]
    torch.testing.assert_close(together.subset([2, 0])(x), some(x), rtol=1e-3, atol=1e-4)


def test_a_member_that_diverges_leaves_the_others_alone():
    alone, beside = recurrent("relu", "per_step", (5, 7)), recurrent("relu", "per_step")
    expected = train(alone, digits(), [0.01, 0.02], steps=8, batch_size=40)
    with torch.no_grad():
        beside.weights[1][1, 0, 0] = torch.nan
    seen = train(beside, digits(), [0.01, 0.01, 0.02], steps=8, batch_size=40)
    assert np.isnan(seen.batch_loss[1]).all()
    np.testing.assert_allclose(seen.batch_loss[[0, 2]], expected.batch_loss, rtol=1e-4)


def test_weights_start_as_in_other_ensembles_and_the_forget_gate_open():
    for cell, variance in (("tanh", 1.0), ("relu", 2.0)):
        layer = RecurrentEnsemble((16, 300, 10), SEEDS, None, cell=cell).layers[0]
        assert layer.input.weight.var().item() == pytest.approx(variance / 16, rel=0.05)
        assert layer.state.weight.var().item() == pytest.approx(variance / 300, rel=0.05)
    first = recurrent("tanh", "layer").layers[0].input.weight
    assert torch.equal(first, initial_weights((INPUTS, UNITS, 10), SEEDS, 1.0)[0])
    for norm in (None, "per_step"):
        layer = recurrent("lstm", norm, gamma=0.1).layers[0]
        bias = layer.state_norm.beta if norm else layer.state.bias
        assert bias[0, :, 0].tolist() == [0.0] * UNITS + [1.0] * UNITS + [0.0] * 2 * UNITS
    gammas = [parameter for name, parameter in recurrent("lstm", "per_step", gamma=0.1).named_parameters()]
    assert sum(bool((values == 0.1).all()) for values in gammas) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"widths": (8, 10)}, r"widths of a step's inputs, hidden units and classes, got \(8, 10\)"),
        ({"widths": (7, 5, 10)}, "inputs of a step that divide the image's 64 pixels, got 7"),
        ({"norm": "batch"}, "norm to be one of None, 'input', 'shared', 'per_step', 'layer', got 'batch'"),
        ({"cell": "gru"}, "cell to be one of 'tanh', 'relu', 'lstm', got 'gru'"),
        ({"seeds": ()}, "at least one seed"),
    ],
)
def test_errors_name_the_argument_and_what_it_got(arguments, message):
    with pytest.raises(ValueError, match=message):
        RecurrentEnsemble(**{"widths": (8, 5, 10), "seeds": SEEDS, "norm": None, **arguments})
