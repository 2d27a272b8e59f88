r"""Are small batches noisier, and do large batches converge slower? Claim C11.

ReLU MLPs with three hidden layers of 32 learn the 1000 training images of the digits by momentum SGD, with and without
batch norm, in batches of 2, 5, 10, 20, 50, 100 or 250, which all divide 1000. The claim names no sizes; those compared
are 20 and 250. What follows was fixed before the recorded run. Pilots with seeds 910 to 939 chose the budgets, so that
no batch size is done within the shorter ones, the span of the grid of rates, and 20 as the small size: in batches of 2
and 5 batch norm cost accuracy at every budget, which is another matter than speed. They and the reduced run had shown
the direction of all effects.

*Noise.* Networks with batch norm are trained in batches of 50 for four epochs, at the rate tuned for that. Then,
without further training, 100 batches of each size are drawn, each without replacement, and passed through in training
mode. Two kinds of noise are read at each batch norm:

- of the batch mean: its standard deviation over the batches, by the root of the mean unbiased batch variance; root mean
  square over a layer's units. Sampling theory sets it to :math:`\sqrt{(N - B) / ((N - 1) B)}`, with N images, where the
  values of different images are independent of each other. In the first layer they are. What reaches the second has
  been normalized by the batch itself, so that nothing but a measurement can say what its noise is.
- of a normalized value: the root mean square difference, over batches, images and units, of an image's normalized value
  in the batch to that in the batch of all N images. It is what the rest of the network sees of an image's company.

Estimand of both: noise in batches of 20 / noise in batches of 250. For a seed, the geometric mean of the layers'
ratios; over seeds, the geometric mean with a 95 % interval. Where noise goes as :math:`1 / \sqrt B` it is 3.5, and
4.0 with batches drawn from 1000.

*Convergence.* "Slower" may count images or updates, and the claim does not say which. So there are four budgets: 1 and
4 epochs, in which a batch size makes 1000 / B updates each, and 20 and 80 updates, in which it sees B images each. For
each budget, arm and batch size a rate is chosen, on one grid: the one of best mean validation accuracy over the tuning
seeds when the budget is spent. The test part is read once for each, then and at that rate. Batch norm is scored with
the statistics of the whole training part, since running averages would not have settled within the few updates of the
large batches. A diverged network scores 0. Estimands, paired by seed, each with a 95 % interval: test accuracy of
networks with batch norm in batches of 20 - that in batches of 250, in percentage points, for each budget. It is
accuracy that has been reached when the budget is spent, and says nothing of where training would end.

Rule. A noise speaks *for* the claim if the interval of its ratio lies above 2, *against* it if below; a difference
speaks for it if its interval lies above 1 point, against it if below; else either is open. A difference is open as well
where a rate on one of its sides lies at the edge of the grid. Supported if all six numbers speak for the claim,
contradicted if all speak against it, qualified if some speak for it and some against, else inconclusive.

Also kept, and in no rule: accuracies in all batch sizes; the same differences without batch norm, and by how much they
are exceeded with it, which is batch norm's own part; noise by layer; and the noise of the variance, the standard
deviation of the unbiased batch variance by its mean.
"""

from bncourse import results
from bncourse.experiments.batch_size.measure import run
from bncourse.experiments.batch_size.outcome import Outcome
from bncourse.experiments.batch_size.rules import verdicts
from bncourse.experiments.batch_size.settings import Budget, Settings
from bncourse.experiments.design import with_seeds
from bncourse.experiments.shared import revive

__all__ = ["REDUCED", "Budget", "Outcome", "Settings", "recorded", "run", "verdicts", "with_seeds"]

REDUCED = Settings(
    batch_sizes=(20, 250),
    arms=("batch_norm",),
    rates=(2.0**-5, 2.0**-4, 2.0**-1, 1.0, 2.0),
    draws=20,
    tuning_seeds=(8300, 8301),
    test_seeds=tuple(range(8400, 8406)),
)


def recorded() -> Outcome:
    """The outcome of the recorded run, as shown in chapter 5.1."""
    return Outcome(**revive(results.load("batch_size").outcome))
