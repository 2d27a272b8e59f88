"""What the settings of experiments have in common: the two arms, seeds for tuning and for comparing, and grids."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

ARMS = {"none": False, "batch_norm": True}
"""Whether the hidden layers of each arm have batch norm."""


class Seeded(Protocol):
    """Settings with seeds to tune on, and others to compare on."""

    @property
    def tuning_seeds(self) -> Sequence[int]: ...
    @property
    def test_seeds(self) -> Sequence[int]: ...


SettingsType = TypeVar("SettingsType", bound="DataclassInstance")


def check_seeds(settings: Seeded) -> None:
    """Raise a ValueError if a seed is both tuned and compared on."""
    if set(settings.tuning_seeds) & set(settings.test_seeds):
        raise ValueError("expected tuning_seeds and test_seeds to have none in common")


def check_rising(settings: object, *names: str, least: int = 1) -> None:
    """Raise a ValueError if one of these grids does not rise, or has fewer than so many values."""
    for name in names:
        values = getattr(settings, name)
        if len(values) < least or list(values) != sorted(set(values)):
            raise ValueError(f"expected at least {least} {name} in rising order, got {values}")


def with_seeds(settings: SettingsType, count: int, **changes: Any) -> SettingsType:
    """The same settings with another number of test seeds, from the first of them on; and with other changes."""
    first = vars(settings)["test_seeds"][0]
    return replace(settings, test_seeds=tuple(range(first, first + count)), **changes)
