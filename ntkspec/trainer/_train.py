"""Train the network whose kernel was computed, several seeds at once, and record its trajectory."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

import jax
import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from ntkspec.kernel._composed import ComposedKernel
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.trainer._asked import Settings, keeping, planned
from ntkspec.trainer._checkpoint import Checkpoints
from ntkspec.trainer._memory import need_of, partition
from ntkspec.trainer._model import PointLoss
from ntkspec.trainer._observer import Observe
from ntkspec.trainer._optimizer import Optimizer
from ntkspec.trainer._rate import stable_rates
from ntkspec.trainer._result import dataset
from ntkspec.trainer._run import run

__all__ = ["DEFAULTS", "require_trainable", "stability_limit", "train"]


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
    """Train `seeds` finite networks in one run, by full-batch gradient descent unless told otherwise.

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
            Those of one processor take turns, small ones on a core each; those of a GPU are trained side by side.
        checkpoint: folder for checkpoints, every ten minutes and at the end, or `ntkspec.trainer.Checkpoints`. Ctrl-C
            then saves one more before it stops; a second one stops at once. While a loss is over 50 times its start
            nothing is saved before the end: a run that diverges does not replace what was good.
        resume: True goes on from the newest checkpoint, to the same bits on the same device, or begins where there is
            none; "previous" takes the one before it where that one is no good. On a GPU, XLA chooses among its matrix
            products by timing them anew in each process, and the bits are the same only where
            XLA_FLAGS=--xla_gpu_deterministic_ops=true keeps it from that.
        observe: called at each recorded step as ``observe(step, params)``, parameters (seed, …) of the networks (with a
            learned mapping {"network": those, "mapping": its fields}); the Datasets it returns join the result along
            `step`. If it has a method ``begin(k, params)``, that is called first, with the kernel and the parameters
            that networks start from, for each part of the ensemble and after `resume`, and what it returns is called
            in its place: see `ntkspec.trainer.LookingBack`.
        progress: reporter of loss, PSNR (of signals in [0, 1]), steps per second and time left.

    Returns:
        Dataset named as a prediction's: `train` (seed, step, point[, channel]), `loss` (seed, step), `target`; on
        lattice points `residual_energy` (seed, step, frequency), where a logit stands for its sigmoid, and
        `target_energy` (frequency); with `field_shape`
        the `field` (seed, step, axis0, …[, channel]). The attributes say how it was trained.

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
    plan = planned(
        (k,),
        x,
        y,
        steps=steps,
        rates=None if learning_rate is None else (learning_rate,),
        loss=loss,
        point_loss=point_loss,
        optimizer=optimizer,
        schedule=schedule,
        batch_size=batch_size,
        output=output,
        init=init,
        trainable=trainable,
        seeds=seeds,
        seed=seed,
        centered=centered,
        field_shape=field_shape,
        dtype=dtype,
        matmul_precision=matmul_precision,
    )
    plan, trajectory = run(plan, devices, keeping(checkpoint, resume), observe, progress)
    return dataset(plan, trajectory, 0, squeeze=np.ndim(y) == 1)


#: Settings and what they are where they are not given: told by `train` alone.
DEFAULTS: dict[str, Any] = {
    name: one.default for name, one in inspect.signature(train).parameters.items() if name in Settings.__annotations__
}


def require_trainable(
    k: ComposedKernel,
    x: ArrayLike,
    y: ArrayLike,
    *,
    steps: Sequence[int],
    learning_rate: float | None = None,
    **settings: Unpack[Settings],
) -> None:
    """Refuse what `train` would refuse, before any work: arguments as there.

    Raises:
        ValueError: if something does not fit, or one network would not fit in memory; in words.
        TypeError: if an optimizer or a schedule is none.

    Example:
        >>> import ntkspec as ns, numpy as np
        >>> k = ns.kernel.compose(ns.mapping.basic(dim=1), ns.kernel.MLP(depth=1, width=64))
        >>> ns.trainer.require_trainable(k, np.zeros((8, 1)), np.zeros(8), steps=[1], batch_size=9)
        Traceback (most recent call last):
        ValueError: batch_size=9; expected at most the number of points, 8, or None for all
    """
    rates = None if learning_rate is None else (learning_rate,)
    everything: dict[str, Any] = {**DEFAULTS, **settings}
    plan = planned((k,), x, y, steps=steps, rates=rates, **everything)
    partition(plan, need_of(plan), jax.local_devices())


def stability_limit(k: ComposedKernel, x: ArrayLike, y: ArrayLike, **settings: Unpack[Settings]) -> float:
    """The largest stable learning rate of a network as it starts, with its batches and what is learned of its mapping.

    It is x/(sλ) with λ the largest eigenvalue of C^½ J Jᵀ C^½: J is the Jacobian of the outputs, C the curvature of the
    loss in them, s its scale, and x = 2 for gradient descent. Batches add the noise of their gradients to λ, and
    momentum remembers it. `train` takes half of it where no learning rate is given. Theory has its own,
    ``ns.dynamics.max_learning_rate(K)``, of a fixed mapping, all points and infinite width.

    Args:
        k: mapping and network.
        x: training points, shape (n, d).
        y: labels, shape (n,) or (n, channels).
        **settings: of `train`, by the same names.

    Returns:
        The limit for the first network, of the asked loss; NaN where the optimizer has none, infinity where the loss
        has no curvature at the start, at zero nor at the labels.

    Raises:
        ValueError: as `train` does.
        TypeError: as `train` does.

    Source: Lee et al. 2019, section 2.2.

    Example:
        >>> import ntkspec as ns, numpy as np
        >>> k = ns.kernel.compose(ns.mapping.basic(dim=1), ns.kernel.MLP(depth=1, width=64))
        >>> x = np.arange(8)[:, None] / 8
        >>> of_network = lambda **settings: ns.trainer.stability_limit(k, x, np.sin(2 * np.pi * x[:, 0]), **settings)
        >>> bool(of_network(trainable=("frequencies",)) < of_network())
        True
    """
    plan = planned((k,), x, y, steps=[0], rates=None, **{**DEFAULTS, **settings})
    if plan.recipe.optimizer.limit is None:
        return math.nan
    params = plan.params(0, 1)
    return float(stable_rates(plan.recipe, plan.problem(params, 0), params)[0])
