"""Regular lattices in [0, 1)^d and the frequencies that values on them hold.

A leaf: the operator, eigen and trainer rooms all speak of "the energy at a frequency", and mean this.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["Grid", "Placement", "energy_by_frequency", "half_weights", "place"]


@dataclass(frozen=True)
class Grid:
    """A regular lattice of some shape: point i at origin + i·spacing, axis by axis, in units.

    Example:
        >>> Grid.unit((4,)).points().ravel().tolist()
        [0.0, 0.25, 0.5, 0.75]
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]

    @classmethod
    def unit(cls, shape: tuple[int, ...]) -> Grid:
        """Return the lattice i/shape in [0, 1)^d."""
        return cls(tuple(shape), tuple(1 / n for n in shape), (0.0,) * len(shape))

    @property
    def dim(self) -> int:
        """Number of axes d."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of lattice points."""
        return math.prod(self.shape)

    def axes(self) -> list[np.ndarray]:
        """Return the coordinates along each axis."""
        return [o + h * np.arange(n) for n, h, o in zip(self.shape, self.spacing, self.origin, strict=True)]

    def points(self) -> np.ndarray:
        """All points, shape (size, d), last axis fastest."""
        return np.stack(np.meshgrid(*self.axes(), indexing="ij"), axis=-1).reshape(-1, self.dim)

    @property
    def frequency_step(self) -> float:
        """Width of a frequency bin in cycles per unit: one turn over the longest axis."""
        return 1 / max(n * h for n, h in zip(self.shape, self.spacing, strict=True))

    def frequency_bins(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the radial bin of each point of the transform, shape `shape`, and the bins' frequencies.

        They are |k| in cycles per unit, in more than one dimension rounded to a multiple of `frequency_step`.
        """
        axes = [np.fft.fftfreq(n, d=h) for n, h in zip(self.shape, self.spacing, strict=True)]
        radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij")))
        multiple = np.rint(radius / self.frequency_step).astype(np.int64)
        present, bins = np.unique(multiple, return_inverse=True)
        return bins.reshape(self.shape), present * self.frequency_step


@dataclass(frozen=True)
class Placement:
    """Flat positions of points on a grid, the index (n,); None where they are all of it in order."""

    grid: Grid
    index: np.ndarray | None

    def extend(self, values: np.ndarray) -> np.ndarray:
        """Values (..., n) at the points as values (..., *shape) on the lattice, zero elsewhere."""
        lead = values.shape[:-1]
        if self.index is None:
            return values.reshape(*lead, *self.grid.shape)
        full = np.zeros((*lead, self.grid.size), dtype=values.dtype)
        full[..., self.index] = values
        return full.reshape(*lead, *self.grid.shape)


def place(points: ArrayLike) -> Placement | None:
    """Return the place of points (n, d) on the coarsest regular lattice that carries them.

    None for scattered points: no equal spacing, or a lattice mostly of holes.

    Example:
        >>> place([[0.0], [0.5], [0.25]]).grid.shape, place([[0.0], [0.5], [0.3]])
        ((3,), None)
    """
    points = np.asarray(points, dtype=float)
    shape, spacing, origin, position = [], [], [], []
    for column in points.T:
        present = np.unique(np.round(column, 12))
        gaps = np.diff(present)
        step = float(gaps.min()) if len(gaps) else 1.0
        steps = (column - present[0]) / step
        if np.abs(steps - np.rint(steps)).max() > 1e-6:
            return None
        count = int(np.rint((present[-1] - present[0]) / step)) + 1
        # The mean gap is the spacing to more digits than the smallest one.
        step = (present[-1] - present[0]) / (count - 1) if count > 1 else 1.0
        shape.append(count)
        spacing.append(step)
        origin.append(float(present[0]))
        position.append(np.rint(steps).astype(np.int64))
    grid = Grid(tuple(shape), tuple(spacing), tuple(origin))
    if grid.size > 8 * len(points):
        return None
    index = np.ravel_multi_index(position, grid.shape)
    if len(np.unique(index)) < len(index):
        return None
    in_order = len(index) == grid.size and bool((np.diff(index) == 1).all())
    return Placement(grid, None if in_order else index)


def energy_by_frequency(values: ArrayLike, placement: Placement) -> tuple[np.ndarray, np.ndarray]:
    """Energy of point values in radial frequency bins, E(f) = Σ_{|k| in bin} |Σ_j v_j e^{−2πi k·x_j}|² / N.

    Points missing from the lattice of N count as zeros, so Σ_f E(f) = Σ_j v_j² always (Parseval); their absence
    spreads energy between bins. Values are (..., n), energies (..., frequency), frequencies in cycles per unit.

    Example:
        >>> energy, frequency = energy_by_frequency([1.0, 0.0, -1.0, 0.0], Placement(Grid.unit((4,)), None))
        >>> energy.tolist(), frequency.tolist()
        ([0.0, 2.0, 0.0], [0.0, 1.0, 2.0])
    """
    values = np.asarray(values, dtype=float)
    grid = placement.grid
    axes = tuple(range(-grid.dim, 0))
    power = np.abs(np.fft.fftn(placement.extend(values), axes=axes)) ** 2 / grid.size
    bins, frequency = grid.frequency_bins()
    flat = power.reshape(-1, grid.size)
    energy = np.stack([np.bincount(bins.ravel(), weights=row, minlength=len(frequency)) for row in flat])
    return energy.reshape(*values.shape[:-1], len(frequency)), frequency


def half_weights(shape: tuple[int, ...]) -> np.ndarray:
    """How many of ±k each column of a half spectrum (`numpy.fft.rfftn`) along the last axis counts for: 1 or 2."""
    last = shape[-1]
    weight = np.full(last // 2 + 1, 2, dtype=np.int8)
    weight[0] = 1
    if last % 2 == 0:
        weight[-1] = 1
    return weight
