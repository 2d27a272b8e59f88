"""Finding the layers beside each batch norm of a model, and taking the batch norms out.

:mod:`torch.fx` runs a model on a symbol instead of a tensor and writes down what is called: a graph that shows who
uses an output. It serves to decide. What is changed is the model itself, whose code goes on as it was.
"""

from __future__ import annotations

import copy
import inspect
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from bncourse.layers.folding import (
    LAYERS,
    Folded,
    Layer,
    factor_and_shift,
    fold_after,
    fold_before,
    partial_kernels,
    store,
)

Fold: TypeAlias = Callable[[Layer, Tensor, Tensor], tuple[Tensor, Tensor]]
AXES = {nn.BatchNorm1d: (2, 3), nn.BatchNorm2d: (4,), nn.BatchNorm3d: (5,)}


class FoldingError(Exception):
    """Why a batch norm cannot be folded exactly."""


class Surgery:
    """A model, and the graph of its calls.

    Parameters
    ----------
    model : will be changed.

    Raises
    ------
    ValueError : if the model cannot be traced.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.graph, twin = _trace(model)
        modules = dict(model.named_modules())
        self.calls: dict[nn.Module, list[fx.Node]] = {}
        for node in self.graph.nodes:
            if node.op == "call_module":
                node.meta["module"] = modules[node.target]
                self.calls.setdefault(modules[node.target], []).append(node)
        self.read = {id(attrgetter(node.target)(twin)) for node in self.graph.nodes if node.op == "get_attr"}
        self.owners = Counter(id(p) for module in model.modules() for p in module.parameters(recurse=False))

    def norms(self) -> Iterator[tuple[str, _BatchNorm | None]]:
        """Names and modules of the batch norms in the order of their calls; last those that are never called.

        A function in place of a module has its name in the graph, and no module.
        """
        names = {module: name for name, module in self.model.named_modules() if isinstance(module, _BatchNorm)}
        for node in list(self.graph.nodes):
            if node.op == "call_function" and node.target in (functional.batch_norm, torch.batch_norm):
                yield node.name, None
            elif (norm := node.meta.get("module")) in names:
                yield names.pop(norm), norm
        yield from [(name, norm) for norm, name in names.items()]

    def fold(self, norm: _BatchNorm | None) -> str:
        """Fold one batch norm, and return the name of the layer that has taken it in.

        Raises
        ------
        FoldingError : if it cannot be folded exactly. Then it stays.
        """
        if norm is None:
            raise FoldingError("It is called as a function, and only modules are folded")
        call = self._only_call(norm)
        try:
            return self._into_previous(norm, call)
        except FoldingError as before:
            try:
                return self._into_next(norm, call)
            except FoldingError as after:
                raise FoldingError(f"Before it: {before}. After it: {after}") from None

    def _only_call(self, norm: _BatchNorm) -> fx.Node:
        calls = self.calls.get(norm, [])
        if not type(norm).__module__.startswith(("torch.nn.modules.", "bncourse.layers.")):
            raise FoldingError(f"It is of class {type(norm).__name__}, whose forward may do something else")
        if norm.running_mean is None or norm.running_var is None:
            raise FoldingError("It has no running statistics, and normalizes by the batch in evaluation too")
        if _hooked(norm):
            raise FoldingError("It has hooks")
        if len(calls) != 1:
            raise FoldingError(f"It is called {len(calls)} times" if calls else "No call of it was found")
        if _arguments(calls[0]) != 1:
            raise FoldingError("It is called with more than its input")
        if any(id(p) in self.read for p in norm.parameters()):
            raise FoldingError("The model reads its parameters")
        return calls[0]

    def _into_previous(self, norm: _BatchNorm, call: fx.Node) -> str:
        source = call.all_input_nodes[0]
        layer = self._layer(source)
        _check_channels(norm, source, layer, _channels(layer)[1])
        if len(source.users) != 1:
            raise FoldingError(f"the output of {source.target} goes to {_names(source.users)}")
        if "hook" in source.meta:
            raise FoldingError(f"a hook of {source.meta['hook']} sees the output of {source.target}")
        return self._replace(norm, call, source, layer, fold_after)

    def _into_next(self, norm: _BatchNorm, call: fx.Node) -> str:
        if len(call.users) != 1:
            raise FoldingError(f"its output goes to {_names(call.users) or 'nothing'}")
        if "hook" in call.meta:
            raise FoldingError(f"a hook of {call.meta['hook']} sees its output")
        user = next(iter(call.users))
        layer = self._layer(user)
        _check_channels(norm, user, layer, _channels(layer)[0])
        if _arguments(user) != 1:
            raise FoldingError(f"{user.target} is called with more than its input")
        if factor_and_shift(norm)[1].any() and (partial := partial_kernels(layer)):
            raise FoldingError(f"{user.target}: {partial}")
        return self._replace(norm, call, user, layer, fold_before)

    def _layer(self, node: fx.Node) -> Layer:
        layer = node.meta.get("module")
        if node.op in ("placeholder", "output"):
            raise FoldingError(_name(node))
        if not isinstance(layer, LAYERS) or type(layer) not in LAYERS:
            kind = "" if layer is None else f" ({type(layer).__name__})"
            raise FoldingError(f"{_name(node)}{kind} is no Linear and no convolution")
        if len(self.calls[layer]) != 1:
            raise FoldingError(f"{node.target} is called {len(self.calls[layer])} times")
        if any(self.owners[id(p)] > 1 or id(p) in self.read for p in layer.parameters()):
            raise FoldingError(f"{node.target} is not alone in using its parameters")
        if _hooked(layer):
            raise FoldingError(f"{node.target} has hooks")
        return layer

    def _replace(self, norm: _BatchNorm, call: fx.Node, node: fx.Node, layer: Layer, fold: Fold) -> str:
        weight, bias = fold(layer, *factor_and_shift(norm))
        dtype = layer.weight.dtype
        if not (weight.to(dtype).isfinite().all() and bias.to(dtype).isfinite().all()):
            raise FoldingError(f"weights of {node.target} would not be finite in {dtype}")
        store(layer, weight, bias)
        name = str(node.target)
        folded = Folded(name, _axes(layer)).eval()
        for parent in list(self.model.modules()):
            for key, child in list(parent.named_children()):
                if child is norm:
                    setattr(parent, key, folded)
        source = call.all_input_nodes[0]
        if "hook" in call.meta:
            source.meta["hook"] = call.meta["hook"]
        call.replace_all_uses_with(source)
        self.graph.erase_node(call)
        return name


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        ours = type(m).__module__.startswith("bncourse.layers.")
        return ours or isinstance(m, _BatchNorm) or super().is_leaf_module(m, module_qualified_name)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        output = super().call_module(m, forward, args, kwargs)

        def mark(value: Any) -> Any:
            if isinstance(value, fx.Proxy):
                value.node.meta["hook"] = self.path_of_module(m)
            return value

        if _hooked(m):
            fx.node.map_aggregate((args, kwargs, output), mark)
        return output


def _trace(model: nn.Module) -> tuple[fx.Graph, nn.Module]:
    """The graph, and what was traced: a twin that shares the tensors, and keeps what the code does to the module."""
    twin = copy.deepcopy(model, {id(value): value for value in (*model.parameters(), *model.buffers())})
    try:
        settings = {
            name: parameter.default
            for name, parameter in inspect.signature(twin.forward).parameters.items()
            if parameter.default is None or isinstance(parameter.default, bool | int | float | str)
        }
        return _Tracer().trace(twin, settings), twin
    except Exception as error:
        tracer = Path(fx.__file__).parent
        frames = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if tracer not in Path(frame.filename).parents and frame.filename != __file__
        ]
        place = f" in {frames[-1].name}, at `{frames[-1].line}`" if frames else ""
        raise ValueError(
            f"expected model to be traceable by torch.fx, got {type(error).__name__}{place}: {error}"
        ) from error


def _check_channels(norm: _BatchNorm, node: fx.Node, layer: Layer, channels: int) -> None:
    axes = next((axes for kind, axes in AXES.items() if isinstance(norm, kind)), None)
    if norm.num_features != channels or (axes and _axes(layer) not in axes):
        kind = f"{type(norm).__name__}({norm.num_features})"
        if isinstance(layer, nn.Linear):
            raise FoldingError(f"{node.target} has {channels} features on the last axis, {kind} works on axis 1")
        raise FoldingError(f"{node.target} has {channels} channels and {_axes(layer)} axes, {kind} does not fit")


def _axes(layer: Layer) -> int:
    return layer.weight.dim()


def _channels(layer: Layer) -> tuple[int, int]:
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    return layer.in_channels, layer.out_channels


def _arguments(node: fx.Node) -> int:
    return len(node.args) + len(node.kwargs)


def _hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _name(node: fx.Node) -> str:
    if node.op in ("placeholder", "output"):
        return f"the model's {'input' if node.op == 'placeholder' else 'output'}"
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))


def _names(nodes: Iterable[fx.Node]) -> str:
    return " and ".join(map(_name, nodes))
