"""Named columns of numbers from a CSV, .npz or .parquet file."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ntkspec.extras import needs
from ntkspec.limits import refuse_if_too_large

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ROW", "SUFFIXES", "Column", "columns_of", "pick", "read_columns"]

SUFFIXES = (".csv", ".tsv", ".txt", ".npz", ".parquet")
ROW = "row"
"""A coordinate that every table has: the number of the row, from 0."""

# A table in memory over its file: text of a few characters a number becomes objects first.
EXPANSION = 8


@dataclass(frozen=True, eq=False)
class Column:
    """One column of a table.

    Attributes:
        name: of the column.
        group: of the columns that are asked for together: the array of an `.npz` that it is a column of, or its name.
        values: as the file has them, shape (rows,).
    """

    name: str
    group: str
    values: np.ndarray

    def numbers(self) -> np.ndarray:
        """Values as floats, with NaN for all that is not a finite number."""
        import pandas as pd

        numbers = pd.to_numeric(pd.Series(self.values), errors="coerce").to_numpy(float, na_value=np.nan)
        return np.where(np.isfinite(numbers), numbers, np.nan)

    @property
    def is_numeric(self) -> bool:
        """Whether it holds any number."""
        return bool(np.isfinite(self.numbers()).any())


def read_columns(path: Path) -> list[Column]:
    """Read all columns of a table.

    Args:
        path: an existing file: `.npz`, `.parquet`, or separated text (comma, semicolon, tab or blanks, with or without
            a header).

    Returns:
        Its columns, in order.

    Raises:
        ValueError: if the file is not such a table, or does not fit in memory.
        MissingExtra: if it is a `.parquet` and pyarrow is not installed.
    """
    size = path.stat().st_size
    refuse_if_too_large(EXPANSION * size, f"reading {path.name} ({size / 2**20:.0f} MiB)", "take a part of its rows")
    suffix = path.suffix.lower()
    if suffix == ".npz":
        columns = _archive(path)
    else:
        columns = columns_of(_parquet(path) if suffix == ".parquet" else _text(path))
    if not columns or not len(columns[0].values):
        raise ValueError(f"{path.name} holds no rows; expected a table with one row for each point.")
    return columns


def columns_of(frame: pd.DataFrame) -> list[Column]:
    """Return the columns of a pandas table."""
    return [Column(str(name), str(name), frame.iloc[:, i].to_numpy()) for i, name in enumerate(frame.columns)]


def _parquet(path: Path) -> pd.DataFrame:
    import pandas as pd

    with needs("parquet", "pyarrow"):
        import_module("pyarrow")
    try:
        return pd.read_parquet(path, engine="pyarrow").reset_index(drop=True)
    # The reader raises whatever a damaged file makes it meet.
    except Exception as error:
        raise ValueError(f"{path.name} is not a .parquet table ({_first_line(error)}); write it again.") from None


def _text(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        with path.open(encoding="utf-8-sig") as file:
            lines = [line for line in (file.readline() for _ in range(20)) if line.strip() and line[0] != "#"]
        if not lines:
            raise ValueError("no rows in it")
        separator = _separator(lines[0])
        decimal = "," if separator == ";" and any("," in line for line in lines[1:]) else "."
        cells = lines[0].replace(decimal, ".").split(None if separator == r"\s+" else separator)
        with warnings.catch_warnings():
            # Rows longer than the header would lose their ends.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                path,
                sep=separator,
                header=None if all(_is_number(cell) for cell in cells) else 0,
                decimal=decimal,
                comment="#",
                skipinitialspace=True,
                # An empty line is a gap where a row has one cell.
                skip_blank_lines=len(cells) > 1,
                encoding="utf-8-sig",
                index_col=False,
            )
    except (ValueError, OverflowError, pd.errors.ParserWarning) as error:
        raise ValueError(
            f"{path.name} is not a table of separated values ({_first_line(error)}); "
            "expected rows of equally many numbers, with or without a header."
        ) from None
    first = str(frame.columns[0])
    # What pandas writes where nobody asked it to leave the index out.
    if first.startswith("Unnamed: 0") and np.array_equal(frame.iloc[:, 0], np.arange(len(frame))):
        frame = frame.iloc[:, 1:]
    return frame


def _separator(line: str) -> str:
    counts = {mark: line.count(mark) for mark in ("\t", ";", ",")}
    most = max(counts, key=lambda mark: counts[mark])
    return most if counts[most] else r"\s+"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _archive(path: Path) -> list[Column]:
    try:
        # Opened here, since numpy leaves the file of a damaged archive open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    # A damaged archive raises whatever zip and header parsing meet.
    except Exception as error:
        raise ValueError(
            f"{path.name} is not a complete .npz archive of plain arrays ({_first_line(error)}); "
            "write it again with numpy.savez."
        ) from None
    rows = {name: len(array) if array.ndim in (1, 2) else None for name, array in arrays.items()}
    if len(set(rows.values())) != 1 or None in rows.values():
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "none"
        raise ValueError(
            f"{path.name} holds arrays of shapes {shapes}; expected (rows,) or (rows, columns), of equally many rows."
        )
    columns = []
    for name, array in arrays.items():
        if array.dtype.kind == "c":
            raise ValueError(f"{path.name}: {name} is complex; save its real and imaginary parts as two columns.")
        if array.ndim == 1:
            columns.append(Column(name, name, array))
        else:
            columns += [Column(f"{name}{i}", name, array[:, i]) for i in range(array.shape[1])]
    return columns


def pick(columns: Sequence[Column], names: str | Sequence[str | int], what: str, label: str) -> list[Column]:
    """Find columns by name, by group or by position; "row" is their number where no column has that name.

    Args:
        columns: of the table.
        names: of columns or groups, a list or one text with commas; or positions from 0, with −1 for the last. A name
            goes before a position.
        what: the argument, for the message.
        label: the file, for the message.

    Returns:
        The columns, in the order asked.

    Raises:
        ValueError: if one is not there, or is asked for twice.
    """
    if isinstance(names, str):
        names = [part.strip() for part in names.split(",") if part.strip()]
    found: list[Column] = []
    for name in names:
        hits = [one for one in columns if str(name) in (one.name, one.group)]
        if not hits and _is_position(name) and -len(columns) <= int(name) < len(columns):
            hits = [columns[int(name)]]
        if not hits and name == ROW:
            hits = [Column(ROW, ROW, np.arange(len(columns[0].values)))]
        if not hits:
            listed = ", ".join(one.name for one in columns[:20]) + (", …" if len(columns) > 20 else "")
            raise ValueError(
                f"{what}: {label} has no column {name!r}; expected one of {listed}, or a position from 0 to "
                f"{len(columns) - 1}."
            )
        found += hits
    if len({id(one) for one in found}) < len(found):
        raise ValueError(f"{what}: {', '.join(map(str, names))} names a column twice; name each once.")
    return found


def _is_position(name: str | int) -> bool:
    return isinstance(name, int) or name.lstrip("-").isdigit()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:120].rstrip(".")
