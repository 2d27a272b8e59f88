"""Claims about initialization, weight decay, and how much runs differ."""

from bncourse.ledger.claim import ALL_ARTICLES, Claim

CLAIMS = (
    Claim(
        id="C5",
        statement="insensitive to weight initialization",
        articles=ALL_ARTICLES,
        chapter="4.3",
        literature=(
            "{cite:t}`ioffe2015batch` show that scaling a layer's weights leaves its output unchanged and "
            "divides its gradient. So large and small initial weights are not alike: they change the length "
            "of the first steps."
        ),
        test=("An MLP on the digits with initial weights multiplied by gains from 0.01 to 10, at two learning rates."),
        estimand=(
            "Width in decades of the gains that end at 90 % accuracy or more: difference batch norm $-$ none, "
            "at each of the two rates."
        ),
        smallest="Half a decade.",
        rule=(
            "Supported if the difference lies above 0.5 at both rates, qualified if at one, contradicted if "
            "it lies below at both, else inconclusive."
        ),
        seeds=24,
    ),
    Claim(
        id="C14",
        statement="combines well with weight decay",
        articles=("A1",),
        chapter="4.6",
        literature=(
            "{cite:t}`vanlaarhoven2017l2` shows that with normalization weight decay does not regularize: it "
            "sets the scale of the weights, and through it the effective learning rate. "
            "{cite:t}`hoffer2018norm` relate it to an adjustment of the learning rate as well."
        ),
        test=(
            "Networks with batch norm on clusters, over weight decays and learning rates; and pairs of runs "
            r"that are matched on $\eta/\lVert W \rVert^2$."
        ),
        estimand=(
            "Gain in accuracy from weight decay at one fixed learning rate, and with the rate tuned again without it."
        ),
        smallest="1 percentage point.",
        rule=(
            "Supported if both gains lie above 1 point, qualified if only that at the fixed rate does, "
            "contradicted if both lie below, else inconclusive."
        ),
        seeds=24,
    ),
    Claim(
        id="C17",
        statement="more consistent, reproducible results across initializations",
        articles=("A4",),
        chapter="4.3",
        literature=(
            "No general result is known to us. {cite:t}`bouthillier2021accounting` measure how much "
            "initialization, data and tuning each contribute to the variance of results."
        ),
        test=(
            "Many initializations of an MLP, one split of the digits and one order of batches; each arm at "
            "its tuned rate."
        ),
        estimand="Standard deviation of test accuracy over initializations, ratio none / batch norm.",
        smallest="A ratio of 1.25.",
        rule="Supported if the interval lies above 1.25, contradicted if below, else inconclusive.",
        seeds=48,
    ),
    Claim(
        id="C23",
        statement="initialization is decisive for batch norm, say some; batch norm makes it unimportant, say others",
        articles=("A0", "A1", "A3", "A4"),
        chapter="4.3",
        literature=(
            "Each half is true of something. The scale of the weights cancels in the forward pass; their norm "
            "sets the effective learning rate {cite:p}`vanlaarhoven2017l2`, and depth still makes gradients "
            "grow {cite:p}`yang2019mean`."
        ),
        test=(
            "C5 with batch norm alone, at one learning rate for all gains, and again with the rate multiplied "
            "by the gain's square."
        ),
        estimand="Accuracy at the best gain less accuracy at the worst: at the one rate, and at the rescaled ones.",
        smallest="5 percentage points.",
        rule=(
            "The verdict is on the second half. Supported if both differences lie below 5 points, qualified "
            "if the first lies above and the second below, contradicted if both lie above, else inconclusive."
        ),
        seeds=24,
    ),
)
