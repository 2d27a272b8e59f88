r"""Does batch norm help because it reduces internal covariate shift? Claim C1.

MLPs of 64 units a layer learn the digits with momentum SGD, with and without batch norm: five hidden ReLU layers, and
three sigmoid layers, two architectures that batch norm helps. What follows was fixed before the recorded run. Pilots
with seeds 900 to 947 chose the architectures, the numbers of steps, the spans of the grids, the period and the measure
of drift, and had shown the direction of the effects. Swinging and frozen noise were added after pilots had shown that
jumping noise does little harm, and the measure of drift was changed. Dropped were networks in which batch norm gained
little, ten ReLU layers and tanh, and a control: noise drawn for each example anew, which shifts no distribution and
slowed the ReLU network more than jumping noise of the same size did.

A network *has learned* when the mean loss of the last 10 batches, noise included, has fallen to 0.3; steps to it are
restricted to 150 (ReLU) and 250 (sigmoid). Evaluation is no measure here: in inference mode the noise is off, and a
network that has learned to live with it fails. Each arm trains at the rate of fewest mean steps over the tuning seeds.
*Shared* means batch norm at the rate tuned without it: what a step changes depends on its length, which the tuned rates
set differently. What is read while a network learns is averaged over steps until it has learned.

Two measures of shift:

- gradient change: with :math:`G` the gradient of a layer's weights and :math:`G'` the same after the layers below have
  made their updates, on the same batch, :math:`\|G' - G\| / \|G\|`. Every 4 steps; geometric mean over the layers that
  have others below and over seeds of means over steps. It is Santurkar et al.'s measure, made relative, since batch
  norm rescales gradients.
- drift: how far the means of what a layer's units pass on move within 1 step and within 10 on the same 64 images, the
  norm of that by the norm of the units' standard deviations; mean over layers and steps. It is nearer to what the term
  meant at first. Batch norm fixes means, so that its own drift is small by construction and no number to decide by;
  drift serves to say how much shift to put back.

Noise after batch norm puts shift back: every unit is multiplied by a number up to 1.25 and moved by one up to the
noise's size in either direction, the same for all examples of a batch. At any one step these numbers are uniform for
all three kinds of noise. *Jumping* noise draws them anew at each step, as the distribution of Santurkar et al.'s noise
is. It does not add up: over 10 steps it moves a mean as far as over one. *Swinging* noise goes to and fro within 40
steps, so that it adds up. *Frozen* noise never changes: it displaces units as far, and shifts nothing. Matched on the
tuning seeds, each at its tuned rate: the smallest jumping noise whose drift within 1 step exceeds that of the network
without batch norm by a factor of 1.1, and the smallest swinging noise whose drift does so within 1 step and within 10;
the largest of the grid where none does. Frozen noise has the size of the swinging one.

Estimands, all paired by seed, each with a 95 % interval, for each architecture:

- ratio of gradient change batch norm / none, tuned and shared.
- gain left: ratio of mean steps none / batch norm with matched noise, jumping and swinging.
- cost of change: ratio of mean steps swinging / frozen noise.

Rule. A number speaks *for* the claim where its whole interval lies on the claim's side of the smallest effect,
*against* it where it lies on the other, and else is open: gradient change below 0.8, both gains left below 1.25, so
that shift has taken the gain away, cost of change above 1.25. Open is also a gain left where batch norm without noise
does not gain a factor of 1.25, or where the drift of the matched noise does not lie above that without batch norm on
the test seeds; a cost of change in the second case; and every number of an architecture of which a rate that it rests
on is at the edge of its grid. Of the ten numbers, if all speak for the claim, it is supported; if all speak against it,
contradicted; if some do and others, qualified; else it is inconclusive.
"""

from dataclasses import replace

from bncourse import results
from bncourse.experiments.covariate_shift.measure import run
from bncourse.experiments.covariate_shift.outcome import Outcome
from bncourse.experiments.covariate_shift.rules import verdicts
from bncourse.experiments.covariate_shift.settings import Settings
from bncourse.experiments.design import with_seeds
from bncourse.experiments.shared import revive

__all__ = ["REDUCED", "Outcome", "Settings", "recorded", "run", "verdicts", "with_seeds"]
_RELU, _SIGMOID = Settings().cases
REDUCED = Settings(
    cases=(
        replace(_RELU, steps=150, rates=(2.0**-5, 2.0**-4, 2.0**-3), jumping=(0.125,), swinging=(1.0,)),
        replace(_SIGMOID, steps=250, rates=(2.0**-2, 2.0**-1), jumping=(0.5,), swinging=(2.5,)),
    ),
    tuning_seeds=tuple(range(2300, 2306)),
    test_seeds=tuple(range(2400, 2406)),
    probe_every=8,
    curve_steps=20,
)


def recorded() -> Outcome:
    """The outcome of the recorded run, as shown in chapter 4.4."""
    return Outcome(**revive(results.load("covariate_shift").outcome))
