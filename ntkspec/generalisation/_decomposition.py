"""Every eigenvalue with what lies in its modes, computed once: functions of an operator, their diagonals and traces.

Leave-one-out, cross-validation, learning curves and risks all ask for y's power in the modes, for f(K) y, or for the
diagonal of f(K). One eigendecomposition serves them all, for every ridge and step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import jax
import numpy as np
import scipy.fft
import scipy.linalg
import scipy.sparse

from ntkspec.eigen._exact import half_weights
from ntkspec.generalisation._blocks import Blocks, blocks_of
from ntkspec.grid import Placement, energy_by_frequency
from ntkspec.operator import Lattice, LowRank, Operator
from ntkspec.operator._base import check_operator

__all__ = ["EXACT_LIMIT", "Decomposition", "decompose", "decomposition_where_cheap"]

#: Up to this size an eigendecomposition takes seconds.
EXACT_LIMIT = 4096


@dataclass(frozen=True)
class Decomposition(ABC):
    """K = Σ λ_i u_i u_iᵀ; make one with `decompose`.

    Functions of K are given by their values at `eigenvalue`, several at once as columns (h, f), real or complex.

    Attributes:
        operator: K, on n points.
        eigenvalue: each eigenvalue that is told apart, not negative, in no order, shape (h,).
        weight: how many modes each stands for, shape (h,), n in all.
    """

    operator: Operator
    eigenvalue: np.ndarray
    weight: np.ndarray

    @property
    def num_points(self) -> int:
        """Number of points n."""
        return self.operator.num_points

    @abstractmethod
    def power(self, columns: np.ndarray) -> np.ndarray:
        """Σ (u_i·y)² over the modes of each eigenvalue, columns (n, c) to (h, c)."""

    def apply(self, functions: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """f(K) y for functions (h, f) and columns (n, c), shape (f, n, c)."""
        if np.iscomplexobj(functions):
            return _pair(self._apply(_real(functions), columns))
        return self._apply(functions, columns)

    def diagonal(self, functions: np.ndarray) -> np.ndarray:
        """[f(K)]_ii for functions (h, f), shape (f, n); (f, 1) where it is the same at all points."""
        if np.iscomplexobj(functions):
            return _pair(self._diagonal(_real(functions)))
        return self._diagonal(functions)

    @abstractmethod
    def _apply(self, functions: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """`apply` of real functions."""

    @abstractmethod
    def _diagonal(self, functions: np.ndarray) -> np.ndarray:
        """`diagonal` of real functions."""

    def trace(self, functions: np.ndarray) -> np.ndarray:
        """The trace tr f(K) for functions (h, f), shape (f,)."""
        return np.tensordot(self.weight.astype(float), functions, axes=1)

    def spread(self, placement: Placement) -> np.ndarray | scipy.sparse.csr_array | None:
        """How the energy in the modes of each eigenvalue lies over radial frequencies.

        Args:
            placement: of the points on a lattice, of the frequencies of `grid.energy_by_frequency`.

        Returns:
            A matrix (frequency, h) whose columns add up to 1; None where it is not known.
        """
        return None


@dataclass(frozen=True)
class _Fourier(Decomposition):
    """The plane waves of a circulant lattice, whose eigenvalues are its transform."""

    shape: tuple[int, ...]

    def _transform(self, columns: np.ndarray) -> np.ndarray:
        """Fourier coefficients (h, c), so scaled that Σ weight |·|² is Σ y²."""
        modes = scipy.fft.rfftn(columns.reshape(*self.shape, -1), axes=range(len(self.shape)), norm="ortho")
        return modes.reshape(-1, columns.shape[1])

    def power(self, columns: np.ndarray) -> np.ndarray:
        return self.weight[:, None] * np.abs(self._transform(columns)) ** 2

    def _apply(self, functions: np.ndarray, columns: np.ndarray) -> np.ndarray:
        modes = self._transform(columns)
        half = (*self.shape[:-1], self.shape[-1] // 2 + 1)
        axes = range(len(self.shape))
        values = [
            scipy.fft.irfftn((f[:, None] * modes).reshape(*half, -1), s=self.shape, axes=axes, norm="ortho")
            for f in functions.T
        ]
        return np.stack(values).reshape(functions.shape[1], *columns.shape)

    def _diagonal(self, functions: np.ndarray) -> np.ndarray:
        return self.trace(functions)[:, None] / self.num_points

    def spread(self, placement: Placement) -> scipy.sparse.csr_array:
        bins, frequency = placement.grid.frequency_bins()
        held = bins[..., : self.shape[-1] // 2 + 1].ravel()
        shape = (len(frequency), len(held))
        return scipy.sparse.csr_array((np.ones(len(held)), (held, np.arange(len(held)))), shape=shape)


@dataclass(frozen=True)
class _Dense(Decomposition):
    """Eigenvectors of each block of a matrix."""

    blocks: Blocks
    vectors: tuple[np.ndarray, ...]

    def _by_block(self, along: np.ndarray) -> list[np.ndarray]:
        return np.split(along, np.cumsum([len(v) for v in self.vectors])[:-1])

    def power(self, columns: np.ndarray) -> np.ndarray:
        parts = zip(self.vectors, self.blocks.split(columns), strict=True)
        return np.concatenate([(V.T @ y) ** 2 for V, y in parts])

    def _apply(self, functions: np.ndarray, columns: np.ndarray) -> np.ndarray:
        shape = (-1, functions.shape[1], columns.shape[1])
        parts = []
        for V, g, y in zip(self.vectors, self._by_block(functions), self.blocks.split(columns), strict=True):
            filtered = g[:, :, None] * (V.T @ y)[:, None]
            parts.append((V @ filtered.reshape(len(V), -1)).reshape(shape))
        return np.moveaxis(self.blocks.join(tuple(parts)), 1, 0)

    def _diagonal(self, functions: np.ndarray) -> np.ndarray:
        parts = zip(self.vectors, self._by_block(functions), strict=True)
        return self.blocks.join_diagonals(tuple(V**2 @ g for V, g in parts)).T

    def spread(self, placement: Placement) -> np.ndarray:
        columns = []
        for i, vectors in enumerate(self.vectors):
            others = [np.zeros((len(V), vectors.shape[1])) for V in self.vectors]
            others[i] = vectors
            columns.append(energy_by_frequency(self.blocks.join(tuple(others)).T, placement)[0])
        return np.concatenate(columns).T


@dataclass(frozen=True)
class _Thin(Decomposition):
    """The left singular vectors of a factor; all else has the eigenvalue 0, which is the last."""

    vectors: np.ndarray

    def power(self, columns: np.ndarray) -> np.ndarray:
        held = (self.vectors.T @ columns) ** 2
        return np.concatenate([held, np.maximum(np.sum(columns**2, axis=0) - held.sum(axis=0), 0)[None]])

    def _apply(self, functions: np.ndarray, columns: np.ndarray) -> np.ndarray:
        held = self.vectors.T @ columns
        return np.stack([f[-1] * columns + self.vectors @ ((f[:-1] - f[-1])[:, None] * held) for f in functions.T])

    def _diagonal(self, functions: np.ndarray) -> np.ndarray:
        return (functions[-1] + self.vectors**2 @ (functions[:-1] - functions[-1])).T


def _real(functions: np.ndarray) -> np.ndarray:
    """The real parts and then the imaginary ones: a matrix times complex columns would itself be made complex."""
    return np.concatenate([functions.real, functions.imag], axis=1)


def _pair(values: np.ndarray) -> np.ndarray:
    real, imaginary = np.split(values, 2)
    return real + 1j * imaginary


def decompose(K: Operator) -> Decomposition:
    """All eigenvalues and modes of an operator, once for every question asked of it.

    By FFT on circulant lattices, by the singular vectors of a low-rank factor, else by eigendecomposition of the matrix
    (in two halves where it is its own mirror image, as that of a whole lattice is).

    Args:
        K: a kernel operator on n points.

    Returns:
        The decomposition, which `leave_one_out`, `leave_one_out_path`, `cross_validation`, `evidence`,
        `scaled_evidence` and `learning_curve` take in place of K.

    Raises:
        TypeError: if K is no operator.
        ValueError: if K has more than 4,096 points and neither structure; those functions then take K itself.

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
    found = decomposition_where_cheap(K)
    if found is None:
        raise ValueError(
            f"an eigendecomposition of {K.num_points:,} points takes too long, expected at most {EXACT_LIMIT:,} for an "
            "operator that is neither a circulant lattice nor of low rank; give the operator itself, which is then "
            "asked by products only, or a sample of the points"
        )
    return found


def decomposition_where_cheap(K: Operator | Decomposition) -> Decomposition | None:
    """That of `decompose`; None where it would take too long."""
    if isinstance(K, Decomposition):
        return K
    if isinstance(K, Lattice) and K.circulant:
        shape = K.sublattice.shape
        value = np.maximum(np.asarray(K.transform, dtype=float), 0)
        weight = np.broadcast_to(half_weights(shape), value.shape).ravel()
        return _Fourier(K, value.ravel(), weight, shape)
    if isinstance(K, LowRank) and K.rank < K.num_points:
        vectors, singular, _ = scipy.linalg.svd(np.asarray(K.factor), full_matrices=False)
        weight = np.append(np.ones(K.rank), K.num_points - K.rank)
        return _Thin(K, np.append(singular**2, 0.0), weight, vectors)
    if K.num_points > EXACT_LIMIT:
        return None
    blocks = blocks_of(K)
    pairs = [scipy.linalg.eigh(matrix, driver="evd") for matrix in blocks.matrices]
    value = np.maximum(np.concatenate([value for value, _ in pairs]), 0)
    # The matrices have done their work; the vectors are as large.
    kept = Blocks(tuple(np.empty((0, 0)) for _ in blocks.matrices), blocks.num_points)
    return _Dense(K, value, np.ones(len(value)), kept, tuple(vectors for _, vectors in pairs))


def spectral_rounding(K: Operator, largest: float) -> float:
    """Below this an eigenvalue computed from K's matrix or transform is rounding."""
    return float(K.num_points * jax.numpy.finfo(K.dtype).eps * largest)
