"""What every operator answers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float
from numpy.typing import ArrayLike

from ntkspec.checks import check_points
from ntkspec.grid import Placement, place
from ntkspec.kernel._composed import ComposedKernel, Which, check_composed, check_which
from ntkspec.limits import refuse_if_too_large
from ntkspec.operator._expansion import expand, trace_at
from ntkspec.operator._modes import Modes
from ntkspec.progress import NO_PROGRESS, Progress

__all__ = ["OfKernel", "OnPoints", "Operator", "check_kernel_points", "check_operator", "require_field"]

_NO_FIELD = "this operator knows of no points but its own; the field needs operator.lattice(k, shape, mask)"
_NO_KERNEL = (
    "this operator is a matrix and knows no kernel between its points and others; build it by operator.dense(k, x) or "
    "another of ns.operator, or give Dense its kernel"
)


class Operator(eqx.Module):
    """A symmetric positive semi-definite kernel matrix K on n points.

    A new operator answers `num_points`, `points`, `placement`, `matvec`, `diagonal`, `to_dense` and `frobenius_norm`;
    the eigen and prediction rooms ask for nothing else. One that knows of a whole lattice around its points also
    answers `field_shape`, `field`, `restrict` and `field_norm`; one that knows its kernel between any points `_expand`
    and `_trace_at`; one whose structure gives all its modes `modes`, and is then exact everywhere.
    """

    @property
    @abstractmethod
    def num_points(self) -> int:
        """Number of points n."""

    @property
    @abstractmethod
    def points(self) -> np.ndarray:
        """The points, shape (n, d); a measurement that belongs to no place has a row of NaN."""

    @property
    @abstractmethod
    def placement(self) -> Placement | None:
        """Where the points lie on a lattice; None for scattered points and for measurements that are no samples."""

    @abstractmethod
    def matvec(self, v: Float[Array, " n"]) -> Float[Array, " n"]:
        """K v for one vector, (n,) -> (n,); jits, vmaps and differentiates."""

    @abstractmethod
    def diagonal(self) -> Float[Array, " n"]:
        """K's diagonal, shape (n,)."""

    @abstractmethod
    def to_dense(self) -> Float[Array, "n n"]:
        """K as a matrix, shape (n, n), which is refused where it would not fit in memory."""

    @abstractmethod
    def frobenius_norm(self) -> Float[Array, ""]:
        """√Σ K_ij² = √Σ λ², a scalar."""

    @property
    def points_shape(self) -> tuple[int, ...]:
        """Shape of values at the points: their lattice's where they are all of one, else (n,)."""
        return (self.num_points,)

    def stationary_lags(self) -> Array | None:
        """Return the kernel k(Δ) at lags −(n − 1) … n − 1 of each axis of a whole lattice, if it is all of K."""
        return None

    def modes(self) -> Modes | None:
        """All eigenvalues and modes, if the structure of K gives them at the cost of a few products; None if not.

        Spectrum, norm, predictions and generalisation are exact for an operator that answers this. Others are
        decomposed as a matrix only where it pays, up to `limits.current().exact_points`.
        """
        return None

    def trace(self) -> Float[Array, ""]:
        """Σ K_ii, a scalar."""
        return jnp.sum(self.diagonal())

    @property
    def approximation_error(self) -> float:
        """A bound on ‖K − the exact kernel‖ in the spectral norm; 0 where products are exact up to rounding."""
        return 0.0

    @property
    def field_shape(self) -> tuple[int, ...] | None:
        """The lattice on which `field` gives the learned function; None where no other points are known."""
        return None

    def field(self, weights: ArrayLike) -> Array:
        """Return the learned function Σ_j k(x, ·_j) w_j at every point x of a lattice.

        Args:
            weights: w, shape (n,) or (n, c).

        Returns:
            Values, shape `field_shape` or (*field_shape, c).

        Raises:
            ValueError: if the operator has no field.
        """
        return _by_columns(self._field, jnp.asarray(weights))

    def _field(self, columns: Float[Array, "n c"]) -> Float[Array, "*lattice c"]:
        """`field` of columns (n, c)."""
        raise ValueError(_NO_FIELD)

    def restrict(self, values: ArrayLike) -> Array:
        """Return what the operator's points see of values on that lattice: (*field_shape[, c]) to (n,) or (n, c)."""
        raise ValueError(_NO_FIELD)

    def field_norm(self) -> float:
        """Return an upper bound on the norm of the kernel on that whole lattice."""
        raise ValueError(_NO_FIELD)

    def at(self, asked: ArrayLike, weights: ArrayLike, *, progress: Progress = NO_PROGRESS) -> Array:
        """Return the learned function Σ_j k(z, ·_j) w_j at any points z, on the lattice or off it.

        Costs an entry of the kernel for each pair of points; they are computed block by block and used at once.

        Args:
            asked: z, shape (m, d); they may be the operator's own.
            weights: w, shape (n,) or (n, c); columns share the entries.
            progress: reporter.

        Returns:
            Values, shape (m,) or (m, c).

        Raises:
            ValueError: if the operator knows no kernel beyond its own points, or a shape is wrong.
        """
        points, values = check_points(asked, self._dim, least=1), jnp.asarray(weights, dtype=float)
        self._check_rows("weights have", values)
        return _by_columns(lambda columns: self._expand(points, columns, progress), values)

    def norm_at(self, asked: ArrayLike) -> float:
        """Return an upper bound on the norm of the kernel on points (m, d): its trace there.

        Raises:
            ValueError: if the operator knows no kernel beyond its own points, or the shape is wrong.
        """
        return self._trace_at(check_points(asked, self._dim, least=1))

    @property
    def _dim(self) -> int:
        """Coordinates of a point that the kernel takes."""
        return self.points.shape[1]

    def _expand(
        self, asked: Float[Array, "m d"], columns: Float[Array, "n c"], progress: Progress
    ) -> Float[Array, "m c"]:
        """`at` of checked points (m, d) and columns (n, c); an operator that knows its kernel answers it."""
        raise ValueError(_NO_KERNEL)

    def _trace_at(self, asked: Float[Array, "m d"]) -> float:
        """`norm_at` of checked points (m, d)."""
        raise ValueError(_NO_KERNEL)

    @property
    def dtype(self) -> np.dtype:
        """Of products; the package's own float64 unless an operator says otherwise."""
        return jnp.zeros(()).dtype

    @property
    def shape(self) -> tuple[int, int]:
        """(n, n)."""
        return self.num_points, self.num_points

    def __matmul__(self, v: ArrayLike) -> Array:
        """K v for a vector (n,) or for each column of (n, c)."""
        v = jnp.asarray(v)
        if jnp.iscomplexobj(v):
            raise TypeError("the right-hand side is complex; an operator is real: K @ v.real + 1j * (K @ v.imag)")
        v = v if jnp.issubdtype(v.dtype, jnp.floating) else v.astype(float)
        self._check_rows("the right-hand side has", v)
        return product(self, v)

    def _check_rows(self, what: str, values: Array) -> None:
        n = self.num_points
        if values.ndim not in (1, 2) or len(values) != n:
            raise ValueError(f"{what} shape {values.shape}; expected ({n},) or ({n}, channels)")

    def _refuse_if_too_dense(self, copies: float, points: str = "points") -> None:
        """Refuse the matrix where so many of its size would not fit in memory."""
        n = self.num_points
        refuse_if_too_large(8 * copies * n * n, f"a dense Gram matrix of {n:,} {points}", "multiply by K @ v instead")


class OnPoints(Operator):
    """An operator that keeps the coordinates of its points as an attribute, shape (n, d)."""

    coordinates: Array

    @property
    def num_points(self) -> int:
        return self.coordinates.shape[0]

    @property
    def points(self) -> np.ndarray:
        return np.asarray(self.coordinates)

    @property
    def placement(self) -> Placement | None:
        return place(self.points)


class OfKernel(Operator):
    """An operator that keeps the composed kernel it is of, NTK or NNGP, and so knows the learned function anywhere."""

    kernel: ComposedKernel
    which: Which = eqx.field(static=True)

    def _expand(
        self, asked: Float[Array, "m d"], columns: Float[Array, "n c"], progress: Progress
    ) -> Float[Array, "m c"]:
        return expand(self.kernel, self.points, asked, columns, self.which, progress)

    def _trace_at(self, asked: Float[Array, "m d"]) -> float:
        return trace_at(self.kernel, asked, self.which)


@jax.jit
def product(K: Operator, v: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
    """K v, compiled once for each kind and size of operator."""
    return K.matvec(v) if v.ndim == 1 else jax.vmap(K.matvec, in_axes=1, out_axes=1)(v)


def check_kernel_points(k: ComposedKernel, x: ArrayLike, which: Which) -> Array:
    """Return points (n, d) of a kernel, at least one, where kernel, its name and the points are accepted."""
    check_composed(k)
    check_which(which)
    return check_points(x, k.dim, least=1)


def _by_columns(apply: Callable[[Array], Array], values: Array) -> Array:
    """Apply a function of columns (n, c) to them, or to a vector (n,); the last axis of the result is the columns'."""
    return apply(values) if values.ndim == 2 else apply(values[:, None])[..., 0]


def require_field(K: Operator) -> None:
    """Refuse an operator that does not know the function on a whole lattice."""
    if K.field_shape is None:
        raise ValueError("everywhere=True needs a lattice operator, whose points outside the mask are known")


def check_operator(K: object) -> None:
    """Refuse anything but an operator, saying how to make one."""
    if not isinstance(K, Operator):
        raise TypeError(f"`K` is a {type(K).__name__}; expected an operator such as ns.operator.lattice(k, shape)")
