r"""Does a larger scale :math:`\gamma` mean stronger regularization? Claim C10.

MLPs with three hidden layers of 64, ReLU or tanh, and batch norm in each learn the 512 training points of clusters:
1200 steps of momentum SGD with batches of 64. In a network all :math:`\gamma` are one number that training does not
change: 0.1, 0.3, 1, 3 or 10. Offsets :math:`\beta` are learned. What follows was fixed before the recorded run. Pilots
with seeds 900 to 922 chose the number of steps and the span of the grid of rates. They and trials of the reduced run
had shown the direction of the effects: with ReLU the gap was narrowest near 1, with tanh it grew with :math:`\gamma`,
little below 1 and clearly above. At 0.1 networks with tanh did not fit at any rate, nor in twice the steps; those with
ReLU nearly did.

A rate is chosen for each activation and each :math:`\gamma`, on one grid: the one of best mean final validation
accuracy over the tuning seeds. The test part is read once for each, at this rate. A diverged network scores 0.
Accuracies are those of inference, on the training part too.

A regularizer that is stronger narrows the *gap*, training accuracy - test accuracy. Estimands, paired by seed, each
with a 95 % interval, in percentage points, are the falls of the gap *below 1*, gap at :math:`\gamma = 0.1` - gap at 1
with ReLU, and gap at 0.3 - gap at 1 with tanh; and *above 1*, gap at 1 - gap at 10 with each. There are two for an
activation, since the claim is a law that leads from any :math:`\gamma` to a larger one, and one difference from end to
end would not show a turn between.

A network that has learned little has a narrow gap too, and no regularizer to thank for it. So where the gap is narrower
the networks must have a mean training accuracy of 98 % at least, or a mean test accuracy no lower than where the gap is
wider: the second leaves room for a regularizer that keeps a network from fitting, to its advantage. To have learned
little where the gap is wider is no such excuse.

Rule. A fall speaks *for* the claim where its whole interval lies above 2 points, *against* it where it lies below, and
else is open. It is open as well where the networks with the narrower gap meet neither of the two conditions, or where
one of its two rates lies at the edge of the grid. Supported if all four falls speak for the claim, contradicted if all
speak against it, qualified if some speak for it and some against, else inconclusive.

Also kept, and in no rule: the change of test accuracy over the same ranges, and the mean losses on both parts, whose
gap may move where that of the accuracies does not.
"""

from bncourse import results
from bncourse.experiments.design import with_seeds
from bncourse.experiments.fixed_gamma.measure import run
from bncourse.experiments.fixed_gamma.outcome import Outcome
from bncourse.experiments.fixed_gamma.rules import verdicts
from bncourse.experiments.fixed_gamma.settings import Settings
from bncourse.experiments.shared import revive

__all__ = ["REDUCED", "Outcome", "Settings", "recorded", "run", "verdicts", "with_seeds"]

REDUCED = Settings(
    gammas=(0.1, 0.3, 1.0, 10.0),
    rates=(2.0**-5, 2.0**-3),
    steps=600,
    tuning_seeds=(7300,),
    test_seeds=tuple(range(7400, 7404)),
)


def recorded() -> Outcome:
    """The outcome of the recorded run, as shown in chapter 5.3."""
    return Outcome(**revive(results.load("fixed_gamma").outcome))
