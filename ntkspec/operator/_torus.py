"""The torus of lags of a stationary kernel: its size, the kernel on it, the transform, and products by FFT.

A product, a table and a transform go through the torus in pieces that fit a cache. On a CPU that is faster than whole
arrays, and beside its input and output a product never holds the padded torus.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from ntkspec.kernel._composed import ComposedKernel, Which

__all__ = ["axis_lags", "lag_slabs", "lag_table", "toeplitz", "torus_shape", "transform_of_lags"]

#: Bytes of a spectrum that are transformed whole, and the size of the pieces beyond (measured on 1 MB of cache a core).
WHOLE, PIECE = 2**24, 2**21

#: The same where launching small pieces costs more than memory traffic, on a GPU.
LARGE = 2**29

#: Lags in a piece of a table: the temporaries of the layer recursion then stay small.
LAGS = 2**20

#: From this number on the lags of one axis are split in two.
LONG = 2**16


def torus_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """At least 2n − 1 lags an axis, rounded up to a size that transforms fast."""
    return tuple(1 if n == 1 else scipy.fft.next_fast_len(2 * n - 1, real=True) for n in shape)


def lag_table(
    k: ComposedKernel, torus: tuple[int, ...], spacing: tuple[float, ...], which: Which
) -> Float[Array, "*torus"]:
    """Return the kernel on the torus, shape `torus`; index −i is lag −i. Half is computed, the rest is k(−Δ) = k(Δ)."""
    half = _half_table(k, torus, spacing, which)
    mirror = half[..., 1 : (torus[-1] + 1) // 2]
    mirror = jnp.roll(jnp.flip(mirror), 1, axis=tuple(range(len(torus) - 1)))
    return jnp.concatenate([half, mirror], axis=-1)


def transform_of_lags(
    k: ComposedKernel, torus: tuple[int, ...], spacing: tuple[float, ...], which: Which, dtype: DTypeLike
) -> Array:
    """λ̂, the real transform of `lag_table`, half of it along the last axis; computed in float64, given as `dtype`."""
    return _transform_of_half(_half_table(k, torus, spacing, which), torus[-1], dtype)


def toeplitz(
    transform: Float[Array, "*half"], v: Float[Array, "*shape"], torus: tuple[int, ...], columns: int | None = None
) -> Float[Array, "*shape"]:
    """crop(F⁻¹ λ̂ F pad v), padded and cropped one axis at a time: rows known to be zero are not transformed.

    λ̂ is half of the transform along the last axis; `columns` of the spectrum go through at once, or what fits a cache.
    """

    def leading(transform: Array, spectrum: Array) -> Array:
        # The axis to be transformed is moved to the end each time, where the FFT reads memory in order.
        for size in reversed(torus[:-1]):
            spectrum = jnp.fft.fft(jnp.moveaxis(spectrum, -1, 0), n=size)
        spectrum = jnp.moveaxis(transform, 0, -1) * spectrum
        for size in v.shape[:-1]:
            spectrum = jnp.moveaxis(jnp.fft.ifft(spectrum)[..., :size], 0, -1)
        return jnp.moveaxis(spectrum, -1, 0)

    spectrum = jnp.fft.rfft(v, n=torus[-1])
    column = math.prod(torus[:-1]) * spectrum.dtype.itemsize
    spectrum = _by_pieces(leading, (transform, spectrum), -1, columns or _piece(spectrum.shape[-1], column))
    return jnp.fft.irfft(jnp.moveaxis(spectrum, 0, -1), n=torus[-1])[..., : v.shape[-1]]


def _piece(count: int, num_bytes: int) -> int:
    """How many of `count` columns of so many bytes go through at once."""
    whole, piece = (WHOLE, PIECE) if jax.default_backend() == "cpu" else (LARGE, LARGE)
    # Where a single column outgrows a piece, a few go together, for neighbours share the lines of memory.
    return count if count * num_bytes <= whole else piece // num_bytes or 8


def _by_pieces(apply: Callable[..., Array], arrays: tuple[Array, ...], axis: int, size: int) -> Array:
    """`apply` to `size` long pieces of arrays cut along one axis; what comes back is joined along its first axis."""
    total = arrays[0].shape[axis]
    if size >= total:
        return apply(*arrays)

    def piece(start: Array | int, size: int) -> Array:
        return apply(*(jax.lax.dynamic_slice_in_dim(array, start, size, axis) for array in arrays))

    pieces = jax.lax.map(lambda i: piece(i * size, size), jnp.arange(total // size))
    joined = pieces.reshape(-1, *pieces.shape[2:])
    rest = total % size
    return jnp.concatenate([joined, piece(total - rest, rest)]) if rest else joined


def _half_table(k: ComposedKernel, torus: tuple[int, ...], spacing: tuple[float, ...], which: Which) -> Array:
    """Return the kernel on the torus, the lags of the last axis not negative."""
    signed = [np.where(np.arange(m) <= m // 2, np.arange(m), np.arange(m) - m) for m in torus]
    first, *rest = [h * lag for h, lag in zip(spacing, signed, strict=True)]
    if rest:
        rest[-1] = rest[-1][: torus[-1] // 2 + 1]
        return lag_slabs(k, (first, *rest), which)
    return axis_lags(k, first[: torus[0] // 2 + 1], which)


def axis_lags(k: ComposedKernel, lags: np.ndarray, which: Which, long: int = LONG) -> Array:
    """Return the kernel of one coordinate at lags 0, h, 2h …; `long` of them or more are split in two axes."""
    if len(lags) < long:
        return lag_slabs(k, (lags,), which)
    # Δ = Δ_coarse + Δ_fine is a lattice of two axes, whose versines are a matrix product instead of n·m sines. All
    # terms are positive near Δ = 0, so no digit is lost where the kernel has its cusp.
    fine = math.isqrt(len(lags))
    two = replace(k, mapping=k.mapping.through([[1.0, 1.0]]))  # type: ignore[attr-defined]  # stationary ones have it
    return lag_slabs(two, (lags[::fine], lags[:fine]), which).ravel()[: len(lags)]


def lag_slabs(k: ComposedKernel, lags: tuple[np.ndarray, ...], which: Which, size: int = LAGS) -> Array:
    """`ComposedKernel.lag_grid` in slabs of `size` lags along the first axis: no temporary has the size of the grid."""
    first, *rest = lags
    num_slabs = -(-len(first) * math.prod(len(axis) for axis in rest) // size)
    rows = -(-len(first) // num_slabs)
    # Every slab has the same size, so that the recursion is compiled once.
    filled = np.concatenate([first, np.zeros(rows * -(-len(first) // rows) - len(first))])
    return _lag_grid(k, filled, tuple(rest), which, rows)[: len(first)]


@partial(jax.jit, static_argnames=("which", "rows"))
def _lag_grid(k: ComposedKernel, first: Array, rest: tuple[Array, ...], which: Which, rows: int) -> Array:
    return _by_pieces(lambda lags: k.lag_grid((lags, *rest), which), (first,), 0, rows)


@partial(jax.jit, static_argnames=("last", "dtype", "columns"))
def _transform_of_half(half: Array, last: int, dtype: DTypeLike, columns: int | None = None) -> Array:
    """F of a real table with k(−Δ) = k(Δ): once the leading axes are transformed, the last is Hermitian about 0."""

    def leading(half: Array) -> Array:
        return jnp.moveaxis(jnp.fft.fftn(half, axes=range(half.ndim - 1)), -1, 0)

    def hermitian(spectrum: Array) -> Array:
        spectrum = jnp.conj(jnp.moveaxis(spectrum, 0, -1))
        return jnp.fft.irfft(spectrum, n=last, norm="forward")[..., : last // 2 + 1].astype(dtype)

    if half.ndim == 1:
        return hermitian(half)
    column = half.size // half.shape[-1] * 16
    spectrum = _by_pieces(leading, (half,), -1, columns or _piece(half.shape[-1], column))
    row = spectrum.size // spectrum.shape[1] * 16
    return _by_pieces(hermitian, (spectrum,), 1, columns or _piece(spectrum.shape[1], row))
