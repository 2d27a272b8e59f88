"""A stacked Transformer encoder computes what PyTorch's own modules do, and its members do not know of each other."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from bncourse.lab import TransformerEnsemble, digits, train
from tests.lab.test_networks import distort

SEEDS = (5, 6, 7)
WIDTHS = (4, 6, 10)
NORMS = (None, "batch", "layer")


def encoder(norm: str | None, seeds=SEEDS) -> TransformerEnsemble:
    """16 tokens of 4 pixels, 6 features, 3 heads, 2 blocks: no two of these numbers can be exchanged unseen."""
    return TransformerEnsemble(WIDTHS, seeds, norm, heads=3, blocks=2)


def images(members: int, size: int = 24) -> torch.Tensor:
    return torch.randn(members, size, 64, generator=torch.Generator().manual_seed(1)) + 0.5


class OverExamplesAndTokens(nn.BatchNorm1d):
    """Batch norm of (N, T, F), where PyTorch's takes (N, F, T)."""

    def forward(self, h):
        return super().forward(h.transpose(1, 2)).transpose(1, 2)


REFERENCE = {None: lambda features: nn.Identity(), "batch": OverExamplesAndTokens, "layer": nn.LayerNorm}


class Plain(nn.Module):
    """One member, of PyTorch's modules."""

    def __init__(self, network: TransformerEnsemble, norm: str | None, member: int) -> None:
        super().__init__()
        self.norm_type = REFERENCE[norm]
        embedding, *blocks = network.layers
        self.embedding = self.linear(embedding.linear, member)
        self.positions = embedding.positions[member].detach().T
        self.blocks = nn.ModuleList(self.block(block, member) for block in blocks)
        self.last = self.norm(network.head.norm, member)
        self.output = self.linear(network.output, member)

    def linear(self, ours, member: int) -> nn.Linear:
        theirs = nn.Linear(ours.weight.shape[2], ours.weight.shape[1])
        theirs.weight.data, theirs.bias.data = ours.weight[member].detach(), ours.bias[member, :, 0].detach()
        return theirs

    def norm(self, ours, member: int) -> nn.Module:
        theirs = self.norm_type(6)
        if hasattr(theirs, "weight"):
            theirs.weight.data, theirs.bias.data = ours.gamma[member, :, 0].detach(), ours.beta[member, :, 0].detach()
        return theirs

    def block(self, ours, member: int) -> nn.TransformerEncoderLayer:
        theirs = nn.TransformerEncoderLayer(6, 3, dim_feedforward=12, dropout=0.0, batch_first=True, norm_first=True)
        into = self.linear(ours.attention.into, member)
        theirs.self_attn.in_proj_weight.data, theirs.self_attn.in_proj_bias.data = into.weight.data, into.bias.data
        out = self.linear(ours.attention.out, member)
        theirs.self_attn.out_proj.weight.data, theirs.self_attn.out_proj.bias.data = out.weight.data, out.bias.data
        theirs.linear1, theirs.linear2 = self.linear(ours.up, member), self.linear(ours.down, member)
        theirs.norm1, theirs.norm2 = self.norm(ours.attention_norm, member), self.norm(ours.mlp_norm, member)
        return theirs

    def forward(self, x):
        h = self.embedding(x.reshape(len(x), 16, 4)) + self.positions
        for block in self.blocks:
            h = block(h)
        return self.output(self.last(h).mean(dim=1))


@pytest.fixture
def no_shortcut() -> Iterator[None]:
    """PyTorch's shortcut for inference supposes layer norm without looking."""
    torch.backends.mha.set_fastpath_enabled(False)
    yield
    torch.backends.mha.set_fastpath_enabled(True)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.usefixtures("no_shortcut")
def test_a_member_is_built_of_pytorchs_modules(norm):
    """Catches tokens that trade places with examples, heads that are mixed, a norm over the wrong axis."""
    network, member, x = encoder(norm), 1, images(3)
    distort(network)
    plain = Plain(network, norm, member)
    ours, theirs = network(x)[member].T, plain(x[member])
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    direction = torch.randn(ours.shape, generator=torch.Generator().manual_seed(2))
    for mine, reference in (
        (network.layers[0].linear.weight, plain.embedding.weight),
        (network.layers[1].attention.into.weight, plain.blocks[0].self_attn.in_proj_weight),
    ):
        gradient = torch.autograd.grad((ours * direction).sum(), mine, retain_graph=True)[0][member]
        expected = torch.autograd.grad((theirs * direction).sum(), reference, retain_graph=True)[0]
        torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-3)
    network.eval(), plain.eval()
    torch.testing.assert_close(network(x)[member].T, plain(x[member]), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("norm", NORMS)
def test_a_member_does_not_know_who_trains_beside_it(norm):
    rates = [0.01, 0.04, 0.02]
    together = encoder(norm)
    seen = train(together, digits(), rates, steps=6, batch_size=40)
    some = encoder(norm, [7, 5])
    history = train(some, digits(), [0.02, 0.01], steps=6, batch_size=40)
    np.testing.assert_allclose(history.batch_loss, seen.batch_loss[[2, 0]], rtol=1e-4)
    for ours, theirs in zip(some.parameters(), together.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs[[2, 0]], rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("norm", NORMS)
def test_a_member_that_diverges_leaves_the_others_as_they_are(norm):
    """In the whole stack first, and after the step that lost it in a smaller one."""
    alone = train(encoder(norm, [5, 7]), digits(), [0.01, 0.02], steps=6, batch_size=40)
    beside = train(encoder(norm), digits(), [0.01, 1e30, 0.02], steps=6, batch_size=40)
    assert np.isfinite(beside.diverged_at).tolist() == [False, True, False]
    np.testing.assert_allclose(beside.batch_loss[[0, 2]], alone.batch_loss, rtol=1e-4)


def test_norms_start_from_equal_weights():
    """Catches a comparison that is not paired."""
    networks = [encoder(norm) for norm in NORMS]
    for weights in zip(*(network.weights for network in networks), strict=True):
        assert all(torch.equal(weight, weights[0]) for weight in weights)
    assert len(networks[0].weights) == 2 + 4 * 2
    weight = TransformerEnsemble((64, 300, 10), (0,), None, heads=1).weights[2]
    assert weight.var().item() * 300 == pytest.approx(1, rel=0.02)


def test_only_positions_tell_the_order_of_the_tokens():
    network, x = encoder("layer"), images(3)
    backwards = x.reshape(3, 24, 16, 4).flip(2).reshape(3, 24, 64)
    assert not torch.allclose(network(x), network(backwards), atol=1e-2)
    with torch.no_grad():
        network.layers[0].positions.zero_()
    torch.testing.assert_close(network(x), network(backwards), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("widths", "norm", "heads", "message"),
    [
        ((8, 10), None, 1, r"a token's inputs, features and classes, got \(8, 10\)"),
        ((7, 6, 10), None, 1, "divide the image's 64 pixels, got 7"),
        ((8, 6, 10), "none", 1, "norm to be one of None, 'batch', 'layer', got 'none'"),
        ((8, 6, 10), None, 4, "heads that divide 6 features, got 4"),
    ],
)
def test_errors_name_the_argument_and_what_it_got(widths, norm, heads, message):
    with pytest.raises(ValueError, match=message):
        TransformerEnsemble(widths, SEEDS, norm, heads=heads)
