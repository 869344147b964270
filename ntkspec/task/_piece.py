"""A piece of a task, small enough to train on, at the resolution of the whole."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ntkspec.task._scattered import Scattered
from ntkspec.task._task import Task

__all__ = ["Piece", "cut", "piece"]


class Piece(NamedTuple):
    """A part of a task.

    Attributes:
        task: the part, which is the whole task where that is small enough.
        lengths: lengths of the part's unit along each axis, in units of the whole, shape (d,): a frequency of f cycles
            per unit of the whole is f · lengths cycles per unit of the part.
        notice: what was taken, in one sentence; empty where that is everything.
    """

    task: Task | Scattered
    lengths: np.ndarray
    notice: str


def piece(task: Task | Scattered, num_points: int) -> Piece:
    """Cut out the part of a task where its finest detail has most energy, at the resolution of the whole.

    Detail is the squared difference of neighbours, summed over the part. Values and the split into training and test
    points stay as they are. A part of a lattice is as near to a cube as it can be: an axis that is shorter is kept
    whole and the others get more. Scattered points keep their coordinates, too.

    Args:
        task: the whole.
        num_points: points of the part at most, those to judge by included.

    Returns:
        The part.

    Example:
        >>> values = np.r_[np.zeros(40), np.tile([1.0, -1.0], 12), np.zeros(40)]
        >>> even = np.arange(104) % 2 == 0
        >>> part = piece(Task("burst", values, even, ~even), num_points=26)
        >>> part.task.shape, part.lengths.tolist(), part.notice
        ((26,), [0.25], 'Samples 38 to 63 of 104, where the signal has most detail.')
    """
    return Piece(*cut(task, num_points)) if isinstance(task, Task) else _of_points(task, num_points)


def cut(task: Task, num_points: int) -> tuple[Task, np.ndarray, str]:
    """Cut the piece out of a task on a lattice."""
    sides = _sides(task.shape, num_points)
    if sides == task.shape:
        return task, np.ones(task.dim), ""
    starts = _busiest(task, sides)
    box = tuple(slice(start, start + n) for start, n in zip(starts, sides, strict=True))
    names = {1: ("Samples",), 2: ("Rows", "columns")}.get(task.dim, [f"axis {i}:" for i in range(task.dim)])
    places = ", ".join(
        f"{name} {start} to {start + n - 1} of {size}"
        for name, start, n, size in zip(names, starts, sides, task.shape, strict=True)
    )
    notice = f"{places}, where the signal has most detail."
    part = replace(
        task,
        name=f"a piece of {task.name}",
        values=task.values[box],
        train_mask=task.train_mask[box],
        test_mask=task.test_mask[box],
        notices=(*task.notices, notice),
    )
    return part, np.array(sides) / np.array(task.shape), notice


def _sides(shape: tuple[int, ...], budget: int) -> tuple[int, ...]:
    sides = list(shape)
    order = sorted(range(len(shape)), key=lambda i: shape[i])
    for done, i in enumerate(order):
        sides[i] = min(shape[i], math.floor(budget ** (1 / (len(shape) - done)) + 1e-9))
        budget //= sides[i]
    return tuple(sides)


def _busiest(task: Task, sides: tuple[int, ...]) -> list[int]:
    """Where the box with most detail begins, of those that begin with training points."""
    energy = _detail(task.values, task.dim)
    starts = []
    for axis, n in enumerate(sides):
        total = np.concatenate([np.zeros_like(energy.take([0], axis)), np.cumsum(energy, axis)], axis)
        # Without the difference from the last point of a box to the next one.
        inside = max(n - 1, 1)
        low = np.arange(task.shape[axis] - n + 1)
        energy = total.take(low + inside, axis) - total.take(low, axis)
        present = np.flatnonzero(task.train_mask.any(axis=tuple(i for i in range(task.dim) if i != axis)))
        present = present[present < len(low)]
        starts.append(present if len(present) else low)
    allowed = energy[np.ix_(*starts)]
    found = np.unravel_index(int(np.argmax(allowed)), allowed.shape)
    return [int(axis[i]) for axis, i in zip(starts, found, strict=True)]


def _detail(values: np.ndarray, dim: int) -> np.ndarray:
    """Squared differences of neighbours along all axes, each at the first of the two, shape (*shape,)."""
    found = np.zeros(values.shape[:dim])
    for axis in range(dim):
        squares = np.diff(values, axis=axis) ** 2
        squares = squares.sum(axis=-1) if values.ndim > dim else squares
        found[tuple(slice(0, -1) if i == axis else slice(None) for i in range(dim))] += squares
    return found


def _of_points(task: Scattered, num_points: int) -> Piece:
    """Return the cube about a training point that holds so many points and has the most detail of such cubes."""
    from scipy.spatial import cKDTree

    x, y = task.train_points, task.train_values.reshape(len(task.train_points), -1)
    size = len(x) + len(task.test_points)
    if size <= num_points:
        return Piece(task, np.ones(task.dim), "")
    count = max(round(num_points * len(x) / size), 2)
    tree = cKDTree(x)
    distance, nearest = (found[:, 1] for found in tree.query(x, 2))
    # Per distance, since scattered neighbours are at many.
    detail = ((y - y[nearest]) ** 2).sum(axis=1) / np.maximum(distance, np.finfo(float).tiny) ** 2
    radius, members = tree.query(x, count, p=np.inf)
    busiest = int(np.argmax(detail[members].sum(axis=1)))
    chosen = np.sort(members[busiest])
    test = np.abs(task.test_points - x[busiest]).max(axis=1) <= radius[busiest, -1]
    kind = "a stretch" if task.dim == 1 else "a cube"
    notice = f"{count:,} of {len(x):,} training points, in {kind} where the values have most detail."
    part = replace(
        task,
        name=f"a piece of {task.name}",
        train_points=x[chosen],
        train_values=task.train_values[chosen],
        test_points=task.test_points[test],
        test_values=task.test_values[test],
        notices=(*task.notices, notice),
    )
    return Piece(part, np.ones(task.dim), notice)
