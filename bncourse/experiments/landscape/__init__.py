r"""Does batch norm keep training from getting stuck, where do stalled runs sit, and is the loss smoother? Claim C24.

Plain MLPs on the digits, with and without batch norm, after 600 steps of momentum SGD. What follows was fixed before
the recorded run. Pilots with seeds 900 to 907 chose the networks, the number of steps, the grids of rates and the
search for a way down, and had shown the direction of the effects.

Four networks in which runs stall: *sigmoid*, 5 layers of 32; *tanh*, 10 layers of 32 with hidden weights 8 times as
large as usual, so that units start saturated; *narrow relu*, 10 layers of 6; *deep relu*, 40 layers of 32. Each arm
trains at the rate of least mean final loss over the tuning seeds, where a run worse than guessing counts as guessing.
The loss is that of the whole training part, with the statistics of the whole part. The claim is about training, so that
no other part is looked at.

A run has *stalled* if its loss ends above :math:`\ln(10) / 2`, half of what guessing gives. In the first three networks
the first ten test seeds that stall without batch norm are examined, and each is of one kind:

- *saturated*: more than half of the hidden values are saturated (tanh beyond 0.97, sigmoid as far from its middle; for
  ReLU, units that are zero for every image) on the mean over layers, or all of some layer.
- at a *minimum*: else, if no way down is found. L-BFGS in float64 searches for a path along which the full loss falls
  from corner to corner, of at most 100 corners. It is a way down if it lowers the loss by a tenth, and never leads
  above its beginning by more than a hundredth of the loss there, points between corners included. That a way is there
  shows that a run is at no minimum; that none is found shows less, and the rule counts it for the claim.
- *way down*: else. Diverged runs are of none of these kinds.

Beside it are read: norms of the gradient there and at the beginning, extreme curvatures; the loss after 600 steps more
at each rate, and with batch norm switched in, in three ways: :math:`\gamma` and :math:`\beta` at 1 and 0; both so that
the network computes the same as before; the same, but :math:`\gamma` is not learned.

Estimands, each with a 95 % interval:

- share of test seeds that stall: the difference none - batch norm, paired, for each of the four networks.
- share of the examined runs that are saturated or at a minimum, for each of the three.

Rule. A number speaks *for* the claim where its whole interval lies above the smallest effect, a difference of 0.1 or a
share of one half, *against* it where it lies below, and else is open. So is a difference where a tuned rate is at the
grid's edge, unless that arm trains at no rate, with a mean loss above 2 at all of them. Supported if all seven speak
for the claim, contradicted if all speak against it, qualified if some do and others, else inconclusive.

Without a rule, for the chapter: the loss along the gradient, at initialization and at every twentieth of 100 steps, in
networks of 5 layers of 64, ReLU and tanh, all at one rate at which every run trains. *Smoothness* is the change of the
gradient by the distance, largest over 0.5 to 4 times the step, as in Santurkar et al. (2018). *Relative* smoothness is
the same with respect to hidden weights divided by their norms, on which it depends no more; at distances of 0.03, 0.1
and 0.3. Ratios none / batch norm are of geometric means. Batch norm is also measured with hidden weights 4 times
smaller and larger, with which the same function begins.
"""

from dataclasses import replace

from bncourse import results
from bncourse.experiments.design import ARMS, with_seeds
from bncourse.experiments.landscape.measure import run
from bncourse.experiments.landscape.outcome import Outcome
from bncourse.experiments.landscape.rules import verdicts
from bncourse.experiments.landscape.settings import CASES, Along, Settings, Variant
from bncourse.experiments.shared import revive

__all__ = ["ARMS", "REDUCED", "Outcome", "Settings", "recorded", "run", "verdicts", "with_seeds"]

REDUCED = Settings(
    cases=tuple(replace(case, rates=(4.0**-3,)) for case in CASES),
    along=Along(activations=("relu",), variants=(Variant(False), Variant(True)), steps=21),
    tuning_seeds=(2800,),
    test_seeds=tuple(range(2900, 2904)),
    examined=2,
    iterations=40,
)


def recorded() -> Outcome:
    """The outcome of the recorded run, as shown in chapter 4.5."""
    return Outcome(**revive(results.load("landscape").outcome))
