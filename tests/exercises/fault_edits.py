"""The solution of find_the_fault with some of its text replaced: mistakes, and other ways to repair the same."""

import inspect

from bncourse.exercises import find_the_fault
from tests.exercises.bank import defined

RIGHT = inspect.getsource(find_the_fault.solution_function)
BIASED = "unbiased = var * n / (n - 1)"
GUARDED = "unbiased = var * n / max(n - 1, 1)"
MEAN = "running_mean = (1 - momentum) * running_mean + momentum * mean"
VAR = "running_var = (1 - momentum) * running_var + momentum * unbiased"
UPDATE = f"        {BIASED}\n        {MEAN}\n        {VAR}\n"
FLIPPED_MEAN = "running_mean = momentum * running_mean + (1 - momentum) * mean"
FLIPPED_VAR = "running_var = momentum * running_var + (1 - momentum) * unbiased"
ONE = "        if n == 1:\n            continue\n"
CHECK = "        if not np.isfinite(loss):\n            continue\n"
BEGIN = "    gamma, beta = np.ones(len(v)), np.zeros(len(v))\n"
Z_TEST = "x_test @ w - running_mean"
VAR_TEST = "np.sqrt(running_var + eps)"
ON_BATCH = ((Z_TEST, "x_test @ w - (x_test @ w).mean(axis=0)"), (VAR_TEST, "np.sqrt((x_test @ w).var(axis=0) + eps)"))
NAN = ((CHECK + "\n" + UPDATE, CHECK), ("        inv_std = ", UPDATE + "        inv_std = "))
FLIPPED = ((MEAN, FLIPPED_MEAN), (VAR, FLIPPED_VAR))
ONE_THROUGH = ((ONE, ""), (BIASED, GUARDED))
JOINED = (
    ("list(range(0, len(x), batch)) * epochs", "cuts * epochs"),
    (BEGIN, BEGIN + "    cuts = list(range(0, len(x) - 1, batch))\n"),
    ("x[first:][:batch]", "x[first:][: batch + (first + batch + 1 == len(x))]"),
    ("labels[first:][:batch]", "labels[first:][: batch + (first + batch + 1 == len(x))]"),
)
READABLE = ((BEGIN, BEGIN + "    good = ~np.isnan(x).any(axis=1)\n    x, labels = x[good], labels[good]\n"),)
FULL = (("len(x), batch)) * epochs", "len(x) - batch + 1, batch)) * epochs"),)


def edited(name, *edits):
    """The solution under another name, each old text replaced by a new one."""
    source = RIGHT.replace("def train(", f"def {name}(")
    for old, new in edits:
        assert source.count(old) == 1, (name, old)
        source = source.replace(old, new)
    return defined(f"import numpy as np\n\n\n{source}", name)
