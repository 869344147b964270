"""Several scales predicted side by side, then one of them checked by training."""

from __future__ import annotations

from dataclasses import dataclass, replace

import xarray as xr

from ntkspec import mapping
from ntkspec.config import StudyConfig
from ntkspec.kernel import ComposedKernel
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.study._check import TRAINED_STEPS, Check, check, plan
from ntkspec.study._problem import Problem, problem, problems
from ntkspec.study._theory import PREDICTED_STEPS, best, convergences, predictions, spectra
from ntkspec.task import Task, signal

__all__ = ["Study", "run"]


@dataclass(frozen=True)
class Study:
    """All that was found out about a signal.

    Attributes:
        config: what was asked.
        task: the signal.
        kernels: the composed kernel of each scale.
        spectrum: leading eigenvalues, with a dimension `scale`.
        bandwidth: its summaries, likewise.
        convergence: residual energy by step and frequency, likewise.
        prediction: the trajectory on the whole lattice, likewise.
        best_scale: with the highest predicted PSNR on held-out points, cycles per unit.
        best_step: at which it is reached.
        checks: trained networks against their predictions.
    """

    config: StudyConfig
    task: Task
    kernels: dict[float, ComposedKernel]
    spectrum: xr.Dataset
    bandwidth: xr.Dataset
    convergence: xr.Dataset
    prediction: xr.Dataset
    best_scale: float
    best_step: int
    checks: tuple[Check, ...]

    def datasets(self) -> dict[str, xr.Dataset]:
        """Every result by name, as `ntkspec.record.save_groups` takes them."""
        found = {
            "spectrum": self.spectrum,
            "bandwidth": self.bandwidth,
            "convergence": self.convergence,
            "prediction": self.prediction,
        }
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
        scales = ", ".join(f"{scale:g}" for scale in self.prediction.scale.values)
        return (
            f"Take scale {self.best_scale:g} cycles per unit (of {scales}): after {self.best_step:,} steps of gradient "
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
        holds = "holds" if self.trusted else "does not hold"
        return (
            f"Trust: trained at width {width}, networks leave the prediction by up to {' and '.join(parts)}, so "
            f"theory {holds} to {self.checks[0].validation.attrs['tolerance']:.0%}; "
            f"beyond step {last} it was not checked."
        )

    @property
    def trusted(self) -> bool:
        """Whether every check held through its last step."""
        return all(one.validation.attrs["holds_until_step"] == int(one.validation.step[-1]) for one in self.checks)


def run(task: Task, small: Task, config: StudyConfig, *, seeds: int = 4, progress: Progress = NO_PROGRESS) -> Study:
    """Return the whole job: predict the signal at every scale, then check theory by training where that is quick.

    Two problems are trained: the paper's 1-D signal behind b = 1 … 16, a = 1/b, and a small version of the
    signal behind the scale that is predicted to suit it best.

    Args:
        task: the signal.
        small: the same at a size that trains in seconds.
        config: scales, network and learning rate.
        seeds: networks trained on each.
        progress: reporter.

    Returns:
        Everything found.

    Raises:
        ValueError: if a setting is no good; the learning rate is checked against every kernel before any work.
    """
    by_scale = problems(task, config)
    small_by_scale = problems(small, replace(config, scales=tuple(by_scale)))
    paper = problem(signal.paper(), mapping.power_law(16, p=1.0), config)
    spectrum, bandwidth = spectra(by_scale, progress=progress)
    convergence = convergences(by_scale, PREDICTED_STEPS, progress=progress)
    prediction = predictions(by_scale, PREDICTED_STEPS, progress=progress)
    best_scale, best_step = best(prediction)
    small_scale, _ = best(predictions(small_by_scale, TRAINED_STEPS, progress=progress))
    kind = "small photograph" if task.dim == 2 else "shortened signal"

    def checked(key: str, name: str, one: Problem) -> Check:
        return check(key, name, one, plan(one, TRAINED_STEPS, seeds=seeds, seed=config.seed), progress=progress)

    checks = (checked("paper", "paper's 1-D signal", paper), checked("small", kind, small_by_scale[small_scale]))
    kernels = {scale: one.kernel for scale, one in by_scale.items()}
    return Study(config, task, kernels, spectrum, bandwidth, convergence, prediction, best_scale, best_step, checks)
