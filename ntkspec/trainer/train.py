"""Train the network whose kernel was computed, several seeds at once, and record its trajectory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from ntkspec.checks import check_labels, check_points, check_positive, check_sizes, check_steps
from ntkspec.grid import Grid
from ntkspec.kernel.composed import ComposedKernel
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.record import check_writable
from ntkspec.trainer.checkpoint import Checkpoints
from ntkspec.trainer.initial import require_initialisation
from ntkspec.trainer.model import PointLoss, Recipe, logistic, require_learnable, squared
from ntkspec.trainer.optimizer import Optimizer, as_optimizer
from ntkspec.trainer.plan import Plan
from ntkspec.trainer.precision import PRECISIONS
from ntkspec.trainer.result import dataset
from ntkspec.trainer.run import Keeping, Observe, run

__all__ = ["train"]

LOSSES = ("sum", "mean", "logistic")


def train(
    k: ComposedKernel,
    x: ArrayLike,
    y: ArrayLike,
    *,
    steps: Sequence[int],
    learning_rate: float | None = None,
    loss: str = "sum",
    point_loss: PointLoss | None = None,
    optimizer: str | Optimizer | Any = "gradient_descent",
    schedule: Any = None,
    batch_size: int | None = None,
    output: str = "linear",
    init: str = "network",
    trainable: Sequence[str] = (),
    seeds: int = 4,
    seed: int = 0,
    centered: bool = True,
    field_shape: tuple[int, ...] | None = None,
    dtype: str = "float32",
    matmul_precision: str = "float32",
    devices: Sequence[jax.Device] | None = None,
    checkpoint: Checkpoints | str | Path | None = None,
    resume: bool | str = False,
    observe: Observe | None = None,
    progress: Progress = NO_PROGRESS,
) -> xr.Dataset:
    """Train `seeds` finite networks side by side, by full-batch gradient descent unless told otherwise.

    Centred, the trained function is f(θ_t) − f(θ_0), which starts at zero exactly where a prediction without
    `initial` starts, and has the kernel of f; otherwise it is f(θ_t), and a prediction needs its step 0 as `initial`.

    Args:
        k: mapping and network; the network needs a width.
        x: training points, shape (n, d).
        y: labels, shape (n,) or (n, channels).
        steps: increasing whole numbers of steps after which to record.
        learning_rate: η of the loss. None takes half of the stability limit of the first network's own kernel as it
            starts (gradient descent, heavy ball, Nesterov), Adam's 1e-3 for optimizers of optax, and for those of them
            that name a default (`inspect.signature`) that one.
        loss: "sum", Σ_i ℓ(f_i, y_i), or "mean", that over n points, channels summed in both; "logistic" is "sum" with
            ℓ = log(1 + e^f) − y f.
        point_loss: ℓ(f, y) of one value and its label, elementwise in jax; ½ (f − y)² where None. A plain function of
            the learned function, after a sigmoid.
        optimizer: "gradient_descent", "heavy_ball", "nesterov", the name of an optax optimizer, one with settings from
            `ntkspec.trainer.optimizer`, or an optax.GradientTransformation, which has a learning rate of its own.
        schedule: factors of the learning rate by step: from `ntkspec.dynamics` (`schedule`, `piecewise`, `cosine`), or
            a function of the step, such as an optax schedule.
        batch_size: points in a step, drawn anew for each step and network without repetition; None is all. The gradient
            is that of the whole loss on average.
        output: "linear", or "sigmoid", whose labels are in [0, 1]. The logistic loss is one of the logits in both; with
            "linear" they are what is recorded.
        init: "network", as the kernel has it; "glorot" and "siren", for the standard parametrisation.
        trainable: "amplitudes", "frequencies" or both: learn those of the mapping, at the same rate.
        seeds: number of networks.
        seed: of the first network's initialisation; the others, and batches, are folded in by number.
        centered: train f − f_0.
        field_shape: also record the function on the lattice i/field_shape, as a prediction's `field`.
        dtype: precision of parameters and arithmetic, "float32" or "float64".
        matmul_precision: "float32", or "bfloat16" for operands of matrix products rounded to it.
        devices: that train; None is all local ones. Networks are spread over them, and what is left shares the points.
        checkpoint: folder for checkpoints, every ten minutes and at the end, or `ntkspec.trainer.Checkpoints`.
        resume: True goes on from the newest checkpoint, to the same bits on the same device, or begins where there is
            none; "previous" takes the one before it where that one is no good.
        observe: called at each recorded step as ``observe(step, params)``, parameters (seed, …) of the networks (with a
            learned mapping {"network": those, "mapping": its fields}); the Datasets it returns join the result along
            `step`.
        progress: reporter of loss, PSNR (of signals in [0, 1]), steps per second and time left.

    Returns:
        Dataset named as a prediction's: `train` (seed, step, point[, channel]), `loss` (seed, step), `target`; on
        lattice points `residual_energy` (seed, step, frequency) and `target_energy` (frequency); with `field_shape`
        the `field` (seed, step, axis0, …[, channel]). The attributes say how it was trained.

    Raises:
        ValueError: if an argument is of the wrong kind or shape, a batch is larger than the data, labels are outside of
            what the output can be, or the network has no width.
        FloatingPointError: if a loss stops being finite or grows a million times; the message names the step, the
            stability limit and what to change.

    Source: Jacot et al. 2018; Lee et al. 2019, section 2; centring: Chizat, Oyallon & Bach 2019, "On lazy training".

    Example:
        >>> import ntkspec as ns, numpy as np
        >>> k = ns.kernel.compose(ns.mapping.basic(dim=1), ns.kernel.MLP(depth=1, width=64))
        >>> x = np.arange(8)[:, None] / 8
        >>> r = ns.trainer.train(k, x, np.sin(2 * np.pi * x[:, 0]), steps=[0, 50], learning_rate=0.1, seeds=2)
        >>> dict(r.sizes)["seed"], bool((r.loss.sel(step=50) < r.loss.sel(step=0)).all())
        (2, True)
    """
    points = check_points(x, k.dim)
    labels = check_labels(y, points.shape[0])
    recorded = _whole_steps(steps)
    check_sizes(seeds=seeds)
    chosen = as_optimizer(optimizer)
    _check_rate(learning_rate, chosen)
    chosen = chosen.without_rate() if learning_rate is None else chosen
    recipe = _recipe(chosen, loss, point_loss, output, trainable, batch_size, matmul_precision, dtype)
    _check_batch(batch_size, len(points))
    _check_range(labels, recipe)
    require_learnable(k, recipe.trainable)
    require_initialisation(init, k.network)
    if field_shape is not None and (len(field_shape) != k.dim or min(field_shape) < 1):
        raise ValueError(f"field_shape={field_shape}; expected {k.dim} positive sizes, one a coordinate")
    factors, starts = _table(schedule, int(recorded[-1]), chosen)
    plan = Plan(
        kernels=(k,),
        points=np.asarray(points),
        labels=np.asarray(labels).reshape(len(points), -1),
        recipe=recipe,
        rates=None if learning_rate is None else (learning_rate,),
        factors=factors,
        starts=starts,
        mean=loss == "mean",
        init=init,
        seed=seed,
        seeds=seeds,
        centered=centered,
        dtype=dtype,
        steps=recorded,
        lattice=None if field_shape is None else Grid.unit(tuple(field_shape)),
    )
    plan, trajectory = run(plan, devices, _keeping(checkpoint, resume), observe, progress)
    return dataset(plan, trajectory, 0, squeeze=labels.ndim == 1)


def _keeping(checkpoint: Checkpoints | str | Path | None, resume: bool | str) -> Keeping:
    if resume not in (False, True, "previous"):
        raise ValueError(f"resume={resume!r}; expected True, False or 'previous'")
    if checkpoint is None:
        if resume:
            raise ValueError(f"resume={resume!r} needs the folder of the checkpoints: checkpoint='...'")
        return Keeping()
    found = checkpoint if isinstance(checkpoint, Checkpoints) else Checkpoints(checkpoint)
    check_writable(found.folder)
    return Keeping(found, resume=bool(resume), previous=resume == "previous")


def _recipe(
    optimizer: Optimizer,
    loss: str,
    point_loss: PointLoss | None,
    output: str,
    trainable: Sequence[str],
    batch_size: int | None,
    matmul_precision: str,
    dtype: str,
) -> Recipe:
    for name, value, expected in (
        ("loss", loss, LOSSES),
        ("output", output, ("linear", "sigmoid")),
        ("dtype", dtype, ("float32", "float64")),
        ("matmul_precision", matmul_precision, PRECISIONS),
    ):
        if value not in expected:
            raise ValueError(f"{name}={value!r}; expected {' or '.join(map(repr, expected))}")
    if loss == "logistic" and point_loss is not None:
        raise ValueError("loss='logistic' is a point_loss already; with one of your own take loss='sum' or 'mean'")
    if matmul_precision == "bfloat16" and dtype == "float64":
        raise ValueError("matmul_precision='bfloat16' is for dtype='float32'; float64 is asked for to lose no digits")
    if isinstance(trainable, str):
        raise ValueError(f"trainable={trainable!r}; expected a tuple of names: trainable=({trainable!r},)")
    point_loss = logistic if loss == "logistic" else point_loss
    return Recipe(
        optimizer,
        squared if point_loss is None else point_loss,
        sigmoid=output == "sigmoid",
        logits=getattr(point_loss, "__name__", "") == "logistic",
        trainable=tuple(sorted(trainable)),
        batch_size=batch_size,
        bfloat16=matmul_precision == "bfloat16",
    )


def _check_rate(learning_rate: float | None, optimizer: Optimizer) -> None:
    if learning_rate is None:
        return
    if not optimizer.takes_rate:
        raise ValueError(
            f"learning_rate={learning_rate}, and the optimizer ({optimizer}) was built with its own; "
            "leave it out, or give the optimizer by name"
        )
    check_positive("learning_rate", learning_rate, "below ns.dynamics.max_learning_rate, or None")


def _check_batch(batch_size: int | None, n: int) -> None:
    if batch_size is None:
        return
    check_sizes(batch_size=batch_size)
    if batch_size > n:
        raise ValueError(f"batch_size={batch_size}; expected at most the number of points, {n}, or None for all")


def _check_range(labels: jax.Array, recipe: Recipe) -> None:
    low, high = float(labels.min()), float(labels.max())
    if (recipe.sigmoid or recipe.logits) and not 0 <= low <= high <= 1:
        what = "the logistic loss" if recipe.logits else "a sigmoid output"
        raise ValueError(
            f"labels reach from {low:.3g} to {high:.3g}, and {what} is for labels in [0, 1]; scale them, or take "
            "output='linear' with loss='sum'"
        )


def _whole_steps(steps: Sequence[int]) -> np.ndarray:
    recorded = check_steps(steps)
    if (recorded != np.rint(recorded)).any():
        raise ValueError(f"steps={recorded.tolist()}; expected whole numbers: a network takes no half steps")
    return recorded.astype(np.int64)


def _table(schedule: Any, last: int, optimizer: Optimizer) -> tuple[np.ndarray, np.ndarray]:
    """Factors of the learning rate and the first step of each: what `ntkspec.dynamics.Schedule` holds."""
    if schedule is None:
        return np.ones(1), np.zeros(1, dtype=np.int64)
    if not optimizer.takes_rate:
        raise ValueError(f"the optimizer ({optimizer}) was built with its own learning rate; give it the schedule")
    if hasattr(schedule, "factors") and hasattr(schedule, "starts"):
        return np.asarray(schedule.factors, dtype=float), np.asarray(schedule.starts, dtype=np.int64)
    if not callable(schedule):
        raise TypeError(
            f"schedule is a {type(schedule).__name__}; expected one from ns.dynamics (schedule, piecewise, cosine) or "
            "a function of the step"
        )
    values = _values(schedule, max(last, 1))
    if values.shape != (max(last, 1),) or not np.isfinite(values).all() or (values < 0).any() or not values.any():
        raise ValueError("the schedule gives factors that are negative, not finite or all zero; expected such as 0.5")
    first = np.flatnonzero(np.r_[True, np.diff(values) != 0])
    return values[first], first


def _values(schedule: Callable[[Any], Any], count: int) -> np.ndarray:
    try:
        return np.asarray(jax.vmap(schedule)(jnp.arange(count)), dtype=float)
    # A function of plain numbers looks at its step.
    except (TypeError, ValueError, jax.errors.JAXTypeError):
        return np.array([float(schedule(step)) for step in range(count)])
