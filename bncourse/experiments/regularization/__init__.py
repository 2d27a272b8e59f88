r"""Does the noise of the batch regularize, and does batch norm generalize better? Claims C9 and C18.

ReLU MLPs with three hidden layers of 64, momentum SGD with batches of 64 in every arm, no other regularization than to
stop early. The data: *clusters* with 512 training points; the *noisy digits*, 512 training images of which 20 % have
their label drawn anew; the *digits*, 250 training images with their own labels. All leave room for 1 point to show;
with all 1000 images the digits would not. Validation and test labels are clean. What follows was fixed before the
recorded run. Pilots with seeds 960 to 986 chose the sizes, the steps and the span of the rates, and had shown the
direction of most effects: that small ghost batches bring more than ordinary ones, in particular. C25's record had shown
how the difference of C18 falls as the number of digits grows.

Each arm has the pair of rate and number of steps with the best mean validation accuracy over the tuning seeds: eleven
rates, a factor of 2 apart, and every 20th step up to 600. So noise has to add something to stopping at the right time,
which on the noisy digits is long before the wrong labels are learned by heart. Networks are trained anew with the test
seeds to that step, and the test part is read once for each arm and data set. A diverged network scores 0. Scores come
from other seeds and other data than choices, so none profits from the size of its own search.

C9. On clusters and on the noisy digits, batch norm takes its statistics in training from

- *full*: the whole training part in every step, while the loss is that of the batch of 64. They depend on the weights
  alone, so that what another batch would change in them, the noise, is gone.
- *batch*: the batch of 64, as ordinary batch norm does.
- *ghosts*: ghost batches of 4, 8, 16, 32 or 64 consecutive examples of the batch, the size that has the best validation
  accuracy at its own rate and steps. With 64 this is the arm before, so that ordinary noise may be the best.
- *noise*: the whole training part, and what is normalized is then shifted and scaled by the mean and the deviation of
  normal values, as many as a ghost batch of the chosen size has. They are drawn anew for each unit and as many
  consecutive rows of the training part. Here the noise comes without what else ghost batches bring: that the examples
  of a batch determine each other's values and gradients. The scale of fewer than 4 values has no variance; this is why
  4 is the smallest size.

Estimands, paired by seed, each with a 95 % interval, in percentage points of test accuracy on each of the two data
sets: batch - full, what the noise that batch norm has brings; ghosts - full, what it brings at its best strength;
noise - full, what noise of that strength brings alone.

Rule of C9. Each of the six differences speaks *for* the claim where its whole interval lies above 1 point, *against* it
where it lies below, and else is open; it is open as well where the rate of one of its two arms is at the edge of the
grid. Supported if all six speak for the claim, contradicted if all speak against it, qualified if some speak for it
and some against, else inconclusive. The last step is no edge: 600 steps are what every arm may use.

C18. On all three data sets: ordinary batch norm - none, a network with biases in its place.

Rule of C18. The same, of three differences of test accuracy.

Also kept, and in no rule: the test accuracy of every arm; and C18's difference of the gap between training and test
accuracy at the tuned steps.
"""

from bncourse import results
from bncourse.experiments.design import with_seeds
from bncourse.experiments.regularization.measure import run
from bncourse.experiments.regularization.outcome import Outcome
from bncourse.experiments.regularization.rules import verdicts
from bncourse.experiments.regularization.settings import Arm, Settings
from bncourse.experiments.shared import revive

__all__ = ["REDUCED", "Arm", "Outcome", "Settings", "recorded", "run", "verdicts", "with_seeds"]

REDUCED = Settings(
    hidden=(32, 32, 32),
    examples=256,
    sizes=(8, 64),
    rates=(2.0**-3,),
    steps=160,
    tuning_seeds=(5400,),
    test_seeds=tuple(range(5500, 5504)),
)


def recorded() -> Outcome:
    """The outcome of the recorded run, as shown in chapter 5.2."""
    return Outcome(**revive(results.load("regularization").outcome))
