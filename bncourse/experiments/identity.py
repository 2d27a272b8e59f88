r"""Can a batch norm layer be the identity? Claim C22.

:math:`\gamma = \sqrt{\sigma^2 + \epsilon}` and :math:`\beta = \mu` undo the normalization of the batch that has these
statistics. PyTorch's layer is given them for a batch of digits, projected onto random directions. Then it sees, in
float64:

- the same batch, in training mode;
- a fresh batch, in inference mode, with the first batch's statistics as its running ones;
- the same fresh batch, in training mode, which is normalized with its own statistics.

Estimand, for each of the three and for each batch size m: the root mean square of y - x over the batch, in standard
deviations of the feature, mean over features. A seed draws the directions and the images, and the interval is over
seeds. For independent normal values theory says about :math:`\sqrt{3/m}` for the third: of three parts of its square,
two come from the difference of the means and one from that of the deviations.

Rule (smallest effect of interest: an error of 0.01 standard deviations). The first two errors must be below it at every
seed and size, else contradicted. Then: supported if the interval of the third lies below at every size, qualified if
it lies above at every size, else inconclusive. The code was tried with seeds 700 to 707.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bncourse import results
from bncourse.experiments.shared import Answer, Effect, Verdict, record_run, revive, side
from bncourse.lab import Interval, digits, mean_interval

SMALLEST = 0.01


@dataclass(frozen=True)
class Settings:
    """Everything that the outcome depends on; the defaults are the recorded run's."""

    batch_sizes: tuple[int, ...] = (16, 64, 256)
    features: int = 32
    eps: float = 1e-5
    seeds: tuple[int, ...] = tuple(range(600, 632))


@dataclass(frozen=True)
class Outcome:
    """Errors in standard deviations of the feature.

    Attributes
    ----------
    batch_sizes : (B,).
    same_batch, inference, next_batch : (B, S), of each size and seed.
    mean_next_batch : (B,), means over seeds with their intervals.
    """

    batch_sizes: list[int]
    same_batch: list[list[float]]
    inference: list[list[float]]
    next_batch: list[list[float]]
    mean_next_batch: list[Interval]


REDUCED = Settings(seeds=tuple(range(700, 708)))


def with_seeds(settings: Settings, count: int) -> Settings:
    """The same settings with another number of seeds."""
    return replace(settings, seeds=tuple(range(600, 600 + count)))


def run(settings: Settings, *, jobs: int = 1, cache: bool = False, progress: bool = False) -> Outcome:
    """Measure the three errors of every size and seed; too little work to spread or to keep."""
    errors = np.array([[_errors(settings, size, seed) for seed in settings.seeds] for size in settings.batch_sizes])
    return Outcome(
        batch_sizes=list(settings.batch_sizes),
        same_batch=errors[:, :, 0].tolist(),
        inference=errors[:, :, 1].tolist(),
        next_batch=errors[:, :, 2].tolist(),
        mean_next_batch=[mean_interval(row) for row in errors[:, :, 2]],
    )


def _errors(settings: Settings, size: int, seed: int) -> tuple[float, float, float]:
    generator = np.random.default_rng(seed)
    pixels = digits().train_x.double()
    directions = torch.from_numpy(generator.standard_normal((pixels.shape[1], settings.features)))
    x = pixels @ directions
    rows = torch.from_numpy(generator.permutation(len(x))[: 2 * size])
    first, second = x[rows[:size]], x[rows[size:]]

    layer = torch.nn.BatchNorm1d(settings.features, eps=settings.eps, dtype=torch.float64)
    mean, var = first.mean(dim=0), first.var(dim=0, unbiased=False)
    with torch.no_grad():
        layer.weight.copy_(torch.sqrt(var + settings.eps))
        layer.bias.copy_(mean)
        same, following = layer(first), layer(second)
        assert layer.running_mean is not None
        assert layer.running_var is not None
        layer.running_mean.copy_(mean)
        layer.running_var.copy_(var)
        inference = layer.eval()(second)
    std = x.std(dim=0)
    return _error(same, first, std), _error(inference, second, std), _error(following, second, std)


def _error(y: Float[Tensor, "N C"], x: Float[Tensor, "N C"], std: Float[Tensor, "C"]) -> float:
    return float((((y - x) ** 2).mean(dim=0).sqrt() / std).mean())


def verdicts(outcome: Outcome) -> list[Verdict]:
    """Apply the rule of the module's docstring."""
    exact = max(np.max(outcome.same_batch), np.max(outcome.inference))
    where = {side(interval, SMALLEST) for interval in outcome.mean_next_batch}
    answer: Answer = "inconclusive"
    if exact >= SMALLEST:
        answer = "contradicted"
    elif where == {"below"}:
        answer = "supported"
    elif where == {"above"}:
        answer = "qualified"
    sizes = list(zip(outcome.batch_sizes, outcome.mean_next_batch, strict=True))
    following = ", ".join(f"{interval} at m = {size}" for size, interval in sizes)
    reason = (
        f"error on the same batch and in inference at most {exact:.0e} standard deviations; "
        f"on the next batch {following}"
    )
    effects = tuple(
        Effect.of(
            f"error on the next batch of {size}, in standard deviations",
            interval,
            no_effect=0,
            smallest=SMALLEST,
            seeds=len(row),
        )
        for (size, interval), row in zip(sizes, outcome.next_batch, strict=True)
    )
    statement = "learnable scale and shift give each layer its best mean and variance, the identity included"
    return [Verdict("C22", statement, answer, reason, effects, max(effect.p_value() for effect in effects))]


def recorded() -> Outcome:
    """The outcome of the recorded run."""
    return Outcome(**revive(results.load("identity").outcome))


if __name__ == "__main__":
    record_run("identity", Settings(), run, verdicts)
