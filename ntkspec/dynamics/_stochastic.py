"""Minibatch SGD in the kernel regime: no filter of λ, since batches mix the modes, but still a linear recursion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from numpy.typing import ArrayLike

from ntkspec.checks import as_columns, check_number, check_seed, check_sizes
from ntkspec.dynamics._base import Loss
from ntkspec.dynamics._times import Times
from ntkspec.limits import refuse_if_too_large
from ntkspec.operator import Operator, largest_eigenvalue
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.record import attributes, variable

__all__ = ["Batches", "stochastic_descent"]


@dataclass(frozen=True)
class Batches:
    """Random batches of points, and how many independent simulations of them.

    Attributes:
        size: points in a batch.
        runs: number of simulations.
        seed: seed of the batches.
    """

    size: int
    runs: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        check_sizes(size=self.size, runs=self.runs)
        check_seed(self.seed)


def stochastic_descent(
    K: Operator,
    y: ArrayLike,
    *,
    batches: Batches,
    steps: Sequence[int],
    learning_rate: float,
    loss: Loss = "sum",
    unseen: ArrayLike | None = None,
    unseen_labels: ArrayLike | None = None,
    progress: Progress = NO_PROGRESS,
) -> xr.Dataset:
    """Simulate minibatch SGD of an infinitely wide network: w_B ← w_B + η (n/b)(y − Kw)_B for random batches B.

    A batch is b of the n points without repetition, independent of the one before. Its gradient is unbiased, so the
    mean trajectory is exactly that of gradient descent; the loss is larger by the variance: with e = y − f,

        E e_{t+1} = (1 − ηK) E e_t,    E[Δe Δeᵀ | e] = η² K Cov(g_B) K,
        Cov(g_B)_ij = (n − b)/(b (n − 1)) (n δ_ij e_i² − e_i e_j).

    Args:
        K: a kernel operator on n points.
        y: labels, shape (n,) or (n, channels); channels share batches.
        batches: size b, from 1 to n (which is gradient descent), number of simulations and seed.
        steps: whole steps to report, increasing.
        learning_rate: η of the loss, as in gradient descent.
        loss: "sum" or "mean"; for "mean" a step is the usual η times the mean gradient of the batch.
        unseen: also give the function at these points, shape (m, d): a run's weights w are known, and f = k(·, x) w.
        unseen_labels: what it should be there, shape (m,) or (m, channels), for the loss at unseen points.
        progress: reporter.

    Returns:
        Dataset over `step`: `loss` on all points, the mean over runs in the asked reduction, `loss_sem`, its standard
        error (infinite for one run), `loss_variance` over runs, `loss_of_run` (step, run); `train` (step, point[,
        channel]), the mean over runs, and `train_sem`, its standard error at each point. With `unseen`, `unseen` and
        `unseen_sem` (step, asked[, channel]), and with its labels `unseen_loss`, `unseen_loss_sem` and
        `unseen_loss_variance` like those of the training points.

    Raises:
        ValueError: if b is not between 1 and n, the seed is negative or no whole number, labels, points or steps are no
            good, the learning rate is past the limit of gradient descent, simulations diverge (noise has a lower limit:
            the message says what to try), or they would not fit in memory.

    Source: the recursion itself; compare Paquette, Lee, Pedregosa & Paquette 2021, "SGD in the large", section 2.

    Example:
        >>> import ntkspec as ns
        >>> k = ns.kernel.compose(ns.mapping.gaussian(1, 8, scale=2.0), ns.kernel.MLP(depth=1))
        >>> K = ns.operator.lattice(k, (8,))
        >>> y = np.sin(2 * np.pi * K.points[:, 0])
        >>> p = stochastic_descent(K, y, batches=Batches(4, runs=4), steps=[0, 20], learning_rate=0.02)
        >>> p.loss_of_run.dims, bool(p.loss[1] < p.loss[0])
        (('step', 'run'), True)
    """
    n = K.num_points
    columns, restore = as_columns(y, n)
    batch_size, runs, seed = batches.size, batches.runs, batches.seed
    check_number("size", batch_size, 1, n, hint="points in a batch")
    times = Times.of(n, steps, learning_rate, loss)
    top = largest_eigenvalue(K)
    times.require_stable(top)
    columns = columns.astype(K.dtype)
    asked = 0 if unseen is None else len(np.asarray(unseen))
    there = None if unseen_labels is None else as_columns(unseen_labels, asked)[0]
    if there is not None and there.shape != (asked, columns.shape[1]):
        raise ValueError(f"`unseen_labels` have {there.shape[1]} channels, and `y` has {columns.shape[1]}")
    if unseen is not None:
        K.norm_at(unseen)  # refuses points at which it is not known
    num_bytes = (runs * ((2 if asked else 1) * len(times.steps) + 16)) * columns.nbytes * (1 + asked / n)
    what = f"{runs} runs of {n:,} points and {columns.shape[1]} channels at {len(times.steps)} steps"
    refuse_if_too_large(num_bytes, what, "ask for fewer runs or steps")
    keys = jax.random.split(jax.random.key(seed), runs)
    empty = np.zeros((runs, *columns.shape), dtype=K.dtype)
    state, found, weights, before = (jnp.array(empty), jnp.array(empty)), [], [], 0
    with progress.start("SGD", len(times.steps), "stops") as stage:
        for time in times.steps.astype(int).tolist():
            state = _advance(K, columns, *state, keys, before, time, times.rate * n / batch_size, batch_size)
            found.append(np.asarray(state[0]))
            if unseen is not None:
                weights.append(np.asarray(state[1]))
            before = time
            stage.advance()
    path = np.stack(found)
    half = 2 if loss == "sum" else 2 * n
    with np.errstate(over="ignore", invalid="ignore"):
        of_run = ((columns - path) ** 2).sum(axis=(2, 3)) / half
    start = float((columns**2).sum()) / half
    if not np.isfinite(of_run).all() or of_run.max() > 1e6 * max(start, 1e-300):
        what = f"the loss of a run with batches of {batch_size} grew to {of_run.max():.2g} from {start:.2g}"
        limit = f"noise makes SGD unstable below gradient descent's limit ({times.stability_limit(top):.6g})"
        raise ValueError(f"{what}: {limit}; take a smaller learning rate or larger batches")
    variables = _over_runs(path, of_run, "point", restore, loss)
    if unseen is not None:
        function = _elsewhere(K, unseen, np.stack(weights), progress)
        half = 2 if loss == "sum" else 2 * asked
        losses = None if there is None else ((there - function) ** 2).sum(axis=(2, 3)) / half
        names = {"train": "unseen", "train_sem": "unseen_sem"}
        elsewhere = _over_runs(function, losses, "asked", restore, loss)
        variables |= {names.get(name, f"unseen_{name}"): value for name, value in elsewhere.items()}
    return xr.Dataset(
        variables,
        coords={
            "step": times.coordinate(),
            "x": variable(("point", "axis"), K.points, "coordinate", "unit"),
            **({} if unseen is None else {"unseen_x": variable(("asked", "axis"), unseen, "coordinate", "unit")}),
        },
        attrs={
            **attributes(operator=K),
            **times.attributes(),
            "batch_size": batch_size,
            "runs": runs,
            "seed": seed,
        },
    )


def _over_runs(
    path: np.ndarray, of_run: np.ndarray | None, point: str, restore: Callable, loss: Loss
) -> dict[str, tuple]:
    """Means over runs of functions (step, run, point, channel) and losses (step, run), with their standard errors."""
    steps, runs = path.shape[:2]
    mean = restore(path.mean(axis=1))
    dims = ("step", point, "channel")[: mean.ndim]
    deviation = path.std(axis=1, ddof=1) if runs > 1 else np.full(path[:, 0].shape, np.inf)
    found: dict[str, tuple] = {
        "train": variable(dims, mean, "mean function over runs"),
        "train_sem": variable(dims, restore(deviation / np.sqrt(runs)), "standard error of the mean function"),
    }
    if of_run is not None:
        variance = of_run.var(axis=1, ddof=1) if runs > 1 else np.full(steps, np.inf)
        found |= {
            "loss": variable("step", of_run.mean(axis=1), f"mean over runs of half the {loss} of squares"),
            "loss_sem": variable("step", np.sqrt(variance / runs), "standard error of the mean loss"),
            "loss_variance": variable("step", variance, "variance of the loss over runs"),
            "loss_of_run": variable(("step", "run"), of_run, "loss of a run"),
        }
    return found


def _elsewhere(K: Operator, unseen: ArrayLike, weights: np.ndarray, progress: Progress) -> np.ndarray:
    """Return the functions of weights (step, run, point, channel) at other points, (step, run, asked, channel)."""
    steps, runs, n, channels = weights.shape
    values = np.asarray(K.at(unseen, np.moveaxis(weights, 2, 0).reshape(n, -1), progress=progress))
    return np.moveaxis(values.reshape(len(values), steps, runs, channels), 0, 2)


@partial(jax.jit, static_argnames="batch_size", donate_argnames=("function", "weights"))
def _advance(
    K: Operator,
    y: Array,
    function: Array,
    weights: Array,
    keys: Array,
    first: Array,
    last: Array,
    rate: Array,
    batch_size: int,
) -> tuple[Array, Array]:
    """Return the functions and their weights (run, point, channel) after the steps from `first` to before `last`."""

    def move(function: Array, weights: Array, key: Array) -> tuple[Array, Array]:
        chosen = jax.random.permutation(key, y.shape[0])[:batch_size]
        batch = rate * jnp.zeros_like(y).at[chosen].set(y[chosen] - function[chosen])
        return function + jax.vmap(K.matvec, in_axes=1, out_axes=1)(batch), weights + batch

    def step(i: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        return jax.vmap(move)(*state, jax.vmap(lambda key: jax.random.fold_in(key, i))(keys))

    return jax.lax.fori_loop(first, last, step, (function, weights))
