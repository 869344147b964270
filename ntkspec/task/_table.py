"""Named columns of numbers from a CSV, .npz or .parquet file."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipFile, is_zipfile

import numpy as np

from ntkspec.checks import check_that
from ntkspec.extras import needs
from ntkspec.limits import refuse_if_too_large
from ntkspec.task._task import reading

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
    """Read all columns of an `.npz`, a `.parquet`, or separated text (comma, semicolon, tab or blanks), in order."""
    size, suffix = path.stat().st_size, path.suffix.lower()
    if suffix == ".npz" and is_zipfile(path):
        with ZipFile(path) as archive:
            size = sum(part.file_size for part in archive.infolist())
    refuse_if_too_large(EXPANSION * size, f"reading {path.name} ({size / 2**20:.0f} MiB)", "take a part of its rows")
    if suffix == ".npz":
        columns = _archive(path)
    else:
        columns = columns_of(_parquet(path) if suffix == ".parquet" else _text(path))
    rows = len(columns[0].values) if columns else 0
    check_that(rows, f"{path.name} holds no rows; expected a table with one row for each point.")
    return columns


def columns_of(frame: pd.DataFrame) -> list[Column]:
    """Return the columns of a pandas table."""
    return [Column(str(name), str(name), frame.iloc[:, i].to_numpy()) for i, name in enumerate(frame.columns)]


def _parquet(path: Path) -> pd.DataFrame:
    import pandas as pd

    with needs("parquet", "pyarrow"):
        import_module("pyarrow")
    with reading(path, "is not a .parquet table", "write it again."):
        return pd.read_parquet(path, engine="pyarrow").reset_index(drop=True)


def _text(path: Path) -> pd.DataFrame:
    import pandas as pd

    rows = "expected rows of equally many numbers, with or without a header."
    with reading(path, "is not a table of separated values", rows):
        with path.open(encoding="utf-8-sig") as file:
            lines = [line for line in (file.readline() for _ in range(20)) if line.strip() and line[0] != "#"]
        check_that(lines, "no rows in it")
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
    again = "write it again with numpy.savez."
    # Opened here, since numpy leaves the file of a damaged archive open.
    with (
        reading(path, "is not a complete .npz archive of plain arrays", again),
        path.open("rb") as file,
        np.load(file, allow_pickle=False) as archive,
    ):
        arrays = {name: archive[name] for name in archive.files}
    rows = {name: len(array) if array.ndim in (1, 2) else None for name, array in arrays.items()}
    if len(set(rows.values())) != 1 or None in rows.values():
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "none"
        expected = "expected (rows,) or (rows, columns), of equally many rows."
        raise ValueError(f"{path.name} holds arrays of shapes {shapes}; {expected}")
    columns = []
    for name, array in arrays.items():
        is_real = array.dtype.kind != "c"
        check_that(is_real, f"{path.name}: {name} is complex; save its real and imaginary parts as two columns.")
        if array.ndim == 1:
            columns.append(Column(name, name, array))
        else:
            columns += [Column(f"{name}{i}", name, array[:, i]) for i in range(array.shape[1])]
    return columns


def pick(columns: Sequence[Column], names: str | Sequence[str | int], what: str, label: str) -> list[Column]:
    """Find columns by name, group or position, in the order asked; "row" is their number where no column has that name.

    Args:
        columns: of the table.
        names: a list or one text with commas; a name goes before a position from 0, with −1 for the last.
        what: the argument, for the message.
        label: the file, for the message.
    """
    if isinstance(names, str):
        names = [part.strip() for part in names.split(",") if part.strip()]
    listed = ", ".join(one.name for one in columns[:20]) + (", …" if len(columns) > 20 else "")
    asked, found = {what: ",".join(map(str, names))}, list[Column]()
    for name in names:
        hits = [one for one in columns if str(name) in (one.name, one.group)]
        if not hits and _is_position(name) and -len(columns) <= int(name) < len(columns):
            hits = [columns[int(name)]]
        if not hits and name == ROW:
            hits = [Column(ROW, ROW, np.arange(len(columns[0].values)))]
        missing = f"{{{what}}}: {label} has no column {name!r}; expected one of {listed}, or a position from 0 to"
        check_that(hits, f"{missing} {len(columns) - 1}.", **asked)
        found += hits
    check_that(len(set(map(id, found))) == len(found), f"{{{what}}} names a column twice; name each once.", **asked)
    return found


def _is_position(name: str | int) -> bool:
    return isinstance(name, int) or name.lstrip("-").isdigit()
