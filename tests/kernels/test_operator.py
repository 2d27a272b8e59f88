"""The operator under autograd, ``torch.compile`` and autocast, against PyTorch's own function in float64."""

from functools import partial
from itertools import product

import pytest
import torch
from torch import Tensor

from bncourse.kernels import batch_norm, operator

pytestmark = pytest.mark.slow

SHAPES = [(9, 3), (5, 4, 6), (3, 5, 4, 2), (2, 3, 2, 3, 2)]
FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}
EPILOGUES = [(None, False), ("relu", False), (None, True), ("relu", True)]


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def inputs(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """Nothing special: means differ from 0, weights from 1, running statistics from those of the batch."""
    channels = shape[1]
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    return {
        "x": (1.5 * normal(*shape) + 0.8).to(dtype),
        "weight": normal(channels, seed=1, dtype=wide),
        "bias": normal(channels, seed=2, dtype=wide),
        "running_mean": normal(channels, seed=3, dtype=wide),
        "running_var": normal(channels, seed=4, dtype=wide).exp(),
        "residual": normal(*shape, seed=5, dtype=dtype),
    }


def reference(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
    residual: Tensor | None = None,
    activation: str | None = None,
) -> Tensor:
    y = torch.nn.functional.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
    y = y if residual is None else y + residual
    return y.relu() if activation == "relu" else y


def gradients(function, given: dict[str, Tensor], dy: Tensor, **options) -> tuple[Tensor, ...]:
    """The function's result, its gradients with respect to all inputs but the running statistics, and those."""
    copies = {name: values.clone() for name, values in given.items()}
    leaves = [values.requires_grad_() for name, values in copies.items() if "running" not in name]
    y = function(**copies, **options)
    running = [values for name, values in copies.items() if "running" in name]
    return y, *torch.autograd.grad(y, leaves, dy.to(y.dtype)), *running


@pytest.mark.parametrize(("activation", "has_residual"), EPILOGUES)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("shape", "channels_last"), [*product(SHAPES, [False]), (SHAPES[2], True), (SHAPES[3], True)])
def test_results_and_gradients_are_those_of_torch(shape, channels_last, training, activation, has_residual):
    given = inputs(shape)
    if not has_residual:
        del given["residual"]
    if channels_last:
        given["x"] = given["x"].contiguous(memory_format=FORMATS[len(shape)])
    options = {"training": training, "momentum": 0.3, "eps": 1e-2, "activation": activation}
    dy = normal(*shape, seed=6)
    found, right = (gradients(function, given, dy, **options) for function in (batch_norm, reference))
    for one, other in zip(found, right, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    assert found[0].stride() == found[1].stride() == given["x"].stride()
    if not training:
        assert torch.equal(found[-1], given["running_var"])


@pytest.mark.parametrize(("activation", "has_residual"), EPILOGUES)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("shape", "channels_last"), [((5, 3), False), ((3, 2, 2, 2), False), ((3, 2, 2, 2), True)])
def test_first_and_second_derivatives(shape, channels_last, training, activation, has_residual):
    given = inputs(shape)
    if channels_last:
        given["x"] = given["x"].contiguous(memory_format=torch.channels_last)
    running = given["running_mean"], given["running_var"]

    def function(x: Tensor, weight: Tensor, bias: Tensor, residual: Tensor | None = None) -> Tensor:
        copies = [values.clone() for values in running]
        return batch_norm(x, weight, bias, *copies, training, 0.1, 1e-2, residual, activation)

    names = ["x", "weight", "bias", *(["residual"] if has_residual else [])]
    leaves = [given[name].clone().requires_grad_() for name in names]
    assert torch.autograd.gradcheck(function, leaves)
    assert torch.autograd.gradgradcheck(function, leaves)


@pytest.mark.parametrize("without", ["weight", "bias", "both"])
def test_derivatives_without_weight_or_bias(without):
    x, weight, bias = normal(6, 3).requires_grad_(), normal(3, seed=1), normal(3, seed=2)
    weight = None if without in ("weight", "both") else weight.requires_grad_()
    bias = None if without in ("bias", "both") else bias.requires_grad_()
    leaves = [values for values in (x, weight, bias) if values is not None]

    def function(*_: Tensor) -> Tensor:
        return batch_norm(x, weight, bias, None, None, True, eps=1e-2, activation="relu")

    assert torch.autograd.gradcheck(function, leaves)
    assert torch.autograd.gradgradcheck(function, leaves)


@pytest.mark.parametrize("names", [("x",), ("weight",), ("bias",), ("residual",), ("weight", "residual")])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_only_some_inputs_need_a_gradient(names, activation):
    given = inputs((4, 3, 5))
    dy = normal(4, 3, 5, seed=6)
    results = []
    for function in (batch_norm, reference):
        copies = {name: values.clone().requires_grad_(name in names) for name, values in given.items()}
        y = function(**copies, training=True, activation=activation)
        y.backward(dy)
        results.append([copies[name].grad for name in given])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


def test_nothing_is_kept_where_nothing_needs_a_gradient():
    given = inputs((4, 3, 5))
    assert batch_norm(**given, training=True).grad_fn is None
    with torch.no_grad():
        assert batch_norm(given["x"].requires_grad_(), training=True).grad_fn is None


def test_gradients_in_any_strides():
    """Catches reading dy by the strides of x: a sum's gradient has stride 0, a permuted one has its own."""
    x = normal(4, 3, 5, 2).requires_grad_()
    weight = normal(3, seed=1).requires_grad_()
    dy = normal(4, 3, 5, 2, seed=6)
    expected = torch.autograd.grad(reference(x, weight, None, None, None, True), (x, weight), dy)
    for other in (
        dy.contiguous(memory_format=torch.channels_last),
        dy.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0),
        torch.stack([dy, dy], dim=-1)[..., 0],
    ):
        y = batch_norm(x, weight, None, None, None, True)
        torch.testing.assert_close(torch.autograd.grad(y, (x, weight), other), expected)
    y = batch_norm(x, weight, None, None, None, True, activation="relu")
    found = torch.autograd.grad(y.sum(), (x, weight))
    torch.testing.assert_close(
        found,
        torch.autograd.grad(reference(x, weight, None, None, None, True, activation="relu").sum(), (x, weight)),
    )


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[:, :, ::2],
        lambda x: x.transpose(2, 3),
        lambda x: x.permute(3, 2, 0, 1),
        lambda x: x[:1].expand(3, -1, -1, -1),
        lambda x: x[..., 0],
        lambda x: x.contiguous(memory_format=torch.channels_last)[:, :, 1:],
    ],
)
def test_inputs_with_gaps_are_read_right(view):
    base = normal(4, 6, 4, 6).requires_grad_()
    x = view(base)
    residual = normal(*x.shape, seed=5)
    dy = normal(*x.shape, seed=6)
    before = base.detach().clone()
    found, right = (
        torch.autograd.grad(function(x, None, None, None, None, True, residual=residual, activation="relu"), base, dy)
        for function in (batch_norm, reference)
    )
    torch.testing.assert_close(found, right)
    assert torch.equal(base.detach(), before)


@pytest.mark.parametrize("training", [True, False])
def test_strides_of_parameters_and_running_statistics_do_not_matter(training):
    """Catches every other value taken for the next: a slice, and one value for all channels by a stride of 0.

    PyTorch's own batch norm gets copies without gaps: on a CPU its backward pass takes them for granted.
    """
    x, dy = normal(2, 5, 3)
    memory = normal(3, 4, seed=1).exp()
    given = [x, memory[0, 0].expand(3), memory[:, 1], memory[:, 2], memory[:, 3]]
    copies = [values.clone(memory_format=torch.contiguous_format) for values in given]
    results = []
    for function, values in ((batch_norm, given), (torch.nn.functional.batch_norm, copies)):
        leaves, running = [value.detach().requires_grad_() for value in values[:3]], values[3:]
        order = (*leaves, *running) if function is batch_norm else (leaves[0], *running, *leaves[1:])
        y = function(*order, training)
        results.append([y.detach(), *torch.autograd.grad(y.relu(), leaves, dy), *running])
    torch.testing.assert_close(*results)


def test_without_running_statistics_nothing_is_written():
    """Catches an update that lands in x, and one that is made all the same."""
    x = normal(8, 3)
    before = x.clone()
    y = batch_norm(x)
    assert torch.equal(x, before)
    torch.testing.assert_close(y, reference(x, None, None, None, None, True))


@pytest.mark.parametrize("momentum", [0.0, 0.25, 1.0])
def test_momentum_weighs_the_new_statistic(momentum):
    x, mean, var = normal(8, 3), normal(3, seed=3), normal(3, seed=4).exp()
    expected = [(1 - momentum) * mean + momentum * x.mean(0), (1 - momentum) * var + momentum * x.var(0)]
    batch_norm(x, None, None, mean, var, True, momentum)
    torch.testing.assert_close([mean, var], expected)


@pytest.mark.parametrize("name", ["weight", "running_mean"])
def test_autograd_sees_what_is_changed_before_the_backward_pass(name):
    """Weights that were changed in place make the gradients wrong: refused. Running statistics are not needed again."""
    given = inputs((6, 3))
    y = batch_norm(given["x"].requires_grad_(), *list(given.values())[1:5], False)
    given[name].add_(1)
    if name == "weight":
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()
    else:
        y.backward(normal(6, 3, seed=6))
        scale = given["weight"] / (given["running_var"] + 1e-5).sqrt()
        torch.testing.assert_close(given["x"].grad, normal(6, 3, seed=6) * scale)


@pytest.mark.parametrize("has_residual", [True, False])
def test_a_nan_stays_one_behind_the_relu(has_residual):
    """Catches max(y, 0), which may turn a NaN into 0 and hide where training went wrong."""
    x = normal(6, 3, dtype=torch.float32)
    residual = torch.zeros_like(x) if has_residual else None
    x[2, 1] = float("nan")
    y = batch_norm(x, training=True, residual=residual, activation="relu")
    assert y[:, 1].isnan().all()
    assert y[:, [0, 2]].isfinite().all()


@pytest.mark.parametrize(("activation", "has_residual"), EPILOGUES)
@pytest.mark.parametrize("training", [True, False])
def test_torch_tests_the_operators(training, activation, has_residual):
    """Schemas, fake tensors, what is mutated, and tracing with dynamic shapes."""
    given = inputs((4, 3, 5, 2), torch.float32)
    given["x"] = given["x"].contiguous(memory_format=torch.channels_last)
    residual, relu = given["residual"] if has_residual else None, activation == "relu"
    statistics = given["running_mean"], given["running_var"]
    arguments = given["x"], given["weight"], given["bias"], *statistics, training, 0.1, 1e-5, residual, relu, relu
    torch.library.opcheck(operator.forward, arguments)
    y, mean, inv_std, flags = operator.forward(*arguments)
    flags = flags if has_residual else flags.new_empty(0)
    kept = given["weight"], given["bias"], mean, inv_std, flags
    torch.library.opcheck(operator.backward, (torch.randn_like(y), given["x"], *kept, training, relu, has_residual))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_torch_tests_the_operators_in_other_dtypes(dtype):
    given = inputs((4, 3, 5), dtype)
    x, weight, bias = given["x"].transpose(0, 2), normal(3, seed=1).to(dtype), normal(3, seed=2).to(dtype)
    arguments = x, weight, bias, None, None, True, 0.1, 1e-5, None, False, False
    torch.library.opcheck(operator.forward, arguments)
    _, mean, inv_std, flags = operator.forward(*arguments)
    dy = torch.ones(()).to(dtype).expand(x.shape)
    torch.library.opcheck(operator.backward, (dy, x, weight, bias, mean, inv_std, flags, True, False, False))


@pytest.mark.parametrize(
    ("backend", "shape"), [("aot_eager", (6, 3)), ("aot_eager", (4, 3, 5, 2)), ("inductor", (4, 3, 5, 2))]
)
def test_compiling_changes_nothing(backend, shape):
    """Also catches running statistics that are updated twice: when traced and when run, or again in the backward."""
    given = inputs(shape, torch.float32)
    dy = normal(*shape, seed=6, dtype=torch.float32)
    run = partial(batch_norm, training=True, momentum=0.3, activation="relu")
    torch._dynamo.reset()
    compiled = torch.compile(run, backend=backend, fullgraph=True)
    # What is kept on disk does not know when an operator of ours has changed.
    with torch.compiler.config.patch(force_disable_caches=True):
        for _ in range(2):
            for one, other in zip(gradients(compiled, given, dy), gradients(run, given, dy), strict=True):
                torch.testing.assert_close(one, other)


def test_a_compiled_block_trains_as_an_eager_one():
    """Two layers, three steps: the statistics of both move once a step."""

    def block(x: Tensor, weights: list[Tensor], statistics: list[Tensor]) -> Tensor:
        hidden = batch_norm(x @ weights[0], weights[1], None, *statistics[:2], True, activation="relu")
        return batch_norm(hidden @ weights[2], weights[3], None, *statistics[2:], True, residual=x)

    torch._dynamo.reset()
    results = []
    for function in (block, torch.compile(block, backend="aot_eager", fullgraph=True)):
        weights = [normal(*shape, seed=i).requires_grad_() for i, shape in enumerate([(4, 4), (4,), (4, 4), (4,)])]
        statistics = [torch.zeros(4), torch.ones(4), torch.zeros(4), torch.ones(4)]
        for step in range(3):
            loss = function(normal(9, 4, seed=10 + step), weights, statistics).square().mean()
            with torch.no_grad():
                for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                    weight -= 0.1 * gradient
        results.append([*weights, *statistics])
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])
def test_autocast_leaves_the_dtype_as_torch_does(low):
    """PyTorch's autocast casts neither up nor down for batch norm: y has the dtype of x, whatever the parameters'."""
    given = inputs((6, 3, 4), torch.float32)
    del given["residual"]
    for dtype in (torch.float32, low):
        with torch.autocast("cpu", low):
            y, other = (
                function(**given | {"x": given["x"].to(dtype)}, training=True) for function in (batch_norm, reference)
            )
        assert y.dtype == other.dtype == dtype
        torch.testing.assert_close(y, other)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("parameters", ["float32", "low"])
def test_gradients_have_the_dtype_of_their_inputs(dtype, parameters):
    given = inputs((6, 3, 4), dtype)
    for name in ("weight", "bias"):
        given[name] = given[name].to(dtype if parameters == "low" else torch.float32)
    leaves = [given[name].requires_grad_() for name in ("x", "weight", "bias", "residual")]
    y = batch_norm(**given, training=True, activation="relu")
    assert y.dtype == dtype
    found = torch.autograd.grad(y, leaves, normal(6, 3, 4, seed=6, dtype=dtype), create_graph=True)
    assert [gradient.dtype for gradient in found] == [leaf.dtype for leaf in leaves]
    second = torch.autograd.grad(found[0].square().sum(), leaves[0])[0]
    assert second.dtype == dtype


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1, 1)])
def test_one_value_per_channel_is_refused_as_torch_refuses_it(shape):
    messages = []
    for function in (batch_norm, reference):
        with pytest.raises(ValueError, match="Expected more than 1 value per channel") as raised:
            function(torch.ones(shape), None, None, None, None, True)
        messages.append(str(raised.value))
    assert messages[0] == messages[1]
    assert batch_norm(torch.ones(shape), None, None, torch.zeros(3), torch.ones(3), False).shape == shape


@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 4), (5, 3, 0)])
def test_an_empty_batch_changes_nothing(shape):
    x, weight = torch.ones(shape).requires_grad_(), torch.ones(3).requires_grad_()
    mean, var = torch.full((3,), 0.5), torch.full((3,), 2.0)
    y = batch_norm(x, weight, None, mean, var, True)
    y.sum().backward()
    assert y.shape == x.grad.shape == shape
    assert weight.grad.tolist() == [0, 0, 0]
    assert mean.tolist() == [0.5] * 3
    assert var.tolist() == [2.0] * 3


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": torch.ones(3)}, ValueError, r"expected x of shape \(N, C, ...\), got \(3,\)"),
        ({"x": torch.ones(4, 3, dtype=torch.long)}, TypeError, "floating dtype, got torch.int64"),
        ({"weight": torch.ones(4)}, ValueError, r"expected weight of shape \(3,\), got \(4,\)"),
        ({"running_mean": torch.ones(3, 1)}, ValueError, r"expected running_mean of shape \(3,\), got \(3, 1\)"),
        ({"running_mean": None}, ValueError, "running_mean and running_var both, or neither"),
        ({"residual": torch.ones(4, 1)}, ValueError, r"expected residual of the shape and dtype of x, \(4, 3\)"),
        ({"residual": torch.ones(4, 3).half()}, ValueError, "got .* and torch.float16"),
        ({"activation": "gelu"}, ValueError, "expected activation None or 'relu', got 'gelu'"),
    ],
)
def test_wrong_arguments_are_named(change, error, message):
    given = inputs((4, 3), torch.float32)
    with pytest.raises(error, match=message):
        batch_norm(**given | change, training=True)


def composed(x: Tensor, weight: Tensor, bias: Tensor, residual: Tensor, activation: str | None) -> Tensor:
    """The formula, in operations that PyTorch differentiates one by one."""
    shape, axes = (1, -1, *[1] * (x.ndim - 2)), [axis for axis in range(x.ndim) if axis != 1]
    var, mean = torch.var_mean(x, dim=axes, correction=0, keepdim=True)
    y = (x - mean) / (var + 1e-2).sqrt() * weight.view(shape) + bias.view(shape) + residual
    return y.relu() if activation == "relu" else y


@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("low", [False, True])
def test_third_derivatives_count_every_way_to_x(activation, low):
    """Catches statistics that the second derivative takes for constants, as ``F.batch_norm`` of torch 2.13 does.

    The layer stands in a network, whose weights other ways lead to: a missing way raises no error there.
    """
    given = inputs((7, 3, 2))
    shift = normal(3, 3, seed=8)
    if low:
        given = {name: values.float() for name, values in given.items()}
        shift = shift.float()

    def third(function) -> list[Tensor]:
        leaves = [values.clone().requires_grad_() for values in (shift, given["weight"], given["bias"])]
        x = torch.einsum("ncs,cd->nds", given["x"], leaves[0])
        loss = function(x, *leaves[1:]).tanh().square().sum()
        for _ in range(2):
            loss = torch.autograd.grad(loss, leaves[0], create_graph=True)[0].square().sum()
        return list(torch.autograd.grad(loss, leaves))

    def ours(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return batch_norm(x, weight, bias, training=True, eps=1e-2, residual=given["residual"], activation=activation)

    expected = third(lambda *leaves: composed(*leaves, given["residual"], activation))
    for one, other in zip(third(ours), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=(1e-3 if low else 1e-9) * other.abs().max().item())


def loss_of(function, **options):
    """A loss of x, weight, bias and residual, as ``torch.func`` wants it: a function of tensors."""

    def loss(x: Tensor, weight: Tensor, bias: Tensor, residual: Tensor) -> Tensor:
        return function(x, weight, bias, residual=residual, **options).pow(3).sum()

    return loss


@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("training", [True, False])
def test_function_transforms(training, activation):
    """Gradients, gradients of gradients, those of each example, and Jacobians row by row."""
    given = inputs((4, 3, 5, 2))
    statistics = [given.pop(name) for name in ("running_mean", "running_var")]
    tensors = tuple(given.values())
    every = tuple(range(4))
    results = []
    for function in (batch_norm, reference):
        running = [None, None] if training else [values.clone() for values in statistics]
        loss = loss_of(
            function, running_mean=running[0], running_var=running[1], training=training, activation=activation
        )
        gradients_of = torch.func.grad(loss, every)

        def length(*tensors: Tensor, gradients_of=gradients_of) -> Tensor:
            return sum(gradient.square().sum() for gradient in gradients_of(*tensors))

        def one(x: Tensor, *others: Tensor, gradients_of=gradients_of) -> tuple[Tensor, ...]:
            return gradients_of(x[None], *others[:2], others[2][None])

        def rows(x: Tensor, loss=loss, others=tensors[1:]) -> Tensor:
            return torch.func.grad(loss)(x, *others).sum((2, 3))

        results.append(
            [
                *gradients_of(*tensors),
                *torch.func.grad(length, every)(*tensors),
                *torch.func.vmap(one, in_dims=(0, None, None, 0))(*tensors),
                torch.func.jacrev(rows)(tensors[0]),
            ]
        )
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_batches_side_by_side_have_statistics_of_their_own():
    """Catches an update in a copy; and running statistics of one batch that those of others have changed."""
    x, weight = normal(2, 6, 3) + 1, normal(3, seed=1)
    running = torch.zeros(3, 2, dtype=x.dtype), torch.ones(2, 3, dtype=x.dtype)
    expected = torch.zeros(3, 2, dtype=x.dtype), torch.ones(2, 3, dtype=x.dtype)

    def run(x: Tensor, mean: Tensor, var: Tensor) -> Tensor:
        return batch_norm(x, weight, None, mean, var, True)

    y = torch.func.vmap(run, in_dims=(0, 1, 0))(x, *running)
    right = [reference(x[i], weight, None, expected[0][:, i], expected[1][i], True) for i in range(2)]
    torch.testing.assert_close(y, torch.stack(right))
    torch.testing.assert_close(running, expected)
    with pytest.raises(ValueError, match="running statistics for each of the batches"):
        torch.func.vmap(run, in_dims=(0, None, None))(x, running[0][:, 0], running[1][0])


def test_forward_mode_derivatives_are_refused():
    """Catches silently wrong results: PyTorch's forward mode knows nothing of our formulas."""
    x = normal(5, 3)
    run = partial(batch_norm, training=True, activation="relu")
    with pytest.raises(NotImplementedError, match="forward mode AD"):
        torch.func.jvp(run, (x,), (x,))
    with (
        torch.autograd.forward_ad.dual_level(),
        pytest.raises(NotImplementedError, match="forward mode AD"),
    ):
        run(torch.autograd.forward_ad.make_dual(x, x))
