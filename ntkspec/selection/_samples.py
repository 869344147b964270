"""Training points with their labels, and equal boxes of them that represent the whole."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from ntkspec.checks import check_labels
from ntkspec.grid import Grid
from ntkspec.kernel import ComposedKernel
from ntkspec.kernel._composed import Which
from ntkspec.operator import Lattice, Operator, choose, dense, lattice

__all__ = ["Box", "Samples", "Signal", "from_operator", "from_signal"]

#: Least number of points, and of patches of them that an interval comes from.
FEWEST = 4
#: Scattered points up to which a matrix is always the quickest form.
DENSE = 4096
#: Spacings from the side of a box within which a point lacks neighbours that it has in the whole signal.
MARGIN = 2
#: Sizes of labels whose squares, their sums and quotients neither overflow nor underflow.
SMALLEST, LARGEST = 1e-100, 1e100
#: Largest number of unseen points of a box.
UNSEEN = 128


class Signal(Protocol):
    """Values at `train_points` (n, d), or where `train_mask` of a lattice of `shape` is True, as of `ntkspec.task`."""

    @property
    def train_values(self) -> np.ndarray:
        """Values at the points to learn from, shape (n,) or (n, channels)."""


@dataclass(frozen=True, eq=False)
class Box:
    """Equal boxes of training points, which share one kernel matrix.

    Attributes:
        points: points of one box, shape (m, d).
        labels: labels of all boxes, shape (m, boxes, channels).
        inner: True at the points that are not at a side of the box, shape (m,).
        unseen: points between those of the box, not learned from, shape (u, d).
        mask: True at the points, on their lattice [0, 1)^d; None for scattered ones.
    """

    points: np.ndarray
    labels: np.ndarray
    inner: np.ndarray
    unseen: np.ndarray
    mask: np.ndarray | None

    def operator(self, k: ComposedKernel, which: Which) -> Operator:
        """Return the kernel on the points of one box."""
        if self.mask is not None and k.stationary:
            return lattice(k, self.mask.shape, self.mask, which)
        return dense(k, self.points, which)


@dataclass(frozen=True, eq=False)
class Samples:
    """Training points and labels: all that a design may see.

    Attributes:
        points: coordinates, shape (n, d).
        labels: values there, shape (n, channels).
        shape: shape of their lattice [0, 1)^d; None for scattered points.
        mask: True at the points on that lattice, row-major; None for scattered points.
    """

    points: np.ndarray
    labels: np.ndarray
    shape: tuple[int, ...] | None
    mask: np.ndarray | None

    @property
    def num_points(self) -> int:
        """N."""
        return len(self.points)

    @property
    def dim(self) -> int:
        """D."""
        return int(self.points.shape[1])

    @property
    def highest_frequency(self) -> float:
        """Half the points per unit along axes on which they differ: above it, frequencies cannot be distinguished."""
        per_axis, extent = self._per_axis()
        return per_axis / extent / 2

    @property
    def lowest_frequency(self) -> float:
        """A tenth of a turn over the points, where a wave is nearly a linear function."""
        return 0.1 / self._per_axis()[1]

    def _per_axis(self) -> tuple[float, float]:
        """Points along an axis, and their extent: geometric means over the axes along which they differ."""
        extent = np.ptp(self.points, axis=0)
        extent = extent[extent > 0]
        if not len(extent):
            raise ValueError(f"all {self.num_points:,} training points are one; expected points that differ")
        per_axis = self.num_points ** (1 / len(extent))
        # A lattice ends one spacing early.
        extent = extent * (1 + 1 / max(per_axis - 1, 1))
        return per_axis, float(np.prod(extent) ** (1 / len(extent)))

    def operator(self, k: ComposedKernel) -> Operator:
        """Return the kernel on the points."""
        if self.shape is not None and self.mask is not None and k.stationary:
            return lattice(k, self.shape, self.mask)
        return dense(k, self.points) if self.num_points <= DENSE else choose(k, self.points).build()

    def boxes(self, num_points: int) -> Box:
        """Boxes of up to so many points: on a strided lattice all that fit side by side, else the middle one."""
        strided = None if self.mask is None else _strided(self.mask)
        if strided is None:
            return self._middle(num_points)
        stride, counts = strided
        # The whole lattice in as few equal boxes as keep to the size.
        side = max(1, int(num_points ** (1 / self.dim)))
        parts = [math.ceil(n / side) for n in counts] if self.num_points > num_points else [1] * self.dim
        sides = [n // p for n, p in zip(counts, parts, strict=True)]
        labels = self.labels.reshape(*counts, -1)[tuple(slice(0, s * p) for s, p in zip(sides, parts, strict=True))]
        split = labels.reshape(*(size for s, p in zip(sides, parts, strict=True) for size in (p, s)), -1)
        across, inside = range(0, 2 * self.dim, 2), range(1, 2 * self.dim, 2)
        split = split.transpose(*inside, *across, 2 * self.dim).reshape(math.prod(sides), math.prod(parts), -1)
        spacing = np.array([s / n for s, n in zip(stride, self.mask.shape, strict=True)])  # type: ignore[union-attr]
        index = np.indices(sides).reshape(self.dim, -1).T
        points = index * spacing
        inner = _inner(points, spacing)
        unseen = self._between(sides, stride, spacing)
        mask = np.zeros(self.mask.shape, dtype=bool)  # type: ignore[union-attr]
        mask[tuple(slice(0, s * n, s) for s, n in zip(stride, sides, strict=True))] = True
        return Box(points, split, inner, unseen, mask)

    def _between(self, sides: list[int], stride: tuple[int, ...], spacing: np.ndarray) -> np.ndarray:
        """Lattice points of a box that are not learned from; where there are none, the middles of its cells."""
        margin = [min(MARGIN, (s - 1) // 2) for s in sides]
        cells = [np.arange(m, max(s - 1 - m, m + 1)) for s, m in zip(sides, margin, strict=True)]
        corner = np.stack(np.meshgrid(*cells, indexing="ij"), axis=-1).reshape(-1, self.dim) * spacing
        fine = np.indices(stride).reshape(self.dim, -1).T[1:] / np.array(stride)
        steps = fine if len(fine) else np.full((1, self.dim), 0.5)
        unseen = (corner[:, None] + steps * spacing).reshape(-1, self.dim)
        return np.random.default_rng(0).permutation(unseen)[:UNSEEN]

    def _middle(self, num_points: int) -> Box:
        """Return the points nearest to the middle, by the largest coordinate: the same density, fewer points."""
        chosen = np.ones(self.num_points, dtype=bool)
        if self.num_points > num_points:
            middle = (self.points.max(axis=0) + self.points.min(axis=0)) / 2
            extent = np.ptp(self.points, axis=0)
            distance = np.max(np.abs(self.points - middle) / np.where(extent > 0, extent, 1), axis=1)
            chosen = np.argsort(distance, kind="stable")[:num_points]
        points = self.points[chosen]
        spacing = np.full(self.dim, 0.5 / self.highest_frequency)
        inner = _inner(points, spacing)
        low, high = points[inner].min(axis=0), points[inner].max(axis=0)
        unseen = np.random.default_rng(0).uniform(low, high, (UNSEEN, self.dim))
        return Box(points, self.labels[chosen][:, None], inner, unseen, None)


def _inner(points: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Points farther from the sides than a margin; all of them where too few are."""
    low, high = points.min(axis=0), points.max(axis=0)
    margin = (MARGIN - 0.5) * spacing
    # A constant coordinate has no sides.
    inner = np.all((points > low + margin) & (points < high - margin) | (low == high), axis=1)
    return inner if np.count_nonzero(inner) >= FEWEST else np.ones(len(points), dtype=bool)


def _strided(mask: np.ndarray) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Stride and count on each axis where a mask keeps every s-th point, and all of those."""
    present = [np.flatnonzero(mask.any(axis=tuple(j for j in range(mask.ndim) if j != i))) for i in range(mask.ndim)]
    gaps = [np.unique(np.diff(axis)) for axis in present]
    if any(len(gap) > 1 for gap in gaps) or math.prod(len(axis) for axis in present) != np.count_nonzero(mask):
        return None
    stride = tuple(int(gap[0]) if len(gap) else n for gap, n in zip(gaps, mask.shape, strict=True))
    return stride, tuple(len(axis) for axis in present)


def from_signal(signal: Any) -> Samples:
    """Return the training points of a `Signal`, on a lattice or scattered."""
    if not hasattr(signal, "train_mask"):
        return _of_points(np.asarray(signal.train_points), signal.train_values, None, None)
    shape, mask = tuple(signal.shape), np.asarray(signal.train_mask, dtype=bool)
    if mask.shape != shape:
        raise ValueError(f"train_mask has shape {mask.shape}; expected that of the signal, {shape}")
    points = Grid.unit(shape).points()[mask.ravel()]
    return _of_points(points, signal.train_values, shape, mask)


def from_operator(K: Operator, y: ArrayLike) -> Samples:
    """Return the points of an operator, with labels (n,) or (n, channels)."""
    points = np.asarray(K.points)
    if not np.isfinite(points).all():
        raise ValueError(
            f"{type(K).__name__} holds measurements, which have no place of their own; expected an operator on points "
            "(ns.operator.lattice, dense or scattered)"
        )
    if not isinstance(K, Lattice):
        return _of_points(points, y, None, None)
    shape = K.sublattice.full
    size = math.prod(shape)
    full = np.zeros(size, dtype=bool)
    full[np.asarray(K.restrict(np.arange(size).reshape(shape)))] = True
    return _of_points(points, y, shape, full.reshape(shape))


def _of_points(points: np.ndarray, y: ArrayLike, shape: tuple[int, ...] | None, mask: np.ndarray | None) -> Samples:
    labels = np.asarray(check_labels(y, len(points)))
    places = len(np.unique(points, axis=0))
    if places < FEWEST:
        raise ValueError(f"{places} different training points; expected at least {FEWEST}, to judge a kernel by")
    largest = float(np.abs(labels).max())
    if largest and not SMALLEST < largest < LARGEST:
        raise ValueError(
            f"the largest label is {largest:.3g}, whose square overflows or underflows; rescale the labels to about 1"
        )
    if not np.ptp(labels, axis=0).any():
        raise ValueError("the labels of the training points are constant; expected labels that vary")
    return Samples(points, labels.reshape(len(points), -1), shape, mask)
