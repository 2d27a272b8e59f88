"""Does batch norm make training faster, or does it make larger learning rates usable? Claims C2, C3 and C4.

An MLP with five hidden ReLU layers learns the digits with momentum SGD, with and without batch norm, at every rate of
one grid. What follows was fixed before the recorded run. Pilots on the same split, with other seeds (900 to 907), chose
the network, the number of steps and the span of the grid, and had shown the direction of the effects.

Estimands, all paired by seed, each with a 95 % interval:

- steps: updates until validation accuracy first reaches 0.9, restricted to 300; the ratio is none / batch norm.
  Tuned: each arm at the rate with the fewest mean steps over the tuning seeds. Shared: both arms at one rate.
- loss steps: the same for the mean loss of the last 10 batches to fall to 0.3, tuned for that.
- largest rate: the largest that works, meaning a validation accuracy of 0.9 at the last step; the ratio of
  geometric means, batch norm / none. A seed at which no rate works counts as the grid's smallest.
- widths, in decades of learning rate: of the rates that work, and of the *fast* rates, at which a seed needs at most
  twice the steps of its own best rate; the difference is batch norm - none.
- test accuracy, each arm at the rate of best mean final validation accuracy over the tuning seeds; read once, at that
  rate only, and part of no verdict here.

Rules; an edge of the grid among an arm's tuned or largest rates makes the claim inconclusive:

- C2 (smallest effect of interest: a ratio of 1.25). Let the tuned ratio's interval lie above 1.25: supported, but
  qualified if batch norm is the slower arm (ratio below 1 / 1.25) at some shared rate at which all runs reach the
  target. Below 1.25: contradicted, but qualified if some shared rate's ratio lies above 1.25. Else inconclusive.
- C3 (a ratio of 2): supported above, contradicted below, else inconclusive.
- C4 (a factor of 2, which is 0.30 decades): supported if both widths' differences lie above, qualified if one does,
  contradicted if both lie below, else inconclusive.
"""

from bncourse import results
from bncourse.experiments.convergence.measure import Outcome, Settings, run
from bncourse.experiments.convergence.rules import verdicts
from bncourse.experiments.design import ARMS, with_seeds
from bncourse.experiments.shared import revive

__all__ = ["ARMS", "REDUCED", "Outcome", "Settings", "recorded", "run", "verdicts", "with_seeds"]

REDUCED = Settings(
    rates=tuple(2.0**exponent for exponent in range(-10, 3)),
    pictured_rates=(),
    tuning_seeds=tuple(range(300, 304)),
    test_seeds=tuple(range(400, 408)),
)


def recorded() -> Outcome:
    """The outcome of the recorded run, as shown in chapter 4.2."""
    return Outcome(**revive(results.load("convergence").outcome))
