"""Settings that do not match as learners choose them, by hand and not through the faulty reference."""

import numpy as np


def settings(gain, normalized, velocities, rate, decay, eps, powers=(2, -2, -1, 2)):
    """The settings with these powers of the gain; with the default ones, they are right."""
    of_rate, of_decay, of_velocity, of_eps = (gain**power for power in powers)
    rates, decays = np.full(len(normalized), rate), np.full(len(normalized), decay)
    velocities = velocities.copy()
    rates[normalized] *= of_rate
    decays[normalized] *= of_decay
    velocities[normalized] *= of_velocity
    return rates, decays, velocities, np.float64(eps * of_eps)


def rate_by_gain(gain, normalized, velocities, rate, decay, eps):
    return settings(gain, normalized, velocities, rate, decay, eps, (1, -2, -1, 2))


def rate_divided(gain, normalized, velocities, rate, decay, eps):
    return settings(gain, normalized, velocities, rate, decay, eps, (-2, -2, -1, 2))


def rate_divided_by_gain(gain, normalized, velocities, rate, decay, eps):
    return settings(gain, normalized, velocities, rate, decay, eps, (-1, -2, -1, 2))


def rate_unchanged(gain, normalized, velocities, rate, decay, eps):
    _, decays, velocities, eps = settings(gain, normalized, velocities, rate, decay, eps)
    return np.repeat(rate, len(normalized)), decays, velocities, eps


def decay_by_gain(gain, normalized, velocities, rate, decay, eps):
    rates, _, velocities, eps = settings(gain, normalized, velocities, rate, decay, eps)
    return rates, np.where(normalized, decay / gain, decay), velocities, eps


def decay_multiplied(gain, normalized, velocities, rate, decay, eps):
    rates, _, velocities, eps = settings(gain, normalized, velocities, rate, decay, eps)
    return rates, decay * rates / rate, velocities, eps


def decay_multiplied_by_gain(gain, normalized, velocities, rate, decay, eps):
    rates, _, velocities, eps = settings(gain, normalized, velocities, rate, decay, eps)
    return rates, np.array([decay * gain if normal else decay for normal in normalized]), velocities, eps


def decay_unchanged(gain, normalized, velocities, rate, decay, eps):
    rates, decays, velocities, eps = settings(gain, normalized, velocities, rate, decay, eps)
    return rates, np.full_like(decays, decay), velocities, eps


def velocity_multiplied(gain, normalized, velocities, rate, decay, eps):
    rates, decays, _, new_eps = settings(gain, normalized, velocities, rate, decay, eps)
    return rates, decays, np.where(normalized[:, None], gain * velocities, velocities), new_eps


def velocity_by_square(gain, normalized, velocities, rate, decay, eps):
    return settings(gain, normalized, velocities, rate, decay, eps, (2, -2, -2, 2))


def velocity_unchanged(gain, normalized, velocities, rate, decay, eps):
    rates, decays, _, eps = settings(gain, normalized, velocities, rate, decay, eps)
    return rates, decays, velocities, eps


def velocity_reset(gain, normalized, velocities, rate, decay, eps):
    rates, decays, _, eps = settings(gain, normalized, velocities, rate, decay, eps)
    return rates, decays, np.zeros(velocities.shape), eps


def rescaled_velocities_reset(gain, normalized, velocities, rate, decay, eps):
    rates, decays, velocities, eps = settings(gain, normalized, velocities, rate, decay, eps)
    velocities[normalized] = 0
    return rates, decays, velocities, eps


def eps_unchanged(gain, normalized, velocities, rate, decay, eps):
    return *settings(gain, normalized, velocities, rate, decay, eps)[:3], np.float64(eps)


def eps_by_gain(gain, normalized, velocities, rate, decay, eps):
    return *settings(gain, normalized, velocities, rate, decay, eps)[:3], np.float64(gain * eps)


def eps_divided(gain, normalized, velocities, rate, decay, eps):
    return *settings(gain, normalized, velocities, rate, decay, eps)[:3], np.float64(eps / gain / gain)


def gain_not_squared(gain, normalized, velocities, rate, decay, eps):
    factor = np.where(normalized, gain, 1)
    return rate * factor, decay / factor, velocities / factor[:, None], np.float64(eps * gain)


def gain_inverted(gain, normalized, velocities, rate, decay, eps):
    return settings(1 / gain, normalized, velocities, rate, decay, eps)


def only_the_rate(gain, normalized, velocities, rate, decay, eps):
    rates = np.where(normalized, rate * gain**2, rate)
    return rates, np.full(rates.shape, decay), velocities, np.float64(eps)


def nothing_changed(gain, normalized, velocities, rate, decay, eps):
    return np.full(len(normalized), rate), np.full(len(normalized), decay), velocities, np.float64(eps)


def all_rescaled(gain, normalized, velocities, rate, decay, eps):
    return settings(gain, np.ones(len(normalized), bool), velocities, rate, decay, eps)


def others_rescaled(gain, normalized, velocities, rate, decay, eps):
    return settings(gain, np.logical_not(normalized), velocities, rate, decay, eps)


def all_rates_rescaled(gain, normalized, velocities, rate, decay, eps):
    _, decays, velocities, eps = settings(gain, normalized, velocities, rate, decay, eps)
    return np.full(len(decays), rate * gain * gain), decays, velocities, eps


def all_decays_rescaled(gain, normalized, velocities, rate, decay, eps):
    rates, _, velocities, eps = settings(gain, normalized, velocities, rate, decay, eps)
    return rates, np.full(len(rates), decay / gain**2), velocities, eps


def all_velocities_rescaled(gain, normalized, velocities, rate, decay, eps):
    rates, decays, _, eps = settings(gain, normalized, velocities, rate, decay, eps)
    return rates, decays, velocities / gain, eps


def rates_decays_swapped(gain, normalized, velocities, rate, decay, eps):
    rates, decays, velocities, eps = settings(gain, normalized, velocities, rate, decay, eps)
    return decays, rates, velocities, eps


SINGLES = {
    function.__name__: function
    for function in (
        rate_by_gain,
        rate_divided,
        rate_divided_by_gain,
        rate_unchanged,
        decay_by_gain,
        decay_multiplied,
        decay_multiplied_by_gain,
        decay_unchanged,
        velocity_multiplied,
        velocity_by_square,
        velocity_unchanged,
        velocity_reset,
        rescaled_velocities_reset,
        eps_unchanged,
        eps_by_gain,
        eps_divided,
        gain_not_squared,
        gain_inverted,
        only_the_rate,
        nothing_changed,
        all_rescaled,
        others_rescaled,
        all_rates_rescaled,
        all_decays_rescaled,
        all_velocities_rescaled,
        rates_decays_swapped,
    )
}


def divides_in_place(gain, normalized, velocities, rate, decay, eps):
    velocities[normalized] /= gain
    factor = np.where(normalized, gain, 1.0)
    return rate * factor**2, decay / factor**2, velocities, eps * gain**2


def divides_all_in_place(gain, normalized, velocities, rate, decay, eps):
    velocities /= gain
    factor = np.where(normalized, gain**2, 1.0)
    return rate * factor, decay / factor, velocities, eps * gain**2


IN_PLACE = [
    (divides_in_place, {"in_place"}),
    (divides_all_in_place, {"in_place", "all_velocities_rescaled"}),
]


def zeros(gain, normalized, velocities, rate, decay, eps):
    return np.zeros(len(normalized)), np.zeros(len(normalized)), np.zeros_like(velocities), np.float64(0)


def not_a_number(gain, normalized, velocities, rate, decay, eps):
    rates = np.full(len(normalized), np.nan)
    return rates, rates, np.full_like(velocities, np.nan), np.float64(np.nan)


def third_power(gain, normalized, velocities, rate, decay, eps):
    return settings(gain, normalized, velocities, rate, decay, eps, (3, -3, -1, 2))


def rate_by_root(gain, normalized, velocities, rate, decay, eps):
    return settings(gain, normalized, velocities, rate, decay, eps, (0.5, -2, -1, 2))


def eps_with_velocity_and_rate_wrong(gain, normalized, velocities, rate, decay, eps):
    """Three mistakes, and two at most are looked for."""
    return settings(gain, normalized, velocities, rate, decay, eps, (1, -2, 1, 0))


UNNAMED = [
    zeros,
    not_a_number,
    third_power,
    rate_by_root,
    eps_with_velocity_and_rate_wrong,
]
