"""The stacked norms are those of PyTorch and of bncourse.layers, member by member, and so is what they train."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bncourse.lab import ConvEnsemble, Norm, digits, train
from bncourse.lab.norms import KINDS, StackedExampleNorm, norm_and_activation
from bncourse.layers import BatchRenorm, FilterResponseNorm

MEMBERS, CHANNELS = 3, 6


class RMSNorm(nn.Module):
    """PyTorch's function over channels and space, with a scale and a shift for each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(CHANNELS)), nn.Parameter(torch.zeros(CHANNELS))

    def forward(self, x: Tensor) -> Tensor:
        normalized = nn.functional.rms_norm(x, x.shape[1:], eps=1e-5)
        return self.weight[:, None, None] * normalized + self.bias[:, None, None]


ORACLES = {
    "batch": lambda: nn.BatchNorm2d(CHANNELS),
    "batch renorm": lambda: BatchRenorm(CHANNELS, momentum=0.2),
    "group": lambda: nn.GroupNorm(3, CHANNELS),
    "layer": lambda: nn.GroupNorm(1, CHANNELS),
    "instance": lambda: nn.InstanceNorm2d(CHANNELS, affine=True),
    "RMS": RMSNorm,
    "filter response": lambda: FilterResponseNorm(CHANNELS, eps=1e-5),
}


def stacked(kind: str) -> tuple[nn.Module, list[nn.Module]]:
    """A norm with its activation, all parameters moved away from their start, and each member's oracle."""
    layer = nn.Sequential(*norm_and_activation(Norm(kind, 3, 0.2), CHANNELS, range(MEMBERS), 0).values())
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    oracles = []
    for member in range(MEMBERS):
        oracle = ORACLES[kind]()
        for mine, theirs in zip(oracle.parameters(), layer.parameters(), strict=True):
            mine.data = theirs[member, :, 0].detach().clone()
        oracles.append(oracle if kind == "filter response" else nn.Sequential(oracle, nn.ReLU()))
    return layer, oracles


def data(batch: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(batch)
    scales, means = torch.tensor([[0.2, 1.5, 0.8, 5, 8, 2], [12, 1, -9, 3, -1, 0.5]]).view(2, -1, 1, 1, 1)
    return scales * torch.randn(MEMBERS, CHANNELS, batch, 5, 3, generator=generator) + means


@pytest.mark.parametrize("kind", KINDS)
def test_each_member_is_the_layer_that_it_is_named_after(kind):
    """Catches other sets, a mean too many or too few, statistics that members share, and a missing threshold.

    Three steps, so that running statistics count where there are any, with outputs and gradients; then inference.
    """
    layer, oracles = stacked(kind)
    parameters = list(layer.parameters())
    for step in range(4):
        if step == 3:
            layer.eval(), [oracle.eval() for oracle in oracles]
        h = data(batch=4 + step).requires_grad_()
        x = h.detach().transpose(1, 2).clone().requires_grad_()
        y, expected = layer(h), torch.stack([oracle(part) for oracle, part in zip(oracles, x, strict=True)])
        torch.testing.assert_close(y, expected.transpose(1, 2), rtol=1e-4, atol=1e-4)
        direction = torch.randn(y.shape, generator=torch.Generator().manual_seed(step))
        dh, *gradients = torch.autograd.grad((y * direction).sum(), [h, *parameters])
        (dx,) = torch.autograd.grad((expected * direction.transpose(1, 2)).sum(), x, retain_graph=True)
        torch.testing.assert_close(dh, dx.transpose(1, 2), rtol=1e-3, atol=1e-4)
        theirs = torch.autograd.grad(
            (expected * direction.transpose(1, 2)).sum(), [each for oracle in oracles for each in oracle.parameters()]
        )
        for number, gradient in enumerate(gradients):
            torch.testing.assert_close(
                gradient[..., 0], torch.stack(theirs[number :: len(gradients)]), rtol=1e-3, atol=1e-3
            )


def test_batch_renorm_is_clipped_where_the_data_lie_far_from_the_running_statistics():
    """The case above would pass without limits if nothing met them."""
    layer, _ = stacked("batch renorm")
    h = data()
    mean, std = h.mean(dim=(2, 3, 4)), h.std(dim=(2, 3, 4), correction=0)
    assert (mean.abs() > 5).any(), "d is clipped"
    assert (std > 3).any(), "r is clipped"
    assert ((mean.abs() < 5) & (std < 3) & (std > 1 / 3)).any(), "and elsewhere neither"
    assert layer(h).isfinite().all()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith("batch")])
def test_a_norm_of_its_own_example_has_one_mode(kind):
    layer, _ = stacked(kind)
    h = data()
    together = layer(h)
    torch.testing.assert_close(layer(h[:, :, 1:2]), together[:, :, 1:2])
    assert torch.equal(layer.eval()(h), together)


def test_batch_norm_in_batches_of_one_trains_as_instance_norm_and_infers_as_something_else():
    rates = [2.0**-8] * MEMBERS
    trained = {}
    for kind in ("batch", "instance"):
        network = ConvEnsemble((1, 8, 8), 10, range(MEMBERS), norm=Norm(kind))
        history = train(network, digits(), rates, steps=12, batch_size=1)
        trained[kind] = network, history.batch_loss
    np.testing.assert_allclose(trained["batch"][1], trained["instance"][1], rtol=1e-3)
    images = digits().validation_x[:20].expand(MEMBERS, 20, 64)
    logits = [network(images).detach() for network, _ in trained.values()]
    assert (logits[0] - logits[1]).abs().mean() > 0.1


def test_a_network_takes_one_norm_and_its_beta_in_place_of_a_bias():
    for kind in KINDS:
        network = ConvEnsemble((1, 4, 6), 10, (1, 2), norm=Norm(kind))
        assert len(network.biases) == 1, "the output's"
        start = ConvEnsemble((1, 4, 6), 10, (1, 2))
        for mine, theirs in zip(network.weights, start.weights, strict=True):
            assert torch.equal(mine, theirs)
    with pytest.raises(ValueError, match="expected batch_norm or another norm, got batch_norm and Norm"):
        ConvEnsemble((1, 4, 6), 10, (1, 2), True, norm=Norm("layer"))


def test_what_cannot_be_is_said():
    with pytest.raises(ValueError, match=r"expected kind to be one of batch, batch renorm, .* got 'weight'"):
        Norm("weight")
    with pytest.raises(ValueError, match="expected groups to be a divisor of 6 channels, got 4"):
        StackedExampleNorm(6, 2, 4, centred=True)
