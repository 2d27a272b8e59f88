"""Ensembles of small Transformer encoders that read an image row by row."""

from collections import OrderedDict
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from bncourse.lab.ensemble import Activation, Ensemble
from bncourse.lab.networks import at_least_one, draw_weights
from bncourse.lab.stacked import Normalization, StackedBatchNorm, StackedLayerNorm, StackedLinear

NORMS = (None, "batch", "layer")
EXPANSION = 2
"""Width of the hidden layer of a block's MLP, as a multiple of the features."""


class TransformerEnsemble(Ensemble):
    r"""S Transformer encoders of one architecture, each with a seed of its own, trained side by side.

    An image's rows are its tokens. Row t of the pixels, :math:`x_t`, becomes :math:`h_t = W x_t + b + p_t` with a
    learned position :math:`p_t`. Each block then changes all tokens by two residual branches,

    .. math:: h \leftarrow h + \mathrm{Attention}(\mathrm{norm}(h)), \qquad
              h \leftarrow h + W_2\,\mathrm{ReLU}(W_1\,\mathrm{norm}(h) + b_1) + b_2.

    A last norm, the mean over tokens and a linear layer give the logits. A ``"batch"`` norm takes the statistics of a
    feature over examples and tokens, a ``"layer"`` norm those of a token over its features.

    Weights start as normal draws of variance 1 / fan-in, and so do positions, as the weights of a token's number in
    one-hot code; biases start at zero.

    Parameters
    ----------
    widths : inputs of a token, features of a token in the network, classes.
    seeds : one for each member; repeated where members differ in something else, such as their learning rate.
    norm : None, "batch" or "layer".
    heads : of the attention, which share the features.
    blocks : how many.
    image : height and width of the input, whose pixels come in a row.

    Raises
    ------
    ValueError : if there are no seeds or not three widths, the norm is unknown, the heads do not divide the features,
        or the inputs of a token do not divide the pixels.
    """

    def __init__(
        self,
        widths: Sequence[int],
        seeds: Sequence[int],
        norm: str | None,
        *,
        heads: int = 2,
        blocks: int = 1,
        image: int = 8,
    ) -> None:
        super().__init__()
        if len(widths) != 3:
            raise ValueError(f"expected widths of a token's inputs, features and classes, got {tuple(widths)}")
        inputs, features, classes = widths
        if image**2 % inputs:
            raise ValueError(f"expected inputs of a token that divide the image's {image**2} pixels, got {inputs}")
        if norm not in NORMS:
            raise ValueError(f"expected norm to be one of {', '.join(map(repr, NORMS))}, got {norm!r}")
        if features % heads:
            raise ValueError(f"expected heads that divide {features} features, got {heads}")
        self.seeds = at_least_one(seeds)
        self.inputs, tokens, hidden = inputs, image**2 // inputs, EXPANSION * features
        block = [(3 * features, features), (features, features), (hidden, features), (features, hidden)]
        shapes = [(features, tokens), (features, inputs), *block * blocks, (classes, features)]
        positions, first, *weights, last = draw_weights(shapes, 1.0, self.seeds)

        def another_norm(number: int) -> nn.Module:
            if norm == "batch":
                return StackedBatchNorm(features, self.seeds, Normalization(), number)
            return StackedLayerNorm(features, len(self.seeds)) if norm == "layer" else nn.Identity()

        layers: list[nn.Module] = [Embedding(first, positions)]
        for number in range(blocks):
            into, out, up, down = weights[4 * number : 4 * number + 4]
            layers.append(
                Block(another_norm(2 * number), Attention(into, out, heads), another_norm(2 * number + 1), up, down)
            )
        self.layers = nn.ModuleList(layers)
        self.head = nn.Sequential(OrderedDict(norm=another_norm(2 * blocks), mean=MeanOverTokens()))
        self.output = StackedLinear(last, bias=True)

    def enter(self, x: Float[Tensor, "S B F"]) -> Float[Tensor, "S P B T"]:
        """The parts of each image as its tokens, the pixels of a part before the batch."""
        return x.reshape(*x.shape[:2], -1, self.inputs).permute(0, 3, 1, 2)


class Embedding(nn.Module):
    """A linear map of each token, and its learned position."""

    def __init__(self, weight: Float[Tensor, "S F P"], positions: Float[Tensor, "S F T"]) -> None:
        super().__init__()
        self.linear = StackedLinear(weight, bias=True)
        self.positions = nn.Parameter(positions)

    def forward(self, x: Float[Tensor, "S P B T"]) -> Float[Tensor, "S F B T"]:
        return each_token(self.linear, x) + self.positions.unsqueeze(2)


class Block(nn.Module):
    """Attention between the tokens, then an MLP on each, both as residual branches with a norm before them."""

    def __init__(
        self,
        attention_norm: nn.Module,
        attention: "Attention",
        mlp_norm: nn.Module,
        up: Float[Tensor, "S H F"],
        down: Float[Tensor, "S F H"],
    ) -> None:
        super().__init__()
        self.attention_norm, self.attention, self.mlp_norm = attention_norm, attention, mlp_norm
        self.up, self.down = StackedLinear(up, bias=True), StackedLinear(down, bias=True)
        self.activation = Activation("relu")

    def forward(self, h: Float[Tensor, "S F B T"]) -> Float[Tensor, "S F B T"]:
        h = h + self.attention(self.attention_norm(h))
        inner = self.activation(each_token(self.up, self.mlp_norm(h)))
        return h + each_token(self.down, inner)


class Attention(nn.Module):
    r"""Multi-head self-attention: :math:`\mathrm{softmax}(q k^\top / \sqrt d)\, v` for each head, then a linear map.

    Parameters
    ----------
    into : (S, 3 F, F), weights of queries, keys and values, one below the other as :class:`torch.nn` has them.
    out : (S, F, F), of what the heads return.
    heads : each has d = F / heads features.
    """

    def __init__(self, into: Float[Tensor, "S F3 F"], out: Float[Tensor, "S F F"], heads: int) -> None:
        super().__init__()
        self.into, self.out = StackedLinear(into, bias=True), StackedLinear(out, bias=True)
        self.heads = heads

    def forward(self, h: Float[Tensor, "S F B T"]) -> Float[Tensor, "S F B T"]:
        members, features, batch, tokens = h.shape
        parts = each_token(self.into, h).reshape(members, 3, self.heads, -1, batch, tokens)
        query, key, value = parts.permute(1, 0, 2, 4, 5, 3).flatten(1, 2)
        attended = nn.functional.scaled_dot_product_attention(query, key, value)
        merged = attended.reshape(members, self.heads, *attended.shape[1:]).permute(0, 1, 4, 2, 3)
        return each_token(self.out, merged.reshape(members, features, batch, tokens))


class MeanOverTokens(nn.Module):
    """(S, F, B, T) to (S, F, B)."""

    def forward(self, h: Float[Tensor, "S F B T"]) -> Float[Tensor, "S F B"]:
        return h.mean(dim=3)


def each_token(linear: StackedLinear, h: Float[Tensor, "S in B T"]) -> Float[Tensor, "S out B T"]:
    """A linear layer, for which every token is an example."""
    out: Tensor = linear(h.flatten(2))
    return out.reshape(*out.shape[:2], *h.shape[2:])
