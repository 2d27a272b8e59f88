r"""Is batch norm's benefit robust across architectures, and across batch sizes? Claim C19.

Four networks read the digits: *fully connected*, 4 hidden layers of 32 ReLU units; *convolutional*, 3 layers of 8
channels; *recurrent*, 32 tanh units that take an image row by row; and a *transformer* encoder, one block of width 16
whose tokens are the rows. Each learns with momentum SGD without a norm and with batch norm, in batches of 4 and of 64.
What follows was fixed before the recorded run. Pilots with seeds 900 to 914, the last of this design with 12 seeds to
compare, chose sizes, budgets and the span of the grid. They had shown the direction of the larger effects: with batches
of 4, batch norm cost the fully connected network accuracy and brought the convolutional one some, with batches of 64 it
helped both; the recurrent one gained little or nothing.

Batch sizes are compared at equal numbers of examples, not of steps. That is the choice of somebody whose memory holds
four images: to see the data as often, in smaller batches. With equal steps, the small batches would have seen a
sixteenth of the data, and the two sizes would be compared at two stages of learning. The budget is 2000 examples, two
passes over the training part: 500 steps or 31. So early, accuracy is below the ceiling near 97 % under which all gains
vanish. The same with 6000 examples is recorded beside, in no rule, and says what becomes of the gains.

A *cell* is an architecture with a batch size and a budget. In each cell, each arm has the learning rate of best mean
final validation accuracy over the tuning seeds. The grid is one of rates for batches of one; batches of B have B times
the rate, so that the grid spans the same displacement per example at both sizes. Batch norm in the recurrent network
may be that of Laurent et al. (2016), on what comes from the input alone and over all steps together, or that of
Cooijmans et al. (2017), on what comes from the state as well, with statistics for each step. Which of them it is, is
tuned together with the rate in each cell: the claim gets the better of the two. For the rest, batch norm is as it
comes: gamma starts at 1, and running statistics have momentum 0.1.

Estimand, in each of the six cells of the budget of 2000 and the three architectures that the claim names: the *gain*,
test accuracy with batch norm less that without, in percentage points, paired by seed, with a 95 % interval. The test
part is read once for each arm and cell, at the tuned rate. A network that has diverged scores 0. Recorded beside, in
no rule: the *interaction*, gain with batches of 64 - gain with batches of 4; the transformer, in which layer norm is
compared as well; and over how many values each batch norm averages.

Rule. A gain speaks *for* the claim where its whole interval lies above 1 point, *against* it where it lies below, and
else is open; it is open too where the rate of one of its arms lies at the edge of the grid. Supported if all six gains
speak for the claim, contradicted if all speak against it, qualified if some speak for it and some against, else
inconclusive. So no gain speaks against the claim: a robust benefit is there in each cell. In how many cells batch norm
does harm, by an interval below -1 point, is said beside the verdict.
"""

from bncourse import results
from bncourse.experiments.architectures.measure import Outcome, run
from bncourse.experiments.architectures.rules import verdicts
from bncourse.experiments.architectures.settings import CLAIMED, NORMS, Cell, Settings
from bncourse.experiments.design import with_seeds
from bncourse.experiments.shared import revive

__all__ = ["CLAIMED", "NORMS", "REDUCED", "Cell", "Outcome", "Settings", "recorded", "run", "verdicts", "with_seeds"]

REDUCED = Settings(
    architectures=CLAIMED,
    recurrent_norms=("input",),
    budgets=(2000,),
    rates=(2.0**-10,),
    tuning_seeds=(10300,),
    test_seeds=tuple(range(10400, 10404)),
)


def recorded() -> Outcome:
    """The outcome of the recorded run, as shown in chapter 6.3."""
    return Outcome(**revive(results.load("architectures").outcome))
