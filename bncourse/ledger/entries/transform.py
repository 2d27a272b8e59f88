"""Claims about what the layer computes."""

from bncourse.ledger.claim import Claim

CLAIMS = (
    Claim(
        id="C21",
        statement="the layer's output has exactly zero mean and unit variance",
        articles=("A0", "A1", "A2"),
        chapter="1.2",
        literature=(
            r"The definition of {cite:t}`ioffe2015batch` adds $\epsilon$ to the variance, so that the output's "
            r"variance, before $\gamma$ and $\beta$, is $s^2/(s^2 + \epsilon)$ for inputs of standard "
            "deviation $s$."
        ),
        test=(
            "PyTorch's layer, new and in training mode, sees the same batch at spreads from far below to far "
            r"above $\sqrt\epsilon$."
        ),
        estimand="Mean and variance of the output, for each $s$.",
        smallest="0.01, in the mean or in the variance.",
        rule=(
            "Supported if mean and variance are within 0.01 of 0 and 1 at every $s$, contradicted if at none, "
            "else qualified; inconclusive if a variance differs from theory by more than one part in a "
            "million."
        ),
        seeds=0,
        experiment="output_variance",
    ),
    Claim(
        id="C22",
        statement="learnable scale and shift give each layer its best mean and variance, the identity included",
        articles=("A1", "A2", "A3", "A4"),
        chapter="1.2",
        literature=(
            r"{cite:t}`ioffe2015batch` introduce $\gamma$ and $\beta$ so that the layer can represent the "
            r"identity, with $\gamma = \sqrt{\sigma^2 + \epsilon}$ and $\beta = \mu$. In training mode $\mu$ "
            r"and $\sigma$ change with every batch, and $\gamma$ and $\beta$ do not."
        ),
        test=(
            r"PyTorch's layer gets the $\gamma$ and $\beta$ that undo one batch of projected digits, and then "
            "sees that batch again, a fresh one in inference mode, and a fresh one in training mode."
        ),
        estimand=("Root mean square of $y - x$ in standard deviations of the feature, for batches of 16, 64 and 256."),
        smallest="An error of 0.01 standard deviations.",
        rule=(
            "Contradicted unless the error on the same batch and in inference is below 0.01 at every seed. "
            "Then supported if the interval on the fresh batch in training lies below 0.01 at every batch "
            "size, qualified if above at every one, else inconclusive."
        ),
        seeds=32,
        experiment="identity",
    ),
)
