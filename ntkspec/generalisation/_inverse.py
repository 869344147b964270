"""A⁻¹ y, the diagonal of A⁻¹ and log det A of A = K + δI, exactly where that is cheap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from scipy.linalg import lapack

from ntkspec.checks import check_number
from ntkspec.eigen._quadrature import check_resolved
from ntkspec.generalisation._decomposition import Decomposition, spectral_rounding
from ntkspec.limits import current
from ntkspec.operator import Operator
from ntkspec.operator._base import check_operator
from ntkspec.operator._blocks import blocks_of

__all__ = ["Inverse", "check_ridge", "exact_inverse", "operator_of", "singular"]


@dataclass(frozen=True)
class Inverse:
    """A⁻¹ y (n, c), the diagonal [A⁻¹]_ii (n,), or (1,) where it is the same at all points, and log det A."""

    solution: np.ndarray
    diagonal: np.ndarray
    log_determinant: float


def operator_of(K: Operator | Decomposition) -> Operator:
    """Return the operator itself, and refuse what is neither."""
    if isinstance(K, Decomposition):
        return K.operator
    check_operator(K)
    return K


def check_ridge(K: Operator, ridge: float, name: str = "ridge") -> float:
    """Return the ridge, where it is at least 0 and above the operator's approximation error."""
    check_number(name, ridge, 0, hint="one number δ ≥ 0, in units of the eigenvalues of K")
    if K.approximation_error:
        check_resolved(K, ridge, 0.0, name)
    return float(ridge)


def exact_inverse(K: Operator | Decomposition, columns: np.ndarray, ridge: float, name: str) -> Inverse | None:
    """By a decomposition where there is one, by Cholesky up to 4,096 points; None beyond."""
    if isinstance(K, Decomposition):
        return _by_decomposition(K, columns, ridge, name)
    modes = K.modes()
    if modes is not None:
        return _by_decomposition(modes.nonnegative(), columns, ridge, name)
    return _by_cholesky(K, columns, ridge, name) if K.num_points <= current().exact_points else None


def _by_decomposition(K: Decomposition, columns: np.ndarray, ridge: float, name: str) -> Inverse:
    rounding = spectral_rounding(K.operator, K.eigenvalue.max() + ridge)
    if not K.eigenvalue.min() + ridge > rounding:
        raise singular(ridge, rounding, name)
    inverse = 1 / (K.eigenvalue + ridge)[:, None]
    solution, diagonal = K.apply(inverse, columns)[0], K.diagonal(inverse)[0]
    return Inverse(solution, diagonal, float(K.trace(np.log(K.eigenvalue + ridge)[:, None])[0]))


def _by_cholesky(K: Operator, columns: np.ndarray, ridge: float, name: str) -> Inverse:
    blocks = blocks_of(K)
    largest = max(np.abs(matrix).sum(axis=1).max() for matrix in blocks.matrices) + ridge
    rounding = spectral_rounding(K, largest)
    solutions, diagonals, log_determinant = [], [], 0.0
    for matrix, part in zip(blocks.matrices, blocks.split(columns), strict=True):
        matrix[np.diag_indices(len(matrix))] += ridge
        factor, info = lapack.dpotrf(matrix.T, lower=1, clean=1)
        # A pivot is the variance of a point given those before it: below rounding, the rest is not known.
        if info or not factor.diagonal().min() ** 2 > rounding:
            raise singular(ridge, rounding, name)
        solutions.append(scipy.linalg.cho_solve((factor, True), part))
        log_determinant += 2 * float(np.sum(np.log(factor.diagonal())))
        inverse, _ = lapack.dpotri(factor, lower=1)
        diagonals.append(inverse.diagonal().copy())
    return Inverse(blocks.join(tuple(solutions)), blocks.join_diagonals(tuple(diagonals)), log_determinant)


def singular(ridge: float, rounding: float, name: str = "ridge") -> ValueError:
    """Say that a ridge leaves a matrix singular up to rounding."""
    instead = f"expected a {name} above about {rounding:.2g}, or fewer points (two of them may be the same)"
    return ValueError(f"{name}={ridge:g} leaves K + δI singular up to rounding; {instead}")
