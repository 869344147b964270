"""Several scales predicted side by side, then one of them checked by training."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from ntkspec import mapping
from ntkspec.config import StudyConfig
from ntkspec.kernel import ComposedKernel
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.study._check import TRAINED_STEPS, Check, check, plan
from ntkspec.study._problem import Problem, noted, problem, problems, settled
from ntkspec.study._theory import PREDICTED_STEPS, best, convergences, predictions, spectra
from ntkspec.task import Piece, Scattered, Task, piece, signal

__all__ = ["Study", "run"]

#: Points of the part of a signal that is trained: of a line, of other lattices, and scattered ones.
LINE_PIECE, PIECE, SCATTERED_PIECE = 128, 1024, 320
#: Training points that a check takes at least.
FEWEST = 8


@dataclass(frozen=True)
class Study:
    """All that was found out about a signal.

    Attributes:
        config: what was asked.
        task: the signal.
        kernels: the composed kernel of each scale.
        spectrum: leading eigenvalues, with a dimension `scale`.
        bandwidth: its summaries, likewise.
        convergence: residual energy by step and frequency, likewise; None for scattered points, which have none.
        prediction: the trajectory on the whole lattice or at held-out points, likewise.
        best_scale: with the highest predicted PSNR on held-out points, cycles per unit.
        best_step: at which it is reached.
        checks: trained networks against their predictions.
        labels: the mapping of each scale in words, such as "scale 4".
        unchecked: why no part of the signal was trained; empty where one was.
    """

    config: StudyConfig
    task: Task | Scattered
    kernels: dict[float, ComposedKernel]
    spectrum: xr.Dataset
    bandwidth: xr.Dataset
    convergence: xr.Dataset | None
    prediction: xr.Dataset
    best_scale: float
    best_step: int
    checks: tuple[Check, ...]
    labels: dict[float, str]
    unchecked: str = ""

    def datasets(self) -> dict[str, xr.Dataset]:
        """Every result by name, as `ntkspec.record.save_groups` takes them."""
        found = {
            "spectrum": self.spectrum,
            "bandwidth": self.bandwidth,
            "prediction": self.prediction,
        }
        if self.convergence is not None:
            found["convergence"] = self.convergence
        for one in self.checks:
            for part in ("prediction", "training", "validation"):
                found[f"{one.key}_{part}"] = getattr(one, part)
        return found

    @property
    def verdict(self) -> str:
        """Scale, learning rate and steps to take, and how far the theory behind them holds."""
        chosen = self.prediction.sel(scale=self.best_scale)
        held_out = "test_psnr" in chosen
        quality = (chosen.test_psnr if held_out else chosen.train_psnr).sel(step=self.best_step)
        units = self.prediction.scale.attrs["units"]
        scales = ", ".join(f"{scale:g}" for scale in self.prediction.scale.values)
        taken = " ".join(filter(None, (self.labels[self.best_scale], units)))
        others = f" (of {scales})" if self.prediction.sizes["scale"] > 1 else ""
        return (
            f"Take {taken}{others}: after {self.best_step:,} steps of gradient "
            f"descent at learning rate {float(chosen.learning_rate):.3g} theory predicts {float(quality):.1f} dB on "
            f"{'held-out' if held_out else 'training'} points. {self._trust()}"
        )

    def _trust(self) -> str:
        """How far trained networks follow, all checks in one sentence."""
        parts = []
        for one in self.checks:
            v = one.validation
            worst = v.isel(step=int(v.error.values.argmax()))
            parts.append(
                f"{float(worst.error):.1%} of the signal on the {one.name} (worst network "
                f"{float(v.error_by_seed.max()):.1%}, mean of {v.sizes['seed']} {float(worst.ensemble_error):.1%})"
            )
        width, last = self.config.network.width, int(self.checks[0].validation.step[-1])
        holds = "holds" if self._holds else "does not hold"
        but = f" On the signal itself it was not checked: {self.unchecked.rstrip('.')}." if self.unchecked else ""
        return (
            f"Trust: trained at width {width}, networks leave the prediction by up to {' and '.join(parts)}, so "
            f"theory {holds} to {self.checks[0].validation.attrs['tolerance']:.0%}; "
            f"beyond step {last} it was not checked.{but}"
        )

    @property
    def trusted(self) -> bool:
        """Whether every check held through its last step, and one was of the signal."""
        return self._holds and not self.unchecked

    @property
    def _holds(self) -> bool:
        return all(one.validation.attrs["holds_until_step"] == int(one.validation.step[-1]) for one in self.checks)


def run(task: Task | Scattered, config: StudyConfig, *, seeds: int = 4, progress: Progress = NO_PROGRESS) -> Study:
    """Do the whole job: predict the signal at every scale, then check theory by training where that is quick.

    Two problems are trained: the paper's 1-D signal behind b = 1 … 16, a = 1/b, and a piece of the signal at its own
    resolution, behind the mapping that is predicted to suit the whole best, its frequencies carried over.

    Args:
        task: signal, or scattered points.
        config: scales, network and learning rate.
        seeds: number of networks trained on each.
        progress: reporter.

    Returns:
        Everything found; without the second check, and with the reason, where the piece cannot be trained.

    Raises:
        ValueError: if a setting is invalid; the learning rate is checked against every kernel before any work.
    """
    config, _ = settled(config)
    by_scale = problems(task, config)
    paper = problem(signal.paper(), mapping.power_law(16, p=1.0), config)
    # Networks that do not fit in memory are refused here, before any work.
    planned = plan(paper, TRAINED_STEPS, seeds=seeds, seed=config.seed)
    spectrum, bandwidth = spectra(by_scale, progress=progress)
    on_lattice = all(one.K.placement is not None for one in by_scale.values())
    convergence = convergences(by_scale, PREDICTED_STEPS, progress=progress) if on_lattice else None
    prediction = predictions(by_scale, PREDICTED_STEPS, progress=progress)
    best_scale, best_step = best(prediction)
    checks = [check("paper", "paper's 1-D signal", paper, planned, progress=progress)]
    part, name = _piece(task)
    unchecked = _too_little(part.task)
    if not unchecked:
        try:
            one = _carried_over(by_scale[best_scale], part, config)
            planned = plan(one, TRAINED_STEPS, seeds=seeds, seed=config.seed)
            found = check("piece", name, one, planned, progress=progress)
            checks.append(replace(found, notices=_cut(part, best_scale, by_scale[best_scale])))
        # What of the whole has been computed is worth a page without this.
        except ValueError as error:
            unchecked = str(error)
    kernels = {scale: one.kernel for scale, one in by_scale.items()}
    return Study(
        config, noted(task, by_scale), kernels, spectrum, bandwidth, convergence, prediction, best_scale, best_step,
        tuple(checks), {scale: one.label for scale, one in by_scale.items()}, unchecked,
    )  # fmt: skip


def _piece(task: Task | Scattered) -> tuple[Piece, str]:
    """Cut a part that trains in seconds; return it with its name in words."""
    kind = "points" if isinstance(task, Scattered) else {1: "signal", 2: "photograph"}.get(task.dim, "volume")
    part = piece(task, SCATTERED_PIECE if isinstance(task, Scattered) else PIECE if task.dim > 1 else LINE_PIECE)
    return part, f"{'piece of the' if part.notice else 'whole'} {kind}"


def _too_little(task: Task | Scattered) -> str:
    """Say why a check on a part would be empty; an empty text where it would not."""
    n, values = len(task.train_points), task.train_values
    if n < FEWEST:
        return f"the part that could be trained has {n} training points, and a check takes at least {FEWEST}"
    if not np.ptp(values, axis=0).any():
        return f"the training points of the part that could be trained are all {float(np.ravel(values)[0]):.4g}"
    return ""


def _carried_over(whole: Problem, part: Piece, config: StudyConfig) -> Problem:
    """Put a part behind the same mapping and network, its frequencies in cycles per unit of the part."""
    if part.task is whole.task:
        return whole
    mapped = whole.kernel.mapping
    if (part.lengths != 1).any():
        mapped = mapped.through(np.diag(part.lengths))  # type: ignore[attr-defined]  # as all of a family have
    return problem(part.task, mapped, config)


def _cut(part: Piece, scale: float, one: Problem) -> tuple[str, ...]:
    if not part.notice:
        return ()
    if (part.lengths == 1).all() or one.number["units"] != "cycles per unit":
        return (part.notice,)
    carried = " × ".join(f"{scale * length:.3g}" for length in part.lengths)
    return (part.notice, f"Scale {scale:g} cycles per unit of the whole is {carried} per unit of that piece.")
