"""A multilayer perceptron with batch norm, trained by backward passes written by hand.

The mathematics stands in functions; a layer remembers what its backward pass needs, and its gradients.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np
from jaxtyping import Float, Int

from bncourse.reference.batchnorm import Cache, batch_norm, batch_norm_backward, batch_norm_inference
from bncourse.reference.running import RunningStatistics


def softmax_cross_entropy(
    logits: Float[np.ndarray, "N K"], labels: Int[np.ndarray, " N"]
) -> tuple[float, Float[np.ndarray, "N K"]]:
    r"""Mean cross-entropy of the softmax, and its gradient.

    .. math:: L = -\frac{1}{N} \sum_n \log p_{n, t_n}, \qquad p = \operatorname{softmax}(z), \qquad
              \frac{\partial L}{\partial z} = \frac{p - \operatorname{onehot}(t)}{N}

    Parameters
    ----------
    logits : z, a row for each example.
    labels : t, between 0 and K - 1.

    Returns
    -------
    loss, dlogits

    Raises
    ------
    ValueError : if there is not one label for each row, or a label is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from bncourse.reference.network import softmax_cross_entropy
    >>> loss, dlogits = softmax_cross_entropy(np.array([[0.0, 0.0]]), np.array([1]))
    >>> print(round(loss, 3), dlogits)
    0.693 [[ 0.5 -0.5]]
    """
    if labels.shape != logits.shape[:1]:
        raise ValueError(f"expected labels of shape {logits.shape[:1]}, one for each row of logits, got {labels.shape}")
    if labels.size and not (labels.min() >= 0 and labels.max() < logits.shape[1]):
        raise ValueError(f"expected labels between 0 and {logits.shape[1] - 1}, got {labels.min()} to {labels.max()}")
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    rows = np.arange(len(labels))
    dlogits = np.exp(log_probabilities)
    dlogits[rows, labels] -= 1
    return float(-log_probabilities[rows, labels].mean()), dlogits / len(labels)


class Layer(Protocol):
    """What a network is made of.

    Attributes
    ----------
    parameters, gradients : arrays by name; the gradients are those of the last backward pass.
    """

    parameters: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]

    def forward(self, x: np.ndarray, training: bool) -> np.ndarray: ...

    def backward(self, dy: np.ndarray) -> np.ndarray: ...


class Linear:
    r"""The affine map :math:`y = x W^\top + b`, with ``weight`` of shape (outputs, inputs), as in PyTorch.

    .. math:: dx = dy\, W, \qquad dW = dy^\top x, \qquad db = \sum_n dy_n

    Parameters
    ----------
    inputs, outputs : numbers of features.
    rng : draws the weights, uniform in :math:`\pm\sqrt{6/\text{inputs}}` (He et al. 2015); the bias starts at 0.
    bias : whether there is one. Before batch norm it is redundant.
    """

    def __init__(self, inputs: int, outputs: int, rng: np.random.Generator, bias: bool = True) -> None:
        bound = np.sqrt(6 / inputs)
        self.parameters = {"weight": rng.uniform(-bound, bound, (outputs, inputs))}
        if bias:
            self.parameters["bias"] = np.zeros(outputs)
        self.gradients: dict[str, np.ndarray] = {}
        self._x = np.empty(0)

    def forward(self, x: np.ndarray, training: bool) -> np.ndarray:
        self._x = x
        y: np.ndarray = x @ self.parameters["weight"].T
        return y + self.parameters["bias"] if "bias" in self.parameters else y

    def backward(self, dy: np.ndarray) -> np.ndarray:
        self.gradients = {"weight": dy.T @ self._x}
        if "bias" in self.parameters:
            self.gradients["bias"] = dy.sum(axis=0)
        dx: np.ndarray = dy @ self.parameters["weight"]
        return dx


class BatchNorm:
    """Batch norm with running statistics: :func:`batch_norm` in training, :func:`batch_norm_inference` otherwise.

    Parameters
    ----------
    features : C.
    eps : added to the variance.
    momentum : weight of the new statistic.
    """

    def __init__(self, features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        self.parameters = {"gamma": np.ones(features), "beta": np.zeros(features)}
        self.gradients: dict[str, np.ndarray] = {}
        self.running = RunningStatistics(features, momentum)
        self.eps = eps
        self._cache: Cache | None = None

    def forward(self, x: np.ndarray, training: bool) -> np.ndarray:
        gamma, beta = self.parameters["gamma"], self.parameters["beta"]
        if not training:
            self._cache = None
            return batch_norm_inference(x, self.running.mean, self.running.var, gamma, beta, self.eps)
        self.running.update(x)
        y, self._cache = batch_norm(x, gamma, beta, self.eps)
        return y

    def backward(self, dy: np.ndarray) -> np.ndarray:
        if self._cache is None:
            raise RuntimeError("expected a forward pass in training before the backward pass")
        dx, dgamma, dbeta = batch_norm_backward(dy, self._cache)
        self.gradients = {"gamma": dgamma, "beta": dbeta}
        return dx


class ReLU:
    """max(x, 0); its gradient passes where x was positive."""

    def __init__(self) -> None:
        self.parameters: dict[str, np.ndarray] = {}
        self.gradients: dict[str, np.ndarray] = {}
        self._positive = np.empty(0, bool)

    def forward(self, x: np.ndarray, training: bool) -> np.ndarray:
        self._positive = x > 0
        return np.where(self._positive, x, 0)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return np.where(self._positive, dy, 0)


class Network:
    """Layers in a row.

    Parameters
    ----------
    layers : from the input to the logits.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = list(layers)

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """The logits.

        Parameters
        ----------
        x : (N, F), an example in each row.
        training : whether batch norm uses the batch's statistics.
        """
        for layer in self.layers:
            x = layer.forward(x, training)
        return x

    def loss_and_gradients(self, x: np.ndarray, labels: np.ndarray) -> float:
        """The training loss of a batch; every layer's gradients are set.

        Parameters
        ----------
        x, labels : the batch: (N, F), and (N,) whole numbers.
        """
        loss, gradient = softmax_cross_entropy(self.forward(x, training=True), labels)
        for layer in reversed(self.layers):
            gradient = layer.backward(gradient)
        return loss

    def accuracy(self, x: np.ndarray, labels: np.ndarray) -> float:
        """The share of examples whose largest logit, in inference mode, is that of their label.

        Parameters
        ----------
        x, labels : the examples: (N, F), and (N,) whole numbers.
        """
        return float((self.forward(x).argmax(axis=1) == labels).mean())


class SGD:
    r"""Gradient descent with momentum, as PyTorch defines it.

    .. math:: v \leftarrow \rho v + g, \qquad \theta \leftarrow \theta - \eta v

    Parameters
    ----------
    network : whose parameters are changed in place.
    rate : :math:`\eta`.
    momentum : :math:`\rho`.

    Examples
    --------
    >>> import numpy as np
    >>> from bncourse.reference.network import SGD, multilayer_perceptron
    >>> rng = np.random.default_rng(0)
    >>> x, labels = rng.normal(size=(64, 5)), rng.integers(0, 3, 64)
    >>> network = multilayer_perceptron([5, 16, 3], rng)
    >>> optimizer, first = SGD(network, rate=0.1), network.loss_and_gradients(x, labels)
    >>> for _ in range(20):
    ...     optimizer.step()
    ...     loss = network.loss_and_gradients(x, labels)
    >>> loss < first
    True
    """

    def __init__(self, network: Network, rate: float, momentum: float = 0.0) -> None:
        self.network, self.rate, self.momentum = network, rate, momentum
        self._velocity: dict[tuple[int, str], np.ndarray] = {}

    def step(self) -> None:
        """One update, with the gradients of the last backward pass."""
        for place, layer in enumerate(self.network.layers):
            for name, gradient in layer.gradients.items():
                velocity = self.momentum * self._velocity.get((place, name), 0.0) + gradient
                self._velocity[place, name] = velocity
                layer.parameters[name] -= self.rate * velocity


def multilayer_perceptron(sizes: Sequence[int], rng: np.random.Generator, normalized: bool = True) -> Network:
    """Linear, batch norm and ReLU for each hidden layer, and a linear layer at the end.

    Parameters
    ----------
    sizes : numbers of features, from the input to the logits.
    rng : draws the weights.
    normalized : whether hidden layers have batch norm; if not, they have a bias.

    Examples
    --------
    >>> import numpy as np
    >>> from bncourse.reference.network import multilayer_perceptron
    >>> network = multilayer_perceptron([64, 32, 10], np.random.default_rng(0))
    >>> [type(layer).__name__ for layer in network.layers]
    ['Linear', 'BatchNorm', 'ReLU', 'Linear']
    """
    layers: list[Layer] = []
    for inputs, outputs in pairwise(sizes[:-1]):
        layers.append(Linear(inputs, outputs, rng, bias=not normalized))
        if normalized:
            layers.append(BatchNorm(outputs))
        layers.append(ReLU())
    return Network([*layers, Linear(sizes[-2], sizes[-1], rng)])
