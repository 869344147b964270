"""Frequencies set by a rule, with no chance in them: the paper's positional encoding, power laws, one turn an axis."""

from __future__ import annotations

import math

import numpy as np

from ntkspec.checks import check_positive, check_sizes
from ntkspec.mapping._fourier import FourierMapping, from_frequencies

__all__ = ["basic", "positional", "power_law"]


def axis_aligned(dim: int, ladder: np.ndarray) -> np.ndarray:
    """Return the same frequencies along each axis in turn, (n,) -> (d·n, d), axis by axis."""
    return np.kron(np.eye(dim), np.asarray(ladder)[:, None])


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
        ValueError: if a size is not a positive integer, an axis gets fewer than two frequencies, or `log2_max` is not
            positive.

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
    return from_frequencies(axis_aligned(dim, ladder), normalize=normalize)


def power_law(num_frequencies: int, p: float, *, normalize: bool = True) -> FourierMapping:
    """Return the one-dimensional family b = 1 … m with amplitudes a = b^−p; p = ∞ keeps b = 1 alone.

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

    Example:
        >>> import ntkspec as ns
        >>> ns.mapping.basic(dim=2).num_features
        4
    """
    check_sizes(dim=dim)
    return from_frequencies(np.eye(dim), normalize=normalize)
