"""Quadrature along rays: weighted sums of values at points between those of the lattice."""

from __future__ import annotations

import itertools

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from ntkspec.checks import check_shape
from ntkspec.operator.measurement._base import Measurement

__all__ = ["Rays", "rays"]


class Rays(Measurement):
    """Sums of values at flat lattice positions `index` (m, s), each times its weight; build one with `rays`."""

    index: Array
    weight: Array

    @property
    def num_measurements(self) -> int:
        return self.index.shape[0]

    def forward(self, f: Array) -> Array:
        return jnp.sum(self.weight * f.ravel()[self.index], axis=1)

    def transpose(self, w: Array) -> Array:
        flat = jnp.zeros(self.shape[1], dtype=self.weight.dtype)
        return flat.at[self.index].add(self.weight * w[:, None]).reshape(self.points_shape)


def rays(shape: tuple[int, ...], points: ArrayLike, weights: ArrayLike) -> Rays:
    """Measure sums Σ_s w_rs f(x_rs) along rays r of samples s, with f interpolated linearly between lattice points.

    With the weights of a quadrature rule these are line integrals; with those of an emission-absorption model of
    known density, w_s = T_s (1 − e^{−σ_s δ_s}), the pixels of volume rendering; with one sample of weight 1 a ray, the
    values at scattered points.

    Args:
        shape: the lattice, point i at i/shape.
        points: x, shape (rays, samples, d), in [0, 1)^d; beyond a last lattice point its value holds.
        weights: w, shape (rays, samples).

    Raises:
        ValueError: if shapes disagree, a weight is not finite, or a point lies outside.

    Source: Max 1995, "Optical models for direct volume rendering", section 4, for the emission-absorption weights.

    Example:
        >>> A = rays((4,), points=[[[0.125], [0.5]]], weights=[[2.0, 1.0]])
        >>> (A @ [0.0, 1.0, 5.0, 0.0]).tolist()
        [6.0]
    """
    shape = check_shape(shape)
    x, w = np.asarray(points, dtype=float), jnp.asarray(weights, dtype=float)
    if x.ndim != 3 or x.shape[2] != len(shape) or w.shape != x.shape[:2] or 0 in w.shape:
        expected = f"(rays, samples, {len(shape)}) and (rays, samples)"
        raise ValueError(f"points have shape {x.shape} and weights {w.shape}; expected {expected}")
    if not ((x >= 0) & (x < 1)).all():
        advice = "rescale the coordinates, or leave out such samples by weight 0 at a point inside"
        raise ValueError(f"a point of a ray lies outside [0, 1)^d, where the lattice holds no values; {advice}")
    if not bool(jnp.isfinite(w).all()):
        raise ValueError("`weights` holds NaN or infinity; expected finite numbers")
    cell = np.minimum(np.floor(x * shape), np.asarray(shape) - 1).astype(np.int64)
    part = np.minimum(x * shape - cell, 1)
    index, weight = [], []
    for corner in itertools.product((0, 1), repeat=len(shape)):
        position = np.minimum(cell + np.asarray(corner), np.asarray(shape) - 1)
        index.append(np.ravel_multi_index(tuple(np.moveaxis(position, -1, 0)), shape))
        weight.append(np.prod(np.where(corner, part, 1 - part), axis=-1))
    count = x.shape[0]
    by_corner = jnp.asarray(np.stack(weight, axis=-1)) * w[:, :, None]
    return Rays(shape, jnp.asarray(np.stack(index, axis=-1).reshape(count, -1)), by_corner.reshape(count, -1))
