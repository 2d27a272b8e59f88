"""Exercise: the settings with which a rescaled network trains as the original does."""

from __future__ import annotations

import numpy as np

from bncourse.exercises.exercise import Arguments, Exercise, Property
from bncourse.exercises.faults import Coincidence, Fault, FaultSet
from bncourse.exercises.probe import Probe


def matching_settings(
    gain: float,
    normalized: np.ndarray,
    velocities: np.ndarray,
    rate: float,
    decay: float,
    eps: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """What makes a rescaled network train as the original does.

    v <- momentum * v + gradient + decay * w
    w <- w - rate * v

    Both train like this, on the same batches and with the same momentum.
    In the rescaled one, the incoming weights of every unit before batch
    norm have just been multiplied by gain.

    Parameters
    ----------
    gain : positive float.
    normalized : bool array of shape (P,), which of the P units have batch
        norm behind them. The weights of the others are as they were.
    velocities : array of shape (P, D), the v of each unit's incoming
        weights in the original, at this moment.
    rate, decay : floats, the original's, for all its weights.
    eps : positive float, of all batch norm layers of the original.

    Returns
    -------
    rates, decays : arrays of shape (P,), for the weights of each unit.
    velocities : array of shape (P, D), for the rescaled network.
    eps : float, for its batch norm layers.
    """
    factor = np.where(normalized, gain, 1.0)
    rates = rate * factor**2
    decays = decay / factor**2
    return rates, decays, velocities / factor[:, None], eps * gain**2


ROWS = ("rows of rates", "rows of decays", "rows of velocities")
FAULTS = (
    Fault(
        "rate_by_gain",
        "The rate is multiplied by the gain: it takes its square. The weights are gain times as large, so the step has "
        "to be; and the gradient is smaller by the gain.",
        ("rate",),
    ),
    Fault(
        "rate_divided",
        "The rate is divided by the square of the gain: multiply. Larger weights have a smaller gradient, and need a "
        "longer step to turn by the same angle.",
        ("rate",),
    ),
    Fault(
        "rate_divided_by_gain",
        "The rate is divided by the gain: multiply it by the square of the gain. Larger weights have a smaller "
        "gradient, and need a longer step to turn by the same angle.",
        ("rate",),
    ),
    Fault(
        "rate_unchanged",
        "The rate is as it was: multiply it by the square of the gain.",
        ("rate", "rate kept"),
    ),
    Fault(
        "decay_by_gain",
        "The decay is divided by the gain: divide it by its square. A step takes off the share `rate * decay` of the "
        "weights, and this share has to stay.",
        ("decay",),
    ),
    Fault(
        "decay_multiplied",
        "The decay is multiplied by the square of the gain: divide. A step takes off the share `rate * decay` of the "
        "weights, and this share has to stay.",
        ("decay",),
    ),
    Fault(
        "decay_multiplied_by_gain",
        "The decay is multiplied by the gain: divide it by the square of the gain. A step takes off the share "
        "`rate * decay` of the weights, and this share has to stay.",
        ("decay",),
    ),
    Fault(
        "decay_unchanged",
        "The decay is as it was. With a larger rate it takes off more of the weights in a step: divide it by the "
        "square of the gain, so that `rate * decay` stays.",
        ("decay", "decay kept"),
    ),
    Fault(
        "velocity_multiplied",
        "The velocities are multiplied by the gain: divide. What v collects are gradients, without the rate, and those "
        "have become smaller.",
        ("velocity",),
    ),
    Fault(
        "velocity_by_square",
        "The velocities are divided by the square of the gain: divide by the gain, as the gradients are that v "
        "collects.",
        ("velocity",),
    ),
    Fault(
        "velocity_unchanged",
        "The velocities are as they were: they hold gradients of the smaller weights. Divide them by the gain.",
        ("velocity", "velocity kept"),
    ),
    Fault(
        "velocity_reset",
        "The velocities are set to zero, as a fresh optimizer does: the network forgets where it was going. Divide "
        "those of the rescaled weights by the gain, and keep the others.",
        ("velocity", "velocity kept"),
    ),
    Fault(
        "rescaled_velocities_reset",
        "The velocities of the rescaled weights are set to zero, as if these were new: the network forgets where it "
        "was going. Divide them by the gain.",
        ("velocity", "velocity kept", "rows of velocities"),
    ),
    Fault(
        "eps_unchanged",
        "eps is as it was. It is added to a variance, which has grown by the square of the gain: multiply it by that.",
        ("eps",),
    ),
    Fault(
        "eps_by_gain",
        "eps is multiplied by the gain: it is added to a variance, which has grown by the square of the gain.",
        ("eps",),
    ),
    Fault(
        "eps_divided",
        "eps is divided by the square of the gain: multiply. It is added to a variance, which has grown by that.",
        ("eps",),
    ),
    Fault(
        "gain_not_squared",
        "The gain stands everywhere without its square. Larger weights have a smaller gradient *and* need a longer "
        "step, so the rate takes two factors; the decay and eps follow.",
        ("rate", "decay", "eps"),
    ),
    Fault(
        "gain_inverted",
        "All is the wrong way round: these are settings for a network whose weights were divided by the gain.",
        ("rate", "decay", "velocity", "eps"),
    ),
    Fault(
        "only_the_rate",
        "The decay, the velocities and eps are as they were, and they belong to the old size of the weights too: put "
        "the new weights and the new gradient into both lines of the update, and see what each has to become.",
        ("decay", "velocity", "eps", "rows of decays", "rows of velocities"),
    ),
    Fault(
        "nothing_changed",
        "All settings are as they were. The rescaled weights have a gradient of another size, and with these settings "
        "they turn by another angle in each step.",
        ("rate", "rate kept", "decay", "decay kept", "velocity", "velocity kept", "eps", *ROWS),
    ),
    Fault(
        "all_rescaled",
        "All units get new settings. Those without batch norm behind them have the weights and the gradients that they "
        "had: they keep their rate, their decay and their velocities.",
        ROWS,
    ),
    Fault(
        "others_rescaled",
        "The wrong units get new settings: `normalized` is True for those with batch norm behind them.",
        ROWS,
    ),
    Fault(
        "all_rates_rescaled",
        "The rate is changed for all units: those without batch norm behind them keep theirs.",
        ("rows of rates", "rate kept"),
    ),
    Fault(
        "all_decays_rescaled",
        "The decay is changed for all units: those without batch norm behind them keep theirs.",
        ("rows of decays", "decay kept"),
    ),
    Fault(
        "all_velocities_rescaled",
        "The velocities are changed for all units: those without batch norm behind them keep theirs.",
        ("rows of velocities", "velocity kept"),
    ),
    Fault(
        "rates_decays_swapped",
        "Rates and decays have changed places: return `rates, decays, velocities, eps`, in this order.",
        ("order",),
    ),
)
# The power of the gain by which each setting is multiplied, where the mistake is in that.
RIGHT = {"rate": 2, "decay": -2, "velocity": -1, "eps": 2}
POWERS = {
    "rate_by_gain": {"rate": 1},
    "rate_divided": {"rate": -2},
    "rate_divided_by_gain": {"rate": -1},
    "rate_unchanged": {"rate": 0},
    "decay_by_gain": {"decay": -1},
    "decay_multiplied": {"decay": 2},
    "decay_multiplied_by_gain": {"decay": 1},
    "decay_unchanged": {"decay": 0},
    "velocity_multiplied": {"velocity": 1},
    "velocity_by_square": {"velocity": -2},
    "velocity_unchanged": {"velocity": 0},
    "eps_unchanged": {"eps": 0},
    "eps_by_gain": {"eps": 1},
    "eps_divided": {"eps": -2},
    "gain_not_squared": {"rate": 1, "decay": -1, "eps": 1},
    "gain_inverted": {"rate": -2, "decay": 2, "velocity": 1, "eps": -2},
    "only_the_rate": {"decay": 0, "velocity": 0, "eps": 0},
    "nothing_changed": dict.fromkeys(RIGHT, 0),
}


def faulty_settings(faults: FaultSet, arguments: Arguments) -> tuple[np.ndarray, ...]:
    """The settings of someone who makes the mistakes in ``faults``; with none, they are right."""
    gain, normalized = arguments["gain"], arguments["normalized"]
    powers = dict(RIGHT)
    for fault in faults & POWERS.keys():
        powers |= POWERS[fault]

    def factors(setting: str, forgotten: str) -> np.ndarray:
        rescaled = ~normalized if "others_rescaled" in faults else normalized
        if faults & {"all_rescaled", forgotten}:
            rescaled = np.ones_like(normalized)
        return np.where(rescaled, gain ** powers[setting], 1.0)

    rates = arguments["rate"] * factors("rate", "all_rates_rescaled")
    decays = arguments["decay"] * factors("decay", "all_decays_rescaled")
    velocities = arguments["velocities"] * factors("velocity", "all_velocities_rescaled")[:, None]
    if "velocity_reset" in faults:
        velocities = np.zeros_like(velocities)
    if "rescaled_velocities_reset" in faults:
        velocities = np.where(normalized[:, None], 0.0, velocities)
    if "rates_decays_swapped" in faults:
        rates, decays = decays, rates
    return rates, decays, velocities, np.array(arguments["eps"] * gain ** powers["eps"])


def make_probes(rng: np.random.Generator) -> list[Probe]:
    """Large gains and small ones, with few units before batch norm and with many; one at the start of training."""

    def probe(name: str, low: float, high: float, units: int, others: int, inputs: int, started: bool = True) -> Probe:
        normalized = rng.permutation(np.arange(units) >= others)
        velocities = rng.uniform(0.5, 2.0, (units, inputs)) * rng.choice([-1.0, 1.0], (units, inputs))
        arguments = {
            "gain": float(rng.uniform(low, high)),
            "normalized": normalized,
            "velocities": velocities * started,
            "rate": float(rng.uniform(0.02, 0.3)),
            "decay": float(10 ** rng.uniform(-4, -2)) * started,
            "eps": float(10 ** rng.uniform(-6, -3)),
        }
        return Probe(name, arguments)

    return [
        probe("larger weights", 1.5, 3.0, 6, 2, 4),
        probe("smaller weights", 0.3, 0.7, 5, 3, 7),
        probe("much larger weights", 8.0, 12.0, 4, 1, 6),
        probe("as many inputs as units", 1.5, 3.0, 5, 2, 5),
        probe("no velocity yet, and no decay", 0.3, 0.7, 7, 3, 3, started=False),
    ]


EXERCISE = Exercise(
    id="matching_rate",
    title="The same training from other weights",
    chapter="4.6",
    statement=(
        "In the middle of training somebody multiplies the weights before batch norm by `gain`. The outputs hardly "
        "change, but from here on the network trains differently. Choose settings with which it trains as the original "
        "would have: after every further step, the weights before batch norm are `gain` times those of the original, "
        "all other parameters are the same, and so are all outputs. Leave the inputs unchanged."
    ),
    solution_function=matching_settings,
    outputs=("rates", "decays", "velocities", "eps"),
    reference=faulty_settings,
    faults=FAULTS,
    coincidences=(
        Coincidence(
            frozenset({"nothing_changed"}),
            frozenset({"only_the_rate", "rate_unchanged"}),
            "where the rate is all that changes, and it does not, nothing changes",
        ),
    ),
    make_probes=make_probes,
    properties=(
        Property("rates", "rates", lambda rates, arguments: rates, counts="unit"),
        Property("decays", "decays", lambda decays, arguments: decays, counts="unit"),
        Property("velocities", "velocities", lambda velocities, arguments: velocities),
        Property("eps", "eps", lambda eps, arguments: eps),
    ),
    hints=(
        "Begin without decay and without momentum. Chapter 1.3 says what becomes of the gradient when the weights are "
        "gain times as large, and which eps that takes. Both sides of `w <- w - rate * gradient` have to be gain times "
        "what they were.",
        "The gradient is divided by the gain, so v has to be, from the first step on. Now look at each summand of v: "
        "which decay makes `decay * w` smaller by the same factor, when w has become larger?",
        "For the units before batch norm: rate * gain**2, decay / gain**2, velocities / gain; for the layers "
        "eps * gain**2. For all other units everything stays, and np.where chooses between the two.",
    ),
    explanation="""
    Put the new weights, gain * w, into both lines. The gradient is that of the original over the gain, if eps grows as
    the variance does. So v is divided by the gain in each of its summands if decay * (gain * w) is decay * w over the
    gain, which takes a decay that is divided by gain**2; and if the velocity with which it begins is divided as well.
    The momentum multiplies what is already right, and stays.

    The second line has to give gain * (w - rate * v), and v is smaller by the gain, so the rate takes two factors: one
    because the weights are larger, one because the gradient is smaller. The product of rate and decay, which is the
    share of the weights that a step takes off, has not changed.

    Units with nothing behind them that normalizes, such as those of the last layer, have the weights and the gradients
    of the original. One rate for all parameters would train them gain**2 times as fast. An optimizer takes parameters
    in groups for such purposes.
    """,
    passed_message=(
        "Your settings agree with the reference in five fresh cases: larger weights, much larger ones and smaller "
        "ones, with few units before batch norm and with many, in the middle of training and at its start. Your inputs "
        "came back unchanged."
    ),
)
