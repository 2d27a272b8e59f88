"""Claims about speed, learning rates, and getting stuck."""

from bncourse.ledger.claim import ALL_ARTICLES, Claim

CLAIMS = (
    Claim(
        id="C2",
        statement="faster convergence, fewer steps",
        articles=ALL_ARTICLES,
        chapter="4.2",
        literature=(
            "{cite:t}`ioffe2015batch` reach an image classifier's old accuracy in a fourteenth of the steps, "
            "with a larger learning rate and further changes; batch norm alone took less than half the steps. "
            "{cite:t}`bjorck2018understanding` take the larger learning rates for the cause of the faster "
            "convergence."
        ),
        test=(
            "An MLP with five hidden ReLU layers learns the digits with and without batch norm, at every rate "
            "of a grid. Each arm is tuned on seeds of its own, and compared on others, paired."
        ),
        estimand=(
            "Steps to 90 % validation accuracy, restricted to 300: the ratio none / batch norm with each arm "
            "at its tuned rate, and again at every shared rate."
        ),
        smallest="A ratio of 1.25.",
        rule=(
            "Supported if the tuned ratio's interval lies above 1.25, but qualified if batch norm is the "
            "slower arm by as much at a shared rate at which all runs arrive. Contradicted if it lies below, "
            "but qualified if it lies above at some shared rate. Else, and where a tuned rate is at the "
            "grid's edge, inconclusive."
        ),
        seeds=32,
        experiment="convergence",
    ),
    Claim(
        id="C3",
        statement="allows larger learning rates",
        articles=("A0",),
        chapter="4.2",
        literature=(
            "Supported: {cite:t}`bjorck2018understanding` find that without batch norm large updates make "
            "activations grow with depth until the loss diverges. {cite:t}`ioffe2015batch` train at 5 and at "
            "30 times the rate."
        ),
        test="The runs of C2.",
        estimand=(
            "For each seed the largest rate that ends at 90 % validation accuracy or more; ratio of geometric "
            "means, batch norm / none."
        ),
        smallest="A ratio of 2.",
        rule=(
            "Supported if the interval lies above 2, contradicted if below, else inconclusive; inconclusive "
            "too if a run still works at the grid's largest rate."
        ),
        seeds=32,
        experiment="convergence",
    ),
    Claim(
        id="C4",
        statement="insensitive to the learning rate",
        articles=("A0", "A1", "A3"),
        chapter="4.2",
        literature=(
            "The wider range follows from C3. {cite:t}`santurkar2018how` argue that gradients stay predictive "
            "over longer steps, so that more rates train."
        ),
        test="The runs of C2.",
        estimand=(
            "Width in decades of the rates that work, and of the fast ones, at which a seed needs at most "
            "twice the steps of its own best rate: difference batch norm $-$ none."
        ),
        smallest="A factor of 2, which is 0.30 decades.",
        rule=(
            "Supported if both differences lie above 0.30, qualified if one does, contradicted if both lie "
            "below, else inconclusive; inconclusive too if a run still works at the grid's largest rate."
        ),
        seeds=32,
        experiment="convergence",
    ),
    Claim(
        id="C24",
        statement="keeps training from getting stuck in local minima or saturated regions",
        articles=("A1", "A4"),
        chapter="4.5",
        literature=(
            "{cite:t}`ioffe2015batch` name poor local minima among what it helps against, without a test. "
            "{cite:t}`santurkar2018how` explain the gain by a smoother loss, which is a statement about "
            "steps, not about minima."
        ),
        test=(
            "Four plain networks on the digits in which runs stall, with and without batch norm, each arm at its "
            "tuned rate: sigmoid; tanh with hidden weights 8 times as large as usual; ReLU, 10 layers of 6; ReLU, 40 "
            "layers of 32. A run has stalled if its training loss ends above half of what guessing gives. In the "
            "first three, ten runs that stall without batch norm are examined: for saturation, and by a search for "
            "a path along which the loss of all training images falls."
        ),
        estimand=(
            "Share of seeds that stall: the difference none $-$ batch norm in each network. And the share of the "
            "examined runs that sit with most hidden values saturated, or at what may be a minimum, since no path "
            "is found that lowers the loss by a tenth."
        ),
        smallest="A difference of 0.1 between the shares that stall; a share of one half at a minimum or saturated.",
        rule=(
            "Each of the seven numbers speaks for the claim where its interval lies above the smallest effect, "
            "against it where it lies below, and else is open; so is a difference where a tuned rate is at the "
            "grid's edge, unless that arm trains at no rate. Supported if all speak for it, contradicted if all "
            "speak against it, qualified if some do and others, else inconclusive."
        ),
        seeds=32,
        experiment="landscape",
    ),
    Claim(
        id="C25",
        statement="helps most with large data sets and complex architectures",
        articles=("A0",),
        chapter="4.2",
        literature=(
            "{cite:t}`de2020batch` show that batch norm raises the largest depth at which residual networks "
            "train. About the size of the training set published work says less."
        ),
        test=(
            "MLPs on the digits that differ from a common one in depth (2 to 16 hidden layers), width (16 to "
            "128 units) or number of training images (125 to 1000), and on clusters of 128 to 8192 points; in "
            "every setting each arm at its own tuned rates."
        ),
        estimand=(
            "Benefit in steps: steps none / batch norm to 95 % of the accuracy that networks without batch "
            "norm end with in that setting. Benefit in errors: test errors none / batch norm after 300 steps. "
            "For each of the four sizes and both benefits, the factor by which the benefit grows with each "
            "doubling of the size, from the slope of a line through logarithms."
        ),
        smallest="A factor of 1.1 for each doubling.",
        rule=(
            "Supported if all eight factors lie above 1.1, contradicted if all lie below, qualified if some "
            "lie above and others below, else inconclusive. A factor is left open where a tuned rate lies at "
            "the grid's edge, one of steps also where more than a quarter of an arm's runs do not arrive."
        ),
        seeds=24,
        experiment="benefit",
    ),
)
