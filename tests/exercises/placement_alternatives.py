"""Places of batch norm that are right, and not the solution's."""

import numpy as np


def before_every_activation_in_a_branch(block, blocks, batch):
    if batch == 2:
        return [0] * len(block)
    if "add" not in block:
        return [1, 0]
    return [1, 0, 0, 0] if block.index("relu") < block.index("add") else [0, 1, 0, 0]


def after_the_sigmoid(block, blocks, batch):
    places = np.zeros(len(block), dtype=int)
    if "sigmoid" in block:
        places[block.index("sigmoid")] = 1
    elif batch > 2:
        places[block.index("add") - 1] = 1
    return places


def everywhere_but_on_the_stream(block, blocks, batch):
    inside, places = "add" not in block, []
    for layer in block:
        inside = (inside or layer == "branch") and layer != "add"
        places.append(inside and batch > 2)
    return places


def entering_the_branch(block, blocks, batch):
    if blocks < 5:
        return np.zeros(len(block), dtype=np.float32)
    return np.array([layer in ("branch", "sigmoid") for layer in block], dtype=np.float32)


def behind_the_relu_of_a_branch(block, blocks, batch):
    """Between ReLU and linear layer, where the branch has this order."""
    names = " ".join(block)
    place = {"branch relu linear add": 1, "branch linear add relu": 1, "linear sigmoid": 0}.get(names)
    return np.zeros(len(block)) if place is None else np.arange(len(block)) == place


def torch_places(block, blocks, batch):
    import torch

    return torch.tensor([layer == "linear" and batch >= 16 for layer in block])


PLACEMENT = [
    before_every_activation_in_a_branch,
    after_the_sigmoid,
    everywhere_but_on_the_stream,
    entering_the_branch,
    behind_the_relu_of_a_branch,
    torch_places,
]
