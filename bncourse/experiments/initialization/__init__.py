r"""How much do initial weights matter, to the accuracy and to its spread? Claims C5, C17 and C23.

MLPs with five hidden ReLU layers, with and without batch norm, after 200 steps of momentum SGD. What follows was fixed
before the recorded run. Pilots with seeds 900 to 941, 950 to 957, 998 and 999 chose the number of steps, the spans of
the grids and the second rate, at which both arms still work at gain 1, and had shown the direction of the effects of C5
and C23; in those of C17 the standard deviations of both arms were about equal on the digits, and larger without batch
norm on clusters.

The *gain* multiplies the initial weights of the hidden layers: ten values, three to the decade, from 0.01 to 10. A
network *works* if its test accuracy on the digits is 0.9 or more. Each arm has two rates: its *tuned* rate, that of
best mean validation accuracy over the tuning seeds at gain 1, and a *small* one, 4 times smaller. Besides, the rate is
*retuned* in the same way at every gain. With the *rescaled* rate, the hidden weights learn at the gain's square times
the rate of the rest. Without batch norm's :math:`\epsilon`, this undoes the gain: if the gradients at :math:`W` are
:math:`G`, those at :math:`gW` are :math:`G/g`, and steps of :math:`g^2 \eta\, G/g` keep the weights at g times those of
gain 1.

Estimands, all paired by seed, each with a 95 % interval; the test part is read at the rates named here only:

- width: number of gains at which a seed works, times a third of a decade. Difference batch norm - none, at the tuned
  rate, at the small one, and retuned.
- range: test accuracy at the best gain less that at the worst, with batch norm; at the tuned and at the small rate, and
  at both rescaled. Which gains these are is decided by mean validation accuracy over the tuning seeds, so that the
  difference is not one of extremes of noise.
- spread: a seed is an order of batches, which 10 networks go through that differ in their initial weights alone. The
  standard deviation of their test accuracy, pooled over seeds: the ratio none / batch norm, at gain 1, on the digits
  and on clusters, each arm at the rate of best mean validation accuracy there. A diverged network scores 0.

Rules. A number speaks *for* a claim where its whole interval lies above the smallest effect, *against* it where it lies
below, and else is open. For C5 and C17: supported if all numbers speak for the claim, contradicted if all speak against
it, qualified if some do and others, else inconclusive.

- C5 (half a decade): the three differences of widths. Open: those at the tuned and the small rate, where an arm's tuned
  rate is at the grid's edge; that retuned, where an arm trains at a gain, above 0.3, but does not work, and its rate is
  at the edge; and a difference that would speak against, where the mean width without batch norm is less than half a
  decade short of the whole sweep, for then no more could show.
- C17 (a ratio of 1.25): the two ratios. Open on data on which a tuned rate is at the grid's edge.
- C23 (0.05), on its second half, that batch norm makes initialization unimportant: supported if all four ranges lie
  below; contradicted if at one of the rates both lie above, the plain and the rescaled; qualified if at one of them the
  plain range lies above, and both rescaled ones below; else, and where the tuned rate is at the edge, inconclusive.
"""

from bncourse import results
from bncourse.experiments.design import ARMS, with_seeds
from bncourse.experiments.initialization.measure import run
from bncourse.experiments.initialization.outcome import Outcome
from bncourse.experiments.initialization.rules import verdicts
from bncourse.experiments.initialization.settings import Settings
from bncourse.experiments.shared import revive

__all__ = ["ARMS", "REDUCED", "Outcome", "Settings", "recorded", "run", "verdicts", "with_seeds"]

REDUCED = Settings(
    gains=(0.01, 0.1, 1.0, 10.0),
    rates=(4.0**-3, 4.0**-2),
    spread_rates=(2.0**-5, 2.0**-4, 2.0**-3),
    tuning_seeds=(1700,),
    test_seeds=tuple(range(1800, 1804)),
    tuning_initializations=2,
    initializations=3,
)


def recorded() -> Outcome:
    """The outcome of the recorded run, as shown in chapter 4.3."""
    return Outcome(**revive(results.load("initialization").outcome))
