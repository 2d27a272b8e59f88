"""Exercise: the initial values of residual branches, for a stream that grows by a given factor."""

from __future__ import annotations

import numpy as np

from bncourse.exercises.exercise import Arguments, Exercise, Property
from bncourse.exercises.faults import Coincidence, Fault, FaultSet
from bncourse.exercises.probe import Probe


def initial_values(
    branch: tuple[str, ...],
    widths: np.ndarray,
    blocks: int,
    square: float,
    growth: float,
) -> np.ndarray:
    """What the parts of every branch start with.

    h <- h + branch(h)

    All blocks are alike, and a sum goes straight into the next block.
    Weights have mean 0, and what comes into a ReLU is symmetric about 0.

    Parameters
    ----------
    branch : the names of its parts, from its input to its output: "linear",
        without a bias; "norm", batch norm; "relu"; and "scale", a learned
        number by which everything is multiplied.
    widths : integer array, how many features come into the branch, and then
        how many come out of each linear layer.
    blocks : int, how many there are.
    square : float, the mean square of the stream before the first block.
    growth : float, 1 or more: by which factor the mean square is to grow
        from before the first block to after the last, in expectation.

    Returns
    -------
    values : array, one for each part but ReLU: the standard deviation of a
        linear layer's weights, gamma of a norm, the number of a scale. One
        part sets the growth, and the others are standard: gamma and scale
        are 1, and the mean square that comes out of a linear layer is the
        one that came in, or that came into a ReLU directly before it. If
        growth is 1, the one part is 0, and the first training step has to
        move it: take the last part that can be left behind like this.
    """
    added = growth ** (1 / blocks) - 1
    if "norm" in branch:
        added = square * (growth - 1) / blocks

    values: list[float] = []
    fan_ins = iter(widths)
    for before, part in zip(("", *branch), branch, strict=False):
        if part == "linear":
            passed = 1 / 2 if before == "relu" else 1
            values.append(1 / np.sqrt(passed * next(fan_ins)))
        elif part != "relu":
            values.append(1.0)
    values[-1] *= np.sqrt(added)
    return np.array(values)


FAULTS = (
    Fault(
        "fan_out",
        "The weights of a linear layer are divided by the root of how many features come out of it: each output is a "
        "sum over what comes in.",
        ("fan",),
    ),
    Fault(
        "fan_average",
        "The weights are divided by the root of the mean of fan-in and fan-out, as Glorot and Bengio do, for forward "
        "and backward alike. Here the mean square on the way forward is to be kept: fan-in alone.",
        ("fan",),
    ),
    Fault(
        "relu_not_counted",
        "Half of a mean square survives a ReLU: the linear layer after it has to make up for that, with weights that "
        "are larger by the root of 2.",
        ("relu",),
    ),
    Fault(
        "he_everywhere",
        "All weights have a variance of 2 / fan-in. The 2 makes up for a ReLU: a linear layer with none before it has "
        "1 / fan-in.",
        ("relu",),
    ),
    Fault(
        "relu_behind",
        "The 2 of He's variance stands where a ReLU follows: it belongs to the linear layer *after* the ReLU, into "
        "which half of the mean square comes.",
        ("relu",),
    ),
    Fault(
        "relu_remembered",
        "The 2 of He's variance stands wherever there was a ReLU earlier in the branch. It belongs to the layer that "
        "follows a ReLU directly: what comes out of that layer, or out of a norm, is whole again.",
        ("relu",),
    ),
    Fault(
        "variance_returned",
        "These are the variances of the weights: return standard deviations, their roots.",
        ("deviation",),
    ),
    Fault(
        "uniform_bound",
        "This is the bound of uniform weights, larger than their standard deviation by the root of 3: asked for is "
        "the standard deviation.",
        ("deviation",),
    ),
    Fault(
        "last_gamma",
        "The gamma of the last norm sets the growth, in each branch that has one. Where a ReLU comes after it, a gamma "
        "of 0 is a dead end: the slope of ReLU at 0 is taken as 0, so neither gamma nor anything before it gets a "
        "gradient, and the weights after it multiply zeros. Take what comes later.",
        ("part",),
    ),
    Fault(
        "last_weights",
        "The last linear layer sets the growth, in each branch. If a norm follows, it divides the small weights out "
        "again: then gamma sets the growth. And if a scale follows, both would do, and the last was asked for.",
        ("part",),
    ),
    Fault(
        "first_part",
        "The first part sets the growth. What comes after it undoes that, or gets no gradient if it is 0: take the "
        "last part.",
        ("part",),
    ),
    Fault(
        "all_parts",
        "All parts are smaller or larger by the factor that one should have. And at growth 1 all are 0: of several "
        "zeros in a product none gets a gradient.",
        ("part",),
    ),
    Fault(
        "root_missing",
        "The part that sets the growth has the square of what it should have: mean squares are multiplied by the "
        "square of a factor, so take the root.",
        ("root",),
    ),
    Fault(
        "growth_of_size",
        "The stream's size grows by this factor, and so its mean square by the square of it: `growth` is that of the "
        "mean square.",
        ("growth",),
    ),
    Fault(
        "growth_in_each_block",
        "The mean square grows by `growth` in each block: all blocks together are to do it.",
        ("count", "with norm", "without norm"),
    ),
    Fault(
        "growth_in_steps_between",
        "The growth is spread over one block less than there are. Each block adds something, so there are as many "
        "steps as blocks.",
        ("count",),
    ),
    Fault(
        "growth_ignored",
        "A branch adds the share 1 / blocks, whatever `growth` is: then the mean square grows by a factor of about e, "
        "or by 1 in all.",
        ("growth", "norm", "with norm", "without norm"),
    ),
    Fault(
        "always_zero",
        "The part that sets the growth is 0 for every growth: that is right at growth 1 alone.",
        ("growth", "norm", "with norm", "without norm", "count", "root"),
    ),
    Fault(
        "norm_not_counted",
        "The norm in the branch is not taken into account: what comes out of such a branch does not grow with the "
        "stream. Each block adds the same amount, so the mean square grows in a straight line.",
        ("norm", "with norm"),
    ),
    Fault(
        "norm_assumed",
        "A branch without a norm is taken for one that has it. It returns more the more comes in: the mean square is "
        "multiplied from block to block, and the factors of all blocks together are `growth`.",
        ("norm", "without norm"),
    ),
    Fault(
        "norm_only_first",
        "A norm is seen only where it begins the branch. Wherever it stands, what comes after it does not know any "
        "more how large the stream was.",
        ("norm",),
    ),
    Fault(
        "norm_only_last",
        "A norm is seen only where it ends the branch. Wherever it stands, what comes after it does not know any more "
        "how large the stream was.",
        ("norm",),
    ),
    Fault(
        "not_compounded",
        "Without a norm, (growth - 1) / blocks is added in each block, in shares of the stream. But each block works "
        "on what the others have added already, as compound interest does: take the root of degree `blocks` of the "
        "growth.",
        ("without norm",),
    ),
    Fault(
        "square_ignored",
        "The stream is taken to begin with a mean square of 1. A branch with a norm adds an amount, and what is to be "
        "added is `growth - 1` times the `square` with which the stream begins.",
        ("with norm",),
    ),
    Fault(
        "square_divided",
        "What a branch with a norm adds is divided by `square`: multiply. The larger the stream, the more has to be "
        "added for the same growth.",
        ("with norm",),
    ),
)


def faulty_values(faults: FaultSet, arguments: Arguments) -> tuple[np.ndarray]:
    """The values of someone who makes the mistakes in ``faults``; with none, they are right."""
    parts = arguments["branch"]
    with_value = [part for part in parts if part != "relu"]
    values = np.array(
        [_deviation(faults, arguments, place) if part == "linear" else 1.0 for place, part in enumerate(parts)]
    )[[part != "relu" for part in parts]]
    added = _added(faults, arguments)
    factor = added if "root_missing" in faults else np.sqrt(added)

    chosen = len(with_value) - 1
    if "last_gamma" in faults and "norm" in parts:
        chosen = max(place for place, part in enumerate(with_value) if part == "norm")
    if "last_weights" in faults:
        chosen = max(place for place, part in enumerate(with_value) if part == "linear")
    if "first_part" in faults:
        chosen = 0
    scaled = np.ones(len(values), bool) if "all_parts" in faults else np.arange(len(values)) == chosen
    values = np.where(scaled, factor * values, values)

    linear = np.array([part == "linear" for part in with_value])
    if "variance_returned" in faults:
        values = np.where(linear, values**2, values)
    if "uniform_bound" in faults:
        values = np.where(linear, np.sqrt(3) * values, values)
    return (values,)


def _deviation(faults: FaultSet, arguments: Arguments, place: int) -> float:
    """What stands for the standard deviation of the weights of the linear layer at this place of the branch."""
    parts, widths = arguments["branch"], arguments["widths"]
    layer = parts[:place].count("linear")
    inputs, outputs = float(widths[layer]), float(widths[layer + 1])
    fan = inputs
    if "fan_out" in faults:
        fan = outputs
    if "fan_average" in faults:
        fan = (inputs + outputs) / 2
    rectified = parts[place - 1 : place] == ("relu",)
    if "relu_not_counted" in faults:
        rectified = False
    if "he_everywhere" in faults:
        rectified = True
    if "relu_behind" in faults:
        rectified = parts[place + 1 : place + 2] == ("relu",)
    if "relu_remembered" in faults:
        rectified = "relu" in parts[:place]
    return float(np.sqrt((2 if rectified else 1) / fan))


def _added(faults: FaultSet, arguments: Arguments) -> float:
    """What the branch is to add to the mean square, in units of what it returns with standard values alone."""
    parts, blocks, square = arguments["branch"], arguments["blocks"], arguments["square"]
    growth = arguments["growth"] ** 2 if "growth_of_size" in faults else arguments["growth"]
    if "growth_in_each_block" in faults:
        blocks = 1
    if "growth_in_steps_between" in faults:
        blocks -= 1
    normalized = "norm" in parts
    if "norm_not_counted" in faults:
        normalized = False
    if "norm_assumed" in faults:
        normalized = True
    if "norm_only_first" in faults:
        normalized = parts[0] == "norm"
    if "norm_only_last" in faults:
        normalized = parts[-1] == "norm"
    if "always_zero" in faults:
        return 0.0
    if "growth_ignored" in faults:
        return float(1 / blocks)
    if not normalized:
        return float((growth - 1) / blocks if "not_compounded" in faults else growth ** (1 / blocks) - 1)
    if "square_ignored" in faults:
        square = 1.0
    if "square_divided" in faults:
        square = 1 / square
    return float(square * (growth - 1) / blocks)


def make_probes(rng: np.random.Generator) -> list[Probe]:
    """Branches with a norm at each place and without any; two of them are to start as the identity."""

    def probe(name: str, branch: str, blocks: int, layers: int, identity: bool = False) -> Probe:
        # No layer has as many inputs as outputs but for the sake of the sum, and no two branches have the same widths.
        stream = int(rng.integers(20, 40))
        hidden = rng.permutation(np.array([9, 14, 55, 80]))[: layers - 1]
        arguments = {
            "branch": tuple(branch.split()),
            "widths": np.array([stream, *hidden, stream]),
            "blocks": blocks,
            "square": float(rng.uniform(1.6, 4.0)),
            "growth": 1.0 if identity else float(rng.uniform(1.6, 6.0)),
        }
        return Probe(name, arguments)

    return [
        probe("norm first", "norm relu linear", 24, 1),
        probe("norm last", "linear norm relu linear norm", 16, 2),
        probe("norm in the middle", "relu linear norm relu linear", 30, 2),
        probe("no norm", "linear relu linear", 12, 2),
        probe("a scale", "relu linear scale", 50, 1),
        probe("norm and scale", "linear relu norm linear scale", 8, 2),
        probe("as the identity", "norm relu linear norm relu linear", 20, 2, identity=True),
        probe("as the identity, no norm", "relu linear relu linear", 6, 2, identity=True),
    ]


EXERCISE = Exercise(
    id="residual_branch",
    title="Initialize a residual branch",
    chapter="6.2",
    statement=(
        "A residual network adds to its stream what its branches return. Choose with which values the parts of a "
        "branch start, so that the mean square of the stream grows by a given factor over all blocks, however many "
        "there are. With a factor of 1 every block starts as the identity, and has to be able to leave it. Leave the "
        "input unchanged."
    ),
    solution_function=initial_values,
    outputs=("values",),
    reference=faulty_values,
    faults=FAULTS,
    coincidences=tuple(
        Coincidence(
            frozenset({"square_ignored", "not_compounded"}),
            frozenset(same),
            "(growth - 1) / blocks in every branch",
        )
        for same in (("square_ignored", "norm_assumed"), ("not_compounded", "norm_not_counted"))
    ),
    make_probes=make_probes,
    properties=(Property("values", "values", lambda values, arguments: values, counts="place"),),
    hints=(
        "Begin with standard values alone. Which mean square does each branch return, if the stream has q? It depends "
        "on q where there is no norm in the branch, and on nothing where there is one. Then multiply the result of the "
        "branch by a number a: what becomes of q after one block, and after all?",
        "Without a norm, a block multiplies q by 1 + a**2. With one, it adds a**2. In both cases solve for a. A linear "
        "layer sums over its inputs, fan-in many, of which a ReLU has left half of the mean square. As to which part "
        "is multiplied by a: set it to 0 and ask whether its own gradient is 0 as well.",
        "a**2 is growth**(1 / blocks) - 1 without a norm, and square * (growth - 1) / blocks with one. The standard "
        "deviation of weights is the root of 1 / fan-in, or of 2 / fan-in directly after a ReLU. The last of the "
        "values is multiplied by a.",
    ),
    explanation="""
    The branch is drawn independently of the stream, with mean 0, so mean squares add up. With standard values a
    branch without a norm returns the mean square q that it gets, as each linear layer keeps it and makes up for the
    ReLU before it. Multiplied by a, it adds a**2 q, and L blocks multiply q by (1 + a**2)**L. With a norm, wherever it
    stands, what comes after it begins with a mean square of 1. Then each block adds a**2, whatever q is: q + L a**2 in
    all.

    The number a has to stand at the end. In front of a norm it is divided out. In front of a ReLU it works for every
    growth above 1, but at 0 it is a dead end: ReLU passes on zeros, so what follows gets no gradient, and its slope at
    0 is taken as 0, so what stands before gets none. At the end, the gradient of the last part does not contain
    the part itself, and it moves in the first step; the parts before it wait for that and move in the second.

    So it is gamma where a norm ends the branch, the weights where a linear layer does, and a scale, SkipInit's, where
    there is one. "The last gamma" is a rule for branches that end in it.
    """,
    passed_message=(
        "Your values agree with the reference for eight branches: with a norm first, last and in the middle, without "
        "one, with a scale, and twice starting as the identity. Your input came back unchanged."
    ),
)
