"""Wrong choices of axes as learners write them, by hand and not through the exercise's faulty reference.

Most are the right table of axes, :func:`axes_of`, with one line of it wrong; those of group norm are its reshape.
"""

import numpy as np

EPS = 1e-5


def standardize(x, axes):
    return (x - np.mean(x, axes, keepdims=True)) / np.sqrt(np.var(x, axes, keepdims=True) + EPS)


def axes_of(kind, ndim):
    space = tuple(range(2, ndim))
    return {"batch": (0, *space), "layer": (1, *space), "instance": space}[kind]


def in_groups(x, num_groups, normalize=standardize):
    parts = np.split(x, num_groups, axis=1)
    return np.concatenate([normalize(part, tuple(range(1, x.ndim))) for part in parts], axis=1)


def with_axes(x, kind, num_groups, wrong_kind, wrong_axes):
    """Right for all kinds but one, and that one with these axes."""
    if kind == wrong_kind:
        return standardize(x, wrong_axes)
    return in_groups(x, num_groups) if kind == "group" else standardize(x, axes_of(kind, x.ndim))


def batch_without_space(x, kind, num_groups):
    return with_axes(x, kind, num_groups, "batch", 0)


def batch_over_everything(x, kind, num_groups):
    return with_axes(x, kind, num_groups, "batch", None)


def batch_channels_last(x, kind, num_groups):
    return with_axes(x, kind, num_groups, "batch", tuple(range(x.ndim - 1)))


def batch_as_layer(x, kind, num_groups):
    return with_axes(x, kind, num_groups, "batch", axes_of("layer", x.ndim))


def layer_as_batch(x, kind, num_groups):
    return with_axes(x, kind, num_groups, "layer", axes_of("batch", x.ndim))


def swapped_batch_and_layer(x, kind, num_groups):
    """Takes the axis in the name for the one to reduce: the statistics keep the other."""
    if kind == "group":
        return in_groups(x, num_groups)
    kept = {"batch": (0,), "layer": (1,), "instance": (0, 1)}[kind]
    return standardize(x, tuple(axis for axis in range(x.ndim) if axis not in kept))


def layer_without_space(x, kind, num_groups):
    return with_axes(x, kind, num_groups, "layer", 1)


def layer_over_everything(x, kind, num_groups):
    return with_axes(x, kind, num_groups, "layer", None)


def layer_over_last_axis(x, kind, num_groups):
    return with_axes(x, kind, num_groups, "layer", -1)


def layer_as_instance(x, kind, num_groups):
    return with_axes(x, kind, num_groups, "layer", axes_of("instance", x.ndim))


def instance_over_batch(x, kind, num_groups):
    return with_axes(x, kind, num_groups, "instance", axes_of("batch", x.ndim))


def instance_as_layer(x, kind, num_groups):
    return with_axes(x, kind, num_groups, "instance", axes_of("layer", x.ndim))


def instance_over_last_axis(x, kind, num_groups):
    return with_axes(x, kind, num_groups, "instance", -1)


def swapped_layer_and_instance(x, kind, num_groups):
    if kind == "group":
        return in_groups(x, num_groups)
    other = {"layer": "instance", "instance": "layer", "batch": "batch"}[kind]
    return standardize(x, axes_of(other, x.ndim))


def reshaped(x, kind, num_groups, split, axes, wrong):
    """Right but for "group" where ``wrong``: axis 1 split into ``split``, statistics over ``axes`` and space."""
    if kind != "group":
        return standardize(x, axes_of(kind, x.ndim))
    if not wrong:
        return in_groups(x, num_groups)
    values = x.reshape(len(x), *split, *x.shape[2:])
    return standardize(values, axes).reshape(x.shape)


def after(first, x):
    return tuple(range(first, x.ndim + 1))


def group_without_space(x, kind, num_groups):
    return reshaped(x, kind, num_groups, (num_groups, -1), 2, True)


def group_over_batch(x, kind, num_groups):
    return reshaped(x, kind, num_groups, (num_groups, -1), (0, *after(2, x)), True)


def group_strided(x, kind, num_groups):
    if kind != "group":
        return standardize(x, axes_of(kind, x.ndim))
    x_hat = np.empty_like(x)
    for first in range(num_groups):
        x_hat[:, first::num_groups] = standardize(x[:, first::num_groups], axes_of("layer", x.ndim))
    return x_hat


def group_size_taken(x, kind, num_groups):
    if kind != "group":
        return standardize(x, axes_of(kind, x.ndim))
    return in_groups(x, x.shape[1] // num_groups)


def group_across_groups(x, kind, num_groups):
    size = x.shape[1] // num_groups
    return reshaped(x, kind, num_groups, (num_groups, size), (1, *after(3, x)), True)


def group_as_layer(x, kind, num_groups):
    return standardize(x, axes_of("layer" if kind == "group" else kind, x.ndim))


def group_as_instance(x, kind, num_groups):
    return standardize(x, axes_of("instance" if kind == "group" else kind, x.ndim))


def by_formula(x, kind, num_groups, formula):
    """Right axes for every kind, and a formula to get wrong."""
    if kind == "group":
        return in_groups(x, num_groups, formula)
    return formula(x, axes_of(kind, x.ndim))


def unbiased_variance(x, kind, num_groups):
    def formula(x, axes):
        return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, ddof=1, keepdims=True) + EPS)

    return by_formula(x, kind, num_groups, formula)


def eps_missing(x, kind, num_groups):
    def formula(x, axes):
        return (x - x.mean(axes, keepdims=True)) / x.std(axes, keepdims=True)

    return by_formula(x, kind, num_groups, formula)


def eps_too_small(x, kind, num_groups):
    def formula(x, axes):
        return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-8)

    return by_formula(x, kind, num_groups, formula)


def eps_outside(x, kind, num_groups):
    def formula(x, axes):
        return (x - x.mean(axes, keepdims=True)) / (x.std(axes, keepdims=True) + EPS)

    return by_formula(x, kind, num_groups, formula)


def divided_by_variance(x, kind, num_groups):
    def formula(x, axes):
        return (x - x.mean(axes, keepdims=True)) / (x.var(axes, keepdims=True) + EPS)

    return by_formula(x, kind, num_groups, formula)


def no_centring(x, kind, num_groups):
    def formula(x, axes):
        return x / np.sqrt(x.var(axes, keepdims=True) + EPS)

    return by_formula(x, kind, num_groups, formula)


def sign_flipped(x, kind, num_groups):
    def formula(x, axes):
        return (x.mean(axes, keepdims=True) - x) / np.sqrt(x.var(axes, keepdims=True) + EPS)

    return by_formula(x, kind, num_groups, formula)


def variance_about_zero(x, kind, num_groups):
    def formula(x, axes):
        return (x - x.mean(axes, keepdims=True)) / np.sqrt(np.square(x).mean(axes, keepdims=True) + EPS)

    return by_formula(x, kind, num_groups, formula)


SINGLES = {
    function.__name__: function
    for function in (
        batch_without_space,
        batch_over_everything,
        batch_channels_last,
        batch_as_layer,
        layer_as_batch,
        swapped_batch_and_layer,
        layer_without_space,
        layer_over_everything,
        layer_over_last_axis,
        layer_as_instance,
        instance_over_batch,
        instance_as_layer,
        instance_over_last_axis,
        swapped_layer_and_instance,
        group_without_space,
        group_over_batch,
        group_strided,
        group_size_taken,
        group_across_groups,
        group_as_layer,
        group_as_instance,
        unbiased_variance,
        eps_missing,
        eps_too_small,
        eps_outside,
        divided_by_variance,
        no_centring,
        sign_flipped,
        variance_about_zero,
    )
}


def in_place_through_a_view(x, kind, num_groups):
    """What reshape returns is a view of x: writing into it writes into the caller's array."""
    values = x.reshape(len(x), num_groups if kind == "group" else x.shape[1], -1, *x.shape[2:])
    space = tuple(range(3, values.ndim))
    axes = {"batch": (0, 2, *space), "layer": (1, 2, *space)}.get(kind, (2, *space))
    values -= values.mean(axes, keepdims=True)
    values /= np.sqrt(np.square(values).mean(axes, keepdims=True) + EPS)
    return values.reshape(x.shape)


def in_place_and_strided(x, kind, num_groups):
    if kind != "group":
        axes = axes_of(kind, x.ndim)
        x -= x.mean(axes, keepdims=True)
        return x / np.sqrt(x.var(axes, keepdims=True) + EPS)
    return group_strided(x, kind, num_groups)


IN_PLACE = [(in_place_through_a_view, {"in_place"}), (in_place_and_strided, {"in_place", "group_strided"})]


def zeros(x, kind, num_groups):
    return np.zeros_like(x)


def mean_0_and_variance_1_only(x, kind, num_groups):
    """Passes a check that looks only at the moments of the right sets of values."""
    axes = axes_of("layer" if kind == "group" else kind, x.ndim)
    mirrored = -x if kind != "group" else x
    return standardize(mirrored[::-1], axes)[::-1]


def instance_twice(x, kind, num_groups):
    """The second time changes nothing but what eps had left."""
    right = with_axes(x, kind, num_groups, None, None)
    return standardize(right, axes_of("instance", x.ndim)) if kind == "instance" else right


def eps_forgotten_in_groups_alone(x, kind, num_groups):
    return eps_missing(x, kind, num_groups) if kind == "group" else with_axes(x, kind, num_groups, None, None)


def never_more_than_two_groups(x, kind, num_groups):
    even = x.shape[1] % 2 == 0
    return with_axes(x, kind, min(num_groups, 2) if even else num_groups, None, None)


def one_value_not_a_number(x, kind, num_groups):
    x_hat = with_axes(x, kind, num_groups, None, None)
    x_hat.flat[-1] = np.nan
    return x_hat


UNNAMED = [
    zeros,
    mean_0_and_variance_1_only,
    instance_twice,
    eps_forgotten_in_groups_alone,
    never_more_than_two_groups,
    one_value_not_a_number,
]
