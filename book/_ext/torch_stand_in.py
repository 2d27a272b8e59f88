"""Sphinx extension: the API page is made without torch, and its signatures still say ``Float[Tensor, "N C"]``.

autodoc's own mock (``autodoc_mock_imports``) gives an object for every name, and jaxtyping wants a class for the
type of an array. So the mock of torch is made here beforehand, with a class for ``Tensor``.
"""

import sys
from typing import Any

from sphinx.application import Sphinx
from sphinx.ext import autodoc
from sphinx.ext.autodoc.mock import _MockModule


class Tensor:
    """The name of torch's class, and nothing else of it."""


def setup(app: Sphinx) -> dict[str, Any]:
    torch: Any = _MockModule("torch")
    torch.Tensor = Tensor
    sys.modules["torch"] = torch
    # A class whose base is a stand-in has its own arguments, and not the stand-in's.
    autodoc._CLASS_NEW_BLACKLIST.append("sphinx.ext.autodoc.mock._MockObject.__new__")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
