"""Claims about where batch norm stands, and in which networks."""

from bncourse.ledger.claim import Claim

CLAIMS = (
    Claim(
        id="C12",
        statement="the correct place is after the linear layer and before the activation",
        articles=("A1", "A3"),
        chapter="6.1",
        literature=(
            "The place that {cite:t}`ioffe2015batch` chose. {cite:t}`mishkin2017systematic` found it better "
            "after the activation in one network, and before it in another; {cite:t}`he2016identity` put both, "
            "batch norm and activation, before the linear layer."
        ),
        test=(
            "MLPs of 2 and of 6 hidden layers of ReLU, tanh and sigmoid units, with batch norm before the "
            "activation and after it, from the same initial weights, each score at the rate that is best for it "
            "in each place."
        ),
        estimand=(
            "For each of the three activations, over both depths: steps to 90 % on the digits, ratio after / "
            "before; and test accuracy on clusters after 200 steps, difference before $-$ after."
        ),
        smallest="A ratio of 1.1; 1 percentage point of accuracy.",
        rule=(
            "Supported if all six intervals lie above the smallest effect, contradicted if all lie below, "
            "qualified if some lie above and others below, else inconclusive. So a place that makes no "
            "difference speaks against the claim. Open are numbers with a tuned rate at the grid's edge, and a "
            "ratio where more than a quarter of the runs in one place do not arrive."
        ),
        seeds=64,
        experiment="placement",
    ),
    Claim(
        id="C15",
        statement="applies to recurrent layers",
        articles=("A0",),
        chapter="6.3",
        literature=(
            "{cite:t}`laurent2016batch` find that it does not help between hidden states, and speeds training "
            "up between input and hidden state. {cite:t}`cooijmans2017recurrent` make it work with statistics "
            r"of each time step and a small initial $\gamma$."
        ),
        test=(
            "Digits read half a row at a time, in 16 steps, by a plain recurrent network and by an LSTM: without a "
            "norm, and with batch norm of the input alone, with shared statistics, with statistics of each step, and "
            r"with these and a small initial $\gamma$; each score at its tuned rate, with the batch norm that is best "
            "on the validation part."
        ),
        estimand=(
            "For each network: steps to 80 % validation accuracy, ratio none / best batch norm; and test accuracy, "
            "paired difference best batch norm $-$ none."
        ),
        smallest="A ratio of 1.1; 1 percentage point of accuracy.",
        rule=(
            "Supported if all four intervals lie above the smallest effect, contradicted if all lie below, "
            "qualified if some lie above and others below, else inconclusive. Open are numbers with a tuned rate at "
            "the grid's edge, and a ratio where more than a quarter of the runs of an arm do not arrive."
        ),
        seeds=24,
        experiment="recurrent",
    ),
    Claim(
        id="C19",
        statement="robust across architectures: fully connected, convolutional, recurrent",
        articles=("A0",),
        chapter="6.3",
        literature=(
            "Qualified by batch size {cite:p}`wu2018group` and, for recurrent networks, by C15. "
            "{cite:t}`wu2021rethinking` collect where the batch misleads."
        ),
        test=(
            "A fully connected, a convolutional and a recurrent network on the digits, with batch norm and "
            "without, after 2000 examples in batches of 4 and in batches of 64, each score at the rate that is best "
            "for it. The recurrent network gets the better of two ways to apply batch norm."
        ),
        estimand="Gain in test accuracy, paired difference batch norm $-$ none, in each of the six cells.",
        smallest="1 percentage point.",
        rule=(
            "Supported if all six gains lie above 1 point, contradicted if all lie below, qualified if some lie "
            "above and others below, else inconclusive. No gain speaks against the claim as well: a robust benefit "
            "is there in each cell. A gain is open where a tuned rate lies at the grid's edge. The difference of "
            "the gains at the two batch sizes is told beside the verdict."
        ),
        seeds=48,
        experiment="architectures",
    ),
    Claim(
        id="C20",
        statement="batch norm shifted practice from sigmoid and tanh to ReLU",
        articles=("A4",),
        chapter="6.1",
        literature=(
            "Contradicted by the dates: {cite:t}`nair2010rectified`, {cite:t}`glorot2011deep` and "
            "{cite:t}`krizhevsky2012imagenet` use rectified units years before {cite:t}`ioffe2015batch`, who argue "
            "the other way: that batch norm makes saturating units trainable."
        ),
        test=(
            "The years of publication, which were known before the rule was written. C6's finding on whether "
            "batch norm makes sigmoids trainable is told beside them, for it was known as well."
        ),
        estimand="Years from each of the three papers to batch norm's.",
        smallest="One year.",
        rule=(
            "Contradicted if all three precede it by a year or more, qualified if some do, else inconclusive. "
            "Never supported: dates can refute a cause, and cannot show one."
        ),
        seeds=0,
        experiment="chronology",
    ),
)
