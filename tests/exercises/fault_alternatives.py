"""Repaired training runs that differ from the solution in how they go about it, or in which batches they use."""

from tests.exercises.fault_edits import CHECK, FULL, JOINED, ONE, READABLE, UPDATE, edited
from tests.exercises.fault_runs import (
    layers_and_parameters,
    rest_joins_the_last_batch,
    torch_modules,
    training_in_float32,
)

example_joins_the_batch_before = edited("example_joins_the_batch_before", (ONE, ""), *JOINED)
full_batches_only = edited("full_batches_only", (ONE, ""), *FULL)
unread_example_left_out_of_its_batch = edited(
    "unread_example_left_out_of_its_batch",
    (
        "        n = len(rows)\n",
        "        read = np.isfinite(rows[:, 0])\n"
        "        rows, classes = rows[read], classes[read]\n"
        "        n = len(rows)\n",
    ),
    (CHECK, ""),
)
unread_example_left_out_first = edited("unread_example_left_out_first", *READABLE, (CHECK, ""))
joined_and_readable = edited("joined_and_readable", *JOINED, *READABLE, (ONE, ""))
batch_looked_at_first = edited(
    "batch_looked_at_first", (ONE, "        if n < 2 or np.isnan(rows).any():\n            continue\n"), (CHECK, "")
)
kept_until_the_loss_is_known = edited(
    "kept_until_the_loss_is_known",
    (UPDATE, ""),
    (
        "        inv_std = ",
        "        before = running_mean, running_var\n"
        "        running_mean = running_mean + momentum * (mean - running_mean)\n"
        "        running_var = running_var + momentum * (z.var(axis=0, ddof=1) - running_var)\n"
        "        inv_std = ",
    ),
    ("            continue\n\n", "            running_mean, running_var = before\n            continue\n\n"),
)

FAULT = [
    example_joins_the_batch_before,
    full_batches_only,
    unread_example_left_out_of_its_batch,
    unread_example_left_out_first,
    joined_and_readable,
    batch_looked_at_first,
    kept_until_the_loss_is_known,
    rest_joins_the_last_batch,
    layers_and_parameters,
    training_in_float32,
    torch_modules,
]
