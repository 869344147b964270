"""Mappings of finitely many frequencies, γ(v) = [a cos 2πb·v, a sin 2πb·v]."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from ntkspec.checks import check_fits, check_points
from ntkspec.mapping._base import (
    JoinedMapping,
    Mapping,
    Stationary,
    StationaryMapping,
    Versines,
    as_array,
    as_axes,
    as_lags,
    as_matrix,
    check_same_dim,
    reduced,
)

__all__ = ["FourierMapping", "from_frequencies", "with_amplitudes"]


class FourierMapping(Stationary):
    """The mapping γ(v) = [a cos 2πb·v, a sin 2πb·v] of m frequencies; a pytree in both fields.

    Build one with `gaussian`, `positional`, `nerf`, `from_frequencies` and the like, which check their input.
    ``g + h`` puts features side by side, ``g * h`` multiplies them; both are Fourier mappings again.

    Attributes:
        frequencies: b, shape (m, d), cycles per unit.
        amplitudes: a, shape (m,), dimensionless.

    Example:
        >>> import ntkspec as ns
        >>> g = ns.mapping.gaussian(dim=2, num_frequencies=64, scale=10.0, seed=0)
        >>> g([[0.25, 0.5], [0.5, 0.5]]).shape
        (2, 128)
        >>> float(g.inner([0.0, 0.0]))
        1.0
    """

    frequencies: Array
    amplitudes: Array

    @property
    def dim(self) -> int:
        return self.frequencies.shape[1]

    @property
    def num_frequencies(self) -> int:
        """Number of frequencies m."""
        return self.frequencies.shape[0]

    @property
    def num_features(self) -> int:
        return 2 * self.num_frequencies

    @property
    def finite(self) -> bool:
        return True

    @property
    def norm_squared(self) -> Array:
        """|γ(v)|² = Σ a², the same for every v."""
        return jnp.sum(self.amplitudes**2)

    @property
    def periodic(self) -> bool:
        """Whether every frequency is a whole number; False while the frequencies are traced."""
        if isinstance(self.frequencies, jax.core.Tracer):
            return False
        frequencies = np.asarray(self.frequencies)
        return bool((frequencies == np.round(frequencies)).all())

    def __call__(self, x: ArrayLike) -> Array:
        """γ at points (n, d): features (n, 2m), all cosines, then all sines."""
        x = check_points(x, self.dim)
        turns = x @ self.frequencies.T
        phase = 2 * jnp.pi * reduced(turns)
        return jnp.concatenate([self.amplitudes * jnp.cos(phase), self.amplitudes * jnp.sin(phase)], axis=-1)

    def versines(self, delta: ArrayLike) -> Versines:
        """1 − ρ = Σ 2a² sin²(πb·Δ) / Σ a² and 1 + ρ = Σ 2a² cos²(πb·Δ) / Σ a², to full relative precision."""
        return _direct(self.frequencies, self.amplitudes, as_lags(delta, self.dim))

    def versines_grid(self, lags: tuple[ArrayLike, ...], direct_sines: int = 4_000_000) -> Versines:
        """Return the versines on a grid of lags, as matrix products instead of an n·m loop.

        sin²(A + B) = sin²A cos²B + cos²A sin²B + 2 sin A cos A sin B cos B is a sum of products, so that the sum
        over frequencies is three matrix products. Against `versines` its error is a few units of rounding
        relative to 1, not to the versine; a small grid therefore takes the direct sum.

        Args:
            lags: d one-dimensional arrays of lags, one an axis.
            direct_sines: number of sines up to which the direct sum is taken (0.05 s on two cores).

        Returns:
            Versines, shape (len(lags[0]), ..., len(lags[d-1])) each.
        """
        axes = as_axes(lags, self.dim)
        sines = math.prod(len(axis) for axis in axes) * self.num_frequencies
        if self.dim == 1 or sines <= direct_sines:
            return super().versines_grid(lags)
        *leading, last = [_half_angles(axis, self.frequencies[:, i]) for i, axis in enumerate(axes)]
        weights = 2 * self.amplitudes**2 / self.norm_squared
        return Versines.of(jnp.clip(_versine_over(leading, last, weights), 0, 2))

    def through(self, matrix: ArrayLike) -> FourierMapping:
        """γ(A·) for A (d, d'): the frequencies become B A."""
        matrix = as_matrix(matrix, self.dim)
        return FourierMapping(jnp.matmul(self.frequencies, matrix, precision="highest"), self.amplitudes)

    def scaled(self, weight: ArrayLike) -> FourierMapping:
        return FourierMapping(self.frequencies, jnp.sqrt(jnp.asarray(weight, dtype=float)) * self.amplitudes)

    def __add__(self, other: Mapping) -> StationaryMapping | JoinedMapping:
        if not isinstance(other, FourierMapping):
            return super().__add__(other)
        check_same_dim([self, other])
        return FourierMapping(
            jnp.concatenate([self.frequencies, other.frequencies]), jnp.concatenate([self.amplitudes, other.amplitudes])
        )

    def __mul__(self, other: Mapping) -> StationaryMapping:
        if not isinstance(other, FourierMapping):
            return super().__mul__(other)
        check_same_dim([self, other])
        first, second = self.frequencies[:, None, :], other.frequencies[None, :, :]
        pairs = jnp.stack([first + second, first - second], axis=2).reshape(-1, self.dim)
        amplitudes = jnp.repeat((self.amplitudes[:, None] * other.amplitudes).ravel(), 2) / jnp.sqrt(2.0)
        return FourierMapping(pairs, amplitudes)


#: sin x / x = Σ (−1)^k x^2k / (2k + 1)! to 1e-19 up to π/4, highest power first.
_SINE_SERIES = np.array([(-1) ** k / math.factorial(2 * k + 1) for k in reversed(range(10))])


@jax.jit
def _direct(frequencies: Array, amplitudes: Array, delta: Array) -> Versines:
    # A loop over axes instead of a product with B keeps the (..., m) phases inside one fused loop.
    turns, rest = jnp.zeros(()), jnp.zeros(())
    for i in range(frequencies.shape[1]):
        product, error = _exact_product(delta[..., i, None], frequencies[:, i])
        turns, rounding = _exact_sum(turns, reduced(product)) if i else (reduced(product), jnp.zeros(()))
        rest = rest + (error + rounding)
    weights = amplitudes**2
    # Of phases of millions of turns the rest is no small one.
    turns, rest = _exact_sum(reduced(turns), reduced(rest))
    sine2, cosine2 = _squares(reduced(turns), rest)
    # One complex sum is one loop, where two sums would make the sines twice.
    total = jnp.sum(jax.lax.complex(2 * weights * sine2, 2 * weights * cosine2), axis=-1)
    energy = jnp.sum(weights)
    return Versines(jnp.real(total) / energy, jnp.imag(total) / energy)


def _exact_product(a: Array, b: Array) -> tuple[Array, Array]:
    """A·b as two numbers, the first of which has no rounding error, by halves of the digits of both.

    Near a period or the opposite of a point a unit of rounding of b·Δ would be all that is left of the lag.

    Source: Dekker 1971, "A floating-point technique for extending the available precision".
    """
    exponent, digits = jnp.finfo(a.dtype).nexp, jnp.finfo(a.dtype).nmant // 2 - 1
    a_high, b_high = (jax.lax.reduce_precision(c, exponent, digits) for c in (a, b))
    a_low, b_low = a - a_high, b - b_high
    return a_high * b_high, a_high * b_low + a_low * b


def _exact_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """Return a + b, and its rounding error (Knuth's two-sum)."""
    total = a + b
    of_b = total - a
    return total, (a - (total - of_b)) + (b - of_b)


def _squares(turns: Array, rest: Array) -> tuple[Array, Array]:
    """sin² and cos² of π(turns + rest), turns in [−1/2, 1/2] and a small rest, to full relative precision.

    Both by one short series, of the angle to the nearer axis.
    """
    sign = jnp.where(turns < 0, -1.0, 1.0)
    turns, rest = sign * turns, sign * rest
    acute = turns < 0.25
    square = (jnp.pi * jnp.where(acute, turns + rest, (0.5 - turns) - rest)) ** 2
    small = square * jnp.polyval(_SINE_SERIES, square) ** 2
    return jnp.where(acute, small, 1 - small), jnp.where(acute, 1 - small, small)


HalfAngles = tuple[Array, Array]


def _half_angles(lag: Array, frequency: Array) -> HalfAngles:
    half = jnp.pi * reduced(lag[:, None] * frequency)
    return jnp.sin(half), jnp.cos(half)


def _versine_over(leading: list[HalfAngles], last: HalfAngles, weights: Array) -> Array:
    """Contract the frequencies of all axes; three or more axes go slab by slab, so memory stays (n, m)."""
    if len(leading) == 1:
        (s, c), (s_last, c_last) = leading[0], last
        return (
            (weights * s**2) @ (c_last**2).T
            + (weights * c**2) @ (s_last**2).T
            + (weights * 2 * s * c) @ (s_last * c_last).T
        )
    (s_first, c_first), (s_next, c_next), *rest = leading

    def slab(half: HalfAngles) -> Array:
        s, c = half
        joined = (s * c_next + c * s_next, c * c_next - s * s_next)
        return _versine_over([joined, *rest], last, weights)

    return jax.lax.map(slab, (s_first, c_first))


def from_frequencies(B: ArrayLike, a: ArrayLike | None = None, *, normalize: bool = True) -> FourierMapping:
    """Return a mapping from its own frequencies and amplitudes.

    Args:
        B: frequencies, shape (m, d), cycles per unit. A zero row is a constant feature.
        a: amplitudes, shape (m,); None means all equal.
        normalize: scale the amplitudes to Σ a² = 1.

    Raises:
        ValueError: if the shapes disagree, a value is not finite, or all amplitudes vanish.

    Example:
        >>> import ntkspec as ns
        >>> g = ns.mapping.from_frequencies([[1.0], [3.0]], [3.0, 4.0])
        >>> [round(float(a), 12) for a in g.amplitudes]
        [0.6, 0.8]
    """
    B = as_array(B)
    shape_of_B = "(m, d), one row a frequency; in 1-D use B[:, None]"
    check_fits(B.ndim == 2 and 0 not in B.shape, "B", B.shape, shape_of_B)
    amplitudes = as_array(np.ones(B.shape[0]) if a is None else a)
    check_fits(amplitudes.shape == B.shape[:1], "a", amplitudes.shape, f"({B.shape[0]},), one for each frequency")
    # Looked at through numpy: inside a trace, what jax.numpy makes even of a constant is traced.
    b_known, a_known = (np.ones(1) if isinstance(c, jax.core.Tracer) else np.asarray(c) for c in (B, amplitudes))
    if not np.isfinite(b_known).all():
        raise ValueError("`B` holds NaN or infinity; frequencies are finite numbers in cycles per unit")
    if not np.isfinite(a_known).all() or not a_known.any():
        raise ValueError("`a` holds NaN or infinity, or only zeros; at least one amplitude must not vanish")
    if normalize:
        amplitudes = amplitudes / jnp.linalg.norm(amplitudes)
    return FourierMapping(B, amplitudes)


def with_amplitudes(mapping: FourierMapping, a: ArrayLike, *, normalize: bool = False) -> FourierMapping:
    """Return the same frequencies under other amplitudes, for instance learned ones.

    Everything behind a mapping (kernel, lattice, prediction) is differentiable in both of its fields, so
    amplitudes can be fitted by gradient descent on any number that a kernel gives.

    Args:
        mapping: a mapping of m frequencies.
        a: amplitudes, shape (m,); may be traced by `jax.grad` or `jax.jit`.
        normalize: scale them to Σ a² = 1.

    Raises:
        TypeError: if the mapping has no list of amplitudes.
        ValueError: if their number is not m, one is not finite, or all vanish.

    Source: Tancik et al. 2020, section 5, where the amplitudes of a kernel are fitted so.

    Example:
        >>> import jax, ntkspec as ns
        >>> g, net = ns.mapping.power_law(3, p=1.0), ns.kernel.MLP(depth=1)
        >>> def at_a_tenth(a):
        ...     return ns.kernel.compose(ns.mapping.with_amplitudes(g, a), net).ntk_lag([0.1])
        >>> jax.grad(at_a_tenth)(g.amplitudes).shape
        (3,)
    """
    if not isinstance(mapping, FourierMapping):
        raise TypeError(f"`mapping` is a {type(mapping).__name__}; only a mapping of listed frequencies has amplitudes")
    return from_frequencies(mapping.frequencies, a, normalize=normalize)
