"""Correct initial values of branches that are found in other ways than the solution's."""

import math

import numpy as np


def from_the_right(branch, widths, blocks, square, growth):
    """The last value first, with what is left of the factor; then the others."""
    widths = widths.tolist()[:-1]
    rate = math.sqrt(square * (growth - 1) / blocks if "norm" in branch else math.expm1(math.log(growth) / blocks))
    values = []
    for place in reversed(range(len(branch))):
        if branch[place] == "relu":
            continue
        value = 1.0
        if branch[place] == "linear":
            relu = place > 0 and branch[place - 1] == "relu"
            value = math.sqrt((2 if relu else 1) / widths.pop())
        values.insert(0, value if values else rate * value)
    return values


def mean_squares_followed(branch, widths, blocks, square, growth):
    """Each part's value from the mean square that it gets and the one that it should return."""
    values, before, now, layer, normalized = [], 1.0, 1.0, 0, False
    for place, part in enumerate(branch):
        if part == "relu":
            before, now = now, now / 2
            continue
        if part == "linear":
            wanted = before if branch[place - 1 : place] == ("relu",) else now
            values.append((wanted / (now * widths[layer])) ** 0.5)
            layer, now = layer + 1, wanted
        else:
            normalized = normalized or part == "norm"
            values.append(1.0)
        before = now
    share = np.power(growth, 1 / blocks) - 1
    if normalized:
        share = (square * growth - square) / blocks
    return np.array([*values[:-1], values[-1] * share**0.5])


def block_by_block(branch, widths, blocks, square, growth):
    """The factor by bisection, over the recursion of all blocks."""

    def grown(share):
        q = square
        for _ in range(blocks):
            q += share * (1 if "norm" in branch else q)
        return q / square

    low, high = 0.0, square * growth
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if grown(middle) < growth else (low, middle)
    share = 0.0 if growth == 1 else low
    fans = iter(widths)
    previous = ("start", *branch[:-1])
    values = [
        np.sqrt((2 if before == "relu" else 1) / next(fans)) if part == "linear" else 1.0
        for before, part in zip(previous, branch, strict=True)
        if part != "relu"
    ]
    values[-1] = values[-1] * np.sqrt(share)
    return values


def values_in_float32(branch, widths, blocks, square, growth):
    gain = np.ones(len(branch), np.float32)
    linear = np.array([part == "linear" for part in branch])
    relu = np.array([part == "relu" for part in branch])
    gain[linear] = np.sqrt((1 + np.roll(relu, 1)[linear]) / widths[:-1])
    gain[-1] *= np.sqrt(square * (growth - 1) / blocks if "norm" in branch else growth ** (1 / blocks) - 1)
    return gain[~relu]


def joined_text(branch, widths, blocks, square, growth):
    """ReLU and linear layer taken together, as one word."""
    words = " ".join(branch).replace("relu linear", "rectified").split()
    layers = [word for word in words if word != "relu"]
    fan_in = dict(zip([i for i, word in enumerate(layers) if word in ("linear", "rectified")], widths, strict=False))
    twice = {"linear": 1, "rectified": 2}
    values = np.array([math.sqrt(twice[word] / fan_in[i]) if word in twice else 1 for i, word in enumerate(layers)])
    power = square * (growth - 1) / blocks if "norm" in words else growth ** (1 / blocks) - 1
    return np.append(values[:-1], values[-1] * power**0.5)


def torch_values(branch, widths, blocks, square, growth):
    import torch

    growth = torch.tensor(growth, dtype=torch.float64)
    added = square * (growth - 1) / blocks if "norm" in branch else growth ** (1 / blocks) - 1
    fans, values = iter(torch.tensor(widths).double().rsqrt()), []
    for place, part in enumerate(branch):
        if part == "linear":
            gain = torch.nn.init.calculate_gain("relu" if place and branch[place - 1] == "relu" else "linear")
            values.append(gain * next(fans))
        elif part != "relu":
            values.append(torch.ones((), dtype=torch.float64))
    values[-1] = values[-1] * added.sqrt()
    return torch.stack(values)


BRANCH = [
    from_the_right,
    mean_squares_followed,
    block_by_block,
    values_in_float32,
    joined_text,
    torch_values,
]
