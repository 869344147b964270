"""A⁻¹ y, the diagonal of A⁻¹ and log det A of A = K + δI, exactly where that is cheap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from scipy.linalg import lapack

from ntkspec.eigen._quadrature import precision
from ntkspec.generalisation._decomposition import Decomposition, spectral_rounding
from ntkspec.limits import current
from ntkspec.operator import Operator
from ntkspec.operator._base import check_operator
from ntkspec.operator._blocks import blocks_of

__all__ = ["Inverse", "check_ridge", "exact_inverse", "operator_of"]


@dataclass(frozen=True)
class Inverse:
    """Of A = K + δI, for labels y.

    Attributes:
        solution: A⁻¹ y, shape (n, c).
        diagonal: [A⁻¹]_ii, shape (n,), or (1,) where it is the same at all points.
        log_determinant: log det A.
    """

    solution: np.ndarray
    diagonal: np.ndarray
    log_determinant: float


def operator_of(K: Operator | Decomposition) -> Operator:
    """Return the operator itself.

    Raises:
        TypeError: if K is neither.
    """
    if isinstance(K, Decomposition):
        return K.operator
    check_operator(K)
    return K


def check_ridge(K: Operator, ridge: float, name: str = "ridge") -> float:
    """Return the ridge, where it is at least 0 and above the operator's approximation error.

    Raises:
        ValueError: if it is not.
    """
    if not (np.ndim(ridge) == 0 and np.isfinite(ridge) and ridge >= 0):
        raise ValueError(f"{name}={ridge}; expected one number δ ≥ 0, in units of the eigenvalues of K")
    error = K.approximation_error
    if error and not ridge > error:
        raise ValueError(
            f"{name}={ridge:g}; expected more than {error:.2g}, the approximation error of this operator, below which "
            "its smallest eigenvalues are not known; take a larger one, or build the operator with a smaller tol"
        )
    return float(ridge)


def check_resolved(K: Operator, ridge: float, largest: float, name: str) -> None:
    """Refuse a ridge below the rounding of a product, where a solution by products is not known.

    Raises:
        ValueError: naming the least ridge.
    """
    rounding = precision(K) * largest
    if not ridge > rounding:
        raise ValueError(
            f"{name}={ridge:g}; for {K.num_points:,} points, solved by products only, expected more than "
            f"{rounding:.2g}, the rounding of a product with this operator; take a larger {name}"
        )


def exact_inverse(K: Operator | Decomposition, columns: np.ndarray, ridge: float, name: str) -> Inverse | None:
    """By a decomposition where there is one, by Cholesky up to 4,096 points; None beyond.

    Raises:
        ValueError: if K + δI is singular up to rounding.
    """
    if isinstance(K, Decomposition):
        return _by_decomposition(K, columns, ridge, name)
    modes = K.modes()
    if modes is not None:
        return _by_decomposition(modes.nonnegative(), columns, ridge, name)
    return _by_cholesky(K, columns, ridge, name) if K.num_points <= current().exact_points else None


def _by_decomposition(K: Decomposition, columns: np.ndarray, ridge: float, name: str) -> Inverse:
    least, largest = K.eigenvalue.min() + ridge, K.eigenvalue.max() + ridge
    if not least > spectral_rounding(K.operator, largest):
        raise _singular(ridge, spectral_rounding(K.operator, largest), name)
    inverse = 1 / (K.eigenvalue + ridge)[:, None]
    solution, diagonal = K.apply(inverse, columns)[0], K.diagonal(inverse)[0]
    return Inverse(solution, diagonal, float(K.trace(np.log(K.eigenvalue + ridge)[:, None])[0]))


def _by_cholesky(K: Operator, columns: np.ndarray, ridge: float, name: str) -> Inverse:
    blocks = blocks_of(K)
    largest = max(np.abs(matrix).sum(axis=1).max() for matrix in blocks.matrices) + ridge
    solutions, diagonals, log_determinant = [], [], 0.0
    for matrix, part in zip(blocks.matrices, blocks.split(columns), strict=True):
        matrix[np.diag_indices(len(matrix))] += ridge
        factor, info = lapack.dpotrf(matrix.T, lower=1, clean=1)
        # A pivot is the variance of a point given those before it: below rounding, the rest is not known.
        if info or not factor.diagonal().min() ** 2 > spectral_rounding(K, largest):
            raise _singular(ridge, spectral_rounding(K, largest), name)
        solutions.append(scipy.linalg.cho_solve((factor, True), part))
        log_determinant += 2 * float(np.sum(np.log(factor.diagonal())))
        inverse, _ = lapack.dpotri(factor, lower=1)
        diagonals.append(inverse.diagonal().copy())
    return Inverse(blocks.join(tuple(solutions)), blocks.join_diagonals(tuple(diagonals)), log_determinant)


def _singular(ridge: float, rounding: float, name: str) -> ValueError:
    return ValueError(
        f"{name}={ridge:g} leaves K + δI singular up to rounding; expected a {name} above about {rounding:.2g}, or "
        "fewer points (two of them may be the same)"
    )
