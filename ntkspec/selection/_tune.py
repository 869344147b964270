"""Gradient tuning of a mapping through the kernel: the amplitudes that generalise best from a training lattice."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from jax import Array
from numpy.typing import ArrayLike

from ntkspec.checks import check_positive, check_sizes
from ntkspec.kernel import ComposedKernel
from ntkspec.mapping import FourierMapping, with_amplitudes
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.record import attributes, variable

__all__ = ["lattice_error", "tune_amplitudes"]

#: Iterations between two reports of progress.
STRETCH = 50


def lattice_error(k: ComposedKernel, values: ArrayLike, stride: int, time: ArrayLike) -> Array:
    """Mean squared error between the training points, exactly, after learning every `stride`-th point of a lattice.

    Whole frequencies make the kernel periodic, so everything is diagonal in plane waves. With the transform H of the
    kernel on all N points of a lattice and the alias classes q of the n training points,
    λ_q = n/N Σ_{k in q} H_k, and the learned function is
    f̂_k = (N/n) (H_k / Σ_{k' in q} H_k') (1 − e^{−τ λ_q}) ŷ_q with ŷ_q the transform of the labels.

    Args:
        k: kernel behind a mapping of whole frequencies; its amplitudes may be traced.
        values: signals on the lattice, shape (signals, *shape).
        stride: distance of the training points on each axis; it divides each size.
        time: τ = learning rate times steps, for half the summed squares.

    Returns:
        The error of each signal, shape (signals,).

    Raises:
        ValueError: if the mapping has frequencies that are not whole (traced ones are not checked), the values have
            another number of axes, or the stride does not divide a size.

    Source: Tancik et al. 2020, section 5 and the notebook 1d_ntk_opt of its code.

    Example:
        >>> import ntkspec as ns
        >>> k = ns.kernel.compose(ns.mapping.power_law(8, p=1.0), ns.kernel.MLP(depth=2))
        >>> y = np.cos(2 * np.pi * np.arange(32) / 32)
        >>> early, late = (float(lattice_error(k, y[None], 2, time)[0]) for time in (0.1, 10.0))
        >>> late < early < 0.5
        True
    """
    values, time = jnp.asarray(values), jnp.asarray(time, dtype=float)
    parts = jax.tree.leaves(k.mapping, is_leaf=lambda part: isinstance(part, FourierMapping))
    traced = any(isinstance(getattr(part, "frequencies", None), jax.core.Tracer) for part in parts)
    if not traced and not k.periodic:
        raise ValueError(
            "the error between the points has a closed form for a kernel of period 1 alone, behind a mapping of whole "
            "frequencies such as mapping.power_law(m, p); for others, compare ns.predict(K, y, ..., everywhere=True) "
            "with the signal"
        )
    _require_strided(k, values.shape, stride)
    shape = values.shape[1:]
    axes = tuple(range(1, values.ndim))
    trained = tuple(n // stride for n in shape)
    ratio = stride ** len(shape)
    H = jnp.fft.fftn(k.lag_grid(tuple(np.arange(n) / n for n in shape), "ntk")).real
    # Axis i as (alias, class), the aliases summed.
    split = H.reshape(*(size for n in trained for size in (stride, n)))
    eigenvalue = jnp.maximum(jnp.sum(split, axis=tuple(range(0, split.ndim, 2))) / ratio, 0)
    coarse = (slice(None), *(slice(None, None, stride) for _ in shape))
    product = time * eigenvalue
    # (1 − e^{−x})/x, finite at zero.
    quotient = jnp.where(product > 1e-8, -jnp.expm1(-product) / jnp.where(product > 1e-8, product, 1), 1 - product / 2)
    weights = time * quotient * jnp.fft.fftn(values[coarse], axes=axes)
    learned = jnp.fft.ifftn(H * jnp.tile(weights, (1, *(stride for _ in shape))), axes=axes).real
    square = (learned - values) ** 2
    return (jnp.sum(square, axis=axes) - jnp.sum(square[coarse], axis=axes)) / (math.prod(shape) * (1 - 1 / ratio))


def tune_amplitudes(
    k: ComposedKernel,
    values: ArrayLike,
    *,
    stride: int = 2,
    time: float,
    iterations: int = 800,
    learning_rate: float = 0.01,
    seed: int = 0,
    progress: Progress = NO_PROGRESS,
) -> xr.Dataset:
    """Amplitudes of a Fourier mapping that minimise the error between the training points, by Adam through the kernel.

    The mean of `lattice_error` over the signals is differentiated through the kernel's recursion. Only the directions
    of the amplitudes matter, since they are scaled to Σ a² = 1; it begins at the lowest frequency, a = e₁ + 10⁻³ |z|.

    Args:
        k: kernel behind a `FourierMapping` of whole frequencies; its own amplitudes are not used.
        values: signals on a lattice i/shape of [0, 1)^d, shape (signals, *shape): a class of signals to tune for, or
            the known part of one.
        stride: distance of the training points on each axis; the points between them measure the error.
        time: learning rate times steps (of half the summed squares) at which the error is taken, at Σ a² = 1.
        iterations: iterations of Adam.
        learning_rate: learning rate of Adam.
        seed: seed of the start z.
        progress: reporter.

    Returns:
        Dataset with `amplitude` (frequency), `wave_number` (frequency, axis) in cycles per unit, `loss`
        (iteration), the mean squared error between the training points, and `gradient_norm` (iteration), that of its
        logarithm: while it is not small, more iterations help.

    Raises:
        ValueError: if the mapping has frequencies that are not whole, the shapes disagree, or a number is not positive.

    Source: Tancik et al. 2020, figure 5 and the notebook 1d_ntk_opt of its code.

    Example:
        >>> import ntkspec as ns
        >>> k = ns.kernel.compose(ns.mapping.power_law(8, p=0.0), ns.kernel.MLP(depth=2))
        >>> y = np.cos(2 * np.pi * 2 * np.arange(32) / 32)
        >>> tuned = tune_amplitudes(k, y[None], time=10.0, iterations=50)
        >>> bool(tuned.loss[-1] < tuned.loss[0])
        True
    """
    if not isinstance(k.mapping, FourierMapping) or not k.mapping.periodic:
        raise ValueError(
            "tuning needs a kernel behind a FourierMapping of whole frequencies, such as mapping.power_law(m, p); "
            "others are tuned by their scale: ns.design(...)"
        )
    signals = jnp.asarray(values, dtype=float)
    _require_strided(k, signals.shape, stride)
    if not bool(jnp.isfinite(signals).all()) or not bool(jnp.ptp(signals.reshape(len(signals), -1), axis=1).any()):
        raise ValueError("the signals hold NaN or infinity, or are constant, so there is nothing to tune for")
    check_sizes(iterations=iterations)
    check_positive("time", time, "learning rate times steps")
    check_positive("learning_rate", learning_rate, "of Adam, such as 0.01")
    frequencies = k.mapping.frequencies
    # The lowest frequency that is not the constant, as the paper's e_1.
    length = np.linalg.norm(np.asarray(frequencies), axis=1)
    first = int(np.argmin(np.where(length > 0, length, np.inf)))
    start = 1e-3 * np.abs(np.random.default_rng(seed).standard_normal(len(length)))
    start[first] += 1
    state = _State(jnp.asarray(start), optax.adam(learning_rate).init(jnp.asarray(start)))
    losses, norms = [], []
    with progress.start("tuning amplitudes", iterations, "iterations") as stage:
        for first_iteration in range(0, iterations, STRETCH):
            count = min(STRETCH, iterations - first_iteration)
            state, (loss, norm) = _descend(k, signals, state, time, learning_rate, stride, count)
            losses.append(np.asarray(loss))
            norms.append(np.asarray(norm))
            stage.advance(count, loss=float(loss[-1]))
    amplitudes = np.abs(np.asarray(state.amplitudes))
    amplitudes /= np.linalg.norm(amplitudes)
    return xr.Dataset(
        {
            "amplitude": variable("frequency", amplitudes, "amplitude"),
            "wave_number": variable(("frequency", "axis"), np.asarray(frequencies), "frequency", "cycles per unit"),
            "loss": variable("iteration", np.concatenate(losses), "mean squared error between points"),
            "gradient_norm": variable("iteration", np.concatenate(norms), "gradient of the logarithm"),
        },
        attrs={**attributes(kernel=k), "time": time, "stride": stride, "learning_rate": learning_rate, "seed": seed},
    )


def _require_strided(k: ComposedKernel, shape: tuple[int, ...], stride: int) -> None:
    if len(shape) != 1 + k.dim:
        raise ValueError(f"values have shape {shape}; expected (signals, *shape) with {k.dim} axes")
    check_sizes(stride=stride)
    if stride < 2 or any(n % stride or n == stride for n in shape[1:]):
        raise ValueError(f"stride={stride}; expected at least 2, and a divisor of each of {shape[1:]}")


class _State(NamedTuple):
    """Amplitudes before they are normalised, and the state of Adam."""

    amplitudes: Array
    optimizer: optax.OptState


@partial(jax.jit, static_argnames=("stride", "count"))
def _descend(
    k: ComposedKernel, signals: Array, state: _State, time: Array, learning_rate: Array, stride: int, count: int
) -> tuple[_State, tuple[Array, Array]]:
    adam = optax.adam(learning_rate)

    def error(amplitudes: Array) -> Array:
        mapped = with_amplitudes(k.mapping, amplitudes, normalize=True)  # type: ignore[arg-type]
        # The logarithm, whose gradient does not vanish with the error: Adam adds 1e-8 to what it divides by.
        return jnp.log(jnp.mean(lattice_error(replace(k, mapping=mapped), signals, stride, time)))

    def step(state: _State, _: None) -> tuple[_State, tuple[Array, Array]]:
        loss, gradient = jax.value_and_grad(error)(state.amplitudes)
        updates, optimizer = adam.update(gradient, state.optimizer)
        return _State(state.amplitudes + updates, optimizer), (jnp.exp(loss), jnp.linalg.norm(gradient))

    return jax.lax.scan(step, state, length=count)
