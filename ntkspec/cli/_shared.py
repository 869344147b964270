"""What the commands share: their common options, early refusals, and what they write."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from ntkspec.config import StudyConfig

if TYPE_CHECKING:
    import xarray as xr

    from ntkspec.study import Problem
    from ntkspec.task import Scattered, Task

__all__ = [
    "AsJson",
    "OfSignal",
    "OfStudy",
    "check_early",
    "keep",
    "load",
    "noted",
    "own_line",
    "own_units",
    "plain",
    "problems",
]

AsJson = Annotated[bool, tyro.conf.FlagCreatePairsOff]


@dataclass(frozen=True)
class Columns:
    """Columns of a table of points; without coordinates, a single column is a signal of evenly spaced samples."""

    inputs: str | None = None
    """Coordinate columns of a table, by name or position from 0, with commas (x,y), or row for the row's number; by
    default all that are not values."""
    outputs: str | None = None
    """Value columns of a table, likewise; by default the last."""
    held_out: str | None = None
    """Share of a table's points to judge by, drawn by --seed, or the column that says which (test, 1 or true); by
    default 0.2."""


@dataclass(frozen=True)
class OfSignal:
    """A command on a signal."""

    signal: Annotated[
        Path | None,
        tyro.conf.Positional,
        tyro.conf.arg(
            metavar="[SIGNAL]",
            help="An image, a 1-D signal (.npy, .wav), or points (.csv, .npz, .parquet); an astronaut if left out.",
        ),
    ] = None
    size: int = 128
    """Longest side of an image in pixels; larger ones are scaled down."""
    length: int = 2048
    """Longest 1-D signal in samples; longer ones are scaled down."""
    white: float | None = None
    """Level of white of an image file, such as 4095; by default the largest number of its depth."""
    table: Annotated[Columns, tyro.conf.arg(name="")] = field(default_factory=Columns)
    out: Path | None = None
    """Write the result (.nc) and its picture (.png) to this directory."""
    json: AsJson = False
    """Print the result as one JSON object."""


@dataclass(frozen=True)
class OfStudy(OfSignal):
    """A command on a signal behind a mapping and a network."""

    study: Annotated[StudyConfig, tyro.conf.arg(name=""), tyro.conf.FlagCreatePairsOff] = field(
        default_factory=StudyConfig
    )


def noted(result: dict[str, Any], lines: list[str]) -> str:
    """Return the text of a result: its notices, lines and files."""
    return "\n".join([*(f"note: {notice}" for notice in result["notices"]), *lines, *result.get("files", [])])


def check_early(command: Any) -> None:
    """Refuse what can be refused before any work."""
    from ntkspec.checks import check_seed, check_sizes, check_steps
    from ntkspec.record import check_writable
    from ntkspec.task._task import MIN_SIDE

    if command.out is not None:
        check_writable(command.out)
    names = ("seeds", "num_modes")
    check_sizes(**{name: getattr(command, name) for name in names if hasattr(command, name)})
    check_sizes(MIN_SIDE, size=command.size, length=command.length)
    check_seed(getattr(getattr(command, "study", command), "seed", 0))
    part = getattr(command, "steps_to", None)
    if part is not None and not 0 < part < 1:
        raise ValueError(f"steps_to={part}; expected between 0 and 1, such as 0.1: the part still to be learned")
    if getattr(command, "steps", ()):
        check_steps(command.steps)


def load(command: Any) -> Task | Scattered:
    """Return the signal that a command was given, at its sizes."""
    from ntkspec import task

    seed = getattr(command, "study", command).seed
    options = {"white": command.white, "seed": seed, **asdict(command.table)}
    return task.load(command.signal, max_size=command.size, max_length=command.length, **options)


def own_units(chosen: Task | Scattered, scale: float, units: str) -> dict[str, Any]:
    """Return a scale in cycles per unit of each column of points, as JSON holds it; nothing for others."""
    if chosen.shape is not None or units != "cycles per unit":
        return {}
    return {"scale_in_own_units": chosen.per_own_unit(scale)}


def own_line(result: dict[str, Any]) -> list[str]:
    """Return what `own_units` found, in one line."""
    found = result.get("scale_in_own_units", {})
    words = ", ".join(f"{frequency:.4g} per unit of {name}" for name, frequency in found.items())
    return [f"that scale in cycles per unit of each column: {words}"] if found else []


def problems(command: Any) -> tuple[Task | Scattered, dict[float, Problem]]:
    """Return the signal that a command was given, and its problem at each scale."""
    from ntkspec import study

    check_early(command)
    chosen = load(command)
    found = study.problems(chosen, command.study)
    return study.noted(chosen, found), found


def keep(out: Path | None, name: str, dataset: xr.Dataset, draw: Any) -> list[str]:
    """Write a result and its picture into a directory, each by rename; nothing where none was asked for."""
    if out is None:
        return []
    from ntkspec import record

    picture, table = out / f"{name}.png", out / f"{name}.nc"
    with record.replace_file(picture) as temporary:
        draw().figure.savefig(temporary, dpi=150, bbox_inches="tight")
        record.save(dataset, table)
    return [str(table), str(picture)]


def plain(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become null."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
