"""What a design is made for: training points with their labels, and a kernel put on all or some of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from ntkspec.checks import check_labels
from ntkspec.grid import Grid
from ntkspec.kernel import ComposedKernel
from ntkspec.operator import Lattice, Operator, choose, dense, lattice

__all__ = ["Samples", "Signal", "from_operator", "from_signal"]

#: Scattered points up to which a matrix is the quickest form without asking.
DENSE = 4096


class Signal(Protocol):
    """Values on a lattice and the points to learn from; an `ntkspec.task.Task` is one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Points of the lattice on each axis."""
        ...

    @property
    def train_mask(self) -> np.ndarray:
        """True at the points to learn from, shape `shape`."""
        ...

    @property
    def train_values(self) -> np.ndarray:
        """Values there, shape (n,) or (n, channels)."""
        ...


@dataclass(frozen=True, eq=False)
class Samples:
    """Training points and labels: all that a design may see.

    Attributes:
        points: shape (n, d).
        labels: shape (n, channels).
        shape: of the lattice [0, 1)^d that the points are on; None for scattered ones.
        mask: True at the points on that lattice, row-major; None for scattered ones.
    """

    points: np.ndarray
    labels: np.ndarray
    shape: tuple[int, ...] | None
    mask: np.ndarray | None

    @property
    def num_points(self) -> int:
        """Number of points n."""
        return len(self.points)

    @property
    def dim(self) -> int:
        """Number of coordinates d."""
        return int(self.points.shape[1])

    @property
    def highest_frequency(self) -> float:
        """Half the points per unit along an axis: above it, frequencies are told apart no more."""
        extent = np.ptp(self.points, axis=0)
        # n^(1/d) points on an axis of a cube of the same volume; a lattice ends one spacing early.
        volume = float(np.prod(extent * (1 + 1 / np.maximum(self.num_points ** (1 / self.dim) - 1, 1))))
        return float((self.num_points / volume) ** (1 / self.dim) / 2)

    def operator(self, k: ComposedKernel, kept: np.ndarray | None = None) -> Operator:
        """The kernel on the points, or on those that `kept` (n,) is True at."""
        if self.shape is not None and self.mask is not None and k.stationary:
            mask = self.mask if kept is None else self._on_lattice(kept)
            return lattice(k, self.shape, mask)
        points = self.points if kept is None else self.points[kept]
        return dense(k, points) if len(points) <= DENSE else choose(k, points).build()

    def expand(self, k: ComposedKernel, K: Operator, weights: np.ndarray, asked: np.ndarray) -> np.ndarray:
        """Σ_j k(x, x_j) w_j at the points where `asked` (n,) is True, for weights (c, n') of K's points: (c, a)."""
        if isinstance(K, Lattice) and self.mask is not None:
            return np.stack([np.asarray(K.field(w))[self._on_lattice(asked)] for w in weights])
        return np.asarray(k.gram(self.points[asked], K.points, which="ntk") @ weights.T).T

    def window(self, num_points: int) -> np.ndarray:
        """A box of about so many points about the middle, as a mask (n,): the same density, fewer points."""
        if self.num_points <= num_points:
            return np.ones(self.num_points, dtype=bool)
        middle = (self.points.max(axis=0) + self.points.min(axis=0)) / 2
        extent = np.maximum(np.ptp(self.points, axis=0), 1e-300)
        distance = np.max(np.abs(self.points - middle) / extent, axis=1)
        return distance <= np.partition(distance, num_points - 1)[num_points - 1]

    def _on_lattice(self, kept: np.ndarray) -> np.ndarray:
        full = np.zeros(self.mask.shape, dtype=bool)  # type: ignore[union-attr]  # only asked of a lattice
        full[self.mask] = kept
        return full


def from_signal(signal: Signal) -> Samples:
    """The training points of a signal on a lattice."""
    shape, mask = tuple(signal.shape), np.asarray(signal.train_mask, dtype=bool)
    points = Grid.unit(shape).points()[mask.ravel()]
    return _samples(points, signal.train_values, shape, mask)


def from_operator(K: Operator, y: ArrayLike) -> Samples:
    """The points of an operator, with labels (n,) or (n, channels); on a lattice they are known to be."""
    points = np.asarray(K.points)
    if isinstance(K, Lattice):
        shape = K.sublattice.full
        mask = np.asarray(K.restrict(np.arange(int(np.prod(shape))).reshape(shape))).astype(np.int64)
        full = np.zeros(int(np.prod(shape)), dtype=bool)
        full[mask] = True
        return _samples(points, y, shape, full.reshape(shape))
    return _samples(points, y, None, None)


def _samples(points: np.ndarray, y: ArrayLike, shape: tuple[int, ...] | None, mask: np.ndarray | None) -> Samples:
    labels = np.asarray(check_labels(y, len(points)))
    if not np.ptp(labels, axis=0).any():
        raise ValueError("the labels are constant, so there is nothing to learn; give a signal that varies")
    return Samples(points, labels.reshape(len(points), -1), shape, mask)
