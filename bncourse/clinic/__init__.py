"""The failure clinic: broken training runs to diagnose from their curves and to mend.

>>> from bncourse.clinic import dead_pixel
>>> dead_pixel.show()         # doctest: +SKIP
>>> dead_pixel.check(train)   # doctest: +SKIP

Every file in ``cases/`` is one case and is importable from here by its name, which is that of the patient and not that
of the fault. A check trains with your function on fresh splits of the digits and examines what it hands over.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from bncourse.clinic.ranks import SyncBatchNorm, run_ranks
from bncourse.clinic.task import mlp

if TYPE_CHECKING:
    from bncourse.clinic.case import Case

__all__ = ["PATIENTS", "SyncBatchNorm", "list_cases", "mlp", "run_ranks"]

PATIENTS = (
    "folder_by_folder",
    "ported_network",
    "dead_pixel",
    "moving_average",
    "half_the_memory",
    "borrowed_backbone",
    "two_scanners",
    "same_digit",
    "loss_spikes",
    "small_memory",
    "counter_runs_ahead",
    "split_archive",
    "stops_at_the_epoch",
)
"""Their names, in the order of the chapter."""


def __getattr__(name: str) -> Case:
    if name not in PATIENTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from bncourse.clinic.case import Case

    case = import_module(f"{__name__}.cases.{name}").CASE
    assert isinstance(case, Case)
    globals()[name] = case
    return case


def __dir__() -> list[str]:
    return sorted({*globals(), *PATIENTS})


def list_cases() -> list[Case]:
    """All cases, in the order of the chapter.

    Examples
    --------
    >>> from bncourse.clinic import list_cases
    >>> list_cases()[0].id
    'folder_by_folder'
    """
    return [globals().get(name) or __getattr__(name) for name in PATIENTS]
