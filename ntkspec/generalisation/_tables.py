"""What the tables of this room share: the axis of steps, the limit of stability, the probes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ntkspec.dynamics import Dynamics, Loss
from ntkspec.eigen._trajectory import check_stable
from ntkspec.progress import Progress

__all__ = ["Sampling", "check_training", "step_coordinate"]


@dataclass(frozen=True)
class Sampling:
    """How a trace is estimated; see `ntkspec.eigen.trace_of`, whose arguments these are."""

    num_probes: int
    num_exact: int
    max_steps: int
    seed: int
    progress: Progress


def step_coordinate(steps: np.ndarray) -> tuple:
    """The coordinate `step`."""
    return "step", steps, {"long_name": "training step", "units": "steps"}


def check_training(
    largest: float, rate: float, dynamics: Dynamics, steps: np.ndarray, loss: Loss, num_points: int
) -> None:
    """Refuse a rate past the stability limit, and half steps of a dynamics that has none.

    Args:
        largest: λ_max.
        rate: η of the summed loss.
        dynamics: how it is trained.
        steps: asked for.
        loss: asked for, in whose unit the limit is told.
        num_points: n.

    Raises:
        ValueError: naming the limit.
    """
    if dynamics.discrete and (steps != np.rint(steps)).any():
        raise ValueError(f"steps={steps.tolist()}; expected whole numbers for {type(dynamics).__name__}")
    check_stable(largest, rate, dynamics.at(rate), loss, num_points)
