"""``ntkspec design``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import tyro

from ntkspec.cli._shared import OfSignal, check_early, keep, load, noted, own_line, own_units
from ntkspec.config import MappingOptions
from ntkspec.progress import TerminalProgress


@dataclass(frozen=True)
class Design(OfSignal):
    """Which mapping, learning rate, steps and width to take for a signal: from theory, without training."""

    families: Annotated[tuple[str, ...], tyro.conf.arg(aliases=["--family", "--mapping"])] = ("gaussian",)
    """Families of mappings to search: gaussian, laplace, uniform, positional, nerf, tiny-cuda-nn, siren, bacon, in 1-D
    power_law; basic, none or a .json file have nothing to search."""
    scales: tuple[float, ...] = ()
    """Scales to try; by default twelve that suit the spacing of the points."""
    options: Annotated[MappingOptions, tyro.conf.arg(name=""), tyro.conf.FlagCreatePairsOff] = field(
        default_factory=MappingOptions
    )
    depths: tuple[int, ...] = (3,)
    """Hidden layers to try."""
    activations: Annotated[tuple[str, ...], tyro.conf.arg(aliases=["--activation"])] = ()
    """Activations to try: relu, gelu, tanh, sin, siren and others; by default relu, or siren behind siren."""
    W_stds: tuple[float, ...] = ()
    """Standard deviations of the weights to try, before 1/sqrt(fan-in); by default sqrt(2), or sqrt(2)/omega_0 of
    siren."""
    b_stds: tuple[float, ...] = (0.0,)
    """Standard deviations of the biases to try."""
    num_frequencies: int = 256
    """Frequencies of a mapping without levels."""
    criterion: Literal["leave_one_out", "expected", "generalised", "evidence"] = "leave_one_out"
    """What the choice is made by."""
    accuracy: float = 0.1
    """Error relative to the signal to which a finite network shall follow: the width is recommended for it."""
    seed: int = 0
    """Seed of the frequencies."""
    code: Literal["ntkspec", "jax", "torch"] = "ntkspec"
    """Which lines to print for pasting; --json holds all three."""

    def run(self) -> dict[str, Any]:
        """Search and recommend."""
        check_early(self)
        from ntkspec import plot, selection

        chosen = load(self)
        found = selection.design(
            chosen,
            families=selection.with_options(self.families, self.options.given(self.scales, self.num_frequencies)),
            depths=self.depths,
            activations=self.activations or None,
            W_stds=self.W_stds or None,
            b_stds=self.b_stds,
            num_frequencies=self.num_frequencies,
            criterion=self.criterion,
            accuracy=self.accuracy,
            seed=self.seed,
            progress=TerminalProgress(),
        )
        names = (
            "family parameter scale learning_rate steps steps_with_momentum psnr psnr_low psnr_high width width_safe"
        )
        table = found[
            ["chosen_family", "chosen_parameter", "chosen_scale", "plateau_low", "plateau_high", "open_ended"]
        ]
        return {
            "notices": list(chosen.notices),
            "verdict": found.attrs["verdict"],
            **{name: found.attrs[name] for name in names.split()},
            **own_units(chosen, found.attrs["scale"], found.attrs["scale_units"]),
            "criteria": table.to_dataframe().reset_index().to_dict("records"),
            "lines": {name: found.attrs[f"lines_{name}"] for name in ("ntkspec", "jax", "torch")},
            "code": self.code,
            "files": keep(self.out, "design", found, lambda: plot.design(found)[0]),
        }

    @staticmethod
    def text(result: dict[str, Any]) -> str:
        """Return the verdict, what each criterion would choose, and lines to paste."""
        lines = [result["verdict"], ""]
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
        return noted(result, [*lines, "", code])
