"""What a broken run hands over, with the images that it meets in inference: for the second opinion of chapter 7.5."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bncourse.clinic.cases.split_archive import faint
from bncourse.clinic.checking import handed_over

if TYPE_CHECKING:
    from bncourse.clinic.case import Case


def as_it_came(case: "Case", seed: int) -> tuple[nn.Module, tuple[Tensor, ...], Tensor]:
    """Train the broken run of a case whose network can be had alone, and take validation images of all kinds.

    Parameters
    ----------
    case : of the clinic.
    seed : of the split and of the training.

    Returns
    -------
    model : what was handed over; where that are several networks, the one that is complained of.
    inputs : of the network, all kinds of images together.
    answers : what is right for each of them: the digit, or whether a pair shows the same.

    Raises
    ------
    ValueError : for a case that hands over something else than a network of images.
    """
    if case.id in ("folder_by_folder", "borrowed_backbone", "stops_at_the_epoch"):
        raise ValueError(f"expected case to be one that hands over a network of images, got {case.id!r}")
    task, returned = handed_over(case, case.broken, seed)
    if case.id == "two_scanners":
        kinds = list(task.validation.values())
        return returned["faint"], (torch.cat([each.x for each in kinds]),), torch.cat([each.y for each in kinds])
    if case.id == "split_archive":
        images = task.validation
        return returned[0], (torch.cat([images.x, faint(images).x]),), images.y.repeat(2)
    if case.id == "same_digit":
        return returned, task.validation[:2], task.validation[2]
    dtype = next(returned.parameters()).dtype
    return returned, (task.validation.x.to(dtype),), task.validation.y


def share_right(model: nn.Module, inputs: tuple[Tensor, ...], answers: Tensor) -> float:
    """Share of the answers that the network gives in inference mode; one logit says yes where it is positive.

    Parameters
    ----------
    model, inputs, answers : as :func:`as_it_came` returns them.
    """
    training = model.training
    with torch.no_grad():
        logits = model.eval()(*inputs)
    model.train(training)
    given = logits > 0 if logits.ndim == 1 else logits.argmax(dim=1)
    return float((given == answers).float().mean())
