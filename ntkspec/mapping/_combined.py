"""Mappings of mappings: side by side, multiplied, over several inputs, turned."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add, mul

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from ntkspec.checks import check_fits
from ntkspec.mapping._base import (
    JoinedMapping,
    Mapping,
    StationaryMapping,
    as_array,
    as_matrix,
    as_stationary,
    check_same_dim,
    joined,
)

__all__ = ["concatenate", "direct_product", "direct_sum", "multiply", "rotate"]


def concatenate(
    mappings: Sequence[Mapping], weights: ArrayLike | None = None, *, normalize: bool = True
) -> StationaryMapping | JoinedMapping:
    """Features of several mappings of the same coordinates, side by side: k_γ = Σ w_i k_i.

    ``g + h`` is the same without weights and without rescaling.

    Args:
        mappings: at least one; raw coordinates (`identity`) among them make the sum one that is not stationary.
        weights: w, not negative, one a mapping: γ = [√w_1 γ_1, √w_2 γ_2, …]. None means 1 each.
        normalize: rescale to |γ|² = 1; raw coordinates have no constant norm and need False.

    Returns:
        A Fourier mapping where all are; else a `SumMapping`, or a `JoinedMapping` with raw coordinates.

    Raises:
        TypeError, ValueError: if one is not a mapping, there are none, their dimensions or the number of weights
            differ, a weight is negative, or raw coordinates are to be normalized or joined with a limit.

    Example:
        >>> import ntkspec as ns
        >>> coarse, fine = (ns.mapping.gaussian(2, 128, scale=s) for s in (2.0, 20.0))
        >>> g = ns.mapping.concatenate([coarse, fine], weights=[0.9, 0.1])
        >>> g.num_features, round(float(g.norm_squared), 12)
        (512, 1.0)
    """
    parts = _checked(mappings)
    w = _weights(weights, len(parts))
    if not all(part.stationary for part in parts):
        if normalize:
            raise ValueError("raw coordinates have no constant norm, so nothing to normalize by; pass normalize=False")
        return joined(parts, w)
    total = reduce(add, [part.scaled(w[i]) for i, part in enumerate(as_stationary(parts))])
    return total.scaled(1 / total.norm_squared) if normalize else total


def multiply(mappings: Sequence[Mapping]) -> StationaryMapping:
    """Products of features of mappings of the same coordinates: k_γ = Π k_i. ``g * h`` is the same.

    cos A cos B = ½(cos(A + B) + cos(A − B)), so the product of Fourier mappings is the Fourier mapping of the 2 m₁ m₂
    frequencies b₁ ± b₂ with amplitudes a₁a₂/√2: the tensor product of the features, turned.

    Args:
        mappings: at least one, all stationary.

    Returns:
        A Fourier mapping where all are, else a `ProductMapping`; |γ|² is the product of theirs.

    Raises:
        TypeError, ValueError: if one is not a mapping or not stationary, there are none, or their dimensions differ.

    Example:
        >>> import ntkspec as ns
        >>> g = ns.mapping.from_frequencies([[3.0]]) * ns.mapping.from_frequencies([[1.0]])
        >>> g.frequencies[:, 0].tolist()
        [4.0, 2.0]
    """
    return reduce(mul, as_stationary(_checked(mappings)))


def direct_sum(
    mappings: Sequence[Mapping], weights: ArrayLike | None = None, *, normalize: bool = True
) -> StationaryMapping | JoinedMapping:
    """Return mappings of different inputs side by side, as for (position, direction): k_γ(Δx, Δd) = Σ w_i k_i(Δ_i).

    Args:
        mappings: stationary ones, or raw coordinates (`identity`) among them, as where a solution is periodic in space
            and raw in time; their coordinates follow one another, d = Σ d_i.
        weights: w, not negative, one a mapping. None means 1 each.
        normalize: rescale to |γ|² = 1; raw coordinates have no constant norm and need False.

    Returns:
        The mapping of all coordinates; not stationary with raw ones.

    Raises:
        TypeError, ValueError: as `concatenate` does.

    Example:
        >>> import ntkspec as ns
        >>> position, direction = ns.mapping.nerf(3, 10), ns.mapping.nerf(3, 4)
        >>> ns.mapping.direct_sum([position, direction]).frequencies.shape
        (42, 6)
        >>> space, time = ns.mapping.nerf(1, 4), ns.mapping.identity(1)
        >>> ns.mapping.direct_sum([space, time], normalize=False).num_features
        9
    """
    return concatenate(_side_by_side(mappings), weights, normalize=normalize)


def direct_product(mappings: Sequence[Mapping]) -> StationaryMapping:
    """Multiply mappings of different inputs, as for position × direction: k_γ(Δx, Δd) = Π k_i(Δ_i).

    Args:
        mappings: all stationary; their coordinates follow one another, d = Σ d_i.

    Returns:
        The mapping of all coordinates; for Fourier mappings of m₁ and m₂ frequencies one of 2 m₁ m₂.

    Raises:
        TypeError, ValueError: as `multiply` does.

    Example:
        >>> import ntkspec as ns
        >>> position = ns.mapping.gaussian_limit(dim=3, scale=4.0)
        >>> g = ns.mapping.direct_product([position, ns.mapping.power_law(4, p=1.0)])
        >>> g.dim, round(float(g.inner([0, 0, 0, 0])), 12)
        (4, 1.0)
    """
    return multiply(_side_by_side(mappings))


def rotate(mapping: StationaryMapping, rotation: ArrayLike) -> StationaryMapping:
    """Return the mapping with its frequencies turned, b → R b, so that k_γ(Δ) → k_γ(RᵀΔ).

    Args:
        mapping: stationary, of d coordinates.
        rotation: R, orthogonal, shape (d, d); for d = 2 also an angle in radians, from the first axis to the second.

    Returns:
        The mapping, of the same kind.

    Raises:
        TypeError, ValueError: if it is not a stationary mapping, or R is not orthogonal or of another shape.

    Source: Tancik et al. 2020, table 1 (positional encoding, rotated).

    Example:
        >>> import math, ntkspec as ns
        >>> g = ns.mapping.rotate(ns.mapping.from_frequencies([[3.0, 0.0]]), math.pi / 2)
        >>> [round(abs(float(b)), 12) for b in g.frequencies[0]]
        [0.0, 3.0]
    """
    (part,) = as_stationary(_checked([mapping]))
    matrix = as_array(rotation)
    if matrix.ndim == 0:
        if part.dim != 2:
            raise ValueError(f"an angle turns two coordinates, and the mapping has {part.dim}; give a square matrix")
        c, s = jnp.cos(matrix), jnp.sin(matrix)
        return part.through(jnp.array([[c, s], [-s, c]]))
    matrix = as_matrix(matrix, part.dim)
    known = np.eye(part.dim) if isinstance(matrix, jax.core.Tracer) else np.asarray(matrix)
    if matrix.shape != known.T.shape or not np.allclose(known @ known.T, np.eye(part.dim), rtol=0, atol=1e-9):
        raise ValueError(f"`rotation` is not orthogonal; a rotation of {part.dim} coordinates has R Rᵀ = 1")
    return part.through(matrix.T)


def _checked(mappings: Sequence[Mapping]) -> list[Mapping]:
    parts = list(mappings)
    if other := [part for part in parts if not isinstance(part, Mapping)]:
        raise TypeError(f"a {type(other[0]).__name__} is no mapping; expected those from ntkspec.mapping")
    if not parts:
        raise ValueError("no mappings were given; expected at least one")
    check_same_dim(parts)
    return parts


def _weights(weights: ArrayLike | None, count: int) -> Array:
    w = as_array(np.ones(count) if weights is None else weights)
    check_fits(w.shape == (count,), "weights", w.shape, f"({count},), one a mapping")
    values = np.ones(1) if isinstance(w, jax.core.Tracer) else np.asarray(w)
    if not (np.isfinite(values).all() and (values >= 0).all() and values.any()):
        raise ValueError(f"weights={values.tolist()}; expected finite numbers, none negative and not all zero")
    return w


def _side_by_side(mappings: Sequence[Mapping]) -> list[Mapping]:
    """Every mapping on the coordinates of all, each reading its own block."""
    parts = [part for mapping in mappings for part in _checked([mapping])]
    ends = np.cumsum([0, *[part.dim for part in parts]])
    blocks = [np.eye(ends[-1])[start : start + part.dim] for start, part in zip(ends, parts, strict=False)]
    return [part.through(block) for part, block in zip(parts, blocks, strict=True)]  # type: ignore[attr-defined]
