"""Cases that this project did not write: those with which ONNX tests the backends that implement its operators."""

import functools
import warnings

import numpy as np
import pytest

from bncourse.reference import (
    RunningStatistics,
    batch_norm,
    batch_norm_inference,
    group_norm,
    instance_norm,
    layer_norm,
    relative_error,
    rms_norm,
)

pytestmark = pytest.mark.slow

pytest.importorskip("onnx")

EPS = 1e-5


@functools.cache
def cases(operator):
    """Inputs, outputs and attributes of every case that is one node of this operator, by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the collection computes its own cases, of every operator
        from onnx.backend.test.case.node import collect_testcases

        found = collect_testcases(None)
    selected = {}
    for case in found:
        nodes = case.model.graph.node
        if len(nodes) == 1 and nodes[0].op_type == operator:
            inputs, outputs = case.data_sets[0]
            attributes = {a.name: a.f if a.type == a.FLOAT else a.i for a in nodes[0].attribute}
            selected[case.name] = (inputs, outputs, attributes)
    return selected


def close(found, wanted):
    assert found.shape == wanted.shape
    assert relative_error(found, wanted) < 2e-6


def test_batch_norm():
    found = cases("BatchNormalization")
    assert len(found) >= 4
    for (x, gamma, beta, mean, var), outputs, attributes in found.values():
        eps = attributes.get("epsilon", EPS)
        if not attributes.get("training_mode"):
            close(batch_norm_inference(x, mean, var, gamma, beta, eps), outputs[0])
            continue
        close(batch_norm(x, gamma, beta, eps)[0], outputs[0])
        # ONNX's momentum is the weight of the old statistic, 0.9, and it keeps the biased variance.
        running = RunningStatistics(len(mean), momentum=1 - attributes.get("momentum", 0.9))
        running.mean, running.var = mean.astype(float), var.astype(float)
        running.update(x)
        close(running.mean, outputs[1])
        count = x.size // x.shape[1]
        unbiased = (running.var - 0.9 * var) / 0.1
        close(0.9 * var + 0.1 * unbiased * (count - 1) / count, outputs[2])


def as_examples(x, axis):
    """The axes before ``axis`` made one, so that the rest is what our norms call an example."""
    return x.reshape(int(np.prod(x.shape[:axis])), *x.shape[axis:])


def test_layer_norm():
    found = cases("LayerNormalization")
    assert len(found) >= 10
    for (x, gamma, beta), (y, mean, inv_std), attributes in found.values():
        axis = attributes.get("axis", -1) % x.ndim
        examples = as_examples(x, axis)
        ours, cache = layer_norm(examples, gamma, beta, attributes.get("epsilon", EPS))
        close(ours.reshape(x.shape), y)
        close(cache.inv_std.reshape(inv_std.shape), inv_std)
        close(examples.mean(axis=tuple(range(1, examples.ndim))).reshape(mean.shape), mean)


def test_instance_norm():
    found = cases("InstanceNormalization")
    assert found
    for (x, gamma, beta), (y,), attributes in found.values():
        close(instance_norm(x, gamma, beta, attributes.get("epsilon", EPS))[0], y)


def test_group_norm():
    found = cases("GroupNormalization")
    assert found
    for (x, gamma, beta), (y,), attributes in found.values():
        close(group_norm(x, gamma, beta, attributes["num_groups"], attributes.get("epsilon", EPS))[0], y)


def test_rms_norm():
    found = cases("RMSNormalization")
    assert len(found) >= 10
    for (x, gamma), (y,), attributes in found.values():
        axis = attributes.get("axis", -1) % x.ndim
        ours, _ = rms_norm(as_examples(x, axis), gamma, attributes.get("epsilon", EPS))
        close(ours.reshape(x.shape), y)
