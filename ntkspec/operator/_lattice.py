"""A stationary kernel on (a part of) a regular lattice: products by FFT, never a Gram matrix.

K is block-Toeplitz: K v = crop(F⁻¹ λ̂ F pad v) on a torus of at least twice the size per axis. Where every
frequency of the mapping is an integer, the kernel is periodic on [0, 1)^d; the torus is then the lattice itself, K is
circulant, and λ̂ holds its eigenvalues.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, Integer
from numpy.typing import ArrayLike

from ntkspec.checks import check_mask, check_shape
from ntkspec.grid import Grid, Placement
from ntkspec.kernel._composed import ComposedKernel, Which, check_composed, check_which
from ntkspec.kernel._overflow import is_false
from ntkspec.limits import refuse_if_too_large
from ntkspec.operator._base import OfKernel
from ntkspec.operator._modes import PlaneWaves
from ntkspec.operator._torus import lag_table, toeplitz, torus_shape, transform_of_lags

__all__ = ["Lattice", "Sublattice", "lattice"]


@dataclass(frozen=True)
class Sublattice:
    """The coarsest lattice inside a full one (point i at i/full) that carries all kept points.

    On each axis it starts at an index of the full one and steps by a stride. Products run on a torus, which is of its
    own shape where it closes upon itself; `periodic` tells whether the kernel has period 1.
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


class Lattice(OfKernel):
    """A stationary kernel on lattice points; build one with `lattice`.

    Attributes:
        transform: λ̂, the real transform of the kernel's lags on the torus, half of it along the last axis.
        index: flat positions of the points on the sublattice, shape (n,); None where all are kept.
        sublattice: the static geometry.
    """

    transform: Array
    index: Array | None
    sublattice: Sublattice = eqx.field(static=True)

    @property
    def num_points(self) -> int:
        return math.prod(self.sublattice.shape) if self.index is None else self.index.shape[0]

    @property
    def points(self) -> np.ndarray:
        points = self.sublattice.grid.points()
        return points if self.index is None else points[np.asarray(self.index)]

    @property
    def points_shape(self) -> tuple[int, ...]:
        return self.sublattice.shape if self.index is None else (self.num_points,)

    @property
    def placement(self) -> Placement:
        return Placement(self.sublattice.grid, None if self.index is None else np.asarray(self.index))

    @property
    def circulant(self) -> bool:
        """Whether the Fourier modes of the points are K's eigenvectors and `transform` its eigenvalues."""
        return self.index is None and self.sublattice.torus == self.sublattice.shape

    @property
    def dtype(self) -> np.dtype:
        return self.transform.dtype

    def modes(self) -> PlaneWaves | None:
        return PlaneWaves(self, np.asarray(self.transform).ravel(), self.sublattice.grid) if self.circulant else None

    def matvec(self, v: Float[Array, " n"]) -> Float[Array, " n"]:
        shape = self.sublattice.shape
        v = v.astype(self.dtype)
        if self.index is None:
            return toeplitz(self.transform, v.reshape(shape), self.sublattice.torus).ravel()
        on_lattice = jnp.zeros(math.prod(shape), dtype=v.dtype).at[self.index].set(v, unique_indices=True)
        return toeplitz(self.transform, on_lattice.reshape(shape), self.sublattice.torus).ravel()[self.index]

    def diagonal(self) -> Float[Array, " n"]:
        function = self.kernel.ntk_lag if self.which == "ntk" else self.kernel.nngp_lag
        return jnp.full(self.num_points, function(jnp.zeros(self.kernel.dim)))

    def lags(self) -> Float[Array, "*torus"]:
        """Return the kernel on the torus of lags, shape `torus`, always in float64; index −i is lag −i."""
        return lag_table(self.kernel, self.sublattice.torus, self.sublattice.grid.spacing, self.which)

    def stationary_lags(self) -> Array | None:
        if self.index is not None:
            return None
        each = zip(self.sublattice.shape, self.sublattice.torus, strict=True)
        return self.lags()[np.ix_(*(np.arange(1 - n, n) % size for n, size in each))]

    def to_dense(self) -> Float[Array, "n n"]:
        # The matrix, and an integer of each pair's difference on each axis.
        self._refuse_if_too_dense(2 + 2 * len(self.sublattice.shape))
        position = self._position()
        torus = np.asarray(self.sublattice.torus)[:, None, None]
        difference = (position[:, :, None] - position[:, None, :]) % torus
        return self.lags()[tuple(difference)]

    def lag_counts(self) -> Float[Array, "*torus"]:
        """How many ordered pairs of points stand at each lag of the torus, by FFT of the mask with itself."""
        torus = self.sublattice.torus
        if self.circulant:
            return jnp.full(torus, float(self.num_points))
        present = jnp.asarray(self.placement.extend(np.ones(self.num_points)))
        return jnp.round(jnp.fft.irfftn(jnp.abs(jnp.fft.rfftn(present, s=torus)) ** 2, s=torus))

    def frobenius_norm(self) -> Float[Array, ""]:
        """√Σ K_ij² = √(Σ_lag count(lag) k(lag)²), or √Σ λ² of all modes where they are known."""
        if self.circulant:
            last, power = self.sublattice.torus[-1], self.transform**2
            # The modes of frequency 0 and, on an even axis, of the highest one are their own mirror images.
            return jnp.sqrt(jnp.sum(power) + jnp.sum(power[..., 1 : (last + 1) // 2]))
        return jnp.sqrt(jnp.sum(self.lag_counts() * self.lags() ** 2))

    @property
    def field_shape(self) -> tuple[int, ...]:
        return self.sublattice.full

    def _field(self, columns: Float[Array, "n c"]) -> Float[Array, "*lattice c"]:
        return _on_lattice(self._full(), self._full_index(), columns)

    def restrict(self, values: ArrayLike) -> Array:
        values = jnp.asarray(values)
        full = self.sublattice.full
        if values.shape[: len(full)] != full or values.ndim > len(full) + 1:
            raise ValueError(f"values have shape {values.shape}; expected {full} or {(*full, 'channels')}")
        return values.reshape(math.prod(full), *values.shape[len(full) :])[self._full_index()]

    def field_norm(self) -> float:
        return float(jnp.max(jnp.abs(self._full().transform)))

    def _full(self) -> Lattice:
        full = self.sublattice.full
        if full == self.sublattice.shape:
            return replace(self, index=None)
        return _build(self.kernel, whole(full, self.sublattice.periodic), None, self.which, self.dtype)

    def _position(self) -> np.ndarray:
        """Position of each point on the sublattice, shape (d, n)."""
        index = np.arange(self.num_points) if self.index is None else np.asarray(self.index)
        return np.stack(np.unravel_index(index, self.sublattice.shape))

    def _full_index(self) -> Array:
        sub = self.sublattice
        moved = [p * s + o for p, s, o in zip(self._position(), sub.stride, sub.start, strict=True)]
        return jnp.asarray(np.ravel_multi_index(moved, sub.full))


def lattice(
    k: ComposedKernel,
    shape: tuple[int, ...],
    mask: ArrayLike | None = None,
    which: Which = "ntk",
    *,
    dtype: DTypeLike = float,
) -> Lattice:
    """Return the kernel on the points i/shape of [0, 1)^d, or on those that a mask keeps.

    Spacings of their own on each axis are a matter of units: on a volume of extents e, behind g, take the kernel
    behind g.through(np.diag(e)), whose coordinates in [0, 1)^d stand for [0, e).

    Points that lie on a coarser sublattice (say every other pixel) are recognised, and products then run at
    that size.

    Args:
        k: a stationary composed kernel.
        shape: points on each of d axes.
        mask: boolean, shape `shape`; True points are kept, in row-major order. None keeps all.
        which: "ntk" or "nngp".
        dtype: of products. float32 halves their memory and time; the kernel is still computed in float64, and a
            product's error is then about 1e-7 · log₂(torus points) of λ_max ‖v‖ (in float64 2e-16 times that).

    Returns:
        The operator, with `field` for values on the whole lattice. Under `jax.jit`, `jax.vmap` and `jax.grad` the
        mapping's numbers may be traced; a torus of twice the size then serves also whole frequencies.

    Raises:
        ValueError: if the kernel is not stationary, shape, mask or type do not fit, or the transforms would not fit in
            memory.
        TypeError: if the kernel is a network without a mapping.

    Example:
        >>> import ntkspec as ns
        >>> k = ns.kernel.compose(ns.mapping.gaussian(2, 64, scale=3.0), ns.kernel.MLP(depth=3))
        >>> K = ns.operator.lattice(k, shape=(512, 512))
        >>> K.shape
        (262144, 262144)
    """
    check_composed(k)
    check_which(which)
    if not k.stationary:
        raise ValueError(
            "a lattice operator needs a kernel of the lag alone, and this one has a network whose kernel_fn is wrapped "
            "(by nt.batch, say), no mapping, or one beside raw coordinates; use operator.dense(k, x), for many points "
            "operator.scattered(k, x) or low_rank(k, x, tol), or put a mapping alone in front (ns.mapping.basic(dim))"
        )
    shape = check_shape(shape, k.dim)
    dtype = jnp.zeros((), dtype).dtype
    if dtype not in (np.float32, np.float64):
        raise ValueError(f"dtype={dtype}; expected float64 or float32")
    sublattice, index = _sublattice(shape, mask, k.periodic)
    what = f"the transforms of a lattice of {shape} points (torus {sublattice.torus})"
    # The table of lags and its complex transform, with copies on the way: 18 to 39 bytes were measured.
    refuse_if_too_large(40 * math.prod(sublattice.torus), what, "take fewer points")
    K = _build(k, sublattice, index, which, dtype)
    # The first coefficient is the sum of all lags: one that is not finite shows in it.
    if is_false(jnp.isfinite(K.transform.ravel()[0])):
        k.lag_grid((np.zeros(1),) * k.dim, which)
    return K


def whole(shape: tuple[int, ...], periodic: bool) -> Sublattice:
    """Return a full lattice as a sublattice of itself."""
    ones, zeros = (1,) * len(shape), (0,) * len(shape)
    return Sublattice(shape, zeros, ones, shape, shape if periodic else torus_shape(shape), periodic)


def _build(k: ComposedKernel, sublattice: Sublattice, index: Array | None, which: Which, dtype: DTypeLike) -> Lattice:
    transform = transform_of_lags(k, sublattice.torus, sublattice.grid.spacing, which, dtype)
    return Lattice(k, which, transform, index, sublattice)


def _sublattice(shape: tuple[int, ...], mask: ArrayLike | None, periodic: bool) -> tuple[Sublattice, Array | None]:
    if mask is None:
        return whole(shape, periodic), None
    kept = check_mask(mask, shape)
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
    torus = sub_shape if periodic and all(wraps) else torus_shape(sub_shape)
    sublattice = Sublattice(shape, tuple(start), tuple(stride), sub_shape, torus, periodic)
    inside = kept[tuple(slice(o, None, s) for o, s in zip(start, stride, strict=True))]
    inside = inside[tuple(slice(0, n) for n in sub_shape)]
    return sublattice, None if inside.all() else jnp.asarray(np.flatnonzero(inside))


@jax.jit
def _on_lattice(full: Lattice, index: Integer[Array, " n"], weights: Float[Array, "n c"]) -> Float[Array, "*lattice c"]:
    def one(column: Array) -> Array:
        spread = jnp.zeros(full.num_points, dtype=weights.dtype).at[index].set(column, unique_indices=True)
        return full.matvec(spread).reshape(full.sublattice.shape)

    # One transform at a time: all columns at once would hold all their padded tori.
    return jnp.moveaxis(jax.lax.map(one, weights.T), 0, -1)
