"""How many steps a mode takes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ntkspec.dynamics._base import Dynamics
from ntkspec.dynamics._descent import GradientDescent

__all__ = ["steps_to"]

#: Steps that are looked at one by one, where the residual may swing.
SCANNED = 256
#: Longest time, 2^53: whole numbers are exact up to it.
LONGEST = 53


def steps_to(epsilon: float, speed: ArrayLike, dynamics: Dynamics | None = None) -> np.ndarray:
    """Find the steps until a residual is ε: log ε/log|1 − ηλ| for gradient descent, in whole steps.

    Args:
        epsilon: ε in (0, 1), the part of a mode that is still to be learned.
        speed: ηλ with the learning rate of the summed loss, any shape.
        dynamics: gradient descent where None.

    Returns:
        The first step with |r| ≤ ε, shaped as `speed`; a time for the flow. A residual that swings may rise above ε
        again, and with a ridge settle above it: this is when it passes ε first. Beyond 256 steps it is one step with
        |r| ≤ ε after one with more, not surely the first. Infinity at λ = 0, past stability, and where no |r| ≤ ε is
        found among 1, 2, 4, … 2⁵³ steps (for the flow from 2⁻⁵³ on), nor for modes that swing among the first 256.

    Raises:
        ValueError: if ε is not between 0 and 1.

    Source: `Dynamics.residual` solved for t, by doubling and bisection.

    Example:
        >>> steps_to(0.1, np.array([0.5, 0.1, 0.0])).tolist()
        [4.0, 22.0, inf]
    """
    if not 0 < epsilon < 1:
        raise ValueError(f"epsilon={epsilon}; expected between 0 and 1, the part of a mode still to be learned")
    dynamics = GradientDescent() if dynamics is None else dynamics
    shape = np.shape(speed)
    flat = np.asarray(speed, dtype=float).reshape(-1)

    def above(time: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            return ~(np.abs(dynamics.residual(flat, time)) <= epsilon)

    low, high = np.zeros_like(flat), np.full_like(flat, np.inf)
    # A flow may be there long before one unit of time.
    first = 0 if dynamics.discrete else -LONGEST
    for exponent in range(first, LONGEST + 1):
        time = np.full_like(flat, 2.0**exponent)
        is_above = above(time)
        high = np.where(~is_above & np.isinf(high), time, high)
        low = np.where(is_above & np.isinf(high), time, low)
    is_bracketed = np.isfinite(high)
    for _ in range(LONGEST):
        middle = low + (np.where(is_bracketed, high, low) - low) / 2
        middle = np.floor(middle) if dynamics.discrete else middle
        is_above = above(middle)
        low, high = np.where(is_above, middle, low), np.where(is_bracketed & ~is_above & (middle > low), middle, high)
    swings = flat > dynamics.smooth_speed
    if dynamics.discrete and swings.any():
        scan = np.arange(1.0, SCANNED + 1)
        reached = np.abs(dynamics.residual(flat[swings, None], scan)) <= epsilon
        earliest = np.where(reached.any(axis=1), scan[reached.argmax(axis=1)], np.inf)
        high[swings] = np.minimum(high[swings], earliest)
    return high.reshape(shape)
