"""What the tables of this room share: how traces and draws are sampled, counts of points, energies by frequency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ntkspec.checks import check_number, check_seed
from ntkspec.generalisation._decomposition import Decomposition
from ntkspec.grid import energy_by_frequency
from ntkspec.record import variable

__all__ = ["SAMPLING", "Case", "Draws", "Sampling", "check_counts", "frequency_variables", "mean_errors"]


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


@dataclass(frozen=True)
class Case:
    """Numbers of one case, and of each eigenvalue (h,) the part that is learned and the variance in its modes."""

    numbers: tuple[float, ...]
    gain: np.ndarray
    scatter: np.ndarray


def mean_errors(
    modes: Decomposition, labels: np.ndarray, cases: list[Case], names: dict[str, str], sizes: dict[str, int]
) -> dict[str, tuple]:
    """Named numbers of all cases, whose dimensions have these sizes, and on a lattice the error by frequency."""
    columns = np.array([case.numbers for case in cases]).T.reshape(len(names), *sizes.values())
    each = zip(names.items(), columns, strict=True)
    numbers = {name: variable(tuple(sizes), column, text) for (name, text), column in each}
    placement = modes.operator.placement
    spread = None if placement is None else modes.spread(placement)
    if placement is None or spread is None:
        return numbers
    gain, scatter = (np.stack(values, axis=1) for values in zip(*((c.gain, c.scatter) for c in cases), strict=True))
    missed = np.moveaxis(modes.apply(1 - gain, labels), -1, 1)
    error = energy_by_frequency(missed, placement)[0].mean(axis=1) + (spread @ scatter).T
    target, frequency = energy_by_frequency(labels.T, placement)
    return numbers | frequency_variables(error, target.mean(axis=0), frequency, labels, sizes)


def frequency_variables(
    error: np.ndarray, target: np.ndarray, frequency: np.ndarray, labels: np.ndarray, sizes: dict[str, int]
) -> dict[str, tuple]:
    """Energies (f, frequency) and (frequency) on all points as mean squares, and their coordinate."""
    error = error.reshape(*sizes.values(), len(frequency)) / len(labels)
    return {
        "error_by_frequency": variable((*sizes, "frequency"), error, "mean square error at each frequency"),
        "target_by_frequency": variable("frequency", target / len(labels), "mean square of the target"),
        "frequency": variable("frequency", frequency, "frequency", "cycles per unit"),
    }


def check_counts(num_points: Sequence[int] | None, population: int | None) -> np.ndarray:
    """Numbers of training points as an array: whole, from 1 to the population less one."""
    counts = np.atleast_1d(np.asarray(num_points))
    most = np.inf if population is None else population - 1
    whole = counts.ndim == 1 and counts.size and np.issubdtype(counts.dtype, np.integer)
    if not whole or (counts < 1).any() or (counts > most).any():
        limit = "" if population is None else f", fewer than the {population:,} points that they are drawn from"
        raise ValueError(f"num_points={counts.tolist()}; expected whole numbers of at least 1{limit}")
    return counts
