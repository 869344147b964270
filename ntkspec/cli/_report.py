"""``ntkspec report``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from ntkspec.cli._shared import AsJson, Columns, Signal, Table, check_early, load, own_line, own_units
from ntkspec.cli._validate import summary_of_check
from ntkspec.config import StudyConfig
from ntkspec.progress import TerminalProgress


@dataclass(frozen=True)
class Report:
    """Predict a signal at several scales, train to check, and write a page that says what was found."""

    signal: Signal = None
    out: Path = Path("report")
    """Directory of report.html, results.nc and figures/; an earlier report there is replaced."""
    size: int = 128
    """Longest side of an image in pixels; larger ones are scaled down."""
    length: int = 2048
    """Longest 1-D signal in samples; longer ones are scaled down."""
    white: float | None = None
    """Level of white of an image file, such as 4095; by default the largest number of its depth."""
    table: Table = field(default_factory=Columns)
    seeds: int = 4
    """Networks trained on each problem."""
    study: Annotated[StudyConfig, tyro.conf.arg(name="")] = field(default_factory=StudyConfig)
    json: AsJson = False
    """Print the result as one JSON object."""

    def run(self) -> dict[str, Any]:
        """Do the whole job."""
        from ntkspec import report, study
        from ntkspec.report._page import refuse_foreign

        refuse_foreign(self.out)
        check_early(self)
        chosen = load(self)
        found = study.run(chosen, self.study, seeds=self.seeds, progress=TerminalProgress())
        page = report.write(found, self.out)
        return {
            "verdict": found.verdict,
            "best_scale": found.best_scale,
            "best_step": found.best_step,
            "checks": {one.name: {**summary_of_check(one), "notices": list(one.notices)} for one in found.checks},
            "unchecked": found.unchecked,
            **own_units(chosen, found.best_scale),
            "notices": list(chosen.notices),
            "report": str(page),
            "results": str(page.with_name("results.nc")),
            "figures": str(page.with_name("figures")),
        }

    @staticmethod
    def text(result: dict[str, Any]) -> str:
        """Return the verdict, and where to look."""
        lines = [*(f"note: {notice}" for notice in result["notices"])]
        lines += [f"note: check: {notice}" for one in result["checks"].values() for notice in one["notices"]]
        lines += [result["verdict"], *own_line(result), ""]
        return "\n".join([*lines, *(f"{name:8} {result[name]}" for name in ("report", "results", "figures"))])
