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
from jaxtyping import Float
from numpy.typing import ArrayLike

from ntkspec.checks import as_columns, check_number, check_seed, check_sizes
from ntkspec.dynamics._base import Loss
from ntkspec.dynamics._times import Times
from ntkspec.limits import refuse_if_too_large
from ntkspec.operator import Operator, largest_eigenvalue
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.record import variable

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
        ValueError: if b is not between 1 and n, labels, points or steps do not fit, the learning rate is past the limit
            of gradient descent, simulations diverge (noise has a lower limit), or they would not fit in memory.

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
    check_number("size", batches.size, 1, n, hint="points in a batch")
    times = Times.of(n, steps, learning_rate, loss)
    top = largest_eigenvalue(K)
    times.require_stable(top)
    columns = columns.astype(K.dtype)
    num_unseen = 0 if unseen is None else len(np.asarray(unseen))
    unseen_columns = None if unseen_labels is None else as_columns(unseen_labels, num_unseen)[0]
    if unseen_columns is not None and unseen_columns.shape[1] != columns.shape[1]:
        raise ValueError(f"`unseen_labels` have {unseen_columns.shape[1]} channels, and `y` has {columns.shape[1]}")
    if unseen is not None:
        K.norm_at(unseen)  # refuses points at which it is not known
    runs, num_steps = batches.runs, len(times.steps)
    num_bytes = (runs * ((2 if num_unseen else 1) * num_steps + 16)) * columns.nbytes * (1 + num_unseen / n)
    what = f"{runs} runs of {n:,} points and {columns.shape[1]} channels at {num_steps} steps"
    refuse_if_too_large(num_bytes, what, "ask for fewer runs or steps")
    keys = jax.random.split(jax.random.key(batches.seed), runs)
    state: tuple = (jnp.zeros((runs, *columns.shape), K.dtype), jnp.zeros((runs, *columns.shape), K.dtype))
    functions, weights, before = [], [], 0
    with progress.start("SGD", num_steps, "stops") as stage:
        for time in times.steps.astype(int).tolist():
            state = _advance(K, columns, state, keys, (before, time), times.rate * n / batches.size, batches.size)
            functions.append(np.asarray(state[0]))
            if unseen is not None:
                weights.append(np.asarray(state[1]))
            before = time
            stage.advance()
    path = np.stack(functions)
    of_run, start = _losses(path, columns, loss), float(_losses(np.zeros((1, 1, *columns.shape)), columns, loss)[0, 0])
    if not np.isfinite(of_run).all() or of_run.max() > 1e6 * max(start, 1e-300):
        what = f"the loss of a run with batches of {batches.size} grew to {of_run.max():.2g} from {start:.2g}"
        limit = f"noise makes SGD unstable below gradient descent's limit ({times.stability_limit(top):.6g})"
        raise ValueError(f"{what}: {limit}; take a smaller learning rate or larger batches")
    variables = _mean_function(path, restore, "train", "point") | _mean_loss(of_run, loss, "loss")
    if unseen is not None:
        values = np.asarray(K.at(unseen, np.moveaxis(np.stack(weights), 2, 0).reshape(n, -1), progress=progress))
        path = np.moveaxis(values.reshape(num_unseen, num_steps, runs, -1), 0, 2)
        variables |= _mean_function(path, restore, "unseen", "asked")
        if unseen_columns is not None:
            variables |= _mean_loss(_losses(path, unseen_columns, loss), loss, "unseen_loss")
    return xr.Dataset(
        variables,
        coords=times.coordinates(K.points, unseen),
        attrs={**times.attributes(operator=K), "batch_size": batches.size, "runs": runs, "seed": batches.seed},
    )


def _losses(
    path: Float[np.ndarray, "t run n c"], labels: Float[np.ndarray, "n c"], loss: Loss
) -> Float[np.ndarray, "t run"]:
    """Loss (step, run) of functions (step, run, point, channel)."""
    with np.errstate(over="ignore", invalid="ignore"):
        return ((labels - path) ** 2).sum(axis=(2, 3)) / (2 if loss == "sum" else 2 * len(labels))


def _mean_function(path: np.ndarray, restore: Callable, name: str, point: str) -> dict[str, tuple]:
    """Mean over runs of functions (step, run, point, channel), with its standard error."""
    mean, runs = restore(path.mean(axis=1)), path.shape[1]
    deviation = path.std(axis=1, ddof=1) if runs > 1 else np.full(path[:, 0].shape, np.inf)
    dims = ("step", point, "channel")[: mean.ndim]
    return {
        name: variable(dims, mean, "mean function over runs"),
        f"{name}_sem": variable(dims, restore(deviation / np.sqrt(runs)), "standard error of the mean function"),
    }


def _mean_loss(of_run: Float[np.ndarray, "t run"], loss: Loss, name: str) -> dict[str, tuple]:
    """Mean over runs of losses (step, run), with its standard error."""
    steps, runs = of_run.shape
    variance = of_run.var(axis=1, ddof=1) if runs > 1 else np.full(steps, np.inf)
    return {
        name: variable("step", of_run.mean(axis=1), f"mean over runs of half the {loss} of squares"),
        f"{name}_sem": variable("step", np.sqrt(variance / runs), "standard error of the mean loss"),
        f"{name}_variance": variable("step", variance, "variance of the loss over runs"),
        f"{name}_of_run": variable(("step", "run"), of_run, "loss of a run"),
    }


@partial(jax.jit, static_argnames="batch_size", donate_argnames="state")
def _advance(
    K: Operator, y: Array, state: tuple, keys: Array, between: tuple, rate: Array, batch_size: int
) -> tuple[Array, Array]:
    """Return the functions and their weights (run, point, channel) after the steps from one to before another."""

    def move(function: Array, weights: Array, key: Array) -> tuple[Array, Array]:
        chosen = jax.random.permutation(key, y.shape[0])[:batch_size]
        batch = rate * jnp.zeros_like(y).at[chosen].set(y[chosen] - function[chosen])
        return function + jax.vmap(K.matvec, in_axes=1, out_axes=1)(batch), weights + batch

    def step(i: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        return jax.vmap(move)(*state, jax.vmap(lambda key: jax.random.fold_in(key, i))(keys))

    first, last = between
    return jax.lax.fori_loop(first, last, step, state)
