"""Fourier mappings γ(v) = [a cos 2πb·v, a sin 2πb·v] and their stationary inner product k_γ(Δ).

Coordinates live in [0, 1)^d and frequencies are in cycles per unit. With Σ a² = 1 the image of γ lies on
the unit sphere, so any dot-product kernel behind γ depends on the lag Δ = v − v' alone.

Inner products are carried as versines v(Δ) = 1 − k_γ(Δ)/Σa² = Σ 2a² sin²(πb·Δ)/Σa², which keep every digit
where points nearly coincide; 1 − cos does not.

Source: Tancik et al. 2020, "Fourier features let networks learn high frequency functions in low
dimensional domains", equations 5 to 8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from ntkspec.checks import check_points, check_positive, check_sizes

__all__ = [
    "FourierMapping",
    "IdentityMapping",
    "Mapping",
    "basic",
    "from_frequencies",
    "gaussian",
    "identity",
    "positional",
    "power_law",
]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class FourierMapping:
    """The mapping γ(v) = [a cos 2πb·v, a sin 2πb·v] of m frequencies; a pytree in both fields.

    Build one with `gaussian`, `positional`, `power_law`, `basic` or `from_frequencies`, which check their input.

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
    def stationary(self) -> bool:
        """Whether γ(v)·γ(v') depends on v − v' alone: always."""
        return True

    @property
    def norm_squared(self) -> Array:
        """|γ(v)|² = Σ a², the same for every v."""
        return jnp.sum(self.amplitudes**2)

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
        phase = 2 * jnp.pi * (turns - jnp.round(turns))
        return jnp.concatenate([self.amplitudes * jnp.cos(phase), self.amplitudes * jnp.sin(phase)], axis=-1)

    def inner(self, delta: ArrayLike) -> Array:
        """k_γ(Δ) = Σ a² cos 2πb·Δ.

        Args:
            delta: lags Δ = v − v', shape (..., d).

        Returns:
            Inner products γ(v)·γ(v'), shape (...).
        """
        return self.norm_squared * (1 - self.versine(delta))

    def versine(self, delta: ArrayLike) -> Array:
        """1 − k_γ(Δ)/k_γ(0) = Σ 2a² sin²(πb·Δ) / Σ a², to full relative precision.

        Args:
            delta: lags, shape (..., d).

        Returns:
            Versines in [0, 2], shape (...).

        Raises:
            ValueError: if the last axis of `delta` is not d.
        """
        delta = jnp.asarray(delta, dtype=float)
        if delta.ndim == 0 or delta.shape[-1] != self.dim:
            raise ValueError(f"`delta` has shape {delta.shape}; expected (..., {self.dim}), one column a coordinate")
        # A sum over axes instead of a product with B keeps the (..., m) phases inside one fused loop.
        turns = jnp.zeros(())
        for i in range(self.dim):
            turns = turns + delta[..., i, None] * self.frequencies[:, i]
        weights = self.amplitudes**2
        return jnp.sum(2 * weights * half_turn_sine(turns) ** 2, axis=-1) / jnp.sum(weights)

    def versine_grid(self, lags: tuple[ArrayLike, ...]) -> Array:
        """The versine on a grid of lags, as matrix products instead of an n·m loop.

        sin²(A + B) = sin²A cos²B + cos²A sin²B + 2 sin A cos A sin B cos B is a sum of products, so that the sum
        over frequencies is three matrix products. Against `versine` its error is a few units of rounding
        relative to 1, not to the versine; a small grid therefore takes the direct sum.

        Args:
            lags: d one-dimensional arrays of lags, one an axis.

        Returns:
            Versines, shape (len(lags[0]), ..., len(lags[d-1])).
        """
        axes = [jnp.asarray(lag, dtype=float) for lag in lags]
        if self.dim == 1 or math.prod(len(axis) for axis in axes) * self.num_frequencies <= DIRECT_LIMIT:
            return self.versine(jnp.stack(jnp.meshgrid(*axes, indexing="ij"), axis=-1))
        *leading, last = [_half_angles(axis, self.frequencies[:, i]) for i, axis in enumerate(axes)]
        weights = 2 * self.amplitudes**2 / self.norm_squared
        return jnp.clip(_versine_over(leading, last, weights), 0, 2)


#: Sines that a grid of lags may cost before the separable product takes over (about 0.05 s on two cores).
DIRECT_LIMIT = 4_000_000

HalfAngles = tuple[Array, Array]


def _half_angles(lag: Array, frequency: Array) -> HalfAngles:
    turns = lag[:, None] * frequency
    return half_turn_sine(turns), jnp.cos(jnp.pi * (turns - jnp.round(turns)))


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


def half_turn_sine(turns: Array) -> Array:
    """± sin(π·turns), whole turns taken off first: no digits are lost in the product with π, and a period gives 0.

    The sign, shared with a cosine reduced likewise, drops out of every square and product of the two.
    """
    return jnp.sin(jnp.pi * (turns - jnp.round(turns)))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class IdentityMapping:
    """No mapping: γ(v) = v. A network behind it has a kernel that is not stationary.

    Attributes:
        dim: number of coordinates d.

    Example:
        >>> import ntkspec as ns
        >>> ns.mapping.identity(dim=2)([[0.25, 0.5]]).shape
        (1, 2)
    """

    dim: int = field(metadata={"static": True})

    @property
    def num_features(self) -> int:
        """Length of γ(v): d."""
        return self.dim

    @property
    def stationary(self) -> bool:
        """Whether γ(v)·γ(v') depends on v − v' alone: never."""
        return False

    def __call__(self, x: ArrayLike) -> Array:
        """The points themselves, shape (n, d).

        Raises:
            ValueError: if `x` does not have d columns.
        """
        return check_points(x, self.dim)


Mapping = FourierMapping | IdentityMapping


def gaussian(dim: int, num_frequencies: int, scale: float, *, seed: int = 0, normalize: bool = True) -> FourierMapping:
    """Frequencies b ~ N(0, scale²) on each axis, equal amplitudes.

    Args:
        dim: number of coordinates d.
        num_frequencies: m.
        scale: standard deviation of each coordinate of b, cycles per unit. Two calls that differ only in
            `scale` draw the same directions.
        seed: of the draw (numpy's default generator).
        normalize: scale the amplitudes to Σ a² = 1; otherwise a = 1.

    Returns:
        The mapping, frequencies (m, d).

    Raises:
        ValueError: if a size is not a positive integer or the scale is not positive.

    Source: Tancik et al. 2020, section 6.1.

    Example:
        >>> import ntkspec as ns
        >>> ns.mapping.gaussian(dim=3, num_frequencies=256, scale=4.0).frequencies.shape
        (256, 3)
    """
    check_sizes(dim=dim, num_frequencies=num_frequencies)
    check_positive("scale", scale, "cycles per unit; a photograph wants about 1 to 10")
    draw = np.random.default_rng(seed).standard_normal((num_frequencies, dim))
    return from_frequencies(scale * draw, normalize=normalize)


def positional(dim: int, num_frequencies: int, log2_max: float, *, normalize: bool = True) -> FourierMapping:
    """Axis-aligned, log-spaced frequencies b_j = 2^(s·j/(n−1)) − 1 with n = m // d on each axis.

    This is what the paper's code runs as "positional encoding": the first frequency is 0, the last 2^s − 1.

    Args:
        dim: number of coordinates d.
        num_frequencies: m; n = m // d go to each axis.
        log2_max: s, the base-2 logarithm of the highest frequency plus one.
        normalize: scale the amplitudes to Σ a² = 1; otherwise a = 1.

    Returns:
        The mapping, frequencies (d·n, d), axis by axis.

    Raises:
        ValueError: if a size is not a positive integer, if an axis gets fewer than two frequencies, or if
            `log2_max` is not positive.

    Source: Tancik et al. 2020, section 6.1, and the notebook 2d_image_regression of its code.

    Example:
        >>> import ntkspec as ns
        >>> ns.mapping.positional(dim=1, num_frequencies=4, log2_max=3).frequencies[:, 0].tolist()
        [0.0, 1.0, 3.0, 7.0]
    """
    check_sizes(dim=dim, num_frequencies=num_frequencies)
    check_positive("log2_max", log2_max, "the highest frequency is 2**log2_max - 1")
    per_axis = num_frequencies // dim
    if per_axis < 2:
        raise ValueError(
            f"num_frequencies={num_frequencies} leaves {per_axis} for each of {dim} axes; ask for at least {2 * dim}"
        )
    ladder = 2.0 ** (log2_max * np.arange(per_axis) / (per_axis - 1)) - 1
    frequencies = np.zeros((dim, per_axis, dim))
    for axis in range(dim):
        frequencies[axis, :, axis] = ladder
    return from_frequencies(frequencies.reshape(-1, dim), normalize=normalize)


def power_law(num_frequencies: int, p: float, *, normalize: bool = True) -> FourierMapping:
    """The one-dimensional family b = 1 … m with amplitudes a = b^−p; p = ∞ keeps b = 1 alone.

    Args:
        num_frequencies: m.
        p: decay of the amplitudes; 0 is flat, `float("inf")` leaves a = (1, 0, …, 0), still m frequencies.
        normalize: scale the amplitudes to Σ a² = 1.

    Returns:
        The mapping, frequencies (m, 1).

    Raises:
        ValueError: if `num_frequencies` is not a positive integer or `p` is NaN or −∞.

    Source: Tancik et al. 2020, section 5.

    Example:
        >>> import ntkspec as ns
        >>> ns.mapping.power_law(3, p=1.0, normalize=False).amplitudes.round(3).tolist()
        [1.0, 0.5, 0.333]
    """
    check_sizes(num_frequencies=num_frequencies)
    if math.isnan(p) or p == -math.inf:
        raise ValueError(f"p={p}; expected a number, or float('inf') for the first frequency alone")
    b = np.arange(1.0, num_frequencies + 1)
    amplitudes = (b == 1).astype(float) if p == math.inf else b**-p
    return from_frequencies(b[:, None], amplitudes, normalize=normalize)


def basic(dim: int, *, normalize: bool = True) -> FourierMapping:
    """One turn on each axis: B = I.

    Args:
        dim: number of coordinates d.
        normalize: scale the amplitudes to Σ a² = 1; otherwise a = 1.

    Returns:
        The mapping, frequencies (d, d).

    Source: Tancik et al. 2020, section 6.1.
    """
    check_sizes(dim=dim)
    return from_frequencies(np.eye(dim), normalize=normalize)


def identity(dim: int) -> IdentityMapping:
    """No mapping: the network sees the raw coordinates.

    Args:
        dim: number of coordinates d.

    Returns:
        The mapping γ(v) = v.
    """
    check_sizes(dim=dim)
    return IdentityMapping(dim)


def from_frequencies(B: ArrayLike, a: ArrayLike | None = None, *, normalize: bool = True) -> FourierMapping:
    """A mapping from its own frequencies and amplitudes.

    Args:
        B: frequencies, shape (m, d), cycles per unit.
        a: amplitudes, shape (m,); None means all equal.
        normalize: scale the amplitudes to Σ a² = 1.

    Returns:
        The mapping.

    Raises:
        ValueError: if the shapes disagree, a value is not finite, or all amplitudes vanish.

    Example:
        >>> import ntkspec as ns
        >>> g = ns.mapping.from_frequencies([[1.0], [3.0]], [3.0, 4.0])
        >>> (5 * g.amplitudes).round().tolist()
        [3.0, 4.0]
    """
    B = jnp.asarray(B, dtype=float)
    if B.ndim != 2 or 0 in B.shape:
        raise ValueError(f"`B` has shape {B.shape}; expected (m, d), one row a frequency; in 1-D use B[:, None]")
    amplitudes = jnp.ones(B.shape[0]) if a is None else jnp.asarray(a, dtype=float)
    if amplitudes.shape != B.shape[:1]:
        raise ValueError(
            f"`a` has shape {amplitudes.shape}; expected ({B.shape[0]},), one amplitude for each frequency"
        )
    if not isinstance(B, jax.core.Tracer) and not bool(jnp.isfinite(B).all()):
        raise ValueError("`B` holds NaN or infinity; frequencies are finite numbers in cycles per unit")
    concrete = not isinstance(amplitudes, jax.core.Tracer)
    if concrete and not (bool(jnp.isfinite(amplitudes).all()) and bool((amplitudes != 0).any())):
        raise ValueError("`a` holds NaN or infinity, or only zeros; at least one amplitude must not vanish")
    if normalize:
        amplitudes = amplitudes / jnp.linalg.norm(amplitudes)
    return FourierMapping(B, amplitudes)
