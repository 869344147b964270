"""A stationary kernel on scattered points by nonuniform FFT: a truncated Fourier series with a bound on its error."""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import scipy.fft
from jax import Array

from ntkspec.kernel._composed import ComposedKernel, Which
from ntkspec.limits import refuse_if_too_large
from ntkspec.operator._base import OfKernel, OnPoints
from ntkspec.operator._finufft import transforms

__all__ = ["Nonuniform"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Nonuniform(OnPoints, OfKernel):
    """K ≈ U diag(k̂) Uᴴ + r I with plane waves U_iξ = e^{2πiξ·x_i/P}, |ξ|_∞ ≤ M; build one with `scattered`.

    r = k(0) − Σ k̂ makes the diagonal exact. Products are two nonuniform FFTs; the matrix that they multiply by is
    symmetric to rounding, and its smallest eigenvalue may be as low as −error · λ_max. At other points (`at`) the
    kernel's own entries are taken: the period is made for the points' extent and says nothing of lags beyond.

    Attributes:
        kernel: the composed kernel.
        coordinates: the points, shape (n, d).
        coefficients: k̂, shape (2M + 1,)·d, lowest frequency first.
        remainder: r.
        error: stated and checked: ‖(K − fast form) v‖ ≤ error · λ_max ‖v‖.
        norm: λ_max from below, which `error` is relative to.
        period: P, the side of the torus.
        transform_tolerance: relative accuracy of the nonuniform FFTs.
        which: "ntk" or "nngp".

    Source: Greengard, Rachh & Barnett 2024, "Equispaced Fourier representations for efficient Gaussian process
    regression" (EFGP); Barnett, Magland & af Klinteberg 2019 for the transforms (FINUFFT).
    """

    kernel: ComposedKernel
    coordinates: Array
    coefficients: Array
    remainder: Array
    error: float
    norm: float
    period: float = field(metadata={"static": True})
    transform_tolerance: float = field(metadata={"static": True})
    which: Which = field(metadata={"static": True})

    @property
    def approximation_error(self) -> float:
        """`error` times the norm that it is relative to."""
        return self.error * self.norm

    def matvec(self, v: Array) -> Array:
        """K v for one vector (n,)."""
        modes = self._to_modes(v, self.coefficients.shape) * self.coefficients
        back = transforms()[1](modes, *self._phases(), iflag=1, eps=self.transform_tolerance)
        return back.real + self.remainder * v

    def diagonal(self) -> Array:
        """K's diagonal, shape (n,): the kernel at lag zero, exactly."""
        return jnp.full(self.num_points, jnp.sum(self.coefficients) + self.remainder)

    def to_dense(self) -> Array:
        """Return the kernel's own matrix (n, n), without the error of the fast form.

        Raises:
            ValueError: if it would not fit in memory.
        """
        n = self.num_points
        refuse_if_too_large(3 * 8 * n * n, f"a dense Gram matrix of {n:,} points", "multiply by K @ v instead")
        return self.kernel.gram(self.coordinates, which=self.which)

    def frobenius_norm(self) -> Array:
        """√Σ K_ij² of the fast form, within √n · error · λ_max of the kernel's own.

        The square of the series is a series of twice the frequencies, p̂ = k̂ * k̂, so that Σ_ij k_M(x_i − x_j)² =
        Σ_ξ p̂_ξ |Σ_i e^{2πiξ·x_i/P}|², one more transform.
        """
        return _frobenius_norm(self)

    def _phases(self) -> list[Array]:
        """2πx/P, column by column, within [−π, π]: a shift of all points changes no lag."""
        turns = self.coordinates / self.period
        return [2 * jnp.pi * (column - jnp.round(column)) for column in turns.T]

    def _to_modes(self, v: Array, shape: tuple[int, ...]) -> Array:
        values = v.astype(jnp.result_type(v.dtype, jnp.complex64))
        return transforms()[0](shape, values, *self._phases(), iflag=-1, eps=self.transform_tolerance)


@jax.jit
def _frobenius_norm(K: Nonuniform) -> Array:
    shape = tuple(2 * size - 1 for size in K.coefficients.shape)
    padded = tuple(scipy.fft.next_fast_len(size) for size in shape)
    square = jnp.fft.ifftn(jnp.fft.fftn(K.coefficients, s=padded) ** 2).real[tuple(slice(size) for size in shape)]
    waves = jnp.abs(K._to_modes(jnp.ones(K.num_points), shape)) ** 2
    n, total = K.num_points, jnp.sum(K.coefficients)
    return jnp.sqrt(jnp.sum(square * waves) + n * K.remainder * (2 * total + K.remainder))
