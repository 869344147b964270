"""Duals of smooth functions by their Hermite expansion."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from ntkspec.kernel.activation._base import Pair, safe_sqrt

Function = Callable[[Any], Any]
#: Hermite coefficients of φ(σ·) and of φ'(σ·), each (terms, *points).
Coefficients = tuple[Array, Array]

#: Terms of the series, and nodes of the trapezoidal rule on ±12, whose step resolves the last Hermite function.
RULES = ((48, 401), (192, 801), (768, 1601), (2304, 2401), (13824, 2401))
EDGE = 12.0
#: Terms whose functions are made together: of every rule a divisor.
BLOCK = 48
#: Second moments at which each rule is checked, in rising order.
PROBES = tuple(float(q) for q in np.geomspace(1e-6, 1e2, 33))


@functools.partial(jax.jit, static_argnums=(0, 1))
def dual(function: Function, tolerance: float, pair: Pair) -> tuple[Pair, Array]:
    """E[φφ] = Σ_k a_k(q_x) a_k(q_z) ρ^k and E[φ'φ'] = Σ_k b_k(q_x) b_k(q_z) ρ^k, with the shortest rule that is enough.

    The a_k are Hermite coefficients of φ(√q ·), the b_k of φ'(√q ·).
    """
    needed = jnp.maximum(jnp.max(pair.second_x), jnp.max(pair.second_z))
    reached = reaches(function, tolerance)
    index = jnp.sum(needed > jnp.asarray(reached[:-1]))
    rules = RULES[: len(reached)]
    return jax.lax.switch(index, [functools.partial(_series, function, *rule) for rule in rules], pair)


def _series(function: Function, terms: int, nodes: int, pair: Pair) -> tuple[Pair, Array]:
    sigma_x, sigma_z = safe_sqrt(pair.second_x), safe_sqrt(pair.second_z)
    # The points of both sides in one program: compiling it is most of the time of a small kernel.
    both = _coefficients(function, jnp.concatenate([sigma_x.ravel(), sigma_z.ravel()]), terms, nodes)
    of_x = tuple(c[:, : sigma_x.size].reshape(terms, *sigma_x.shape) for c in both)
    of_z = tuple(c[:, sigma_x.size :].reshape(terms, *sigma_z.shape) for c in both)
    # 1 − v has lost the digits of a small covariance.
    correlation = jnp.where(jnp.abs(1 - pair.versine) < 0.5, pair.correlation, 1 - pair.versine)
    covariance, derivative = _power_sums(of_x, of_z, correlation)
    second_x, second_z = jnp.sum(of_x[0] ** 2, axis=0), jnp.sum(of_z[0] ** 2, axis=0)
    return Pair.of_covariance(second_x, second_z, covariance), derivative


@jax.custom_jvp
def _power_sums(of_x: Coefficients, of_z: Coefficients, correlation: Array) -> tuple[Array, ...]:
    """Σ_k a_k(x) a_k(z) ρ^k and Σ_k b_k(x) b_k(z) ρ^k by Horner.

    With a derivative of its own: that of the recurrence would keep the sums of every k for every pair.
    """
    return _horner(lambda x, z: tuple(a * b for a, b in zip(x, z, strict=True)), (of_x, of_z), correlation)


@_power_sums.defjvp
def _power_sums_slope(primals: Any, tangents: Any) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    of_x, of_z, correlation = primals
    x_slope, z_slope, correlation_slope = tangents
    k = jnp.arange(1, len(of_x[0]), dtype=float)
    weighted = tuple(c[1:] * k.reshape(-1, *[1] * (c.ndim - 1)) for c in of_x)
    along = _power_sums(weighted, tuple(c[1:] for c in of_z), correlation)

    def products(x: Any, z: Any, dx: Any, dz: Any) -> tuple[Array, ...]:
        return tuple(da * b + a * db for a, b, da, db in zip(x, z, dx, dz, strict=True))

    across = _horner(products, (of_x, of_z, x_slope, z_slope), correlation)
    slopes = tuple(a * correlation_slope + b for a, b in zip(along, across, strict=True))
    return _power_sums(of_x, of_z, correlation), slopes


def _horner(term: Callable[..., tuple[Array, ...]], coefficients: Any, x: Array) -> tuple[Array, ...]:
    """Return the two sums Σ_k term(coefficients_k) x^k."""

    def step(sums: tuple[Array, ...], now: Any) -> tuple[tuple[Array, ...], None]:
        return tuple(s * x + t for s, t in zip(sums, term(*now), strict=True)), None

    shape = jnp.broadcast_shapes(x.shape, *(c.shape[1:] for c in jax.tree.leaves(coefficients)))
    start: tuple[Array, ...] = (jnp.zeros(shape), jnp.zeros(shape))
    return jax.lax.scan(step, start, coefficients, reverse=True)[0]


def _coefficients(function: Function, sigma: Float[Array, " points"], terms: int, nodes: int) -> Coefficients:
    """Hermite coefficients of φ(σ·) and φ'(σ·) for σ (points,), each (terms, points).

    The functions h_k(z) = He_k(z) e^(−z²/4)/√k! follow from their stable three-term recurrence.
    """
    z, decay = _rule(nodes)
    u = sigma[:, None] * z
    value, slope = (f * (decay * _spacing(nodes) / np.sqrt(2 * np.pi)) for f in _with_slope(function, u))

    def next_function(carry: tuple[Array, Array], k: Array) -> tuple[tuple[Array, Array], Array]:
        before, now = carry
        return (now, jnp.asarray(z * now - jnp.sqrt(k) * before) / jnp.sqrt(k + 1)), now

    # Made anew for a gradient, which would keep all h_k on all nodes: half a gigabyte for the longest series.
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def block(carry: tuple[Array, Array], k: Array) -> tuple[tuple[Array, Array], Coefficients]:
        carry, basis = jax.lax.scan(next_function, carry, k)
        return carry, (basis @ value.T, basis @ slope.T)

    start = (jnp.zeros(nodes), jnp.asarray(decay))
    found = jax.lax.scan(block, start, jnp.arange(terms, dtype=float).reshape(-1, BLOCK))[1]
    return tuple(c.reshape(terms, -1) for c in found)


def _rule(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes z, and e^(−z²/4) there: one factor for the function and one for the basis make the normal density."""
    z = np.linspace(-EDGE, EDGE, nodes)
    return z, np.exp(-(z**2) / 4)


def _spacing(nodes: int) -> float:
    return 2 * EDGE / (nodes - 1)  # the difference of two nodes would have lost two digits


def _with_slope(function: Function, u: Array) -> tuple[Array, Array]:
    return jax.jvp(function, (u,), (jnp.ones_like(u),))


@functools.lru_cache(maxsize=64)
def reaches(function: Function, tolerance: float) -> tuple[float, ...]:
    """Return the largest second moment at which each of `RULES` meets the tolerance, up to the first that does at 100.

    Checked on the host by Parseval, which is the error at ρ = 1 where the series converges slowest, with the second
    moments by a rule of half the step; for φ relative to E[φ²] and for φ' relative to E[φ'²].
    """
    found: list[float] = []
    count = 0
    sigma = np.sqrt(PROBES)[:, None]
    evaluate = jax.jit(functools.partial(_with_slope, function))
    for terms, nodes in RULES:
        (z, decay), (fine, fine_decay) = _rule(nodes), _rule(2 * nodes - 1)
        with jax.ensure_compile_time_eval():
            both = np.stack(evaluate(jnp.asarray(sigma * fine)))
        both = both[:, count:].reshape(-1, len(fine))  # what a shorter rule meets a longer one does
        scale = _spacing(nodes) / np.sqrt(2 * np.pi)
        exact = both**2 @ (fine_decay**2 * scale / 2)
        partial, weighted = np.zeros(len(exact)), both[:, ::2] * (decay * scale)
        for basis in _blocks(terms, z, decay):
            partial += np.sum((basis @ weighted.T) ** 2, axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            met = np.abs(partial / exact - 1).reshape(2, -1).max(axis=0) <= tolerance
        count += int(met.cumprod().sum())
        found.append(PROBES[count - 1] if count else 0.0)
        if count == len(PROBES):
            break
    return tuple(found)


def _blocks(terms: int, z: np.ndarray, decay: np.ndarray) -> Iterator[np.ndarray]:
    """Return the Hermite functions on the nodes, 256 at a time."""
    before, now, block = np.zeros_like(z), decay, []
    for k in range(terms):
        block.append(now)
        before, now = now, (z * now - k**0.5 * before) / (k + 1) ** 0.5
        if len(block) == 256 or k == terms - 1:
            yield np.stack(block)
            block = []
