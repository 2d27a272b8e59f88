r"""Does dropout add to batch norm, and in which order? Claim C13.

The networks of C14: MLPs with three hidden ReLU layers of 64 learn the 512 training points of clusters, 600 steps of
momentum SGD with batches of 64. What follows was fixed before the recorded run. Pilots with seeds 900 to 983 chose the
network, the spans of the grids and what is read of variances; two earlier trials of the reduced run, at other settings,
had test seeds 5600 to 5602 and 7100 to 7103. They had shown that all orders come out within a few points of the better
one alone, on either side of 1 point, the better the deeper the network and the fewer its steps; that small shares are
the best; and the direction of what is read of variances.

Six arms: *none*; *batch_norm* and *dropout* alone; and both, in three orders. Within a hidden layer, W is linear:

- *before*: W, dropout, batch norm, ReLU. Batch norm sees values that were dropped.
- *after*: W, batch norm, ReLU, dropout. What is dropped reaches the batch norm of the next layer through its W.
- *last*: as *after*, with dropout in the last hidden layer alone, so that no batch norm comes after it.

Rate and share p are tuned for each arm by mean validation accuracy over the tuning seeds, on one grid: five rates,
about a factor of 3 apart, with each of five shares, a factor of 2 apart. The test part is read once, at the best pair
of each arm. A diverged network scores 0.

Estimands: for each order, test accuracy with both less that with the better of the two alone, at the best rate and
share of each, paired by seed, in percentage points, with a 95 % interval. Which of the two alone is better, validation
accuracy over the tuning seeds decides. Both differences are recorded.

Rule. A gain speaks *for* the claim where its whole interval lies above 1 point, *against* it where it lies below, and
else is open. Supported if the gains of all three orders speak for the claim, contradicted if all speak against it,
qualified if some speak for it and some against, else inconclusive. A gain is open as well where the rate of its order,
or of one of the two alone, is at the edge of the grid, or a share is the largest. The smallest share is no edge: beyond
it lies no dropout, which is the other side of the comparison.

Why a gain, and over the better one. The article recommends the pair as a means to generalize better, as it does weight
decay in C14, whose rule asks for a gain of 1 point too. A reader who has one of the two learns nothing from a
comparison with the worse one. The weaker reading, that the pair does no harm, would be true by design: with a share
that is tuned, one near 0 leaves batch norm alone. Harm is still to be seen: the interval shows it, as does the part
that follows, whose shares are not tuned.

That part has no verdict. It holds the variances that batch norm stores in training against those that it meets in
inference, in networks of six such layers of each order, trained at the rate 0.1 with the shares 0.1 and 0.3 by the
test seeds:

- measured: running variance by the variance over the training points in inference, for each batch norm; geometric
  means over its units.
- own: the ratio that the dropout since the last batch norm makes by itself, computed from weights and values in
  inference once all statistics are taken anew. On the unit itself, of mean m and variance v, it is
  :math:`\frac{1}{1 - p} + \frac{p}{1 - p} \frac{m^2}{v}`. The rest of the measured ratio came through the layers below.
- cost: validation accuracy of these networks with the statistics of batch norm taken anew from the training points,
  without dropout, layer after layer, less that with the running ones.
"""

from bncourse import results
from bncourse.experiments.design import with_seeds
from bncourse.experiments.dropout.measure import run
from bncourse.experiments.dropout.outcome import Outcome
from bncourse.experiments.dropout.rules import verdicts
from bncourse.experiments.dropout.settings import ORDERS, Settings
from bncourse.experiments.shared import revive

__all__ = ["ORDERS", "REDUCED", "Outcome", "Settings", "recorded", "run", "verdicts", "with_seeds"]

REDUCED = Settings(
    arms=("batch_norm", "dropout", "before", "after", "last"),
    rates=(0.1,),
    shares=(0.1,),
    steps=250,
    tuning_seeds=(8700,),
    test_seeds=tuple(range(8800, 8804)),
    shift_shares=(),
)


def recorded() -> Outcome:
    """The outcome of the recorded run, as shown in chapter 5.4."""
    return Outcome(**revive(results.load("dropout").outcome))
