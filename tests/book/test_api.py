"""The pages about the package show every name that readers meet, with its parameters."""

import ast
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from sphinx.util.inventory import InventoryFile

from bncourse import experiments, results
from tests.book.chapters import ROOT, notebooks, read

PAGES = ROOT / "book" / "appendix" / "api"
PUBLIC = ("clinic", "exercises", "kernels", "lab", "layers", "ledger", "reference")
ENTRY = re.compile(r"^(?P<names>\*{0,2}\w+(?:, \*{0,2}\w+)*) :", re.MULTILINE)
ELSEWHERE = re.compile(r"\bparameters\b[^.]*\b(?:those of|as in)\b", re.IGNORECASE)

# Whose docstrings name no parameters, and why.
WITHOUT_PARAMETERS = {
    "bncourse.experiments": "the parts of every experiment are the same, and a table on their page says what they take",
    "bncourse.kernels.forward": "the kernels' sources identify measured ones: a docstring would make records stale",
    "bncourse.kernels.backward": "as above",
    "bncourse.kernels.tiles": "as above",
    "bncourse.kernels.view": "as above",
    "bncourse.results.verdicts.Bounds": "a protocol, which nobody makes",
}


def imported(code: str) -> Iterator[str]:
    """Names that a piece of code imports from the package."""
    try:
        tree = ast.parse(code)
    except SyntaxError:  # a cell with a line of IPython's
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "bncourse":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def met_by_readers() -> set[str]:
    cells = [cell.source for path in notebooks() for cell in read(path).cells if cell.cell_type == "code"]
    readme = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    return {name for code in (*cells, *readme) for name in imported(code)}


def experiment_modules() -> list[str]:
    folder = Path(experiments.__path__[0])
    names = {path.stem for path in folder.iterdir()} & {path.stem for path in results.FOLDER.glob("*.json")}
    return sorted(f"bncourse.experiments.{name}" for name in names)


def exported() -> set[str]:
    modules = [import_module(name) for name in (*(f"bncourse.{name}" for name in PUBLIC), *experiment_modules())]
    return {f"{module.__name__}.{name}" for module in modules for name in getattr(module, "__all__", ())}


@pytest.fixture(scope="module")
def described(built_book: Path) -> set[str]:
    """What the site's index knows: modules and objects by their full names."""
    with (built_book / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, "", lambda base, place: place)
    return {name for kind, entries in inventory.items() if kind.startswith("py:") for name in entries}


def test_every_name_that_a_chapter_or_the_readme_imports_is_described(described: set[str]) -> None:
    names = met_by_readers()
    assert {"bncourse.reference.batch_norm", "bncourse.exercises.bn_forward", "bncourse.kernels.floor"} <= names
    # What a package exports may be imported from the module below it, too.
    assert sorted(name for name in names - described if exported_by_package(name) not in described) == []


def exported_by_package(name: str) -> str:
    *package, _, own = name.split(".")
    return ".".join((*package, own))


def test_every_name_that_a_module_exports_is_described(described: set[str]) -> None:
    assert sorted(exported() - described - {"bncourse.clinic.PATIENTS"}) == []


def test_signatures_name_shapes_and_types_and_no_stand_in(built_book: Path) -> None:
    """Catches the stand-in for torch showing through, and an annotation that was printed as an object."""
    pages = {
        path.stem: path.read_text(encoding="utf-8") for path in (built_book / PAGES.relative_to(ROOT)).glob("*.html")
    }
    signatures = {
        name: " ".join(
            re.sub(r"<[^>]+>", "", found) for found in re.findall(r"<dt class=\"sig.*?</dt>", page, re.DOTALL)
        )
        for name, page in pages.items()
    }
    assert "Float[ndarray, 'N C *spatial']" in signatures["reference"]
    assert "Float[Tensor, '" in signatures["laboratory"]
    for name, text in signatures.items():
        for wrong in ("_MockObject", "mock", "object at 0x", "&lt;function", "ForwardRef", "*args: Any, **kwargs: Any"):
            assert wrong not in text, (name, wrong)


@pytest.mark.parametrize("name", ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d"])
def test_the_signature_that_is_inherited_from_torch_is_torchs(name: str) -> None:
    """It is written on the page, where torch is not at hand: every parameter there has torch's name and default."""
    page = (PAGES / "layers.md").read_text(encoding="utf-8")
    (parameters,) = re.findall(rf"layers\.{name}\((.*)\)", page)
    function = eval(f"lambda {parameters}: 0")
    there = inspect.signature(getattr(import_module("bncourse.layers"), name)).parameters
    here = inspect.signature(function).parameters
    # Releases of torch before 2.13 have no bias.
    assert {key: value.default for key, value in here.items() if key in there or key != "bias"} == {
        key: value.default for key, value in there.items()
    }


# Parameters ---------------------------------------------------------------------------------------------------------


def shown() -> Iterator[tuple[str, object]]:
    """Functions and classes that the pages describe, each under the module in which it is defined."""
    modules = [f"bncourse.{name}" for name in PUBLIC]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(PAGES.glob("*.md")))
    for name in modules:
        yield from members(import_module(name), import_module(name).__all__)
    for name, chosen in re.findall(r"automodule:: (\S+)\n +:members:(.*)", text):
        module = import_module(name)
        own = [each for each, value in vars(module).items() if getattr(value, "__module__", "") == name]
        names = chosen.strip().split(", ") if chosen.strip() else [each for each in own if not each.startswith("_")]
        yield from members(module, names)


def members(module: ModuleType, names: list[str]) -> Iterator[tuple[str, object]]:
    for name in names:
        value = getattr(module, name)
        if inspect.isfunction(value) or (inspect.isclass(value) and not issubclass(value, Exception)):
            yield f"{value.__module__}.{name}", value


def undocumented(value: object) -> set[str]:
    """Parameters of a signature that the docstring does not name."""
    text = inspect.getdoc(value) or ""
    named = {name.strip("* ") for found in ENTRY.finditer(text) for name in found["names"].split(",")}
    if ELSEWHERE.search(text):
        return set()
    signature = inspect.signature(value)  # type: ignore[arg-type]
    return {name for name in signature.parameters if name != "self" and not name.startswith("_")} - named


def test_every_parameter_is_explained() -> None:
    lacking = {
        name: sorted(undocumented(value))
        for name, value in shown()
        if undocumented(value) and not name.startswith(tuple(WITHOUT_PARAMETERS))
    }
    assert lacking == {}


def test_the_table_of_parts_names_what_every_experiment_takes() -> None:
    """The reason why the experiments' own docstrings do not."""
    page = (PAGES / "experiments.md").read_text(encoding="utf-8")
    told = {
        name: set(parameters.split(", "))
        for name, parameters in re.findall(r"^\| `(\w+)\((.+?)\)`", page, re.MULTILINE)
    }
    assert set(told) == {"run", "verdicts", "with_seeds"}
    for module in map(import_module, experiment_modules()):
        for part in set(told) & set(vars(module)):
            taken = set(inspect.signature(getattr(module, part)).parameters) - {"changes"}
            assert taken <= told[part], (module.__name__, part)


def test_a_parameter_that_is_not_explained_is_found() -> None:
    def function(x: float, momentum: float, eps: float) -> None:
        """Do something.

        Parameters
        ----------
        x, eps : numbers; a sentence that mentions momentum : not at a line's beginning.
        """

    assert undocumented(function) == {"momentum"}
