"""A claim about the layer's output."""

from bncourse.ledger.claim import Claim

CLAIMS = (
    Claim(
        id="C26",
        statement="the layer's output has a variance below one",
        articles=("A0",),
        chapter="1.2",
        literature=r"The variance is $s^2/(s^2 + \epsilon)$ by the definition of {cite:t}`ioffe2015batch`.",
        test="PyTorch's layer sees batches of small values.",
        estimand="The variance of the output.",
        smallest="One, of which it must fall short.",
        rule="Supported if the interval lies below 1, contradicted if above, else inconclusive.",
        seeds=24,
        experiment="my_experiment",
    ),
)
