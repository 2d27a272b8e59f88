"""Mistakes that several exercises name in the same words."""

from __future__ import annotations

from bncourse.exercises.faults import Fault

PATHS = (
    Fault(
        "mean_path_dropped",
        "dx lacks the path through the mean: the batch mean depends on every x, which takes `mean(dy)` off dy.",
        ("mean path",),
    ),
    Fault(
        "variance_path_dropped",
        "dx lacks the path through the variance: the batch variance depends on every x, which takes "
        "`x_hat * mean(dy * x_hat)` off dy.",
        ("variance path",),
    ),
    Fault(
        "count_missing",
        "The factor 1/m is missing in dx: the paths through the mean and the variance hold the means of dy and "
        "dy * x_hat over the batch, not their sums.",
        ("mean path", "variance path"),
    ),
    Fault(
        "mean_path_summed",
        "The factor 1/m is missing in the path through the mean: dx takes off the mean of dy, not its sum.",
        ("mean path",),
    ),
    Fault(
        "variance_path_summed",
        "The factor 1/m is missing in the path through the variance: dx takes off x_hat times the mean of "
        "dy * x_hat, not its sum.",
        ("variance path",),
    ),
    Fault(
        "mean_path_sign",
        "The path through the mean has the wrong sign: `mean(dy)` is subtracted from dy.",
        ("mean path",),
    ),
    Fault(
        "variance_path_sign",
        "The path through the variance has the wrong sign: `x_hat * mean(dy * x_hat)` is subtracted from dy.",
        ("variance path",),
    ),
)
"""The two paths of dx through the statistics: dropped, without 1/m, with the wrong sign."""

VARIANCE_PATH = (
    Fault(
        "variance_path_halved",
        "The path through the variance is half of what it should be: the derivative of `(x - mean)**2` brings a "
        "factor 2.",
        ("variance path",),
    ),
    Fault(
        "variance_path_doubled",
        "The path through the variance is twice what it should be: the derivative of `(var + eps)**-0.5` brings a "
        "factor -1/2.",
        ("variance path",),
    ),
    Fault(
        "variance_path_centred",
        "The path through the variance multiplies by `x - mean` where x_hat belongs: one factor inv_std is missing "
        "in that term.",
        ("variance path",),
    ),
)
"""The path of dx through the variance."""

INV_STD = (
    Fault(
        "inv_std_missing",
        "inv_std is missing in dx: x_hat is x over the standard deviation, so dx carries the factor "
        "`1 / sqrt(var + eps)`.",
        ("inv_std",),
    ),
    Fault(
        "inv_std_squared",
        "dx carries inv_std squared: multiply by `1 / sqrt(var + eps)` once, not by `1 / (var + eps)`.",
        ("inv_std",),
    ),
)
"""The factor in front of dx."""

DGAMMA = (
    Fault(
        "dgamma_from_x",
        "dgamma is made from x: gamma multiplies x_hat, so dgamma is the sum of `dy * x_hat`.",
        ("dgamma",),
    ),
    Fault(
        "dgamma_from_centred",
        "dgamma is made from `x - mean`: gamma multiplies x_hat, which is also divided by `sqrt(var + eps)`.",
        ("dgamma",),
    ),
)
"""What dy is multiplied by in dgamma."""

PARAMETER_SUMS = (
    Fault(
        "dgamma_averaged",
        "dgamma is averaged over the batch: gamma is used once by every sample, and the gradients of all uses add up. "
        "Take the sum.",
        ("dgamma reduction",),
    ),
    Fault(
        "dgamma_times_gamma",
        "dgamma is multiplied by gamma: it is the sum of `dy * x_hat`, with dy as it arrives.",
        ("dgamma gamma",),
    ),
    Fault(
        "dbeta_averaged",
        "dbeta is averaged over the batch: beta is used once by every sample, and the gradients of all uses add up. "
        "Take the sum.",
        ("dbeta reduction",),
    ),
    Fault(
        "dbeta_times_gamma",
        "dbeta is multiplied by gamma: it is the sum of dy as it arrives, since beta is added after the scaling.",
        ("dbeta gamma",),
    ),
)
"""The sums that dgamma and dbeta are."""

SWAPPED = (
    Fault(
        "dgamma_dbeta_swapped",
        "dgamma and dbeta have changed places: return `dx, dgamma, dbeta`, in this order.",
        ("order",),
    ),
)
"""The order of what is returned."""

X_HAT = (
    Fault(
        "unbiased_variance",
        "This is the unbiased variance: the transform divides the sum of squares by m, not by m - 1 (in NumPy, "
        "`ddof=0`).",
        ("variance",),
    ),
    Fault("eps_missing", "eps is missing: inv_std is `1 / sqrt(var + eps)`.", ("eps",)),
    Fault(
        "eps_fixed",
        "The argument eps is not used; 1e-5 stands in its place. inv_std is `1 / sqrt(var + eps)` with the eps that "
        "the caller gives.",
        ("eps",),
    ),
    Fault(
        "eps_outside",
        "eps is added outside the square root: inv_std is `1 / sqrt(var + eps)`, not `1 / (sqrt(var) + eps)`.",
        ("eps", "root"),
    ),
    Fault(
        "root_missing",
        "inv_std lacks the square root: it is `1 / sqrt(var + eps)`, not `1 / (var + eps)`.",
        ("root",),
    ),
    Fault("no_centring", "The mean is not subtracted in x_hat: it starts from `x - mean`.", ("centring",)),
)
"""x_hat computed again in a backward pass."""

DIVISOR = (
    Fault(
        "divided_by_variance",
        "The centred values are divided by the variance: divide by its square root, `sqrt(var + eps)`.",
        ("root",),
    ),
    Fault("no_centring", "The mean is not subtracted: x_hat starts from `x - mean`.", ("centring",)),
    Fault("sign_flipped", "x_hat has the wrong sign: it starts from `x - mean`, not `mean - x`.", ("centring",)),
    Fault(
        "variance_about_zero",
        "The variance is taken about zero, as the mean of `x**2`: it is the mean of `(x - mean)**2`.",
        ("second moment",),
    ),
)
"""What is subtracted, and what by that is divided, in a forward pass."""
