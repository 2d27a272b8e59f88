"""SyncBatchNorm with one, two and four ranks, with ranks that fail, and without ranks."""

import copy
import doctest
import json
import os
import pickle
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bncourse import layers
from bncourse.layers import SyncBatchNorm, convert
from bncourse.layers.sync_transform import merge, moments
from bncourse.reference import statistics
from tests.conftest import ROOT
from tests.layers import sync_failures, sync_ranks

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (torch.distributed.is_available() and torch.distributed.is_gloo_available()),
        reason="this build of torch has no torch.distributed with Gloo",
    ),
]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What each rank reports, for a program and a number of ranks. All checks of a program share one start."""

    @cache
    def launch(program: str, ranks: int, reports: int) -> list[dict[str, Any]]:
        folder = tmp_path_factory.mktemp("ranks")
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr=localhost"]
        result = subprocess.run(
            [*torchrun, f"--nproc-per-node={ranks}", str(Path(__file__).with_name(program)), str(folder)],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TRITON_INTERPRET": "0", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        files = sorted(folder.iterdir())
        assert len(files) == reports, result.stderr[-4000:]
        return [json.loads(file.read_text()) for file in files]

    return launch


@pytest.mark.parametrize(
    ("ranks", "check"),
    [(ranks, check) for ranks in (1, 2, 4) for check, (_, some) in sync_ranks.CHECKS.items() if ranks in some],
)
def test_ranks(ranks: int, check: str, outcomes: Any) -> None:
    reports = [report.get(check, "not reached") for report in outcomes("sync_ranks.py", ranks, ranks)]
    failures = [f"rank {rank}: {report}" for rank, report in enumerate(reports) if report != "passed"]
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("failure", ["stays away", "has no backward pass", "dies"])
def test_the_other_ranks_fail_too(failure: str, outcomes: Any) -> None:
    """Catches ranks that hang, and errors that do not say which layer of the model and where to look."""
    for rank, report in enumerate(outcomes("sync_failures.py", 3, 2)):
        error, message, seconds = report[failure]
        direction = "backward" if "backward" in failure else "forward"
        assert error == "RuntimeError", message
        assert f"SyncBatchNorm 'norm': rank {rank} of 3 waited in vain for the others in the {direction}" in message
        assert "look for the first error of all ranks" in message
        assert seconds < sync_failures.TIMEOUT + 5


def parts(sizes: tuple[int, ...], channels: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return [
        torch.randn((size, channels, 3), generator=generator) * (place + 1) + 100 * place
        for place, size in enumerate(sizes)
    ]


def test_merge_is_the_references() -> None:
    given = parts((4, 0, 1, 7), 5)
    found = [moments(x) if len(x) else torch.zeros(2, 5).double().unbind() for x in given]
    counts = torch.tensor([[float(3 * len(x))] for x in given], dtype=torch.float64)
    mean, m2 = merge(counts, *(torch.stack(column) for column in zip(*found, strict=True)))
    expected = statistics.Moments(0, np.zeros(5), np.zeros(5))
    for x in given:
        if len(x):
            expected = statistics.merge(expected, statistics.moments(x.double().numpy(), (0, 2)))
    np.testing.assert_allclose(mean, expected.mean, rtol=1e-12)
    np.testing.assert_allclose(m2, expected.m2, rtol=1e-12)


def test_moments_where_there_is_no_cpu_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU PyTorch computes them. It would round those of half precision before anybody can merge them."""

    class Device:
        type = "cuda"

    for dtype in (torch.bfloat16, torch.float64):
        x = (torch.randn(6, 3, 5) + 100).to(dtype)
        expected = moments(x)
        with monkeypatch.context() as patch:
            patch.setattr(torch.Tensor, "device", Device())
            found = moments(x)
        torch.testing.assert_close(found, expected, rtol=1e-5 if dtype == torch.bfloat16 else 1e-12, atol=0)


def pair(name: str, **options: Any) -> tuple[Any, SyncBatchNorm]:
    plain = getattr(layers, name)(4, **options)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for value in [*plain.parameters(), *plain.buffers()]:
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    sync = SyncBatchNorm(4, **options)
    sync.load_state_dict(plain.state_dict(), strict=True)
    return plain, sync


SHAPES = [("BatchNorm1d", (6, 4)), ("BatchNorm1d", (5, 4, 3)), ("BatchNorm2d", (3, 4, 5, 2))]


@pytest.mark.parametrize(("name", "shape"), [*SHAPES, ("BatchNorm3d", (2, 4, 3, 2, 5))])
@pytest.mark.parametrize(
    "options", [{}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}], ids=str
)
def test_without_a_process_group_it_is_the_plain_layer(
    name: str, shape: tuple[int, ...], options: dict[str, Any]
) -> None:
    plain, sync = pair(name, **options)
    for training in (True, True, False):
        x = torch.randn(shape) * 3 + 7
        assert torch.equal(sync.train(training)(x), plain.train(training)(x))
    assert all(torch.equal(value, plain.state_dict()[key]) for key, value in sync.state_dict().items())


def test_state_and_attributes_are_torchs() -> None:
    for options in ({}, {"affine": False}, {"track_running_stats": False}, {"bias": False}, {"dtype": torch.float64}):
        ours, theirs = SyncBatchNorm(4, 0.1, 0.2, **options), nn.SyncBatchNorm(4, 0.1, 0.2, **options)
        assert repr(ours) == repr(theirs)
        assert {key: value.dtype for key, value in ours.state_dict().items()} == {
            key: value.dtype for key, value in theirs.state_dict().items()
        }
        public = {key: value for key, value in vars(theirs).items() if not key.startswith("_")}
        assert {key: vars(ours)[key] for key in public} == public
    with pytest.raises(TypeError, match="colour"):
        SyncBatchNorm(4, colour=True)


def test_the_order_of_arguments_is_torchs() -> None:
    group = object()
    layer = SyncBatchNorm(4, 0.1, None, False, False, group, "meta", torch.float64)  # type: ignore[arg-type]
    assert (layer.eps, layer.momentum, layer.affine, layer.track_running_stats) == (0.1, None, False, False)
    assert layer.process_group is group
    assert SyncBatchNorm(4, device="meta").weight.is_meta


def test_ddp_takes_it_on_a_cpu_because_it_is_not_torchs() -> None:
    assert not isinstance(SyncBatchNorm(4), nn.SyncBatchNorm)
    assert isinstance(SyncBatchNorm(4), nn.modules.batchnorm._BatchNorm)


def test_copies() -> None:
    """A process group is shared by copies: it stands for other processes, and cannot be copied or pickled."""
    sync = pair("BatchNorm1d")[1]
    x = torch.randn(6, 4)
    for other in (copy.deepcopy(sync), pickle.loads(pickle.dumps(sync))):
        assert type(other) is SyncBatchNorm
        assert torch.equal(other(x), copy.deepcopy(sync)(x))
        assert other.num_batches_tracked == 1
        assert sync.num_batches_tracked == 0

    class Group:
        def __reduce__(self) -> Any:
            raise TypeError("cannot pickle")

    sync.process_group = Group()  # type: ignore[assignment]
    sync.register_forward_hook(lambda *_: None)
    model = nn.ModuleList([sync, sync])
    sync.myself = [sync]
    copied = copy.deepcopy(model)
    assert copied[0] is copied[1] is copied[0].myself[0]
    assert copied[0] is not sync
    assert copied[0].weight is not sync.weight
    assert copied[0].process_group is sync.process_group


@pytest.mark.parametrize("shape", [(4,), (3, 5), (3, 5, 2)])
@pytest.mark.parametrize("training", [True, False])
def test_a_wrong_shape_is_refused_without_ranks_too(shape: tuple[int, ...], training: bool) -> None:
    with pytest.raises((ValueError, RuntimeError), match="SyncBatchNorm: expected input"):
        convert(nn.BatchNorm1d(4), to=SyncBatchNorm).train(training)(torch.ones(shape))


@pytest.mark.parametrize("module", ["convert", "sync"])
def test_examples(module: str) -> None:
    found = doctest.testmod(sys.modules[f"bncourse.layers.{module}"])
    assert found.attempted
    assert not found.failed
