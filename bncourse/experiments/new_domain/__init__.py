r"""What new statistics are worth on another kind of data, and which to fine-tune with. An experiment without a claim.

Two kinds of networks learn the clean digits for 200 steps of momentum SGD in batches of 50: MLPs with three hidden
layers of 64 units, and convolutional networks of 8, 16 and 16 channels. Their rate is tuned by clean validation
accuracy. Their running statistics are then taken anew on the clean training part, in inference and over all images, so
that nothing below is about a lag. Eight new domains are made of the same digits (:mod:`bncourse.lab.corruptions`);
their validation part is what the user of the network gets to see, without labels or with a few. What follows was fixed
before the recorded run. Pilots with seeds 900 to 907 chose sizes and strengths, and had shown the direction of the
effects.

1. Weights stay. Test accuracy with the clean statistics, and with those of n images of the new domain (a draw for each
   seed from its validation part), n from 4 to 256: the moments of each layer's inputs behind layers that normalize
   with theirs already, with the unbiased variance, as :func:`bncourse.layers.recalibrate` takes them.

2. Adaptation at test time, MLPs only: the statistics are those of the batch that is to be read (with the biased
   variance, as in training), mixed with the clean ones (Schneider et al. 2020), for a batch of n images and a *prior*
   of N:

   .. math:: \mu = \frac{N \mu_s + n \mu_B}{N + n}, \qquad \sigma^2 = \frac{N \sigma_s^2 + n \sigma_B^2}{N + n}

   with N from 0, which is training mode, to 256, in batches of 4, 20 and 100. The test images come in an order drawn
   for each seed, and once more *sorted* by class, in batches of 20.

3. Fine-tuning on 40 labelled images of the new domain, MLPs only: ten epochs of momentum SGD, in batches of 2 to 40, in
   five ways. "frozen": with the clean statistics throughout. "recalibrated": with the statistics of the 40 images,
   taken before, throughout. "affine": the same, but of all parameters only gamma and beta learn. "batches": in training
   mode, scored with the running averages (momentum 0.1, from the clean statistics on). "batches, recalibrated": these
   networks, scored with statistics of the 40 images that are taken afterwards.

   Each way has at each domain and batch size a rate of its own: that of best mean accuracy over the tuning seeds on the
   257 validation images of the new domain that were not trained on.

Estimands: mean accuracy on the test part, over seeds, with a 95 % interval, of everything above; the test part is read
once for each of these numbers, at tuned rates. And for fine-tuning paired differences of them: recalibrated less
frozen, batches less recalibrated, batches recalibrated less batches, affine less recalibrated. A network that has
diverged scores 0. There is no threshold and no verdict, and no best prior or batch size is chosen: all are shown.
"""

from bncourse import results
from bncourse.experiments.new_domain.measure import run
from bncourse.experiments.new_domain.outcome import Outcome
from bncourse.experiments.new_domain.settings import NETWORKS, REDUCED, Settings
from bncourse.experiments.shared import revive

__all__ = ["NETWORKS", "REDUCED", "Outcome", "Settings", "recorded", "run"]


def recorded() -> Outcome:
    """The outcome of the recorded run, as shown in chapter 7.4."""
    return Outcome(**revive(results.load("new_domain").outcome))
