"""The laws of one coordinate of a random frequency, each with its sampler and its limit."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike
from scipy import special

from ntkspec.checks import check_positive
from ntkspec.mapping._base import as_array, reduced

__all__ = ["GAUSSIAN", "LAPLACE", "UNIFORM", "Law"]


@dataclass(frozen=True)
class Law:
    """A symmetric law of one number z.

    Attributes:
        name: as in `ntkspec.mapping`.
        draw: samples from numpy's generator, of a shape.
        versine: 1 − E[cos 2πzt], elementwise in t, to full relative precision.
        deviation: √E[z²].
        highest: sup |z|.
        tail: P(|z| > t), elementwise.
        scale: meaning of a scale, the number that z is multiplied by.
    """

    name: str
    draw: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
    versine: Callable[[Array], Array]
    deviation: float
    highest: float
    tail: Callable[[np.ndarray], np.ndarray]
    scale: str


def _gaussian_versine(t: Array) -> Array:
    """1 − exp(−2π²t²)."""
    return -jnp.expm1(-2 * (jnp.pi * t) ** 2)


def _laplace_versine(t: Array) -> Array:
    """1 − 1/(1 + (2πt)²)."""
    square = (2 * jnp.pi * t) ** 2
    return square / (1 + square)


#: 1 − sin(x)/x = x²/6 (1 − x²/20 (1 − x²/42 (...))): the ratios 2k(2k + 1) that reach 1e-17 at x = 1.
_SINC_RATIOS = [2 * k * (2 * k + 1) for k in range(2, 11)]


def _uniform_versine(t: Array) -> Array:
    """1 − sin(2πt)/(2πt), by its series where that cancels."""
    x = 2 * jnp.pi * t
    near = jnp.abs(x) < 1
    square = jnp.where(near, x, 0.0) ** 2
    series = jnp.ones_like(square)
    for ratio in reversed(_SINC_RATIOS):
        series = 1 - square / ratio * series
    far = 1 - jnp.sin(2 * jnp.pi * reduced(t)) / jnp.where(near, 1.0, x)
    return jnp.where(near, square / 6 * series, far)


GAUSSIAN = Law(
    name="gaussian",
    draw=lambda generator, shape: generator.standard_normal(shape),
    versine=_gaussian_versine,
    deviation=1.0,
    highest=math.inf,
    tail=lambda t: special.erfc(t / math.sqrt(2)),
    scale="standard deviation of b",
)
LAPLACE = Law(
    name="laplace",
    draw=lambda generator, shape: generator.laplace(size=shape),
    versine=_laplace_versine,
    deviation=math.sqrt(2),
    highest=math.inf,
    tail=lambda t: np.exp(-t),
    scale="mean |b|",
)
UNIFORM = Law(
    name="uniform",
    draw=lambda generator, shape: generator.uniform(-1, 1, shape),
    versine=_uniform_versine,
    deviation=1 / math.sqrt(3),
    highest=1.0,
    tail=lambda t: np.maximum(1 - t, 0),
    scale="highest |b|",
)


def check_scale(scale: ArrayLike, dim: int, law: Law) -> Array:
    """One positive scale an axis, from a number for all or one for each; traced ones pass unseen."""
    scales = as_array(scale)
    if scales.shape not in ((), (dim,)):
        raise ValueError(f"scale has shape {scales.shape}; expected one number, or {dim}, one for each axis")
    if not isinstance(scales, jax.core.Tracer):
        for value in np.atleast_1d(np.asarray(scales)):
            check_positive("scale", float(value), f"the {law.scale}, cycles per unit; a photograph wants about 1 to 10")
    return jnp.broadcast_to(scales, (dim,))
