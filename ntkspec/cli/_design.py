"""``ntkspec design``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ntkspec.cli._shared import AsJson, Columns, Signal, Table, check_early, keep, load, own_line, own_units
from ntkspec.progress import TerminalProgress


@dataclass(frozen=True)
class Design:
    """Which mapping, learning rate, steps and width to take for a signal: from theory, without training."""

    signal: Signal = None
    size: int = 128
    """Longest side of an image in pixels."""
    length: int = 2048
    """Longest 1-D signal in samples."""
    white: float | None = None
    """Level of white of an image file, such as 4095; by default the largest number of its depth."""
    table: Table = field(default_factory=Columns)
    families: tuple[str, ...] = ("gaussian",)
    """Families of mappings to search: gaussian, laplace, uniform, positional, and in 1-D power_law."""
    scales: tuple[float, ...] = ()
    """Scales to try; by default twelve that suit the spacing of the points."""
    depths: tuple[int, ...] = (3,)
    """Hidden layers to try."""
    activations: tuple[str, ...] = ("relu",)
    """Activations to try: relu, gelu, tanh, sin, siren and others."""
    W_stds: tuple[float, ...] = (2**0.5,)
    """Standard deviations of the weights to try, before 1/sqrt(fan-in)."""
    b_stds: tuple[float, ...] = (0.0,)
    """Standard deviations of the biases to try."""
    num_frequencies: int = 256
    """Frequencies of the mapping."""
    criterion: Literal["leave_one_out", "expected", "generalised", "evidence"] = "leave_one_out"
    """What the choice is made by."""
    accuracy: float = 0.1
    """Error relative to the signal to which a finite network shall follow: the width is recommended for it."""
    seed: int = 0
    """Seed of the frequencies."""
    code: Literal["ntkspec", "jax", "torch"] = "ntkspec"
    """Which lines to print for pasting; --json holds all three."""
    out: Path | None = None
    """Write design.nc and design.png to this directory."""
    json: AsJson = False
    """Print the result as one JSON object."""

    def run(self) -> dict[str, Any]:
        """Search and recommend."""
        check_early(self)
        from ntkspec import plot, selection

        chosen = load(self)
        found = selection.design(
            chosen,
            families=self.families,
            scales=self.scales or None,
            depths=self.depths,
            activations=self.activations,
            W_stds=self.W_stds,
            b_stds=self.b_stds,
            num_frequencies=self.num_frequencies,
            criterion=self.criterion,
            accuracy=self.accuracy,
            seed=self.seed,
            progress=TerminalProgress(),
        )
        names = (
            "family",
            "scale",
            "learning_rate",
            "steps",
            "steps_with_momentum",
            "psnr",
            "psnr_low",
            "psnr_high",
            "width",
            "width_safe",
        )
        table = found[
            ["chosen_family", "chosen_parameter", "chosen_scale", "plateau_low", "plateau_high", "open_ended"]
        ]
        return {
            "notices": list(chosen.notices),
            "verdict": found.attrs["verdict"],
            **{name: found.attrs[name] for name in names},
            **own_units(chosen, found.attrs["scale"]),
            "criteria": table.to_dataframe().reset_index().to_dict("records"),
            "lines": {name: found.attrs[f"lines_{name}"] for name in ("ntkspec", "jax", "torch")},
            "code": self.code,
            "files": keep(self.out, "design", found, lambda: plot.design(found)[0]),
        }

    @staticmethod
    def text(result: dict[str, Any]) -> str:
        """Return the verdict, what each criterion would choose, and lines to paste."""
        lines = [*(f"note: {notice}" for notice in result["notices"]), result["verdict"], ""]
        lines.append(f"{'criterion':20} {'family':12} {'parameter':10} {'value':>8}   {'as good from … to'}")
        for one in result["criteria"]:
            flat = f"{one['plateau_low']:.3g} … {one['plateau_high']:.3g}"
            end = "   (the search ends there)" if one["open_ended"] else ""
            lines.append(
                f"{one['criterion'].replace('_', ' '):20} {one['chosen_family']:12} {one['chosen_parameter']:10} "
                f"{one['chosen_scale']:8.3g}   {flat}{end}"
            )
        lines += own_line(result)
        code = result["lines"][result["code"]] or f"# no lines in {result['code']} for this network"
        return "\n".join([*lines, "", code, *result["files"]])
