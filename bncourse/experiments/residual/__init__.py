r"""Which residual networks stay trainable as they get deeper, and at which rates. An experiment without a claim.

MLPs of 32 ReLU units a layer with He's initial weights and a branch of one linear layer around each hidden layer but
the first, after 150 steps of momentum SGD on the digits: the setting of C16 (:mod:`bncourse.experiments.deeper`), with
six networks of L = 8, 16, 32 and 64 hidden layers. Three have batch norm: the activation after the addition ("post");
the same with the gamma of each branch's batch norm at 0 in the beginning ("post zero gamma"); the activation before the
linear layer ("pre"). Three have none, and their activation before the linear layer:

- "shrunk sums": each sum of identity and branch is divided by the root of 2. The mean square of the stream then stays
  what it was, and identity and branch have equal shares in each sum.
- "shrunk branches": each branch is multiplied by a learned number that starts at the root of 1 / (L - 1). The mean
  square grows by a factor of less than e in all, and a branch has a share of 1 / L in its sum.
- "SkipInit": that number starts at 0.

The first two ask what it takes: a stream that does not explode, or branches that are small against it. What follows was
fixed before the recorded run. Pilots with seeds 900 to 902 chose depths and grid, and had shown the direction of the
effects.

Each network has at each depth a rate of its own: that of best mean final validation accuracy over the tuning seeds, out
of one grid for all. The test part is read once for each network and depth, at that rate. Estimands, paired by seed,
each with a 95 % interval:

- mean test accuracy of each network at each depth, and how many seeds *work*: have a test accuracy of 0.9 or more;
- at each depth, the difference of test accuracy of three pairs: zero gamma less post, pre less post, shrunk branches
  less shrunk sums;
- with batch norm and 32 layers, each seed's largest rate of the grid at which the final validation accuracy is 0.9 or
  more, and ratios of geometric means of it: zero gamma / post, pre / post, pre / zero gamma. A seed that gets there at
  no rate counts with the smallest, one that still does at the largest counts with that.

There is no threshold and no verdict. Rates at an end of the grid are part of the outcome, for a reader to see.
"""

from bncourse import results
from bncourse.experiments.residual.measure import run
from bncourse.experiments.residual.outcome import Outcome
from bncourse.experiments.residual.settings import NETWORKS, NORMALIZED, Settings
from bncourse.experiments.shared import revive

__all__ = ["NETWORKS", "NORMALIZED", "Outcome", "Settings", "recorded", "run"]


def recorded() -> Outcome:
    """The outcome of the recorded run, as shown in chapter 6.2."""
    return Outcome(**revive(results.load("residual").outcome))
