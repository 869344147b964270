"""The laws of a random frequency: mappings drawn from them, and the limit of infinitely many draws in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike
from scipy import special

from ntkspec.checks import check_fits, check_positive, check_sizes
from ntkspec.mapping._base import (
    Stationary,
    Versines,
    as_array,
    as_axes,
    as_lags,
    as_matrix,
    outer_sum,
    product_of_versines,
    reduced,
)  # fmt: skip
from ntkspec.mapping._fourier import FourierMapping, from_frequencies

__all__ = [
    "GAUSSIAN", "LimitMapping", "gaussian", "gaussian_limit", "laplace", "laplace_limit", "log_uniform", "uniform",
    "uniform_limit",
]  # fmt: skip


@dataclass(frozen=True)
class Law:
    """A symmetric law of one number z: samples of a shape, √E[z²], sup |z|, and functions of t.

    `versine` is 1 − E[cos 2πzt], to full relative precision, and `tail` P(|z| > t); `scale` is the meaning of the
    number that z is multiplied by.
    """

    name: str
    draw: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
    versine: Callable[[Array], Array]
    deviation: float
    highest: float
    tail: Callable[[np.ndarray], np.ndarray]
    scale: str


def _gaussian_versine(t: Array) -> Array:
    """1 − exp(−2π²t²)."""
    return -jnp.expm1(-2 * (jnp.pi * t) ** 2)


def _laplace_versine(t: Array) -> Array:
    """1 − 1/(1 + (2πt)²)."""
    square = (2 * jnp.pi * t) ** 2
    return square / (1 + square)


#: 1 − sin(x)/x = x²/6 (1 − x²/20 (1 − x²/42 (...))): the ratios 2k(2k + 1) that reach 1e-17 at x = 1.
_SINC_RATIOS = [2 * k * (2 * k + 1) for k in range(2, 11)]


def _uniform_versine(t: Array) -> Array:
    """1 − sin(2πt)/(2πt), by its series where that cancels."""
    x = 2 * jnp.pi * t
    near = jnp.abs(x) < 1
    square = jnp.where(near, x, 0.0) ** 2
    series = jnp.ones_like(square)
    for ratio in reversed(_SINC_RATIOS):
        series = 1 - square / ratio * series
    far = 1 - jnp.sin(2 * jnp.pi * reduced(t)) / jnp.where(near, 1.0, x)
    return jnp.where(near, square / 6 * series, far)


GAUSSIAN = Law(
    name="gaussian",
    draw=lambda generator, shape: generator.standard_normal(shape),
    versine=_gaussian_versine,
    deviation=1.0,
    highest=math.inf,
    tail=lambda t: special.erfc(t / math.sqrt(2)),
    scale="standard deviation of b",
)
LAPLACE = Law(
    name="laplace",
    draw=lambda generator, shape: generator.laplace(size=shape),
    versine=_laplace_versine,
    deviation=math.sqrt(2),
    highest=math.inf,
    tail=lambda t: np.exp(-t),
    scale="mean |b|",
)
UNIFORM = Law(
    name="uniform",
    draw=lambda generator, shape: generator.uniform(-1, 1, shape),
    versine=_uniform_versine,
    deviation=1 / math.sqrt(3),
    highest=1.0,
    tail=lambda t: np.maximum(1 - t, 0),
    scale="highest |b|",
)


def as_scales(scale: ArrayLike, dim: int, law: Law) -> Array:
    """One positive scale an axis, from a number for all or one for each; traced ones pass unseen."""
    scales = as_array(scale)
    check_fits(scales.shape in ((), (dim,)), "scale", scales.shape, f"one number, or {dim}, one for each axis")
    if not isinstance(scales, jax.core.Tracer):
        for value in np.atleast_1d(np.asarray(scales)):
            check_positive("scale", float(value), f"the {law.scale}, cycles per unit; a photograph wants about 1 to 10")
    return jnp.broadcast_to(scales, (dim,))


class Sampler(Protocol):
    """A function that draws frequencies from a law."""

    def __call__(
        self, dim: int, num_frequencies: int, scale: ArrayLike, *, seed: int = 0, normalize: bool = True
    ) -> FourierMapping:
        """Return the mapping of m frequencies."""


_OF_SAMPLER = """Frequencies {law} on each axis, equal amplitudes.

Args:
    dim: number of coordinates d.
    num_frequencies: m.
    scale: {scale} on each axis, cycles per unit{deviation}; one number, or one for each axis. Two calls that differ
        only in `scale` draw the same directions.
    seed: seed of the draw (numpy's default generator).
    normalize: scale the amplitudes to Σ a² = 1; otherwise a = 1.

Returns:
    The mapping, frequencies (m, d).

Raises:
    ValueError: if a size is not a positive integer or a scale is not positive.

Source: Tancik et al. 2020, {source}.

Example:
    >>> import ntkspec as ns
    >>> ns.mapping.{name}(dim=3, num_frequencies=256, scale=4.0).frequencies.shape
    (256, 3)
"""


def _sampler(law: Law, described: str, deviation: str = "", source: str = "figure 4") -> Sampler:
    def sample(
        dim: int, num_frequencies: int, scale: ArrayLike, *, seed: int = 0, normalize: bool = True
    ) -> FourierMapping:
        check_sizes(dim=dim, num_frequencies=num_frequencies)
        scales = as_scales(scale, dim, law)
        draw = law.draw(np.random.default_rng(seed), (num_frequencies, dim))
        return from_frequencies(scales * draw, normalize=normalize)

    sample.__name__ = sample.__qualname__ = law.name
    sample.__doc__ = _OF_SAMPLER.format(
        law=described, scale=law.scale, deviation=deviation, source=source, name=law.name
    )
    return sample


gaussian = _sampler(GAUSSIAN, "b ~ N(0, scale²)", source="section 6.1")
laplace = _sampler(LAPLACE, "with density exp(−|b|/scale)/(2 scale)", " (the standard deviation is √2 scale)")
# The paper's code draws from [0, scale) in one dimension; a sign changes no inner product there.
uniform = _sampler(UNIFORM, "uniform on [−scale, scale]", " (the standard deviation is scale/√3)")


def log_uniform(
    dim: int, num_frequencies: int, scale: float, *, lowest: float = 1.0, seed: int = 0, normalize: bool = True
) -> FourierMapping:
    """Frequencies with log |b| uniform between `lowest` and `scale`, in a random direction, equal amplitudes.

    In one dimension this is the paper's family up to signs, which change no inner product. In more, the length
    of b is log-uniform and its direction uniform: as many frequencies in every octave, with no preferred axis.

    Args:
        dim: number of coordinates d.
        num_frequencies: m.
        scale: highest |b|, cycles per unit.
        lowest: lowest |b|, cycles per unit.
        seed: seed of the draw (numpy's default generator).
        normalize: scale the amplitudes to Σ a² = 1; otherwise a = 1.

    Returns:
        The mapping, frequencies (m, d).

    Raises:
        ValueError: if a size is not a positive integer, or not 0 < lowest < scale.

    Source: Tancik et al. 2020, figure 4.

    Example:
        >>> import ntkspec as ns
        >>> b = abs(ns.mapping.log_uniform(dim=1, num_frequencies=99, scale=100.0).frequencies)
        >>> bool(b.min() >= 1), bool(b.max() <= 100)
        (True, True)
    """
    check_sizes(dim=dim, num_frequencies=num_frequencies)
    check_positive("scale", scale, "the highest |b|, cycles per unit")
    check_positive("lowest", lowest, "the lowest |b|, cycles per unit")
    if lowest >= scale:
        raise ValueError(f"lowest={lowest} is not below scale={scale}; |b| is drawn between the two")
    generator = np.random.default_rng(seed)
    length = np.exp(generator.uniform(np.log(lowest), np.log(scale), num_frequencies))
    direction = generator.standard_normal((num_frequencies, dim))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return from_frequencies(length[:, None] * direction, normalize=normalize)


class LimitMapping(Stationary):
    """The mapping of infinitely many frequencies b = Sᵀz, z independent of one law: k_γ(Δ) = E[cos 2πb·Δ].

    With φ(t) = E[cos 2πzt] of one z, k_γ(Δ) = |γ|² Π_i φ((SΔ)_i). There is no γ(v) to compute, only its inner
    product: no features, no finite network.

    A kernel behind it needs a fan-in p, for a first layer sees |γ|²/p. The limit takes p as a convention,
    `num_features`: p/2 sampled frequencies have this inner product on average and scatter about it by 1/√p, and so do
    the kernels behind both.

    Attributes:
        spread: S, shape (r, d), cycles per unit; diag(scale) where no coordinates were changed.
        energy: |γ|² = k_γ(0).
        law: law of z.
        num_features: p, the fan-in of the network behind.

    Example:
        >>> import ntkspec as ns
        >>> g = ns.mapping.gaussian_limit(dim=2, scale=10.0)
        >>> float(g.inner([0.0, 0.0])), g.num_features
        (1.0, 512)
    """

    spread: Array
    energy: Array
    law: Law = eqx.field(static=True)
    num_features: int = eqx.field(static=True)

    @property
    def dim(self) -> int:
        return self.spread.shape[1]

    @property
    def finite(self) -> bool:
        return False

    @property
    def norm_squared(self) -> Array:
        return self.energy

    @property
    def periodic(self) -> bool:
        return False

    def __call__(self, x: ArrayLike) -> Array:
        """Refused: there are infinitely many features."""
        raise ValueError(
            f"a {self.law.name}_limit has infinitely many frequencies: no features and no finite network; take "
            f"ns.mapping.{self.law.name}(dim={self.dim}, num_frequencies={max(self.num_features // 2, 1)}, scale=...)"
        )

    def versines(self, delta: ArrayLike) -> Versines:
        """1 ∓ Π_i φ((SΔ)_i), to full relative precision; no φ comes near −1."""
        delta = as_lags(delta, self.dim)
        return self._of_turns([sum(delta[..., j] * row[j] for j in range(self.dim)) for row in self.spread])

    def versines_grid(self, lags: tuple[ArrayLike, ...]) -> Versines:
        """Return the versines on a grid of lags; as exact as `versines`, and without its array of points."""
        axes = as_axes(lags, self.dim)
        return self._of_turns([outer_sum([axis * row[j] for j, axis in enumerate(axes)]) for row in self.spread])

    def _of_turns(self, turns: list[Array]) -> Versines:
        return product_of_versines([Versines.of(self.law.versine(t)) for t in turns])

    def through(self, matrix: ArrayLike) -> LimitMapping:
        """γ(A·) for A (d, d'): the spread becomes S A."""
        matrix = as_matrix(matrix, self.dim)
        spread = jnp.matmul(self.spread, matrix, precision="highest")
        return LimitMapping(spread, self.energy, self.law, self.num_features)

    def scaled(self, weight: ArrayLike) -> LimitMapping:
        return LimitMapping(self.spread, jnp.asarray(weight, dtype=float) * self.energy, self.law, self.num_features)


class Limit(Protocol):
    """A function that makes the limit of a sampler."""

    def __call__(self, dim: int, scale: ArrayLike, *, num_features: int = 512, normalize: bool = True) -> LimitMapping:
        """Return the mapping of infinitely many frequencies."""


_OF_LIMIT = """The limit of `{name}`: k_γ(Δ) = {inner}.

Args:
    dim: number of coordinates d.
    scale: {scale} on each axis, cycles per unit; one number, or one for each axis. May be traced, so a scale can be
        fitted by gradient descent.
    num_features: p, the fan-in of the network behind: its first layer sees k_γ/p. The kernel is then the one that
        ``{name}(dim, p // 2, scale)`` comes close to; 512 is the paper's p.
    normalize: k_γ(0) = 1; otherwise p/2, as a = 1 gives p/2 frequencies (k_γ/p is then free of p).

Returns:
    The mapping; it has no features, and a network behind it a kernel only.

Raises:
    ValueError: if a size is not a positive integer or a scale is not positive.

Source: Rahimi & Recht 2007, "Random features for large-scale kernel machines", figure 1.

Example:
    >>> import ntkspec as ns
    >>> round(float(ns.mapping.{name}_limit(dim=1, scale=1.0).inner([0.1])), 6)
    {example}
"""


def _limit(law: Law, inner: str, example: float) -> Limit:
    def limit(dim: int, scale: ArrayLike, *, num_features: int = 512, normalize: bool = True) -> LimitMapping:
        check_sizes(dim=dim, num_features=num_features)
        energy = jnp.asarray(1.0 if normalize else num_features / 2)
        return LimitMapping(jnp.diag(as_scales(scale, dim, law)), energy, law, num_features)

    limit.__name__ = limit.__qualname__ = f"{law.name}_limit"
    limit.__doc__ = _OF_LIMIT.format(name=law.name, inner=inner, scale=law.scale, example=example)
    return limit


gaussian_limit = _limit(GAUSSIAN, "exp(−2π² Σ scale_i² Δ_i²), a Gaussian of width 1/(2π scale)", 0.820869)
laplace_limit = _limit(LAPLACE, "Π 1/(1 + (2π scale_i Δ_i)²), Cauchy's curve on each axis", 0.716957)
uniform_limit = _limit(UNIFORM, "Π sinc(2 scale_i Δ_i), sinc(x) = sin(πx)/(πx)", 0.935489)
