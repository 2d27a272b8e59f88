"""Places of batch norm as learners get them wrong, by hand and not through the faulty reference."""

import numpy as np


def is_residual(block):
    return "add" in block


def has_relu_after_sum(block):
    return block[-2:] == ("add", "relu")


def after(block, *layers):
    return np.array([1.0 if layer in layers else 0.0 for layer in block])


def right(block, blocks, batch):
    """The solution's places would do as well."""
    if batch < 10:
        return after(block)
    return after(block, "branch") if is_residual(block) else after(block, "sigmoid")


def right_unless(condition, block, batch, *layers):
    """Right places, but for the networks of which the condition holds."""
    return after(block, *layers) if condition else right(block, 0, batch)


def stream_normalized(block, blocks, batch):
    return right_unless(is_residual(block), block, batch, "add")


def before_relu(block, blocks, batch):
    return right_unless(has_relu_after_sum(block), block, batch, "add")


def after_relu(block, blocks, batch):
    return right_unless(has_relu_after_sum(block), block, batch, "relu")


def after_linear_and_relu(block, blocks, batch):
    return right_unless(has_relu_after_sum(block), block, batch, "linear", "relu")


def end_of_block(block, blocks, batch):
    return np.eye(len(block))[-1] if is_residual(block) else right(block, blocks, batch)


def linear_and_sum(block, blocks, batch):
    return right_unless(is_residual(block), block, batch, "linear", "add")


def everywhere(block, blocks, batch):
    return np.ones(len(block)) if is_residual(block) else right(block, blocks, batch)


def sum_before_branch(block, blocks, batch):
    return right_unless(block[-2:] == ("linear", "add"), block, batch, "add")


def residual_bare(block, blocks, batch):
    return right_unless(is_residual(block), block, batch)


def sigmoid_bare(block, blocks, batch):
    return right_unless("sigmoid" in block, block, batch)


def two_before(block, blocks, batch):
    return right_unless(batch == 2, block, batch, "linear")


def two_after(block, blocks, batch):
    return right_unless(batch == 2, block, batch, "relu")


def two_on_both_sides(block, blocks, batch):
    return right_unless(batch == 2, block, batch, "linear", "relu")


SINGLES = {
    function.__name__: function
    for function in (
        stream_normalized,
        before_relu,
        after_relu,
        after_linear_and_relu,
        end_of_block,
        linear_and_sum,
        everywhere,
        sum_before_branch,
        residual_bare,
        sigmoid_bare,
        two_before,
        two_after,
        two_on_both_sides,
    )
}
# Nothing that comes in can be modified.
IN_PLACE = []


def zeros(block, blocks, batch):
    """Nowhere: two mistakes, both known."""
    return np.zeros(len(block))


def not_a_number(block, blocks, batch):
    return np.full(len(block), np.nan)


def halves(block, blocks, batch):
    return np.full(len(block), 0.5)


def counts(block, blocks, batch):
    """As many norms as blocks."""
    return blocks * right(block, blocks, batch)


def branch_and_sum(block, blocks, batch):
    """On the stream in a way that has no name of its own."""
    return after(block, "branch", "add") if is_residual(block) else right(block, blocks, batch)


def everywhere_in_all(block, blocks, batch):
    """Known mistakes, but each in one of the networks only, and three of them."""
    if has_relu_after_sum(block):
        return after(block, "relu", "linear")
    return after(block, "add", "linear") if is_residual(block) else np.ones(len(block))


UNNAMED = [
    not_a_number,
    halves,
    counts,
    branch_and_sum,
    everywhere_in_all,
]
