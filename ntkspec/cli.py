"""The command line: ``ntkspec report``, ``spectrum``, ``predict`` and ``validate``.

Only settings are imported here, so that ``--help`` answers at once; each command imports what it runs.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import re
import sys
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from ntkspec.config import StudyConfig
from ntkspec.progress import TerminalProgress

if TYPE_CHECKING:
    import xarray as xr

    from ntkspec.study import Problem
    from ntkspec.task import Task

__all__ = ["main"]

Signal = Annotated[
    Path | None,
    tyro.conf.Positional,
    tyro.conf.arg(metavar="[SIGNAL]", help="An image, or a 1-D signal as .npy or .wav; an astronaut if left out."),
]
AsJson = Annotated[bool, tyro.conf.FlagCreatePairsOff]


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
    seeds: int = 4
    """Networks trained on each problem."""
    study: Annotated[StudyConfig, tyro.conf.arg(name="")] = field(default_factory=StudyConfig)
    json: AsJson = False
    """Print the result as one JSON object."""

    def run(self) -> dict[str, Any]:
        """Do the whole job."""
        from ntkspec import report, study, task
        from ntkspec.report.page import refuse_foreign

        refuse_foreign(self.out)
        _check_early(self)
        chosen = task.load(self.signal, max_size=self.size, max_length=self.length)
        small = task.load(self.signal, max_size=min(32, self.size), max_length=min(128, self.length))
        found = study.run(chosen, small, self.study, seeds=self.seeds, progress=TerminalProgress())
        page = report.write(found, self.out)
        return {
            "verdict": found.verdict,
            "best_scale": found.best_scale,
            "best_step": found.best_step,
            "checks": {one.name: _check_summary(one.validation) for one in found.checks},
            "notices": list(chosen.notices),
            "report": str(page),
            "results": str(page.with_name("results.nc")),
            "figures": str(page.with_name("figures")),
        }

    @staticmethod
    def text(result: dict[str, Any]) -> str:
        """The verdict, and where to look."""
        lines = [*(f"note: {notice}" for notice in result["notices"]), result["verdict"], ""]
        return "\n".join([*lines, *(f"{name:8} {result[name]}" for name in ("report", "results", "figures"))])


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues and bandwidth of the kernel on a signal's training points, for each scale."""

    signal: Signal = None
    size: int = 128
    """Longest side of an image in pixels."""
    length: int = 2048
    """Longest 1-D signal in samples."""
    num_modes: int = 64
    """How many of the largest eigenvalues."""
    steps_to: float | None = None
    """Also print in how many steps each frequency is learned, up to this part of it: 0.1 leaves a tenth."""
    out: Path | None = None
    """Write spectrum.nc and spectrum.png to this directory."""
    study: Annotated[StudyConfig, tyro.conf.arg(name="")] = field(default_factory=StudyConfig)
    json: AsJson = False
    """Print the result as one JSON object."""

    def run(self) -> dict[str, Any]:
        """Decompose."""
        from ntkspec import eigen, plot, study

        task, problems = _problems(self)
        s, b = study.spectra(problems, num_modes=self.num_modes, progress=TerminalProgress())
        by_scale: dict[Hashable, xr.Dataset] = {f"scale {scale:g}": s.sel(scale=scale) for scale in s.scale.values}
        summaries = [_spectrum_summary(s.sel(scale=scale), b.sel(scale=scale)) for scale in s.scale.values]
        if self.steps_to is not None:
            for scale, one in zip(s.scale.values, summaries, strict=True):
                rate = problems[scale].learning_rate
                one["learning"] = _learning(eigen.steps_to(s.sel(scale=scale), self.steps_to, learning_rate=rate))
        return {
            "notices": list(task.notices),
            "num_points": s.attrs["num_points"],
            "scales": summaries,
            "files": _keep(self.out, "spectrum", s, lambda: plot.spectrum(by_scale)),
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
            lines += _learning_table(one["learning"]) if "learning" in one else []
        return "\n".join([*lines, *result["files"]])


@dataclass(frozen=True)
class Predict:
    """The predicted training trajectory of a signal, for each scale: no training is done."""

    signal: Signal = None
    size: int = 128
    """Longest side of an image in pixels."""
    length: int = 2048
    """Longest 1-D signal in samples."""
    steps: tuple[int, ...] = ()
    """Training steps to report; by default twelve up to 100,000."""
    out: Path | None = None
    """Write prediction.nc and prediction.png to this directory."""
    study: Annotated[StudyConfig, tyro.conf.arg(name="")] = field(default_factory=StudyConfig)
    json: AsJson = False
    """Print the result as one JSON object."""

    def run(self) -> dict[str, Any]:
        """Predict."""
        from ntkspec import plot, study

        task, problems = _problems(self)
        p = study.predictions(problems, self.steps or study.PREDICTED_STEPS, progress=TerminalProgress())
        scale, step = study.best(p)
        return {
            "notices": list(task.notices),
            "best_scale": scale,
            "best_step": step,
            "scales": [_prediction_summary(p.sel(scale=scale)) for scale in p.scale.values],
            "files": _keep(self.out, "prediction", p, lambda: plot.prediction(p.sel(scale=scale), step=step)),
        }

    @staticmethod
    def text(result: dict[str, Any]) -> str:
        """A table of PSNR by step and scale."""
        lines = [*(f"note: {notice}" for notice in result["notices"])]
        for one in result["scales"]:
            lines.append(f"scale {one['scale']:g}, learning rate {one['learning_rate']:.4g}")
            lines.append(f"{'step':>10} {'train dB':>9} {'test dB':>9}   error bound")
            for i, step in enumerate(one["step"]):
                test = one["test_psnr"][i] if "test_psnr" in one else math.nan
                lines.append(f"{step:10,} {one['train_psnr'][i]:9.2f} {test:9.2f}   {one['error_bound'][i]:.0e}")
        lines.append(f"best: scale {result['best_scale']:g} at step {result['best_step']:,}")
        return "\n".join([*lines, *result["files"]])


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

        task, problems = _problems(self)
        steps = self.steps or study.TRAINED_STEPS
        progress = TerminalProgress()
        scale, _ = study.best(study.predictions(problems, steps, progress=progress))
        options: dict = {"seeds": self.seeds, "seed": self.study.seed, "tolerance": self.tolerance}
        found = study.check("signal", task.name, problems[scale], steps, progress=progress, **options)
        return {
            "notices": list(task.notices),
            "scale": scale,
            "learning_rate": problems[scale].learning_rate,
            **_check_summary(found.validation),
            "files": _keep(self.out, "validation", found.validation, lambda: plot.validation(found.validation)),
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


Command = Report | Spectrum | Predict | Validate
COMMANDS: dict[str, Callable[..., Any]] = {
    "report": Report,
    "spectrum": Spectrum,
    "predict": Predict,
    "validate": Validate,
}


def main(arguments: list[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: without the program's name; None takes the process's.

    Returns:
        The exit status: 0, or 2 for bad input, which is told in one line on standard error.
    """
    parsed = _parse(sys.argv[1:] if arguments is None else arguments)
    if isinstance(parsed, int):
        return parsed
    try:
        result = parsed.run()
    except (ValueError, OSError, FloatingPointError) as error:
        return _refuse(str(error))
    print(json.dumps(_plain(result), allow_nan=False) if parsed.json else parsed.text(result))
    return 0


def _parse(arguments: list[str]) -> Command | int:
    """The command, or the exit status of `--help` (0) or of arguments that do not fit (2)."""
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.extras.subcommand_cli_from_dict(
                COMMANDS,
                prog="ntkspec",
                args=arguments,
                description="Which frequencies a coordinate network will learn, how fast, and whether to trust that.",
                config=(tyro.conf.OmitArgPrefixes,),
            )
    except SystemExit as end:
        if end.code in (0, None):
            return 0
    words = " ".join(re.sub(r"\x1b\[[0-9;]*m|[╭╮╰╯│─]", " ", complaint.getvalue()).split())
    # What tyro frames in a box: a title, then the complaint, then where to find help.
    words = re.sub(r"^(Unrecognized options|Value error|Required options|Parsing error)\s+", "", words)
    words = re.split(r"\s*(?:Argument helptext|For full helptext|─)", words)[0].rstrip(" :")
    return _refuse(f"{words}; SIGNAL comes before options that take several values (see ntkspec COMMAND --help)")


def _refuse(message: str) -> int:
    print("ntkspec: " + " ".join(message.split()), file=sys.stderr)
    return 2


def _check_early(command: Command) -> None:
    """Refuse what can be refused before any work."""
    from ntkspec.checks import check_sizes, check_steps
    from ntkspec.record import check_writable

    if command.out is not None:
        check_writable(command.out)
    names = ("seeds", "num_modes", "size", "length")
    check_sizes(**{name: getattr(command, name) for name in names if hasattr(command, name)})
    part = getattr(command, "steps_to", None)
    if part is not None and not 0 < part < 1:
        raise ValueError(f"steps_to={part}; expected between 0 and 1, such as 0.1: the part still to be learned")
    if getattr(command, "steps", ()):
        check_steps(command.steps)  # type: ignore[union-attr]  # only two of the commands have steps


def _problems(command: Spectrum | Predict | Validate) -> tuple[Task, dict[float, Problem]]:
    from ntkspec import study, task

    _check_early(command)
    chosen = task.load(command.signal, max_size=command.size, max_length=command.length)
    return chosen, study.problems(chosen, command.study)


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


def _learning(table: xr.Dataset) -> dict[str, Any]:
    """Steps of each mode, and the first and last at each frequency."""
    return {
        **{name: float(table.attrs[name]) for name in ("epsilon", "learning_rate", "max_learning_rate")},
        **{name: table[name].values.tolist() for name in ("steps", "steps_at_most")},
        "by_frequency": table[["modes", "fastest", "slowest"]].to_dataframe().reset_index().to_dict("records"),
    }


def _learning_table(learning: dict[str, Any]) -> list[str]:
    part, rate = learning["epsilon"], learning["learning_rate"]
    lines = [f"    steps until {part:g} of a mode is left, gradient descent at learning rate {rate:.4g}:"]
    lines.append(f"    {'cycles per unit':>15} {'modes':>6} {'fastest':>12} {'slowest':>12}")
    for row in learning["by_frequency"]:
        # Infinity where it is never learned.
        lines.append(f"    {row['frequency']:15.4g} {row['modes']:6,} {row['fastest']:12,.0f} {row['slowest']:12,.0f}")
    return lines


def _prediction_summary(p: xr.Dataset) -> dict[str, Any]:
    curves = {name: p[name].values.tolist() for name in ("train_psnr", "test_psnr", "loss", "error_bound") if name in p}
    return {
        "scale": float(p.scale),
        "learning_rate": float(p.learning_rate),
        "step": p.step.values.tolist(),
        **curves,
    }


def _check_summary(v: xr.Dataset) -> dict[str, Any]:
    curves = ("error", "error_sem", "ensemble_error", "spread")
    return {
        "verdict": v.attrs["verdict"],
        "holds_until_step": int(v.attrs["holds_until_step"]),
        "tolerance": float(v.attrs["tolerance"]),
        "width": int(v.attrs["width"]),
        "step": v.step.values.tolist(),
        **{name: v[name].values.tolist() for name in curves},
    }


def _keep(out: Path | None, name: str, dataset: xr.Dataset, draw: Any) -> list[str]:
    """Write a result and its picture into a directory, each by rename; nothing where none was asked for."""
    if out is None:
        return []
    from ntkspec import record

    picture, table = out / f"{name}.png", out / f"{name}.nc"
    with record.replace_file(picture) as temporary:
        draw().figure.savefig(temporary, dpi=150, bbox_inches="tight")
        record.save(dataset, table)
    return [str(table), str(picture)]


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become null."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
