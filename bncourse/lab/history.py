"""What was seen while an ensemble trained: arrays with one row for each member, or one tidy table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Trace:
    """What a probe read of one quantity.

    Attributes
    ----------
    steps : (K,), the steps before whose updates it was asked.
    values : (S, K), or (S, K, A) where the probe reads several values at once; NaN once a member has diverged.
    axis : what the last axis runs over, such as ``layer``; None if there is none.
    labels : (A,), the axis's values.
    """

    steps: Int[np.ndarray, "K"]
    values: Float[np.ndarray, "S K *A"]
    axis: str | None = None
    labels: Sequence[float] = ()


@dataclass(frozen=True, eq=False)
class History:
    """What was seen while S members trained for T steps.

    Attributes
    ----------
    batch_loss : (S, T), cross-entropy of each step's batch, before that step's update. After the first value of a
        member that is not finite come NaN.
    evaluated_at : (K,), how many updates had been made at each evaluation.
    validation_accuracy : (S, K), in inference mode; a member that has diverged scores 0.
    seeds, rates : of the members.
    traces : what the probes read, by the name of the quantity.
    """

    batch_loss: Float[np.ndarray, "S T"]
    evaluated_at: Int[np.ndarray, "K"]
    validation_accuracy: Float[np.ndarray, "S K"]
    seeds: Sequence[int] = ()
    rates: Sequence[float] = ()
    traces: Mapping[str, Trace] = field(default_factory=dict)

    @property
    def diverged_at(self) -> Float[np.ndarray, "S"]:
        """The step whose loss was the first that was not finite; infinity where there was none."""
        lost = ~np.isfinite(self.batch_loss)
        return np.where(lost.any(axis=1), lost.argmax(axis=1) + 1.0, np.inf)

    def frame(self) -> "pd.DataFrame":
        """A row for each value: columns member, seed, rate, step, quantity and value, and an axis where there is one.

        ``step`` counts updates: those made before an evaluation of ``validation_accuracy``, and for everything else the
        number of the step whose update had not yet been made. Step 1 of ``batch_loss`` belongs to the initial weights,
        step 1 of ``validation_accuracy`` to those after one update.

        Raises
        ------
        ValueError : if the history does not know its members' seeds and rates.
        """
        import pandas as pd

        members, steps = self.batch_loss.shape
        if not len(self.seeds) == len(self.rates) == members:
            raise ValueError(f"expected the seed and the rate of {members} members, got {self.seeds} and {self.rates}")
        traces = {
            "batch_loss": Trace(np.arange(1, steps + 1), self.batch_loss),
            "validation_accuracy": Trace(self.evaluated_at, self.validation_accuracy),
            **self.traces,
        }
        axes = list(dict.fromkeys(trace.axis for trace in traces.values() if trace.axis))
        tables = []
        for quantity, trace in traces.items():
            coordinates = [np.arange(members), trace.steps, *([np.asarray(trace.labels)] if trace.axis else [])]
            grid = [coordinate.ravel() for coordinate in np.meshgrid(*coordinates, indexing="ij")]
            columns = {"member": grid[0], "step": grid[1], "quantity": quantity, "value": trace.values.ravel()}
            table = pd.DataFrame(columns)
            for axis in axes:
                table[axis] = grid[2].astype(float) if axis == trace.axis else np.nan
            tables.append(table)
        whole = pd.concat(tables, ignore_index=True)
        whole.insert(1, "seed", np.asarray(self.seeds)[whole["member"]])
        whole.insert(2, "rate", np.asarray(self.rates, dtype=float)[whole["member"]])
        if "layer" in axes:
            whole["layer"] = whole["layer"].astype("Int64")
        return whole[["member", "seed", "rate", "step", "quantity", *axes, "value"]]
