"""The network in NumPy follows PyTorch's step by step."""

import numpy as np
import pytest
import torch

from bncourse.reference import numeric_gradient, relative_error
from bncourse.reference.network import SGD, BatchNorm, Linear, multilayer_perceptron, softmax_cross_entropy

SIZES = (12, 16, 9, 5)


def torch_twin(network):
    """The same network in PyTorch, with the same weights."""
    layers = []
    for layer in network.layers:
        if isinstance(layer, Linear):
            outputs, inputs = layer.parameters["weight"].shape
            twin = torch.nn.Linear(inputs, outputs, bias="bias" in layer.parameters, dtype=torch.float64)
            for name, value in layer.parameters.items():
                getattr(twin, name).data = torch.tensor(value)
        elif isinstance(layer, BatchNorm):
            twin = torch.nn.BatchNorm1d(len(layer.running.mean), layer.eps, layer.running.momentum, dtype=torch.float64)
        else:
            twin = torch.nn.ReLU()
        layers.append(twin)
    return torch.nn.Sequential(*layers)


def arrays(layer):
    """Ours and PyTorch's names of a layer's parameters."""
    return (
        {"gamma": "weight", "beta": "bias"}
        if isinstance(layer, BatchNorm)
        else {name: name for name in layer.parameters}
    )


@pytest.mark.parametrize("normalized", [True, False])
def test_twenty_steps_agree_with_torch_at_every_one(normalized):
    rng = np.random.default_rng(7)
    network = multilayer_perceptron(SIZES, rng, normalized)
    twin = torch_twin(network)
    ours, theirs = SGD(network, 0.1, 0.9), torch.optim.SGD(twin.parameters(), 0.1, 0.9)
    for _ in range(20):
        x, labels = rng.normal(1, 2, (24, SIZES[0])), rng.integers(0, SIZES[-1], 24)
        loss = network.loss_and_gradients(x, labels)
        theirs.zero_grad()
        twin_loss = torch.nn.functional.cross_entropy(twin(torch.tensor(x)), torch.tensor(labels))
        twin_loss.backward()
        assert abs(loss - twin_loss.item()) < 1e-10
        for layer, other in zip(network.layers, twin, strict=True):
            for name, torch_name in arrays(layer).items():
                assert relative_error(layer.gradients[name], getattr(other, torch_name).grad.numpy()) < 1e-10
        ours.step()
        theirs.step()
        for layer, other in zip(network.layers, twin, strict=True):
            for name, torch_name in arrays(layer).items():
                assert relative_error(layer.parameters[name], getattr(other, torch_name).detach().numpy()) < 1e-10
            if isinstance(layer, BatchNorm):
                assert relative_error(layer.running.mean, other.running_mean.numpy()) < 1e-10
                assert relative_error(layer.running.var, other.running_var.numpy()) < 1e-10
    twin.eval()
    x = rng.normal(1, 2, (7, SIZES[0]))
    np.testing.assert_allclose(network.forward(x), twin(torch.tensor(x)).detach().numpy(), rtol=1e-10)


def test_the_loss_and_its_gradient():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(0, 3, (6, 4)), np.array([0, 3, 3, 1, 2, 0])
    loss, gradient = softmax_cross_entropy(logits, labels)
    tensor = torch.tensor(logits)
    assert abs(loss - torch.nn.functional.cross_entropy(tensor, torch.tensor(labels)).item()) < 1e-13
    numeric = numeric_gradient(lambda z: np.array(softmax_cross_entropy(z, labels)[0]), logits)
    assert relative_error(gradient, numeric) < 1e-8
    assert np.isfinite(softmax_cross_entropy(logits * 1e4, labels)[0]), "large logits must not overflow"


def test_it_learns():
    rng = np.random.default_rng(1)
    centres = rng.normal(0, 2, (5, 12))
    labels = rng.integers(0, 5, 400)
    x = centres[labels] + rng.normal(size=(400, 12))
    network = multilayer_perceptron(SIZES, rng)
    optimizer = SGD(network, 0.1, 0.9)
    for start in [*range(0, 400, 40)] * 3:
        network.loss_and_gradients(x[start : start + 40], labels[start : start + 40])
        optimizer.step()
    assert network.accuracy(x, labels) > 0.95


def test_evaluation_changes_nothing():
    rng = np.random.default_rng(2)
    network = multilayer_perceptron(SIZES, rng)
    x = rng.normal(size=(8, 12))
    before = [layer.running.mean.copy() for layer in network.layers if isinstance(layer, BatchNorm)]
    first = network.forward(x)
    np.testing.assert_array_equal(first, network.forward(x))
    np.testing.assert_allclose(first[:1], network.forward(x[:1]), rtol=1e-12)
    after = [layer.running.mean for layer in network.layers if isinstance(layer, BatchNorm)]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(RuntimeError, match="forward pass in training"):
        network.layers[1].backward(np.ones((8, 16)))


def test_bad_labels_are_named():
    logits = np.zeros((3, 2))
    for labels, message in (
        (np.array([0, 1]), r"labels of shape \(3,\)"),
        (np.array([0, 1, 2]), "between 0 and 1, got 0 to 2"),
    ):
        with pytest.raises(ValueError, match=message):
            softmax_cross_entropy(logits, labels)
