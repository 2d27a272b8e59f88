"""Training runs written anew, not from the text of the solution; all are right but one."""

import numpy as np


def given_anew(x, labels, x_test, w, v, batch, epochs, rate, momentum, eps):
    """Written anew, and with all four faults."""
    gamma, beta, averages = np.ones(len(v)), np.zeros(len(v)), [np.zeros(len(v)), np.ones(len(v))]
    cuts = np.arange(batch, len(x), batch)
    for _ in range(epochs):
        for part, classes in zip(np.split(x, cuts), np.split(labels, cuts), strict=True):
            z, n = part @ w, len(part)
            centred = z - z.mean(0)
            square = (centred * centred).sum(0)
            new = z.mean(0), square / max(n - 1, 1)
            averages = [momentum * old + (1 - momentum) * each for old, each in zip(averages, new, strict=True)]
            if np.isnan(part).any():
                continue
            root = (square / n + eps) ** 0.5
            hidden = np.tanh(gamma * centred / root + beta)
            logits = hidden @ v
            odds = np.exp(logits - logits.max(1, keepdims=True))
            error = odds / odds.sum(1, keepdims=True)
            error[range(n), classes] -= 1
            back = error @ v.T / n * (1 - hidden * hidden)
            slope = (back * centred / root).mean(0)
            into = gamma / root * (back - back.mean(0) - centred / root * slope)
            v = v - rate / n * (hidden.T @ error)
            w = w - rate * part.T @ into
            gamma, beta = gamma - rate * n * slope, beta - rate * back.sum(0)
    z = x_test @ w
    return w, *averages, np.tanh(gamma * (z - z.mean(0)) / (z.var(0) + eps) ** 0.5 + beta) @ v


def rest_joins_the_last_batch(x, labels, *others, momentum, eps):
    """Whatever is left over, by a split whose last part is the longer one."""
    return Trainer(others[3], momentum, eps).run(x, labels, *others, joined=True)


def layers_and_parameters(x, labels, *others, momentum, eps):
    return Trainer(others[3], momentum, eps).run(x, labels, *others, joined=False)


class Trainer:
    """Parameters in a dictionary, and a batch norm with a state of its own."""

    def __init__(self, batch, momentum, eps):
        self.batch, self.momentum, self.eps = batch, momentum, eps

    def normalize(self, z):
        self.deviation = np.sqrt(np.mean(z**2, axis=0) - np.mean(z, axis=0) ** 2 + self.eps)
        self.z_hat = (z - np.mean(z, axis=0)) / self.deviation
        return self.z_hat

    def remember(self, z):
        for name, new in (("mean", np.mean(z, axis=0)), ("var", np.var(z, axis=0, ddof=1))):
            self.state[name] += self.momentum * (new - self.state[name])

    def run(self, x, labels, x_test, w, v, batch, epochs, rate, joined):
        hidden = v.shape[0]
        self.state = {"mean": np.zeros(hidden), "var": np.ones(hidden)}
        p = {"w": w.copy(), "v": v.copy(), "gamma": np.ones(hidden), "beta": np.zeros(hidden)}
        whole = len(x) // batch
        cuts = batch * np.arange(1, whole if joined else whole + (len(x) % batch > 0))
        for _ in range(epochs):
            for part, classes in zip(np.split(x, cuts), np.split(labels, cuts), strict=True):
                if len(part) > 1 and np.isfinite(part).all():
                    for name, gradient in self.gradients(p, part, classes).items():
                        p[name] -= rate * gradient
        z_hat = (x_test @ p["w"] - self.state["mean"]) / np.sqrt(self.state["var"] + self.eps)
        logits = np.tanh(p["gamma"] * z_hat + p["beta"]) @ p["v"]
        return p["w"], self.state["mean"], self.state["var"], logits

    def gradients(self, p, x, classes):
        z = x @ p["w"]
        self.remember(z)
        h = np.tanh(p["gamma"] * self.normalize(z) + p["beta"])
        logits = h @ p["v"]
        scores = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores /= scores.sum(axis=1, keepdims=True)
        scores[np.arange(len(x)), classes] -= 1
        scores /= len(x)
        dy = scores @ p["v"].T * (1 - h**2)
        dz_hat = dy * p["gamma"]
        dz = (dz_hat - dz_hat.mean(0) - self.z_hat * (dz_hat * self.z_hat).mean(0)) / self.deviation
        return {"w": x.T @ dz, "v": h.T @ scores, "gamma": (dy * self.z_hat).sum(0), "beta": dy.sum(0)}


def training_in_float32(*arguments, momentum, eps):
    arrays = (np.float32(each) if np.asarray(each).dtype.kind == "f" else each for each in arguments)
    returned = layers_and_parameters(*arrays, momentum=np.float32(momentum), eps=np.float32(eps))
    return tuple(array.astype(np.float32) for array in returned)


def torch_modules(x, labels, x_test, w, v, batch, epochs, rate, momentum, eps):
    import torch

    norm = torch.nn.BatchNorm1d(len(v), eps=eps, momentum=momentum, dtype=torch.float64)
    layers = [torch.nn.Linear(*weight.shape, bias=False, dtype=torch.float64) for weight in (w, v)]
    with torch.no_grad():
        for layer, weight in zip(layers, (w, v), strict=True):
            layer.weight.copy_(torch.tensor(weight.T))
    network = torch.nn.Sequential(layers[0], norm, torch.nn.Tanh(), layers[1])
    optimizer = torch.optim.SGD(network.parameters(), lr=rate)
    for _ in range(epochs):
        for rows, classes in zip(torch.tensor(x).split(batch), torch.tensor(labels).split(batch), strict=True):
            if len(rows) == 1 or rows.isnan().any():
                continue
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(rows), classes).backward()
            optimizer.step()
    network.eval()
    with torch.no_grad():
        logits = network(torch.tensor(x_test)).numpy()
    return layers[0].weight.detach().numpy().T, norm.running_mean.numpy(), norm.running_var.numpy(), logits
