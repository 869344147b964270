"""A stationary kernel on (a part of) a regular lattice: products by FFT, never a Gram matrix.

K is block-Toeplitz: K v = crop(F⁻¹ λ̂ F pad v) on a torus of at least twice the size per axis. Where every
frequency of the mapping is an integer, the kernel is periodic on [0, 1)^d; the torus is then the lattice itself, K is
circulant, and λ̂ holds its eigenvalues.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
from jax import Array
from numpy.typing import ArrayLike

from ntkspec.grid import Grid, Placement
from ntkspec.kernel.composed import ComposedKernel, Which, check_which
from ntkspec.operator.base import Operator, refuse_if_too_large

__all__ = ["Lattice", "Sublattice", "lattice"]


@dataclass(frozen=True)
class Sublattice:
    """The coarsest lattice inside a full one that carries all kept points.

    Attributes:
        full: shape of the full lattice, point i at i/full.
        start: full index of the first kept point, an axis each.
        stride: step between kept points in full indices, an axis each.
        shape: points of the sublattice on each axis.
        torus: size of the torus its products run on; equal to `shape` where it closes upon itself.
        periodic: whether the kernel has period 1 on every axis.
    """

    full: tuple[int, ...]
    start: tuple[int, ...]
    stride: tuple[int, ...]
    shape: tuple[int, ...]
    torus: tuple[int, ...]
    periodic: bool

    @property
    def grid(self) -> Grid:
        """The sublattice's coordinates."""
        steps = zip(self.stride, self.full, strict=True)
        starts = zip(self.start, self.full, strict=True)
        return Grid(self.shape, tuple(s / n for s, n in steps), tuple(o / n for o, n in starts))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Lattice(Operator):
    """A stationary kernel on lattice points; build one with `lattice`.

    Attributes:
        kernel: the composed kernel.
        transform: λ̂, the real transform of the kernel's lags on the torus, half of it along the last axis.
        index: flat positions of the points on the sublattice, shape (n,); None where all are kept.
        sublattice: the static geometry.
        which: "ntk" or "nngp".
    """

    kernel: ComposedKernel
    transform: Array
    index: Array | None
    sublattice: Sublattice = field(metadata={"static": True})
    which: Which = field(metadata={"static": True})

    @property
    def num_points(self) -> int:
        """Number of points n."""
        return math.prod(self.sublattice.shape) if self.index is None else self.index.shape[0]

    @property
    def points(self) -> np.ndarray:
        """The points, shape (n, d), in [0, 1)^d."""
        points = self.sublattice.grid.points()
        return points if self.index is None else points[np.asarray(self.index)]

    @property
    def placement(self) -> Placement:
        """Where the points lie on the sublattice."""
        return Placement(self.sublattice.grid, None if self.index is None else np.asarray(self.index))

    @property
    def circulant(self) -> bool:
        """Whether the Fourier modes of the points are K's eigenvectors and `transform` its eigenvalues."""
        return self.index is None and self.sublattice.torus == self.sublattice.shape

    def matvec(self, v: Array) -> Array:
        """K v for one vector (n,)."""
        shape = self.sublattice.shape
        if self.index is None:
            return _toeplitz(self.transform, v.reshape(shape), self.sublattice.torus).ravel()
        on_lattice = jnp.zeros(math.prod(shape), dtype=v.dtype).at[self.index].set(v, unique_indices=True)
        return _toeplitz(self.transform, on_lattice.reshape(shape), self.sublattice.torus).ravel()[self.index]

    def diagonal(self) -> Array:
        """K's diagonal, shape (n,): the kernel at lag zero."""
        return jnp.full(self.num_points, self.lags()[(0,) * len(self.sublattice.shape)])

    def lags(self) -> Array:
        """The kernel on the torus of lags, shape `torus`; index −i is lag −i."""
        return _lag_table(self.kernel, self.sublattice, self.which)

    def to_dense(self) -> Array:
        """K as a matrix (n, n), exactly symmetric.

        Raises:
            ValueError: if it would not fit in memory.
        """
        n = self.num_points
        # The matrix, and an integer of each pair's difference on each axis.
        num_bytes = 8 * n * n * (2 + 2 * len(self.sublattice.shape))
        refuse_if_too_large(num_bytes, f"a dense Gram matrix of {n:,} points", "multiply by K @ v instead")
        index = np.arange(n) if self.index is None else np.asarray(self.index)
        position = np.stack(np.unravel_index(index, self.sublattice.shape))
        torus = np.asarray(self.sublattice.torus)[:, None, None]
        difference = (position[:, :, None] - position[:, None, :]) % torus
        return self.lags()[tuple(difference)]

    def lag_counts(self) -> Array:
        """How many ordered pairs of points stand at each lag of the torus, by FFT of the mask with itself."""
        torus = self.sublattice.torus
        if self.circulant:
            return jnp.full(torus, float(self.num_points))
        present = jnp.asarray(self.placement.extend(np.ones(self.num_points)))
        return jnp.round(jnp.fft.irfftn(jnp.abs(jnp.fft.rfftn(present, s=torus)) ** 2, s=torus))

    def frobenius_norm(self) -> Array:
        """√Σ K_ij² = √(Σ_lag count(lag) k(lag)²)."""
        return jnp.sqrt(jnp.sum(self.lag_counts() * self.lags() ** 2))

    @property
    def field_shape(self) -> tuple[int, ...]:
        """The full lattice."""
        return self.sublattice.full

    def field(self, weights: ArrayLike) -> Array:
        """Σ_j k(x, x_j) w_j at every point x of the full lattice.

        Args:
            weights: w, shape (n,) or (n, c).

        Returns:
            Values, shape (*full) or (*full, c).
        """
        weights = jnp.asarray(weights)
        columns = weights if weights.ndim == 2 else weights[:, None]
        values = _field(self._full(), self._full_index(), columns)
        return values if weights.ndim == 2 else values[..., 0]

    def restrict(self, values: ArrayLike) -> Array:
        """Values (*full) or (*full, c) on the full lattice, taken at the operator's points: (n,) or (n, c).

        Raises:
            ValueError: if the leading shape is not that of the full lattice.
        """
        values = jnp.asarray(values)
        full = self.sublattice.full
        if values.shape[: len(full)] != full or values.ndim > len(full) + 1:
            raise ValueError(f"values have shape {values.shape}; expected {full} or {(*full, 'channels')}")
        return values.reshape(math.prod(full), *values.shape[len(full) :])[self._full_index()]

    def field_norm(self) -> float:
        """An upper bound on the norm of the kernel on the whole lattice: the norm of its torus."""
        return float(jnp.max(jnp.abs(self._full().transform)))

    def _full(self) -> Lattice:
        full = self.sublattice.full
        if full == self.sublattice.shape:
            return Lattice(self.kernel, self.transform, None, self.sublattice, self.which)
        return _build(self.kernel, whole(full, self.sublattice.periodic), None, self.which)

    def _full_index(self) -> Array:
        sub = self.sublattice
        index = np.arange(math.prod(sub.shape)) if self.index is None else np.asarray(self.index)
        position = np.unravel_index(index, sub.shape)
        moved = [p * s + o for p, s, o in zip(position, sub.stride, sub.start, strict=True)]
        return jnp.asarray(np.ravel_multi_index(moved, sub.full))


def lattice(k: ComposedKernel, shape: tuple[int, ...], mask: ArrayLike | None = None, which: Which = "ntk") -> Lattice:
    """The kernel on the points i/shape of [0, 1)^d, or on those that a mask keeps.

    Points that lie on a coarser sublattice (say every other pixel) are recognised, and products then run at
    that size.

    Args:
        k: a stationary composed kernel.
        shape: points on each of d axes.
        mask: boolean, shape `shape`; True points are kept, in row-major order. None keeps all.
        which: "ntk" or "nngp".

    Returns:
        The operator, with `field` for values on the whole lattice.

    Raises:
        ValueError: if the kernel is not stationary, the shape has the wrong dimension, the mask has another
            shape or keeps nothing, or the transforms would not fit in memory.

    Example:
        >>> import ntkspec as ns
        >>> k = ns.kernel.compose(ns.mapping.gaussian(2, 64, scale=3.0), ns.kernel.MLP(depth=3))
        >>> K = ns.operator.lattice(k, shape=(512, 512))
        >>> K.shape
        (262144, 262144)
    """
    check_which(which)
    shape = tuple(int(n) for n in np.atleast_1d(shape))
    if not k.stationary:
        raise ValueError(
            "a lattice operator needs a kernel of the lag alone, and this one has no mapping, or one beside "
            "raw coordinates; use operator.dense(k, x), or put a mapping alone in front (ns.mapping.basic(dim) is the "
            "mildest)"
        )
    if len(shape) != k.dim or min(shape) < 1:
        raise ValueError(f"shape={shape}; expected {k.dim} positive sizes, one a coordinate of the mapping")
    sublattice, index = _sublattice(shape, mask, k.periodic)
    size = math.prod(sublattice.torus)
    refuse_if_too_large(
        6 * 8 * size,
        f"the transforms of a lattice of {shape} points (torus {sublattice.torus})",
        "take fewer points",
    )
    return _build(k, sublattice, index, which)


def whole(shape: tuple[int, ...], periodic: bool) -> Sublattice:
    """A full lattice as a sublattice of itself."""
    ones, zeros = (1,) * len(shape), (0,) * len(shape)
    return Sublattice(shape, zeros, ones, shape, shape if periodic else _torus(shape), periodic)


def _build(k: ComposedKernel, sublattice: Sublattice, index: Array | None, which: Which) -> Lattice:
    return Lattice(k, _transform(k, sublattice, which), index, sublattice, which)


def _torus(shape: tuple[int, ...]) -> tuple[int, ...]:
    """At least 2n − 1 lags an axis, rounded up to a size that transforms fast."""
    return tuple(1 if n == 1 else scipy.fft.next_fast_len(2 * n - 1, real=True) for n in shape)


def _sublattice(shape: tuple[int, ...], mask: ArrayLike | None, periodic: bool) -> tuple[Sublattice, Array | None]:
    if mask is None:
        return whole(shape, periodic), None
    kept = np.asarray(mask)
    if kept.dtype != np.bool_ or kept.shape != shape:
        raise ValueError(f"the mask has shape {kept.shape} and type {kept.dtype}; expected a boolean {shape}")
    if not kept.any():
        raise ValueError("the mask keeps no point; at least one must be True")
    start, stride, counts, wraps = [], [], [], []
    for axis, n in enumerate(shape):
        others = tuple(i for i in range(len(shape)) if i != axis)
        present = np.flatnonzero(kept.any(axis=others))
        step = int(np.gcd.reduce(np.diff(present))) if len(present) > 1 else n
        start.append(int(present[0]))
        stride.append(step)
        counts.append(int((present[-1] - present[0]) // step) + 1)
        wraps.append(counts[-1] * step == n)
    sub_shape = tuple(counts)
    torus = sub_shape if periodic and all(wraps) else _torus(sub_shape)
    sublattice = Sublattice(shape, tuple(start), tuple(stride), sub_shape, torus, periodic)
    inside = kept[tuple(slice(o, None, s) for o, s in zip(start, stride, strict=True))]
    inside = inside[tuple(slice(0, n) for n in sub_shape)]
    index = None if inside.all() else jnp.asarray(np.flatnonzero(inside))
    return sublattice, index


def _lag_table(k: ComposedKernel, sublattice: Sublattice, which: Which) -> Array:
    """The kernel on the torus; half of it is computed, the rest follows from k(−Δ) = k(Δ)."""
    spacing = [s / n for s, n in zip(sublattice.stride, sublattice.full, strict=True)]
    signed = [np.where(np.arange(m) <= m // 2, np.arange(m), np.arange(m) - m) for m in sublattice.torus]
    lags = [h * lag for h, lag in zip(spacing, signed, strict=True)]
    last = sublattice.torus[-1]
    half = k.lag_grid((*lags[:-1], lags[-1][: last // 2 + 1]), which)
    mirror = half[..., 1 : (last + 1) // 2]
    leading = tuple(range(len(lags) - 1))
    mirror = jnp.roll(jnp.flip(mirror), 1, axis=leading)
    return jnp.concatenate([half, mirror], axis=-1)


@jax.jit
def _transform_of(table: Array) -> Array:
    return jnp.fft.rfftn(table).real


def _transform(k: ComposedKernel, sublattice: Sublattice, which: Which) -> Array:
    return _transform_of(_lag_table(k, sublattice, which))


def _toeplitz(transform: Array, v: Array, torus: tuple[int, ...]) -> Array:
    """crop(F⁻¹ λ̂ F pad v), padded and cropped one axis at a time: rows known to be zero are not transformed.

    The axis to be transformed is moved to the end each time, where the FFT reads memory in order.
    """
    spectrum = jnp.fft.rfft(v, n=torus[-1])
    for size in reversed(torus[:-1]):
        spectrum = jnp.fft.fft(jnp.moveaxis(spectrum, -1, 0), n=size)
    spectrum = jnp.moveaxis(transform, 0, -1) * spectrum
    for size in v.shape[:-1]:
        spectrum = jnp.moveaxis(jnp.fft.ifft(spectrum)[..., :size], 0, -1)
    return jnp.fft.irfft(spectrum, n=torus[-1])[..., : v.shape[-1]]


@jax.jit
def _field(full: Lattice, index: Array, weights: Array) -> Array:
    def one(column: Array) -> Array:
        spread = jnp.zeros(full.num_points, dtype=weights.dtype).at[index].set(column, unique_indices=True)
        return full.matvec(spread).reshape(full.sublattice.shape)

    # One transform at a time: all columns at once would hold all their padded tori.
    return jnp.moveaxis(jax.lax.map(one, weights.T), 0, -1)
