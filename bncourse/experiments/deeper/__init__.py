r"""Does batch norm make deeper networks trainable, and is it batch norm that does? Claim C16.

MLPs of 32 ReLU units a layer with He's initial weights, after 150 steps of momentum SGD on the digits: *plain* ones, of
4 to 40 hidden layers, and *residual* ones, of 4 to 64, with a pre-activation branch around each hidden layer but the
first. Plain networks have batch norm or none; residual ones batch norm, none, or SkipInit, which multiplies each branch
by a learned number that starts at 0. What follows was fixed before the recorded run. Pilots with seeds 900 to 905 chose
width, number of steps, the depths and the span of the grid of rates, and had shown the direction of the effects.

Each network has at each depth a rate of its own: that of best mean final validation accuracy over the tuning seeds, out
of one grid for all. The test part is read once for each network and depth, at that rate.

Estimands, all paired by seed, each with a 95 % interval. A network *works* at a depth if its test accuracy is 0.9 or
more. A seed's *depth* is the largest of its sweep at which the network works, and the smallest of all if it works at
none. Three ratios of geometric means of depths:

- plain: batch norm / none;
- residual: batch norm / none;
- residual: batch norm / SkipInit, which asks whether normalization is needed, or branches that start small suffice.

The end of a sweep is part of the estimand: a network that still works there counts with that depth, however much
farther it might go. So a ratio compares how far networks get within the sweep, and one between two networks that both
get to the end is 1: what reaches 64 layers without batch norm did not need it for that. Which of the two would get
farther is not asked. The depths are those that 150 steps reach; more steps reach deeper.

Rule. A ratio speaks *for* the claim where its whole interval lies above 1.5, *against* it where it lies below, and else
is open. It is open as well if some seed works at no depth in one of its networks, or if one of them might do better
at a depth with a rate beyond the grid: some seeds do not work there, the best rate is at the grid's edge, and mean
validation accuracy at that rate is 0.5 or more. Supported if all three ratios speak for the claim, contradicted if
all speak against it, qualified if some speak for it and some against, else inconclusive.
"""

from bncourse import results
from bncourse.experiments.deeper.measure import run
from bncourse.experiments.deeper.outcome import Outcome
from bncourse.experiments.deeper.rules import verdicts
from bncourse.experiments.deeper.settings import NETWORKS, Settings
from bncourse.experiments.design import with_seeds
from bncourse.experiments.shared import revive

__all__ = ["NETWORKS", "REDUCED", "Outcome", "Settings", "recorded", "run", "verdicts", "with_seeds"]

REDUCED = Settings(
    plain_depths=(7, 10, 14),
    residual_depths=(8, 64),
    rates=(2.0**-7, 2.0**-5),
    tuning_seeds=(3200,),
    test_seeds=(3300, 3301, 3302, 3303),
)


def recorded() -> Outcome:
    """The outcome of the recorded run, as shown in chapter 4.1."""
    return Outcome(**revive(results.load("deeper").outcome))
