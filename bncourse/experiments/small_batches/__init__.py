r"""Which norm for which batch size? An experiment without a claim.

Convolutional networks with three hidden layers of 8 channels (maps of 8 x 8, 4 x 4 and 2 x 2 positions, ReLU) learn
the digits by momentum SGD in batches of 1, 2, 4, 8, 16 or 64 images, with different norms: the convolutional network of
C19 (:mod:`bncourse.experiments.architectures`), which compared batch norm with none, at two sizes. C11
(:mod:`bncourse.experiments.batch_size`) asks about the noise and the speed of batch norm alone, in fully connected
networks. What follows was fixed before the recorded run. Pilots with seeds 900 to 902 chose architecture, budget and
the span of the grid, and had shown the direction of the larger effects. A rehearsal with seeds 900, 901 and 910 to 917
gave the chapter figures to be written with; nothing was changed after it.

Batch sizes are compared at equal numbers of examples seen: 2000, two passes over the training part, which are 2000
steps or 31. That is the choice of somebody whose memory holds few images and who sees the data as often. So the norms
are compared with each other at each batch size; one norm at two sizes differs in the number of steps as well.

Arms, with a gamma and a beta for each channel wherever there is a norm, and no bias in the convolution:

- none;
- batch norm as it comes, with running statistics of momentum 0.1;
- the same with *statistics retaken*: after training, those of the whole training part replace the running ones;
- batch renorm, its r up to 3 and its d up to 5 from the first step on: a start as batch norm made no difference in the
  pilots. Training uses its running statistics, so their momentum, 0.1 or 0.01, is tuned together with the rate;
- of each example alone: group norm in two groups of four channels, layer norm, instance norm, RMS norm, and filter
  response norm with its thresholded activation.

Each arm has at each batch size the learning rate (and momentum) of best mean final validation accuracy over the tuning
seeds. The grid is one of rates for batches of one; batches of B have B times the rate, so that the grid spans the same
displacement per example at all sizes. A network that has diverged scores 0. The test part is read once for each arm and
batch size, and where there are batch statistics in the three ways of *reading* below. Estimands, paired by seed, each
with a 95 % interval, in percentage points:

- mean test accuracy of each arm at each batch size, and by how much it differs from batch norm's;
- the *decision table*: at each batch size, how far each arm lies behind the one of best mean test accuracy. An arm is
  *level* with the best where the interval of that difference reaches 0. The best is chosen on the seeds that it is
  compared on, so its lead is a little flattered; and with nine arms and six sizes, some arms will be on the wrong side
  by chance.
- three readings of the very same trained networks of batch norm, and of batch renorm: with running statistics, with
  statistics retaken, and *as in training*, where the test images come in batches of the training's size and bring
  their own. Two differences: retaken - running, what bad running statistics cost; and as in training - retaken, what is
  lost, or if negative gained, because inference computes another function than training did, whatever its statistics.
  In batches of one, batch norm's training is that of instance norm, and so is its reading as in training.

There is no threshold and no verdict. Rates at an end of the grid are part of the outcome, for a reader to see.
"""

from bncourse import results
from bncourse.experiments.shared import revive
from bncourse.experiments.small_batches.measure import run
from bncourse.experiments.small_batches.outcome import Outcome
from bncourse.experiments.small_batches.settings import ARMS, READ_THREE_WAYS, Settings

__all__ = ["ARMS", "READ_THREE_WAYS", "REDUCED", "Outcome", "Settings", "recorded", "run"]

REDUCED = Settings(
    batch_sizes=(1, 20),
    examples=60,
    rates=(2.0**-9, 2.0**-8),
    tuning_seeds=(11200,),
    test_seeds=(11300, 11301, 11302),
)


def recorded() -> Outcome:
    """The outcome of the recorded run, as shown in chapter 7.1."""
    return Outcome(**revive(results.load("small_batches").outcome))
