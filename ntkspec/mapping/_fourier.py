"""Mappings of finitely many frequencies, γ(v) = [a cos 2πb·v, a sin 2πb·v]."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from ntkspec.checks import check_points
from ntkspec.mapping._base import OfTheLag, as_array, check_axes, check_lags, check_matrix, reduced

__all__ = ["FourierMapping", "from_frequencies", "with_amplitudes"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class FourierMapping(OfTheLag):
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
        """Number of coordinates d."""
        return self.frequencies.shape[1]

    @property
    def num_frequencies(self) -> int:
        """Number of frequencies m."""
        return self.frequencies.shape[0]

    @property
    def num_features(self) -> int:
        """Length of γ(v): 2m."""
        return 2 * self.num_frequencies

    @property
    def finite(self) -> bool:
        """Whether γ(v) has finitely many components: always."""
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
        """γ at points.

        Args:
            x: points, shape (n, d), in units of the lattice period.

        Returns:
            Features, shape (n, 2m): all cosines, then all sines.

        Raises:
            ValueError: if `x` does not have d columns.
        """
        x = check_points(x, self.dim)
        turns = x @ self.frequencies.T
        phase = 2 * jnp.pi * reduced(turns)
        return jnp.concatenate([self.amplitudes * jnp.cos(phase), self.amplitudes * jnp.sin(phase)], axis=-1)

    def versine(self, delta: ArrayLike) -> Array:
        """1 − k_γ(Δ)/k_γ(0) = Σ 2a² sin²(πb·Δ) / Σ a², to full relative precision.

        Args:
            delta: lags, shape (..., d).

        Returns:
            Versines in [0, 2], shape (...).

        Raises:
            ValueError: if the last axis of `delta` is not d.
        """
        delta = check_lags(delta, self.dim)
        # A sum over axes instead of a product with B keeps the (..., m) phases inside one fused loop.
        turns = jnp.zeros(())
        for i in range(self.dim):
            turns = turns + delta[..., i, None] * self.frequencies[:, i]
        weights = self.amplitudes**2
        return jnp.sum(2 * weights * jnp.sin(jnp.pi * reduced(turns)) ** 2, axis=-1) / jnp.sum(weights)

    def versine_grid(self, lags: tuple[ArrayLike, ...]) -> Array:
        """Return the versine on a grid of lags, as matrix products instead of an n·m loop.

        sin²(A + B) = sin²A cos²B + cos²A sin²B + 2 sin A cos A sin B cos B is a sum of products, so that the sum
        over frequencies is three matrix products. Against `versine` its error is a few units of rounding
        relative to 1, not to the versine; a small grid therefore takes the direct sum.

        Args:
            lags: d one-dimensional arrays of lags, one an axis.

        Returns:
            Versines, shape (len(lags[0]), ..., len(lags[d-1])).

        Raises:
            ValueError: if there are not d arrays.
        """
        axes = check_axes(lags, self.dim)
        if self.dim == 1 or math.prod(len(axis) for axis in axes) * self.num_frequencies <= DIRECT_LIMIT:
            return self.versine(jnp.stack(jnp.meshgrid(*axes, indexing="ij"), axis=-1))
        *leading, last = [_half_angles(axis, self.frequencies[:, i]) for i, axis in enumerate(axes)]
        weights = 2 * self.amplitudes**2 / self.norm_squared
        return jnp.clip(_versine_over(leading, last, weights), 0, 2)

    def through(self, matrix: ArrayLike) -> FourierMapping:
        """γ(A·): the frequencies become B A.

        Args:
            matrix: A, shape (d, d'); the old coordinates are v = A u.

        Returns:
            The mapping of u, on d' coordinates.

        Raises:
            ValueError: if the matrix has not d rows.
        """
        matrix = check_matrix(matrix, self.dim)
        return FourierMapping(jnp.matmul(self.frequencies, matrix, precision="highest"), self.amplitudes)

    def scaled(self, weight: ArrayLike) -> FourierMapping:
        """√w γ, whose inner product is w k_γ."""
        return FourierMapping(self.frequencies, jnp.sqrt(jnp.asarray(weight, dtype=float)) * self.amplitudes)


#: Sines that a grid of lags may cost before the separable product takes over (about 0.05 s on two cores).
DIRECT_LIMIT = 4_000_000

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

    Returns:
        The mapping.

    Raises:
        ValueError: if the shapes disagree, a value is not finite, or all amplitudes vanish.

    Example:
        >>> import ntkspec as ns
        >>> g = ns.mapping.from_frequencies([[1.0], [3.0]], [3.0, 4.0])
        >>> [round(float(a), 12) for a in g.amplitudes]
        [0.6, 0.8]
    """
    B = as_array(B)
    if B.ndim != 2 or 0 in B.shape:
        raise ValueError(f"`B` has shape {B.shape}; expected (m, d), one row a frequency; in 1-D use B[:, None]")
    amplitudes = as_array(np.ones(B.shape[0]) if a is None else a)
    if amplitudes.shape != B.shape[:1]:
        raise ValueError(
            f"`a` has shape {amplitudes.shape}; expected ({B.shape[0]},), one amplitude for each frequency"
        )
    # Looked at through numpy: inside a trace, what jax.numpy makes even of a constant is traced.
    if not isinstance(B, jax.core.Tracer) and not np.isfinite(np.asarray(B)).all():
        raise ValueError("`B` holds NaN or infinity; frequencies are finite numbers in cycles per unit")
    if not isinstance(amplitudes, jax.core.Tracer):
        values = np.asarray(amplitudes)
        if not np.isfinite(values).all() or not values.any():
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

    Returns:
        The mapping.

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
