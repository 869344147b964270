"""Measurements given by a matrix or a function, some of the values, and several measurements together."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from ntkspec.checks import check_mask, check_shape
from ntkspec.grid import Placement
from ntkspec.operator.measurement._base import Measurement

__all__ = ["Function", "Matrix", "Stacked", "Subsample", "function", "matrix", "stacked", "subsample"]


class Matrix(Measurement):
    """A as a dense matrix (m, n); build one with `matrix`."""

    entries: Array

    @property
    def num_measurements(self) -> int:
        return self.entries.shape[0]

    def forward(self, f: Array) -> Array:
        return self.entries @ f


def matrix(entries: ArrayLike) -> Matrix:
    """Measure with A given as a matrix (m, n) of finite numbers, for any operator.

    Example:
        >>> (matrix([[1.0, 1.0, 0.0]]) @ [1.0, 2.0, 3.0]).tolist()
        [3.0]
    """
    A = jnp.asarray(entries, dtype=float)
    if A.ndim != 2 or 0 in A.shape or not bool(jnp.isfinite(A).all()):
        raise ValueError(f"`entries` has shape {A.shape}; expected a matrix (m, n) of finite numbers")
    return Matrix(A.shape[1:], A)


class Function(Measurement):
    """A as a linear function of the values; build one with `function`."""

    call: Callable[[Array], Array] = eqx.field(static=True)

    @property
    def num_measurements(self) -> int:
        return int(np.prod(jax.eval_shape(self.call, jax.ShapeDtypeStruct(self.points_shape, float)).shape))

    def forward(self, f: Array) -> Array:
        return self.call(f).ravel()


def function(call: Callable[[Array], Array], shape: tuple[int, ...]) -> Function:
    """Measure with A given as a linear JAX function; its transpose is found by JAX.

    Args:
        call: linear, values of shape `shape` to a real array of any shape (of which the measurements are the entries).
        shape: shape of the values.

    Raises:
        ValueError: if the function is not linear and real.

    Example:
        >>> A = function(lambda f: f.sum(axis=0), (2, 3))
        >>> (A @ [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]).tolist(), A.shape
        ([5.0, 7.0, 9.0], (3, 6))
    """
    shape = check_shape(shape)
    try:
        offset = call(jnp.zeros(shape))
        jax.eval_shape(
            jax.linear_transpose(call, jax.ShapeDtypeStruct(shape, offset.dtype)),
            jax.ShapeDtypeStruct(offset.shape, offset.dtype),
        )
    # JAX says so in several ways: an assertion, a missing rule, a value that depends on no input.
    except (AssertionError, NotImplementedError, TypeError) as error:
        raise ValueError("`call` is not a linear function of its argument (or JAX cannot transpose it)") from error
    if jnp.iscomplexobj(offset) or bool(jnp.any(offset != 0)):
        advice = "expected a real linear function (of complex values stack the real and the imaginary part)"
        raise ValueError(f"`call` gives complex numbers or does not take 0 to 0; {advice}")
    return Function(shape, call)


class Subsample(Measurement):
    """Some of the values, at flat positions `index` (m,); build one with `subsample`."""

    index: Array

    @property
    def num_measurements(self) -> int:
        return self.index.shape[0]

    def forward(self, f: Array) -> Array:
        return f.ravel()[self.index]

    def transpose(self, w: Array) -> Array:
        flat = jnp.zeros(self.shape[1], dtype=w.dtype).at[self.index].set(w, unique_indices=True)
        return flat.reshape(self.points_shape)

    def positions(self, points: np.ndarray) -> np.ndarray:
        return points[np.asarray(self.index)]

    def placement(self, placement: Placement) -> Placement:
        index = np.asarray(self.index)
        return Placement(placement.grid, index if placement.index is None else placement.index[index])

    def representative(self) -> np.ndarray:
        return np.zeros(self.num_measurements, dtype=int)


def subsample(mask: ArrayLike) -> Subsample:
    """Measure the values where a mask is True, in row-major order; boolean, the lattice's shape (or (n,)).

    Example:
        >>> (subsample([True, False, True]) @ [1.0, 2.0, 3.0]).tolist()
        [1.0, 3.0]
    """
    kept = check_mask(mask)
    return Subsample(kept.shape, jnp.asarray(np.flatnonzero(kept)))


class Stacked(Measurement):
    """Several measurements of the same values, one after the other, each times its weight; see `stacked`."""

    parts: tuple[Measurement, ...]
    weights: Array

    @property
    def num_measurements(self) -> int:
        return sum(part.num_measurements for part in self.parts)

    @property
    def _ends(self) -> list[int]:
        return np.cumsum([part.num_measurements for part in self.parts]).tolist()

    def forward(self, f: Array) -> Array:
        return jnp.concatenate(
            [weight * part.forward(f) for part, weight in zip(self.parts, self.weights, strict=True)]
        )

    def transpose(self, w: Array) -> Array:
        split = jnp.split(w, self._ends[:-1])
        each = zip(self.parts, self.weights, split, strict=True)
        return jnp.sum(jnp.stack([part.transpose(weight * of) for part, weight, of in each]), axis=0)

    def positions(self, points: np.ndarray) -> np.ndarray:
        return np.concatenate([part.positions(points) for part in self.parts])

    def representative(self) -> np.ndarray:
        starts = [0, *self._ends[:-1]]
        return np.concatenate([start + part.representative() for start, part in zip(starts, self.parts, strict=True)])

    def stationary_diagonal(self, lags: Array) -> Array | None:
        each = [part.stationary_diagonal(lags) for part in self.parts]
        known = [weight**2 * part for weight, part in zip(self.weights, each, strict=True) if part is not None]
        return jnp.concatenate(known) if len(known) == len(self.parts) else None


def stacked(*parts: Measurement, weights: ArrayLike | None = None) -> Stacked:
    """Several measurements as one: boundary values and a differential equation's residual, say.

    Args:
        *parts: measurements of the same values.
        weights: positive weight of each part, shape (parts,); a part of weight w counts w² in the loss. None means 1.

    Raises:
        ValueError: if there are no parts, they take values of different shapes, or a weight is not positive.

    Example:
        >>> A = stacked(subsample([True, False, True]), matrix([[1.0, 1.0, 1.0]]), weights=[1.0, 2.0])
        >>> (A @ [1.0, 2.0, 3.0]).tolist()
        [1.0, 3.0, 12.0]
    """
    shapes = {part.points_shape for part in parts}
    if len(shapes) != 1:
        raise ValueError(f"the parts take values of shapes {sorted(shapes)}; expected one or more parts of one shape")
    factor = jnp.ones(len(parts)) if weights is None else jnp.asarray(weights, dtype=float)
    if factor.shape != (len(parts),) or not bool((jnp.isfinite(factor) & (factor > 0)).all()):
        raise ValueError(f"weights={weights!r}; expected {len(parts)} positive numbers, one a part")
    return Stacked(shapes.pop(), parts, factor)
