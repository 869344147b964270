"""Points with values: a table with coordinate and value columns, of any number of axes and outputs.

Columns are named, or given by position from 0 (−1 is the last; a name goes before a position). By default the last
column of numbers is the value and all the others are coordinates; where one side is named, the default of the other
is made of what is left. "row" is the number of the row. A two-dimensional array of an `.npz` is a group of columns,
which its name asks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ntkspec.checks import check_seed, check_that
from ntkspec.task._scattered import Affine, Scattered
from ntkspec.task._table import Column, pick, read_columns
from ntkspec.task._task import MIN_SIDE, check_varying, existing_file

__all__ = ["Scattered", "from_arrays", "from_file"]

#: Texts in a column that says which rows are held out.
TRAIN, TEST = {"train", "training", "false", "0", "0.0"}, {"test", "held_out", "held-out", "true", "1", "1.0"}

Names = str | Sequence[str | int] | None


def from_file(
    path: str | Path,
    inputs: Names = None,
    outputs: Names = None,
    held_out: float | str = 0.2,
    seed: int = 0,
) -> Scattered:
    """Load points with values from a `.csv`, `.npz` or `.parquet` table.

    Args:
        path: the file.
        inputs: coordinate columns, by name or position (a list, or one text with commas).
        outputs: value columns, likewise.
        held_out: share of the points to judge by, drawn at random; or the column that says which rows those are, by
            1, true or test.
        seed: of that draw.

    Returns:
        The points, as `from_arrays` gives them, with a notice for rows that were dropped.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a table, a column is missing or not of numbers, or too few rows are complete.
        MissingExtra: if it is a `.parquet` and pyarrow is not installed.

    Example:
        >>> import tempfile
        >>> x, y = np.random.default_rng(0).random((2, 50))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(f"{folder}/wave.npz", x=100 * x, y=y, u=np.sin(9 * x) + y)
        ...     task = from_file(f"{folder}/wave.npz", outputs="u")
        >>> task.train_points.shape, [axis.name for axis in task.inputs]
        ((40, 2), ['x', 'y'])
    """
    found = existing_file(path)
    columns = read_columns(found)
    notices: list[str] = []
    flags = None
    if isinstance(held_out, str) and not _is_share(held_out):
        (flag_column,) = pick(columns, [held_out], "held_out", found.name)
        columns = [one for one in columns if one is not flag_column]
        flags = _flags(flag_column, found.name)
    xs, ys = _sides(columns, inputs, outputs, found.name, notices)
    numbers = np.stack([one.numbers() for one in (*xs, *ys)], axis=1)
    complete = np.isfinite(numbers).all(axis=1)
    if not complete.all():
        gaps = [one.name for one, column in zip((*xs, *ys), numbers.T, strict=True) if np.isnan(column).any()]
        notices.append(
            f"{np.count_nonzero(~complete):,} of {len(complete):,} rows were dropped, for they hold no number in "
            f"{', '.join(gaps)}."
        )
    numbers = numbers[complete]
    return _task(
        found.stem,
        numbers[:, : len(xs)],
        numbers[:, len(xs) :],
        _Split(None if flags is None else flags[complete], 0.0 if flags is not None else float(held_out), seed),
        ([one.name for one in xs], [one.name for one in ys]),
        notices,
        found.name,
    )


def from_arrays(
    points: ArrayLike,
    values: ArrayLike,
    held_out: float | ArrayLike = 0.2,
    seed: int = 0,
    *,
    name: str = "points",
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
) -> Scattered:
    """Make a task of coordinates and values.

    Each axis is rescaled to [0, 1) as m places on a lattice are, x ↦ (x − low)/(span · m/(m − 1)) with m its different
    values, and each output to [−½, ½]; the task keeps both maps. Rows at one place are averaged; the notice says how
    far they differ, which no function of the coordinates can follow.

    Args:
        points: coordinates in any unit, shape (n, d) or (n,).
        values: shape (n,) or (n, channels).
        held_out: share of the places to judge by, drawn at random; or True at those rows, shape (n,).
        seed: of that draw.
        name: title of the task.
        inputs: names of the coordinates.
        outputs: names of the values.

    Returns:
        The task.

    Raises:
        ValueError: if shapes do not fit, a number is not finite, an output is constant, or there are too few points.

    Example:
        >>> x = np.random.default_rng(0).uniform(300, 400, 40)
        >>> task = from_arrays(x, np.sin(x))
        >>> task.train_points.shape, task.test_points.shape, float(task.train_points.max()) < 1
        ((32, 1), (8, 1), True)
    """
    x, y = (np.asarray(array, float) for array in (points, values))
    x, flat = (x[:, None] if x.ndim == 1 else x), y.ndim == 1
    y = y[:, None] if flat else y
    check_that(
        x.ndim == y.ndim == 2 and len(x) == len(y) and x.shape[1] and y.shape[1],
        f"points have shape {np.shape(points)} and values {np.shape(values)}; expected (n, d) and (n,) or "
        "(n, channels), of one n",
    )
    are_finite = np.isfinite(x).all() and np.isfinite(y).all()
    check_that(are_finite, "points or values hold NaN or infinity; drop those rows first (from_file does)")
    names = ([f"x{i}" for i in range(x.shape[1])] if inputs is None else list(inputs),
             [f"y{i}" for i in range(y.shape[1])] if outputs is None else list(outputs))  # fmt: skip
    counts = (x.shape[1], y.shape[1])
    are_named = tuple(map(len, names)) == counts
    check_that(are_named, f"names {names} for {counts[0]} coordinates and {counts[1]} values; expected one for each")
    flags = None if np.ndim(held_out) == 0 else np.asarray(held_out, bool)
    is_split = flags is None or flags.shape == (len(x),)
    shape = np.shape(held_out)
    check_that(is_split, f"held_out has shape {shape}; expected a share such as 0.2, or shape ({len(x)},)")
    share = float(held_out) if flags is None else 0.0  # type: ignore[arg-type]
    return _task(name, x, y, _Split(flags, share, seed), names, [], name, one_channel=flat)


class _Split(NamedTuple):
    flags: np.ndarray | None
    share: float
    seed: int


def _is_share(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _flags(column: Column, label: str) -> np.ndarray:
    texts = np.array([str(value).strip().lower() for value in column.values])
    known = np.isin(texts, list(TRAIN | TEST))
    odd = f"column {column.name!r} of {label} holds {''.join(texts[~known][:1])!r}"
    expected = "expected train or test, 0 or 1, false or true in every row."
    check_that(known.all(), f"{{held_out}}: {odd}; {expected}", held_out=column.name)
    return np.isin(texts, list(TEST))


def _sides(
    columns: Sequence[Column],
    inputs: Names,
    outputs: Names,
    label: str,
    notices: list[str],
) -> tuple[list[Column], list[Column]]:
    """Coordinate and value columns, by the rule of this module."""
    xs = None if inputs is None else pick(columns, inputs, "inputs", label)
    ys = None if outputs is None else pick(columns, outputs, "outputs", label)
    rest = [one for one in columns if one not in (xs or []) and one not in (ys or [])]
    if xs is None or ys is None:
        skipped = [one.name for one in rest if not one.is_numeric]
        rest = [one for one in rest if one.is_numeric]
        if skipped:
            notices.append(f"Columns without numbers were left out: {', '.join(skipped)}.")
    if ys is None:
        ys = [one for one in rest if rest and one.group == rest[-1].group]
        rest = [one for one in rest if one not in ys]
    xs = rest if xs is None else xs
    options = {"inputs": ..., "outputs": ...}
    check_that(
        xs and ys,
        f"{label} has {len(columns)} column{'s' * (len(columns) != 1)}, which leaves {len(xs)} for coordinates and "
        f"{len(ys)} for values; expected at least one of each: name them by {{inputs}} and {{outputs}}.",
        **options,
    )
    both = [one.name for one in xs if one in ys]
    check_that(not both, f"{', '.join(both)} of {label} is asked for as input and as output; take it for one of them.")
    texts = [f"{one.name!r} of {label} holds no numbers (first: {str(one.values[0])[:40]!r})"
             for one in (*xs, *ys) if not one.is_numeric]  # fmt: skip
    remedy = "name other columns by {inputs} and {outputs}, or turn it into numbers."
    check_that(not texts, f"column {' and '.join(texts)}; {remedy}", **options)
    if inputs is None or outputs is None:
        notices.append(
            f"Coordinates: {', '.join(one.name for one in xs)}; values: {', '.join(one.name for one in ys)}."
        )
    return xs, ys


def _task(
    name: str,
    x: np.ndarray,
    y: np.ndarray,
    split: _Split,
    names: tuple[list[str], list[str]],
    notices: list[str],
    source: str,
    *,
    one_channel: bool | None = None,
) -> Scattered:
    """Rescale finite rows, join those at one place and split off what is held out."""
    check_seed(split.seed)
    share = "{held_out}; expected a share from 0 up to 1, such as 0.2, or a column's name"
    check_that(split.flags is not None or 0 <= split.share < 1, share, held_out=split.share)
    check_that(len(x) >= MIN_SIDE, f"{source} holds {len(x)} complete rows; expected at least {MIN_SIDE}.")
    for label, column in zip(names[1], y.T, strict=True):
        check_varying(column, f"{label} of {source}")
    moving = np.ptp(x, axis=0) > 0
    places = f"all {len(x):,} rows of {source} are at one place; expected coordinates that differ."
    check_that(moving.any(), places)
    if not moving.all():
        still = [label for label, moves in zip(names[0], moving, strict=True) if not moves]
        notices.append(f"Coordinates that are the same in every row were left out: {', '.join(still)}.")
    inputs = tuple(_axis(label, c) for label, c, m in zip(names[0], x.T, moving, strict=True) if m)
    outputs = tuple(_output(label, c) for label, c in zip(names[1], y.T, strict=True))
    u, v = (
        np.stack([(c - a.offset) / a.length for a, c in zip(affine, columns, strict=True)], axis=1)
        for affine, columns in ((inputs, x[:, moving].T), (outputs, y.T))
    )
    u, v, held = _split(*_joined(u, v, split.flags, notices), split)
    left = np.count_nonzero(~held)
    fewer = f"expected at least {MIN_SIDE}: hold out fewer, or give more."
    check_that(left >= MIN_SIDE, f"{source} leaves {left} places to learn from; {fewer}")
    coordinates = "; ".join(
        f"{a.name} by (v - {a.offset:.6g}) / {a.length:.6g} (1 cycle per unit is {1 / a.length:.6g} per own unit)"
        for a in inputs
    )
    values = "; ".join(f"{a.name} by (v - {a.offset:.6g}) / {a.length:.6g}" for a in outputs)
    notices += [f"Coordinates mapped to [0, 1): {coordinates}.", f"Values mapped to [-0.5, 0.5]: {values}."]
    v = v[:, 0] if (one_channel or (one_channel is None and v.shape[1] == 1)) else v
    return Scattered(name, u[~held], v[~held], u[held], v[held], inputs, outputs, tuple(notices), source)


def _axis(name: str, column: np.ndarray) -> Affine:
    low, different = float(column.min()), len(np.unique(column))
    # As i/m of a lattice, whose last point is one spacing short of 1.
    return Affine(name, low, float(np.ptp(column)) * different / (different - 1))


def _output(name: str, column: np.ndarray) -> Affine:
    low, high = float(column.min()), float(column.max())
    return Affine(name, low / 2 + high / 2, high - low)


def _joined(
    u: np.ndarray, v: np.ndarray, flags: np.ndarray | None, notices: list[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """One row a place (on either side of a given split), the mean of its values; in the order of first rows."""
    keys = u if flags is None else np.column_stack([u, flags])
    _, first, place = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    place = place.reshape(-1)
    both = 0 if flags is None else len(first) - len(np.unique(u[first], axis=0))
    if both:
        notices.append(f"{both:,} held-out places are also learned from, which makes the held-out error too good.")
    if len(first) == len(u):
        return u, v, flags
    counts = np.bincount(place)
    means = np.stack([np.bincount(place, column) / counts for column in v.T], axis=1)
    variance = float(((v - means[place]) ** 2).sum() / v.shape[1] / (len(u) - len(first)))
    rows, places = int(counts[counts > 1].sum()), int((counts > 1).sum())
    say = (
        f"whose values differ by a standard deviation of {100 * variance**0.5:.2g} % of their range: nearer than that "
        "no function of the coordinates comes to single rows"
        if variance > 1e-30
        else "with the same values"
    )
    notices.append(
        f"{rows:,} of {len(u):,} rows share their coordinates with another ({places:,} places), {say}. "
        "Each place was taken once, with the mean of its values."
    )
    order = np.argsort(first)
    first, means = first[order], means[order]
    return u[first], means, None if flags is None else flags[first]


def _split(
    u: np.ndarray, v: np.ndarray, flags: np.ndarray | None, split: _Split
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if flags is not None:
        return u, v, flags
    held = np.zeros(len(u), bool)
    count = min(max(round(split.share * len(u)), int(split.share > 0)), len(u))
    held[np.random.default_rng(split.seed).permutation(len(u))[:count]] = True
    return u, v, held
