"""``ntkspec validate``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from ntkspec.cli.shared import AsJson, Signal, keep, problems
from ntkspec.config import StudyConfig
from ntkspec.progress import TerminalProgress

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Validate:
    """Train finite networks on a signal and say how far the prediction holds."""

    signal: Signal = None
    size: int = 32
    """Longest side of an image in pixels: training is real work."""
    length: int = 128
    """Longest 1-D signal in samples."""
    steps: tuple[int, ...] = ()
    """Training steps to compare at; by default eight up to 400."""
    seeds: int = 4
    """Networks to train."""
    tolerance: float = 0.05
    """Error, relative to the signal, up to which the theory is said to hold."""
    out: Path | None = None
    """Write validation.nc and validation.png to this directory."""
    study: Annotated[StudyConfig, tyro.conf.arg(name="")] = field(default_factory=StudyConfig)
    json: AsJson = False
    """Print the result as one JSON object."""

    def run(self) -> dict[str, Any]:
        """Predict, train at the best scale, compare."""
        from ntkspec import plot, study

        task, by_scale = problems(self)
        steps = self.steps or study.TRAINED_STEPS
        progress = TerminalProgress()
        scale, _ = study.best(study.predictions(by_scale, steps, progress=progress))
        options: dict = {"seeds": self.seeds, "seed": self.study.seed, "tolerance": self.tolerance}
        found = study.check("signal", task.name, by_scale[scale], steps, progress=progress, **options)
        return {
            "notices": list(task.notices),
            "scale": scale,
            "learning_rate": by_scale[scale].learning_rate,
            **check_summary(found.validation),
            "files": keep(self.out, "validation", found.validation, lambda: plot.validation(found.validation)),
        }

    @staticmethod
    def text(result: dict[str, Any]) -> str:
        """Errors by step, and the verdict."""
        lines = [*(f"note: {notice}" for notice in result["notices"])]
        lines.append(f"scale {result['scale']:g}, learning rate {result['learning_rate']:.4g}")
        lines.append(f"{'step':>8} {'error':>8} {'± s.e.':>8} {'of mean':>8}")
        rows = zip(result["step"], result["error"], result["error_sem"], result["ensemble_error"], strict=True)
        lines += [f"{step:8,} {error:8.2%} {sem:8.2%} {mean:8.2%}" for step, error, sem, mean in rows]
        return "\n".join([*lines, result["verdict"], *result["files"]])


def check_summary(v: xr.Dataset) -> dict[str, Any]:
    """A validation as JSON holds it."""
    curves = ("error", "error_sem", "ensemble_error", "spread")
    return {
        "verdict": v.attrs["verdict"],
        "holds_until_step": int(v.attrs["holds_until_step"]),
        "tolerance": float(v.attrs["tolerance"]),
        "width": int(v.attrs["width"]),
        "step": v.step.values.tolist(),
        **{name: v[name].values.tolist() for name in curves},
    }
