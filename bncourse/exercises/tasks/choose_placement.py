"""Exercise: where batch norm goes in four networks, decided by training them."""

from __future__ import annotations

import numpy as np

from bncourse.exercises.exercise import Arguments, Exercise, Property
from bncourse.exercises.faults import Coincidence, Fault, FaultSet
from bncourse.exercises.judge import Outputs
from bncourse.exercises.probe import Probe
from bncourse.exercises.trials import NETWORKS, accuracy

GOAL = 0.75
# Each check trains from one of so many seeds: for all of them every answer is tried in the tests, and none comes near
# the goal from either side. A run that was there before is not repeated, as in grading a class.
DRAWS = 5


def place_norms(
    block: tuple[str, ...],
    blocks: int,
    batch: int,
) -> np.ndarray:
    """After which layers of a block batch norm goes.

    h <- h + branch(h)   in a block that has "branch" and "add"

    Parameters
    ----------
    block : names of the layers: "linear", "relu", "sigmoid"; "branch",
        where a branch leaves the stream, which goes on beside it; and
        "add", where the branch comes back and is added to the stream.
    blocks : int, how often the block stands in the network, before one
        linear layer to the logits.
    batch : int, examples in a batch.

    Returns
    -------
    places : array, for each layer of the block 1 if batch norm comes right
        after it, and 0 if not. After "branch" is before the next layer in
        the branch, and after "add" is on the stream.
    """
    places = np.zeros(len(block))
    if batch >= 8:
        places[block.index("linear")] = 1
    return places


SIGMOID, POST, PRE, SMALL = (network.block for network in NETWORKS)
FAULTS = (
    Fault(
        "stream_normalized",
        "In both residual networks batch norm stands behind the sum, on the stream. There it divides by the root of 2 "
        "or so in each block what all blocks before have said, and the branch of the last one gets half of the mean "
        "square: of 40 layers the signal passes 20. In the branch it would make the branches small against the stream.",
        ("post", "pre"),
    ),
    Fault(
        "before_relu",
        'Where the ReLU comes after the sum, "before the activation" is on the stream: there batch norm shrinks in '
        "each block what all blocks before have said. It belongs into the branch.",
        ("post",),
    ),
    Fault(
        "after_relu",
        'Where the ReLU comes after the sum, "after the activation" is on the stream: there batch norm shrinks in each '
        "block what all blocks before have said. It belongs into the branch.",
        ("post",),
    ),
    Fault(
        "after_linear_and_relu",
        "Where the ReLU comes after the sum, batch norm after it is on the stream, and the one in the branch does not "
        "help against that: leave out the one after the ReLU.",
        ("post",),
    ),
    Fault(
        "end_of_block",
        "In both residual networks batch norm stands at the end of the block, and that is on the stream: there it "
        "shrinks in each block what all blocks before have said. It belongs into the branch.",
        ("post", "pre"),
    ),
    Fault(
        "linear_and_sum",
        "In both residual networks there is batch norm in the branch, which is right, and one more behind the sum, on "
        "the stream. That one gives every branch the same share again: leave it out.",
        ("post", "pre"),
    ),
    Fault(
        "everywhere",
        "In the residual networks batch norm stands wherever it can, on the stream as well: there it shrinks in each "
        "block what all blocks before have said. Leave the stream alone.",
        ("post", "pre"),
    ),
    Fault(
        "sum_before_branch",
        "Where the ReLU is in the branch, batch norm behind the sum is on the stream: there it shrinks in each block "
        "what all blocks before have said. Right behind `branch` it would be in front of the ReLU alone.",
        ("pre",),
    ),
    Fault(
        "residual_bare",
        "The residual networks have no batch norm. With He's initial weights a block multiplies the mean square of the "
        "stream, by 2 if the ReLU is in the branch; after forty blocks the logits are so large that nothing is "
        "learned.",
        ("post", "pre"),
    ),
    Fault(
        "sigmoid_bare",
        "The sigmoid network has no batch norm. Its layers make all examples alike, the more of them the more, and its "
        "gradients shrink from layer to layer. A norm before or after the sigmoid brings the differences back.",
        ("sigmoid",),
    ),
    Fault(
        "two_before",
        "In batches of two, all that batch norm leaves of a feature is which of the two examples has the larger value: "
        "it makes 1 and -1 of them, however far they are apart. Before the ReLU that is too little to learn from, and "
        "in inference the features look different. This network trains well without.",
        ("small",),
    ),
    Fault(
        "two_after",
        "In batches of two, all that batch norm leaves of a feature is which of the two examples has the larger value: "
        "it makes 1 and -1 of them, however far they are apart. After the ReLU this is so as well. This network trains "
        "well without.",
        ("small",),
    ),
    Fault(
        "two_on_both_sides",
        "In batches of two, all that batch norm leaves of a feature is which of the two examples has the larger value: "
        "it makes 1 and -1 of them, however far they are apart. This network trains well without, and it has two in "
        "each block.",
        ("small",),
    ),
)
# After which layers, where that is not what the solution says.
WRONG: dict[str, dict[tuple[str, ...], tuple[str, ...]]] = {
    "stream_normalized": {POST: ("add",), PRE: ("add",)},
    "before_relu": {POST: ("add",)},
    "after_relu": {POST: ("relu",)},
    "after_linear_and_relu": {POST: ("linear", "relu")},
    "end_of_block": {POST: ("relu",), PRE: ("add",)},
    "linear_and_sum": {POST: ("linear", "add"), PRE: ("linear", "add")},
    "everywhere": {POST: POST, PRE: PRE},
    "sum_before_branch": {PRE: ("add",)},
    "residual_bare": {POST: (), PRE: ()},
    "sigmoid_bare": {SIGMOID: ()},
    "two_before": {SMALL: ("linear",)},
    "two_after": {SMALL: ("relu",)},
    "two_on_both_sides": {SMALL: SMALL},
}


def faulty_places(faults: FaultSet, arguments: Arguments) -> tuple[np.ndarray]:
    """The places of someone who makes the mistakes in ``faults``; with none, those of the solution."""
    block = arguments["block"]
    for fault in faults:
        if block in WRONG[fault]:
            return (np.array([float(layer in WRONG[fault][block]) for layer in block]),)
    return (place_norms(**arguments),)


def train(outputs: Outputs, probe: Probe) -> str:
    """What became of the network with batch norm at these places, if it fell short of the goal."""
    (places,) = outputs
    chosen = places.round()
    if not (abs(places - chosen) < 1e-3).all() or not set(chosen.tolist()) <= {0.0, 1.0}:
        return "places holds other numbers than 1, for batch norm after a layer, and 0, for none."
    (network,) = (network for network in NETWORKS if network.name == probe.name)
    reached = accuracy(network, chosen, probe.seed)
    if reached >= GOAL:
        return ""
    after = [layer for layer, here in zip(network.block, chosen, strict=True) if here]
    where = f"With batch norm after {' and '.join(after)}" if after else "Without batch norm"
    end = f"came to a test accuracy of {reached:.0%} in {network.steps} steps" if reached else "diverged"
    return f"{where} in its blocks, your network {end}; {GOAL:.0%} is the goal."


def make_probes(rng: np.random.Generator) -> list[Probe]:
    """The given networks, each with one of the draws of data, weights and batches."""
    return [
        Probe(
            network.name,
            {"block": network.block, "blocks": network.blocks, "batch": network.batch},
            seed=int(rng.integers(DRAWS)),
        )
        for network in NETWORKS
    ]


EXERCISE = Exercise(
    id="choose_placement",
    title="Where batch norm goes",
    chapter="6.3",
    statement=(
        "Four networks, each of a block of layers that is repeated, come without batch norm: eight layers of sigmoid "
        "units; two residual networks of forty blocks, one with a ReLU after each sum and one with it in the branch; "
        "and two layers of ReLU units that are trained in batches of two. Say for each after which layers of its block "
        "batch norm goes, or that it goes nowhere. The check trains all four with your places, on data and from "
        "weights that it draws; a test accuracy of 75 % is the goal. Several places may be right."
    ),
    solution_function=place_norms,
    outputs=("places",),
    reference=faulty_places,
    faults=FAULTS,
    coincidences=(
        Coincidence(
            frozenset({"stream_normalized"}),
            frozenset({"before_relu", "sum_before_branch"}),
            "the same two networks, with batch norm behind the sum in each",
        ),
        Coincidence(
            frozenset({"end_of_block"}),
            frozenset({"after_relu", "sum_before_branch"}),
            "the same two networks, with batch norm behind the last layer of the block in each",
        ),
    ),
    make_probes=make_probes,
    properties=(Property("places", "places", lambda places, arguments: places, counts="place"),),
    run=train,
    hints=(
        "Which of the four cannot learn without batch norm, and why? Think of the examples that sigmoid layers make "
        "alike, and of the mean square of a stream to which forty branches are added.",
        "In a residual network ask of each place whether it is in the branch or on the stream. What becomes of the "
        "share that each branch has in its sum? And with two examples in a batch, work out what batch norm makes of "
        "the values a and b of a feature.",
        "In the sigmoid network every place is right, but none is not. In a residual network every place in the branch "
        'is right, after "branch" up to before "add", and none on the stream. In batches of two it goes nowhere.',
    ),
    explanation="""
    This is one answer of many. In the sigmoid network batch norm may come before the activation, after it, or both:
    on either side it brings back the differences between examples that a sigmoid layer takes away.

    In the residual networks what counts is not the activation, but the stream. In the branch, batch norm makes each
    branch add about the same amount to a stream that grows, so that a late block is nearly the identity. On the
    stream it gives each sum a mean square of 1, of which one half is again from the branch: after forty blocks little
    is left of the input. Where the ReLU comes after the sum, both "before the activation" and "after the activation"
    are on the stream.

    Of two values a and b of a feature, batch norm makes 1 and -1: which of them is larger, and nothing else, as
    nothing but eps can tell a large difference from a small one. In inference it uses running averages, and values
    come that the next layer has never seen. Two layers with He's weights need no norm.
    """,
    passed_message=(
        "All four networks learned, with batch norm where you put it or left it out: each came to the goal on examples "
        "that it was not trained on."
    ),
)
