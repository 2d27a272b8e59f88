"""What a probe is, and how training asks it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bncourse.lab.ensemble import Ensemble
from bncourse.lab.history import Trace
from bncourse.lab.objective import Batch, Step, losses


class Probe(ABC):
    """Something to measure while an ensemble trains.

    Whatever a probe does to the network while it measures is undone: parameters, running statistics, random states and
    the mode are put back.

    Attributes
    ----------
    name : of the probe, for error messages.
    axis : what the second axis of its readings runs over, or None if they have but one.
    every : it is asked at step 1 and every so many steps.
    """

    name: ClassVar[str]
    axis: ClassVar[str | None] = "layer"
    every: int

    @abstractmethod
    def measure(self, step: Step) -> dict[str, Float[Tensor, "S *A"]]:
        """Readings by the name of the quantity: one row for each member of the step's network.

        Parameters
        ----------
        step : of the training, as it is before the update.
        """

    def labels(self, size: int) -> Sequence[float]:
        """The values of the second axis, of this size; 1, 2, … if the probe knows nothing better."""
        return range(1, size + 1)


def measure(
    probe: Probe, network: Ensemble, x: Float[Tensor, "S B F"], y: Int[Tensor, "S B"], rate: float = 0.0
) -> dict[str, Float[np.ndarray, "S *A"]]:
    """Ask a probe without training: about one batch, and a step along its gradient at a learning rate.

    Parameters
    ----------
    probe : what to measure.
    network : in whatever mode; it is measured in training mode, and left as it was.
    x, y : a batch for each member.
    rate : of the step that the probe may look at.
    """
    with network.preserved():
        network.train()
        state = network.random_state()
        batch = Batch(x, y)
        gradients = torch.autograd.grad(losses(network, batch).sum(), list(network.parameters()))
        updates = [-rate * gradient for gradient in gradients]
        step = Step(network, batch, torch.full((len(x),), rate), gradients, updates, state)
        return {quantity: reading.detach().double().numpy() for quantity, reading in probe.measure(step).items()}


class Recorder:
    """Asks probes while an ensemble trains, and keeps what they read in rows of the members' own."""

    def __init__(self, probes: Sequence[Probe], members: int) -> None:
        self.probes = probes
        self.members = members
        self._found: dict[str, _Found] = {}

    def ask(self, number: int, live: Int[np.ndarray, "M"], step: Step) -> None:
        """Let the probes that are due measure a step of the members that are left.

        Raises
        ------
        ValueError : if two probes read a quantity of one name, or a reading has not one row for each member.
        """
        for probe in self.probes:
            if (number - 1) % probe.every:
                continue
            with step.network.preserved():
                readings = probe.measure(step)
            for quantity, reading in readings.items():
                found = self._found.setdefault(quantity, _Found(probe))
                if found.probe is not probe:
                    raise ValueError(
                        f"expected one probe to read {quantity}, got two: {found.probe.name} and {probe.name}"
                    )
                if len(reading) != len(live):
                    raise ValueError(
                        f"expected {quantity} of the probe {probe.name} to have {len(live)} rows, one for each member, "
                        f"got shape {tuple(reading.shape)}"
                    )
                row = np.full((self.members, *reading.shape[1:]), np.nan)
                row[live] = reading.detach().double().numpy()
                found.steps.append(number)
                found.rows.append(row)

    def traces(self) -> dict[str, Trace]:
        """All readings so far, by quantity."""
        traces = {}
        for quantity, found in self._found.items():
            values = np.stack(found.rows, axis=1)
            axis = found.probe.axis if values.ndim == 3 else None
            labels = found.probe.labels(values.shape[2]) if axis else ()
            traces[quantity] = Trace(np.array(found.steps), values, axis, labels)
        return traces


@dataclass
class _Found:
    probe: Probe
    steps: list[int] = field(default_factory=list)
    rows: list[Any] = field(default_factory=list)
