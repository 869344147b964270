"""The kernel of measurements: A K Aᵀ for a kernel K on points and a linear measurement A of values there."""

from __future__ import annotations

import warnings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float
from numpy.typing import ArrayLike

from ntkspec.grid import Placement
from ntkspec.limits import current
from ntkspec.operator._base import Operator, check_operator
from ntkspec.operator.measurement import Measurement, matrix
from ntkspec.progress import Progress

__all__ = ["EstimateWarning", "Measured", "measured"]

#: Random products in an estimate.
PROBES = 64


class EstimateWarning(UserWarning):
    """A number that was estimated by random products because finding it exactly would take too many."""


class Measured(Operator):
    """A K Aᵀ, multiplied factor by factor; build one with `measured`.

    Its points are the measurements: `points` says where each was taken (NaN where that has no meaning), `field`
    is the learned function K Aᵀ w on the whole lattice, and `restrict` measures such a function.

    Attributes:
        kernel: K, on n points.
        measurement: A, n values to m measurements.
    """

    kernel: Operator
    measurement: Measurement

    @property
    def num_points(self) -> int:
        return self.measurement.num_measurements

    @property
    def points(self) -> np.ndarray:
        return self.measurement.positions(self.kernel.points)

    @property
    def placement(self) -> Placement | None:
        placement = self.kernel.placement
        return None if placement is None else self.measurement.placement(placement)

    def matvec(self, v: Float[Array, " n"]) -> Float[Array, " n"]:
        values = self.kernel.matvec(self.measurement.transpose(v).ravel())
        return self.measurement.forward(values.reshape(self.measurement.points_shape)).astype(v.dtype)

    def diagonal(self) -> Float[Array, " n"]:
        diagonal, num_products = self._diagonal()
        if diagonal is None:
            what = f"the diagonal of {self.num_points:,} measurements would take {num_products:,} products"
            raise ValueError(f"{what}; its sum is estimated by `trace()`")
        return diagonal

    def trace(self) -> Float[Array, ""]:
        """Σ of the diagonal: exact where `diagonal` is, else estimated from random products.

        Warns:
            EstimateWarning: with the standard error.
        """
        diagonal, _ = self._diagonal()
        return self._estimate("trace", _random_products(self)[0]) if diagonal is None else jnp.sum(diagonal)

    def frobenius_norm(self) -> Float[Array, ""]:
        """√Σ of squares: by one product a measurement up to a size, else estimated from random products.

        Warns:
            EstimateWarning: with the standard error.
        """
        m, n = self.measurement.shape
        if m * n <= current().products:
            return jnp.sqrt(jnp.sum(_probe(self, jnp.arange(m), self._batch)[1]))
        return jnp.sqrt(self._estimate("squared Frobenius norm", _random_products(self)[1]))

    def to_dense(self) -> Float[Array, "n n"]:
        """Return A K Aᵀ as a matrix (m, m), exactly symmetric, by m products."""
        self._refuse_if_too_dense(3, "measurements")
        columns = _columns(self, self._batch)
        return (columns + columns.T) / 2

    @property
    def field_shape(self) -> tuple[int, ...] | None:
        return self.kernel.field_shape

    def _field(self, columns: Float[Array, "n c"]) -> Float[Array, "*lattice c"]:
        """K Aᵀ w."""
        return self.kernel._field(_transposed(self.measurement, columns))

    def restrict(self, values: ArrayLike) -> Array:
        return self.measurement @ self.kernel.restrict(values)

    def field_norm(self) -> float:
        """Bound by the kernel that is measured: ‖K Aᵀ e^{−s A K Aᵀ}‖² ≤ ‖K‖ max_λ λe^{−2sλ}, whatever A is."""
        return self.kernel.field_norm()

    @property
    def _dim(self) -> int:
        return self.kernel._dim

    def _expand(self, asked: Array, columns: Array, progress: Progress) -> Array:
        """k(z, x) Aᵀ w: the learned function itself, not its measurements."""
        return self.kernel._expand(asked, _transposed(self.measurement, columns), progress)

    def _trace_at(self, asked: Float[Array, "m d"]) -> float:
        return self.kernel._trace_at(asked)

    @property
    def _batch(self) -> int:
        """Vectors multiplied side by side: many where they are short, one where a transform fills the machine."""
        return max(1, min(self.num_points, 2**18 // self.measurement.shape[1]))

    def _diagonal(self) -> tuple[Array | None, int]:
        """Return the diagonal, None where it would take too many products, and how many it takes.

        Where K is stationary on a whole lattice, some measurements know it, and rows that are shifts have one entry.
        """
        A, rows = self.measurement, np.arange(self.num_points)
        lags = self.kernel.stationary_lags() if A.points_shape == self.kernel.points_shape else None
        if lags is not None:
            diagonal, rows = A.stationary_diagonal(lags), A.representative()
            if diagonal is not None:
                return diagonal, 0
        own, back = np.unique(rows, return_inverse=True)
        if len(own) * A.shape[1] > current().products:
            return None, len(own)
        return _probe(self, jnp.asarray(own), self._batch)[0][back], len(own)

    def _estimate(self, what: str, samples: Array) -> Array:
        """Return the mean of random samples, with their standard error as a warning."""
        mean, error = jnp.mean(samples), jnp.std(samples, ddof=1) / len(samples) ** 0.5
        warnings.warn(
            f"the {what} of {self.num_points:,} measurements is estimated from {len(samples)} random products, with a "
            f"relative standard error of {float(error / mean):.1e}; exactly, it would take a product a measurement",
            EstimateWarning,
            stacklevel=4,
        )
        return mean


@partial(jax.jit, static_argnames="batch")
def _probe(K: Measured, index: Array, batch: int) -> tuple[Array, Array]:
    """K_ii and Σ_j K_ij² for the rows i in `index`, a row each product."""

    def one(i: Array) -> tuple[Array, Array]:
        row = K.matvec(jnp.zeros(K.num_points).at[i].set(1))
        return row[i], jnp.sum(row**2)

    return jax.lax.map(one, index, batch_size=batch)


@partial(jax.jit, static_argnames="batch")
def _columns(K: Measured, batch: int) -> Array:
    def one(i: Array) -> Array:
        return K.matvec(jnp.zeros(K.num_points).at[i].set(1))

    return jax.lax.map(one, jnp.arange(K.num_points), batch_size=batch)


@jax.jit
def _random_products(K: Measured) -> tuple[Array, Array]:
    """zᵀKz and |Kz|² for vectors z of random signs, whose means are the trace and the squared Frobenius norm.

    Source: Hutchinson 1989, "A stochastic estimator of the trace of the influence matrix".
    """

    def one(key: Array) -> tuple[Array, Array]:
        z = jax.random.rademacher(key, (K.num_points,), dtype=float)
        image = K.matvec(z)
        return z @ image, image @ image

    return jax.lax.map(one, jax.random.split(jax.random.key(0), PROBES))


@jax.jit
def _transposed(A: Measurement, columns: Float[Array, "m c"]) -> Float[Array, "n c"]:
    return jax.lax.map(lambda w: A.transpose(w).ravel(), columns.T).T


def measured(K: Operator, A: Measurement | ArrayLike) -> Measured:
    """Return the kernel of measurements y = A f: A K Aᵀ.

    Training on measurements is training on labels with this kernel, and all that holds for an operator holds for it:
    spectrum, largest learning rate, `ns.predict`, with `everywhere=True` the reconstruction on the whole lattice.

    Args:
        K: a kernel operator on n points, mostly a lattice.
        A: a measurement from `ntkspec.operator.measurement` of values on these points, or a matrix (m, n).

    Returns:
        The operator on m measurements. Its diagonal is exact; where it takes too many products, its trace and its
        Frobenius norm are estimated and say so.

    Raises:
        TypeError: if `K` is no operator.
        ValueError: if `A` takes values of another shape.

    Source: theory of linear inverse problems in the kernel regime; Tancik et al. 2020, section 6 (CT, MRI).

    Example:
        >>> import numpy as np
        >>> import ntkspec as ns
        >>> k = ns.kernel.compose(ns.mapping.gaussian(2, 64, scale=2.0), ns.kernel.MLP(depth=3))
        >>> A = ns.operator.measurement.parallel_beam((16, 16), np.linspace(0, np.pi, 6)[:-1], num_detectors=16)
        >>> K = ns.operator.measured(ns.operator.lattice(k, (16, 16)), A)
        >>> K.shape
        (80, 80)
    """
    check_operator(K)
    if not isinstance(A, Measurement):
        A = matrix(A)
    n = K.num_points
    if A.points_shape not in (K.points_shape, (n,)):
        lattice = f"those of the whole lattice {K.points_shape}, or "
        expected = f"({n},), one a point" if K.points_shape == (n,) else f"{lattice}({n},)"
        if A.points_shape == K.field_shape:
            expected += "; this lattice has a mask: keep all points and choose by ns.operator.measurement.subsample"
        raise ValueError(f"the measurement takes values of shape {A.points_shape}; expected {expected}")
    return Measured(K, A)
