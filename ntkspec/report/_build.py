"""The report of a study: its figures, tables and sentences, in order. It computes nothing."""

from __future__ import annotations

import json
from collections.abc import Hashable
from pathlib import Path

import numpy as np
import xarray as xr

from ntkspec import plot
from ntkspec.record import configuration, save_groups, versions
from ntkspec.report._page import Figure, Section, Table, replacing, write_page
from ntkspec.study import Check, Study, first_good_step
from ntkspec.task import Scattered, Task

__all__ = ["PAGE_FILES", "write"]

#: What a report directory holds.
PAGE_FILES = ("report.html", "results.nc", "figures")


def write(study: Study, out: str | Path) -> Path:
    """Write `report.html`, `results.nc` and `figures/` of a study into a directory, all or nothing.

    An earlier report in it is replaced once the new one is whole.

    Returns:
        The path of the page.

    Raises:
        ValueError: if the directory holds something else than a report.
    """
    out = Path(out)
    with replacing(out) as directory:
        save_groups(study.datasets(), directory / "results.nc")
        write_page(
            directory,
            title=f"What a coordinate network will learn of “{study.task.name}”",
            verdict=study.verdict,
            tone="good" if study.trusted else "caution",
            lead=_lead(study),
            sections=[_frequencies(study), *_speed(study), _pictures(study), *map(_check, study.checks)],
            notices=[
                *study.task.notices,
                *(f"Check on a part: {text}" for one in study.checks for text in one.notices),
                *([f"Not checked on the signal itself: {study.unchecked}"] if study.unchecked else []),
            ],
            details=_details(study),
        )
    return out / PAGE_FILES[0]


def _lead(study: Study) -> str:
    task, network = study.task, study.config.network
    scattered = f"{len(task.train_points) + len(task.test_points):,} scattered"
    size = scattered if task.shape is None else " × ".join(map(str, task.shape))
    kinds = " and ".join(one.name for one in study.checks)
    features = study.kernels[study.best_scale].mapping.num_features
    return (
        f"{task.source}: {size} points, of which {len(task.train_points):,} train and {len(task.test_points):,} are "
        f"held out. The network has {network.depth} hidden {network.activation} layers behind the mapping "
        f"{study.config.mapping} of {features} features. Everything but the checks (on the {kinds}) is theory of the "
        "infinitely wide network: no training was done for it."
    )


def _frequencies(study: Study) -> Section:
    by_scale: dict[Hashable, xr.Dataset] = {
        label: study.spectrum.sel(scale=scale) for scale, label in study.labels.items()
    }
    kernels = {study.labels[scale]: kernel for scale, kernel in study.kernels.items() if kernel.stationary}
    measures = [
        ("effective_rank", "Effective rank"),
        ("participation_ratio", "Participation ratio"),
        ("full_width_half_maximum", "Kernel width"),
        ("half_power_frequency", "Half-power frequency"),
        ("decay_exponent", "Decay exponent"),
    ]
    rows = [
        [float(scale), *(float(study.bandwidth[name].sel(scale=scale)) for name, _ in measures)]
        for scale in study.bandwidth.scale.values
    ]
    name, unit = _number(study)
    units = [unit, *(study.bandwidth[name].attrs.get("units", "") for name, _ in measures)]
    modes, points = study.spectrum.sizes["mode"], study.spectrum.attrs["num_points"]
    return Section(
        "Which frequencies it learns",
        "Each eigenvalue of the kernel is the rate at which one pattern is learned. A narrower kernel lifts high "
        "frequencies; what it gives them it takes from low ones, since the trace stays the same.",
        [
            Figure(
                "spectrum",
                f"Points: the {modes} largest of {points:,} eigenvalues against the frequency that dominates their "
                "eigenvector. Lines: the mean rate (Rayleigh quotient) of the plane waves of each frequency."
                if study.convergence is not None
                else f"The {modes} largest of {points:,} eigenvalues; their eigenvectors have no frequencies here.",
                plot.spectrum(by_scale, against="mode" if study.convergence is None else "frequency"),
            ),
            *(
                [
                    Figure(
                        "kernel",
                        "The kernel along the first axis, relative to its value at lag 0.",
                        plot.kernel(kernels),
                    )
                ]
                if kernels
                else []
            ),
            Table(
                "Width of each kernel on the training points: kernel width is the full width at half maximum of its "
                f"lag function; half-power frequency and decay exponent are of these {modes} modes.",
                [name, *(title for _, title in measures)],
                rows,
                units,
            ),
        ],
    )


def _speed(study: Study) -> list[Section]:
    c = study.convergence
    if c is None:
        return []
    chosen = c.sel(scale=study.best_scale)
    scales = [float(scale) for scale in c.scale.values]
    rows = []
    for frequency in _present_frequencies(chosen):
        left = _relative_residual(c.sel(frequency=frequency))
        rows.append([float(frequency), *(_first_step_below(left.sel(scale=scale), 0.1) for scale in scales)])
    section = Section(
        "How fast it learns them",
        f"At {study.labels[study.best_scale]}, the part of each frequency of the signal that is still to be learned.",
        [
            Figure("convergence", "One is untouched, zero is learned.", plot.convergence(chosen)),
            Table(
                "First predicted step at which less than a tenth of the amplitude is left, of "
                f"{', '.join(f'{int(step):,}' for step in chosen.step.values)}; a dash means more.",
                ["Frequency", *(study.labels[scale].capitalize() for scale in scales)],
                rows,
                ["cycles per unit", *("steps" for _ in scales)],
            ),
        ],
    )
    return [section]


def _present_frequencies(c: xr.Dataset) -> np.ndarray:
    """Return a few frequencies that the signal holds, doubling."""
    present = c.frequency.values[c.target_energy.values > 1e-6 * float(c.target_energy.max())]
    wanted = present.max() / 2.0 ** np.arange(6)
    near = [present[np.argmin(np.abs(present - w))] for w in wanted]
    return np.unique(near)


def _relative_residual(c: xr.Dataset) -> xr.DataArray:
    return np.sqrt(c.residual_energy / c.target_energy)


def _first_step_below(left: xr.DataArray, part: float) -> int | None:
    """Return the first step from which on less than `part` is left; None where the last one is not enough."""
    below = np.asarray(left < part)
    if not below[-1]:
        return None
    above = np.flatnonzero(~below)
    return int(left.step[above[-1] + 1 if len(above) else 0])


def _pictures(study: Study) -> Section:
    p = study.prediction
    chosen = p.sel(scale=study.best_scale)
    curves = {}
    for scale in p.scale.values:
        curves[f"{study.labels[float(scale)]}, train"] = p.train_psnr.sel(scale=scale)
        if "test_psnr" in p:
            curves[f"{study.labels[float(scale)]}, test"] = p.test_psnr.sel(scale=scale)
    rows = []
    for scale in p.scale.values:
        one = p.sel(scale=scale)
        quality = one.test_psnr if "test_psnr" in one else one.train_psnr
        step = first_good_step(quality)
        rows.append([float(scale), float(one.learning_rate), step, float(quality.sel(step=step))])
    (bounds, *_) = [p[name] for name in ("field_error_bound", "unseen_error_bound", "error_bound") if name in p]
    worst = float(bounds.max())
    name, unit = _number(study)
    return Section(
        "What it will look like",
        "The whole trajectory of gradient descent, predicted on every point. "
        f"The error bound of the computation is at most {worst:.0e} of the signal.",
        [
            Figure(
                "quality",
                "Predicted PSNR. Where a training curve rises on and its test curve has stopped, the rest is fit to "
                "noise and to frequencies that the training points do not resolve.",
                plot.quality(curves),
            ),
            _learned("learned", f"Predicted at {study.labels[study.best_scale]}.", chosen, study.task, study.best_step),
            Table(
                "The first step of each scale that is within 0.1 dB of its best.",
                [
                    name,
                    "Learning rate",
                    "Step",
                    "PSNR, held out" if "test_psnr" in p else "PSNR, training",
                ],
                rows,
                [unit, "", "", "dB"],
            ),
        ],
    )


def _number(study: Study) -> tuple[str, str]:
    """Return the name of what is compared side by side, and its unit."""
    attrs = study.prediction.scale.attrs
    return attrs["long_name"].capitalize(), attrs["units"]


def _learned(name: str, caption: str, result: xr.Dataset, task: Task | Scattered, last: int | None = None) -> Figure:
    """Return the learned function at several steps up to `last`: pictures, curves, or a map of points at the last."""
    result = result.sel(step=slice(0, last))
    if not isinstance(task, Task):
        where = "held-out" if "unseen" in result else "training"
        over = f", over the first two of {task.dim} coordinates" if task.dim > 2 else ""
        return Figure(name, f"{caption} At the {where} points{over}.", plot.points(result))
    truth = task.values
    if "axis1" in result.dims:
        later = [int(step) for step in result.step.values if step > 0]
        picked = [later[int(i)] for i in np.linspace(0, len(later) - 1, 4)]
        return Figure(name, caption, plot.images(result, steps=picked, reference=truth))
    return Figure(name, caption, plot.prediction(result, reference=truth))


def _check(one: Check) -> Section:
    task, tag = one.problem.task, one.key
    same = f"{one.training.sizes['seed']} networks of width {one.training.attrs['width']}"
    first = one.training.isel(seed=0)
    figures = [
        Figure(
            f"error-{tag}",
            "Distance of the trained from the predicted function at the training points, relative to the signal.",
            # The verdict is the text right above it.
            plot.validation(
                one.validation.drop_attrs(deep=False).assign_attrs(tolerance=one.validation.attrs["tolerance"])
            ),
        ),
        *_by_frequency(one),
        _learned(f"predicted-{tag}", "Predicted.", one.prediction, task),
        _learned(f"trained-{tag}", "Trained: the first network.", first, task),
    ]
    last = int(one.validation.step[-1])
    return Section(
        f"Does it hold? The {one.name}",
        f"{' '.join([*one.notices, same])} were trained by full-batch gradient descent at learning rate "
        f"{one.problem.learning_rate:.3g} on "
        f"{len(task.train_points)} points, in {one.training.attrs['dtype']}, for {last} steps. Prediction and training "
        "start from the same function, zero (each network learns the difference from its own start), and the "
        f"prediction uses nothing of the trained networks.\n\n{one.validation.attrs['verdict']}{_held_out(one)}",
        figures,
    )


def _held_out(one: Check) -> str:
    """Say how good prediction and training are at held-out points after the last step."""
    if one.held_out is None:
        return ""
    last = one.held_out.isel(step=-1)
    return (
        f" At the held-out points it predicts {float(last.test_psnr):.1f} dB after step {int(last.step):,}, and the "
        f"networks have {float(last.trained_psnr.mean()):.1f} dB on average."
    )


def _by_frequency(one: Check) -> list[Figure]:
    if "error_by_frequency" not in one.validation:
        return []
    caption = "What is left of each frequency: predicted (lines) and trained (points, with standard errors over seeds)."
    return [Figure(f"frequencies-{one.key}", caption, plot.validation(one.validation, by="frequency"))]


def _details(study: Study) -> dict[str, dict[str, object] | str]:
    return {
        "Configuration": json.dumps(configuration(study.config), indent=2, ensure_ascii=False),
        "Versions": dict(versions()),
        "Files": {
            "results.nc": "every number behind this page; read it with ntkspec.record.load_groups",
            "figures/": "each figure as PNG and SVG",
        },
    }
