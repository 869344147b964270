"""A stationary kernel on scattered points by nonuniform FFT: a truncated Fourier series with a bound on its error."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import scipy.fft
from jax import Array
from jaxtyping import Float

from ntkspec.extras import needs
from ntkspec.operator._base import OfKernel, OnPoints

__all__ = ["Nonuniform", "transforms"]


@cache
def transforms() -> tuple[Callable[..., Array], Callable[..., Array]]:
    """Nonuniform FFTs of type 1, points to modes, and of type 2, modes to points; imported when first used."""
    with needs("scattered", "jax_finufft"):
        from jax_finufft import lowering, nufft1, nufft2, ops
    if jax.default_backend() == "gpu" and lowering.jax_finufft_gpu is None:
        raise ImportError(
            "JAX computes on a GPU here, and this jax-finufft was built for processors alone; build it with CUDA as its"
            " README says, compute on the processor (JAX_PLATFORMS=cpu), or take the exact form, without `tol`"
        )
    # The vmap rule of jax-finufft 1.3.1 asks for what JAX 0.10 has removed; it was None.
    if not hasattr(ops.batching, "not_mapped"):
        ops.batching.not_mapped = None
    return nufft1, nufft2


class Nonuniform(OnPoints, OfKernel):
    """K ≈ U diag(k̂) Uᴴ + r I with plane waves U_iξ = e^{2πiξ·x_i/P}, |ξ|_∞ ≤ M; build one with `scattered`.

    r = k(0) − Σ k̂ makes the diagonal exact. Products are two nonuniform FFTs; the matrix that they multiply by is
    symmetric to rounding, and its smallest eigenvalue may be as low as −error · λ_max. At other points (`at`) the
    kernel's own entries are taken: the period is made for the points' extent and says nothing of lags beyond.

    Attributes:
        coefficients: k̂, shape (2M + 1,)·d, lowest frequency first.
        remainder: r.
        error: stated and checked: ‖(K − fast form) v‖ ≤ error · λ_max ‖v‖.
        norm: λ_max from below, which `error` is relative to.
        period: P, the side of the torus.
        transform_tolerance: relative accuracy of the nonuniform FFTs.

    Source: Greengard, Rachh & Barnett 2024, "Equispaced Fourier representations for efficient Gaussian process
    regression" (EFGP); Barnett, Magland & af Klinteberg 2019 for the transforms (FINUFFT).
    """

    coefficients: Array
    remainder: Array
    error: float
    norm: float
    period: float = eqx.field(static=True)
    transform_tolerance: float = eqx.field(static=True)

    @property
    def approximation_error(self) -> float:
        return self.error * self.norm

    def matvec(self, v: Float[Array, " n"]) -> Float[Array, " n"]:
        modes = self._to_modes(v, self.coefficients.shape) * self.coefficients
        back = transforms()[1](modes, *self._phases(), iflag=1, eps=self.transform_tolerance)
        return back.real + self.remainder * v

    def diagonal(self) -> Float[Array, " n"]:
        return jnp.full(self.num_points, jnp.sum(self.coefficients) + self.remainder)

    def to_dense(self) -> Float[Array, "n n"]:
        self._refuse_if_too_dense(3)
        return self.kernel.gram(self.coordinates, which=self.which)

    def frobenius_norm(self) -> Float[Array, ""]:
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
