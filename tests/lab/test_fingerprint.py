"""A key changes with everything that a result depends on, and with nothing else."""

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bncourse.experiments import convergence
from bncourse.experiments.convergence import measure
from bncourse.lab import fingerprint
from bncourse.lab.fingerprint import code_hash, run_key

pytestmark = pytest.mark.slow

SOURCE = {
    "__init__.py": '"""A package."""\n',
    "main.py": (
        '"""An experiment."""\n\nfrom typing import Any\n\nfrom . import near\n\n\n'
        'def run(settings: Any) -> Any:\n    """Run."""\n    from {name}.inner import far\n\n'
        "    return near.factor * far.offset\n"
    ),
    "near.py": "factor = 2\n",
    "inner/__init__.py": "",
    "inner/far.py": "import numpy\nimport {name}.inner.farther as farther\n\noffset = farther.offset\n",
    "inner/farther.py": "offset = 1\n",
    "unrelated.py": "value = 1\n",
}


@dataclass(frozen=True)
class Settings:
    rates: tuple[float, ...] = (0.1, 0.2)
    seeds: tuple[int, ...] = (1, 2)
    label: str = "a"
    extra: Any = None


@pytest.fixture
def package(tmp_path, monkeypatch, request):
    """A package of its own name, importable; code_hash forgets what it knew."""
    name = f"planted_{abs(hash(request.node.name))}"
    for path, text in SOURCE.items():
        file = tmp_path / name / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("{name}", name))
    monkeypatch.syspath_prepend(str(tmp_path))
    code_hash.cache_clear()
    yield tmp_path / name
    code_hash.cache_clear()
    for module in [module for module in sys.modules if module.startswith(name)]:
        del sys.modules[module]


def fresh_hash(package: Path) -> str:
    code_hash.cache_clear()
    return code_hash(f"{package.name}.main")


@pytest.mark.parametrize("file", ["main.py", "near.py", "inner/far.py", "inner/farther.py", "__init__.py"])
def test_a_change_in_what_is_imported_directly_or_not_changes_the_hash(package, file):
    """Relative imports, imports in functions, and imports of imports count."""
    before = fresh_hash(package)
    path = package / file
    path.write_text(path.read_text() + "\nfactor = 3\n")
    assert fresh_hash(package) != before


def test_comments_docstrings_layout_and_unrelated_files_do_not_count(package):
    before = fresh_hash(package)
    main = package / "main.py"
    main.write_text(
        main.read_text().replace('"""Run."""', '"""Other words."""\n\n    # why').replace("Any\n\nfrom", "Any\nfrom")
    )
    (package / "unrelated.py").write_text("value = 2\n")
    assert fresh_hash(package) == before


def test_a_string_that_is_no_docstring_counts(package):
    before = fresh_hash(package)
    main = package / "main.py"
    main.write_text(main.read_text().replace("    from", "    name = 'x'\n    from"))
    named = fresh_hash(package)
    main.write_text(main.read_text().replace("'x'", "'y'"))
    assert len({before, named, fresh_hash(package)}) == 3


@pytest.mark.parametrize("module", [measure.__name__, "tests.lab.runnable", "colorsys"])
def test_an_experiment_depends_on_the_laboratory_inside_the_package_and_outside(monkeypatch, module):
    """Catches a hash of the experiment's own file, or of its own package, alone."""
    read = []
    file_of = fingerprint._file

    def recording(name: str) -> Path | None:
        read.append((name, file_of(name)))
        return file_of(name)

    monkeypatch.setattr(fingerprint, "_file", recording)
    code_hash.__wrapped__(module)
    found = {name for name, file in read if file is not None}
    lab = Path(fingerprint.__file__).parent
    assert found >= {f"bncourse.lab.{path.stem}" for path in lab.glob("*.py") if path.stem != "__init__"}
    assert module in found
    assert not any(name.startswith(("bncourse.kernels", "bncourse.reference", "numpy")) for name in found)


def test_the_key_is_the_same_in_equal_circumstances():
    assert run_key(measure.run, Settings()) == run_key(measure.run, Settings(rates=(0.1, 0.2)))
    assert len(run_key(measure.run, Settings())) == 64


@pytest.mark.parametrize(
    "change",
    [
        {"rates": (0.1, 0.2 + 1e-16)},
        {"rates": (0.1,)},
        {"seeds": (2, 1)},
        {"label": "b"},
        {"extra": {"eps": 1e-5}},
        {"extra": 0},
    ],
)
def test_every_setting_counts(change):
    changed = dataclasses.replace(Settings(), **change)
    expected = changed != Settings()
    assert (run_key(measure.run, changed) != run_key(measure.run, Settings())) == expected


def test_the_function_and_the_versions_count(monkeypatch):
    before = run_key(measure.run, Settings())
    assert run_key(convergence.recorded, Settings()) != before
    for package in ("torch", "numpy"):
        with monkeypatch.context() as patch:
            patch.setattr(fingerprint, "version", lambda name, other=package: "0" if name == other else _version(name))
            assert run_key(measure.run, Settings()) != before
    monkeypatch.setattr(fingerprint.platform, "python_version", lambda: "3.99")
    assert run_key(measure.run, Settings()) != before


def _version(name: str, real=fingerprint.version) -> str:
    return real(name)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (np.float32(1), "not JSON serializable"),
        (float("nan"), "not JSON compliant"),
        (float("inf"), "not JSON compliant"),
        ({1, 2}, "not JSON serializable"),
    ],
)
def test_settings_that_json_cannot_hold_are_refused(extra, message):
    with pytest.raises(TypeError, match=f"expected settings to hold what JSON can hold.*{message}"):
        run_key(measure.run, Settings(extra=extra))


@pytest.mark.parametrize("settings", [{"rate": 0.1}, Settings, None])
def test_settings_that_are_no_dataclass_are_refused(settings):
    with pytest.raises(TypeError, match="expected settings to be an instance of a dataclass"):
        run_key(measure.run, settings)


def test_a_function_that_other_processes_cannot_import_is_refused():
    def inner(settings: Settings) -> None: ...

    for function in (inner, lambda settings: None, Settings().__repr__):
        with pytest.raises(ValueError, match="at the top of a module that other processes can import"):
            run_key(function, Settings())
    in_a_notebook = type(inner)(inner.__code__, {}, "run")
    in_a_notebook.__module__ = "__main__"
    with pytest.raises(ValueError, match=r"got .*__main__"):
        run_key(in_a_notebook, Settings())
