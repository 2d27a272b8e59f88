"""Claims about regularization, batch size, and accuracy."""

from bncourse.ledger.claim import ALL_ARTICLES, Claim

CLAIMS = (
    Claim(
        id="C9",
        statement="regularizes through the noise of the batch",
        articles=ALL_ARTICLES,
        chapter="5.2",
        literature=(
            "{cite:t}`luo2019towards` split batch norm into normalization with population statistics and an "
            "explicit penalty. {cite:t}`hoffer2017train` narrow the generalization gap of large batches with "
            "statistics over small parts of them, ghost batches."
        ),
        test=(
            "Networks on 512 points of clusters, and on 512 digits of which 20 % have their label drawn anew. The "
            "optimizer's batch is always 64; the statistics in training come from ghost batches of 4 to 64, or from "
            "the whole training part, which takes the noise away, or from there with the noise of ghost batches put "
            "back. Rate and number of steps are tuned for each arm on validation, and so is the size."
        ),
        estimand=(
            "Points of test accuracy more than with full statistics, paired by seed, on both data sets: of the "
            "ordinary batch, of ghost batches of the chosen size, and of their noise alone."
        ),
        smallest="1 percentage point.",
        rule=(
            "Each of the six differences speaks for the claim where its interval lies above 1 point, against it "
            "where it lies below, and else is open; so it is where a tuned rate is at the grid's edge. Supported if "
            "all speak for it, contradicted if all speak against it, qualified if there are some of each, else "
            "inconclusive."
        ),
        seeds=32,
        experiment="regularization",
    ),
    Claim(
        id="C10",
        statement="a larger scale gamma means stronger regularization",
        articles=("A1",),
        chapter="5.3",
        literature=(
            "Contradicted as a reading of {cite:t}`luo2019towards`, who split batch norm into normalization with "
            r"population statistics and gamma decay: a large $\gamma$ is what is penalized, not the penalty's strength."
        ),
        test=(
            r"MLPs with batch norm on clusters, ReLU and tanh, with all $\gamma$ fixed at one value from 0.1 to 10 and "
            "the rate tuned for each; 1200 steps."
        ),
        estimand=(
            r"Gap of training and test accuracy: its fall from $\gamma = 0.1$ to 1 with ReLU, from 0.3 to 1 with tanh, "
            "whose networks do not fit at 0.1, and from 1 to 10 with each."
        ),
        smallest="2 percentage points.",
        rule=(
            "Supported if all four falls lie above 2 points, contradicted if all lie below, qualified if some lie "
            "above and others below, else inconclusive. A fall is left open where the networks with the narrower gap "
            "neither reach a mean training accuracy of 98 % nor test as well as those with the wider one, or where a "
            "tuned rate lies at the grid's edge."
        ),
        seeds=32,
        experiment="fixed_gamma",
    ),
    Claim(
        id="C11",
        statement="small batches are noisier, large batches converge slower",
        articles=("A1",),
        chapter="5.1",
        literature=(
            "{cite:t}`wu2018group` find that the error grows fast as batches become small, since the "
            "statistics are estimated badly. {cite:t}`hoffer2017train` trace what large batches lose to their "
            "smaller number of updates."
        ),
        test=(
            "MLPs on the digits in batches of 2 to 250, the rate tuned for each size and each budget: 1 and 4 epochs, "
            "20 and 80 updates. And how far, in trained networks, the statistics and the outputs of batch norm differ "
            "between batches of one size."
        ),
        estimand=(
            "Noise in batches of 20 by noise in batches of 250: of the batch mean, and of a normalized value. With "
            "batch norm, points of test accuracy in batches of 20 less those in batches of 250, at each of the four "
            "budgets."
        ),
        smallest=r"A ratio of 2, where $1/\sqrt B$ makes 3.5; 1 percentage point.",
        rule=(
            "Supported if both ratios lie above 2 and all four differences above 1 point, contradicted if all six "
            "lie below, qualified if some lie above and others below, else inconclusive. A difference is left open "
            "where a tuned rate lies at the grid's edge."
        ),
        seeds=32,
        experiment="batch_size",
    ),
    Claim(
        id="C13",
        statement="combines well with dropout",
        articles=("A1",),
        chapter="5.4",
        literature=(
            "{cite:t}`li2019understanding` show that dropout before batch norm changes the variance between "
            "training and inference, while the running statistics keep that of training; networks with many "
            "channels suffer less."
        ),
        test=(
            "MLPs of three hidden ReLU layers on clusters: with batch norm, with dropout, and with both in three "
            "orders, dropout before the batch norm of each layer, after the ReLU of each layer, or in the last hidden "
            "layer alone. Rate and share tuned for each. Beside it, without a verdict, in six layers: running variance "
            "over variance in inference, against theory, and what accuracy gains by statistics taken anew."
        ),
        estimand=(
            "Percentage points of test accuracy with both, less those with the better of the two alone, as validation "
            "says, for each order, each at its best rate and share, paired by seed."
        ),
        smallest="1 percentage point.",
        rule=(
            "A gain is for the claim above 1 point, against it below. Supported if the gains of all three orders are "
            "for, contradicted if all are against, qualified if some are of each. Else inconclusive. A gain stays open "
            "where a tuned rate is at the edge of its grid, or a share is the largest."
        ),
        seeds=32,
        experiment="dropout",
    ),
    Claim(
        id="C18",
        statement="better accuracy and generalization",
        articles=ALL_ARTICLES,
        chapter="5.2",
        literature=(
            "{cite:t}`ioffe2015batch` report a top-1 accuracy of 74.8 % on ImageNet against 72.2 % without, "
            "together with other changes. {cite:t}`bjorck2018understanding` attribute the gain to larger "
            "learning rates."
        ),
        test=(
            "Networks of three layers on 512 points of clusters, on 512 digits of which 20 % have their label drawn "
            "anew, and on 250 digits, with and without batch norm; rate and number of steps are tuned for each arm on "
            "validation, the score is read once on test."
        ),
        estimand="Points of test accuracy, paired difference batch norm $-$ none, on each data set.",
        smallest="1 percentage point.",
        rule=(
            "A difference speaks for the claim where its interval lies above 1 point, against it where it lies "
            "below, and else is open; so it is where a tuned rate is at the grid's edge. Supported if all three speak "
            "for it, contradicted if all speak against it, qualified if there are some of each, else inconclusive."
        ),
        seeds=32,
        experiment="regularization",
    ),
)
