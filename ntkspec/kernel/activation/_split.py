"""Duals of functions with kinks, by Gauss–Legendre on cells that end at the kinks."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkspec.kernel.activation._base import Pair, angles, safe_sqrt

Function = Callable[[Any], Any]

#: The standard normal is cut at ±9, where what is left is 1e-18.
EDGE = 9.0
#: Gauss–Legendre points a panel, and the finer rule it is checked by.
ORDER, FINER = 20, 28
#: Panels end at these multiples of the standard deviation whatever the kinks; none is too long for a Gaussian.
INNER_EDGES = (-3.0, 3.0)
#: Panels end at these distances from a kink, in units of u: near it a function may vary on the scale of 1.
GRADES = (-4.0, -1.0, 0.0, 1.0, 4.0)
#: Chebyshev nodes in the angle, for inputs of one second moment.
ANGLES = 96
#: Pairs at a time.
BATCH = 16


class _Integrals(NamedTuple):
    covariance: Array
    versine: Array
    coversine: Array
    derivative: Array


@functools.partial(jax.jit, static_argnums=(0, 1))
def dual(function: Function, kinks: tuple[float, ...], pair: Pair) -> tuple[Pair, Array]:
    """Return the expectations: one interpolant for inputs of a single second moment, else a rule a pair."""
    second_x, second_z = (_second(function, kinks, q) for q in (pair.second_x, pair.second_z))
    single = pair.second_x.size == 1 and pair.second_z.size == 1

    def rule(*arguments: Array) -> _Integrals:
        return _integrals(function, kinks, ORDER, *arguments)

    if single and pair.versine.size > ANGLES:
        arguments = [jnp.reshape(a, ()) for a in (pair.second_x, pair.second_z, second_x, second_z)]
        found = _interpolated(lambda versines: rule(*arguments, *versines), pair)
    else:
        shape = jnp.broadcast_shapes(*(jnp.shape(a) for a in jax.tree.leaves(pair)))
        flat = [
            jnp.broadcast_to(a, shape).ravel()
            for a in (pair.second_x, pair.second_z, second_x, second_z, pair.versine, pair.far)
        ]
        found = jax.lax.map(lambda a: rule(*a), tuple(flat), batch_size=BATCH)
        found = _Integrals(*(a.reshape(shape) for a in found))
    return Pair(second_x, second_z, *found[:3]), found.derivative


def _interpolated(rule: Callable[[tuple[Array, Array]], _Integrals], pair: Pair) -> _Integrals:
    """Chebyshev interpolation in θ ∈ [0, π]; of the versines, their rise from the near end by that of the inputs."""
    half = (np.cos((np.arange(ANGLES) + 0.5) * np.pi / ANGLES) + 1) * np.pi / 4
    near, far = (np.append(2 * f(half) ** 2, end) for f, end in ((np.sin, 2.0), (np.cos, 0.0)))
    values = jax.lax.map(rule, (jnp.asarray(near), jnp.asarray(far)), batch_size=BATCH)
    # Of an odd function the coversine vanishes where the points are opposite.
    least = values.coversine[-1]
    values = jax.tree.map(lambda a: a[:-1], values)
    values = values._replace(versine=values.versine / near[:-1], coversine=(values.coversine - least) / far[:-1])
    k = np.arange(ANGLES)
    transform = np.cos(k[:, None] * (k + 0.5) * np.pi / ANGLES) * np.where(k[:, None] > 0, 2, 1) / ANGLES
    x = angles(pair)[0] * (2 / np.pi) - 1

    def clenshaw(carry: tuple[Array, Array], coefficient: Any) -> tuple[tuple[Array, Array], None]:
        later, latest = carry
        return (latest, coefficient.reshape(-1, *[1] * x.ndim) + 2 * x * latest - later), None

    coefficients = jnp.asarray(transform) @ jnp.stack(values, axis=-1)  # (ANGLES, 4)
    zero = jnp.zeros((4, *x.shape))
    (later, latest), _ = jax.lax.scan(clenshaw, (zero, zero), coefficients, reverse=True)
    covariance, rise, fall, derivative = latest - x * later
    return _Integrals(covariance, rise * pair.versine, least + fall * pair.far, derivative)


def _second(function: Function, kinks: tuple[float, ...], q: Array) -> Array:
    """E[φ²], for each second moment."""
    sigma = safe_sqrt(q)[..., None]
    x, weights = _panels(_breaks(kinks, sigma), -EDGE, EDGE, ORDER)
    return jnp.sum(weights * function(sigma[..., None] * x) ** 2 * _normal(x), axis=(-2, -1))


def _integrals(
    function: Function,
    kinks: tuple[float, ...],
    order: int,
    q_x: Array,
    q_z: Array,
    second_x: Array,
    second_z: Array,
    versine: Array,
    coversine: Array,
) -> _Integrals:
    """E[φφ], ½E[(φ(u)/√s_x ∓ φ(v)/√s_z)²] and E[φ'φ'] of one pair.

    u = σ_x x and v = σ_z (ρ x + τ t) with x, t standard normal: x runs over panels that end at the kinks of φ(σ_x ·)
    and where those of φ(σ_z ·) cross |t| = 9, within which the inner integral is smooth; t over panels that end at
    the latter.
    """
    sigma_x, sigma_z = safe_sqrt(q_x), safe_sqrt(q_z)
    rho, tau = 1 - versine, safe_sqrt(versine * coversine)
    inner = _breaks(kinks, sigma_z)
    safe_rho = jnp.where(jnp.abs(rho) > 1e-6, rho, 1e-6)
    lines = _breaks(kinks, sigma_z, (0.0,))
    crossings = [(lines + shift * tau) / safe_rho for shift in (-EDGE, -EDGE / 3, 0.0, EDGE / 3, EDGE)]
    x, weights = _panels(jnp.concatenate([_breaks(kinks, sigma_x), *crossings]), -EDGE, EDGE, order)
    x, weights = x.ravel(), (weights * _normal(x)).ravel()
    some = tau > 0
    ends = (inner - rho * x[:, None]) / jnp.where(some, tau, 1)
    t, inner_weights = _panels(jnp.where(some, ends, 0), -EDGE, EDGE, order)  # (outer, panels, order)
    weights = weights[:, None, None] * inner_weights * _normal(t)
    u, v = sigma_x * x, sigma_z * (rho * x[:, None, None] + tau * t)
    (phi_u, slope_u), (phi_v, slope_v) = (jax.jvp(function, (a,), (jnp.ones_like(a),)) for a in (u, v))
    phi_u, slope_u = phi_u[:, None, None], slope_u[:, None, None]
    root_x, root_z = (jnp.where(s > 0, safe_sqrt(s), 1) for s in (second_x, second_z))
    return _Integrals(
        jnp.sum(weights * phi_u * phi_v),
        jnp.sum(weights * (phi_u / root_x - phi_v / root_z) ** 2) / 2,
        jnp.sum(weights * (phi_u / root_x + phi_v / root_z) ** 2) / 2,
        jnp.sum(weights * slope_u * slope_v),
    )


def _breaks(kinks: tuple[float, ...], sigma: Array, grades: tuple[float, ...] = GRADES) -> Array:
    """Where panels end, in units of the standard deviation; those beyond the edge fold onto it."""
    offsets = np.ravel(np.asarray(kinks)[:, None] + np.asarray(grades))
    return jnp.asarray(offsets) / jnp.maximum(sigma, 1e-12)


def _panels(breaks: Array, low: float, high: float, order: int) -> tuple[Array, Array]:
    """Gauss–Legendre points and weights on the panels between breaks, shape (..., panels, order); some may be empty."""
    shape = (*breaks.shape[:-1], 1)
    fixed = [jnp.full(shape, edge) for edge in INNER_EDGES]
    inside: Array = jnp.sort(jnp.clip(jnp.concatenate([breaks, *fixed], axis=-1), low, high), axis=-1)
    ends: Array = jnp.concatenate([jnp.full(shape, low), inside, jnp.full(shape, high)], axis=-1)
    points, weights = (jnp.asarray(a) for a in np.polynomial.legendre.leggauss(order))
    # The points move with the ends: that is how a gradient learns of a slope that jumps.
    centre, half = (ends[..., 1:] + ends[..., :-1]) / 2, (ends[..., 1:] - ends[..., :-1]) / 2
    return centre[..., None] + half[..., None] * points, half[..., None] * weights


def _normal(x: Array) -> Array:
    """Return the standard normal density."""
    return jnp.exp(-(x**2) / 2) / (2 * np.pi) ** 0.5


def error(function: Function, kinks: tuple[float, ...], q: float) -> float:
    """Return the largest difference of the two rules over the angles, relative to E[φ²] and E[φ'²]."""
    half = np.array([1e-6, 1e-3, 0.1, 1.0, np.pi / 2, 2.5, 3.1]) / 2
    versines = jnp.asarray(2 * np.sin(half) ** 2), jnp.asarray(2 * np.cos(half) ** 2)
    coarse, fine, second = _orders(function, kinks, jnp.asarray(q), versines)
    return max(
        float(jnp.max(jnp.abs(coarse.covariance - fine.covariance)) / second),
        float(jnp.max(jnp.abs(coarse.versine - fine.versine))),
        float(jnp.max(jnp.abs(coarse.derivative - fine.derivative)) / jnp.max(jnp.abs(fine.derivative))),
    )


@functools.partial(jax.jit, static_argnums=(0, 1))
def _orders(
    function: Function, kinks: tuple[float, ...], q: Array, versines: tuple[Array, Array]
) -> tuple[_Integrals, _Integrals, Array]:
    second = _second(function, kinks, q)
    coarse, fine = (
        jax.lax.map(lambda v, order=order: _integrals(function, kinks, order, q, q, second, second, *v), versines)
        for order in (ORDER, FINER)
    )
    return coarse, fine, second
