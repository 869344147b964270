"""``ntkspec spectrum``."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from ntkspec.cli._learning import learning, learning_lines
from ntkspec.cli._shared import AsJson, Columns, Signal, Table, keep, problems
from ntkspec.config import StudyConfig
from ntkspec.progress import TerminalProgress

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues and bandwidth of the kernel on a signal's training points, for each scale."""

    signal: Signal = None
    size: int = 128
    """Longest side of an image in pixels."""
    length: int = 2048
    """Longest 1-D signal in samples."""
    white: float | None = None
    """Level of white of an image file, such as 4095; by default the largest number of its depth."""
    table: Table = field(default_factory=Columns)
    num_modes: int = 64
    """How many of the largest eigenvalues."""
    steps_to: float | None = None
    """Also print in how many steps each frequency is learned, up to this part of it (0.1 leaves a tenth), and what the
    learning rate means under the summed and the mean loss."""
    out: Path | None = None
    """Write spectrum.nc and spectrum.png to this directory."""
    study: Annotated[StudyConfig, tyro.conf.arg(name="")] = field(default_factory=StudyConfig)
    json: AsJson = False
    """Print the result as one JSON object."""

    def run(self) -> dict[str, Any]:
        """Decompose."""
        from ntkspec import eigen, plot, study

        task, found = problems(self)
        s, b = study.spectra(found, num_modes=self.num_modes, progress=TerminalProgress())
        by_scale: dict[Hashable, xr.Dataset] = {f"scale {scale:g}": s.sel(scale=scale) for scale in s.scale.values}
        summaries = [_spectrum_summary(s.sel(scale=scale), b.sel(scale=scale)) for scale in s.scale.values]
        if self.steps_to is not None:
            for scale, one in zip(s.scale.values, summaries, strict=True):
                rate = found[scale].learning_rate
                here = s.sel(scale=scale)
                one["learning"] = learning(
                    eigen.steps_to(here, self.steps_to, learning_rate=rate),
                    eigen.stability(here, learning_rate=rate),
                )

        def draw() -> Any:
            # Scattered points have no frequencies.
            return plot.spectrum(by_scale, against="frequency" if next(iter(found.values())).K.placement else "mode")

        return {
            "notices": list(task.notices),
            "num_points": s.attrs["num_points"],
            "scales": summaries,
            "files": keep(self.out, "spectrum", s, draw),
        }

    @staticmethod
    def text(result: dict[str, Any]) -> str:
        """One line a scale, one line a leading frequency."""
        lines = [*(f"note: {notice}" for notice in result["notices"])]
        for one in result["scales"]:
            lines.append(
                f"scale {one['scale']:g}: effective rank {one['effective_rank']:.3g} of {result['num_points']:,}, "
                f"kernel width {one['full_width_half_maximum']:.3g}, learning rate below {one['max_learning_rate']:.4g}"
            )
            for mode in one["modes"][:8]:
                place = ", ".join(f"{f:g}" for f in mode["dominant_frequency"])
                lines.append(
                    f"    {mode['eigenvalue']:12.5g} ± {mode['eigenvalue_error']:.0e}   at ({place}) cycles per unit"
                )
            lines += learning_lines(one["learning"]) if "learning" in one else []
        return "\n".join([*lines, *result["files"]])


def _spectrum_summary(s: xr.Dataset, b: xr.Dataset) -> dict[str, Any]:
    modes = [
        {
            "eigenvalue": float(s.eigenvalue[i]),
            "eigenvalue_error": float(s.eigenvalue_error[i]),
            "multiplicity": int(s.multiplicity[i]),
            "dominant_frequency": s.dominant_frequency[i].values.tolist(),
            "dominant_power": float(s.dominant_power[i]),
        }
        for i in range(s.sizes["mode"])
    ]
    measures = {str(name): b[name].item() for name in b.data_vars}
    return {
        "scale": float(s.scale),
        "max_learning_rate": 2 / modes[0]["eigenvalue"],
        **measures,
        "modes": modes,
    }
