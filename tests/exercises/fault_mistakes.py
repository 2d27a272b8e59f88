"""Training runs as learners leave them: the solution's text with one mistake put in."""

from bncourse.exercises import find_the_fault
from tests.exercises.fault_edits import (
    BEGIN,
    BIASED,
    CHECK,
    FLIPPED,
    FULL,
    GUARDED,
    JOINED,
    MEAN,
    NAN,
    ON_BATCH,
    ONE,
    ONE_THROUGH,
    READABLE,
    UPDATE,
    VAR,
    VAR_TEST,
    Z_TEST,
    edited,
)
from tests.exercises.fault_runs import given_anew

EDITS = {
    "momentum_flipped": FLIPPED,
    "mean_flipped": FLIPPED[:1],
    "var_flipped": FLIPPED[1:],
    "never_updated": ((UPDATE, ""),),
    "updated_twice": ((UPDATE, UPDATE + UPDATE),),
    "biased_kept": ((BIASED, "unbiased = var"),),
    "kept_by_batch": ((BIASED, "unbiased = var * batch / (batch - 1)"),),
    "corrected_twice": ((BIASED, "unbiased = z.var(axis=0, ddof=1) * n / (n - 1)"),),
    "unbiased_normalizes": (("z.var(axis=0)\n", "z.var(axis=0, ddof=1)\n"), (BIASED, "unbiased = var")),
    "evaluated_on_batch": ON_BATCH,
    "test_mean_of_batch": ON_BATCH[:1],
    "test_var_of_batch": ON_BATCH[1:],
    "evaluated_on_last_batch": ((Z_TEST, "x_test @ w - mean"), (VAR_TEST, "np.sqrt(var + eps)")),
    "batch_of_one": ONE_THROUGH,
    "one_trained": (
        (ONE, ""),
        (UPDATE, "        if n > 1:\n" + "".join(f"    {line}\n" for line in UPDATE.splitlines())),
    ),
    "one_in_statistics": ((ONE, ""), (UPDATE, UPDATE + ONE), (BIASED, GUARDED)),
    "nan_in_statistics": NAN,
    "nan_trained": ((CHECK, ""),),
    "nan_as_zeros": ((BEGIN, BEGIN + "    x = np.nan_to_num(x)\n"),),
    "divided_by_batch": (("[classes]) / n", "[classes]) / batch"),),
    "gradient_summed": (("[classes]) / n", "[classes])"),),
    "statistics_constant": (("(dy - dbeta / n - z_hat * dgamma / n)", "dy"),),
}
SINGLES = {name: edited(name, *edits) for name, edits in EDITS.items()}

STEP = "        w, v = w - rate * rows.T @ dz, v - rate * h.T @ dlogits\n"
IN_PLACE_STEP = (STEP, "        w -= rate * rows.T @ dz\n        v = v - rate * h.T @ dlogits\n")
RETURNED = "return w, running_mean, running_var, np.tanh(gamma * z_hat + beta) @ v"

IN_PLACE = [
    (given_anew, find_the_fault.given_faults),
    (edited("weights_in_place", IN_PLACE_STEP), {"in_place"}),
    (edited("weights_in_place_and_flipped", IN_PLACE_STEP, *FLIPPED), {"in_place", "momentum_flipped"}),
    (edited("zeros_in_place", (BEGIN, BEGIN + "    x[np.isnan(x)] = 0\n")), {"in_place", "nan_as_zeros"}),
    (edited("variance_of_one_undefined", (ONE, "")), {"batch_of_one"}),
    (edited("joined_and_biased", *JOINED, *EDITS["biased_kept"]), {"biased_kept"}),
    (edited("readable_and_on_batch", *READABLE, *ON_BATCH), {"evaluated_on_batch"}),
    (edited("full_batches_and_nan", *FULL, *NAN), {"nan_in_statistics"}),
    (
        edited("joined_readable_flipped_twice", *JOINED, *READABLE, *FLIPPED, *ON_BATCH),
        {"momentum_flipped", "evaluated_on_batch"},
    ),
    (
        edited("one_repaired", *FLIPPED, *ON_BATCH, *ONE_THROUGH),
        {"momentum_flipped", "evaluated_on_batch", "batch_of_one"},
    ),
    (
        edited("all_but_one_repaired_and_a_new_one", *ON_BATCH, *ONE_THROUGH, *EDITS["gradient_summed"]),
        {"evaluated_on_batch", "batch_of_one", "gradient_summed"},
    ),
]


zeros = edited("zeros", (RETURNED, "return 0 * w, 0 * beta, 0 * beta, 0 * x_test @ w @ v"))
UNNAMED = [
    zeros,
    edited("not_a_number", (RETURNED, "return w + np.nan, beta + np.nan, beta + np.nan, x_test @ w @ v + np.nan")),
    edited("not_trained", (STEP, "")),
    edited("twice_the_rate", ("        w, v = w", "        rate = rate * 2 if first == 0 else rate\n        w, v = w")),
    edited("gamma_not_trained", ("gamma - rate * dgamma", "gamma")),
    edited("standard_deviation_kept", (BIASED, "unbiased = np.sqrt(var * n / (n - 1))")),
    edited(
        "statistics_after_the_step",
        (UPDATE, ""),
        (
            "beta - rate * dbeta\n",
            "beta - rate * dbeta\n"
            "        z = rows @ w\n"
            "        mean, unbiased = z.mean(axis=0), z.var(axis=0, ddof=1)\n"
            f"        {MEAN}\n        {VAR}\n",
        ),
    ),
    edited("small_batches_left_out_too", ("if n == 1:", "if n <= 3:")),
    edited("eps_missing_in_evaluation", (VAR_TEST, "np.sqrt(running_var)")),
    edited(
        "begun_at_the_first_batch",
        (UPDATE, UPDATE + "        if first == 0:\n            running_mean, running_var = mean, unbiased\n"),
    ),
    edited("three_others", *EDITS["biased_kept"], *EDITS["gradient_summed"], *EDITS["nan_as_zeros"]),
]
