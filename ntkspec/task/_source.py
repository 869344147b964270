"""One door for every signal: none, an image, a signal or a table of points."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ntkspec.checks import check_that
from ntkspec.task import image, points, signal
from ntkspec.task._scattered import Scattered
from ntkspec.task._table import ROW, SUFFIXES, read_columns
from ntkspec.task._task import Task, existing_file

__all__ = ["load"]

SIGNAL_SUFFIXES = (".npy", ".wav")


def load(
    path: str | Path | None = None,
    *,
    max_size: int = 128,
    max_length: int = 2048,
    white: float | None = None,
    inputs: Sequence[str | int] | str | None = None,
    outputs: Sequence[str | int] | str | None = None,
    held_out: float | str | None = None,
    seed: int = 0,
) -> Task | Scattered:
    """Load a task: a signal from `.npy` or `.wav`, points from a table, an image from anything else.

    A file counts as a signal by its suffix or by its first bytes, so a `.wav` under another name is one too; as a table
    by its suffix, `.csv`, `.tsv`, `.txt`, `.npz` or `.parquet`. A table of one column is a signal of evenly spaced
    samples, and so is one column of any table with inputs="row".

    Args:
        path: the file; None takes the astronaut, which needs no file.
        max_size: longest side of an image, in pixels.
        max_length: longest signal, in samples.
        white: stored number that is white in an image file; None takes the file's own.
        inputs: coordinate columns of a table, see `ntkspec.task.points`.
        outputs: value columns of a table.
        held_out: share of its points to judge by, or the column that says which; 0.2 where None.
        seed: of the draw of that share.

    Returns:
        The task, with a notice for everything that was changed.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is none of these, or holds nothing that can be learnt.

    Example:
        >>> load(max_size=64).shape
        (64, 64)
    """
    sound = path is not None and is_signal(path)
    table = path is not None and not sound and Path(path).suffix.lower() in SUFFIXES
    name = "the astronaut" if path is None else Path(path).name
    kinds = f"are about the columns of a table ({', '.join(SUFFIXES)})"
    check_that(
        table or (inputs, outputs, held_out) == (None, None, None),
        f"{{inputs}}, {{outputs}} and {{held_out}} {kinds}, and {name} is not a table; leave them out.",
        **dict.fromkeys(("inputs", "outputs", "held_out"), ...),
    )
    has_white = path is not None and not sound and not table
    level = "{white} is the level of white of an image file; leave it out for other signals."
    check_that(white is None or has_white, level, white=white)
    if path is None:
        return image.astronaut(size=max_size)
    if table:
        return _table(path, max_length, inputs, outputs, held_out, seed)
    if sound:
        return signal.from_file(path, max_length=max_length)
    return image.from_file(path, max_size=max_size, white=white)


def _table(
    path: str | Path,
    max_length: int,
    inputs: Sequence[str | int] | str | None,
    outputs: Sequence[str | int] | str | None,
    held_out: float | str | None,
    seed: int,
) -> Task | Scattered:
    found = existing_file(path)
    columns = read_columns(found)
    if inputs is None and len(columns) == 1:
        inputs = ROW
    if inputs in (ROW, [ROW], (ROW,)) and held_out is None:
        chosen = points.pick(columns, outputs or [-1], "outputs", found.name)
        values = chosen[0].numbers()
        if len(chosen) == 1 and np.isfinite(values).all():
            notices = [f"{len(values):,} rows of {chosen[0].name} were read as evenly spaced samples."]
            return signal.sampled(values, found.stem, f"{chosen[0].name} of {found.name}", notices, max_length)
    return points.from_file(path, inputs, outputs, 0.2 if held_out is None else held_out, seed)


def is_signal(path: str | Path) -> bool:
    """Whether a file is a 1-D signal, `.npy` or `.wav`, by its suffix or its first bytes."""
    found = existing_file(path)
    with found.open("rb") as file:
        start = file.read(12)
    is_wave = start[:4] in (b"RIFF", b"RIFX", b"RF64") and start[8:] == b"WAVE"
    return found.suffix.lower() in SIGNAL_SUFFIXES or start.startswith(b"\x93NUMPY") or is_wave
