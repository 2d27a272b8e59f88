"""The examples in the package's docstrings do what they say, and what people call has one."""

import doctest
import inspect
from importlib import import_module
from pathlib import Path

import pytest

import bncourse

PACKAGE = Path(bncourse.__file__).parent
MODULES = sorted(
    ".".join((bncourse.__name__, *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)
# What has no example, and why.
WITHOUT = {
    "bncourse.kernels.batch_norm": "its module is part of the kernels' fingerprint; the example is the package's",
}


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_print_what_they_say(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BNCOURSE_DATA", str(tmp_path))
    monkeypatch.setenv("MPLBACKEND", "agg")
    run = doctest.testmod(import_module(name))
    assert run.attempted
    assert not run.failed


@pytest.mark.parametrize("name", ["bncourse.reference", "bncourse.layers", "bncourse.kernels"])
def test_every_public_name_of_the_mathematics_and_of_the_layers_has_an_example(name: str) -> None:
    module = import_module(name)
    lacking = {
        f"{name}.{each}" for each in module.__all__ if ">>> " not in (inspect.getdoc(getattr(module, each)) or "")
    }
    assert lacking - set(WITHOUT) == set()
    for each in WITHOUT:  # its reason stands
        assert ">>> " in (import_module(each.rpartition(".")[0]).__doc__ or "")


def test_a_wrong_answer_is_seen() -> None:
    """Catches a runner that finds no examples, or believes any output."""
    wrong = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    assert doctest.DocTestRunner(verbose=False).run(wrong, out=lambda text: None).failed == 1
