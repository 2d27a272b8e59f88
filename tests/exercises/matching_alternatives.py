"""Correct settings that are found in other ways than the solution's."""

import numpy as np


def by_mask(gain, normalized, velocities, rate, decay, eps):
    rates, decays = np.full(len(normalized), rate), np.full(len(normalized), decay)
    rates[normalized] *= gain * gain
    decays[normalized] /= gain * gain
    velocities = velocities.copy()
    velocities[normalized] /= gain
    return rates, decays, velocities, gain * gain * eps


def unit_by_unit(gain, normalized, velocities, rate, decay, eps):
    rates, decays, rows = [], [], []
    for is_normalized, row in zip(normalized.tolist(), velocities.tolist(), strict=True):
        factor = gain if is_normalized else 1.0
        rates.append(rate * factor * factor)
        decays.append(decay / factor / factor)
        rows.append([value / factor for value in row])
    return rates, decays, rows, eps * gain * gain


def share_kept(gain, normalized, velocities, rate, decay, eps):
    """The decay from the share that a step takes off, which stays."""
    rates = np.where(normalized, rate * gain**2, rate)
    return rates, rate * decay / rates, velocities * np.sqrt(rate / rates)[:, None], eps * gain**2


def powers_of_the_gain(gain, normalized, velocities, rate, decay, eps):
    exponent = normalized.astype(float)
    return (
        rate * gain ** (2 * exponent),
        decay * gain ** (-2 * exponent),
        (velocities.T * gain**-exponent).T,
        eps * gain**2,
    )


def blended(gain, normalized, velocities, rate, decay, eps):
    on, off = normalized * 1.0, ~normalized * 1.0
    return (
        rate * (off + on * gain**2),
        decay * (off + on / gain**2),
        np.diag(off + on / gain) @ velocities,
        eps * gain**2,
    )


def by_logarithms(gain, normalized, velocities, rate, decay, eps):
    step = normalized * np.log(gain)
    rates, decays = np.exp(np.log(rate) + 2 * step), decay * np.exp(-2 * step)
    return rates, decays, velocities * np.exp(-step)[:, np.newaxis], np.exp(np.log(eps) + 2 * np.log(gain))


def settings_in_float32(gain, normalized, velocities, rate, decay, eps):
    gain, rate, decay, eps = (np.float32(value) for value in (gain, rate, decay, eps))
    factor = np.where(normalized, gain, np.float32(1))
    return rate * factor**2, decay / factor**2, velocities.astype(np.float32) / factor[:, None], eps * gain**2


def solved_from_the_update(gain, normalized, velocities, rate, decay, eps):
    """Read off from one step of one weight: the two lines of the update, solved for what is unknown."""
    w, gradient = 1.7, -0.3
    factor = np.where(normalized, gain, 1.0)
    v_new = (gradient + decay * w) / factor
    decays = (v_new - gradient / factor) / (factor * w)
    rates = factor * rate * (gradient + decay * w) / v_new
    return rates, decays, velocities / factor.reshape(-1, 1), eps * (gain * w) ** 2 / w**2


def torch_settings(gain, normalized, velocities, rate, decay, eps):
    import torch

    factor = torch.tensor(gain, dtype=torch.float64) ** torch.tensor(normalized)
    return rate * factor.square(), decay / factor.square(), torch.tensor(velocities) / factor[:, None], eps * gain**2


MATCHING = [
    by_mask,
    unit_by_unit,
    share_kept,
    powers_of_the_gain,
    blended,
    by_logarithms,
    settings_in_float32,
    solved_from_the_update,
    torch_settings,
]
