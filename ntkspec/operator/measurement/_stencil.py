"""Measurements that do the same everywhere: blur and decimate, and derivatives by finite differences.

Only windows that lie inside the lattice are measured: no value is made up beyond its border. Every row of A is then a
shift of another, and the diagonal of A K Aᵀ has one value for each component.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from ntkspec.checks import check_shape, check_sizes
from ntkspec.operator.measurement._base import Measurement, check_orders

__all__ = ["Stencil", "blur_decimate", "derivative", "gradient", "laplacian"]


class Stencil(Measurement):
    """Sums of separable windows that slide over the lattice; build one with `blur_decimate`, `gradient`, `laplacian`.

    Measurement i of a component is Σ_terms Σ_j Π_axes taps[j_axis] · f[stride·i + j]. A component is its terms, each an
    array of taps (width of the window,) an axis.
    """

    components: tuple[tuple[tuple[Array, ...], ...], ...]
    widths: tuple[int, ...] = eqx.field(static=True)
    stride: tuple[int, ...] = eqx.field(static=True)

    @property
    def counts(self) -> tuple[int, ...]:
        """Windows on each axis: what one component looks like."""
        each = zip(self.points_shape, self.widths, self.stride, strict=True)
        return tuple((n - width) // stride + 1 for n, width, stride in each)

    @property
    def num_measurements(self) -> int:
        return len(self.components) * math.prod(self.counts)

    def forward(self, f: Array) -> Array:
        return jnp.concatenate([reduce(jnp.add, (self._slide(term, f) for term in c)).ravel() for c in self.components])

    def _slide(self, term: tuple[Array, ...], f: Array) -> Array:
        for axis, taps in enumerate(term):
            count, stride = self.counts[axis], self.stride[axis]
            # A tap list of one stands for the middle of the window alone.
            first = (self.widths[axis] - len(taps)) // 2
            # One strided slice a tap: XLA fuses them into one pass.
            shifted = [
                taps[j] * jax.lax.slice_in_dim(f, first + j, first + j + stride * (count - 1) + 1, stride, axis)
                for j in range(len(taps))
            ]
            f = reduce(jnp.add, shifted)
        return f

    def positions(self, points: np.ndarray) -> np.ndarray:
        on_lattice = points.reshape(*self.points_shape, -1)
        corners = np.meshgrid(*(s * np.arange(c) for s, c in zip(self.stride, self.counts, strict=True)), indexing="ij")
        ends = [corner + width - 1 for corner, width in zip(corners, self.widths, strict=True)]
        centres = (on_lattice[tuple(corners)] + on_lattice[tuple(ends)]) / 2
        return np.tile(centres.reshape(-1, points.shape[1]), (len(self.components), 1))

    def representative(self) -> np.ndarray:
        windows = math.prod(self.counts)
        return np.repeat(windows * np.arange(len(self.components)), windows)


def blur_decimate(shape: tuple[int, ...], factor: int, taps: ArrayLike | None = None) -> Stencil:
    """Blur with a separable window, then keep every `factor`-th value on each axis: super-resolution's A.

    Args:
        shape: the lattice.
        factor: points from one measurement to the next, at least 1.
        taps: the window along each axis, shape (width,); None averages `factor` neighbours, as a coarser pixel does.

    Returns:
        The measurement, with (n − width)//factor + 1 values an axis: those whose window lies in the lattice.

    Raises:
        ValueError: if the factor or a size is not a positive whole number, or the window is wider than the lattice.

    Example:
        >>> A = blur_decimate((4,), factor=2)
        >>> (A @ [1.0, 3.0, 5.0, 9.0]).tolist()
        [2.0, 7.0]
    """
    shape = check_shape(shape)
    check_sizes(factor=factor)
    window = jnp.full(factor, 1 / factor) if taps is None else jnp.asarray(taps, dtype=float)
    if window.ndim != 1 or not 1 <= len(window) <= min(shape) or not bool(jnp.isfinite(window).all()):
        what = f"the window has shape {window.shape} on a lattice {shape}"
        raise ValueError(f"{what}; expected (width,) finite numbers, no wider")
    d = len(shape)
    return Stencil(shape, (((window,) * d,),), (len(window),) * d, (int(factor),) * d)


def gradient(shape: tuple[int, ...]) -> Stencil:
    """Central differences (f(x + h) − f(x − h))/2h along each axis, at the points inside the border.

    Exact for the lattice values of polynomials of degree 2 in each coordinate; its error is h²f'''/6. It is a
    derivative of the values, hence defined also for a ReLU network, whose own derivative jumps.

    Args:
        shape: the lattice, at least 3 points an axis, point i at i/shape.

    Returns:
        The measurement: the derivatives along the first axis at all inner points, then along the next; per unit.

    Example:
        >>> (gradient((4,)) @ [0.0, 1.0, 4.0, 9.0]).tolist()
        [8.0, 16.0]
    """
    shape = check_shape(shape, least=3)
    d = len(shape)
    return Stencil(shape, tuple((_term(shape, orders),) for orders in np.eye(d, dtype=int)), (3,) * d, (1,) * d)


def laplacian(shape: tuple[int, ...]) -> Stencil:
    """Second differences Σ_axes (f(x + h) − 2f(x) + f(x − h))/h² at the points inside the border.

    Exact for the lattice values of polynomials of degree 3 in each coordinate; its error is Σ h²f''''/12.

    Args:
        shape: the lattice, at least 3 points an axis, point i at i/shape.

    Returns:
        The measurement, at all inner points; per unit squared.

    Example:
        >>> (laplacian((4,)) @ [0.0, 1.0, 4.0, 9.0]).tolist()
        [32.0, 32.0]
    """
    shape = check_shape(shape, least=3)
    d = len(shape)
    terms = tuple(_term(shape, orders) for orders in 2 * np.eye(d, dtype=int))
    return Stencil(shape, (terms,), (3,) * d, (1,) * d)


def derivative(shape: tuple[int, ...], orders: Sequence[int]) -> Stencil:
    """One partial derivative ∂^α f by central differences, per axis or mixed: (2, 0) is ∂²f/∂x², (1, 1) ∂²f/∂x∂y.

    Args:
        shape: the lattice, point i at i/shape, at least 3 points on each axis that is differentiated.
        orders: α, 0, 1 or 2 for each axis, not all 0.

    Returns:
        The measurement, per unit to the power Σα: at the points inside the border of the axes that are differentiated.

    Raises:
        ValueError: if an order is another, or an axis has too few points.

    Example:
        >>> x, y = np.meshgrid(np.arange(4) / 4, np.arange(3) / 3, indexing="ij")
        >>> (derivative((4, 3), (1, 1)) @ (5 * x * y)).round(9).tolist()
        [5.0, 5.0]
    """
    shape = check_shape(shape)
    orders = check_orders(orders, shape, highest=2)
    widths = tuple(3 if order else 1 for order in orders)
    if any(n < width for n, width in zip(shape, widths, strict=True)):
        raise ValueError(f"the lattice {shape} has fewer than 3 points on an axis that orders={orders} differentiates")
    return Stencil(shape, ((_term(shape, orders),),), widths, (1,) * len(shape))


#: Central differences of each order, in units of the spacing.
TAPS = {0: (1.0,), 1: (-0.5, 0.0, 0.5), 2: (1.0, -2.0, 1.0)}


def _term(shape: tuple[int, ...], orders: Sequence[int] | np.ndarray) -> tuple[Array, ...]:
    """Return the taps of a derivative along each axis, per unit."""
    return tuple(jnp.asarray(TAPS[int(order)]) * n ** int(order) for order, n in zip(orders, shape, strict=True))
