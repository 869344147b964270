"""What theory says of a problem, at one scale or side by side at several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from scipy.special import expit

from ntkspec import dynamics, eigen
from ntkspec.dynamics._function_space import TooStiff
from ntkspec.prediction import predict
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.study._problem import Problem
from ntkspec.task import Scattered, Task
from ntkspec.validation import psnr

__all__ = [
    "PREDICTED_STEPS",
    "best",
    "convergences",
    "first_good_step",
    "held_out_points",
    "predicted",
    "predicted_occupancy",
    "predictions",
    "spectra",
    "with_quality",
]

#: Steps of the whole prediction, evenly spaced in their logarithm: cheap, since all come from one basis.
PREDICTED_STEPS = (0, 1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
#: The same for every scale: kept once.
SHARED = ("target", "target_energy", "unseen_target")


def spectra(
    problems: dict[float, Problem],
    *,
    num_modes: int = 64,
    max_basis: int = 256,
    progress: Progress = NO_PROGRESS,
) -> tuple[xr.Dataset, xr.Dataset]:
    """Return the leading spectrum of each scale, and its bandwidth measures, with a dimension `scale`."""
    found = {}
    for scale, one in problems.items():
        count = min(num_modes, one.K.num_points)
        found[scale] = eigen.spectrum(one.K, count, max_basis=max_basis, progress=progress)
    return _stack(found, problems), _stack({scale: eigen.bandwidth(s) for scale, s in found.items()}, problems)


def convergences(
    problems: dict[float, Problem], steps: Sequence[int], *, progress: Progress = NO_PROGRESS
) -> xr.Dataset:
    """How fast each frequency of the signal is learned, with a dimension `scale`."""
    return _stack(
        {
            scale: eigen.convergence(
                one.K,
                one.task.train_values,
                steps=steps,
                learning_rate=one.learning_rate,
                loss=one.loss,
                progress=progress,
            )
            for scale, one in problems.items()
        },
        problems,
    )


def predictions(
    problems: dict[float, Problem],
    steps: Sequence[int],
    *,
    of: dynamics.Dynamics | None = None,
    progress: Progress = NO_PROGRESS,
) -> xr.Dataset:
    """Predict the trajectory of each scale on the whole lattice, with `train_psnr`, `test_psnr` and dimension `scale`.

    At scattered points it is that of the held-out ones. It is `of` gradient descent where None.
    """
    found = {scale: predicted(one, steps, of=of, progress=progress) for scale, one in problems.items()}
    return _stack(found, problems)


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
    options: dict = {"steps": steps, "learning_rate": one.learning_rate, "loss": one.loss, "dynamics": of}
    options |= _elsewhere(one)
    if initial is not None:
        known = one.task.values if isinstance(one.task, Task) else one.task.train_values
        options["initial"] = np.full(known.shape, initial)
        unseen = options.get("unseen")
        options["initial_unseen"] = None if unseen is None else np.full((len(unseen), *known.shape[1:]), initial)
    return with_quality(predict(one.K, one.task.train_values, progress=progress, **options), one.task)


def held_out_points(task: Task | Scattered) -> np.ndarray | None:
    """Return where the learned function is asked for beside the training points; None on a lattice, which is whole."""
    return None if isinstance(task, Task) or not len(task.test_points) else task.test_points


def _elsewhere(one: Problem) -> dict[str, Any]:
    task, unseen = one.task, held_out_points(one.task)
    if isinstance(task, Task) and not one.K.field_shape:
        # A kernel that is no function of the lag has no lattice.
        unseen = task.lattice_points[~task.train_mask.ravel()]
    return {"everywhere": True} if unseen is None and isinstance(task, Task) else {"unseen": unseen}


def predicted_occupancy(one: Problem, steps: Sequence[int], *, progress: Progress = NO_PROGRESS) -> xr.Dataset:
    """Return the sigmoid of logits that follow the flow of the summed logistic loss from zero, as `predicted` shows it.

    Raises:
        ValueError: if the flow is too stiff to be followed to the last step.
    """
    try:
        p = dynamics.function_space_flow(
            one.K,
            one.task.train_values,
            point_loss=dynamics.logistic,
            steps=steps,
            learning_rate=one.learning_rate,
            progress=progress,
            **_elsewhere(one),
        )
    except TooStiff as error:
        raise ValueError(
            f"the flow of the logistic loss at learning_rate={one.learning_rate:.4g} is too stiff to be followed to "
            f"step {steps[-1]:,}; take an earlier last step (steps), or a smaller learning rate"
        ) from error
    logits = [name for name in ("train", "field", "unseen") if name in p]
    p = p.assign({name: (p[name].dims, expit(p[name].values), p[name].attrs) for name in logits})
    return with_quality(p.assign_attrs(output="sigmoid", starts_from_zero=0), one.task)


def with_quality(result: xr.Dataset, task: Task | Scattered) -> xr.Dataset:
    """Add the PSNR of its training points and, where it is known at others, of those to a prediction or training."""
    quality = {"train_psnr": psnr(result.train, result.target)}
    if isinstance(task, Task) and "unseen" in result:
        result = _on_lattice(result, task)
    if not isinstance(task, Task):
        outputs, channels = [one.name for one in task.outputs], () if task.channels is None else ("channel",)
        if "unseen" in result:
            truth = xr.DataArray(task.test_values, dims=("asked", *channels), attrs={"long_name": outputs[0]})
            quality |= {"test_psnr": psnr(result.unseen, truth), "unseen_target": truth}
        names = {"axis": [axis.name for axis in task.inputs], "channel": outputs}
        result = result.assign_coords({dim: names[dim] for dim in ("axis", *channels)})
    elif task.test_mask.any():
        axes = [f"axis{i}" for i in range(task.dim)]
        channels = () if task.channels is None else ("channel",)
        truth = xr.DataArray(task.values, dims=(*axes, *channels))
        held_out = xr.DataArray(task.test_mask, dims=axes)
        quality["test_psnr"] = psnr(result.field.where(held_out), truth)
    return result.assign({**quality, "learning_rate": result.attrs["learning_rate"]})


def _on_lattice(result: xr.Dataset, task: Task) -> xr.Dataset:
    """Return a prediction at all points of a lattice as if it had been made there at once."""
    field = np.empty((result.sizes["step"], *task.values.shape))
    field[:, task.train_mask], field[:, ~task.train_mask] = result.train.values, result.unseen.values
    dims = ("step", *(f"axis{i}" for i in range(task.dim)), *result.train.dims[2:])
    rest = result.drop_dims("asked").rename(unseen_error_bound="field_error_bound")
    return rest.assign(field=(dims, field, {"long_name": "learned function"}))


def best(predicted: xr.Dataset) -> tuple[float, int]:
    """Return the scale with the highest predicted PSNR on held-out points, and the first step within 0.1 dB of it.

    Without held-out points it is that of the training points.
    """
    quality = predicted.test_psnr if "test_psnr" in predicted else predicted.train_psnr
    chosen = quality.isel(scale=int(quality.max("step").values.argmax()))
    return float(chosen.scale), first_good_step(chosen)


def first_good_step(quality: xr.DataArray) -> int:
    """Return the first step whose PSNR (step) is within 0.1 dB of the highest: later ones are not worth their time."""
    good = (quality >= float(quality.max()) - 0.1).values
    return int(quality.step[int(good.argmax())])


def _stack(by_scale: dict[float, xr.Dataset], problems: dict[float, Problem]) -> xr.Dataset:
    first = next(iter(by_scale.values()))
    attrs = next(iter(problems.values())).number
    return xr.concat(
        list(by_scale.values()),
        dim=xr.DataArray(list(by_scale), dims="scale", name="scale", attrs=attrs),
        data_vars=[str(name) for name in first.data_vars if name not in SHARED],
        coords="minimal",
        compat="override",
        join="exact",
        combine_attrs="drop_conflicts",
    )
