"""Wrong predictions of dropout's variance shift as people make them, by hand and not through the faulty reference.

The reference carries a covariance matrix along; here every dropout is a source of independent noise, one value a unit,
with the matrix that leads from it to where the walk has come to.
"""

import numpy as np


def factor(p):
    return p / (1 - p)


def square(mean, var):
    return mean * mean + var


def added(sources):
    return sum((matrix**2 @ strength for matrix, strength in sources), 0.0)


def variance_of_d(function):
    """With this in place of p / (1 - p)."""
    return lambda *network: walk(*network, factor=function)


def mean_square(function):
    """With this in place of mean**2 + var."""
    return lambda *network: walk(*network, square=function)


def returned(function):
    """With this in place of the ratio."""
    return lambda *network: walk(*network, ratio=function)


def relu_multiplies(by):
    """With this in place of the ratio of the mean squares."""
    return lambda *network: walk(*network, relu=by)


def walk(
    layers,
    shares,
    weights,
    means,
    variances,
    factor=factor,
    square=square,
    ratio=lambda own, var: (var + own) / var,
    relu=None,
    linear=np.matmul,
    second=lambda sources: added(sources),
    forget_sources=False,
    begin_anew=True,
    inside=lambda i: i,
):
    """The right prediction, with what may be wrong in it; ``inside`` says whose moments are taken for layer i's."""
    p, w, sources, ratios = list(shares), list(weights), [], []
    for i, layer in enumerate(layers):
        here = inside(i)
        if layer == "dropout":
            strength = factor(p.pop(0)) * (square(means[here], variances[here]) + second(sources))
            sources = [*([] if forget_sources else sources), (np.eye(len(strength)), strength)]
        elif layer == "linear":
            matrix = w.pop(0)
            sources = [(linear(matrix, before), strength) for before, strength in sources]
        elif layer == "relu":
            before, after = (means[k] ** 2 + variances[k] for k in (i, i + 1))
            by = after / before if relu is None else relu
            sources = [(matrix * np.sqrt(by), strength) for matrix, strength in sources]
        else:
            ratios.append(ratio(added(sources), variances[here]) + np.zeros_like(means[0]))
            sources = [] if begin_anew else sources
    return np.array(ratios)


share_kept = variance_of_d(lambda p: (1 - p) / p)
scale_forgotten = variance_of_d(lambda p: p - p**2)
share_itself = variance_of_d(lambda p: p)
second_moment_added = variance_of_d(lambda p: 1 / (1 - p))
mean_ignored = mean_square(lambda mean, var: var)
variance_ignored = mean_square(lambda mean, var: mean**2)
mean_not_squared = mean_square(lambda mean, var: mean + var)
inverted = returned(lambda own, var: var / (var + own))
one_missing = returned(lambda own, var: own / var)
standard_deviations = returned(lambda own, var: np.sqrt(var + own) / np.sqrt(var))
variance_returned = returned(lambda own, var: var + own)
relu_ignored = relu_multiplies(1.0)
relu_halves = relu_multiplies(0.5)
relu_stops = relu_multiplies(0.0)


def one_layer_early(*network):
    return walk(*network, inside=lambda i: i - 1)


def second_moments_compared(layers, shares, weights, means, variances):
    ratios = walk(layers, shares, weights, means, variances)
    at = [i for i, layer in enumerate(layers) if layer == "batch_norm"]
    return 1 + (ratios - 1) * variances[at] / (means[at] ** 2 + variances[at])


def formula_of_one_value(layers, shares, weights, means, variances):
    """Equation eq-dropout-shift with the moments of the batch norm's inputs, wherever the dropouts are."""
    p, kept, ratios = iter(shares), 1.0, []
    for i, layer in enumerate(layers):
        if layer == "dropout":
            kept *= 1 - next(p)
        if layer == "batch_norm":
            ratios.append(1 / kept + (1 / kept - 1) * means[i] ** 2 / variances[i])
            kept = 1.0
    return np.array(ratios)


def one_number_a_unit(layers, shares, weights, means, variances, through):
    """Only the added variance of each unit is carried along, and ``through`` says what a linear layer does to it."""
    p, w, own, ratios = iter(shares), iter(weights), np.zeros_like(means[0]), []
    for i, layer in enumerate(layers):
        if layer == "dropout":
            q = next(p)
            own = (own + q * (means[i] ** 2 + variances[i])) / (1 - q)
        elif layer == "linear":
            own = through(next(w), own)
        elif layer == "relu":
            own = own * (means[i + 1] ** 2 + variances[i + 1]) / (means[i] ** 2 + variances[i])
        else:
            ratios.append(1 + own / variances[i])
            own = np.zeros_like(own)
    return np.array(ratios)


def weights_not_squared(*network):
    return one_number_a_unit(*network, lambda w, own: w @ own)


def weights_absolute(*network):
    return one_number_a_unit(*network, lambda w, own: np.abs(w) @ own)


def squared_one_by_one(*network):
    return one_number_a_unit(*network, lambda w, own: np.square(w) @ own)


def linear_stops(*network):
    return one_number_a_unit(*network, lambda w, own: 0 * own)


def weights_transposed(*network):
    return walk(*network, linear=lambda w, before: w.T @ before)


def inputs_averaged(*network):
    return walk(*network, linear=lambda w, before: w @ before / np.sqrt(w.shape[1]))


def linear_ignored(*network):
    return walk(*network, linear=lambda w, before: before)


def contributions_added(*network):
    return walk(*network, second=lambda sources: 0.0)


def last_only(*network):
    """Right where there is one dropout between two batch norms."""
    return walk(*network, second=lambda sources: 0.0, forget_sources=True)


def one_share(layers, shares, weights, means, variances):
    return walk(layers, np.full_like(shares, shares[0]), weights, means, variances)


def not_reset(*network):
    return walk(*network, begin_anew=False)


def multiplied_up(*network):
    return np.multiply.accumulate(walk(*network))


def counted_for_the_batch_norm_before(layers, shares, weights, means, variances):
    ratios, p = [], list(shares)
    for layer, mean, var in zip(layers, means, variances, strict=True):
        if layer == "batch_norm":
            ratios.append(np.ones_like(mean))
        if layer == "dropout":
            q = factor(p.pop(0))
            if ratios:
                ratios[-1] += q + q * mean**2 / var
    return np.stack(ratios)


SINGLES = {
    "share_kept": share_kept,
    "scale_forgotten": scale_forgotten,
    "share_itself": share_itself,
    "second_moment_added": second_moment_added,
    "mean_ignored": mean_ignored,
    "variance_ignored": variance_ignored,
    "mean_not_squared": mean_not_squared,
    "inverted": inverted,
    "one_missing": one_missing,
    "standard_deviations": standard_deviations,
    "variance_returned": variance_returned,
    "relu_ignored": relu_ignored,
    "relu_halves": relu_halves,
    "relu_stops": relu_stops,
    **{
        function.__name__: function
        for function in (
            one_layer_early,
            second_moments_compared,
            formula_of_one_value,
            weights_not_squared,
            weights_absolute,
            squared_one_by_one,
            linear_stops,
            weights_transposed,
            inputs_averaged,
            linear_ignored,
            contributions_added,
            last_only,
            one_share,
            not_reset,
            multiplied_up,
            counted_for_the_batch_norm_before,
        )
    },
}


def squares_the_means_in_place(layers, shares, weights, means, variances):
    means **= 2
    return walk(layers, shares, weights, np.sqrt(means), variances)


def squares_the_weights_in_place(layers, shares, weights, means, variances):
    weights *= weights
    return one_number_a_unit(layers, shares, weights, means, variances, lambda w, own: w @ own)


IN_PLACE = [
    (squares_the_means_in_place, {"in_place"}),
    (squares_the_weights_in_place, {"in_place", "squared_one_by_one"}),
]


def ones(layers, shares, weights, means, variances):
    return np.ones((layers.count("batch_norm"), means.shape[1]))


def zeros(*network):
    return 0 * ones(*network)


def not_a_number(*network):
    return np.nan * ones(*network)


def shares_in_reverse(layers, shares, weights, means, variances):
    return walk(layers, shares[::-1], weights, means, variances)


def weights_in_reverse(layers, shares, weights, means, variances):
    return walk(layers, shares, weights[::-1], means, variances)


def initial_network(layers, shares, weights, means, variances):
    """What chapter 5.4 derives for random weights behind a ReLU."""
    r = 1 + shares.max(initial=0) / (1 - shares.max(initial=0)) * np.pi / (np.pi - 1)
    return r * ones(layers, shares, weights, means, variances)


def one_mask_for_all_units(layers, shares, weights, means, variances):
    """The noises of the units are added as if they rose and fell together."""
    return one_number_a_unit(layers, shares, weights, means, variances, lambda w, own: (w @ np.sqrt(own)) ** 2)


UNNAMED = [
    ones,
    zeros,
    not_a_number,
    shares_in_reverse,
    weights_in_reverse,
    initial_network,
    one_mask_for_all_units,
]
