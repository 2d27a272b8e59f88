"""The key of a result: a hash of everything that it depends on."""

import ast
import hashlib
import importlib
import json
import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict, is_dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def run_key(function: Callable[..., Any], settings: Any) -> str:
    """Hash of a function's name, its settings, its code, and the versions of Python, NumPy and torch.

    The code is the laboratory's, the function's module, and whatever these import, directly or not, from the module's
    own top-level package and from ``bncourse``. Comments and docstrings do not count.

    Parameters
    ----------
    function : defined at the top of a module that can be imported.
    settings : a dataclass whose values JSON can hold.

    Returns
    -------
    64 hexadecimal digits.

    Raises
    ------
    ValueError : if the function cannot be found under its own name.
    TypeError : if ``settings`` is not a dataclass, or holds what JSON cannot, NaN and infinity included.
    """
    content = {
        "function": importable_name(function),
        "settings": canonical_settings(settings),
        "code": code_hash(function.__module__),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in ("numpy", "torch")}},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def importable_name(function: Callable[..., Any]) -> str:
    """The dotted name under which another process finds this very function.

    Raises
    ------
    ValueError : if there is none, as for a lambda, an inner function, or anything defined in a notebook.
    """
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", repr(function))
    if module in (None, "__main__") or getattr(importlib.import_module(str(module)), name, None) is not function:
        raise ValueError(
            f"expected function to be defined at the top of a module that other processes can import, "
            f"got {name} of {module}"
        )
    return f"{module}.{name}"


def canonical_settings(settings: Any) -> str:
    """Settings as JSON text, the same for equal settings.

    Raises
    ------
    TypeError : if ``settings`` is not a dataclass, or holds what JSON cannot.
    """
    if not is_dataclass(settings) or isinstance(settings, type):
        raise TypeError(f"expected settings to be an instance of a dataclass, got {settings!r}")
    try:
        return json.dumps(asdict(settings), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(f"expected settings to hold what JSON can hold, got {settings!r}: {error}") from error


@cache
def code_hash(module: str) -> str:
    """Hash of the code of a module and of the laboratory, and of what they import as :func:`run_key` says.

    It is taken once in a process: a file that changes afterwards is not the code that this process runs.
    """
    packages = (module.partition(".")[0], "bncourse")
    trees: dict[str, ast.Module] = {}
    waiting = [module, "bncourse.lab"]
    while waiting:
        name = waiting.pop()
        file = _file(name)
        if name in trees or file is None:
            continue
        trees[name] = ast.parse(file.read_bytes())
        imported = _imports(trees[name], name, is_package=file.name == "__init__.py")
        waiting += [other for other in (_parent(name), *imported) if other.partition(".")[0] in packages]
    code = [(name, ast.dump(_without_docstrings(tree))) for name, tree in sorted(trees.items())]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()


def _imports(tree: ast.Module, module: str, is_package: bool) -> Iterator[str]:
    """Names of modules that a module may import, wherever in it the import stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".") if is_package else module.split(".")[:-1]
            above = base[: len(base) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            yield source
            yield from (f"{source}.{alias.name}" for alias in node.names)


def _parent(module: str) -> str:
    return module.rpartition(".")[0]


def _file(module: str) -> Path | None:
    """Where a module's source lies; None if there is no module of that name in Python."""
    if not module:
        return None
    package, _, rest = module.partition(".")
    spec = find_spec(package)
    if spec is None:
        return None
    if not spec.submodule_search_locations:
        return Path(spec.origin) if spec.origin and not rest else None
    path = (
        Path(spec.submodule_search_locations[0], *rest.split(".")) if rest else Path(spec.submodule_search_locations[0])
    )
    candidates = (path / "__init__.py", path.with_name(f"{path.name}.py"))
    return next((file for file in candidates if file.is_file()), None)


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and (
            ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:]
    return tree
