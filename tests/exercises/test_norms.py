"""The exercises about axes and groups: what their inputs must show, and what a result of the wrong shape is told."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from bncourse.exercises import group_norm_backward, norm_axes
from bncourse.exercises.grading import child, submission, wire
from bncourse.exercises.maps import designed_maps
from bncourse.reference import batch_norm, group_norm, instance_norm, layer_norm
from bncourse.reference import group_norm_backward as reference_backward
from tests.exercises.axes_mistakes import axes_of
from tests.exercises.bank import SEEDS, verdict
from tests.exercises.group_mistakes import gradients, split

# Far above the relative tolerance of a float64 result, which is 1e-7.
VISIBLE = 1e-3


def spread(values, axes):
    """The range of the means over these axes, the largest mean in standard deviations, and the range of these."""
    mean, std = values.mean(axes), values.std(axes)
    return np.ptp(mean), (abs(mean) / std).max(), np.ptp(std) / std.max()


def test_no_two_sizes_of_an_input_are_equal():
    """Catches an input on which a wrong axis, or the size of a group for their number, looks right."""
    for maps in designed_maps(np.random.default_rng(0)):
        size = maps.x.shape[1] // maps.num_groups
        assert len(set(maps.x.shape)) == maps.x.ndim
        assert size != maps.num_groups
        assert maps.x.shape[1] % maps.num_groups == 0


def test_the_inputs_differ_along_every_axis_and_no_tolerance_is_too_tight():
    for seed in range(20):
        inputs = designed_maps(np.random.default_rng(seed))
        assert {maps.x.ndim for maps in inputs} == {3, 4, 5}
        assert {1, "C"} <= {"C" if maps.num_groups == maps.x.shape[1] else maps.num_groups for maps in inputs}
        assert any(maps.eps > 0.1 for maps in inputs)
        assert any(maps.x.var() < 3e-5 for maps in inputs), "eps must decide somewhere"
        for maps in inputs:
            x = maps.x
            for kept in range(x.ndim):
                between, _, _ = spread(x, tuple(axis for axis in range(x.ndim) if axis != kept))
                assert between > VISIBLE * x.std(), f"no difference along axis {kept} of {maps.name}"
            for axes in (axes_of("batch", x.ndim), axes_of("layer", x.ndim), axes_of("instance", x.ndim)):
                _, ratio, scales = spread(x, axes)
                assert ratio <= maps.condition
                assert scales > VISIBLE
            assert abs(abs(maps.gamma) - 1).min() > 0.1
            assert abs(maps.gamma).min() > 0.3


def test_the_upstream_gradient_has_a_part_along_everything_that_a_norm_removes():
    """Catches a dy on which a path can be dropped, or taken over the wrong values, unseen."""
    for seed in range(100):
        for probe in group_norm_backward.make_probes(np.random.default_rng(seed)):
            dy, x, gamma, num_groups, _ = probe.arguments.values()
            g, h = split(dy, num_groups) * gamma.reshape(num_groups, -1, 1), split(x, num_groups)
            h = (h - h.mean((2, 3), keepdims=True)) / h.std((2, 3), keepdims=True)
            assert abs(g.mean((2, 3))).max() > 0.1
            assert abs((g * h).mean((2, 3))).max() > 0.1
            assert np.ptp(g.mean((2, 3)), axis=0).max() > 0.05, "examples differ"


def test_every_kind_meets_every_hazard():
    """Catches a kind whose branch could forget eps, or lose digits, unseen."""
    probes = norm_axes.make_probes(np.random.default_rng(0))
    hazards = {"images", "sequences", "far from zero", "small scale"}
    for kind in ("batch", "layer", "instance"):
        assert {p.name.split(", ")[1] for p in probes if p.arguments["kind"] == kind} == hazards
    assert len([p for p in probes if p.arguments["kind"] == "group"]) == len(hazards) + 2


def test_a_kind_is_a_string_equal_to_its_name_and_not_the_same_object():
    """Catches ``kind is "batch"`` accepted here, where Python keeps one copy of a literal, and not in the grader."""
    for probe in norm_axes.make_probes(np.random.default_rng(0)):
        kind = probe.fresh()["kind"]
        assert kind in ("batch", "layer", "instance", "group")
        assert sys.intern(kind) is not kind


def test_a_kind_and_a_number_of_groups_reach_the_sandbox():
    for exercise in (norm_axes, group_norm_backward):
        for probe in exercise.make_probes(np.random.default_rng(0)):
            arrays = {}
            document = {name: submission.encode(value, arrays) for name, value in probe.arguments.items()}
            message = wire.unpack(wire.pack(document, arrays))
            for name, value in probe.arguments.items():
                there = child._value(message.document[name], message.arrays)
                assert type(there) is type(value)
                np.testing.assert_array_equal(there, value)


def test_the_packages_norms_pass():
    """Catches an exercise whose reference drifted from the package's."""

    def normalize(x, kind, num_groups):
        shape = x.shape[1:] if kind == "layer" else x.shape[1:2]
        ones, zeros = np.ones(shape), np.zeros(shape)
        if kind == "group":
            return group_norm(x, ones, zeros, num_groups)[0]
        return {"batch": batch_norm, "layer": layer_norm, "instance": instance_norm}[kind](x, ones, zeros)[0]

    def backward(dy, x, gamma, num_groups, eps):
        _, cache = group_norm(x, gamma, np.zeros_like(gamma), num_groups, eps)
        return reference_backward(dy, cache)

    for seed in SEEDS:
        assert verdict(norm_axes, normalize, seed).outcome == "passed"
        assert verdict(group_norm_backward, backward, seed).outcome == "passed"


def grouped_but_not_put_back(x, kind, num_groups):
    if kind != "group":
        return norm_axes.solution_function(x, kind, num_groups)
    return x.reshape(len(x), num_groups, -1, *x.shape[2:])


def statistics_without_keepdims(x, kind, num_groups):
    axes = axes_of("batch", x.ndim)
    return (x - x.mean(axes)) / np.sqrt(x.var(axes) + 1e-5)


def dgamma_of_every_example(dy, x, gamma, num_groups, eps):
    dx, _, dbeta = gradients(dy, x, gamma, num_groups, eps)
    return dx, (dy * x).sum(tuple(range(2, x.ndim))), dbeta


def dbeta_of_every_group(dy, x, gamma, num_groups, eps):
    dx, dgamma, dbeta = gradients(dy, x, gamma, num_groups, eps)
    return dx, dgamma, dbeta.reshape(num_groups, -1).sum(1)


def dgamma_of_every_position(dy, x, gamma, num_groups, eps):
    dx, _, dbeta = gradients(dy, x, gamma, num_groups, eps)
    return dx, (dy * x).sum(0), dbeta


@pytest.mark.parametrize(
    ("exercise", "function", "sentence"),
    [
        (norm_axes, grouped_but_not_put_back, "x_hat has shape (5, 2, 3, 7, 4), and shape (5, 6, 7, 4) is expected"),
        (norm_axes, lambda x, kind, num_groups: (x, None), "a tuple of 2: return x_hat alone"),
        (norm_axes, lambda x, kind: x, "calls f(x, kind, num_groups), and yours is f(x, kind)"),
        (group_norm_backward, dgamma_of_every_example, "dgamma has shape (5, 6), and shape (6,) is expected"),
        (group_norm_backward, dgamma_of_every_position, "dgamma has shape (6, 7, 4), and shape (6,) is expected"),
        (group_norm_backward, dbeta_of_every_group, "dbeta has shape (2,), and shape (6,) is expected"),
        (group_norm_backward, lambda dy, x, gamma, eps: None, "calls f(dy, x, gamma, num_groups, eps=eps)"),
    ],
)
def test_a_result_of_another_shape_is_a_wrong_interface(exercise, function, sentence):
    result = verdict(exercise, function, 0)
    assert result.outcome == "wrong interface"
    assert sentence in result.message


def test_a_message_says_which_kind_was_asked_for():
    wrong_shape = verdict(norm_axes, grouped_but_not_put_back, 0)
    assert "probe: group, images; x (5, 6, 7, 4), kind 'group', num_groups 2" in wrong_shape.message
    raised = verdict(norm_axes, statistics_without_keepdims, 0)
    assert raised.outcome == "error"
    assert "kind 'batch'" in raised.message


def test_a_mean_that_should_be_zero_is_said_to_be_zero():
    """Catches "should be -1.8e-17": the rounding errors of the reference are not what a learner should look at."""
    result = verdict(norm_axes, lambda x, kind, num_groups: x + 1, 0)
    assert "the mean of x_hat (by example, by channel or group; 0 where they share it)[0, " in result.message
    assert "] should be 0, got " in result.message


def test_rounding_is_shown_as_zero_at_any_scale():
    """Catches "should be 6.1e-16", and a rounding to some number of decimals, which depends on the scale."""

    def shifted(dy, x, gamma, num_groups, eps):
        dx, dgamma, dbeta = gradients(dy, x, gamma, num_groups, eps)
        return dx + 0.1 * abs(dx).max(), dgamma, dbeta

    for scale in (1e-9, 1.0, 1e9):
        inputs = []
        for probe in group_norm_backward.make_probes(np.random.default_rng(0)):
            inputs.append(replace(probe, arguments={**probe.arguments, "dy": scale * probe.arguments["dy"]}))
        message = group_norm_backward.verdict(shifted, inputs).message
        assert "the mean of dx (by example and group)[" in message
        assert "] should be 0, got " in message


def test_a_branch_without_a_result_is_named_by_its_call():
    """Catches "your function returned None", where it returns a result for three kinds of four."""

    def nothing_for_groups(x, kind, num_groups):
        return None if kind == "group" else norm_axes.solution_function(x, kind, num_groups)

    message = verdict(norm_axes, nothing_for_groups, 0).message
    assert "returned None" in message
    assert "The call was with x (5, 6, 7, 4), kind 'group', num_groups 2.\nIt did run on: batch, images; " in message
    assert "The call was with" not in verdict(norm_axes, lambda x, kind, num_groups: None, 0).message


def test_a_right_formula_that_loses_its_digits_far_from_zero_is_told_so():
    def one_pass(x, kind, num_groups):
        x = x.astype(np.float32)
        if kind == "group":
            return np.concatenate([one_pass(part, "layer", 1) for part in np.split(x, num_groups, 1)], axis=1)
        axes = axes_of(kind, x.ndim)
        mean, square = x.mean(axes, keepdims=True), (x * x).mean(axes, keepdims=True)
        return (x - mean) / np.sqrt(abs(square - mean * mean) + np.float32(1e-5))

    for seed in SEEDS:
        result = verdict(norm_axes, one_pass, seed)
        assert result.outcome == "failed"
        assert "All other probes agree" in result.message
        assert "Subtract the mean before you square" in result.message
