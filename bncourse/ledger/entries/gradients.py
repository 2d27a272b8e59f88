"""Claims about signals and gradients through depth."""

from bncourse.ledger.claim import ALL_ARTICLES, Claim

CLAIMS = (
    Claim(
        id="C1",
        statement="helps because it reduces internal covariate shift",
        articles=ALL_ARTICLES,
        chapter="4.4",
        literature=(
            "The reason that {cite:t}`ioffe2015batch` gave. {cite:t}`santurkar2018how` measure no less shift "
            "with batch norm, add shift after it and still train faster than without; "
            "{cite:t}`bjorck2018understanding` find the cause in the larger learning rates. "
            "{cite:t}`awais2021revisiting` argue that reducing the shift matters all the same."
        ),
        test=(
            "MLPs with five ReLU layers and with three sigmoid layers on the digits. (a) How much a layer's "
            "gradient changes when the layers below are updated. (b) Noise after batch norm that moves each "
            "unit's mean and spread, sized so that distributions drift more than without batch norm: *jumping* "
            "at every step, which exceeds the drift within one step, or *swinging* within 40 steps, which "
            "exceeds it within 10 steps as well. *Frozen* noise of the same size displaces and shifts nothing."
        ),
        estimand=(
            "For each architecture: (a) relative change of the gradient while learning, ratio batch norm / "
            "none, at the tuned rates and at the one tuned without batch norm. (b) Steps to a training loss of "
            "0.3, each at its tuned rate: ratios none / batch norm with either noise, and swinging / frozen "
            "noise."
        ),
        smallest="(a) a ratio of 0.8; (b) ratios of 1.25.",
        rule=(
            "For the claim speak (a) below 0.8; in (b) none / noisy batch norm below 1.25, so that shift takes "
            "the gain away, and swinging / frozen above 1.25. Supported if all ten numbers speak for it, "
            "contradicted if all speak against it, qualified if some do and others. Else inconclusive. Open are "
            "numbers of an architecture with a tuned rate at the grid's edge, and those of (b) where there "
            "was no gain of 1.25 to take away or too little drift."
        ),
        seeds=32,
        experiment="covariate_shift",
    ),
    Claim(
        id="C6",
        statement="prevents vanishing gradients",
        articles=ALL_ARTICLES,
        chapter="4.1",
        literature=(
            "Supported where units saturate: {cite:t}`ioffe2015batch` train an image classifier with "
            "sigmoids, which did not train without batch norm. {cite:t}`glorot2010understanding` show how "
            "saturation starves the layers below."
        ),
        test=(
            "MLPs with sigmoid and with tanh units, to a depth of 40 at initialization, and to a depth of 20 "
            "trained on the digits at each arm's tuned rate."
        ),
        estimand=(
            "Gradient norm at the first hidden layer over that at the last, at depth 20, and 1 where it is "
            "larger, for such a gradient has not vanished: difference of mean decimal logarithms, batch norm "
            "$-$ none. Then the difference in test accuracy."
        ),
        smallest="One decade, which is a factor of 10; 5 percentage points of accuracy.",
        rule=(
            "Supported if for both activations the interval lies above one decade and for sigmoid the "
            "accuracy's above 5 points; contradicted if all three lie below; qualified if some lie above and "
            "others below. Else, and where a tuned rate at the grid's edge leaves it open, inconclusive."
        ),
        seeds=32,
        experiment="depth",
    ),
    Claim(
        id="C7",
        statement="prevents exploding gradients by scaling gradients down, and so keeps weight updates stable",
        articles=("A0", "A1", "A2", "A4"),
        chapter="4.1",
        literature=(
            "Contradicted at initialization in plain networks: {cite:t}`yang2019mean` prove that batch norm itself "
            "makes gradients grow exponentially with depth, whatever the initialization. For ReLU "
            r"the squared norm grows by $\pi/(\pi - 1) \approx 1.47$ a layer as width and batch grow. In residual "
            "networks {cite:t}`de2020batch` show that it scales the branches down."
        ),
        test=(
            "Plain and residual networks, linear and ReLU, of 20 layers, at He initialization "
            "{cite:p}`he2015delving` with normal inputs; then plain ReLU networks trained on the digits at "
            "each arm's tuned rate."
        ),
        estimand=(
            "Growth per layer of the squared gradient norm towards the input: with batch norm in plain ReLU "
            "networks; and in residual ones, whose gradients explode without it, the ratio none / batch norm. "
            "In training, the standard deviation over layers and steps of the logarithm of relative update "
            "sizes, ratio none / batch norm."
        ),
        smallest="A growth, and a ratio of growths, of 1.05 a layer; a ratio of spreads of 1.25.",
        rule=(
            "Supported if the growth in plain networks lies below 1.05, the ratio of growths above 1.05 and "
            "the ratio of spreads above 1.25; contradicted if all three lie on the other side; qualified if "
            "some lie on the one and some on the other. Else, and where a tuned rate at the grid's edge leaves "
            "it open, inconclusive."
        ),
        seeds=32,
        experiment="depth",
    ),
    Claim(
        id="C8",
        statement="keeps activations out of saturation",
        articles=("A2", "A4"),
        chapter="4.1",
        literature=(
            r"Argued by {cite:t}`ioffe2015batch`. It holds at initialization; $\gamma$ and $\beta$ are "
            "learned, and can undo it."
        ),
        test=(
            "MLPs of 20 layers of tanh units on the digits, with the usual initial weights and with weights "
            "twice as large, at which units saturate without batch norm; at initialization, and after "
            "training at each arm's tuned rate."
        ),
        estimand=(
            "Share of hidden units' values with $|h| > 0.97$: difference none $-$ batch norm, at "
            "initialization and after training."
        ),
        smallest="A difference of 0.05.",
        rule=(
            "Supported if with large weights both differences lie above 0.05 and with the usual ones both "
            r"above $-0.05$, so that batch norm does no harm there. Contradicted if with large weights both "
            "lie below 0.05. Qualified if one lies above and the other below, or one does and harm shows. "
            "Else, and where a tuned rate at the grid's edge leaves it open, inconclusive."
        ),
        seeds=32,
        experiment="depth",
    ),
    Claim(
        id="C16",
        statement='enables deeper networks: "ResNet, DenseNet, Transformer"',
        articles=("A2", "A4"),
        chapter="4.1",
        literature=(
            "{cite:t}`he2016deep` train residual networks with batch norm to 152 layers, while their plain "
            "networks with batch norm degrade with depth. {cite:t}`de2020batch` attribute the depth to "
            "residual branches that batch norm scales down, and reach it with a scalar in its place. The "
            "Transformer {cite:p}`vaswani2017attention` uses layer norm {cite:p}`ba2016layer`."
        ),
        test=(
            "MLPs on the digits, plain ones of 4 to 40 hidden layers and residual ones of 4 to 64, with batch "
            "norm and with none, and residual ones with De and Smith's SkipInit, a learned number that starts "
            "at 0 before each branch. Each network has its tuned rate at each depth."
        ),
        estimand=(
            "For each seed the largest depth of the sweep at which it reaches 90 % test accuracy; ratios of "
            "geometric means, batch norm / none in plain and in residual networks, and batch norm / SkipInit "
            "in residual ones. A network that still works at the end of the sweep counts with that depth."
        ),
        smallest="A factor of 1.5 in depth.",
        rule=(
            "Supported if all three ratios lie above 1.5, contradicted if all lie below, qualified if some "
            "lie above and others below. Else inconclusive; and a ratio is left open where a seed works at no "
            "depth, or where a network that trains might work with a rate beyond the grid's edge."
        ),
        seeds=32,
        experiment="deeper",
    ),
)
