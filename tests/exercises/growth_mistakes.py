"""Wrong measurements of a gradient's growth as learners write them, by hand and not through the faulty reference."""

import numpy as np


def squares(gradients):
    return np.einsum("slnc,slnc->sl", gradients, gradients)


def geometric(values):
    return np.prod(values) ** (1 / len(values))


def per_layer(q):
    """The right growth of each network."""
    return (q[:, 0] / q[:, -1]) ** (1 / (q.shape[1] - 1))


def norm_not_squared(gradients):
    norms = np.linalg.norm(gradients, axis=(2, 3))
    return norms, geometric(per_layer(norms))


def norm_returned(gradients):
    q = squares(gradients)
    return np.sqrt(q), geometric(per_layer(q))


def growth_of_norm(gradients):
    norms = np.sqrt(squares(gradients))
    return norms**2, geometric(per_layer(norms))


def absolute_values(gradients):
    sizes = abs(gradients).sum((2, 3))
    return sizes, geometric(per_layer(sizes))


def spectral_norm(gradients):
    q = np.array([[np.linalg.norm(layer, 2) ** 2 for layer in network] for network in gradients])
    return q, geometric(per_layer(q))


def averaged(gradients):
    q = np.square(gradients).mean(axis=(2, 3))
    return q, geometric(per_layer(q))


def averaged_over_batch(gradients):
    q = (np.linalg.norm(gradients, axis=3) ** 2).mean(axis=2)
    return q, geometric(per_layer(q))


def averaged_over_units(gradients):
    q = squares(gradients) / gradients.shape[3]
    return q, geometric(per_layer(q))


def summed_before_squaring(gradients):
    q = (gradients.sum(axis=2) ** 2).sum(axis=2)
    return q, geometric(per_layer(q))


def averaged_before_squaring(gradients):
    q = np.linalg.norm(gradients.mean(axis=2), axis=2) ** 2
    return q, geometric(per_layer(q))


def direction_flipped(gradients):
    q = squares(gradients)
    return q, geometric((q[:, -1] / q[:, 0]) ** (1 / (q.shape[1] - 1)))


def exponent_of_layers(gradients):
    q = squares(gradients)
    return q, geometric((q[:, 0] / q[:, -1]) ** (1 / q.shape[1]))


def not_per_layer(gradients):
    q = squares(gradients)
    return q, geometric(q[:, 0] / q[:, -1])


def divided_by_steps(gradients):
    q = squares(gradients)
    return q, geometric(q[:, 0] / q[:, -1] / (q.shape[1] - 1))


def arithmetic_mean(gradients):
    q = squares(gradients)
    return q, geometric(np.mean(q[:, :-1] / q[:, 1:], axis=1))


def line_fitted(gradients):
    q = squares(gradients)
    slope = np.polyfit(np.arange(q.shape[1]), np.log(q).T, 1)[0]
    return q, np.exp(-slope.mean())


def networks_averaged(gradients):
    q = squares(gradients)
    return q, per_layer(q).mean()


def ratios_averaged(gradients):
    q = squares(gradients)
    return q, np.mean(q[:, 0] / q[:, -1]) ** (1 / (q.shape[1] - 1))


def norms_averaged(gradients):
    q = squares(gradients)
    return q, per_layer(q.mean(axis=0, keepdims=True))[0]


def first_network_only(gradients):
    q = squares(gradients)
    return q, per_layer(q)[0]


def logarithm_returned(gradients):
    q = squares(gradients)
    return q, -np.diff(np.log(q), axis=1).mean()


SINGLES = {
    function.__name__: function
    for function in (
        norm_not_squared,
        norm_returned,
        growth_of_norm,
        absolute_values,
        spectral_norm,
        averaged,
        averaged_over_batch,
        averaged_over_units,
        summed_before_squaring,
        averaged_before_squaring,
        direction_flipped,
        exponent_of_layers,
        not_per_layer,
        divided_by_steps,
        arithmetic_mean,
        line_fitted,
        networks_averaged,
        ratios_averaged,
        norms_averaged,
        first_network_only,
        logarithm_returned,
    )
}


def squares_in_place(gradients):
    gradients *= gradients
    q = gradients.sum(axis=(2, 3))
    return q, geometric(per_layer(q))


def takes_the_mean_off_in_place(gradients):
    q = squares(gradients)
    gradients -= gradients.mean()
    return q, per_layer(q).mean()


def averages_all_steps_in_place(gradients):
    """One arithmetic mean over steps and networks."""
    gradients **= 2
    q = gradients.sum(axis=(2, 3))
    return q, np.mean(q[:, :-1] / q[:, 1:])


IN_PLACE = [
    (squares_in_place, {"in_place"}),
    (averages_all_steps_in_place, {"in_place", "arithmetic_mean", "networks_averaged"}),
    (takes_the_mean_off_in_place, {"in_place", "networks_averaged"}),
]


def zeros(gradients):
    return np.zeros(gradients.shape[:2]), np.float64(0)


def not_a_number(gradients):
    return np.full(gradients.shape[:2], np.nan), np.float64(np.nan)


def theory(gradients):
    """What chapter 4.1 derives for a wide network."""
    return squares(gradients), np.float64(np.pi / (np.pi - 1))


def last_layer_left_out(gradients):
    q = squares(gradients)
    return q, geometric((q[:, 0] / q[:, -2]) ** (1 / max(q.shape[1] - 2, 1)))


def standard_deviation(gradients):
    """Of entries whose mean is not zero."""
    spread = gradients.std(axis=(2, 3))
    return spread, geometric(per_layer(spread))


def relative_to_the_last_layer(gradients):
    q = squares(gradients)
    return q / q[:, -1:], geometric(per_layer(q))


UNNAMED = [
    zeros,
    not_a_number,
    theory,
    last_layer_left_out,
    standard_deviation,
    relative_to_the_last_layer,
]
