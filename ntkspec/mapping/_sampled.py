"""Frequencies drawn at random: Gaussian, Laplace, uniform and log-uniform."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from ntkspec.checks import check_positive, check_sizes
from ntkspec.mapping._fourier import FourierMapping, from_frequencies
from ntkspec.mapping._law import GAUSSIAN, LAPLACE, UNIFORM, Law, check_scale

__all__ = ["gaussian", "laplace", "log_uniform", "uniform"]


class Sampler(Protocol):
    """A function that draws frequencies from a law."""

    def __call__(
        self, dim: int, num_frequencies: int, scale: ArrayLike, *, seed: int = 0, normalize: bool = True
    ) -> FourierMapping:
        """Return the mapping of m frequencies."""
        ...


_DOCUMENTATION = """Frequencies {law} on each axis, equal amplitudes.

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
        scales = check_scale(scale, dim, law)
        draw = law.draw(np.random.default_rng(seed), (num_frequencies, dim))
        return from_frequencies(scales * draw, normalize=normalize)

    sample.__name__ = sample.__qualname__ = law.name
    sample.__doc__ = _DOCUMENTATION.format(
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
