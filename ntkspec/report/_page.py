"""One self-contained page from figures and tables, and the rename that puts a finished report in place."""

from __future__ import annotations

import base64
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal

import jinja2
import matplotlib
import matplotlib.figure
import matplotlib.pyplot as plt
import numpy as np
from markupsafe import Markup

from ntkspec import limits

PAGE = "report.html"
_MARK = '<meta name="generator" content="ntkspec">'


@dataclass(frozen=True)
class Figure:
    """A picture of the page.

    Attributes:
        name: of its files, `figures/NAME.png` and `.svg`: letters, digits, `-` and `_`.
        caption: the sentence under it.
        drawing: a matplotlib Axes, an array of Axes of one figure, or a matplotlib Figure.
        alt: what a reader who cannot see it should know; the caption if empty.
    """

    name: str
    caption: str
    drawing: Any
    alt: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the page.

    Attributes:
        caption: the sentence above it.
        columns: their headings.
        rows: of cells: text, numbers, booleans, or None for an empty one.
        units: of each column, empty where it has none; none at all if empty.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    units: Sequence[str] = ()


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        title: its heading.
        text: plain text; an empty line starts a paragraph.
        items: figures and tables, in order.
    """

    title: str
    text: str = ""
    items: Sequence[Figure | Table] = ()


def write_page(
    directory: str | os.PathLike[str],
    *,
    title: str,
    verdict: str,
    tone: Literal["neutral", "good", "caution"] = "neutral",
    lead: str = "",
    sections: Sequence[Section] = (),
    notices: Sequence[str] = (),
    details: Mapping[str, Mapping[str, object] | str] | None = None,
) -> Path:
    """Write `report.html`, which needs no other file, and each figure as PNG and SVG under `figures/`.

    Args:
        directory: exists; see `replacing` for a safe way to fill it.
        title: of the page.
        verdict: the answer, in the box on top.
        tone: the colour of that box.
        lead: what was asked and how it was answered; an empty line starts a paragraph.
        sections: the body, in order.
        notices: warnings that a reader should not miss.
        details: folded blocks under the body, {heading: {name: value} or text}: configuration, versions.

    Returns:
        The path of the page. Its figures are closed in pyplot, so that many reports do not fill the memory.

    Raises:
        ValueError: two figures share a name, a name is no file name, or a table is not rectangular.
    """
    directory = Path(directory)
    items = [item for section in sections for item in section.items]
    _check(items)
    (directory / "figures").mkdir(exist_ok=True)
    sources = {item.name: _save(item, directory / "figures") for item in items if isinstance(item, Figure)}
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"paragraphs": _paragraphs, "cell": _cell, "numeric_columns": _numeric_columns}
    environment.tests["figure"] = lambda item: isinstance(item, Figure)
    html = environment.get_template("page.html").render(
        title=title, verdict=verdict, tone=tone, lead=lead, sections=sections, notices=notices,
        details=details or {}, sources=sources, mark=Markup(_MARK),
    )  # fmt: skip
    page = directory / PAGE
    page.write_text(html, encoding="utf-8")
    return page


@contextmanager
def replacing(directory: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary directory that becomes `directory` if the block succeeds, and vanishes if it fails.

    Args:
        directory: absent, empty, or an earlier report, which stays as it is until the new one is whole.

    Yields:
        The temporary directory, beside the final one so that the last step is a rename.

    Raises:
        ValueError: it is a file, something else than a report, or holds the current working directory.

    Example:
        >>> with tempfile.TemporaryDirectory() as home:
        ...     with replacing(Path(home) / "report") as fresh:
        ...         path = write_page(fresh, title="A kernel", verdict="It learns up to 12 cycles per unit.")
        ...     sorted(entry.name for entry in (Path(home) / "report").iterdir())
        ['figures', 'report.html']
    """
    target = Path(directory).resolve()
    refuse_foreign(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}-new-", dir=target.parent))
    try:
        yield fresh
        # A temporary directory is private to its owner; a report is as open as any directory they make.
        fresh.chmod(target.stat().st_mode & 0o777 if target.exists() else 0o777 & ~_umask())
        refuse_foreign(target)
        _swap(fresh, target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def refuse_foreign(target: Path) -> None:
    """Raise ValueError unless the target may be replaced."""
    if not target.exists():
        return
    if not target.is_dir():
        raise ValueError(f"`{target}` is a file, expected a directory for the report; choose another path.")
    if Path.cwd().is_relative_to(target):
        raise ValueError(
            f"`{target}` holds the current working directory and cannot be replaced; choose a directory "
            f"in it, for example `{target / 'report'}`."
        )
    page = target / PAGE
    ours = page.is_file() and _MARK in page.read_text(encoding="utf-8", errors="replace")[:4000]
    if not ours and any(target.iterdir()):
        raise ValueError(
            f"`{target}` is neither empty nor a report of ntkspec, so it will not be replaced; "
            "choose another directory."
        )


def _umask() -> int:
    """Return the process's file mode mask."""
    # The only portable way to read it is to set it.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _swap(fresh: Path, target: Path) -> None:
    """Rename the fresh directory to the target, whose earlier content is kept aside until that is done."""
    if not target.exists():
        fresh.rename(target)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}-old-", dir=target.parent))
    earlier = target.rename(aside / target.name)
    try:
        fresh.rename(target)
    except BaseException:
        earlier.rename(target)
        aside.rmdir()
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _check(items: Sequence[Figure | Table]) -> None:
    """Raise ValueError for figure names that clash or are no file names, and for ragged tables."""
    names = set()
    for item in items:
        if isinstance(item, Figure):
            if not re.fullmatch(r"[A-Za-z0-9_-]+", item.name):
                raise ValueError(f"`Figure` got the name {item.name!r}, expected letters, digits, `-` and `_`.")
            if item.name in names:
                raise ValueError(f"`write_page` got two figures named {item.name!r}; rename one.")
            names.add(item.name)
            continue
        for what, row in [
            ("units", item.units or item.columns),
            *(("cells in a row", row) for row in item.rows),
        ]:
            if len(row) != len(item.columns):
                raise ValueError(f"`Table` {item.caption!r} got {len(row)} {what} for {len(item.columns)} columns.")


def _save(figure: Figure, folder: Path) -> str:
    """Write the figure's files and return the data URI that the page embeds."""
    drawing = np.ravel(np.asarray(figure.drawing, dtype=object))[0]
    canvas = drawing if isinstance(drawing, matplotlib.figure.Figure) else drawing.get_figure(root=True)
    png, svg = folder / f"{figure.name}.png", folder / f"{figure.name}.svg"
    # The salt and the missing date make the same figure the same file.
    with matplotlib.rc_context({"svg.hashsalt": f"ntkspec-{figure.name}"}):
        canvas.savefig(png, dpi=150, facecolor="white", bbox_inches="tight")
        canvas.savefig(svg, dpi=150, facecolor="white", bbox_inches="tight", metadata={"Date": None})
    plt.close(canvas)
    small = svg.stat().st_size <= limits.current().svg
    kind, content = ("svg+xml", svg.read_bytes()) if small else ("png", png.read_bytes())
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _paragraphs(text: str) -> list[str]:
    """Split text at its empty lines."""
    return [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]


def _plain(value: object) -> object:
    """Return a 0-dimensional array of any library as a Python scalar."""
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


# pandas' to_html would be shorter, but has no caption, no units in a heading and no alignment of single columns.
def _numeric_columns(table: Table) -> list[bool]:
    """Return which columns hold numbers, and nothing else but empty cells: those are set flush right."""
    kinds = [
        {_is_number(row[index]) for row in table.rows if row[index] is not None} for index in range(len(table.columns))
    ]
    return [kind == {True} for kind in kinds]


def _is_number(value: object) -> bool:
    """Return whether a table cell is a number."""
    value = _plain(value)
    return isinstance(value, Real) and not isinstance(value, bool)


def _cell(value: object) -> str:
    """Return a table cell as text: numbers to four digits, nothing as a dash."""
    value = _plain(value)
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Integral):
        return f"{value:,}"
    return f"{float(value):.4g}" if isinstance(value, Real) else str(value)
