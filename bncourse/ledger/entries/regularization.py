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
            "Small noisy-label data; the optimizer's batch is fixed, the statistics come from ghost batches "
            "of swept size, or from the whole training set, which takes the noise away."
        ),
        estimand=(
            "Test accuracy at the ghost size chosen on validation, less that with full statistics: paired "
            "difference, on clusters and on digits with noisy labels."
        ),
        smallest="1 percentage point.",
        rule=(
            "Supported if the difference lies above 1 point on both data sets, qualified if on one, "
            "contradicted if it lies below on both, else inconclusive."
        ),
        seeds=32,
    ),
    Claim(
        id="C10",
        statement="a larger scale gamma means stronger regularization",
        articles=("A1",),
        chapter="5.3",
        literature=(
            "Contradicted: {cite:t}`luo2019towards` read the noise of the batch as a penalty on large "
            r"$\gamma$."
        ),
        test=(
            r"Networks on clusters with every $\gamma$ fixed, over values from 0.1 to 10, with tanh and with "
            "ReLU."
        ),
        estimand=r"Training accuracy less test accuracy: its change from $\gamma = 0.1$ to $\gamma = 10$.",
        smallest="2 percentage points.",
        rule=(
            "Supported if the gap falls by more than 2 points for both activations, qualified if for one, "
            "contradicted if for both it does not fall by as much, else inconclusive."
        ),
        seeds=24,
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
            "Batches of 2 to 256 of the digits: the spread of the batch mean, and training at fixed epochs "
            "and at fixed steps."
        ),
        estimand=(
            "Slope of the standard deviation of the batch mean against batch size, both as logarithms; "
            "accuracy at batch 16 less accuracy at 256, at fixed epochs and at fixed steps."
        ),
        smallest="0.05 around the slope of $-1/2$; 1 percentage point.",
        rule=(
            "Supported if the slope's interval lies within 0.05 of $-1/2$ and both differences lie above 1 "
            "point; qualified if the slope does and one difference; contradicted if the slope lies outside or "
            "both differences below; else inconclusive."
        ),
        seeds=24,
    ),
    Claim(
        id="C13",
        statement="combines well with dropout",
        articles=("A1",),
        chapter="5.4",
        literature=(
            "{cite:t}`li2019understanding` show that dropout before batch norm changes the variance between "
            "training and inference, while the running statistics keep that of training."
        ),
        test="Networks of six layers on clusters with batch norm, dropout, and both in either order.",
        estimand=(
            "Accuracy with both less that with the better of the two alone, for each order; running variance "
            "over variance in inference, against theory."
        ),
        smallest="1 percentage point.",
        rule=(
            "Supported if the gain lies above $-1$ point for both orders, qualified if for one, contradicted "
            "if it lies below for both, else inconclusive."
        ),
        seeds=24,
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
            "MLPs on digits and on clusters with and without batch norm, the rate tuned for each arm on "
            "validation, the score read once on test."
        ),
        estimand="Test accuracy, paired difference batch norm $-$ none, on each data set.",
        smallest="1 percentage point.",
        rule=(
            "Supported if the difference lies above 1 point on both, qualified if on one, contradicted if it "
            "lies below on both, else inconclusive."
        ),
        seeds=32,
    ),
)
