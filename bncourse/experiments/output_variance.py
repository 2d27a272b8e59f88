r"""Has the output of a batch norm layer mean zero and variance one? Claim C21.

PyTorch's layer, new (:math:`\gamma = 1`, :math:`\beta = 0`) and in training mode, sees batches of one feature in
float64. Their mean is 1, and their standard deviation s is swept over powers of two times :math:`\sqrt\epsilon`. Chance
has no part in it: the batch is the same for every s, except for its spread.

Estimands, for each s: mean and variance of the output, in theory 0 and

.. math:: \operatorname{var}(y) = \frac{s^2}{s^2 + \epsilon}

Rule (smallest effect of interest: 0.01, in the mean or in the variance): supported if at every s the output's mean lies
within 0.01 of 0 and its variance within 0.01 of 1; contradicted if at no s; else qualified. Inconclusive if a variance
differs from theory by more than one part in a million, since then the sweep shows something else.
"""

from dataclasses import dataclass

import numpy as np
import torch

from bncourse import results
from bncourse.experiments.shared import Answer, Effect, Verdict, record_run
from bncourse.lab import Interval

SMALLEST = 0.01
AGREEMENT = 1e-6


@dataclass(frozen=True)
class Settings:
    """Everything that the outcome depends on; the defaults are the recorded run's.

    The standard deviations are :math:`2^k\\sqrt\\epsilon` for the ``exponents`` k, which rise and have 0 among them.
    """

    exponents: tuple[int, ...] = tuple(range(-8, 17))
    examples: int = 256
    mean: float = 1.0
    eps: float = 1e-5
    seed: int = 500

    def __post_init__(self) -> None:
        if 0 not in self.exponents or list(self.exponents) != sorted(self.exponents):
            raise ValueError(f"expected exponents that rise and have 0 among them, got {self.exponents}")


@dataclass(frozen=True)
class Outcome:
    """What went in and what came out, for each standard deviation of the sweep.

    Attributes
    ----------
    std : of the batch.
    output_mean, output_variance : of the layer's output, biased.
    theory : the output's variance in theory.
    eps : of the layer.
    """

    std: list[float]
    output_mean: list[float]
    output_variance: list[float]
    theory: list[float]
    eps: float


REDUCED = Settings()


def with_seeds(settings: Settings, count: int) -> Settings:
    """The same settings: there are no seeds to have more of."""
    return settings


def run(settings: Settings, *, jobs: int = 1, cache: bool = False, progress: bool = False) -> Outcome:
    """Send a batch of each spread through the layer; too little work to spread or to keep."""
    shape = np.random.default_rng(settings.seed).standard_normal(settings.examples)
    shape = (shape - shape.mean()) / shape.std()
    std = [2.0**exponent * settings.eps**0.5 for exponent in settings.exponents]
    layer = torch.nn.BatchNorm1d(1, eps=settings.eps, dtype=torch.float64)
    outputs = []
    with torch.no_grad():
        for spread in std:
            x = torch.from_numpy(settings.mean + spread * shape)[:, None]
            outputs.append(layer(x).numpy().ravel())
    return Outcome(
        std=std,
        output_mean=[float(y.mean()) for y in outputs],
        output_variance=[float(y.var()) for y in outputs],
        theory=[spread**2 / (spread**2 + settings.eps) for spread in std],
        eps=settings.eps,
    )


def verdicts(outcome: Outcome) -> list[Verdict]:
    """Apply the rule of the module's docstring."""
    variance, theory = np.array(outcome.output_variance), np.array(outcome.theory)
    fits = (np.abs(variance - 1) <= SMALLEST) & (np.abs(outcome.output_mean) <= SMALLEST)
    off = float(np.max(np.abs(variance / theory - 1)))
    at_eps = int(np.argmin(np.abs(np.array(outcome.std) - outcome.eps**0.5)))
    answer: Answer
    if off > AGREEMENT:
        answer = "inconclusive"
        reason = f"a variance differs from s²/(s² + eps) by a share of {off:.1g}"
    else:
        answer = "supported" if fits.all() else "qualified" if fits.any() else "contradicted"
        reason = (
            f"the variance is s²/(s² + eps): {variance[at_eps]:.3f} at s = sqrt(eps), "
            f"from {variance.min():.3g} to {variance.max():.7f} over the sweep; "
            f"mean and variance are within {SMALLEST} of 0 and 1 at {fits.sum()} of {len(fits)} values of s"
        )
    bounds = Interval(float(variance[at_eps]), float(variance.min()), float(variance.max()))
    effect = Effect.of(
        "variance of the output at s = sqrt(eps), and its range over the sweep of s",
        bounds,
        no_effect=1,
        smallest=1 - SMALLEST,
        seeds=0,
    )
    return [Verdict("C21", "the layer's output has exactly zero mean and unit variance", answer, reason, (effect,))]


def recorded() -> Outcome:
    """The outcome of the recorded run."""
    return Outcome(**results.load("output_variance").outcome)


if __name__ == "__main__":
    record_run("output_variance", Settings(), run, verdicts)
