r"""Does batch norm keep gradients, updates and activations in bounds through depth? Claims C6, C7 and C8.

MLPs with and without batch norm, with weights of variance 2 / fan-in for ReLU and 1 / fan-in else: at initialization,
and after 200 steps of momentum SGD on the digits. What follows was fixed before the recorded run. Pilots with seeds 900
to 935 chose the sizes, the number of steps, the span of the grid of rates and the large gain, and had shown the
direction of the effects.

Estimands, all paired by seed, each with a 95 % interval. :math:`g_l` is the gradient of the loss with respect to all
outputs of hidden layer l of L, and L is 20. Each arm trains at the rate of best mean final validation accuracy over the
tuning seeds; the test part is read once, at that rate.

- gradient made up: the *shortfall* is :math:`\min(1, \|g_1\| / \|g_L\|)`, at initialization, on the first batch of
  training. The difference of the means of its decimal logarithm, batch norm - none. A gradient that grows towards the
  input is no better than one that stays: what batch norm adds beyond 1 has prevented no vanishing.
- growth per layer: :math:`(\|g_1\|^2 / \|g_L\|^2)^{1/(L-1)}`, geometric mean over seeds, at initialization on normal
  inputs and random labels, width 128 and batch 128. In plain ReLU networks with batch norm, for which theory says
  :math:`\pi/(\pi - 1) \approx 1.467` as width and batch grow; and in ReLU networks with pre-activation branches, where
  without batch norm gradients do explode, the ratio none / batch norm.
- spread of the updates: the standard deviation, over layers and every tenth step of training, of
  :math:`\log_{10}(\|\Delta W\| / \|W\|)`, held within 12 decades of 1; of plain ReLU networks, the ratio of means
  none / batch norm.
- saturation: the share of hidden values with :math:`|h| > 0.97` in plain tanh networks, on the validation images with
  their own statistics, before and after training; the difference none - batch norm. At gain 2 of the hidden weights,
  where units saturate without batch norm, and at gain 1. A diverged network counts as saturated.
- test accuracy of plain sigmoid networks after training: the difference batch norm - none.

Rules. A number speaks *for* a claim where its whole interval lies on the claim's side of the smallest effect, *against*
it where it lies on the other, and else is open. So is a number from training where a tuned rate is at the grid's edge,
unless that arm trains at no rate: below 0.2 mean validation accuracy at all of them. Supported if all numbers speak
for the claim, contradicted if all speak against it, qualified if some speak for it and some against, else inconclusive.

- C6: the gradient made up, of sigmoid networks and of tanh networks, above one decade; accuracy above 0.05.
- C7: growth with batch norm in plain networks below 1.05; growth none / batch norm with branches above 1.05; ratio of
  spreads above 1.25.
- C8: both differences at gain 2 above 0.05. Unless both speak against the claim, those at gain 1 count as well where
  batch norm does harm: against it if below -0.05, open if across.
"""

from bncourse import results
from bncourse.experiments.depth.measure import run
from bncourse.experiments.depth.outcome import Outcome
from bncourse.experiments.depth.rules import verdicts
from bncourse.experiments.depth.settings import Settings
from bncourse.experiments.design import ARMS, with_seeds
from bncourse.experiments.shared import revive

__all__ = ["ARMS", "REDUCED", "Outcome", "Settings", "recorded", "run", "verdicts", "with_seeds"]

REDUCED = Settings(
    depths=(20,),
    trained_depths=(20,),
    normal_widths=(128,),
    normal_batches=(128,),
    normal_gains=(1.0,),
    rates=(4.0**-4, 4.0**-3),
    tuning_seeds=(1300, 1301),
    test_seeds=tuple(range(1400, 1408)),
)


def recorded() -> Outcome:
    """The outcome of the recorded run, as shown in chapter 4.1."""
    return Outcome(**revive(results.load("depth").outcome))
