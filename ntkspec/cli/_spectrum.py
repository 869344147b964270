"""``ntkspec spectrum``, with ``--steps-to`` also when each frequency is learned."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ntkspec.cli._shared import OfStudy, keep, noted, problems
from ntkspec.progress import TerminalProgress

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Spectrum(OfStudy):
    """Eigenvalues and bandwidth of the kernel on a signal's training points, for each scale."""

    num_modes: int = 64
    """How many of the largest eigenvalues."""
    steps_to: float | None = None
    """Also print in how many steps each frequency is learned, up to this part of it (0.1 leaves a tenth), and what the
    learning rate means under the summed and the mean loss."""

    def run(self) -> dict[str, Any]:
        """Decompose."""
        from ntkspec import eigen, plot, study

        task, found = problems(self)
        s, b = study.spectra(found, num_modes=self.num_modes, progress=TerminalProgress())
        by_scale: dict[Hashable, xr.Dataset] = {one.label: s.sel(scale=scale) for scale, one in found.items()}
        summaries = [
            {"label": one.label, **_spectrum_summary(s.sel(scale=scale), b.sel(scale=scale))}
            for scale, one in found.items()
        ]
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
        lines = []
        for one in result["scales"]:
            width = one["full_width_half_maximum"]
            lines.append(
                f"{one['label']}: effective rank {one['effective_rank']:.3g} of {result['num_points']:,}, "
                # A kernel that is no function of the lag has no width.
                + (f"kernel width {width:.3g}, " if math.isfinite(width) else "")
                + f"learning rate below {one['max_learning_rate']:.4g}"
            )
            for mode in one["modes"][:8]:
                place = ", ".join(f"{f:g}" for f in mode["dominant_frequency"])
                lines.append(
                    f"    {mode['eigenvalue']:12.5g} ± {mode['eigenvalue_error']:.0e}   at ({place}) cycles per unit"
                )
            lines += learning_lines(one["learning"]) if "learning" in one else []
        return noted(result, lines)


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


#: Rows of the table at most; its frequencies are merged to about equal ratios.
ROWS = 16


def learning(table: xr.Dataset, stability: xr.Dataset) -> dict[str, Any]:
    """Return the steps of each mode, the first and last of every frequency, and the learning rate under both losses."""
    bands = table[["waves", "modes", "fastest", "slowest", "by_eigenvalue"]]
    return {
        **{name: float(table.attrs[name]) for name in ("epsilon", "learning_rate", "max_learning_rate")},
        **{name: table[name].values.tolist() for name in ("steps", "steps_at_most")},
        "num_points": int(stability.attrs["num_points"]),
        "by_loss": stability.to_dataframe().reset_index().to_dict("records"),
        "by_frequency": bands.to_dataframe().reset_index().to_dict("records"),
    }


def learning_lines(found: dict[str, Any]) -> list[str]:
    """Return the table, a row a range of frequencies, after a line for each loss."""
    header = ("loss", "stable below", "learning rate", "sharpness", "edge of stability", "flow time of a step")
    lines = ["    " + "  ".join(f"{word:>{len(word)}}" for word in header)]
    lines += [_of_loss(one, header, found["num_points"]) for one in found["by_loss"]]
    lines.append("    (sharpness is λ_max of the loss; the edge is where it would make that learning rate diverge)")
    lines.append(f"    steps until {found['epsilon']:g} of a frequency is left, gradient descent at either rate:")
    lines.append(f"    {'cycles per unit':>17} {'waves':>9} {'fastest':>12} {'slowest':>12}   known from")
    for rows in _merged(found["by_frequency"], ROWS):
        low, high = rows[0]["frequency"], rows[-1]["frequency"]
        place = f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
        known = [row["by_eigenvalue"] for row in rows]
        source = "eigenvalues" if all(known) else "both" if any(known) else "plane waves"
        fastest, slowest = min(row["fastest"] for row in rows), max(row["slowest"] for row in rows)
        waves = sum(row["waves"] for row in rows)
        lines.append(f"    {place:>17} {waves:9,} {_steps(fastest):>12} {_steps(slowest):>12}   {source}")
    if not all(row["by_eigenvalue"] for row in found["by_frequency"]):
        lines.append(
            "    (plane waves by their Rayleigh quotient, the rate at which they start to be learned; a mask or"
        )
        lines.append("    a boundary makes their last part slower: --num-modes gives more eigenvalues)")
    return lines


def _of_loss(one: dict[str, Any], header: tuple[str, ...], num_points: int) -> str:
    names = ("max_learning_rate", "learning_rate", "sharpness", "edge_of_stability", "flow_time_of_a_step")
    values = [one["loss"], *(f"{one[name]:.4g}" for name in names)]
    # ½ mean of squares is ½ Σ over n, so a step of its rate is n times shorter.
    of = {"sum": "½ Σ (f − y)²", "mean": f"½ mean: time is rate / {num_points:,}"}[one["loss"]]
    return "    " + "  ".join(f"{v:>{len(word)}}" for v, word in zip(values, header, strict=True)) + f"  {of}"


def _steps(value: float) -> str:
    return f"{value:,.0f}" if math.isfinite(value) else "never"


def _merged(rows: list[dict[str, Any]], count: int) -> list[list[dict[str, Any]]]:
    """Rows in at most so many runs, one by one at first and then of about equal ratio."""
    if len(rows) <= count:
        return [[row] for row in rows]
    ends, position = [], 0
    for left in range(count, 0, -1):
        # What is left in equal ratios; a run has at least one row.
        ratio = (len(rows) / max(position, 1)) ** (1 / left)
        position = len(rows) if left == 1 else max(position + 1, round(max(position, 1) * ratio))
        ends.append(min(position, len(rows)))
    starts = [0, *ends[:-1]]
    return [rows[start:end] for start, end in zip(starts, ends, strict=True) if end > start]
