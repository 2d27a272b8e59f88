"""The kernels' correctness cases, and what each must satisfy: in Triton's interpreter, and on a GPU."""

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from unittest.mock import patch

import torch
from torch import Tensor

from bncourse.kernels import launch, view
from bncourse.kernels.backend import unpack_flags
from bncourse.kernels.view import View, dense
from tests.kernels.guards import Guards
from tests.kernels.pairs import Pair, covering

EPS, MOMENTUM = 1e-5, 0.3

FACTORS = {
    "layout": ("N C H W", "N H W C", "N C", "N C L", "N C D H W", "N D H W C"),
    "channels": (1, 3, 17, 24, 40, 64, 129),
    "positions": (1, 7, 49, 196, 3136),
    "examples": (1, 2, 5, 33),
    "dtype": ("float32", "float16", "bfloat16", "float64"),
    "training": (True, False),
    "affine": ("weight and bias", "weight", "bias", "neither"),
    "half_parameters": (False, True),
    "running": (True, False),
    "epilogue": ("nothing", "relu", "residual", "residual and relu"),
    "data": ("mean/std 1", "mean/std 100", "mean/std 10000", "a constant channel"),
    "strides": ("dense", "gaps"),
    "tile": (64, 256, 2048),
    "splits": (1, 3, 8),
    "margin": (64, 61),
}
SHAPES = {1: (1, 1, 1), 7: (1, 7, 1), 49: (1, 7, 7), 196: (4, 7, 7), 3136: (4, 28, 28)}


@dataclass(frozen=True)
class Case:
    """One combination of the factors."""

    layout: str
    channels: int
    positions: int
    examples: int
    dtype: str
    training: bool
    affine: str
    half_parameters: bool
    running: bool
    epilogue: str
    data: str
    strides: str
    tile: int
    splits: int
    margin: int

    @property
    def shape(self) -> tuple[int, ...]:
        depth, height, width = SHAPES[self.positions]
        spatial = {2: (), 3: (self.positions,), 4: (depth * height, width), 5: (depth, height, width)}
        return self.examples, self.channels, *spatial[len(self.layout.split())]

    @property
    def relu(self) -> bool:
        return "relu" in self.epilogue

    @property
    def residual(self) -> bool:
        return "residual" in self.epilogue

    @property
    def view(self) -> View:
        if self.layout.endswith(" C") or self.positions == 1:
            return View(self.examples * self.positions, self.channels, 1)
        return View(self.examples, self.channels, self.positions)

    @property
    def programs_along_channels(self) -> int:
        return self.view.grid(1, 1)[0]

    def __str__(self) -> str:
        return f"{self.layout} {self.shape} {self.dtype} {self.epilogue}".replace(" ", "-")


def possible(choice: dict) -> bool:
    """Whether a combination makes sense, and is small enough for the interpreter: a millisecond a tile."""
    case = Case(**choice)
    if case.layout == "N C" and case.positions > 1:
        return False
    if case.training and case.examples * case.positions == 1:
        return False
    if not case.training and not case.running:
        return False
    with settings(case):
        blocks = case.view.blocks
        tiles = -(-case.view.examples // blocks["BLOCK_N"]) * -(-case.view.positions // blocks["BLOCK_S"])
        return case.programs_along_channels * (tiles + case.splits) < 100 and tiles * case.tile < 2**17


def cases() -> tuple[list[Case], set[Pair]]:
    """Cases that cover all pairs of values, and the pairs that are impossible."""
    chosen, impossible = covering(FACTORS, possible)
    return [Case(**choice) for choice in chosen], impossible


@contextmanager
def settings(case: Case):
    """Tiles so small that there are several of them, and a GPU so small that several fall to each program."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(view, "TILE", case.tile))
        # Two rows of partial results at a time, so that merging takes several steps.
        stack.enter_context(patch.object(view, "MERGED", 2 * case.view.blocks["BLOCK_C"]))
        stack.enter_context(patch.object(view, "PROGRAMS_PER_CORE", case.splits * case.programs_along_channels))
        stack.enter_context(patch.object(launch, "cores", lambda device: 1))
        yield


@dataclass(frozen=True)
class Inputs:
    x: Tensor
    dy: Tensor
    residual: Tensor | None
    weight: Tensor | None
    bias: Tensor | None
    running_mean: Tensor | None
    running_var: Tensor | None


def draw(case: Case) -> Inputs:
    """Random inputs on the CPU, none of them special: weights differ from 1, means from 0, variances from 1."""
    generator = torch.Generator().manual_seed(0)
    dtype = getattr(torch, case.dtype)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def uniform(*shape: int) -> Tensor:
        return 0.5 + torch.rand(shape, generator=generator, dtype=torch.float64)

    c = (1, case.channels, *[1] * (len(case.shape) - 2))
    ratio = {"mean/std 100": 100.0, "mean/std 10000": 10000.0}.get(case.data, 1.0)
    x = (normal(*case.shape) + ratio * (1 + 0.1 * normal(*c))) * uniform(*c)
    if case.data == "a constant channel":
        x[:, -1] = 10000.1
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    parameters = dtype if case.half_parameters else wide
    mean = x.mean(dim=[axis for axis in range(x.ndim) if axis != 1])
    return Inputs(
        x=laid_out(x.to(dtype), case),
        dy=laid_out((normal(*case.shape) + 0.5).to(dtype), case),
        residual=laid_out(normal(*case.shape).to(dtype), case) if case.residual else None,
        weight=(uniform(case.channels) * normal(case.channels).sign()).to(parameters)
        if "weight" in case.affine
        else None,
        bias=normal(case.channels).to(parameters) if "bias" in case.affine else None,
        running_mean=(mean + 0.3 * normal(case.channels)).to(parameters) if case.running else None,
        running_var=uniform(case.channels).to(parameters) if case.running else None,
    )


def laid_out(values: Tensor, case: Case) -> Tensor:
    """In the case's memory format; with gaps, as a slice of a larger tensor."""
    if case.layout.endswith(" C"):
        values = values.movedim(1, -1).contiguous().movedim(-1, 1) if values.ndim > 2 else values
    if case.strides == "gaps":
        return torch.stack([values, values], dim=-1).select(-1, 0) if values.ndim < 4 else gapped(values)
    return values


def gapped(values: Tensor) -> Tensor:
    larger = torch.empty_like(torch.cat([values, values], dim=2))
    larger[:, :, ::2] = values
    return larger[:, :, ::2]


def check(case: Case, device: torch.device | str = "cpu") -> None:
    """Run a case twice through :mod:`bncourse.kernels.launch`, compare with float64, and look at the memory around."""
    inputs = draw(case)
    with settings(case):
        first, second = (run(case, inputs, torch.device(device), second) for second in (False, True))
    for name, values in first.items():
        assert (values is None) == (second[name] is None)
        assert values is None or torch.equal(values, second[name]), f"two runs differ in {name}"
    compare(case, inputs, first)


def run(case: Case, inputs: Inputs, device: torch.device, second: bool) -> dict[str, Tensor | None]:
    """Forward and backward, between guards; inputs may not change."""
    guards = Guards(device, case.margin, second)
    here = {}
    for name, values in vars(inputs).items():
        if values is not None:
            is_dense = case.strides == "dense" or values.ndim < 2
            values = guards.place(values.to(device)) if is_dense else laid_out(values.to(device), case)
        here[name] = values
    before = {name: None if values is None else values.clone() for name, values in here.items()}
    x, dy, weight, bias = (here[name] for name in ("x", "dy", "weight", "bias"))
    with patch.object(launch, "allocate", guards.allocate):
        y, mean, inv_std, flags = launch.forward(
            x,
            weight,
            bias,
            here["running_mean"],
            here["running_var"],
            case.training,
            MOMENTUM,
            EPS,
            here["residual"],
            case.relu,
            case.relu and case.residual,
        )
        # Values whose sign rounding decides are not asked about: the gradient there is one thing or another.
        dy.masked_fill_(uncertain(case, inputs).to(device), 0)
        before["dy"] = dy.clone()
        dx, dweight, dbias, dresidual = launch.backward(
            dy, x, weight, bias, mean, inv_std, flags, case.training, case.relu, case.relu and case.residual
        )
    guards.check()
    for name, values in before.items():
        changes = name.startswith("running") and case.training
        assert changes or values is None or torch.equal(values, here[name]), f"{name} was changed"
    results = {"y": y, "mean": mean, "inv_std": inv_std, "dx": dx, "dweight": dweight, "dbias": dbias}
    results |= {"running_mean": here["running_mean"], "running_var": here["running_var"]}
    if case.relu and case.residual:
        passed = unpack_flags(flags, dense(x))
        assert torch.equal(passed, y > 0), "flags differ from what the ReLU let through"
        results |= {"dresidual": dresidual, "flags": flags}
    assert y.stride() == dense(x).stride() == dx.stride()
    return {name: None if values is None else values.cpu() for name, values in results.items()}


def uncertain(case: Case, inputs: Inputs) -> Tensor:
    """Where the ReLU's input is within its rounding error of zero."""
    if not case.relu:
        return torch.zeros(case.shape, dtype=torch.bool)
    exact = Exact(case, inputs)
    return exact.before.abs() <= exact.rounding_of_y


class Exact:
    """The transform in float64 by PyTorch, and how far from it a computation in the accumulator's precision may lie.

    Every bound is some roundings of the terms that are added, before they cancel: 8, or 64 in float64, where PyTorch's
    result has as many of its own. A mean is known to a rounding of itself, which divided by the standard deviation is
    the error of every ``x_hat``, and through Chan's formula of the variance: with mean/std = 10000, three digits of a
    float32 are left. What is stored is rounded once more, by one unit in the last place at most (the interpreter cuts
    bfloat16 off instead of rounding it).
    """

    def __init__(self, case: Case, inputs: Inputs) -> None:
        self.axes = [axis for axis in range(len(case.shape)) if axis != 1]
        self.count = case.examples * case.positions
        self.unit = 64 * 2.0**-53 if case.dtype == "float64" else 8 * 2.0**-24
        self.x, self.weight, self.bias, self.residual = (
            None if values is None else values.double()
            for values in (inputs.x, inputs.weight, inputs.bias, inputs.residual)
        )
        if case.training:
            self.var, self.mean = torch.var_mean(self.x, dim=self.axes, correction=0)
        else:
            self.var, self.mean = inputs.running_var.double(), inputs.running_mean.double()
        self.inv_std = (self.var + EPS).rsqrt()
        scale = self.inv_std if self.weight is None else self.inv_std * self.weight
        self.scale = self.channel(scale).abs()
        self.x_hat = (self.x - self.channel(self.mean)) * self.channel(self.inv_std)
        self.before = torch.nn.functional.batch_norm(
            self.x, self.mean.clone(), self.var.clone(), self.weight, self.bias, False, 0.0, EPS
        )
        # Relative errors of the statistics: of the mean in standard deviations, and of inv_std.
        # In inference the mean is given. PyTorch has the error all the same, in float64: it multiplies x and the mean
        # by the scale before it subtracts them.
        self.shift = (self.unit if case.training else 64 * 2.0**-53) * self.mean.abs() * self.inv_std
        self.stretch = self.unit + self.shift
        self.x_hat_error = self.x_hat.abs() * self.channel(self.stretch) + self.channel(self.shift)
        terms = self.x_hat_error * self.scale / self.channel(self.inv_std)
        for values in (None if self.bias is None else self.channel(self.bias), self.residual):
            if values is not None:
                terms = terms + self.unit * values.abs()
        if self.residual is not None:
            self.before = self.before + self.residual
        self.rounding_of_y = terms

    def channel(self, values: Tensor) -> Tensor:
        return values.view(1, -1, *[1] * (self.x.ndim - 2))


def compare(case: Case, inputs: Inputs, got: dict[str, Tensor | None]) -> None:
    """Compare all results with float64."""
    exact = Exact(case, inputs)
    unit, axes, count = exact.unit, exact.axes, exact.count

    close("mean", got["mean"], exact.mean, unit * (exact.mean.abs() + exact.var.sqrt()))
    close("inv_std", got["inv_std"], exact.inv_std, exact.stretch * exact.inv_std)

    leaves = [
        None if v is None else v.double().clone().requires_grad_() for v in (inputs.x, inputs.weight, inputs.bias)
    ]
    x, weight, bias = leaves
    running = [None if v is None else v.double().clone() for v in (inputs.running_mean, inputs.running_var)]
    y = torch.nn.functional.batch_norm(x, *running, weight, bias, case.training, MOMENTUM, EPS)
    residual = None if exact.residual is None else exact.residual.clone().requires_grad_()
    y = y if residual is None else y + residual
    y = y.relu() if case.relu else y
    close("y", got["y"], y.detach(), exact.rounding_of_y)

    if case.training and case.running:
        mean, var = (values.double() for values in (inputs.running_mean, inputs.running_var))
        close("running_mean", got["running_mean"], running[0], unit * (mean.abs() + exact.mean.abs() + 1))
        unbiased = exact.var * count / (count - 1)
        close("running_var", got["running_var"], running[1], unit * var + exact.stretch * unbiased)

    dy = inputs.dy.double().masked_fill(uncertain(case, inputs), 0)
    wanted = [leaf for leaf in (*leaves, residual) if leaf is not None]
    found = dict(zip(map(id, wanted), torch.autograd.grad(y, wanted, dy), strict=True))
    upstream = dy * (y.detach() > 0) if case.relu else dy
    size = upstream.abs()
    dweight_error = (size * exact.x_hat_error).sum(axes) + unit * (size * exact.x_hat.abs()).sum(axes)
    dbias = found[id(bias)] if bias is not None else upstream.sum(axes)
    dweight = found[id(weight)] if weight is not None else (upstream * exact.x_hat).sum(axes)
    close("dbias", got["dbias"], dbias, unit * size.sum(axes))
    close("dweight", got["dweight"], dweight, dweight_error)

    dx_error = unit * size
    if case.training:
        along = exact.channel((upstream * exact.x_hat).sum(axes) / count).abs()
        dx_error = dx_error + unit * exact.channel(size.mean(axes)) + exact.x_hat_error * along
        dx_error = dx_error + exact.x_hat.abs() * exact.channel(dweight_error / count)
    dx_error = exact.scale * dx_error + exact.channel(exact.stretch) * found[id(x)].abs()
    close("dx", got["dx"], found[id(x)], dx_error)
    if residual is not None and case.relu:
        close("dresidual", got["dresidual"], found[id(residual)], torch.zeros_like(upstream))


def close(name: str, got: Tensor, exact: Tensor, error: Tensor) -> None:
    """Fail unless every value is finite, and within an error and one rounding to its dtype of the exact one."""
    assert got.shape == exact.shape
    assert got.isfinite().all(), f"{name} has values that are not finite"
    info = torch.finfo(got.dtype)
    stored = info.eps * exact.abs() + info.smallest_normal * info.eps
    excess = ((got.double() - exact).abs() - stored) / error.clamp_min(1e-300)
    worst = excess.max().item()
    assert worst <= 1, f"{name} is {worst:.3g} times as far from float64 as rounding explains"
