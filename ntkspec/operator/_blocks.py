"""A kernel matrix in two blocks, where it is its own mirror image: half the size, a quarter of the work.

A stationary kernel on all points of a lattice does not change when the points are taken in reverse order, J K J = K.
With (e_i ± e_{n−1−i})/√2 as a basis it falls apart into an even and an odd block.

Source: Cantoni & Butler 1976, "Eigenvalues and eigenvectors of symmetric centrosymmetric matrices".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ntkspec.operator._base import Operator

__all__ = ["Blocks", "blocks_of"]


@dataclass(frozen=True)
class Blocks:
    """A symmetric matrix (n, n), or its even ((n + 1)//2 square) and its odd block (n//2 square), of n points."""

    matrices: tuple[np.ndarray, ...]
    num_points: int

    def split(self, columns: np.ndarray) -> tuple[np.ndarray, ...]:
        """Columns (n, c) in the basis of each block."""
        if len(self.matrices) == 1:
            return (columns,)
        half = self.num_points // 2
        first, last, middle = columns[:half], columns[::-1][:half], columns[half : self.num_points - half]
        return np.concatenate([(first + last) / np.sqrt(2), middle]), (first - last) / np.sqrt(2)

    def join(self, parts: tuple[np.ndarray, ...]) -> np.ndarray:
        """Return what `split` takes apart."""
        if len(self.matrices) == 1:
            return parts[0]
        (even, odd), half = parts, self.num_points // 2
        first, last = (even[:half] + odd) / np.sqrt(2), (even[:half] - odd) / np.sqrt(2)
        return np.concatenate([first, even[half:], last[::-1]])

    def join_diagonals(self, parts: tuple[np.ndarray, ...]) -> np.ndarray:
        """Return the diagonal (n, ...) of a function of the matrix, from those of the same function of each block."""
        if len(self.matrices) == 1:
            return parts[0]
        (even, odd), half = parts, self.num_points // 2
        first = (even[:half] + odd) / 2
        return np.concatenate([first, even[half:], first[::-1]])


def blocks_of(K: Operator) -> Blocks:
    """Return the matrix of an operator, in two blocks where it is its own mirror image up to rounding."""
    matrix = np.asarray(K.to_dense(), dtype=float)
    n = len(matrix)
    half = n // 2
    mirrored = matrix[::-1, ::-1]
    if n < 2 or not np.abs(matrix[:half] - mirrored[:half]).max() <= 16 * np.finfo(K.dtype).eps * np.abs(matrix).max():
        return Blocks((matrix.copy(),), n)
    matrix = (matrix[: n - half] + mirrored[: n - half]) / 2
    first, crossed = matrix[:half, :half], matrix[:half, ::-1][:, :half]
    even = np.zeros((n - half, n - half))
    even[:half, :half] = first + crossed
    even[:half, half:] = np.sqrt(2) * matrix[:half, half : n - half]
    even[half:, :half] = even[:half, half:].T
    even[half:, half:] = matrix[half:, half : n - half]
    return Blocks((even, first - crossed), n)
