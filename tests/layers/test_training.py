"""A small residual network trains with our layers as with ``torch.nn``'s, and compiles."""

import copy
import os
import shutil

import pytest
import torch
from torch import nn

from bncourse import layers
from bncourse.layers import convert

pytestmark = pytest.mark.slow


class Block(nn.Module):
    """Two convolutions, each with batch norm, and a shortcut; with ``fused``, our layer adds it and takes the ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int, fused: bool) -> None:
        super().__init__()
        self.fused = fused
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.fused:
            hidden = self.bn1(self.conv1(x), activation="relu")
            return self.bn2(self.conv2(hidden), residual=self.shortcut(x), activation="relu")
        hidden = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(hidden)) + self.shortcut(x))


class ResNet(nn.Module):
    """The shape of ResNet-18: a stem and four stages of two blocks, here of few channels."""

    def __init__(self, width: int = 4, classes: int = 5, fused: bool = False) -> None:
        super().__init__()
        widths = [width, width + 2, 2 * width, 3 * width]
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        blocks, inputs = [], width
        for stage, outputs in enumerate(widths):
            blocks += [Block(inputs, outputs, 1 if stage == 0 else 2, fused), Block(outputs, outputs, 1, fused)]
            inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(inputs, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


def train(model: nn.Module, channels_last: bool = False, steps: int = 5) -> list[float]:
    """Losses of some steps of gradient descent with momentum, and at the end that of evaluation."""
    generator = torch.Generator().manual_seed(11)
    images = torch.randn((12, 3, 16, 16), generator=generator, dtype=torch.float64) * 2 + 1
    labels = torch.arange(12) % 5
    if channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        losses.append(nn.functional.cross_entropy(model.eval()(images), labels).item())
    return losses


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(1)
    return ResNet().double()


@pytest.fixture(scope="module")
def expected(network: nn.Module) -> tuple[list[float], dict[str, torch.Tensor]]:
    theirs = copy.deepcopy(network)
    losses = train(theirs)
    assert losses[4] < losses[0]
    return losses, theirs.state_dict()


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
def test_a_residual_network_trains_as_with_torch(
    network: nn.Module, expected: tuple[list[float], dict[str, torch.Tensor]], fused: bool, channels_last: bool
) -> None:
    """In float64 rounding stays below 1e-12 over these steps: what is larger is another algorithm."""
    ours = convert(ResNet(fused=fused).double())
    ours.load_state_dict(network.state_dict())
    assert sum(type(module) is layers.BatchNorm2d for module in ours.modules()) == 20
    if channels_last:
        ours = ours.to(memory_format=torch.channels_last)
    losses, state = train(ours, channels_last), ours.state_dict()
    torch.testing.assert_close(losses, expected[0], rtol=1e-9, atol=0)
    torch.testing.assert_close(dict(state), dict(expected[1]), rtol=1e-8, atol=1e-9)


def test_another_eps_would_be_seen(network: nn.Module, expected: tuple[list[float], dict[str, torch.Tensor]]) -> None:
    flawed = convert(copy.deepcopy(network))
    for module in flawed.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps *= 1.01
    with pytest.raises(AssertionError):
        torch.testing.assert_close(train(flawed), expected[0], rtol=1e-9, atol=0)


def small() -> nn.Sequential:
    torch.manual_seed(4)
    return nn.Sequential(nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(18, 4), nn.BatchNorm1d(4)).double()


@pytest.mark.parametrize(("backend", "modes"), [("aot_eager", [True, False]), ("inductor", [True])])
def test_a_model_compiles_whole(backend: str, modes: list[bool]) -> None:
    """One graph in training and one in evaluation, that change the running statistics as the model itself does."""
    if backend == "inductor" and not shutil.which(os.environ.get("CXX", "g++")):
        pytest.skip("inductor needs a C++ compiler")
    torch._dynamo.reset()
    plain = small()
    model = convert(copy.deepcopy(plain))
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    for training in modes:
        plain.train(training), model.train(training)
        for step in range(3):
            x = torch.randn((5, 2, 3, 3), dtype=torch.float64) + step
            # After the first step of a mode nothing is compiled again.
            with torch.compiler.set_stance("fail_on_recompile" if step else "default"):
                y = compiled(x)
            expected = plain(x)
            torch.testing.assert_close(y, expected, rtol=1e-9, atol=1e-9)
            if training:
                for network, output in ((plain, expected), (model, y)):
                    network.zero_grad()
                    output.pow(3).sum().backward()
                found, wanted = ({name: p.grad for name, p in m.named_parameters()} for m in (model, plain))
                torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(dict(model.state_dict()), dict(plain.state_dict()), rtol=1e-9, atol=1e-9)
    assert model[0].num_batches_tracked == 3
    torch._dynamo.reset()
