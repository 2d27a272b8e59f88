"""Every kind of ensemble computes what each member's equations say, and its members do not know of each other."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from bncourse.lab import ConvEnsemble, MLPEnsemble, Norm, Normalization, Perturbation, digits, train
from bncourse.lab.ensemble import Ensemble
from bncourse.lab.networks import initial_weights
from bncourse.lab.noise import GhostNoise, StackedDropout, StackedNoise
from bncourse.lab.norms import KINDS as NORMS
from bncourse.lab.stacked import StackedBatchNorm

pytestmark = pytest.mark.slow

WIDTHS = (64, 19, 19, 19, 10)
SEEDS = (5, 6, 7)

MLPS = {
    "no batch norm": {"batch_norm": False},
    "batch norm": {"batch_norm": True},
    "tanh": {"batch_norm": False, "activation": "tanh"},
    "sigmoid": {"batch_norm": True, "activation": "sigmoid"},
    "linear": {"batch_norm": True, "activation": "linear"},
    "after the activation": {"batch_norm": True, "order": ("activation", "norm", "dropout")},
    "residual after": {"batch_norm": True, "residual": "post"},
    "residual before": {"batch_norm": True, "residual": "pre"},
    "SkipInit": {"batch_norm": False, "residual": "pre", "branch_scale": 0.0},
    "SkipInit after": {"batch_norm": False, "residual": "post", "branch_scale": 0.0, "activation": "tanh"},
    "scaled": {"batch_norm": True, "residual": "pre", "branch_scale": 0.4, "sum_scale": 0.7},
    "scaled after": {"batch_norm": True, "residual": "post", "branch_scale": 0.4, "sum_scale": 0.7},
    "last gamma at zero": {"batch_norm": True, "residual": "post", "zero_last_gamma": True},
    "a bias too many": {"batch_norm": True, "bias": True},
    "no bias": {"batch_norm": False, "bias": False},
    "ghost batches": {"batch_norm": Normalization(group=8)},
    "gamma fixed": {"batch_norm": Normalization(gamma=0.4, learn_gamma=False)},
    "noise": {"batch_norm": Normalization(noise=Perturbation(0.5, 1.3))},
    "ghost noise": {"batch_norm": Normalization(ghost_noise=8)},
    "dropout": {"batch_norm": True, "dropout": 0.3},
    "dropout first": {"batch_norm": True, "dropout": (0.0, 0.4, 0.2), "order": ("activation", "dropout", "norm")},
}


def mlp(name: str, seeds=SEEDS) -> MLPEnsemble:
    return MLPEnsemble(WIDTHS, seeds, **MLPS[name])


def conv(batch_norm: bool, seeds=SEEDS) -> ConvEnsemble:
    return ConvEnsemble((1, 5, 7, 6), 10, seeds, batch_norm)


KINDS = {name: lambda seeds, name=name: mlp(name, seeds) for name in MLPS} | {
    f"convolutional {batch_norm}": lambda seeds, batch_norm=batch_norm: conv(batch_norm, seeds)
    for batch_norm in (False, True)
}
KINDS |= {
    f"convolutional {kind}": lambda seeds, kind=kind: ConvEnsemble((1, 4, 6), 10, seeds, norm=Norm(kind))
    for kind in NORMS
}


def distort(network: Ensemble) -> None:
    """Move every parameter away from its start, where zeros and ones would hide mistakes."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))


def batch(members: int, size: int = 24) -> torch.Tensor:
    return torch.randn(members, size, 64, generator=torch.Generator().manual_seed(1)) + 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_a_member_does_not_know_who_trains_beside_it(kind):
    """Catches a statistic, a random number or a gain that members share, or that follows the stack's size."""
    rates = [0.01, 0.04, 0.02]
    together = KINDS[kind](SEEDS)
    seen = train(together, digits(), rates, steps=6, batch_size=40)
    for chosen in ([1], [2, 1], [0, 0, 1, 2]):
        some = KINDS[kind]([SEEDS[member] for member in chosen])
        history = train(some, digits(), [rates[member] for member in chosen], steps=6, batch_size=40)
        np.testing.assert_allclose(history.batch_loss, seen.batch_loss[chosen], rtol=1e-4)
        for ours, theirs in zip(some.parameters(), together.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs[chosen], rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_not_a_number_stays_in_its_member(kind):
    network, healthy = KINDS[kind](SEEDS), KINDS[kind](SEEDS)
    with torch.no_grad():
        network.weights[1][1, 0, 0] = torch.nan
    x = batch(3)
    logits, expected = network(x), healthy(x)
    assert logits[1].isnan().any()
    torch.testing.assert_close(logits[[0, 2]], expected[[0, 2]])
    gradients = torch.autograd.grad(logits.square().sum(), list(network.parameters()))
    assert all(gradient[[0, 2]].isfinite().all() for gradient in gradients)


def normalized(h, norm: StackedBatchNorm, member: int):
    """By hand: (F, B) of one member, over the batch."""
    centred = h - h.mean(dim=1, keepdim=True)
    scale = (centred.square().mean(dim=1, keepdim=True) + 1e-5).sqrt()
    return norm.gamma[member] * centred / scale + norm.beta[member]


FUNCTIONS = {"relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "linear": lambda h: h}


def by_hand(name: str, network: MLPEnsemble, member: int, x):
    """Logits of one member, from the equations in the ensemble's docstring and its parameters alone."""
    option = {"activation": "relu", "order": ("norm", "activation"), "residual": None, **MLPS[name]}
    phi = FUNCTIONS[option["activation"]]
    norms = [module for module in network.modules() if isinstance(module, StackedBatchNorm)]
    biases = [linear.bias for linear in network._linears()]
    scales = [parameter[member] for key, parameter in network.named_parameters() if key.endswith("scale")]
    h = x[member].T

    def linear(layer, h):
        out = network.weights[layer][member] @ h
        return out if biases[layer] is None else out + biases[layer][member]

    def follow(layer, h):
        for step in option["order"]:
            if step == "norm" and option["batch_norm"]:
                h = normalized(h, norms[layer], member)
            if step == "activation":
                h = phi(h)
        return h

    for layer in range(3):
        alpha = scales[layer - 1] if layer and "branch_scale" in option else 1
        if option["residual"] == "pre":
            # Without a norm of its own in the first layer, the norms are those of layers 2, 3 and the head.
            position = layer - 1
            if layer == 0:
                h = linear(0, h)
            else:
                before = normalized(h, norms[position], member) if norms else h
                h = option.get("sum_scale", 1) * (h + alpha * linear(layer, phi(before)))
        elif option["residual"] == "post" and layer:
            branch = linear(layer, h)
            h = h + alpha * (normalized(branch, norms[layer], member) if norms else branch)
            h = phi(option.get("sum_scale", 1) * h)
        else:
            h = follow(layer, linear(layer, h))
    if option["residual"] == "pre":
        h = phi(normalized(h, norms[2], member) if norms else h)
    return linear(3, h)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, option in MLPS.items()
        if not {"dropout"} & set(option) and "nois" not in name and name != "ghost batches"
    ],
)
def test_a_network_is_the_one_of_its_equations(name):
    """Catches a norm on the wrong side of the activation, a branch that starts too early, a scale that is ignored."""
    network = mlp(name)
    distort(network)
    x = batch(3)
    for member in range(3):
        torch.testing.assert_close(network(x)[member], by_hand(name, network, member, x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_convolutional_member_is_a_stack_of_pytorchs_modules(batch_norm):
    """Catches channels and images that trade places, and statistics over examples alone."""
    network, member, x = conv(batch_norm), 1, batch(3)
    distort(network)
    modules: list[nn.Module] = []
    for number, layer in enumerate(network.layers):
        weight = layer.linear.weight[member]
        module = nn.Conv2d(
            weight.shape[1], weight.shape[0], 3, stride=2 if number else 1, padding=1, bias=not batch_norm
        )
        module.weight.data = weight.detach().clone()
        modules.append(module)
        if batch_norm:
            norm = nn.BatchNorm2d(weight.shape[0])
            norm.weight.data, norm.bias.data = (
                p[member, :, 0].detach().clone() for p in (layer.norm.gamma, layer.norm.beta)
            )
            modules.append(norm)
        else:
            module.bias.data = layer.linear.bias[member, :, 0].detach().clone()
        modules.append(nn.ReLU())
    last = nn.Linear(6 * 2 * 2, 10)
    last.weight.data, last.bias.data = network.output.weight[member], network.output.bias[member, :, 0]
    plain = nn.Sequential(*modules, nn.Flatten(), last)
    images = x[member].reshape(-1, 1, 8, 8)
    ours, theirs = network(x)[member].T, plain(images)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    direction = torch.randn(ours.shape, generator=torch.Generator().manual_seed(2))
    first = torch.autograd.grad((ours * direction).sum(), network.layers[0].linear.weight)[0][member]
    expected = torch.autograd.grad((theirs * direction).sum(), modules[0].weight)[0]
    torch.testing.assert_close(first, expected, rtol=1e-3, atol=1e-3)
    network.eval(), plain.eval()
    torch.testing.assert_close(network(x)[member].T, plain(images), rtol=1e-3, atol=1e-4)


def test_batch_norm_is_pytorchs_for_each_member_and_feature():
    seeds, features = (1, 2), 7
    ours = StackedBatchNorm(features, seeds, Normalization(), 0)
    distort(ours)
    theirs = [nn.BatchNorm1d(features) for _ in seeds]
    for member, module in enumerate(theirs):
        module.weight.data, module.bias.data = ours.gamma[member, :, 0], ours.beta[member, :, 0]
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        h = 3 * torch.randn(2, features, 20, generator=generator) + 4
        expected = torch.stack([module(values.T).T for module, values in zip(theirs, h, strict=True)])
        torch.testing.assert_close(ours(h), expected, rtol=1e-4, atol=1e-5)
    ours.eval()
    expected = torch.stack([module.eval()(values.T).T for module, values in zip(theirs, h, strict=True)])
    torch.testing.assert_close(ours(h), expected, rtol=1e-4, atol=1e-5)


def test_a_ghost_batch_is_a_batch_of_its_own():
    """Catches groups of every k-th example, and running statistics of the whole batch or of the last group."""
    layer = StackedBatchNorm(5, (1, 2), Normalization(group=6), 0)
    whole = StackedBatchNorm(5, (1, 2), Normalization(), 0)
    distort(layer)
    whole.load_state_dict(layer.state_dict())
    h = torch.randn(2, 5, 24, generator=torch.Generator().manual_seed(0)) * 2 + 1
    y = layer(h)
    means, variances = [], []
    for start in range(0, 24, 6):
        part = h[:, :, start : start + 6]
        torch.testing.assert_close(y[:, :, start : start + 6], whole(part), rtol=1e-3, atol=1e-4)
        means.append(part.mean(dim=2))
        variances.append(part.var(dim=2))
    torch.testing.assert_close(layer.running_mean, 0.1 * sum(means) / 4)
    torch.testing.assert_close(layer.running_var, 0.9 + 0.1 * sum(variances) / 4)
    layer.eval()
    expected = (h - layer.running_mean[..., None]) / (layer.running_var[..., None] + 1e-5).sqrt()
    torch.testing.assert_close(layer(h), layer.gamma * expected + layer.beta, rtol=1e-4, atol=1e-5)


def test_ghost_batches_must_fill_the_batch():
    for normalization in (Normalization(group=7), Normalization(ghost_noise=7)):
        with pytest.raises(ValueError, match="ghost batches of 7 fill, got a batch of 24"):
            StackedBatchNorm(5, (1, 2), normalization, 0)(torch.zeros(2, 5, 24))


def test_a_fixed_gamma_is_no_parameter_and_may_differ_between_members():
    network = MLPEnsemble(WIDTHS, SEEDS, Normalization(gamma=(0.1, 1.0, 5.0), learn_gamma=False))
    assert not any("gamma" in name for name, _ in network.named_parameters())
    norm = network.layers[0].norm
    h = torch.randn(3, 19, 40, generator=torch.Generator().manual_seed(0)) * 7
    torch.testing.assert_close(
        norm(h).std(dim=2, correction=0).mean(dim=1), torch.tensor([0.1, 1.0, 5.0]), rtol=1e-3, atol=0
    )
    train(network, digits(), [0.1] * 3, steps=3)
    assert norm.gamma[:, 0, 0].tolist() == pytest.approx([0.1, 1.0, 5.0])


def test_weights_have_the_variance_of_their_activation_and_the_gain_of_their_member():
    for variance in (2.0, 1.0):
        first, last = initial_weights((400, 300, 200), range(3), variance)
        assert first.var().item() == pytest.approx(variance / 400, rel=0.02)
        assert last.var().item() == pytest.approx(1 / 300, rel=0.02)
    plain = MLPEnsemble(WIDTHS, SEEDS, True, activation="tanh")
    assert torch.equal(plain.weights[1], initial_weights(WIDTHS, SEEDS, 1.0)[1])
    gained = MLPEnsemble(WIDTHS, SEEDS, True, activation="tanh", gain=(0.1, 1.0, 3.0), output_gain=2.0)
    for weight, reference in list(zip(gained.weights, plain.weights, strict=True))[:-1]:
        torch.testing.assert_close(weight, reference * torch.tensor([0.1, 1.0, 3.0])[:, None, None])
    torch.testing.assert_close(gained.weights[-1], 2 * plain.weights[-1])


@pytest.mark.parametrize("name", ["SkipInit", "last gamma at zero"])
def test_a_block_can_start_as_the_identity_and_leave_it(name):
    """Catches a gamma of 0 in the first layer, which would hand on nothing, and one that gets no gradient."""
    network, x = mlp(name), batch(3)
    first = network.layers[0](network.enter(x))
    assert first.abs().max() > 1
    assert torch.equal(network.layers[2](network.layers[1](first)), first)
    key = "scale" if name == "SkipInit" else "gamma"
    openers = [value for each, value in network.named_parameters() if each.endswith(key) and "layers.0" not in each]
    assert len(openers) == 2
    for gradient in torch.autograd.grad(network(x).square().sum(), openers):
        assert (gradient.abs().flatten(1).amax(dim=1) > 0).all()


def test_each_member_has_a_branch_scale_of_its_own():
    """Catches scales that are shared, and memory that is: a step on one member's must not move another's."""
    scales = (0.0, 0.5, 1.0)
    network, x = MLPEnsemble(WIDTHS, SEEDS, False, residual="pre", branch_scale=scales), batch(3)
    for member, scale in enumerate(scales):
        alone = MLPEnsemble(WIDTHS, SEEDS[member : member + 1], False, residual="pre", branch_scale=scale)
        torch.testing.assert_close(network(x)[member], alone(x[member : member + 1])[0], rtol=1e-4, atol=1e-5)
    shared = MLPEnsemble(WIDTHS, SEEDS, False, residual="pre", branch_scale=0.5).layers[1].scale
    with torch.no_grad():
        shared[1] += 1
    assert shared.flatten().tolist() == [0.5, 1.5, 0.5]


def test_the_bias_before_batch_norm_has_no_gradient_and_after_the_activation_it_has():
    """The claim of C12, and what makes the default bias right."""
    x, y = batch(3), torch.arange(24).remainder(10).expand(3, 24)
    for order, zero in ((("norm", "activation", "dropout"), True), (("activation", "norm", "dropout"), False)):
        network = MLPEnsemble(WIDTHS, SEEDS, True, order=order, bias=True)
        loss = nn.functional.cross_entropy(network(x), y)
        gradient = torch.autograd.grad(loss, network.biases[0])[0]
        assert (gradient.abs().max().item() < 1e-7) == zero
    assert len(mlp("batch norm").biases) == 1
    assert len(mlp("after the activation").biases) == len(mlp("no batch norm").biases) == 4
    assert len(mlp("dropout first").biases) == 4


def test_dropout_keeps_the_mean_and_does_nothing_in_inference():
    layer = StackedDropout(0.3, (1, 2, 3), 0)
    h = torch.full((3, 200, 100), 2.0)
    out = layer(h)
    assert out.unique().tolist() == pytest.approx([0, 2 / 0.7])
    assert (out == 0).double().mean(dim=(1, 2)).tolist() == pytest.approx([0.3] * 3, abs=0.02)
    assert not torch.equal(out, layer(h))
    layer.eval()
    assert torch.equal(layer(h), h)


def test_noise_moves_a_unit_alike_for_all_examples_and_otherwise_in_the_next_step():
    """Catches noise for each example, which would be a different experiment."""
    layer = StackedNoise(Perturbation(0.5, 1.5), (1, 2), 0)
    y = torch.randn(2, 400, 30, generator=torch.Generator().manual_seed(0))
    first, second = layer(y), layer(y)
    scale = first.std(dim=2) / y.std(dim=2)
    shift = first.mean(dim=2) - scale * y.mean(dim=2)
    torch.testing.assert_close(first, scale[..., None] * y + shift[..., None], rtol=1e-3, atol=1e-4)
    assert scale.min().item() > 1 - 1e-4
    assert (scale.min().item(), scale.max().item()) == pytest.approx((1, 1.5), abs=0.02)
    assert (shift.min().item(), shift.max().item()) == pytest.approx((-0.5, 0.5), abs=0.02)
    assert not torch.allclose(first, second, atol=0.05)
    layer.eval()
    assert torch.equal(layer(y), y)


def test_ghost_noise_has_the_size_of_ghost_batches_of_normal_values():
    group, examples = 16, 64
    noise = GhostNoise(group, (1,), 0)
    drawn = noise(torch.zeros(1, 4000, examples)).reshape(4000, -1, group)
    assert torch.equal(drawn, drawn[..., :1].expand_as(drawn))
    slope = (noise(torch.full((1, 4000, examples), 1e6)) / 1e6).reshape(4000, -1, group)[..., 0]
    values = torch.randn(4000, examples // group, group, generator=torch.Generator().manual_seed(4))
    mean, std = values.mean(dim=2), values.std(dim=2, correction=0)
    for ours, theirs in ((drawn[..., 0], -mean / std), (slope, 1 / std)):
        assert ours.std().item() == pytest.approx(theirs.std().item(), rel=0.05)
        assert ours.mean().item() == pytest.approx(theirs.mean().item(), abs=0.01)


def test_layers_and_kinds_of_noise_draw_different_numbers():
    draws = [
        module.draw(lambda g: g.random(4))
        for module in (
            StackedDropout(0.5, (1,), 0),
            StackedDropout(0.5, (1,), 1),
            StackedNoise(Perturbation(1), (1,), 0),
            GhostNoise(8, (1,), 0),
        )
    ]
    assert len({tuple(draw.flatten().tolist()) for draw in draws}) == 4


@pytest.mark.parametrize("kind", ["dropout", "noise", "ghost noise", "convolutional True"])
def test_a_subset_goes_on_as_its_members_would(kind):
    network, x = KINDS[kind](SEEDS), batch(3)
    network(x)
    some = network.subset([2, 0])
    assert some.seeds == (7, 5)
    expected, before = network(x), {name: value.clone() for name, value in network.state_dict().items()}
    torch.testing.assert_close(some(x[[2, 0]]), expected[[2, 0]], rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        for parameter in some.parameters():
            parameter.mul_(2)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    network.assign([2, 0], some)
    torch.testing.assert_close(network(x)[[2, 0]], some(x[[2, 0]]), rtol=1e-5, atol=1e-6)
    for name, value in network.named_parameters():
        torch.testing.assert_close(value[1], before[name][1], rtol=0, atol=0)
        torch.testing.assert_close(value[2], 2 * before[name][2], rtol=0, atol=0)


def test_preserved_undoes_everything_even_after_an_error():
    network, x = mlp("dropout"), batch(3)
    network.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = network.random_state()

    def fail() -> None:
        with network.preserved(), torch.no_grad():
            network.train()
            network(x)
            network.weights[0].mul_(3)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not network.training
    assert network.random_state() == state
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_every_parameter_has_its_place_in_depth():
    network = mlp("residual before")
    names = [name for name, _ in network.named_parameters()]
    for name, depth in zip(names, network.depth_of_parameters(), strict=True):
        assert depth == (int(name.split(".")[1]) if name.startswith("layers") else 3)
    assert math.prod(network.weights[0].shape) == 3 * 19 * 64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "gelu"}, "activation to be one of relu, tanh, sigmoid, linear, got 'gelu'"),
        ({"order": ("norm", "activation")}, "order to hold each of norm, activation, dropout once"),
        ({"dropout": (0.1, 0.2)}, "one dropout, or one for each of 3 hidden layers"),
        ({"dropout": 1.0}, r"p of dropout in \[0, 1\), got 1.0"),
        ({"residual": "both"}, "residual to be None, 'pre' or 'post', got 'both'"),
        ({"residual": "pre", "dropout": 0.1}, "no dropout with residual"),
        ({"branch_scale": 0.0}, "expected residual branches for branch_scale and sum_scale"),
        ({"sum_scale": 0.7}, "expected residual branches for branch_scale and sum_scale"),
        ({"residual": "pre", "branch_scale": (0.0, 1.0)}, "one branch_scale, or one for each of 3 members"),
        ({"residual": "pre", "zero_last_gamma": True}, "residual='post', .* for zero_last_gamma, got residual='pre'"),
        ({"residual": "post", "zero_last_gamma": True, "batch_norm": False}, "expected batch norm and residual='post'"),
        ({"gain": (1.0, 2.0)}, "one gain, or one for each of 3 members"),
        ({"batch_norm": Normalization(gamma=(1.0, 2.0))}, "one gamma, or one for each of 3 members"),
    ],
)
def test_errors_name_the_argument_and_what_it_got(options, message):
    with pytest.raises(ValueError, match=message):
        MLPEnsemble(WIDTHS, SEEDS, **{"batch_norm": True, **options})


def test_other_errors_name_the_argument():
    with pytest.raises(ValueError, match="equal hidden widths"):
        MLPEnsemble((64, 19, 20, 10), SEEDS, True, residual="post")
    with pytest.raises(ValueError, match="group to be 2 at least, for a variance to exist, got 1"):
        Normalization(group=1)
    with pytest.raises(ValueError, match="ghost_noise to be 4 at least, for its variance to exist, got 3"):
        Normalization(ghost_noise=3)
    with pytest.raises(ValueError, match=r"channels of the input and of a hidden layer at least, got \(1,\)"):
        ConvEnsemble((1,), 10, SEEDS, True)
