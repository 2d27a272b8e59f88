"""Initial values of branches as learners get them wrong, by hand and not through the faulty reference."""

import numpy as np


def added_by(branch, blocks, square, growth):
    """By which share of what a branch with standard values returns the mean square has to grow in a block."""
    return square * (growth - 1) / blocks if "norm" in branch else growth ** (1 / blocks) - 1


def deviations(branch, widths):
    """The standard deviations of all linear layers, from the left."""
    places = [place for place, part in enumerate(branch) if part == "linear"]
    after_relu = [place > 0 and branch[place - 1] == "relu" for place in places]
    return [np.sqrt((1 + after) / fan) for after, fan in zip(after_relu, widths, strict=False)]


def standard(branch, weights):
    """All values, with these for the linear layers and 1 for the others."""
    weights = iter(weights)
    return np.array([next(weights) if part == "linear" else 1.0 for part in branch if part != "relu"])


def scaled(values, added, place=-1):
    values[place] *= np.sqrt(added)
    return values


def with_weights(change):
    """Values that are wrong in the weights alone."""

    def values(branch, widths, blocks, square, growth):
        return scaled(standard(branch, change(branch, widths)), added_by(branch, blocks, square, growth))

    return values


def with_share(change):
    """Values that are wrong in how much a branch adds alone."""

    def values(branch, widths, blocks, square, growth):
        return scaled(standard(branch, deviations(branch, widths)), change(branch, blocks, square, growth))

    return values


def linear_layers(branch, widths, factor):
    """For each linear layer the root of a factor, which depends on its place, over its fan-in."""
    places = [place for place, part in enumerate(branch) if part == "linear"]
    return [np.sqrt(factor(place) / fan) for place, fan in zip(places, widths, strict=False)]


def by_fan_out(branch, widths):
    return [
        weight * np.sqrt(a / b) for weight, a, b in zip(deviations(branch, widths), widths, widths[1:], strict=False)
    ]


def by_fan_average(branch, widths):
    pairs = zip(deviations(branch, widths), widths, widths[1:], strict=False)
    return [weight * np.sqrt(2 * a / (a + b)) for weight, a, b in pairs]


def by_relu_behind(branch, widths):
    return linear_layers(branch, widths, lambda place: 2 if (*branch, "")[place + 1] == "relu" else 1)


def by_relu_remembered(branch, widths):
    return linear_layers(branch, widths, lambda place: 1 + ("relu" in branch[:place]))


def variance_returned(branch, widths, blocks, square, growth):
    values = with_weights(deviations)(branch, widths, blocks, square, growth)
    return np.array(
        [value**2 if part == "linear" else value for part, value in zip(valued(branch), values, strict=True)]
    )


def valued(branch):
    return [part for part in branch if part != "relu"]


def last_gamma(branch, widths, blocks, square, growth):
    names = valued(branch)
    place = len(names) - 1 - names[::-1].index("norm") if "norm" in names else -1
    return scaled(standard(branch, deviations(branch, widths)), added_by(branch, blocks, square, growth), place)


def last_weights(branch, widths, blocks, square, growth):
    weights = deviations(branch, widths)
    weights[-1] *= np.sqrt(added_by(branch, blocks, square, growth))
    return standard(branch, weights)


def first_part(branch, widths, blocks, square, growth):
    return scaled(standard(branch, deviations(branch, widths)), added_by(branch, blocks, square, growth), 0)


def all_parts(branch, widths, blocks, square, growth):
    return np.sqrt(added_by(branch, blocks, square, growth)) * standard(branch, deviations(branch, widths))


SINGLES = {
    "fan_out": with_weights(by_fan_out),
    "fan_average": with_weights(by_fan_average),
    "relu_not_counted": with_weights(lambda branch, widths: widths[:-1] ** -0.5),
    "he_everywhere": with_weights(lambda branch, widths: np.sqrt(2 / widths[:-1])),
    "relu_behind": with_weights(by_relu_behind),
    "relu_remembered": with_weights(by_relu_remembered),
    "variance_returned": variance_returned,
    "uniform_bound": with_weights(lambda branch, widths: np.sqrt(3) * np.array(deviations(branch, widths))),
    "last_gamma": last_gamma,
    "last_weights": last_weights,
    "first_part": first_part,
    "all_parts": all_parts,
    "root_missing": with_share(lambda *case: added_by(*case) ** 2),
    "growth_of_size": with_share(lambda branch, blocks, square, growth: added_by(branch, blocks, square, growth**2)),
    "growth_in_each_block": with_share(
        lambda branch, blocks, square, growth: (square if "norm" in branch else 1) * (growth - 1)
    ),
    "growth_in_steps_between": with_share(
        lambda branch, blocks, square, growth: added_by(branch, blocks - 1, square, growth)
    ),
    "growth_ignored": with_share(lambda branch, blocks, square, growth: 1 / blocks),
    "always_zero": with_share(lambda branch, blocks, square, growth: 0),
    "norm_not_counted": with_share(lambda branch, blocks, square, growth: growth ** (1 / blocks) - 1),
    "norm_assumed": with_share(lambda branch, blocks, square, growth: square * (growth - 1) / blocks),
    "norm_only_first": with_share(lambda branch, *case: added_by(branch[:1], *case)),
    "norm_only_last": with_share(lambda branch, *case: added_by(branch[-1:], *case)),
    "not_compounded": with_share(
        lambda branch, blocks, square, growth: (growth - 1) / blocks * (square if "norm" in branch else 1)
    ),
    "square_ignored": with_share(lambda branch, blocks, square, growth: added_by(branch, blocks, 1, growth)),
    "square_divided": with_share(lambda branch, blocks, square, growth: added_by(branch, blocks, 1 / square, growth)),
}


def counts_down_the_widths(branch, widths, blocks, square, growth):
    values = with_weights(deviations)(branch, widths, blocks, square, growth)
    widths[:-1] = widths[1:]
    return values


def counts_down_the_widths_and_forgets_the_root(branch, widths, blocks, square, growth):
    values = SINGLES["root_missing"](branch, widths, blocks, square, growth)
    widths -= 1
    return values


IN_PLACE = [
    (counts_down_the_widths, {"in_place"}),
    (counts_down_the_widths_and_forgets_the_root, {"in_place", "root_missing"}),
]


def zeros(branch, widths, blocks, square, growth):
    """Two mistakes, and both are named: all parts have the factor, and it is 0."""
    return np.zeros(len(valued(branch)))


def not_a_number(branch, widths, blocks, square, growth):
    return np.full(len(valued(branch)), np.nan)


def plain_root_of_blocks(branch, widths, blocks, square, growth):
    """As if growth were to be had by shrinking with the root of the depth alone."""
    return scaled(standard(branch, deviations(branch, widths)), growth / blocks)


def as_if_the_stream_were_normalized(branch, widths, blocks, square, growth):
    """Sums divided by the root of 2, in thought."""
    return scaled(standard(branch, deviations(branch, widths)), 0.5)


def shared_by_all_parts(branch, widths, blocks, square, growth):
    """Every part takes its share of the factor, as in Fixup."""
    values = standard(branch, deviations(branch, widths))
    return values * added_by(branch, blocks, square, growth) ** (0.5 / len(values))


UNNAMED = [
    not_a_number,
    plain_root_of_blocks,
    as_if_the_stream_were_normalized,
    shared_by_all_parts,
]
