"""The interactive figures compute what the package computes; their own tests run under Node.js."""

import itertools
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import playwright
import pytest

from bncourse.kernels.floor import (
    DESIGNS,
    DEVICES,
    OPERATIONS,
    bound,
    bytes_per_channel,
    bytes_per_value,
    flops_per_value,
    intensity,
    least_bytes,
    passes,
)
from bncourse.reference import batch_norm, batch_norm_backward
from tests.book.chapters import ROOT
from tests.browser.conftest import unavailable

sys.path.insert(0, str(ROOT / "book" / "_ext"))

from floor_tables import tables

TESTS = ROOT / "tests" / "figures"


@pytest.fixture(scope="module")
def node() -> str:
    """The Node.js that Playwright brings with it, or the machine's own."""
    name = "node.exe" if sys.platform == "win32" else "node"
    for program in (Path(playwright.__file__).parent / "driver" / name, shutil.which("node")):
        if program and Path(program).exists():
            result = subprocess.run([program, "--version"], capture_output=True, check=False)
            if result.returncode == 0:
                return str(program)
    unavailable("no Node.js runs, neither Playwright's nor another")


def test_the_figures_own_tests_pass(node: str) -> None:
    files = sorted(TESTS.glob("*.test.mjs"))
    assert len(files) >= 3
    # A terminal's colours, or a runner's own reporter, would change what is printed.
    variables = {name: value for name, value in os.environ.items() if name not in ("NODE_OPTIONS", "FORCE_COLOR")}
    command = [node, "--test", "--test-reporter=tap", *map(str, files)]
    result = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=variables, check=False)
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]
    assert "# fail 0" in result.stdout
    assert "# pass 0" not in result.stdout


def test_the_figures_agree_with_the_package(node: str) -> None:
    """The transform and the backward pass, on batches of all sizes, far from zero, with eps that matters and not."""
    rng = np.random.default_rng(0)
    cases = []
    for m in (2, 3, 6, 16, 255):
        for eps in (1e-7, 1e-5, 0.3):
            centre, spread = rng.normal(0, 20), rng.uniform(0.5, 3)
            gamma, beta = rng.normal(size=2)
            x, dy = rng.normal(centre, spread, m), rng.normal(1, 2, m)
            cases.append({"x": x.tolist(), "dy": dy.tolist(), "gamma": gamma, "beta": beta, "eps": eps})
    result = subprocess.run(
        [node, str(TESTS / "compute.mjs")], input=json.dumps(cases), capture_output=True, text=True, check=True
    )
    for case, ours in zip(cases, json.loads(result.stdout), strict=True):
        x, dy = (np.array(case[name])[:, None] for name in ("x", "dy"))
        y, cache = batch_norm(x, np.array([case["gamma"]]), np.array([case["beta"]]), case["eps"])
        dx, dgamma, dbeta = batch_norm_backward(dy, cache)
        expected = {"y": y, "x_hat": cache.x_hat, "inv_std": cache.inv_std, "dx": dx, "dgamma": dgamma, "dbeta": dbeta}
        assert ours.keys() == expected.keys()
        for name, value in expected.items():
            # All are of size one to a hundred, or sums that cancel from that size: twelve digits are what is left.
            np.testing.assert_allclose(np.ravel(ours[name]), value.ravel(), rtol=1e-12, atol=1e-12, err_msg=name)


def test_the_roofline_predicts_what_the_package_does(node: str) -> None:
    """Every kernel on every device, from the tables that the book is built with."""
    shapes: list[tuple[int, ...]] = [(256, 64, 56, 56), (64, 8192), (3, 5, 7, 11), (1, 1)]
    cases = list(itertools.product(DEVICES, OPERATIONS, DESIGNS, ("bfloat16", "float16", "float32"), shapes))
    names = ("device", "operation", "design", "dtype", "shape")
    chosen = [dict(zip(names, case, strict=True), launchTime=4) for case in cases]
    result = subprocess.run(
        [node, str(TESTS / "compute_floor.mjs")],
        input=json.dumps({"tables": tables(), "cases": chosen}),
        capture_output=True,
        text=True,
        check=True,
    )
    for (device, operation, design, dtype, shape), found in zip(cases, json.loads(result.stdout), strict=True):
        rates = DEVICES[device]
        flops = flops_per_value(operation) * math.prod(shape)
        assert found["bytes"] == least_bytes(operation, shape, dtype, design)
        assert found["bytesPerValue"] == bytes_per_value(operation, dtype, design)
        assert found["bytesPerChannel"] == bytes_per_channel(operation)
        assert found["flops"] == flops
        assert found["times"] == pytest.approx(
            {
                "memory": bound(operation, shape, rates.bandwidth, dtype, design),
                "arithmetic": 1e6 * flops / rates.flops,
                "launches": 4 * len(passes(operation, design)),
            }
        )
        assert found["time"] == max(found["times"].values()) == found["times"][found["limit"]]
        assert found["ridge"] == pytest.approx(rates.flops / rates.bandwidth)
        if shape == shapes[0]:  # with so many values the channels' own bytes vanish
            assert found["intensity"] == pytest.approx(intensity(operation, dtype, design), rel=1e-3)


def test_every_figure_of_the_book_has_a_module_and_every_module_of_a_figure_a_place() -> None:
    """Catches a figure that no chapter shows any more."""
    modules = {
        path.stem
        for path in (ROOT / "book" / "_static" / "figures").glob("*.mjs")
        if "export function build()" in path.read_text(encoding="utf-8")
    }
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "book").glob("[0-9]*/*.ipynb")]
    placed = {name for name in modules if any(f"{{interactive}} {name}\\n" in source for source in sources)}
    assert placed == modules != set()
