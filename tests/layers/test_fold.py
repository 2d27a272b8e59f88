"""The folded model computes what the model did, in float64 to the last digits, or is refused with the reason."""

import copy
import itertools
import pickle
import re
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.fx.experimental.optimization import fuse
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval
from torch.nn.utils.parametrizations import weight_norm

from bncourse import layers
from bncourse.layers import convert, explain_folding, fold_batch_norm
from bncourse.layers.folding import Folded, factor_and_shift, fold_before, partial_kernels, store

pytestmark = pytest.mark.slow

NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


def used(model, seed=0):
    """A model in float64 whose batch norms have seen data far from mean 0 and variance 1, in evaluation."""
    generator = torch.Generator().manual_seed(seed)
    for norm in model.modules():
        if isinstance(norm, _BatchNorm) and norm.running_mean is not None:
            norm.running_mean.normal_(2, 1, generator=generator)
            norm.running_var.uniform_(0.2, 3, generator=generator)
            if norm.weight is not None:
                nn.init.normal_(norm.weight, generator=generator)
            if norm.bias is not None:
                nn.init.normal_(norm.bias, generator=generator)
    return model.double().eval()


def values(*shape, seed=1):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + 0.5


def assert_same(folded, model, x):
    with torch.no_grad():
        torch.testing.assert_close(folded(x), model(x), rtol=1e-12, atol=1e-12)


def norms_of(model):
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


KINDS = [(nn.Linear, 0), *((kind, d) for kinds in (CONVOLUTIONS, TRANSPOSED) for d, kind in kinds.items())]


@pytest.mark.parametrize(
    ("kind", "dimensions", "place", "groups", "bias", "affine"),
    [
        pytest.param(kind, dimensions, *rest, id="-".join([kind.__name__, *map(str, rest)]))
        for kind, dimensions in KINDS
        for rest in itertools.product(("after", "before"), (1, 2), (True, False), (True, False))
        if kind is not nn.Linear or rest[1] == 1
    ],
)
def test_every_layer_takes_a_batch_norm_in(kind, dimensions, place, groups, bias, affine):
    """Groups and unequal numbers of channels catch a factor on the wrong axis of the weight."""
    inputs, outputs = 4, 6
    if kind is nn.Linear:
        layer = nn.Linear(inputs, outputs, bias)
    else:
        if place == "after":
            options = {"stride": 2, "padding": 1, "dilation": 2}
        elif kind in TRANSPOSED.values():  # exact only where the padding cuts off all partial outputs
            options = {"padding": tuple(range(1, dimensions + 1))}
        else:
            options = {"stride": 2}
        layer = kind(inputs, outputs, tuple(range(2, 2 + dimensions)), groups=groups, bias=bias, **options)
    norm = NORMS[max(dimensions, 1)](outputs if place == "after" else inputs, affine=affine)
    model = used(nn.Sequential(layer, norm) if place == "after" else nn.Sequential(norm, layer))
    folded = fold_batch_norm(model)
    assert not norms_of(folded)
    assert_same(folded, model, values(5, inputs, *range(9, 9 + dimensions)))


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_pytorchs_own_function_finds_the_same_weights(dimensions):
    layer = CONVOLUTIONS[dimensions](4, 6, 3, groups=2, bias=False)
    model = used(nn.Sequential(layer, NORMS[dimensions](6)))
    theirs, ours = fuse_conv_bn_eval(*model), fold_batch_norm(model)[0]
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-13, atol=0)
    torch.testing.assert_close(ours.bias, theirs.bias, rtol=1e-12, atol=1e-13)
    model = used(nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6)))
    theirs, ours = fuse_linear_bn_eval(*model), fold_batch_norm(model)[0]
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-13, atol=0)


@given(data=st.data())
@settings(max_examples=200, deadline=None, derandomize=True)
def test_partial_kernels_are_found_exactly_where_folding_before_would_be_wrong(data):
    """Both directions: what passes is exact, and what is refused really differs."""
    draw = data.draw
    size, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    if draw(st.booleans()):
        stride = draw(st.integers(1, 3))
        output_padding = draw(st.integers(0, max(stride, dilation) - 1))
        layer = nn.ConvTranspose1d(
            3, 2, size, stride, draw(st.integers(0, 4)), output_padding, bias=draw(st.booleans()), dilation=dilation
        )
    else:
        padding = draw(st.sampled_from([0, 1, 2, "same", "valid"]))
        layer = nn.Conv1d(
            3,
            2,
            size,
            1 if padding == "same" else draw(st.integers(1, 3)),
            padding,
            dilation,
            padding_mode=draw(st.sampled_from(["zeros", "reflect", "replicate", "circular"])),
        )
    model = used(nn.Sequential(nn.BatchNorm1d(3), layer))
    forced = copy.deepcopy(layer)
    with torch.no_grad():
        store(forced, *fold_before(layer, *factor_and_shift(model[0])))
        x = values(2, 3, 13)
        right, found = model(x), forced(x)
    assert torch.allclose(right, found, rtol=1e-10, atol=1e-10) == (partial_kernels(layer) is None)


def test_a_shift_of_zero_folds_into_a_padded_convolution():
    model = used(nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3, padding=1)))
    nn.init.zeros_(model[0].bias)
    model[0].running_mean.zero_()
    assert_same(fold_batch_norm(model), model, values(2, 3, 5, 6))


class Block(nn.Module):
    """A residual block of ResNet's layout, with layers of theirs and of ours."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, groups=2, bias=False)
        self.bn2 = layers.BatchNorm2d(outputs)
        same = inputs == outputs and stride == 1
        self.short = (
            nn.Identity() if same else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
        )

    def forward(self, x, scale=None):
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if scale is not None:
            y = y * scale
        return functional.relu(y + self.short(x))


def resnet():
    return used(
        nn.Sequential(
            nn.Conv2d(3, 4, 3, 1, 1),
            layers.GhostBatchNorm(4, 2),
            nn.ReLU(),
            Block(4, 4, 1),
            Block(4, 6, 2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            layers.BatchRenorm(6),
            nn.Linear(6, 5, bias=False),
            layers.BatchNorm1d(5),
        )
    )


def test_a_residual_network():
    model = resnet()
    state = copy.deepcopy(model.state_dict())
    folded = fold_batch_norm(model)
    assert_same(folded, model, values(3, 3, 9, 8))
    assert not norms_of(folded)
    assert not any(module.training for module in folded.modules())
    assert {str(folding) for folding in explain_folding(model)} == {
        "1: into 0",
        "3.bn1: into 3.conv1",
        "3.bn2: into 3.conv2",
        "4.bn1: into 4.conv1",
        "4.bn2: into 4.conv2",
        "4.short.1: into 4.short.0",
        "7: into 8",
        "9: into 8",
    }
    assert len(norms_of(model)) == 8
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_the_copy_is_the_model_that_it_was():
    """Its class, code, attributes and names: a caller sees fewer parameters, and no other difference."""
    model = resnet()
    model.remark = "a user's attribute"
    model[4].conv1.weight.requires_grad_(False)
    model = model.to(memory_format=torch.channels_last)
    folded = fold_batch_norm(model)
    assert type(folded[3]) is Block
    assert folded.remark == model.remark
    assert [name for name, _ in folded.named_modules()] == [
        name for name, _ in model.named_modules() if name != "4.short.2"
    ]
    assert not folded[4].conv1.weight.requires_grad
    assert folded[4].conv2.weight.requires_grad
    assert folded[3].conv1.weight.is_contiguous(memory_format=torch.channels_last)
    x = values(2, 3, 8, 8)
    assert_same(pickle.loads(pickle.dumps(folded)), model, x)
    assert_same(torch.fx.symbolic_trace(folded), model, x)
    assert_same(fold_batch_norm(folded), model, x)
    with torch.no_grad():
        torch.testing.assert_close(
            folded[3](model[2](model[1](model[0](x))), scale=2.0), model[3](model[2](model[1](model[0](x))), scale=2.0)
        )


@pytest.mark.parametrize("kind", [nn.SyncBatchNorm, layers.BatchNorm2d, layers.SyncBatchNorm, layers.BatchRenorm])
def test_each_kind_of_batch_norm(kind):
    norm = kind(4)
    model = used(nn.Sequential(nn.Conv2d(3, 4, 3), norm))
    plain = nn.Sequential(model[0], nn.BatchNorm2d(4).double().eval())
    plain[1].load_state_dict(norm.state_dict())
    assert_same(fold_batch_norm(model), plain, values(2, 3, 6, 6))


def test_gamma_alone():
    norm = nn.BatchNorm1d(4)
    norm.register_parameter("bias", None)
    model = used(nn.Sequential(nn.Linear(3, 4), norm))
    assert_same(fold_batch_norm(model), model, values(5, 3))


def test_other_layers_of_ours_are_passed_over():
    """Their code has conditions that no symbol can answer."""
    model = used(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), layers.FilterResponseNorm(4), nn.BatchNorm2d(4)))
    assert [folding.into for folding in explain_folding(model)] == ["0", None]
    assert_same(fold_batch_norm(model, strict=False), model, values(2, 3, 6, 6))


def test_a_gamma_of_zero():
    model = used(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
    nn.init.zeros_(model[1].weight)
    assert_same(fold_batch_norm(model), model, values(2, 3, 6, 6))


def test_one_after_the_other():
    """Three batch norms around one layer: the second finds the layer through the place of the first."""
    model = used(nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4)))
    assert [folding.into for folding in explain_folding(model)] == ["1", "1", "1"]
    assert_same(fold_batch_norm(model), model, values(2, 3, 6, 6))


def test_a_layer_of_two_names():
    body = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    model = used(Calls(lambda m, x: m.norm(m.body[0](x)), body=body, norm=body[1]))
    folded = fold_batch_norm(model)
    assert folded.norm is folded.body[1]
    assert not norms_of(folded)
    assert_same(folded, model, values(5, 3))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_are_rounded_once(dtype):
    """Catches a product of half-precision numbers: three roundings, of the inverse root, the factor and the weight."""
    model = used(nn.Sequential(nn.Conv2d(8, 16, 3), nn.BatchNorm2d(16)))
    half = copy.deepcopy(model).to(dtype)
    exact = fold_batch_norm(copy.deepcopy(half).double())
    folded = fold_batch_norm(half)
    assert torch.equal(folded[0].weight, exact[0].weight.to(dtype))
    assert torch.equal(folded[0].bias, exact[0].bias.to(dtype))
    naive = fuse_conv_bn_eval(*half)
    assert not torch.equal(naive.weight, folded[0].weight)


def test_the_shared_axis_is_checked_when_the_model_runs():
    """A Linear of 6 features, then BatchNorm1d(6): on (N, 6, 6) they mean different axes, and PyTorch's `fuse` errs."""
    model = used(nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6)))
    folded = fold_batch_norm(model)
    assert_same(folded, model, values(5, 4))
    x = values(5, 6, 4)
    assert not torch.allclose(fuse(model)(x), model(x))
    with pytest.raises(AssertionError, match="expected input with 2 axes, for which a batch norm was folded into 0"):
        folded(x)


# What is refused.


class Calls(nn.Module):
    """A model whose forward pass is a function of it and its input."""

    def __init__(self, calls, **modules):
        super().__init__()
        self.calls = calls
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x):
        return self.calls(self, x)


class Own(nn.BatchNorm2d):
    def forward(self, x):
        return 2 * super().forward(x)


def tied():
    first, second = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)
    second.weight = first.weight
    return Calls(lambda m, x: m.norm(m.first(m.second(x))), first=first, second=second, norm=nn.BatchNorm2d(3))


def hooked(which):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    model[which].register_forward_hook(lambda module, args, y: y + 1)
    return model


def watched(part):
    """A part whose input and output a hook sees, as those do that collect features."""
    part.register_forward_hook(lambda module, args, y: None)
    return part


def conv(**options):
    return nn.Conv2d(3, 3, 3, **options)


def calls(function, **more):
    return Calls(function, conv=conv(), norm=nn.BatchNorm2d(3), **more)


REFUSED = {
    "zero padding": (nn.Sequential(nn.BatchNorm2d(3), conv(padding=1)), "After it: 1: it pads with zeros"),
    "same padding": (nn.Sequential(nn.BatchNorm2d(3), conv(padding="same")), "After it: 1: it pads with zeros"),
    "transposed border": (
        nn.Sequential(nn.BatchNorm2d(3), nn.ConvTranspose2d(3, 2, 3)),
        "1: its outputs at the border",
    ),
    "transposed stride": (nn.Sequential(nn.BatchNorm2d(3), nn.ConvTranspose2d(3, 2, 2, 2)), "1: with its stride"),
    "no statistics": (nn.Sequential(conv(), nn.BatchNorm2d(3, track_running_stats=False)), "no running statistics"),
    "activation between": (
        nn.Sequential(conv(), nn.ReLU(), nn.BatchNorm2d(3)),
        "Before it: 1 .ReLU. is no Linear .* After it: the model's output",
    ),
    "own forward": (nn.Sequential(conv(), Own(3)), "It is of class Own, whose forward may do something else"),
    "layer called twice": (calls(lambda m, x: m.norm(m.conv(m.conv(x)))), "Before it: conv is called 2 times"),
    "norm called twice": (calls(lambda m, x: m.norm(m.conv(m.norm(x)))), "It is called 2 times"),
    "norm not called": (calls(lambda m, x: m.conv(x)), "No call of it was found"),
    "output used again": (calls(lambda m, x: (y := m.conv(x)) + m.norm(y)), "the output of conv goes to norm and add"),
    "output observed": (
        calls(lambda m, x: (y := m.conv(x), m.norm(y))),
        "the output of conv goes to norm and the model's output",
    ),
    "normalized used again": (calls(lambda m, x: m.conv(y := m.norm(x)).sum() + y), "its output goes to conv and add"),
    "normalized in place": (
        calls(lambda m, x: m.conv(y := m.norm(x)).sum() + y.relu_()),
        "its output goes to conv and relu_",
    ),
    "tied weights": (tied(), "first is not alone in using its parameters"),
    "weights read": (calls(lambda m, x: m.norm(m.conv(x)) + m.conv.weight.sum()), "conv is not alone in using"),
    "gamma read": (
        calls(lambda m, x: m.norm(m.conv(x)) + m.norm.weight.sum()),
        "The model reads its parameters",
    ),
    "hook on layer": (hooked(0), "Before it: 0 has hooks"),
    "hook on norm": (hooked(1), "It has hooks"),
    "hook on what ends with the layer": (
        nn.Sequential(watched(nn.Sequential(conv())), nn.BatchNorm2d(3)),
        r"Before it: a hook of 0 sees the output of 0\.0",
    ),
    "hook on what begins with the norm": (
        nn.Sequential(conv(), watched(nn.Sequential(nn.BatchNorm2d(3)))),
        "Before it: a hook of 1 sees the output of 0",
    ),
    "hook on what ends with the norm": (
        nn.Sequential(watched(nn.Sequential(nn.BatchNorm2d(3))), conv()),
        "After it: a hook of 0 sees its output",
    ),
    "hook between two norms": (
        nn.Sequential(watched(nn.Sequential(conv(), nn.BatchNorm2d(3))), nn.BatchNorm2d(3)),
        r"1: stays. Before it: a hook of 0 sees the output of 0\.0",
    ),
    "weight norm": (nn.Sequential(weight_norm(conv()), nn.BatchNorm2d(3)), "0 .ParametrizedConv2d. is no Linear"),
    "functional layer": (
        calls(lambda m, x: m.norm(functional.conv2d(x, m.conv.weight))),
        "Before it: conv2d is no Linear",
    ),
    "functional norm": (
        calls(lambda m, x: functional.batch_norm(m.conv(x), m.norm.running_mean, m.norm.running_var)),
        "batch_norm: stays. It is called as a function",
    ),
    "another axis": (
        nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(5)),
        "0 has 6 features on the last axis, BatchNorm1d\\(5\\) works on axis 1",
    ),
    "axis of an image": (
        nn.Sequential(nn.Linear(4, 6), nn.BatchNorm2d(6)),
        "on the last axis, BatchNorm2d\\(6\\) works on axis 1",
    ),
    "flattened": (
        nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2)),
        "After it: 1 .Flatten. is no Linear",
    ),
    "residual inside": (
        Calls(lambda m, x: m.norm(m.conv(x), residual=x), conv=conv(padding=1), norm=layers.BatchNorm2d(3)),
        "more than its input",
    ),
    "size asked for": (
        Calls(lambda m, x: m.up(m.norm(x), [6, 6]), norm=nn.BatchNorm2d(3), up=nn.ConvTranspose2d(3, 2, 1, dilation=2)),
        "up is called with more than its input",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_the_reason(case):
    model, message = REFUSED[case]
    model = used(model)
    with pytest.raises(ValueError, match=f"cannot be folded exactly .strict=False leaves them in place.\n.*{message}"):
        fold_batch_norm(model)
    foldings = explain_folding(model)
    assert any(re.search(message, str(folding)) for folding in foldings)
    assert all((folding.into is None) == (folding.reason is not None) for folding in foldings)


@pytest.mark.parametrize(
    "case", [name for name in REFUSED if "axis" not in name and name not in ("size asked for", "flattened")]
)
def test_what_is_refused_stays_and_the_rest_is_folded(case):
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), copy.deepcopy(REFUSED[case][0]))
    model = used(model)
    folded = fold_batch_norm(model, strict=False)
    assert isinstance(folded[1], Folded)
    x = values(2, 3, 7, 7)
    theirs, ours = model(x), folded(x)
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)


def test_no_statistics_no_factor():
    with pytest.raises(ValueError, match=r"expected norm with running statistics, got BatchNorm2d.*=False"):
        factor_and_shift(nn.BatchNorm2d(3, track_running_stats=False))


def test_weights_that_overflow():
    model = used(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, eps=1e-12)))
    model[1].running_var[2] = 1e-10
    nn.init.constant_(model[0].weight, 3.0)
    nn.init.constant_(model[1].weight, 1.0)
    assert_same(fold_batch_norm(model), model, values(5, 3))
    with pytest.raises(ValueError, match=r"weights of 0 would not be finite in torch\.float16"):
        fold_batch_norm(model.half())


@pytest.mark.parametrize("name", ["", "0", "1"])
def test_training_mode_names_who_is_in_it(name):
    model = used(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
    part = model.get_submodule(name)
    part.training = True
    with pytest.raises(ValueError, match=f"got {name or 'the model itself'} in training mode.*call model.eval"):
        fold_batch_norm(model)


def test_a_model_that_cannot_be_traced_names_the_line():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))

        def forward(self, x):
            if x.sum() > 0:
                x = -x
            return self.body(x)

    model = used(Branching())
    expected = "got TraceError in forward, at `if x.sum() > 0:`: symbolically traced"
    with pytest.raises(ValueError, match=re.escape(expected)):
        fold_batch_norm(nn.Sequential(model).eval())
    x = values(2, 3, 6, 6)
    before = model(x)
    model.body = fold_batch_norm(model.body)
    torch.testing.assert_close(model(x), before)


def test_expected_a_module():
    with pytest.raises(TypeError, match=r"expected model to be a torch\.nn\.Module, got OrderedDict"):
        fold_batch_norm(nn.Linear(2, 3).state_dict())


def test_what_code_leaves_on_the_module_does_not_reach_the_copy():
    """Tracing runs the model's code with symbols; one that it keeps could not be pickled."""

    class Keeps(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))

        def forward(self, x):
            self.last = self.body(x) + torch.tensor(1.0)
            return self.last

    model = used(Keeps())
    folded = fold_batch_norm(model)
    assert not hasattr(folded, "last")
    assert_same(folded, model, values(5, 3))


def served(model, x):
    """What ONNX Runtime makes of a model, and the kinds of nodes in the file that is exported."""
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(model, (x,), dynamo=True, verbose=False, optimize=False)
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    return torch.from_numpy(y), [node.op_type for node in program.model_proto.graph.node]


def test_exported_folded_and_not_onnx_runtime_finds_the_same():
    model = used(nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), Block(4, 6, 2)))
    model = convert(model, to=nn).float()
    x = values(3, 3, 8, 8).float()
    with torch.no_grad():
        expected = model(x)
    for exported, norms in ((model, 4), (fold_batch_norm(model), 0)):
        found, kinds = served(exported, x)
        assert (kinds.count("Conv"), kinds.count("BatchNormalization")) == (4, norms)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_what_the_exporter_does_not_know_is_folded_away():
    """Layers of ours have an operator that ONNX has not."""
    model = resnet().float()
    x = values(3, 3, 8, 8).float()
    with pytest.raises(torch.onnx.OnnxExporterError):
        served(model, x)
    with torch.no_grad():
        torch.testing.assert_close(served(fold_batch_norm(model), x)[0], model(x), rtol=1e-4, atol=1e-4)
