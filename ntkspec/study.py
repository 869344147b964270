"""The main job on one signal: several scales predicted side by side, then one of them checked by training.

This room asks the others in order and puts their answers side by side; it holds no mathematics of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import xarray as xr

from ntkspec import dynamics, eigen, mapping, operator
from ntkspec.config import StudyConfig
from ntkspec.kernel import ComposedKernel, compose
from ntkspec.prediction import predict
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.task import Task, signal
from ntkspec.trainer import optimizer as trained_by
from ntkspec.trainer import train
from ntkspec.validation import explain, psnr, validate

__all__ = [
    "Check",
    "Problem",
    "Study",
    "best",
    "check",
    "convergences",
    "default_scales",
    "first_good_step",
    "predicted",
    "predictions",
    "problem",
    "problems",
    "run",
    "spectra",
]

#: Shares of the highest frequency that the training points can tell, tried as scales by default.
SHARES = (1 / 32, 1 / 8, 1 / 3)


@dataclass(frozen=True)
class Problem:
    """A signal, and the kernel that is to learn it.

    Attributes:
        task: the signal.
        kernel: mapping and network.
        K: the kernel on the training points.
        learning_rate: of half the summed squares.
    """

    task: Task
    kernel: ComposedKernel
    K: operator.Lattice
    learning_rate: float


@dataclass(frozen=True)
class Check:
    """A prediction, the training it is checked by, and the comparison.

    Attributes:
        key: a short name for files and groups.
        name: of the signal, in words.
        problem: the signal and its kernel.
        prediction: from `ntkspec.predict`.
        training: from `ntkspec.trainer.train`.
        validation: from `ntkspec.validate`.
        causes: from `ntkspec.validation.explain`; None where no controls were run.
    """

    key: str
    name: str
    problem: Problem
    prediction: xr.Dataset
    training: xr.Dataset
    validation: xr.Dataset
    causes: xr.Dataset | None = None


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
            f"Trust: trained at width {width}, networks leave the prediction by up to {' and '.join(parts)}, so the "
            f"lazy regime {holds} to {self.checks[0].validation.attrs['tolerance']:.0%}; "
            f"beyond step {last} it was not checked."
        )

    @property
    def trusted(self) -> bool:
        """Whether every check held through its last step."""
        return all(one.validation.attrs["holds_until_step"] == int(one.validation.step[-1]) for one in self.checks)


#: Steps of the whole prediction, evenly spaced in their logarithm: cheap, since all come from one basis.
PREDICTED_STEPS = (0, 1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
#: Steps that finite networks are trained for.
TRAINED_STEPS = (0, 1, 3, 10, 30, 100, 200, 400)


def default_scales(task: Task) -> tuple[float, ...]:
    """Three Gaussian scales, in cycles per unit, that suit the spacing of a task's training points."""
    per_axis = len(task.train_points) ** (1 / task.dim)
    return tuple(float(f"{share * per_axis / 2:.2g}") for share in SHARES)


def problem(task: Task, mapped: mapping.Mapping, config: StudyConfig) -> Problem:
    """A task behind a mapping, with the learning rate of the configuration or half the stability limit.

    Raises:
        ValueError: if the learning rate is past the stability limit.
    """
    kernel = compose(mapped, config.network.build())
    K = operator.lattice(kernel, task.shape, mask=task.train_mask)
    limit = dynamics.max_learning_rate(K)
    rate = limit / 2 if config.learning_rate is None else config.learning_rate
    if rate >= limit:
        raise ValueError(f"learning_rate={rate:g} is past the stability limit of this kernel, {limit:.6g}; take less")
    return Problem(task, kernel, K, rate)


def problems(task: Task, config: StudyConfig) -> dict[float, Problem]:
    """The task behind a Gaussian mapping of each scale.

    Args:
        task: the signal.
        config: scales, frequencies and network.

    Returns:
        A problem for each scale, increasing.

    Raises:
        ValueError: if a scale is not positive, or the learning rate is past a stability limit.
    """

    def gaussian(scale: float) -> mapping.Mapping:
        # a = 1, as in the paper's image experiments: |γ|² = m keeps the network's outputs of order one. With
        # Σa² = 1 they are √m times smaller than the signal, and to reach it the weights must leave the lazy regime.
        return mapping.gaussian(task.dim, config.num_frequencies, scale, seed=config.seed, normalize=False)

    scales = config.scales or default_scales(task)
    return {scale: problem(task, gaussian(scale), config) for scale in sorted(set(scales))}


def spectra(
    problems: dict[float, Problem],
    *,
    num_modes: int = 64,
    max_basis: int = 256,
    progress: Progress = NO_PROGRESS,
) -> tuple[xr.Dataset, xr.Dataset]:
    """The leading spectrum of each scale, and its bandwidth measures, with a dimension `scale`."""
    found = {}
    for scale, one in problems.items():
        count = min(num_modes, one.K.num_points)
        found[scale] = eigen.spectrum(one.K, count, max_basis=max_basis, progress=progress)
    return _stack(found), _stack({scale: eigen.bandwidth(s) for scale, s in found.items()})


def convergences(
    problems: dict[float, Problem], steps: Sequence[int], *, progress: Progress = NO_PROGRESS
) -> xr.Dataset:
    """How fast each frequency of the signal is learned, with a dimension `scale`."""
    return _stack(
        {
            scale: eigen.convergence(
                one.K, one.task.train_values, steps=steps, learning_rate=one.learning_rate, progress=progress
            )
            for scale, one in problems.items()
        }
    )


def predictions(
    problems: dict[float, Problem], steps: Sequence[int], *, progress: Progress = NO_PROGRESS
) -> xr.Dataset:
    """The trajectory of each scale on the whole lattice, with `train_psnr` and `test_psnr`, and a dimension `scale`."""
    return _stack({scale: predicted(one, steps, progress=progress) for scale, one in problems.items()})


def predicted(
    one: Problem,
    steps: Sequence[int],
    *,
    initial: float | None = None,
    of: dynamics.Dynamics | None = None,
    progress: Progress = NO_PROGRESS,
) -> xr.Dataset:
    """One prediction on the whole lattice, with its `train_psnr` and, where points are held out, `test_psnr` in dB.

    It starts from a constant where `initial` is given, and is `of` gradient descent where None.
    """
    start = None if initial is None else np.full(one.task.values.shape, initial)
    options: dict = {"steps": steps, "learning_rate": one.learning_rate, "dynamics": of, "progress": progress}
    p = predict(one.K, one.task.train_values, everywhere=True, initial=start, **options)
    return with_quality(p, one.task)


def with_quality(result: xr.Dataset, task: Task) -> xr.Dataset:
    """A prediction or training with the PSNR of its training points and, where some are held out, of the others."""
    quality = {"train_psnr": psnr(result.train, result.target)}
    if task.test_mask.any():
        axes = [f"axis{i}" for i in range(task.dim)]
        channels = () if task.channels is None else ("channel",)
        truth = xr.DataArray(task.values, dims=(*axes, *channels))
        held_out = xr.DataArray(task.test_mask, dims=axes)
        quality["test_psnr"] = psnr(result.field.where(held_out), truth)
    return result.assign({**quality, "learning_rate": result.attrs["learning_rate"]})


def best(predicted: xr.Dataset) -> tuple[float, int]:
    """The scale with the highest predicted PSNR on held-out points, and the first step within 0.1 dB of it.

    Without held-out points it is that of the training points.
    """
    quality = predicted.test_psnr if "test_psnr" in predicted else predicted.train_psnr
    chosen = quality.isel(scale=int(quality.max("step").values.argmax()))
    return float(chosen.scale), first_good_step(chosen)


def first_good_step(quality: xr.DataArray) -> int:
    """The first step whose PSNR (step) is within 0.1 dB of the highest: later ones are not worth their time."""
    good = (quality >= float(quality.max()) - 0.1).values
    return int(quality.step[int(good.argmax())])


def check(
    key: str,
    name: str,
    one: Problem,
    steps: Sequence[int],
    *,
    seeds: int,
    seed: int = 0,
    tolerance: float = 0.05,
    optimizer: str = "gradient_descent",
    output: Literal["linear", "sigmoid"] = "linear",
    controls: bool = False,
    progress: Progress = NO_PROGRESS,
) -> Check:
    """Predict a problem, train it from the same start, and compare.

    Args:
        key: a short name for files and groups.
        name: of the signal, in words.
        one: the problem; its network needs a width.
        steps: whole training steps to compare at.
        seeds: number of networks.
        seed: of the first.
        tolerance: up to which error, relative to the signal, the theory is said to hold.
        optimizer: that trains; momentum is predicted as such, and what has no theory is compared with gradient descent.
        output: "linear", or "sigmoid", compared with a linear one that starts from its ½.
        controls: also run controls, which say what a gap is due to; see `ntkspec.validation.explain`.
        progress: reporter.

    Returns:
        Prediction, training and comparison, all with the learned function on the whole lattice.
    """
    chosen = trained_by(optimizer)
    known = chosen.name if chosen.has_theory else "gradient_descent"
    # A centred sigmoid starts at ½ everywhere.
    start = 0.5 if output == "sigmoid" else None
    p = predicted(one, steps, initial=start, of=getattr(dynamics, known)(), progress=progress)
    options: dict = {"steps": steps, "learning_rate": one.learning_rate, "optimizer": chosen, "output": output}
    options |= {"seeds": seeds, "seed": seed, "field_shape": one.task.shape, "progress": progress}
    r = train(one.kernel, one.K.points, one.task.train_values, **options)
    causes = explain(one.kernel, p, r, K=one.K, progress=progress) if controls else None
    v = validate(p, r, tolerance=tolerance, causes=causes)
    return Check(key, name, one, p, with_quality(r, one.task), v, causes)


def run(task: Task, small: Task, config: StudyConfig, *, seeds: int = 4, progress: Progress = NO_PROGRESS) -> Study:
    """The whole job: predict the signal at every scale, then check theory by training where that is quick.

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
    options: dict = {"seeds": seeds, "seed": config.seed, "progress": progress}
    checks = (
        check("paper", "paper's 1-D signal", paper, TRAINED_STEPS, **options),
        check("small", kind, small_by_scale[small_scale], TRAINED_STEPS, **options),
    )
    kernels = {scale: one.kernel for scale, one in by_scale.items()}
    return Study(config, task, kernels, spectrum, bandwidth, convergence, prediction, best_scale, best_step, checks)


#: The same for every scale: kept once.
SHARED = ("target", "target_energy")


def _stack(by_scale: dict[float, xr.Dataset]) -> xr.Dataset:
    first = next(iter(by_scale.values()))
    attrs = {"long_name": "scale", "units": "cycles per unit"}
    return xr.concat(
        list(by_scale.values()),
        dim=xr.DataArray(list(by_scale), dims="scale", name="scale", attrs=attrs),
        data_vars=[str(name) for name in first.data_vars if name not in SHARED],
        coords="minimal",
        compat="override",
        join="exact",
        combine_attrs="drop_conflicts",
    )
