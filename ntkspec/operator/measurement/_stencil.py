"""Measurements that do the same everywhere: blur and decimate, and derivatives by finite differences.

Only windows that lie inside the lattice are measured: no value is made up beyond its border. Every row of A is then a
shift of another, and the diagonal of A K Aᵀ has one value for each component.
"""

from __future__ import annotations

import itertools
import math
from functools import reduce

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from ntkspec.operator.measurement._base import Measurement, check_lattice_shape

__all__ = ["Stencil", "blur_decimate", "gradient", "laplacian"]


class Stencil(Measurement):
    """Sums of separable windows that slide over the lattice; build one with `blur_decimate`, `gradient`, `laplacian`.

    Measurement i of a component is Σ_terms Σ_j Π_axes taps[j_axis] · f[stride·i + j].

    Attributes:
        components: for each component its terms, each one array of taps (width of that axis,) an axis.
        widths: of the window on each axis.
        stride: step of the window on each axis.
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
        ValueError: if the factor, the taps or the shape are no good, or the window is wider than the lattice.

    Example:
        >>> A = blur_decimate((4,), factor=2)
        >>> (A @ [1.0, 3.0, 5.0, 9.0]).tolist()
        [2.0, 7.0]
    """
    shape = check_lattice_shape(shape)
    if int(factor) != factor or factor < 1:
        raise ValueError(f"factor={factor!r}; expected a whole number of at least 1")
    window = jnp.full(int(factor), 1 / factor) if taps is None else jnp.asarray(taps, dtype=float)
    if window.ndim != 1 or not 1 <= len(window) <= min(shape) or not bool(jnp.isfinite(window).all()):
        raise ValueError(
            f"the window has shape {window.shape} on a lattice {shape}; expected (width,) finite numbers, no wider"
        )
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

    Raises:
        ValueError: if an axis has fewer than 3 points.

    Example:
        >>> (gradient((4,)) @ [0.0, 1.0, 4.0, 9.0]).tolist()
        [8.0, 16.0]
    """
    return _differences(shape, np.array([-0.5, 0.0, 0.5]), order=1)


def laplacian(shape: tuple[int, ...]) -> Stencil:
    """Second differences Σ_axes (f(x + h) − 2f(x) + f(x − h))/h² at the points inside the border.

    Exact for the lattice values of polynomials of degree 3 in each coordinate; its error is Σ h²f''''/12.

    Args:
        shape: the lattice, at least 3 points an axis, point i at i/shape.

    Returns:
        The measurement, at all inner points; per unit squared.

    Raises:
        ValueError: if an axis has fewer than 3 points.

    Example:
        >>> (laplacian((4,)) @ [0.0, 1.0, 4.0, 9.0]).tolist()
        [32.0, 32.0]
    """
    by_axis = _differences(shape, np.array([1.0, -2.0, 1.0]), order=2)
    terms = tuple(itertools.chain.from_iterable(by_axis.components))
    return Stencil(by_axis.points_shape, (terms,), by_axis.widths, by_axis.stride)


def _differences(shape: tuple[int, ...], taps: np.ndarray, order: int) -> Stencil:
    """One component an axis: the taps along it, over the spacing to the power `order`."""
    shape = check_lattice_shape(shape, least=3)
    d = len(shape)
    one = jnp.ones(1)
    components = tuple(
        (tuple(jnp.asarray(taps * shape[axis] ** order) if other == axis else one for other in range(d)),)
        for axis in range(d)
    )
    return Stencil(shape, components, (3,) * d, (1,) * d)
