"""Ensembles of recurrent networks that read an image a part at a time, with the norms that were proposed for them."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bncourse.lab.ensemble import Activation, Ensemble
from bncourse.lab.networks import at_least_one, draw_weights
from bncourse.lab.stacked import EPS, MOMENTUM, StackedLinear

NORMS = (None, "input", "shared", "per_step", "layer")
CELLS = ("tanh", "relu", "lstm")


class RecurrentEnsemble(Ensemble):
    r"""S recurrent networks of one architecture, each with a seed of its own, trained side by side.

    A hidden layer reads the image in T steps, in the order of its pixels, and a linear layer reads its last state:

    .. math:: h_t = \phi\left(W_x x_t + W_h h_{t-1} + b\right), \qquad h_0 = 0

    or, with gates and a cell state, as an LSTM:

    .. math:: (i, f, g, o) = W_x x_t + W_h h_{t-1} + b, \qquad
              c_t = \sigma(f)\, c_{t-1} + \sigma(i) \tanh g, \qquad h_t = \sigma(o) \tanh c_t

    A norm takes :math:`W_x x_t` before the sum. All but ``"input"`` take :math:`W_h h_{t-1}` as well, apart from it,
    and in an LSTM the :math:`c_t` in :math:`\tanh c_t`. Scale and shift are the same at all steps:

    - ``"input"``: batch norm over the examples and steps of a batch together, as in Laurent et al. (2016).
    - ``"shared"``: batch norm over the examples of each step, with one set of running statistics: what one batch norm
      layer does that is called at every step.
    - ``"per_step"``: the same with running statistics for each step, as in Cooijmans et al. (2017). In training
      there is no difference.
    - ``"layer"``: layer norm over the units of one example and step, as in Ba et al. (2016).

    Weights start as in :class:`~bncourse.lab.networks.MLPEnsemble`, :math:`W_x` and :math:`W_h` each by its own number
    of inputs, and the bias of the forget gate at 1.

    Parameters
    ----------
    widths : inputs of one step, hidden units, classes.
    seeds : one for each member; repeated where members differ in something else, such as their learning rate.
    norm : None, or one of those above.
    cell : tanh, relu or lstm.
    gamma : the scale that norms start from.
    image : height and width of the input, whose pixels come in a row.

    Raises
    ------
    ValueError : if there are no seeds or not three widths, if ``norm`` or ``cell`` is unknown, or if the inputs of a
        step do not divide the pixels.
    """

    def __init__(
        self,
        widths: Sequence[int],
        seeds: Sequence[int],
        norm: str | None,
        *,
        cell: str = "tanh",
        gamma: float = 1.0,
        image: int = 8,
    ) -> None:
        super().__init__()
        if len(widths) != 3:
            raise ValueError(f"expected widths of a step's inputs, hidden units and classes, got {tuple(widths)}")
        inputs, units, classes = widths
        if image**2 % inputs:
            raise ValueError(f"expected inputs of a step that divide the image's {image**2} pixels, got {inputs}")
        for name, value, known in (("norm", norm, NORMS), ("cell", cell, CELLS)):
            if value not in known:
                raise ValueError(f"expected {name} to be one of {', '.join(map(repr, known))}, got {value!r}")
        self.seeds = at_least_one(seeds)
        outputs, variance = (4 * units, 1.0) if cell == "lstm" else (units, Activation(cell).initial_variance)
        shapes = [(outputs, inputs), (outputs, units), (classes, units)]
        from_input, from_state, last = draw_weights(shapes, variance, self.seeds)
        self.layers = nn.ModuleList([RecurrentLayer(from_input, from_state, norm, cell, gamma, image**2 // inputs)])
        self.head = nn.Sequential()
        self.output = StackedLinear(last, bias=True)


class RecurrentLayer(nn.Module):
    """The hidden layer of :class:`RecurrentEnsemble`: from whole images to the state after the last step.

    Parameters
    ----------
    from_input, from_state : initial weights, (S, out, in) each.
    norm, cell, gamma : of the ensemble.
    steps : T.
    """

    def __init__(
        self,
        from_input: Float[Tensor, "S G I"],
        from_state: Float[Tensor, "S G F"],
        norm: str | None,
        cell: str,
        gamma: float,
        steps: int,
    ) -> None:
        super().__init__()
        members, outputs, units = from_state.shape
        self.cell, self.units, self.inputs, self.pooled = cell, units, from_input.shape[2], norm == "input"

        def step_norm(features: int, bias: bool) -> StepNorm | None:
            return StepNorm(members, features, norm, gamma, steps, bias) if norm else None

        within = norm not in (None, "input")
        self.input = StackedLinear(from_input, bias=False)
        self.input_norm = step_norm(outputs, bias=False)
        self.state = StackedLinear(from_state, bias=not within)
        self.state_norm = step_norm(outputs, bias=True) if within else None
        self.cell_norm = step_norm(units, bias=True) if within and cell == "lstm" else None
        self.activation = Activation("tanh" if cell == "lstm" else cell)
        bias = self.state_norm.beta if self.state_norm else self.state.bias
        if cell == "lstm" and bias is not None:
            with torch.no_grad():
                bias[:, units : 2 * units] = 1.0

    def forward(self, x: Float[Tensor, "S P B"]) -> Float[Tensor, "S F B"]:
        h = c = x.new_zeros(len(x), self.units, x.shape[2])
        for step, from_input in enumerate(self._from_input(x)):
            total = from_input + _at_step(self.state_norm, self.state(h), step)
            if self.cell == "lstm":
                i, f, g, o = total.chunk(4, dim=1)
                c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
                h = torch.sigmoid(o) * self.activation(_at_step(self.cell_norm, c, step))
            else:
                h = self.activation(total)
        return h

    def _from_input(self, x: Float[Tensor, "S P B"]) -> tuple[Float[Tensor, "S G B"], ...]:
        """What the input gives to each step. It is known before the first, and computed for all at once."""
        members, pixels, batch = x.shape
        steps = pixels // self.inputs
        parts = x.reshape(members, steps, self.inputs, batch).transpose(1, 2)
        values = self.input(parts.reshape(members, self.inputs, steps * batch))
        if self.pooled:
            values = _at_step(self.input_norm, values, 0)
        values = values.reshape(members, -1, steps, batch).transpose(1, 2)
        if self.input_norm and not self.pooled:
            values = self.input_norm(values, 0)
        steps_of: tuple[Tensor, ...] = values.unbind(1)
        return steps_of


class StepNorm(nn.Module):
    r"""Batch norm or layer norm at K steps, (S, K, F, B), with the same scale at all, and a shift where asked for.

    .. math:: y = \gamma\, \frac{h - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    Running statistics are those of :class:`torch.nn.BatchNorm1d`: one set, or with ``"per_step"`` one for each step.

    Parameters
    ----------
    members, features : S and F.
    norm : see :class:`RecurrentEnsemble`.
    gamma : to start from.
    steps : T.
    bias : whether there is a shift; it starts at zero.
    """

    def __init__(self, members: int, features: int, norm: str, gamma: float, steps: int, bias: bool) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((members, features, 1), float(gamma)))
        self.beta = nn.Parameter(torch.zeros(members, features, 1)) if bias else None
        self.norm = norm
        if norm != "layer":
            sets = steps if norm == "per_step" else 1
            self.register_buffer("running_mean", torch.zeros(members, sets, features))
            self.register_buffer("running_var", torch.ones(members, sets, features))

    def forward(self, h: Float[Tensor, "S K F B"], first: int) -> Float[Tensor, "S K F B"]:
        """Normalize what belongs to the steps from ``first`` on."""
        return self._layer_norm(h) if self.norm == "layer" else self._batch_norm(h, first)

    def _layer_norm(self, h: Float[Tensor, "S K F B"]) -> Float[Tensor, "S K F B"]:
        centred = h - h.mean(dim=2, keepdim=True)
        normalized = centred * torch.rsqrt(centred.square().mean(dim=2, keepdim=True) + EPS)
        normalized = normalized * self.gamma.unsqueeze(1)
        return normalized if self.beta is None else normalized + self.beta.unsqueeze(1)

    def _batch_norm(self, h: Float[Tensor, "S K F B"], first: int) -> Float[Tensor, "S K F B"]:
        members, steps, features, batch = h.shape

        def at_each(values: Float[Tensor, "S _ F"]) -> Float[Tensor, "C"]:
            return values.expand(members, steps, features).reshape(-1)

        chosen = slice(first, first + steps) if self.norm == "per_step" else slice(1)
        running = [self.get_buffer(name)[:, chosen] for name in ("running_mean", "running_var")]
        # With momentum 1 the running statistics become those of this batch.
        mean, var = [h.new_zeros(members * steps * features) if self.training else at_each(each) for each in running]
        normalized = nn.functional.batch_norm(
            h.reshape(1, -1, batch),
            mean,
            var,
            at_each(self.gamma.view(members, 1, features)),
            None if self.beta is None else at_each(self.beta.view(members, 1, features)),
            self.training,
            1.0,
            EPS,
        )
        if self.training:
            for kept, found in zip(running, (mean, var), strict=True):
                for each in found.view(members, steps // kept.shape[1], *kept.shape[1:]).unbind(1):
                    kept.lerp_(each, MOMENTUM)
        return normalized.view_as(h)


def _at_step(norm: StepNorm | None, values: Float[Tensor, "S F B"], step: int) -> Float[Tensor, "S F B"]:
    return values if norm is None else norm(values.unsqueeze(1), step).squeeze(1)
