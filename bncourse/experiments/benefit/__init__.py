r"""Where does batch norm help most? The benefit against depth, width and the size of the training set. Claim C25.

ReLU MLPs with and without batch norm, after 300 steps of momentum SGD with batches of 50. From a common setting, the
digits with all 1000 training images, 4 hidden layers and 32 units each, one size is varied at a time: *depth* (2, 4, 8,
16 layers), *width* (16, 32, 64, 128 units) and *digits* (125, 250, 500, 1000 images, each set a part of the next). Then
*clusters*: the same network on 128, 512, 2048 and 8192 points. What follows was fixed before the recorded run. Pilots
with seeds 906 to 925 chose sizes, steps and the span of the grid of rates. They had shown that the benefit in steps
hangs on the target: over the digits it rose with the number of images at some targets and fell at others.

In every setting each arm has the rate that is best for it on the tuning seeds: one of fewest mean steps, one of best
mean final validation accuracy. The benefit is measured in two ways, by seed, at these two rates:

- steps: :math:`\min(T, 300)` without batch norm, divided by the same with it. T is the number of steps after which
  validation accuracy first reaches the setting's target: 95 % of the best mean final validation accuracy of the arm
  without batch norm on the tuning seeds. So the target is as hard in each setting as the setting is.
- errors: share of test images misread in the end, none / batch norm, with half an image added to those misread and one
  to all, so that it is never 0. The test part is read once for each arm and setting.

Estimands: for each of the four sizes and both benefits, the factor by which the benefit grows with each doubling of the
size. For a seed, with benefit :math:`b_k` at size :math:`n_k`, it is the slope of the least-squares line through the
points :math:`(\log_2 n_k, \log_2 b_k)`; the factor is 2 to the power of the mean slope over seeds, with a 95 %
interval. Recorded beside them, and in no rule: the difference of test accuracies at each size, and the factors of steps
for targets of 90 % and 98 % instead of 95 %, at the same rates.

Rule. A factor speaks *for* the claim where its whole interval lies above 1.1, *against* it where it lies below, and
else is open. It is open as well where an arm's rate lies at the edge of the grid in one of its settings; and one of
steps where in one of them more than a quarter of the test runs of an arm do not arrive. Supported if all eight factors
speak for the claim, contradicted if all speak against it, qualified if some speak for it and some against, else
inconclusive.
"""

from bncourse import results
from bncourse.experiments.benefit.measure import run
from bncourse.experiments.benefit.outcome import Outcome
from bncourse.experiments.benefit.rules import verdicts
from bncourse.experiments.benefit.settings import SIZES, Settings
from bncourse.experiments.design import ARMS, with_seeds
from bncourse.experiments.shared import revive

__all__ = ["ARMS", "REDUCED", "SIZES", "Outcome", "Settings", "recorded", "run", "verdicts", "with_seeds"]

REDUCED = Settings(
    depths=(2, 8),
    widths=(16, 32),
    digits=(125, 1000),
    clusters=(128, 2048),
    rates=(2.0**-5, 2.0**-3),
    tuning_seeds=(3700,),
    test_seeds=tuple(range(3800, 3804)),
)


def recorded() -> Outcome:
    """The outcome of the recorded run, as shown in chapter 4.2."""
    return Outcome(**revive(results.load("benefit").outcome))
