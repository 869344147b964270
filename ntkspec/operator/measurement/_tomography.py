"""Parallel-beam tomography: line integrals through an image, by Joseph's method in both directions."""

from __future__ import annotations

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from ntkspec.checks import check_shape, check_sizes
from ntkspec.operator.measurement._base import Measurement

__all__ = ["ParallelBeam", "parallel_beam"]


class Beams(NamedTuple):
    """Angles (a,) whose rays cross every row: ray d meets row i at column c + slope·(i − c) + step·(d − c), c centres.

    Slopes are columns a row, steps columns a detector, lengths those of a ray from one row to the next, in units.
    """

    slope: Array
    step: Array
    length: Array


class ParallelBeam(Measurement):
    """Line integrals at several angles, each of `num_detectors` rays; build one with `parallel_beam`.

    Rays of `down` step from row to row, those of `across` from column to column (as `down`, of the transposed image);
    `order` brings both to that of the angles given. A pixel may touch as many detectors as `reach`.
    """

    down: Beams
    across: Beams
    order: Array
    num_detectors: int = eqx.field(static=True)
    reach: int = eqx.field(static=True)

    @property
    def num_measurements(self) -> int:
        return self.order.shape[0] * self.num_detectors

    def forward(self, f: Array) -> Array:
        sums = [_project(beams, image, self.num_detectors) for beams, image in ((self.down, f), (self.across, f.T))]
        return jnp.concatenate(sums)[self.order].ravel()

    def transpose(self, w: Array) -> Array:
        sinogram = jnp.zeros((self.order.shape[0], self.num_detectors), dtype=w.dtype)
        sinogram = sinogram.at[self.order].set(w.reshape(sinogram.shape), unique_indices=True)
        down, across = jnp.split(sinogram, [self.down.step.shape[0]])
        rows, columns = self.points_shape
        image = _spread(self.down, down, (rows, columns), self.reach)
        return image + _spread(self.across, across, (columns, rows), self.reach).T


def _project(beams: Beams, image: Array, num_detectors: int) -> Array:
    """Σ_rows length · f(row, column), linear between columns and zero outside: shape (a, detectors)."""
    rows, columns = image.shape
    # One column of zeros on each side is what a ray outside sees.
    padded = jnp.pad(image, ((0, 0), (1, 1)))
    detector = jnp.arange(num_detectors) - (num_detectors - 1) / 2
    row = jnp.arange(rows) - (rows - 1) / 2

    def one(beam: Beams) -> Array:
        column = (columns - 1) / 2 + beam.slope * row[:, None] + beam.step * detector
        left = jnp.floor(column)
        part = column - left
        at = jnp.clip(left.astype(jnp.int32) + 1, 0, columns + 1)
        values = (1 - part) * jnp.take_along_axis(padded, at, axis=1)
        values += part * jnp.take_along_axis(padded, jnp.minimum(at + 1, columns + 1), axis=1) * (left >= -1)
        return beam.length * values.sum(axis=0)

    return jax.lax.map(one, beams)


def _spread(beams: Beams, weights: Array, shape: tuple[int, int], reach: int) -> Array:
    """Return the transpose of `_project`: pixel (i, j) meets the detectors d with |column(i, d) − j| < 1."""
    rows, columns = shape
    num_detectors = weights.shape[1]
    centre = (num_detectors - 1) / 2
    row = (jnp.arange(rows) - (rows - 1) / 2)[:, None]
    pixel = jnp.arange(columns)

    def add(image: Array, beam_and_weights: tuple[Beams, Array]) -> tuple[Array, None]:
        beam, w = beam_and_weights
        middle = (columns - 1) / 2 + beam.slope * row
        first = jnp.floor((pixel - middle) / beam.step - 1 / jnp.abs(beam.step) + centre) + 1
        for offset in range(reach):
            detector = first + offset
            distance = jnp.abs(middle + beam.step * (detector - centre) - pixel)
            seen = (detector >= 0) & (detector < num_detectors)
            value = w[jnp.clip(detector, 0, num_detectors - 1).astype(jnp.int32)]
            image += jnp.where(seen, beam.length * jnp.maximum(1 - distance, 0) * value, 0)
        return image, None

    return jax.lax.scan(add, jnp.zeros(shape, dtype=weights.dtype), (beams, weights))[0]


def parallel_beam(shape: tuple[int, int], angles: ArrayLike, num_detectors: int | None = None) -> ParallelBeam:
    """Line integrals of an image along parallel rays at several angles: the A of computed tomography.

    Ray s of angle θ is the line (x − c)·(cos θ, sin θ) = s around the centre c of the lattice points; the integral is
    a sum over the rows (or columns, whichever the ray crosses more of), linear between their points, zero outside.

    Args:
        shape: of the image, (rows, columns), point i at i/shape.
        angles: θ in radians, shape (angles,); 0 integrates along the second axis.
        num_detectors: rays an angle, 1/max(shape) apart; None takes as many as the diagonal needs.

    Returns:
        The measurement, all detectors of the first angle, then of the next; in units of length times value.

    Raises:
        ValueError: if the shape is not that of an image, an angle is not finite, or the number is not positive.

    Source: Joseph 1982, "An improved algorithm for reprojecting rays through pixel images".

    Example:
        >>> A = parallel_beam((2, 2), angles=[0.0], num_detectors=2)
        >>> (A @ [[1.0, 2.0], [3.0, 5.0]]).tolist()
        [1.5, 4.0]
    """
    sizes = check_shape(shape)
    theta = np.atleast_1d(np.asarray(angles, dtype=float))
    if len(sizes) != 2:
        raise ValueError(f"shape={shape!r}; expected an image (rows, columns); stack the slices of a volume")
    if theta.ndim != 1 or theta.size == 0 or not np.isfinite(theta).all():
        raise ValueError(f"angles have shape {theta.shape}; expected (angles,) finite numbers, in radians")
    spacing = 1 / max(sizes)
    if num_detectors is None:
        diagonal = math.hypot(*((n - 1) / n for n in sizes))
        num_detectors = math.ceil(diagonal / spacing) + 1
    check_sizes(num_detectors=num_detectors)
    rows, columns = sizes
    # The ray runs along (−sin θ, cos θ): how many rows and columns it crosses a unit.
    normal = np.stack([np.cos(theta), np.sin(theta)])
    steps_rows = np.abs(normal[1]) * rows >= np.abs(normal[0]) * columns
    down = _beams(normal[0, steps_rows], normal[1, steps_rows], rows, columns, spacing)
    across = _beams(normal[1, ~steps_rows], normal[0, ~steps_rows], columns, rows, spacing)
    order = np.argsort(np.concatenate([np.flatnonzero(steps_rows), np.flatnonzero(~steps_rows)]))
    finest = min(float(np.abs(np.asarray(beams.step)).min(initial=np.inf)) for beams in (down, across))
    # An open interval of two columns; a detector on its very end has weight 0.
    reach = math.ceil(2 / finest - 1e-9)
    return ParallelBeam((rows, columns), down, across, jnp.asarray(order), int(num_detectors), reach)


def _beams(along: np.ndarray, through: np.ndarray, rows: int, columns: int, spacing: float) -> Beams:
    """(x_row along + x_column through = s) solved for the column, with columns/rows points a unit."""
    parts = (-along / through * columns / rows, spacing * columns / through, 1 / (rows * np.abs(through)))
    return Beams(*(jnp.asarray(part) for part in parts))
