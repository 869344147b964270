"""Frequencies drawn at random: Gaussian, Laplace, uniform and log-uniform."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ntkspec.checks import check_positive, check_sizes
from ntkspec.mapping._base import check_scale
from ntkspec.mapping._fourier import FourierMapping, from_frequencies
from ntkspec.mapping._law import GAUSSIAN, LAPLACE, UNIFORM, Law

__all__ = ["gaussian", "laplace", "log_uniform", "uniform"]


def gaussian(
    dim: int, num_frequencies: int, scale: ArrayLike, *, seed: int = 0, normalize: bool = True
) -> FourierMapping:
    """Frequencies b ~ N(0, scale²) on each axis, equal amplitudes.

    Args:
        dim: number of coordinates d.
        num_frequencies: m.
        scale: standard deviation of each coordinate of b, cycles per unit; one number, or one for each axis. Two
            calls that differ only in `scale` draw the same directions.
        seed: of the draw (numpy's default generator).
        normalize: scale the amplitudes to Σ a² = 1; otherwise a = 1.

    Returns:
        The mapping, frequencies (m, d).

    Raises:
        ValueError: if a size is not a positive integer or a scale is not positive.

    Source: Tancik et al. 2020, section 6.1.

    Example:
        >>> import ntkspec as ns
        >>> ns.mapping.gaussian(dim=3, num_frequencies=256, scale=4.0).frequencies.shape
        (256, 3)
    """
    hint = "cycles per unit; a photograph wants about 1 to 10"
    return _sampled(GAUSSIAN, dim, num_frequencies, scale, hint, seed, normalize)


def laplace(
    dim: int, num_frequencies: int, scale: ArrayLike, *, seed: int = 0, normalize: bool = True
) -> FourierMapping:
    """Frequencies with density exp(−|b|/scale)/(2 scale) on each axis, equal amplitudes.

    Args:
        dim: number of coordinates d.
        num_frequencies: m.
        scale: mean |b| on each axis, cycles per unit (the standard deviation is √2 scale); one number, or one for
            each axis.
        seed: of the draw (numpy's default generator).
        normalize: scale the amplitudes to Σ a² = 1; otherwise a = 1.

    Returns:
        The mapping, frequencies (m, d).

    Raises:
        ValueError: if a size is not a positive integer or a scale is not positive.

    Source: Tancik et al. 2020, figure 4.

    Example:
        >>> import ntkspec as ns
        >>> ns.mapping.laplace(dim=1, num_frequencies=16, scale=4.0).num_features
        32
    """
    hint = "the mean |b|, cycles per unit"
    return _sampled(LAPLACE, dim, num_frequencies, scale, hint, seed, normalize)


def uniform(
    dim: int, num_frequencies: int, scale: ArrayLike, *, seed: int = 0, normalize: bool = True
) -> FourierMapping:
    """Frequencies uniform on [−scale, scale] on each axis, equal amplitudes.

    The paper's code draws from [0, scale) in one dimension; a sign changes no inner product there.

    Args:
        dim: number of coordinates d.
        num_frequencies: m.
        scale: highest |b| on each axis, cycles per unit (the standard deviation is scale/√3); one number, or one for
            each axis.
        seed: of the draw (numpy's default generator).
        normalize: scale the amplitudes to Σ a² = 1; otherwise a = 1.

    Returns:
        The mapping, frequencies (m, d).

    Raises:
        ValueError: if a size is not a positive integer or a scale is not positive.

    Source: Tancik et al. 2020, figure 4.

    Example:
        >>> import ntkspec as ns
        >>> bool((abs(ns.mapping.uniform(dim=2, num_frequencies=16, scale=4.0).frequencies) <= 4).all())
        True
    """
    hint = "the highest |b|, cycles per unit"
    return _sampled(UNIFORM, dim, num_frequencies, scale, hint, seed, normalize)


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
        seed: of the draw (numpy's default generator).
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


def _sampled(
    law: Law, dim: int, num_frequencies: int, scale: ArrayLike, hint: str, seed: int, normalize: bool
) -> FourierMapping:
    check_sizes(dim=dim, num_frequencies=num_frequencies)
    scales = check_scale(scale, dim, hint)
    draw = law.draw(np.random.default_rng(seed), (num_frequencies, dim))
    return from_frequencies(scales * draw, normalize=normalize)
