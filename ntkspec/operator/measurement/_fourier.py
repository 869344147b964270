"""Measurements in frequency: a masked Fourier transform (MRI), and maps that are diagonal in frequency."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from ntkspec.checks import check_mask, check_shape
from ntkspec.operator.measurement._base import Measurement, check_orders

__all__ = [
    "MaskedFourier",
    "Multiplier",
    "masked_fourier",
    "spectral_derivative",
    "spectral_gradient",
    "spectral_laplacian",
]


class MaskedFourier(Measurement):
    """The kept coefficients of a discrete Fourier transform; build one with `masked_fourier`.

    The values are real, so half of the transform along the last axis tells it all: a coefficient of the other half is
    read as the conjugate of its mirror image.

    Attributes:
        kept: flat positions of the kept frequencies on the whole lattice of frequencies, shape (k,).
        position: their flat positions in the half transform, shape (k,).
        sign: 1, or −1 where the coefficient is the conjugate of the one at `position`, shape (k,).
        own: which of the kept frequencies have their mirror image in the half too, shape (p,).
        mirror: flat positions of those mirror images, shape (p,).
    """

    kept: Array
    position: Array
    sign: Array
    own: Array
    mirror: Array

    @property
    def num_measurements(self) -> int:
        return 2 * self.kept.shape[0]

    def forward(self, f: Array) -> Array:
        coefficient = jnp.fft.rfftn(f, norm="ortho").ravel()[self.position]
        return jnp.concatenate([coefficient.real, self.sign * coefficient.imag])

    def transpose(self, w: Array) -> Array:
        """Re Fᴴ z for z = w_real + i w_imaginary at the kept frequencies."""
        real, imaginary = jnp.split(w, 2)
        # Half goes to the frequency and half, conjugate, to its mirror image, which is what the inverse real transform
        # makes of it by itself, but for the planes that hold both.
        z = (real + 1j * self.sign * imaginary) / 2
        half = (*self.points_shape[:-1], self.points_shape[-1] // 2 + 1)
        spectrum = jnp.zeros(int(np.prod(half)), dtype=z.dtype).at[self.position].add(z)
        spectrum = spectrum.at[self.mirror].add(jnp.conj(z[self.own])).reshape(half)
        return jnp.fft.irfftn(spectrum, s=self.points_shape, norm="ortho")

    def stationary_diagonal(self, lags: Array) -> Array:
        return _diagonal(lags, self.kept)


@jax.jit
def _diagonal(lags: Array, kept: Array) -> Array:
    energy, square = lags, lags
    for axis in range(lags.ndim):
        energy, square = _pair_sums(energy, axis), _square_sums(square, axis)
    energy, square = energy.real.ravel()[kept], square.real.ravel()[kept]
    return jnp.concatenate([energy + square, energy - square]) / 2


def _signed_lags(lags: Array, axis: int) -> tuple[Array, np.ndarray, int]:
    n = (lags.shape[axis] + 1) // 2
    return jnp.moveaxis(lags, axis, -1), np.arange(1 - n, n), n


def _pair_sums(lags: Array, axis: int) -> Array:
    """Σ_lag k(lag) (n − |lag|) e^{−2πik lag/n} / n along one axis, for k = 0 … n − 1."""
    last, lag, n = _signed_lags(lags, axis)
    weighted = last * (1 - np.abs(lag) / n)
    # Lags −1 … −(n − 1) fold onto n − 1 … 1.
    folded = weighted[..., n - 1 :].at[..., 1:].add(weighted[..., : n - 1])
    return jnp.moveaxis(jnp.fft.fft(folded), -1, axis)


def _square_sums(lags: Array, axis: int) -> Array:
    """Σ_{j,l} k(j − l) e^{−2πik(j + l)/n} / n along one axis.

    At lag Δ that is −e^{iα} sin(α|Δ|)/sin α with α = 2πk/n, and (n − |Δ|) e^{−iαΔ} where sin α = 0.
    """
    last, lag, n = _signed_lags(lags, axis)
    both = last[..., n - 1 :].at[..., 1:].add(jnp.flip(last[..., : n - 1], axis=-1)).at[..., 0].set(0)
    forward = jnp.fft.fft(both)
    sines = (jnp.roll(jnp.flip(forward, axis=-1), 1, axis=-1) - forward) / 2j
    alpha = 2 * np.pi * np.arange(n) / n
    degenerate = 2 * np.arange(n) % n == 0
    sums = sines * (-np.exp(1j * alpha) / np.where(degenerate, 1, np.sin(alpha)))
    for k in np.flatnonzero(degenerate):
        sign = np.where(lag % 2 == 0, 1.0, -1.0) if k else 1.0
        sums = sums.at[..., k].set(jnp.sum(last * (n - np.abs(lag)) * sign, axis=-1))
    return jnp.moveaxis(sums / n, -1, axis)


def masked_fourier(mask: ArrayLike) -> MaskedFourier:
    """Measure coefficients (F f)_k = Σ_x f(x) e^{−2πik·x}/√N of the discrete Fourier transform, as an MRI scanner does.

    Args:
        mask: boolean, the lattice's shape: the kept frequencies in the order of `numpy.fft.fftfreq` (frequency 0 first;
            `numpy.fft.ifftshift` a mask with frequency 0 in the middle).

    Returns:
        The measurement: the real parts of the k kept coefficients, then their imaginary parts, m = 2k real numbers. The
        transform is unitary: keeping everything keeps norms. A frequency kept with its negative, or one that is its own
        negative, tells the same twice: the kernel of the measurements then has eigenvalues 0, which does no harm.

    Raises:
        ValueError: if the mask is not boolean or keeps nothing.

    Example:
        >>> A = masked_fourier([True, True, False, False])
        >>> (A @ [1.0, 0.0, -1.0, 0.0]).tolist()
        [0.0, 1.0, 0.0, 0.0]
    """
    kept = check_mask(mask)
    shape = kept.shape
    half = (*shape[:-1], shape[-1] // 2 + 1)
    flat = np.flatnonzero(kept)
    frequency = np.stack(np.unravel_index(flat, shape))
    negative = -frequency % np.asarray(shape)[:, None]
    conjugate = frequency[-1] >= half[-1]
    position = np.ravel_multi_index(np.where(conjugate, negative, frequency), half)
    own = np.flatnonzero((negative[-1] < half[-1]) & ~conjugate)
    mirror = np.ravel_multi_index(negative[:, own], half)
    return MaskedFourier(
        kept=jnp.asarray(flat),
        position=jnp.asarray(position),
        sign=jnp.asarray(np.where(conjugate, -1.0, 1.0)),
        own=jnp.asarray(own),
        mirror=jnp.asarray(mirror),
        points_shape=shape,
    )


class Multiplier(Measurement):
    """Maps that multiply each coefficient of the half transform by its number, the `symbol` (components, *half)."""

    symbol: Array

    @property
    def num_measurements(self) -> int:
        return self.symbol.shape[0] * int(np.prod(self.points_shape))

    def forward(self, f: Array) -> Array:
        return self._inverse(self.symbol * jnp.fft.rfftn(f)).ravel()

    def transpose(self, w: Array) -> Array:
        axes = tuple(range(1, 1 + len(self.points_shape)))
        spectrum = jnp.fft.rfftn(w.reshape(-1, *self.points_shape), axes=axes)
        return self._inverse(jnp.sum(jnp.conj(self.symbol) * spectrum, axis=0))

    def _inverse(self, spectrum: Array) -> Array:
        axes = tuple(range(-len(self.points_shape), 0))
        return jnp.fft.irfftn(spectrum, s=self.points_shape, axes=axes)

    def positions(self, points: np.ndarray) -> np.ndarray:
        return np.tile(points, (self.symbol.shape[0], 1))


def spectral_gradient(shape: tuple[int, ...]) -> Multiplier:
    """Measure derivatives along each axis of the trigonometric polynomial through the values: 2πik times coefficient k.

    Exact for periodic functions of frequencies below half the lattice (the highest, whose derivative the lattice does
    not see, gives 0). A function that is not periodic rings at the border: use `gradient` for it.

    Args:
        shape: the lattice, point i at i/shape.

    Returns:
        The measurement: derivatives along the first axis at all points, then along the next; per unit.

    Example:
        >>> import numpy as np
        >>> x = np.arange(8) / 8
        >>> bool(np.allclose(spectral_gradient((8,)) @ np.sin(2 * np.pi * x), 2 * np.pi * np.cos(2 * np.pi * x)))
        True
    """
    shape = check_shape(shape)
    return _multiplier(shape, [_symbol(shape, orders) for orders in np.eye(len(shape), dtype=int)])


def spectral_laplacian(shape: tuple[int, ...]) -> Multiplier:
    """Return the Laplacian of the trigonometric polynomial through the values: −4π²|k|² times coefficient k.

    See `spectral_gradient` for what it is exact for.

    Args:
        shape: the lattice, point i at i/shape.

    Returns:
        The measurement, at all points; per unit squared.

    Example:
        >>> import numpy as np
        >>> f = np.cos(2 * np.pi * np.arange(8) / 8)
        >>> bool(np.allclose(spectral_laplacian((8,)) @ f, -4 * np.pi**2 * f))
        True
    """
    shape = check_shape(shape)
    terms = [_symbol(shape, orders) for orders in 2 * np.eye(len(shape), dtype=int)]
    return _multiplier(shape, [np.sum(terms, axis=0)])


def spectral_derivative(shape: tuple[int, ...], orders: Sequence[int]) -> Multiplier:
    """Return one partial derivative of the trigonometric polynomial through the values: coefficients × Π (2πik_j)^α_j.

    See `spectral_gradient` for what it is exact for.

    Args:
        shape: the lattice, point i at i/shape.
        orders: α, a whole number from 0 on for each axis, not all 0; (1, 1) is ∂²f/∂x∂y.

    Returns:
        The measurement, at all points; per unit to the power Σα.

    Raises:
        ValueError: if a size is not positive or an order not whole.

    Example:
        >>> import numpy as np
        >>> f = np.sin(2 * np.pi * np.arange(8) / 8)
        >>> bool(np.allclose(spectral_derivative((8,), (4,)) @ f, (2 * np.pi) ** 4 * f))
        True
    """
    shape = check_shape(shape)
    return _multiplier(shape, [_symbol(shape, check_orders(orders, shape))])


def _multiplier(shape: tuple[int, ...], symbols: Sequence[np.ndarray]) -> Multiplier:
    return Multiplier(shape, jnp.asarray(np.stack(symbols)))


def _symbol(shape: tuple[int, ...], orders: Sequence[int] | np.ndarray) -> np.ndarray:
    """Π (2πik_j)^α_j on the half transform; 0 where α_j is odd at the highest frequency, whose sine it misses."""
    factors = [
        np.where((2 * np.abs(k) == n) & (order % 2 == 1), 0, (2j * np.pi * k) ** int(order))
        for k, n, order in zip(_half_frequencies(shape), shape, orders, strict=True)
    ]
    return np.prod(np.stack(np.meshgrid(*factors, indexing="ij")), axis=0)


def _half_frequencies(shape: tuple[int, ...]) -> list[np.ndarray]:
    whole = [np.fft.fftfreq(n, d=1 / n) for n in shape[:-1]]
    return [*whole, np.fft.rfftfreq(shape[-1], d=1 / shape[-1])]
