r"""Does weight decay help a network with batch norm, and by what? Claim C14.

MLPs with three hidden ReLU layers of 64 learn the 512 training points of clusters, 600 steps of momentum SGD, with and
without batch norm. Weight decay acts on the weights of all linear layers, and on no other parameter. What follows was
fixed before the recorded run. Pilots with seeds 900 to 913 chose the spans of the grids and the settings of the second
part, and had shown the direction of all effects.

Rates and decays are tuned by mean validation accuracy over the tuning seeds, on one grid for both arms: eleven rates,
a factor of 2 apart, 0.01 among them, with each of no decay and seven decays, a factor of 4 apart. The test part is read
at the settings named here only. A diverged network scores 0.

Estimands, paired by seed, each with a 95 % interval, in percentage points of test accuracy:

- gain at a fixed rate: with the best decay at the rate 0.01 - without decay at that rate. 0.01 is the default of SGD in
  Keras; it was not chosen for these data.
- gain retuned: at the best rate and decay - at the best rate without decay.

Also kept, and no part of the rule: the gain from adding the best decay to the best rate without decay, and all three
gains without batch norm.

Rule. A gain speaks *for* the claim where its whole interval lies above 1 point, *against* it where it lies below, and
else is open. Supported if both gains of the arm with batch norm speak for the claim, contradicted if both speak against
it, qualified if one speaks for it and the other against, else inconclusive. Open is the gain at a fixed rate where its
decay is the largest of the grid; the retuned gain where one of its rates is at the edge of the grid, or its decay is
the largest. The smallest decay is no edge: beyond it lies no decay, which is the other side of the comparison.

The second part has no verdict. It holds what weights do under batch norm against what chapter 4.6 derives, for the
hidden layers, over 24 seeds:

- angle: root mean square over layers and the second half of 1000 steps of the angle by which a step turns a layer's
  weights, divided by :math:`\sqrt{2 \eta \lambda / (1 + \mu)}`; for three pairs of rate and decay, with momentum
  :math:`\mu = 0.9` and without. :math:`\eta \lambda T / (1 - \mu)` is 5 at least.
- norm: root mean square of :math:`\|W\|` over the same steps. With 4 times the rate and a quarter of the decay it
  would be twice as large if the gradient at unit norm were the same.
- trajectories: norm and angle over 400 steps from hidden weights times 0.1, 1 and 4, with decay and without.
- growth: without decay, :math:`\|W_T\|^2 - \|W_0\|^2`, with what the last velocity has yet to add (equation
  ``eq-momentum-growth``), by :math:`\frac{1 + \mu}{1 - \mu} \sum_t \|\Delta W_t\|^2`, and by
  :math:`\frac{\eta^2}{(1 - \mu)^2} \sum_t \|\nabla L_t\|^2`, each summed over the layers, in 200 steps.
- matched: the largest difference of the losses of 20 steps to those of the usual network, of one with hidden weights
  times 4, and of one whose hidden weights besides learn at 16 times the rate; and the norm of the first gradient of the
  hidden weights, by that of the usual network.
"""

from bncourse import results
from bncourse.experiments.design import ARMS
from bncourse.experiments.shared import revive
from bncourse.experiments.weight_decay.measure import run
from bncourse.experiments.weight_decay.outcome import Outcome
from bncourse.experiments.weight_decay.rules import verdicts
from bncourse.experiments.weight_decay.settings import Equilibrium, Settings, with_seeds

__all__ = ["ARMS", "REDUCED", "Equilibrium", "Outcome", "Settings", "recorded", "run", "verdicts", "with_seeds"]

REDUCED = Settings(
    rates=(0.01, 0.16),
    decays=(0.064,),
    arms=("batch_norm",),
    equilibria=(Equilibrium(0.9, 0.02, 0.1),),
    followed_gains=(1.0,),
    tuning_seeds=(2700,),
    test_seeds=tuple(range(2800, 2804)),
    followed_seeds=2,
    equilibrium_steps=100,
    trajectory_steps=20,
    growth_steps=20,
)


def recorded() -> Outcome:
    """The outcome of the recorded run, as shown in chapter 4.6."""
    return Outcome(**revive(results.load("weight_decay").outcome))
