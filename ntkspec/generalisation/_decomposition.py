"""Decompositions of an operator as the functions of this room take them: eigenvalues not below 0."""

from __future__ import annotations

import jax

from ntkspec.limits import current
from ntkspec.operator import Operator
from ntkspec.operator._base import check_operator
from ntkspec.operator._modes import Modes, all_modes

__all__ = ["Decomposition", "decompose", "decomposition_where_cheap"]

Decomposition = Modes


def decompose(K: Operator) -> Decomposition:
    """All eigenvalues and modes of an operator, once for every question asked of it.

    By FFT on circulant lattices, by the singular vectors of a low-rank factor, else by eigendecomposition of the matrix
    (in two halves where it is its own mirror image, as that of a whole lattice is).

    Args:
        K: a kernel operator on n points.

    Returns:
        The decomposition, which the functions of this room take in place of K.

    Raises:
        TypeError: if K is no operator.
        ValueError: if K has more than 4,096 points and neither structure; most functions then take K itself.

    Source: Golub & Van Loan 2013, "Matrix computations", section 8.

    Example:
        >>> import ntkspec as ns, numpy as np
        >>> k = ns.kernel.compose(ns.mapping.gaussian(1, 16, scale=2.0), ns.kernel.MLP(depth=2))
        >>> K = ns.operator.lattice(k, shape=(64,))
        >>> d = ns.generalisation.decompose(K)
        >>> bool(np.isclose(d.weight @ d.eigenvalue, K.trace()))
        True
    """
    if isinstance(K, Decomposition):
        return K
    check_operator(K)
    modes = decomposition_where_cheap(K)
    if modes is None:
        what = f"an eigendecomposition of {K.num_points:,} points takes too long; expected {current().exact_points:,}"
        instead = "give the operator itself, which is then asked by products only, or a sample of the points"
        raise ValueError(f"{what} at most, or modes known from structure (circulant lattice, low rank); {instead}")
    return modes


def decomposition_where_cheap(K: Operator | Decomposition) -> Decomposition | None:
    """Return that of `decompose`; None where it would take too long."""
    if isinstance(K, Decomposition):
        return K
    modes = all_modes(K)
    return None if modes is None else modes.nonnegative()


def spectral_rounding(K: Operator, largest: float) -> float:
    """Below this an eigenvalue computed from K's matrix or transform is rounding."""
    return float(K.num_points * jax.numpy.finfo(K.dtype).eps * largest)
