"""``ntkspec report``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ntkspec.cli._shared import OfStudy, check_early, load, noted, own_line, own_units
from ntkspec.cli._validate import summary_of_check
from ntkspec.progress import TerminalProgress


@dataclass(frozen=True)
class Report(OfStudy):
    """Predict a signal at several scales, train to check, and write a page that says what was found."""

    out: Path = Path("report")
    """Directory of report.html, results.nc and figures/; an earlier report there is replaced."""
    seeds: int = 4
    """Networks trained on each problem."""

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
            **own_units(chosen, found.best_scale, found.prediction.scale.attrs["units"]),
            "notices": list(found.task.notices),
            "report": str(page),
            "results": str(page.with_name("results.nc")),
            "figures": str(page.with_name("figures")),
        }

    @staticmethod
    def text(result: dict[str, Any]) -> str:
        """Return the verdict, and where to look."""
        lines = [f"note: check: {notice}" for one in result["checks"].values() for notice in one["notices"]]
        lines += [result["verdict"], *own_line(result), ""]
        return noted(result, [*lines, *(f"{name:8} {result[name]}" for name in ("report", "results", "figures"))])
