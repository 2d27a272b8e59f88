"""Wrong gradients of group norm as learners write them, by hand and not through the faulty reference.

Everything happens in the shape (N, G, C / G, positions), with gamma as (G, C / G, 1); :func:`gradients` has what to get
wrong as arguments.
"""

import numpy as np

GROUP = (2, 3)


def split(values, num_groups):
    return values.reshape(len(values), num_groups, values.shape[1] // num_groups, -1)


def parameter_sums(dy, x_hat):
    """dgamma and dbeta, from arrays of the shape of x."""
    axes = (0, *range(2, dy.ndim))
    return np.sum(dy * x_hat, axes), np.sum(dy, axes)


def bracket(g, h, mean_of=lambda values: values.mean(GROUP, keepdims=True), offset=1.0, along=1.0):
    """What is left of g when its two projections are taken off."""
    return g - offset * mean_of(g) - along * h * mean_of(g * h)


def gradients(dy, x, gamma, num_groups, eps, project=bracket, inv_std_of=None, scale=None, power=1):
    """The right gradients, unless an argument says otherwise."""
    values = split(x, num_groups)
    inv_std = (inv_std_of or (lambda v: (v.var(GROUP, keepdims=True) + eps) ** -0.5))(values)
    x_hat = (values - values.mean(GROUP, keepdims=True)) * inv_std
    gamma = gamma if scale is None else scale
    dx_hat = split(dy, num_groups) * gamma.reshape(num_groups, -1, 1)
    dx = inv_std**power * project(dx_hat, x_hat)
    return dx.reshape(x.shape), *parameter_sums(dy, x_hat.reshape(x.shape))


def mean_path_dropped(dy, x, gamma, num_groups, eps):
    return gradients(dy, x, gamma, num_groups, eps, lambda g, h: bracket(g, h, offset=0))


def variance_path_dropped(dy, x, gamma, num_groups, eps):
    return gradients(dy, x, gamma, num_groups, eps, lambda g, h: bracket(g, h, along=0))


def count_missing(dy, x, gamma, num_groups, eps):
    def project(g, h):
        return bracket(g, h, lambda values: np.sum(values, GROUP, keepdims=True))

    return gradients(dy, x, gamma, num_groups, eps, project)


def count_of_channels(dy, x, gamma, num_groups, eps):
    def project(g, h):
        return bracket(g, h, lambda values: values.sum(GROUP, keepdims=True) / values.shape[2])

    return gradients(dy, x, gamma, num_groups, eps, project)


def count_of_positions(dy, x, gamma, num_groups, eps):
    def project(g, h):
        return bracket(g, h, lambda values: values.sum(GROUP, keepdims=True) / values.shape[3])

    return gradients(dy, x, gamma, num_groups, eps, project)


def count_of_batch_norm(dy, x, gamma, num_groups, eps):
    m = len(x) * int(np.prod(x.shape[2:]))
    return gradients(
        dy, x, gamma, num_groups, eps, lambda g, h: bracket(g, h, lambda values: values.sum(GROUP, keepdims=True) / m)
    )


def mean_path_sign(dy, x, gamma, num_groups, eps):
    return gradients(dy, x, gamma, num_groups, eps, lambda g, h: bracket(g, h, offset=-1))


def node_by_node(dy, x, gamma, num_groups, eps, square=2.0, root=-0.5):
    """The staged backward pass, one row of numbers for each group, with the constants of its nodes to get wrong."""
    rows = x.reshape(len(x) * num_groups, -1)
    m = rows.shape[1]
    centred = rows - rows.mean(1, keepdims=True)
    var = (centred**2).sum(1, keepdims=True) / m
    inv_std = (var + eps) ** -0.5
    dx_hat = (split(dy, num_groups) * gamma.reshape(num_groups, -1, 1)).reshape(rows.shape)
    dvar = (dx_hat * centred).sum(1, keepdims=True) * root * (var + eps) ** -1.5
    dcentred = dx_hat * inv_std + dvar * square * centred / m
    dx = dcentred - dcentred.mean(1, keepdims=True)
    return dx.reshape(x.shape), *parameter_sums(dy, (centred * inv_std).reshape(x.shape))


def variance_path_sign(dy, x, gamma, num_groups, eps):
    return node_by_node(dy, x, gamma, num_groups, eps, root=0.5)


def variance_path_halved(dy, x, gamma, num_groups, eps):
    return node_by_node(dy, x, gamma, num_groups, eps, square=1.0)


def variance_path_doubled(dy, x, gamma, num_groups, eps):
    return node_by_node(dy, x, gamma, num_groups, eps, root=-1.0)


def variance_path_centred(dy, x, gamma, num_groups, eps):
    centred = split(x, num_groups) - split(x, num_groups).mean(GROUP, keepdims=True)

    def project(g, h):
        return g - g.mean(GROUP, keepdims=True) - centred * (g * h).mean(GROUP, keepdims=True)

    return gradients(dy, x, gamma, num_groups, eps, project)


def scaled_by_count(dy, x, gamma, num_groups, eps):
    def project(g, h):
        m = g.shape[2] * g.shape[3]
        return m * g - g.sum(GROUP, keepdims=True) - h * (g * h).sum(GROUP, keepdims=True)

    return gradients(dy, x, gamma, num_groups, eps, project)


def gamma_missing(dy, x, gamma, num_groups, eps):
    return gradients(dy, x, gamma, num_groups, eps, scale=np.ones_like(gamma))


def gamma_outside(dy, x, gamma, num_groups, eps):
    """The formula of batch norm, with the axes changed and gamma left where it was."""
    dx, dgamma, dbeta = gradients(dy, x, gamma, num_groups, eps, scale=np.ones_like(gamma))
    return dx * gamma.reshape(-1, *[1] * (x.ndim - 2)), dgamma, dbeta


def with_means_over(axes):
    def project(g, h):
        return bracket(g, h, lambda values: values.mean(axes, keepdims=True))

    return project


def means_over_space(dy, x, gamma, num_groups, eps):
    return gradients(dy, x, gamma, num_groups, eps, with_means_over(3))


def means_over_channels(dy, x, gamma, num_groups, eps):
    return gradients(dy, x, gamma, num_groups, eps, with_means_over(2))


def means_over_batch(dy, x, gamma, num_groups, eps):
    return gradients(dy, x, gamma, num_groups, eps, with_means_over((0, 2, 3)))


def means_of_batch_norm(dy, x, gamma, num_groups, eps):
    """dgamma / m and dbeta / m in place of the means, which in batch norm they are."""
    _, dgamma, dbeta = gradients(dy, x, gamma, num_groups, eps)
    m = x.size / len(gamma)
    per_group = (gamma * dbeta / m, gamma * dgamma / m)
    offset, along = (value.reshape(num_groups, -1, 1) for value in per_group)
    return gradients(dy, x, gamma, num_groups, eps, lambda g, h: g - offset - h * along)


def sums_of_batch_norm(dy, x, gamma, num_groups, eps):
    """The form that ends with ``m * dy - dbeta - x_hat * dgamma``, with the m of a group."""
    _, dgamma, dbeta = gradients(dy, x, gamma, num_groups, eps)
    gamma, dgamma, dbeta = (value.reshape(num_groups, -1, 1) for value in (gamma, dgamma, dbeta))

    def project(g, h):
        m = g.shape[2] * g.shape[3]
        return gamma / m * (m * g / gamma - dbeta - h * dgamma)

    return gradients(dy, x, gamma.ravel(), num_groups, eps, project)


def inv_std_missing(dy, x, gamma, num_groups, eps):
    return gradients(dy, x, gamma, num_groups, eps, power=0)


def inv_std_squared(dy, x, gamma, num_groups, eps):
    return gradients(dy, x, gamma, num_groups, eps, power=2)


def dgamma_from_x(dy, x, gamma, num_groups, eps):
    dx, _, dbeta = node_by_node(dy, x, gamma, num_groups, eps)
    return dx, parameter_sums(dy, x)[0], dbeta


def dgamma_from_centred(dy, x, gamma, num_groups, eps):
    dx, _, dbeta = node_by_node(dy, x, gamma, num_groups, eps)
    centred = split(x, num_groups) - split(x, num_groups).mean(GROUP, keepdims=True)
    return dx, parameter_sums(dy, centred.reshape(x.shape))[0], dbeta


def dgamma_averaged(dy, x, gamma, num_groups, eps):
    dx, dgamma, dbeta = node_by_node(dy, x, gamma, num_groups, eps)
    return dx, dgamma / (x.size / x.shape[1]), dbeta


def over_groups(gradient, num_groups):
    """One sum for each group, given to all of its channels."""
    return np.repeat(gradient.reshape(num_groups, -1).sum(1), len(gradient) // num_groups)


def dgamma_per_group(dy, x, gamma, num_groups, eps):
    dx, dgamma, dbeta = node_by_node(dy, x, gamma, num_groups, eps)
    return dx, over_groups(dgamma, num_groups), dbeta


def dgamma_times_gamma(dy, x, gamma, num_groups, eps):
    dx, dgamma, dbeta = node_by_node(dy, x, gamma, num_groups, eps)
    return dx, gamma * dgamma, dbeta


def dbeta_averaged(dy, x, gamma, num_groups, eps):
    dx, dgamma, _ = node_by_node(dy, x, gamma, num_groups, eps)
    return dx, dgamma, dy.mean((0, *range(2, x.ndim)))


def dbeta_per_group(dy, x, gamma, num_groups, eps):
    dx, dgamma, dbeta = node_by_node(dy, x, gamma, num_groups, eps)
    return dx, dgamma, over_groups(dbeta, num_groups)


def dbeta_times_gamma(dy, x, gamma, num_groups, eps):
    dx, dgamma, dbeta = node_by_node(dy, x, gamma, num_groups, eps)
    return dx, dgamma, gamma * dbeta


def dgamma_dbeta_swapped(dy, x, gamma, num_groups, eps):
    dx, dgamma, dbeta = node_by_node(dy, x, gamma, num_groups, eps)
    return dx, dbeta, dgamma


def unbiased_variance(dy, x, gamma, num_groups, eps):
    def inv_std(values):
        return (values.var(GROUP, ddof=1, keepdims=True) + eps) ** -0.5

    return gradients(dy, x, gamma, num_groups, eps, inv_std_of=inv_std)


def eps_missing(dy, x, gamma, num_groups, eps):
    return node_by_node(dy, x, gamma, num_groups, 0.0)


def eps_fixed(dy, x, gamma, num_groups, eps):
    return node_by_node(dy, x, gamma, num_groups, 1e-5)


def eps_outside(dy, x, gamma, num_groups, eps):
    def inv_std(values):
        return 1 / (values.std(GROUP, keepdims=True) + eps)

    return gradients(dy, x, gamma, num_groups, eps, inv_std_of=inv_std)


def root_missing(dy, x, gamma, num_groups, eps):
    def inv_std(values):
        return 1 / (values.var(GROUP, keepdims=True) + eps)

    return gradients(dy, x, gamma, num_groups, eps, inv_std_of=inv_std)


def no_centring(dy, x, gamma, num_groups, eps):
    values = split(x, num_groups)
    inv_std = (values.var(GROUP, keepdims=True) + eps) ** -0.5
    x_hat = values * inv_std
    dx = inv_std * bracket(split(dy, num_groups) * gamma.reshape(num_groups, -1, 1), x_hat)
    return dx.reshape(x.shape), *parameter_sums(dy, x_hat.reshape(x.shape))


def group_by_group(dy, x, gamma, eps, groups):
    """The gradients for groups that are given as lists of channels."""
    dx, dgamma, dbeta = np.empty_like(x), np.empty_like(gamma), np.empty_like(gamma)
    for channels in groups:
        pieces = gradients(dy[:, channels], x[:, channels], gamma[channels], 1, eps)
        dx[:, channels], dgamma[channels], dbeta[channels] = pieces
    return dx, dgamma, dbeta


def groups_strided(dy, x, gamma, num_groups, eps):
    groups = [slice(first, None, num_groups) for first in range(num_groups)]
    return group_by_group(dy, x, gamma, eps, groups)


def group_size_taken(dy, x, gamma, num_groups, eps):
    groups = [slice(first, first + num_groups) for first in range(0, len(gamma), num_groups)]
    return group_by_group(dy, x, gamma, eps, groups)


def one_group(dy, x, gamma, num_groups, eps):
    return node_by_node(dy, x, gamma, 1, eps)


def single_channels(dy, x, gamma, num_groups, eps):
    return node_by_node(dy, x, gamma, len(gamma), eps)


def groups_over_batch(dy, x, gamma, num_groups, eps):
    axes = (0, 2, 3)
    values = split(x, num_groups)
    inv_std = (values.var(axes, keepdims=True) + eps) ** -0.5
    x_hat = (values - values.mean(axes, keepdims=True)) * inv_std
    dx = inv_std * with_means_over(axes)(split(dy, num_groups) * gamma.reshape(num_groups, -1, 1), x_hat)
    return dx.reshape(x.shape), *parameter_sums(dy, x_hat.reshape(x.shape))


def batch_norm(dy, x, gamma, num_groups, eps):
    axes = (0, *range(2, x.ndim))
    inv_std = (x.var(axes, keepdims=True) + eps) ** -0.5
    x_hat = (x - x.mean(axes, keepdims=True)) * inv_std
    scale = gamma.reshape(-1, *[1] * (x.ndim - 2)) * inv_std
    dx = scale * (dy - dy.mean(axes, keepdims=True) - x_hat * (dy * x_hat).mean(axes, keepdims=True))
    return dx, *parameter_sums(dy, x_hat)


SINGLES = {
    function.__name__: function
    for function in (
        mean_path_dropped,
        variance_path_dropped,
        count_missing,
        count_of_channels,
        count_of_positions,
        count_of_batch_norm,
        mean_path_sign,
        variance_path_sign,
        variance_path_halved,
        variance_path_doubled,
        variance_path_centred,
        scaled_by_count,
        gamma_missing,
        gamma_outside,
        means_over_space,
        means_over_channels,
        means_over_batch,
        means_of_batch_norm,
        sums_of_batch_norm,
        inv_std_missing,
        inv_std_squared,
        dgamma_from_x,
        dgamma_from_centred,
        dgamma_averaged,
        dgamma_per_group,
        dgamma_times_gamma,
        dbeta_averaged,
        dbeta_per_group,
        dbeta_times_gamma,
        dgamma_dbeta_swapped,
        unbiased_variance,
        eps_missing,
        eps_fixed,
        eps_outside,
        root_missing,
        no_centring,
        groups_strided,
        group_size_taken,
        one_group,
        single_channels,
        groups_over_batch,
        batch_norm,
    )
}


def in_place_through_a_view(dy, x, gamma, num_groups, eps):
    """What reshape returns is a view of dy: writing into it writes into the caller's array."""
    _, dgamma, dbeta = gradients(dy, x, gamma, num_groups, eps)
    g = split(dy, num_groups)
    g *= gamma.reshape(num_groups, -1, 1)
    return gradients(dy, x, gamma, num_groups, eps, scale=np.ones_like(gamma))[0], dgamma, dbeta


def in_place_on_x_with_gamma_outside(dy, x, gamma, num_groups, eps):
    dx, dgamma, dbeta = gamma_outside(dy, x, gamma, num_groups, eps)
    rows = x.reshape(len(x), num_groups, -1)
    rows -= rows.mean(2, keepdims=True)
    return dx, dgamma, dbeta


def in_place_as_instance_norm(dy, x, gamma, num_groups, eps):
    """Also leaves gamma outside, which one channel alone does not show."""
    dx, dgamma, dbeta = gamma_outside(dy, x, gamma, len(gamma), eps)
    dy[...] = dx
    return dy, dgamma, dbeta


IN_PLACE = [
    (in_place_through_a_view, {"in_place"}),
    (in_place_on_x_with_gamma_outside, {"in_place", "gamma_outside"}),
    (in_place_as_instance_norm, {"in_place", "single_channels"}),
]


def zeros(dy, x, gamma, num_groups, eps):
    return np.zeros_like(x), np.zeros_like(gamma), np.zeros_like(gamma)


def zero_dx(dy, x, gamma, num_groups, eps):
    _, dgamma, dbeta = node_by_node(dy, x, gamma, num_groups, eps)
    return np.zeros_like(x), dgamma, dbeta


def mean_0_and_orthogonal_only(dy, x, gamma, num_groups, eps):
    """Passes a check that looks only at what the gradient must be orthogonal to."""
    dx, dgamma, dbeta = node_by_node(dy, x, gamma, num_groups, eps)
    return 1.5 * dx, dgamma, dbeta


def gamma_in_another_order(dy, x, gamma, num_groups, eps):
    """gamma reshaped as (C / G, G) and turned: right for one group and for groups of one channel."""
    turned = gamma.reshape(-1, num_groups).T.ravel()
    return gradients(dy, x, gamma, num_groups, eps, scale=turned)


def not_a_number(dy, x, gamma, num_groups, eps):
    dx, dgamma, dbeta = node_by_node(dy, x, gamma, num_groups, eps)
    dgamma[-1] = np.nan
    return dx, dgamma, dbeta


UNNAMED = [
    zeros,
    zero_dx,
    mean_0_and_orthogonal_only,
    gamma_in_another_order,
    not_a_number,
]
