"""What a person asks for, checked and turned into a plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypedDict

import jax
import jax.numpy as jnp
import numpy as np
import psutil
from numpy.typing import ArrayLike

from ntkspec.checks import (
    check_flag,
    check_function,
    check_labels,
    check_points,
    check_positive,
    check_seed,
    check_sizes,
    check_whole_steps,
    shown,
)
from ntkspec.grid import Grid
from ntkspec.kernel._composed import ComposedKernel, check_composed
from ntkspec.record import check_writable, configuration
from ntkspec.trainer._checkpoint import Checkpoints
from ntkspec.trainer._initial import require_initialisation
from ntkspec.trainer._model import BUILT_IN, PointLoss, Recipe, logistic, require_learnable, squared
from ntkspec.trainer._optimizer import Optimizer, as_optimizer
from ntkspec.trainer._plan import Plan
from ntkspec.trainer._precision import PRECISIONS
from ntkspec.trainer._run import Keeping
from ntkspec.trainer._trial import require_usable

__all__ = ["Settings", "keeping", "planned"]

LOSSES = ("sum", "mean", "logistic")
#: Bytes of a step where a schedule that is a function is asked for its factors: numbers, their copy and changes.
TABULATED = 40


class Settings(TypedDict, total=False):
    """The settings of `ntkspec.trainer.train` that a plan holds, by name."""

    loss: str
    point_loss: PointLoss | None
    optimizer: str | Optimizer | Any
    schedule: Any
    batch_size: int | None
    output: str
    init: str
    trainable: Sequence[str]
    seeds: int
    seed: int
    centered: bool
    field_shape: tuple[int, ...] | None
    dtype: str
    matmul_precision: str


def planned(
    kernels: tuple[ComposedKernel, ...],
    x: ArrayLike,
    y: ArrayLike,
    *,
    steps: Sequence[int],
    rates: tuple[float, ...] | None,
    loss: str,
    point_loss: PointLoss | None,
    optimizer: str | Optimizer | Any,
    schedule: Any,
    batch_size: int | None,
    output: str,
    init: str,
    trainable: Sequence[str],
    seeds: int,
    seed: int,
    centered: bool,
    field_shape: tuple[int, ...] | None,
    dtype: str,
    matmul_precision: str,
) -> Plan:
    """The plan of a run of kernels of equal shapes, with a learning rate for each or None.

    The rest is as `train` has it, where alone it has defaults.

    Returns:
        The plan.

    Raises:
        ValueError: if something does not fit; in words.
        TypeError: if something is of a kind that it cannot be.
    """
    for one in kernels:
        check_composed(one)
    k = kernels[0]
    points = check_points(x, k.dim)
    labels = check_labels(y, points.shape[0])
    if labels.size == 0:
        raise ValueError(f"labels have shape {labels.shape}; expected at least one point and one channel to train on")
    recorded = check_whole_steps(steps)
    check_sizes(seeds=seeds)
    check_seed(seed)
    check_flag("centered", centered)
    chosen = as_optimizer(optimizer)
    for rate in rates or ():
        _check_rate(rate, chosen)
    chosen = chosen.without_rate() if rates is None else chosen
    recipe = _recipe(chosen, loss, point_loss, output, trainable, batch_size, matmul_precision, dtype)
    _check_batch(batch_size, len(points))
    _check_range(labels, recipe)
    require_learnable(k, recipe.trainable)
    require_initialisation(init, k.network)
    shape = None if field_shape is None else _field_shape(field_shape, k.dim)
    factors, starts = _table(schedule, int(recorded[-1]), chosen)
    plan = Plan(
        kernels=kernels,
        points=np.asarray(points),
        labels=np.asarray(labels).reshape(len(points), -1),
        recipe=recipe,
        rates=None if rates is None else tuple(map(float, rates)),
        factors=factors,
        starts=starts,
        mean=loss == "mean",
        init=init,
        seed=seed,
        seeds=seeds,
        centered=centered,
        dtype=dtype,
        steps=recorded,
        lattice=None if shape is None else Grid.unit(shape),
    )
    require_usable(recipe, plan.shapes, dtype)
    return plan


def keeping(checkpoint: Checkpoints | str | Path | None, resume: bool | str) -> Keeping:
    """What happens to checkpoints, of the arguments of `train`.

    Raises:
        ValueError: if the folder cannot be one, or there is none to go on from.
        TypeError: if it is no name of a folder.
    """
    if not isinstance(resume, bool | np.bool_ | str) or resume not in (False, True, "previous"):
        raise ValueError(f"resume={shown(resume)}; expected True, False or 'previous'")
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
        # Numpy's dtypes are equal to their names, and do not go into a file.
        if not isinstance(value, str) or value not in expected:
            raise ValueError(f"{name}={shown(value)}; expected {' or '.join(map(repr, expected))}")
    if dtype == "float64" and jnp.result_type(float) != jnp.float64:
        raise ValueError(
            "dtype='float64', and JAX's float64 is off; leave JAX_ENABLE_X64=0 out of the environment, or take "
            "dtype='float32'"
        )
    if loss == "logistic" and point_loss is not None:
        raise ValueError("loss='logistic' is a point_loss already; with one of your own take loss='sum' or 'mean'")
    if matmul_precision == "bfloat16" and dtype == "float64":
        raise ValueError("matmul_precision='bfloat16' is for dtype='float32'; float64 is asked for to lose no digits")
    if isinstance(trainable, str):
        raise ValueError(f"trainable={trainable!r}; expected a tuple of names: trainable=({trainable!r},)")
    if not isinstance(trainable, list | tuple | set) or not all(isinstance(name, str) for name in trainable):
        raise TypeError(f"trainable={shown(trainable)}; expected a tuple of names such as ('amplitudes',), or ()")
    check_function("point_loss", point_loss, "a function of a value and its label, such as ns.dynamics.huber(0.1)")
    point_loss = logistic if loss == "logistic" else point_loss
    return Recipe(
        optimizer,
        squared if point_loss is None else point_loss,
        sigmoid=output == "sigmoid",
        logits=BUILT_IN.get(str(configuration(point_loss))) == "logistic",
        trainable=tuple(sorted(trainable)),
        batch_size=batch_size,
        bfloat16=matmul_precision == "bfloat16",
    )


def _check_rate(learning_rate: float, optimizer: Optimizer) -> None:
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


def _field_shape(given: Sequence[int], dim: int) -> tuple[int, ...]:
    expected = f"{dim} positive sizes, one a coordinate, such as {(64,) * dim}"
    if isinstance(given, str) or not isinstance(given, Sequence | np.ndarray):
        raise TypeError(f"field_shape={shown(given)}; expected {expected}")
    sizes = tuple(given)
    if len(sizes) != dim or not all(isinstance(n, int | np.integer) and n is not True and n > 0 for n in sizes):
        raise ValueError(f"field_shape={shown(given)}; expected {expected}")
    return tuple(map(int, sizes))


def _table(schedule: Any, last: int, optimizer: Optimizer) -> tuple[np.ndarray, np.ndarray]:
    """Factors of the learning rate and the first step of each: what `ntkspec.dynamics.Schedule` holds."""
    if schedule is None:
        return np.ones(1), np.zeros(1, dtype=np.int64)
    if not optimizer.takes_rate:
        raise ValueError(f"the optimizer ({optimizer}) was built with its own learning rate; give it the schedule")
    if hasattr(schedule, "factors") and hasattr(schedule, "starts"):
        return _listed(schedule)
    if not callable(schedule):
        raise TypeError(
            f"schedule is a {type(schedule).__name__}; expected one from ns.dynamics (schedule, piecewise, cosine) or "
            "a function of the step"
        )
    _require_countable(last)
    values = _values(schedule, max(last, 1))
    if values.shape != (max(last, 1),):
        raise TypeError(f"the schedule gives arrays of shape {values.shape}; expected one number a step, such as 0.5")
    if not _are_factors(values):
        raise ValueError("the schedule gives factors that are negative, not finite or all zero; expected such as 0.5")
    first = np.flatnonzero(np.r_[True, np.diff(values) != 0])
    return values[first], first


def _listed(schedule: Any) -> tuple[np.ndarray, np.ndarray]:
    """The factors and starts that a schedule has listed."""
    try:
        factors, starts = np.asarray(schedule.factors, dtype=float), np.asarray(schedule.starts)
        alike = factors.ndim == 1 and factors.shape == starts.shape and starts.dtype.kind in "iu"
    except (TypeError, ValueError):
        alike = False
    if not alike or not _are_factors(factors) or starts[0] != 0 or (np.diff(starts) <= 0).any():
        raise ValueError(
            f"schedule is a {type(schedule).__name__} whose factors are not numbers from 0 on, or whose starts are not "
            "as many increasing steps from 0; expected one from ns.dynamics (schedule, piecewise, cosine)"
        )
    return factors, starts.astype(np.int64)


def _are_factors(values: np.ndarray) -> bool:
    return bool(np.isfinite(values).all() and (values >= 0).all() and values.any())


def _require_countable(last: int) -> None:
    need, free = TABULATED * last, psutil.virtual_memory().available
    if need > free:
        raise ValueError(
            f"a schedule that is a function is asked for its factor at every step, and of {last:,} steps they would "
            f"need {need / 2**30:.3g} GiB, of {free / 2**30:.3g} GiB available; give one that lists its changes, "
            "such as ns.dynamics.piecewise({0: 1.0, 1000: 0.1}), or ask for fewer steps"
        )


def _values(schedule: Callable[[Any], Any], count: int) -> np.ndarray:
    try:
        found = np.asarray(jax.vmap(schedule)(jnp.arange(count)))
        if found.dtype.kind in "biuf":
            return found.astype(float)
    # A function of plain numbers looks at its step.
    except (TypeError, ValueError, jax.errors.JAXTypeError):
        pass
    values, step = np.zeros(count), 0
    try:
        for step in range(count):
            values[step] = float(schedule(step))
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"the schedule gives no number at step {step} ({error}); expected a function of the step that gives a "
            "factor of the learning rate, such as 0.5"
        ) from error
    return values
