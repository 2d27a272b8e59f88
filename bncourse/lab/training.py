"""Train an ensemble with momentum SGD, every member on its own batches and at its own learning rate."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bncourse.lab.data import Split
from bncourse.lab.ensemble import Ensemble
from bncourse.lab.history import History
from bncourse.lab.measuring import Probe, Recorder
from bncourse.lab.objective import Batch, Step, for_members, losses
from bncourse.lab.stacked import per_member


def train(
    network: Ensemble,
    data: Split,
    rates: Sequence[float],
    steps: int,
    batch_size: int = 50,
    momentum: float = 0.9,
    evaluate_every: int = 1,
    *,
    weight_decay: float | Sequence[float] = 0.0,
    hidden_rates: Sequence[float] | None = None,
    full_statistics: bool = False,
    probes: Sequence[Probe] = (),
    progress: bool = False,
) -> History:
    r"""Train every member in place for the same number of steps.

    .. math:: v \leftarrow \mu v + \nabla L, \qquad \theta \leftarrow \theta - \eta v

    with the member's own rate :math:`\eta` and velocities that start at zero, as in :class:`torch.optim.SGD`
    (equation ``eq-momentum-sgd``). Weight decay adds :math:`\lambda W` to the gradients of weights, and to no others.
    A step's batch depends on the member's seed alone, so members of equal seed see equal batches.

    A rate that is too large is no error. A member whose loss is no longer finite has diverged: its parameters become
    NaN, and the others go on in a smaller stack, so that it costs nothing from then on and changes none of them.

    Parameters
    ----------
    network : left in inference mode, with the parameters after the last step.
    data : its training part is trained on, its validation part scored. The test part is not touched.
    rates : one learning rate for each member.
    steps : number of updates.
    batch_size : images per update; an epoch drops what does not fill a batch.
    momentum : the weight of the old velocity.
    evaluate_every : updates from one evaluation to the next; there is one after the last in any case.
    weight_decay : for all members, or one for each.
    hidden_rates : learning rates of the hidden layers' weights, where they differ from the rest.
    full_statistics : batch norm sees the whole training part in every step, the loss the batch alone.
    probes : what else to measure while training.
    progress : whether to show a bar.

    Returns
    -------
    History : losses, validation accuracy, and what the probes read.

    Raises
    ------
    ValueError : if there is not one rate for each member, or a batch is larger than the training part.

    Examples
    --------
    >>> from bncourse.lab import MLPEnsemble, digits, train
    >>> networks = MLPEnsemble((64, 16, 10), seeds=(0, 0), batch_norm=True)
    >>> history = train(networks, digits(), rates=(0.1, 0.01), steps=5)
    >>> history.batch_loss.shape  # members, steps
    (2, 5)
    >>> bool(history.batch_loss[0, -1] < history.batch_loss[0, 0])
    True
    """
    members = len(network.seeds)
    for name, values in (("rate", rates), ("hidden rate", rates if hidden_rates is None else hidden_rates)):
        if len(values) != members:
            raise ValueError(f"expected one {name} for each of {members} members, got {len(values)} rates")
    if not 1 <= batch_size <= len(data.train_x):
        raise ValueError(f"expected batch_size between 1 and {len(data.train_x)}, got {batch_size}")
    decay = per_member("weight_decay", weight_decay, members).flatten()
    optimizer = MomentumSGD(
        network, torch.tensor(rates), torch.tensor(rates if hidden_rates is None else hidden_rates), decay, momentum
    )
    recorder = Recorder(probes, members)
    batch_loss = torch.full((members, steps), torch.nan)
    evaluated_at = [step for step in range(1, steps + 1) if step % evaluate_every == 0 or step == steps]
    scores = np.zeros((members, len(evaluated_at)))
    batches = batch_indices(len(data.train_x), batch_size, network.seeds)
    current, live = network, np.arange(members)
    for step in _counted(steps, progress):
        batch = _batch(data, next(batches)[live], full_statistics)
        # Both walk through all modules, which takes a tenth of the time of a small ensemble's step.
        if not current.training:
            current.train()
        random_state = current.random_state() if probes else []
        loss = losses(current, batch)
        gradients = torch.autograd.grad(loss.sum(), optimizer.parameters)
        updates = optimizer.updates(gradients)
        batch_loss[live, step - 1] = loss.detach()
        finite = loss.isfinite().numpy()
        recorder.ask(step, live, Step(current, batch, optimizer.rates, gradients, updates, random_state))
        optimizer.apply(updates)
        if not finite.all():
            _become_nan(network, live[~finite])
            live = live[finite]
            if not len(live):
                break
            current = current.subset(np.flatnonzero(finite).tolist())
            optimizer = optimizer.subset(current, np.flatnonzero(finite))
        if step in evaluated_at:
            scores[live, evaluated_at.index(step)] = accuracy(current, data.validation_x, data.validation_y)
    if current is not network and len(live):
        network.assign(live.tolist(), current)
    network.eval()
    return History(
        batch_loss=batch_loss.numpy(),
        evaluated_at=np.array(evaluated_at),
        validation_accuracy=scores,
        seeds=network.seeds,
        rates=tuple(rates),
        traces=recorder.traces(),
    )


class MomentumSGD:
    """The velocities of an ensemble's parameters, and how the members' rates and weight decays make updates of them."""

    def __init__(
        self,
        network: Ensemble,
        rates: Float[Tensor, "S"],
        hidden_rates: Float[Tensor, "S"],
        decay: Float[Tensor, "S"],
        momentum: float,
    ) -> None:
        self.rates, self.hidden_rates, self.decay, self.momentum = rates, hidden_rates, decay, momentum
        self.parameters = list(network.parameters())
        self.velocities = [torch.zeros_like(parameter) for parameter in self.parameters]
        weights = {id(weight) for weight in network.weights}
        hidden = {id(weight) for weight in network.weights[:-1]}
        self._steps = [
            -for_members(hidden_rates if id(parameter) in hidden else rates, parameter) for parameter in self.parameters
        ]
        self._decays = [
            for_members(decay, parameter) if id(parameter) in weights and bool(decay.any()) else None
            for parameter in self.parameters
        ]

    def updates(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """What these gradients, and those before them, add to each parameter."""
        updates = []
        with torch.no_grad():
            columns = zip(self.parameters, self.velocities, gradients, self._steps, self._decays, strict=True)
            for parameter, velocity, gradient, step, decay in columns:
                total = gradient if decay is None else gradient + decay * parameter
                updates.append(step * velocity.mul_(self.momentum).add_(total))
        return updates

    def apply(self, updates: Sequence[Tensor]) -> None:
        """Add the updates."""
        with torch.no_grad():
            for parameter, update in zip(self.parameters, updates, strict=True):
                parameter.add_(update)

    def subset(self, network: Ensemble, members: Int[np.ndarray, "M"]) -> "MomentumSGD":
        """The same for some of the members, which make up another ensemble."""
        index = torch.from_numpy(members)
        chosen = MomentumSGD(network, self.rates[index], self.hidden_rates[index], self.decay[index], self.momentum)
        chosen.velocities = [velocity[index] for velocity in self.velocities]
        return chosen


def batch_indices(examples: int, batch_size: int, seeds: Sequence[int]) -> Iterator[Int[Tensor, "S B"]]:
    """Rows of the training part for each member and step: a new order each epoch, without end."""
    generators = [np.random.default_rng([seed, 1]) for seed in seeds]
    while True:
        orders = torch.from_numpy(np.stack([generator.permutation(examples) for generator in generators]))
        for start in range(0, examples - batch_size + 1, batch_size):
            yield orders[:, start : start + batch_size]


def accuracy(network: Ensemble, x: Float[Tensor, "N F"], y: Int[Tensor, "N"]) -> Float[np.ndarray, "S"]:
    """Share of inputs that each member classifies rightly, in inference mode; a member at NaN scores 0.

    Parameters
    ----------
    network : an ensemble of S members.
    x, y : the inputs, and their labels.
    """
    logits = _inference(network, x)
    right = (logits.argmax(dim=1) == y) & logits.isfinite().all(dim=1)
    return np.asarray(right.double().mean(dim=1).numpy())


def mean_loss(network: Ensemble, x: Float[Tensor, "N F"], y: Int[Tensor, "N"]) -> Float[np.ndarray, "S"]:
    """Mean cross-entropy of each member on the inputs, in inference mode.

    Parameters
    ----------
    network : an ensemble of S members.
    x, y : the inputs, and their labels.
    """
    logits = _inference(network, x)
    each = nn.functional.cross_entropy(logits, y.expand(len(logits), *y.shape), reduction="none")
    return np.asarray(each.double().mean(dim=1).numpy())


def _inference(network: Ensemble, x: Float[Tensor, "N F"]) -> Float[Tensor, "S classes N"]:
    network.eval()
    with torch.no_grad():
        logits: Tensor = network(x.expand(len(network.seeds), *x.shape))
    return logits


def _batch(data: Split, rows: Int[Tensor, "S B"], full_statistics: bool) -> Batch:
    if full_statistics:
        return Batch(data.train_x.expand(len(rows), *data.train_x.shape), data.train_y[rows], rows)
    return Batch(data.train_x[rows], data.train_y[rows])


def _become_nan(network: Ensemble, members: Int[np.ndarray, "M"]) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter[torch.from_numpy(members)] = torch.nan


def _counted(steps: int, progress: bool) -> Iterable[int]:
    if not progress:
        return range(1, steps + 1)
    from tqdm.auto import tqdm

    bar: Iterable[int] = tqdm(range(1, steps + 1), desc="training", unit="step")
    return bar
