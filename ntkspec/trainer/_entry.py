"""The doors: networks of one kernel or of several, checked as a plan and trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import Any

import jax
import xarray as xr
from numpy.typing import ArrayLike

from ntkspec.checks import shown
from ntkspec.kernel._composed import ComposedKernel
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.record import attributes, variable
from ntkspec.trainer._keep import NO_KEEP, Keep
from ntkspec.trainer._loop import trained
from ntkspec.trainer._memory import need_of, partition
from ntkspec.trainer._plan import Plan, planned
from ntkspec.trainer._rate import stable_rates
from ntkspec.trainer._recording import Observe, dataset, side_by_side
from ntkspec.training import Training


def train(  # noqa: PLR0913  # a door: options are named in one call
    k: ComposedKernel,
    x: ArrayLike,
    y: ArrayLike,
    *,
    steps: Sequence[int],
    learning_rate: float | None = None,
    training: Training = Training(),  # noqa: B008  # it is frozen
    seeds: int = 4,
    seed: int = 0,
    field_shape: tuple[int, ...] | None = None,
    unseen: ArrayLike | None = None,
    devices: Sequence[jax.Device] | None = None,
    checkpoint: Keep | str | Path | None = None,
    resume: bool | str = False,
    observe: Observe | None = None,
    progress: Progress = NO_PROGRESS,
    **options: Any,
) -> xr.Dataset:
    """Train `seeds` finite networks in one run, by full-batch gradient descent if no option says otherwise.

    Centred, the trained function is f(θ_t) − f(θ_0), which starts at zero exactly where a prediction without
    `initial` starts, and has the kernel of f; otherwise it is f(θ_t), and a prediction needs its step 0 as `initial`.

    Args:
        k: mapping and network; the network needs a width.
        x: training points, shape (n, d).
        y: labels, shape (n,) or (n, channels).
        steps: increasing whole numbers of steps after which to record.
        learning_rate: η of the loss. None takes half of the stability limit of the first network's own kernel as it
            starts (gradient descent, heavy ball, Nesterov), for optimizers of optax the default that they name,
            Adam's 1e-3 where they name none, 1 for Adadelta and 1e-2 for Adafactor; "lbfgs" finds its own steps.
        training: options of the networks.
        seeds: number of networks.
        seed: of the first network's initialisation; the others, and batches, are folded in by number.
        field_shape: also record the function on the lattice i/field_shape, as a prediction's `field`.
        unseen: also record it at these points, shape (m, d), as a prediction's `unseen`.
        devices: that train; None is all local ones. Networks are spread over them, and what is left shares the points.
            Those of one processor take turns, small ones on a core each; those of a GPU are trained side by side.
        checkpoint: folder for checkpoints, every ten minutes and at the end, or `ntkspec.trainer.Keep`. Ctrl-C
            then saves one more before it stops; a second one stops at once. While a loss is over 50 times its start
            nothing is saved before the end: a run that diverges does not replace what was good.
        resume: True goes on from the newest checkpoint, to the same bits on the same device, or begins where there is
            none; "previous" takes the one before it where that one cannot be used. On a GPU, XLA chooses among its
            matrix products by timing them anew in each process, and the bits are the same only where
            XLA_FLAGS=--xla_gpu_deterministic_ops=true keeps it from that.
        observe: called at each recorded step as ``observe(step, params)``, parameters (seed, …) of the networks (with a
            learned mapping {"network": those, "mapping": its fields}); the Datasets it returns join the result along
            `step`. If it has a method ``begin(k, params)``, that is called first, with the kernel and the parameters
            that networks start from, for each part of the ensemble and after `resume`, and what it returns is called
            in its place: see `ntkspec.trainer.LookingBack`.
        progress: reporter of loss, PSNR (of signals in [0, 1]), steps per second and time left.
        **options: fields of `ntkspec.trainer.Training` that differ from `training`, by name: loss="mean",
            optimizer="adam", batch_size=32, …

    Returns:
        Dataset named as a prediction's: `train` (seed, step, point[, channel]), `loss` (seed, step), `target`; on
        lattice points `residual_energy` (seed, step, frequency), of the sigmoid of a logit, and `target_energy`
        (frequency); with `field_shape` the `field` (seed, step, axis0, …[, channel]), with `unseen` the `unseen` (seed,
        step, asked[, channel]). The attributes say how it was trained.

    Raises:
        ValueError: if an argument has a wrong value or shape, a batch is larger than the data, labels are outside of
            what the output can be, the network has no width, one network or what is recorded does not fit in memory,
            or a checkpoint is of another run.
        TypeError: if an argument is of a wrong kind.
        FloatingPointError: if a loss stops being finite or grows a million times; the message names the step, the
            stability limit and what to change.
        KeyboardInterrupt: after Ctrl-C, with checkpoints once one more is saved.

    Source: Jacot et al. 2018; Lee et al. 2019, section 2; centring: Chizat, Oyallon & Bach 2019, "On lazy training".

    Example:
        >>> import ntkspec as ns, numpy as np
        >>> k = ns.kernel.compose(ns.mapping.basic(dim=1), ns.kernel.MLP(depth=1, width=64))
        >>> x = np.arange(8)[:, None] / 8
        >>> r = ns.trainer.train(k, x, np.sin(2 * np.pi * x[:, 0]), steps=[0, 50], learning_rate=0.1, seeds=2)
        >>> dict(r.sizes)["seed"], bool((r.loss.sel(step=50) < r.loss.sel(step=0)).all())
        (2, True)
    """
    checked = planned(
        k, x, y, steps=steps, training=replace(training, **options), learning_rate=learning_rate, seeds=seeds,
        seed=seed, field_shape=field_shape, unseen=unseen,
    )  # fmt: skip
    return run(checked, Keep.of(checkpoint, resume), observe, devices, progress)


def plan(
    k: ComposedKernel,
    x: ArrayLike,
    y: ArrayLike,
    *,
    steps: Sequence[int],
    training: Training = Training(),  # noqa: B008  # it is frozen
    learning_rate: float | None = None,
    seeds: int = 4,
    seed: int = 0,
    field_shape: tuple[int, ...] | None = None,
    unseen: ArrayLike | None = None,
) -> Plan:
    """Check all that a run depends on, before anything is allocated.

    The arguments are those of `train`.

    Returns:
        The plan, for `run` and `stability_limit`; `Plan.changed` gives that of another run on the same labels.

    Raises:
        ValueError: if an argument has a wrong value, does not go with the others, or one network does not fit in the
            memory of the local devices.

    Example:
        >>> import ntkspec as ns, numpy as np
        >>> k = ns.kernel.compose(ns.mapping.basic(dim=1), ns.kernel.MLP(depth=1, width=64))
        >>> x = np.arange(8)[:, None] / 8
        >>> plan = ns.trainer.plan(k, x, np.sin(2 * np.pi * x[:, 0]), steps=[0, 50], seeds=2)
        >>> ns.trainer.run(plan).sizes["seed"]
        2
        >>> ns.trainer.plan(k, x, np.zeros(8), steps=[1], training=ns.trainer.Training(batch_size=9))
        Traceback (most recent call last):
        ValueError: batch_size=9; expected at most the number of points, 8; by default all
    """
    checked = planned(
        k, x, y, steps=steps, training=training, learning_rate=learning_rate, seeds=seeds, seed=seed,
        field_shape=field_shape, unseen=unseen,
    )  # fmt: skip
    partition(checked, need_of(checked), jax.local_devices())
    return checked


def run(
    plan: Plan,
    keep: Keep = NO_KEEP,
    observe: Observe | None = None,
    devices: Sequence[jax.Device] | None = None,
    progress: Progress = NO_PROGRESS,
) -> xr.Dataset:
    """Train the networks of a plan.

    Args:
        plan: plan from `plan`.
        keep: folder and intervals of checkpoints, and whether to go on from one.
        observe: function of step and parameters; see `train`.
        devices: devices that train; None is all local ones.
        progress: reporter.

    Returns:
        The Dataset of `train`, which raises what this does.
    """
    return dataset(*trained(plan, keep, observe, devices, progress), 0)


def stability_limit(plan: Plan) -> float:
    """Return the largest stable learning rate of a network as it starts, with its batches and its learned mapping.

    It is x/(sλ) with λ the largest eigenvalue of C^½ J Jᵀ C^½: J is the Jacobian of the outputs, C the curvature of the
    loss in them, s its scale, and x = 2 for gradient descent. Batches add the noise of their gradients to λ, and
    momentum accumulates it. `train` takes half of it where no learning rate is given. That of theory,
    ``ns.dynamics.max_learning_rate(K)``, is of a fixed mapping, all points and infinite width.

    Args:
        plan: plan from `plan`.

    Returns:
        The limit for the first network and the plan's loss; NaN where the optimizer has none, infinity where the loss
        has no curvature at the start, at zero nor at the labels.

    Source: Lee et al. 2019, section 2.2.

    Example:
        >>> import ntkspec as ns, numpy as np
        >>> k = ns.kernel.compose(ns.mapping.basic(dim=1), ns.kernel.MLP(depth=1, width=64))
        >>> x = np.arange(8)[:, None] / 8
        >>> fixed = plan(k, x, np.sin(2 * np.pi * x[:, 0]), steps=[0])
        >>> learned = replace(fixed, training=Training(trainable=("frequencies",)))
        >>> stability_limit(learned) < stability_limit(fixed)
        True
    """
    if plan.recipe.optimizer.limit is None:
        return math.nan
    params = plan.params(0, 1)
    return float(stable_rates(plan.recipe, plan.problem(params, 0), params)[0])


#: The same for every scale: kept once.
SHARED = ("target", "target_energy")


def train_scales(
    plans: Mapping[float, Plan],
    keep: Keep = NO_KEEP,
    observe: Observe | None = None,
    devices: Sequence[jax.Device] | None = None,
    progress: Progress = NO_PROGRESS,
) -> xr.Dataset:
    """Train networks behind several mappings in one run: each as `run` would, by one program.

    Args:
        plans: plans by scale; they differ in the numbers of their mapping and in their learning rate alone.
        keep: folder and intervals of checkpoints, and whether to go on from one.
        observe: function called at each recorded step and for each scale in turn, as in `train`.
        devices: devices that train; None is all local ones.
        progress: reporter.

    Returns:
        The Dataset of `train` with a dimension `scale` in front, and `learning_rate` (scale).

    Example:
        >>> import ntkspec as ns, numpy as np
        >>> net, x = ns.kernel.MLP(depth=1, width=64), np.arange(8)[:, None] / 8
        >>> def planned(scale):
        ...     k = ns.kernel.compose(ns.mapping.gaussian(1, 8, scale=scale), net)
        ...     return ns.trainer.plan(k, x, np.sin(2 * np.pi * x[:, 0]), steps=[0, 20], seeds=2)
        >>> r = ns.trainer.train_scales({scale: planned(scale) for scale in (1.0, 3.0)})
        >>> r.train.dims, r.scale.values.tolist()
        (('scale', 'seed', 'step', 'point'), [1.0, 3.0])
    """
    plan, trajectory = trained(_together(plans), keep, observe, devices, progress)
    datasets = [dataset(plan, trajectory, g) for g in range(len(plans))]
    scale = xr.DataArray(list(plans), dims="scale", name="scale")
    scale.attrs = {"long_name": "scale", "units": "cycles per unit"}
    together = side_by_side([each.drop_vars(SHARED, errors="ignore") for each in datasets], scale)
    together = together.assign({name: datasets[0][name] for name in SHARED if name in datasets[0]})
    together["learning_rate"] = variable("scale", list(plan.rates or ()), "learning rate")
    together.attrs |= attributes(kernels=dict(zip(map(str, plans), plan.kernels, strict=True)))
    return together


def _together(plans: Mapping[float, Plan]) -> Plan:
    """Return one plan of the kernels of all."""
    by_scale = isinstance(plans, Mapping) and all(isinstance(scale, Real) for scale in plans)
    if not by_scale or not plans or not all(isinstance(plan, Plan) for plan in plans.values()):
        expected = "plans by scale, a number each, such as {1.0: ns.trainer.plan(...)}"
        raise TypeError(f"plans={shown(plans)}; expected {expected}")
    first, *others = plans.values()
    if not all(first.is_beside(other) for other in others):
        advice = "give all the same network and mappings of one kind and size, or train them one by one"
        raise ValueError(f"the plans differ in more than the numbers of their mapping and learning rate; {advice}")
    rates = None if first.rates is None else tuple(plan.rates[0] for plan in plans.values() if plan.rates)
    return replace(first, kernels=tuple(plan.kernels[0] for plan in plans.values()), rates=rates)
