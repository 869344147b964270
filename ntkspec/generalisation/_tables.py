"""What the tables of this room share: how traces and draws are sampled, counts of points, energies by frequency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ntkspec.checks import check_number, check_seed
from ntkspec.generalisation._decomposition import Decomposition
from ntkspec.grid import energy_by_frequency
from ntkspec.record import variable

__all__ = ["SAMPLING", "Draws", "Sampling", "by_frequency", "check_counts", "frequency_variables"]


@dataclass(frozen=True)
class Sampling:
    """How traces are estimated where only products are known; see `ntkspec.eigen.trace_of`.

    Attributes:
        num_probes: random vectors.
        num_exact: directions that carry the leading modes, summed without sampling.
        max_steps: Lanczos steps a vector, at most.
        seed: seed of the vectors.
    """

    num_probes: int = 16
    num_exact: int = 8
    max_steps: int = 512
    seed: int = 0


#: The default.
SAMPLING = Sampling()


@dataclass(frozen=True)
class Draws:
    """Random draws of training points, a method of `learning_curve` and `risk`.

    Attributes:
        number: number of draws, at least 2.
        seed: seed of the draws.
    """

    number: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        check_number("number", self.number, 2, hint="draws, whose scatter gives an error bar")
        check_seed(self.seed)


def by_frequency(
    modes: Decomposition, labels: np.ndarray, gain: np.ndarray, scatter: np.ndarray, cases: dict[str, int]
) -> dict[str, tuple]:
    """Energy of the error by frequency on all points, from what of each mode is learned and how much it scatters.

    Args:
        modes: of K on N points.
        labels: f, shape (N, c).
        gain: h of each eigenvalue in each case, shape (h, f).
        scatter: variance in the modes of each eigenvalue, shape (h, f).
        cases: dimensions of the f cases, with their sizes.

    Returns:
        Variables `error_by_frequency`, `target_by_frequency` and the coordinate; none for points off a lattice.
    """
    placement = modes.operator.placement
    spread = None if placement is None else modes.spread(placement)
    if placement is None or spread is None:
        return {}
    missed = np.moveaxis(modes.apply(1 - gain, labels), -1, 1)
    bias, frequency = energy_by_frequency(missed, placement)
    target, _ = energy_by_frequency(labels.T, placement)
    return frequency_variables(bias.mean(axis=1) + (spread @ scatter).T, target.mean(axis=0), frequency, labels, cases)


def frequency_variables(
    error: np.ndarray, target: np.ndarray, frequency: np.ndarray, labels: np.ndarray, cases: dict[str, int]
) -> dict[str, tuple]:
    """Energies (f, frequency) and (frequency) on all points as mean squares, and their coordinate."""
    error = error.reshape(*cases.values(), len(frequency)) / len(labels)
    return {
        "error_by_frequency": variable((*cases, "frequency"), error, "mean square error at each frequency"),
        "target_by_frequency": variable("frequency", target / len(labels), "mean square of the target"),
        "frequency": variable("frequency", frequency, "frequency", "cycles per unit"),
    }


def check_counts(num_points: Sequence[int] | None, population: int | None) -> np.ndarray:
    """Numbers of training points as an array.

    Raises:
        ValueError: if there are none, or one is not a whole number from 1 to the population less one.
    """
    counts = np.atleast_1d(np.asarray(num_points))
    most = np.inf if population is None else population - 1
    whole = counts.ndim == 1 and counts.size and np.issubdtype(counts.dtype, np.integer)
    if not whole or (counts < 1).any() or (counts > most).any():
        limit = "" if population is None else f", fewer than the {population:,} points that they are drawn from"
        raise ValueError(f"num_points={counts.tolist()}; expected whole numbers of at least 1{limit}")
    return counts
