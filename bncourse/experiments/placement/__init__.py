r"""Is the correct place of batch norm between the linear layer and the activation? Claim C12.

MLPs with ReLU, tanh and sigmoid units, of 2 and of 6 hidden layers of 32, and momentum SGD with batches of 50. In each
hidden layer batch norm stands *before* the activation, :math:`h \leftarrow \phi(\mathrm{BN}(W h))`, or *after* it,
:math:`h \leftarrow \mathrm{BN}(\phi(W h + b))`. A seed gives both the same initial weights and the same batches. The
weights' variance is 2 / fan-in for ReLU and 1 / fan-in for the others, so that in either place an activation starts
with inputs of a variance of about 1 or 2. Each place has the bias that it can use: none before the activation, where
:math:`\beta` takes its part. What follows was fixed before the recorded run. Pilots with seeds 900 to 908 chose the
depths, the steps and the span of the rates, and had shown the direction of some effects: fewer steps after the
activation with sigmoid units, higher accuracy before it with tanh units.

Two scores, on two data sets. Each has its own rate in each place of each of the six architectures: the one of the best
mean over the tuning seeds, from one grid for all.

- steps: :math:`\min(T, 80)`, where T is the number of steps after which validation accuracy on the digits, read every
  4 steps, first reaches 90 %. On the test seeds it is again that of the validation part.
- accuracy: after 200 steps, on clusters, where networks stay far from 100 %; on the digits all get so close to it that
  the place could hardly show. It is tuned on the validation part, and the test part is read once, at the tuned rate. A
  diverged network scores 0.

Estimands, paired by seed, each with a 95 % interval, for each of the three activations: the ratio of steps, after /
before, a geometric mean over seeds and both depths; and the difference of test accuracies, before - after, in
percentage points, a mean over seeds and both depths. Six numbers, and each is larger the better the place before the
activation does. Recorded beside them, and in no rule: the same for each depth alone.

Rule. A ratio speaks *for* the claim where its whole interval lies above 1.1, a difference where it lies above 1 point;
*against* it where the interval lies below, and else it is open. So a place that makes no difference speaks against the
claim, which calls one of the two the correct one; how often the other place is better by as much, a ratio below 1 / 1.1
or a difference below -1 point, is said beside the verdict. A number is open too where one of the four rates behind it
lies at the edge of the grid, and a ratio where in one place at one depth more than a quarter of the test runs do not
arrive. Supported if all six numbers speak for the claim, contradicted if all speak against it, qualified if some speak
for it and some against, else inconclusive.

Why the places differ was asked when their numbers were known, and is in no rule. A third network was added to the
recorded run, with batch norm before the activation and once more in front of the output, tuned and measured like the
others: it has what the place after the activation gives to the output, and nothing else of it. And of tanh and sigmoid
units the share of values that is saturated after training on clusters, at each rate, on the tuning seeds.
"""

from bncourse import results
from bncourse.experiments.design import with_seeds
from bncourse.experiments.placement.measure import run
from bncourse.experiments.placement.outcome import Outcome
from bncourse.experiments.placement.rules import verdicts
from bncourse.experiments.placement.settings import BOTH_ENDS, PLACES, SCORES, Settings
from bncourse.experiments.shared import revive

__all__ = [
    "BOTH_ENDS",
    "PLACES",
    "REDUCED",
    "SCORES",
    "Outcome",
    "Settings",
    "recorded",
    "run",
    "verdicts",
    "with_seeds",
]

REDUCED = Settings(
    places=PLACES,
    rates=(2.0**-6, 2.0**-4, 2.0**-2),
    tuning_seeds=(6300, 6301),
    test_seeds=tuple(range(6400, 6404)),
)


def recorded() -> Outcome:
    """The outcome of the recorded run, as shown in chapter 6.1."""
    return Outcome(**revive(results.load("placement").outcome))
