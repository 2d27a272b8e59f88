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
        test=(
            "MLPs of five hidden ReLU layers on the digits, with the initial weights of these layers multiplied "
            "by gains from 0.01 to 10. Each arm at its rate tuned at gain 1, at a rate 4 times smaller, and with "
            "the rate tuned again at every gain."
        ),
        estimand=(
            "Width in decades of the gains at which a seed ends at 90 % test accuracy or more: difference batch "
            "norm $-$ none, in each of the three cases."
        ),
        smallest="Half a decade.",
        rule=(
            "Supported if all three differences lie above 0.5, contradicted if all lie below, qualified if some "
            "lie above and others below, else inconclusive. A difference is left open where a tuned rate lies at "
            "the edge of its grid and another might do better, and where it lies below 0.5 only because the width "
            "without batch norm is close to the whole sweep's."
        ),
        seeds=24,
        experiment="initialization",
    ),
    Claim(
        id="C14",
        statement="combines well with weight decay",
        articles=("A1",),
        chapter="4.6",
        literature=(
            "{cite:t}`vanlaarhoven2017l2` shows that with normalization weight decay does not regularize: it "
            "sets the scale of the weights, and through it the effective learning rate. {cite:t}`hoffer2018norm` "
            "connect it with adjustments of the rate as well, {cite:t}`zhang2019three` count a larger effective "
            "rate among its mechanisms, and {cite:t}`wan2021spherical` derive its balance with growth."
        ),
        test=(
            "MLPs of three hidden ReLU layers on clusters, over a grid of learning rates and weight decays; and, "
            "with batch norm, the angles by which steps turn the weights, against theory."
        ),
        estimand=(
            "Gain in test accuracy from weight decay with batch norm: at the rate 0.01, with the decay tuned; and "
            "with the rate tuned both with decay and without."
        ),
        smallest="1 percentage point.",
        rule=(
            "Supported if both gains lie above 1 point, contradicted if both lie below, qualified if one lies above "
            "and the other below, else inconclusive. A gain is left open where a rate or the decay that it rests on "
            "is at the edge of its grid."
        ),
        seeds=96,
        experiment="weight_decay",
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
            "MLPs of five hidden ReLU layers on the digits and on clusters: for each seed one order of batches, "
            "through which 10 initializations go; each arm at its tuned rate."
        ),
        estimand=(
            "Standard deviation of test accuracy over initializations, pooled over the orders of batches: ratio "
            "none / batch norm, on each of the two data sets. A diverged network scores 0."
        ),
        smallest="A ratio of 1.25.",
        rule=(
            "Supported if both ratios lie above 1.25, contradicted if both lie below, qualified if one lies above "
            "and the other below. Else, and where a tuned rate at the grid's edge leaves one open, inconclusive."
        ),
        seeds=24,
        experiment="initialization",
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
            "The networks of C5 with batch norm, at one rate for all gains, the tuned or the small one; and again "
            "with the rate of the hidden weights multiplied by the gain's square."
        ),
        estimand=(
            "Test accuracy at the best gain less that at the worst, which are chosen on other seeds: at both rates, "
            "plain and rescaled."
        ),
        smallest="5 percentage points.",
        rule=(
            "The verdict is on the second half, that batch norm makes initialization unimportant. Supported if all "
            "four differences lie below 5 points; contradicted if at one of the rates both the plain and the "
            "rescaled one lie above; qualified if at one rate the plain one lies above, and both rescaled ones lie "
            "below. Else, and where the tuned rate is at the grid's edge, inconclusive."
        ),
        seeds=24,
        experiment="initialization",
    ),
)
