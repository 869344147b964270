"""Networks behind several mappings of one shape, trained as one program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from ntkspec.checks import check_numbers
from ntkspec.kernel._composed import ComposedKernel, check_composed
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.record import attributes
from ntkspec.trainer._checkpoint import Keep
from ntkspec.trainer._observer import Observe
from ntkspec.trainer._plan import planned
from ntkspec.trainer._result import dataset
from ntkspec.trainer._run import trained
from ntkspec.trainer._trajectory import side_by_side
from ntkspec.training import Training

__all__ = ["train_scales"]

#: The same for every scale: kept once.
SHARED = ("target", "target_energy")


def train_scales(  # noqa: PLR0913  # a door: options are named in one call
    kernels: Mapping[float, ComposedKernel],
    x: ArrayLike,
    y: ArrayLike,
    *,
    steps: Sequence[int],
    learning_rate: float | Sequence[float] | None = None,
    training: Training = Training(),  # noqa: B008  # it is frozen
    seeds: int = 4,
    seed: int = 0,
    field_shape: tuple[int, ...] | None = None,
    devices: Sequence[jax.Device] | None = None,
    checkpoint: Keep | str | Path | None = None,
    resume: bool | str = False,
    observe: Observe | None = None,
    progress: Progress = NO_PROGRESS,
    **options: Any,
) -> xr.Dataset:
    """Train networks behind several mappings in one run: each as `train` would, by one program.

    Args:
        kernels: by scale; one network behind mappings that differ in numbers alone.
        x: training points, shape (n, d).
        y: labels, shape (n,) or (n, channels).
        steps: increasing whole numbers of steps after which to record.
        learning_rate: η of the loss, one for all or one for each scale; None takes each from its own kernel.
        training: options of the networks.
        seeds: number of networks of each scale.
        seed: number of the first network.
        field_shape: shape of the lattice on which the function is recorded, too.
        devices: devices that train; None is all local ones.
        checkpoint: folder for checkpoints, or `Keep`.
        resume: go on from the newest.
        observe: called at each recorded step and for each scale in turn; one observer looks back for all of them.
        progress: reporter.
        **options: fields of `Training` that differ from `training`, by name.

    Returns:
        The Dataset of `train` with a dimension `scale` in front, and `learning_rate` (scale).

    Raises:
        ValueError: if the kernels differ in more than the numbers of their mapping, or as `train` does.
        TypeError: if they are no kernels by scale, or as `train` does.

    Source: as `train`.

    Example:
        >>> import ntkspec as ns, numpy as np
        >>> net = ns.kernel.MLP(depth=1, width=64)
        >>> x = np.arange(8)[:, None] / 8
        >>> kernels = {s: ns.kernel.compose(ns.mapping.gaussian(1, 8, scale=s), net) for s in (1.0, 3.0)}
        >>> r = ns.trainer.train_scales(kernels, x, np.sin(2 * np.pi * x[:, 0]), steps=[0, 20], seeds=2)
        >>> r.train.dims, r.scale.values.tolist()
        (('scale', 'seed', 'step', 'point'), [1.0, 3.0])
    """
    found = _kernels(kernels)
    plan = planned(
        found,
        x,
        y,
        steps=steps,
        training=replace(training, **options),
        rates=_each(learning_rate, len(found)),
        seeds=seeds,
        seed=seed,
        field_shape=field_shape,
    )
    plan, trajectory = trained(plan, Keep.of(checkpoint, resume), observe, devices, progress)
    datasets = [dataset(plan, trajectory, g) for g in range(len(found))]
    scale = xr.DataArray(list(kernels), dims="scale", name="scale")
    scale.attrs = {"long_name": "scale", "units": "cycles per unit"}
    together = side_by_side([one.drop_vars(SHARED, errors="ignore") for one in datasets], scale)
    shared = datasets[0][[name for name in SHARED if name in datasets[0]]]
    together = together.assign(shared.data_vars)
    together["learning_rate"] = ("scale", list(plan.rates or ()), {"long_name": "learning rate", "units": ""})
    together.attrs |= attributes(kernels={str(scale): k for scale, k in kernels.items()})
    return together


def _each(learning_rate: float | Sequence[float] | None, count: int) -> tuple[float, ...] | None:
    if learning_rate is None:
        return None
    given = check_numbers("learning rates", learning_rate, "one, or one for each scale", "give real ones")
    rates = tuple(np.atleast_1d(given).ravel().tolist())
    rates = rates * count if given.ndim == 0 else rates
    if len(rates) != count:
        raise ValueError(f"learning_rate has {len(rates)} values; expected one, or one for each of {count} scales")
    return rates


def _kernels(kernels: Mapping[float, ComposedKernel]) -> tuple[ComposedKernel, ...]:
    """Return the kernels of all scales, checked."""
    if not isinstance(kernels, Mapping) or not all(isinstance(one, Real) for one in kernels):
        got = f"has the scales {list(kernels)}" if isinstance(kernels, Mapping) else f"is a {type(kernels).__name__}"
        raise TypeError(f"`kernels` {got}; expected kernels by scale, a number each, such as {{1.0: k, 4.0: k4}}")
    if not kernels:
        raise ValueError("no kernels were given; expected such as {1.0: k, 4.0: k4}")
    found = tuple(kernels.values())
    for k in found:
        check_composed(k)
    first = found[0]
    structure: Any = jax.tree.structure(first)
    for k in found[1:]:
        same = jax.tree.structure(k) == structure and all(
            np.shape(a) == np.shape(b) for a, b in zip(jax.tree.leaves(k), jax.tree.leaves(first), strict=True)
        )
        leaves = zip(jax.tree.leaves(k.network), jax.tree.leaves(first.network), strict=False)
        if not same or not all(np.array_equal(a, b) for a, b in leaves):
            raise ValueError(
                "the kernels differ in more than the numbers of their mapping, so they are not one program; give all "
                "the same network and mappings of one kind and size, or train them one by one"
            )
    return found
