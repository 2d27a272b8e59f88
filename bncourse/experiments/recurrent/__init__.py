r"""Does batch norm do for recurrent layers what it does for others? Claim C15.

Recurrent networks read the digits half a row at a time, 16 steps of 4 pixels, and a linear layer reads the state after
the last. Two networks: a plain *RNN* of 32 tanh units, and an *LSTM* of 16 units, which has about as many weights. Both
train for 200 steps of momentum SGD with batches of 50. Without a norm, with layer norm, and with four kinds of batch
norm:

- *input*: of what the input gives to the state, over examples and steps together [Laurent et al. 2016].
- *shared*: of that and of what the last state gives, each as by a batch norm layer that is called at every step, with
  one set of running statistics.
- *per step*: the same with running statistics for each step [Cooijmans et al. 2017]. In training that is no difference.
- *small gamma*: the same, with a :math:`\gamma` that starts at 0.1, as they propose, instead of 1.

What follows was fixed before the recorded run. Pilots with seeds 900 to 905 chose the length of the sequence, the
steps, the target and the span of the rates. They had shown differences of a point or less at 8 steps of 8 pixels, a
gain in the accuracy of the RNN at 16 steps, the largest with a small gamma, and none in the LSTM. 64 steps of one
pixel are too many for either network to learn in so short a time, with batch norm or without.

For each network and arm, each score has the rate of the best mean on the tuning seeds. Of the four kinds of batch norm
the one is chosen, for each network and score, whose mean at that rate is best; so the claim has four ways to be right.

- steps: :math:`\min(T, 200)`, where T is the number of steps after which validation accuracy, read every 5 steps, first
  reaches 80 %. On the test seeds it is again that of the validation part.
- accuracy: after 200 steps; tuned on the validation part, and the test part is read once for each arm, at its rate.

Estimands, paired by seed, each with a 95 % interval, for each of the two networks: the ratio of mean steps, none / best
batch norm; and the difference of mean test accuracies, best batch norm - none, in percentage points. Four numbers.

Rule. A ratio speaks *for* the claim where its whole interval lies above 1.1, a difference where it lies above 1 point;
*against* it where the interval lies below, and else it is open. A number is open too where the rate of one of its two
arms lies at the edge of the grid, and a ratio where more than a quarter of the test runs of one of them do not arrive.
Supported if all four speak for the claim, contradicted if all speak against it, qualified if some speak for it and some
against, else inconclusive.

Recorded beside them, and in no rule: the gain in test accuracy of every arm, layer norm's included, and the difference
between statistics of each step and shared ones, both with a :math:`\gamma` that starts at 1.
"""

from bncourse import results
from bncourse.experiments.design import with_seeds
from bncourse.experiments.recurrent.measure import run
from bncourse.experiments.recurrent.outcome import Outcome
from bncourse.experiments.recurrent.rules import verdicts
from bncourse.experiments.recurrent.settings import ARMS, NETWORKS, Settings
from bncourse.experiments.shared import revive

__all__ = ["ARMS", "NETWORKS", "REDUCED", "Outcome", "Settings", "recorded", "run", "verdicts", "with_seeds"]

REDUCED = Settings(
    arms=("none", "small_gamma"),
    rates={"RNN": (2.0**-5,), "LSTM": (2.0**-3,)},
    tuning_seeds=(10700,),
    test_seeds=tuple(range(10800, 10804)),
)


def recorded() -> Outcome:
    """The outcome of the recorded run, as shown in chapter 6.3."""
    return Outcome(**revive(results.load("recurrent").outcome))
