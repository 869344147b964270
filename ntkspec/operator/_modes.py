"""All eigenvalues and modes of an operator, for functions of it, their diagonals and traces.

Spectra, trajectories, leave-one-out, learning curves and risks all ask for the labels' power in the modes, for f(K) y,
or for the diagonal of f(K). One set of modes serves them all, for every ridge and step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
import scipy.linalg
import scipy.sparse
from jax import Array
from jaxtyping import Integer, Num, Real

from ntkspec.grid import Grid, Placement, energy_by_frequency, half_weights
from ntkspec.limits import current
from ntkspec.operator._blocks import Blocks, blocks_of

if TYPE_CHECKING:
    from ntkspec.operator._base import Operator

__all__ = ["FactorModes", "MatrixModes", "Modes", "PlaneWaves", "all_modes", "modes_by_eigh"]


@dataclass(frozen=True)
class Modes(ABC):
    """K = Σ λ_i u_i u_iᵀ; `Operator.modes` and `ns.generalisation.decompose` make one.

    Functions of K are given by their values at `eigenvalue`, several at once as columns (h, f), real or complex: the
    distinct ones in no order, shape (h,); those of a singular K may be negative by rounding. A new kind answers
    `coefficients`, `combine`, `vectors` and `_diagonal`; where a coefficient is not that of one mode, also `power`.
    """

    operator: Operator
    eigenvalue: np.ndarray

    @property
    def num_points(self) -> int:
        """Number of points n."""
        return self.operator.num_points

    @property
    def weight(self) -> np.ndarray:
        """Number of modes with each eigenvalue, shape (h,), n in all."""
        return np.ones(len(self.eigenvalue), dtype=np.int8)

    @property
    def waves(self) -> Grid | None:
        """The grid whose plane waves the modes are, `eigenvalue` in the order of `numpy.fft.rfftn`; None for others."""
        return None

    @property
    def num_vectors(self) -> int:
        """Number of leading entries of `eigenvalue` that have `vectors`."""
        return len(self.eigenvalue)

    @abstractmethod
    def coefficients(self, columns: Real[np.ndarray | Array, "n c"]) -> Num[np.ndarray | Array, "k c"]:
        """Coefficients in the modes of columns (n, c), one column each: what `combine` takes."""

    @abstractmethod
    def combine(
        self, functions: Real[np.ndarray, "h f"], coefficients: Num[np.ndarray | Array, "k c"]
    ) -> Real[np.ndarray | Array, "f n c"]:
        """f(K) y for real functions (h, f) and the `coefficients` of y, shape (f, n, c)."""

    @abstractmethod
    def vectors(self, index: Integer[np.ndarray, " k"]) -> Num[np.ndarray, "n k"]:
        """Return unit eigenvectors of the entries `index` (k,) of `eigenvalue`, shape (n, k)."""

    @abstractmethod
    def _diagonal(self, functions: Real[np.ndarray, "h f"]) -> Real[np.ndarray, "f _"]:
        """`diagonal` of real functions."""

    def power(self, columns: Real[np.ndarray, "n c"]) -> Real[np.ndarray, "h c"]:
        """Σ (u_i·y)² over the modes of each eigenvalue, columns (n, c) to (h, c)."""
        return np.asarray(self.coefficients(columns)) ** 2

    def apply(self, functions: Num[np.ndarray, "h f"], columns: Real[np.ndarray, "n c"]) -> Num[np.ndarray, "f n c"]:
        """f(K) y for functions (h, f) and columns (n, c), shape (f, n, c)."""
        coefficients = self.coefficients(columns)
        if np.iscomplexobj(functions):
            return _pair(self.combine(_real(functions), coefficients))
        return np.asarray(self.combine(functions, coefficients))

    def diagonal(self, functions: Num[np.ndarray, "h f"]) -> Num[np.ndarray, "f _"]:
        """[f(K)]_ii for functions (h, f), shape (f, n); (f, 1) where it is the same at all points."""
        if np.iscomplexobj(functions):
            return _pair(self._diagonal(_real(functions)))
        return self._diagonal(functions)

    def trace(self, functions: Num[np.ndarray, "h f"]) -> Num[np.ndarray, " f"]:
        """Return the trace tr f(K) for functions (h, f), shape (f,)."""
        return np.tensordot(self.weight.astype(float), functions, axes=1)

    def spread(self, placement: Placement) -> np.ndarray | scipy.sparse.csr_array | None:
        """How the energy in the modes of each eigenvalue lies over the frequencies of `grid.energy_by_frequency`.

        A matrix (frequency, h) whose columns add up to 1; None where it is not known.
        """
        if self.num_vectors < len(self.eigenvalue):
            return None
        return energy_by_frequency(self.vectors(np.arange(self.num_vectors)).T, placement)[0].T

    def nonnegative(self) -> Modes:
        """Return the same modes with eigenvalues in float64, none below 0."""
        return replace(self, eigenvalue=np.maximum(self.eigenvalue.astype(float, copy=False), 0))


@dataclass(frozen=True)
class PlaneWaves(Modes):
    """The plane waves of a circulant operator on a whole grid; k and −k share an entry.

    No matrix is made, so that n may be 10⁸. JAX arrays are transformed by JAX, on their device.
    """

    grid: Grid

    @property
    def weight(self) -> np.ndarray:
        return np.broadcast_to(half_weights(self.grid.shape), self._half).ravel()

    @property
    def waves(self) -> Grid:
        return self.grid

    @property
    def _half(self) -> tuple[int, ...]:
        return (*self.grid.shape[:-1], self.grid.shape[-1] // 2 + 1)

    @property
    def _axes(self) -> tuple[int, ...]:
        return tuple(range(self.grid.dim))

    def coefficients(self, columns: Real[np.ndarray | Array, "n c"]) -> Num[np.ndarray | Array, "k c"]:
        """Fourier coefficients (h, c), complex, so scaled that Σ weight |·|² is Σ y²."""
        fft = jnp.fft if isinstance(columns, jax.Array) else scipy.fft
        modes = fft.rfftn(columns.reshape(*self.grid.shape, -1), axes=self._axes, norm="ortho")
        return modes.reshape(-1, columns.shape[1])

    def combine(
        self, functions: Real[np.ndarray, "h f"], coefficients: Num[np.ndarray | Array, "k c"]
    ) -> Real[np.ndarray | Array, "f n c"]:
        fft, xp = (jnp.fft, jnp) if isinstance(coefficients, jax.Array) else (scipy.fft, np)
        half = (*self._half, -1)
        values = [
            fft.irfftn((f[:, None] * coefficients).reshape(half), s=self.grid.shape, axes=self._axes, norm="ortho")
            for f in functions.T
        ]
        return xp.stack(values).reshape(functions.shape[1], self.grid.size, -1)

    def vectors(self, index: Integer[np.ndarray, " k"]) -> Num[np.ndarray, "n k"]:
        """Complex plane waves e^{2πi k·x}/√n."""
        frequency = np.stack(np.unravel_index(index, self._half)) / np.array(self.grid.shape)[:, None]
        position = np.stack(np.unravel_index(np.arange(self.grid.size), self.grid.shape))
        return np.exp(2j * np.pi * position.T @ frequency) / np.sqrt(self.grid.size)

    def power(self, columns: Real[np.ndarray, "n c"]) -> Real[np.ndarray, "h c"]:
        return self.weight[:, None] * np.abs(self.coefficients(columns)) ** 2

    def _diagonal(self, functions: Real[np.ndarray, "h f"]) -> Real[np.ndarray, "f _"]:
        return self.trace(functions)[:, None] / self.num_points

    def spread(self, placement: Placement) -> scipy.sparse.csr_array:
        bins, frequency = placement.grid.frequency_bins()
        held = bins[..., : self._half[-1]].ravel()
        shape = (len(frequency), len(held))
        return scipy.sparse.csr_array((np.ones(len(held)), (held, np.arange(len(held)))), shape=shape)


@dataclass(frozen=True)
class MatrixModes(Modes):
    """Eigenvectors of each block of a matrix as columns, in the order of the blocks, whose matrices are given up."""

    blocks: Blocks
    basis: tuple[np.ndarray, ...]

    def _by_block(self, along: np.ndarray) -> list[np.ndarray]:
        return np.split(along, np.cumsum([len(V) for V in self.basis])[:-1])

    def coefficients(self, columns: Real[np.ndarray | Array, "n c"]) -> Real[np.ndarray, "k c"]:
        parts = zip(self.basis, self.blocks.split(np.asarray(columns)), strict=True)
        return np.concatenate([V.T @ y for V, y in parts])

    def combine(self, functions: np.ndarray, coefficients: np.ndarray | Array) -> np.ndarray:
        each = zip(self._by_block(functions), self._by_block(np.asarray(coefficients)), strict=True)
        filtered = [f[:, :, None] * y[:, None] for f, y in each]
        parts = [(V @ f.reshape(len(V), -1)).reshape(f.shape) for V, f in zip(self.basis, filtered, strict=True)]
        return np.moveaxis(self.blocks.join(tuple(parts)), 1, 0)

    def vectors(self, index: Integer[np.ndarray, " k"]) -> Num[np.ndarray, "n k"]:
        unit = np.zeros((self.num_points, len(index)))
        unit[index, np.arange(len(index))] = 1
        parts = zip(self.basis, self._by_block(unit), strict=True)
        return self.blocks.join(tuple(V @ part for V, part in parts))

    def _diagonal(self, functions: Real[np.ndarray, "h f"]) -> Real[np.ndarray, "f _"]:
        parts = zip(self.basis, self._by_block(functions), strict=True)
        return self.blocks.join_diagonals(tuple(V**2 @ f for V, f in parts)).T


@dataclass(frozen=True)
class FactorModes(Modes):
    """Left singular vectors (n, r) of a factor, its `basis`; all else has the eigenvalue 0, which is the last."""

    basis: np.ndarray

    @classmethod
    def of(cls, operator: Operator, factor: np.ndarray) -> FactorModes:
        """Return the modes of F Fᵀ."""
        basis, singular, _ = scipy.linalg.svd(np.asarray(factor), full_matrices=False)
        return cls(operator, np.append(singular**2, 0.0), basis)

    @property
    def weight(self) -> np.ndarray:
        return np.append(np.ones(self.num_vectors), self.num_points - self.num_vectors)

    @property
    def num_vectors(self) -> int:
        return self.basis.shape[1]

    def coefficients(self, columns: Real[np.ndarray | Array, "n c"]) -> Real[np.ndarray, "k c"]:
        columns = np.asarray(columns)
        known = self.basis.T @ columns
        return np.concatenate([known, columns - self.basis @ known])

    def combine(self, functions: np.ndarray, coefficients: np.ndarray | Array) -> np.ndarray:
        known, rest = np.split(np.asarray(coefficients), [self.num_vectors])
        return np.stack([f[-1] * rest + self.basis @ (f[:-1, None] * known) for f in functions.T])

    def vectors(self, index: Integer[np.ndarray, " k"]) -> Num[np.ndarray, "n k"]:
        return self.basis[:, index]

    def power(self, columns: Real[np.ndarray, "n c"]) -> Real[np.ndarray, "h c"]:
        known, rest = np.split(self.coefficients(columns), [self.num_vectors])
        return np.concatenate([known**2, np.sum(rest**2, axis=0)[None]])

    def _diagonal(self, functions: Real[np.ndarray, "h f"]) -> Real[np.ndarray, "f _"]:
        return (functions[-1] + self.basis**2 @ (functions[:-1] - functions[-1])).T


def all_modes(K: Operator, max_points: int | None = None) -> Modes | None:
    """Modes from the structure of K, else by eigendecomposition up to so many points (`exact_points`); None beyond."""
    modes = K.modes()
    if modes is None and K.num_points <= (current().exact_points if max_points is None else max_points):
        return modes_by_eigh(K)
    return modes


def modes_by_eigh(K: Operator) -> MatrixModes:
    """Eigendecomposition of the matrix, in two halves if it is its own mirror image, as on a whole lattice."""
    blocks = blocks_of(K)
    pairs = [scipy.linalg.eigh(matrix, driver="evd") for matrix in blocks.matrices]
    # The matrices have done their work; the vectors are as large.
    emptied = Blocks(tuple(np.empty((0, 0)) for _ in blocks.matrices), blocks.num_points)
    return MatrixModes(K, np.concatenate([value for value, _ in pairs]), emptied, tuple(vector for _, vector in pairs))


def _real(functions: np.ndarray) -> np.ndarray:
    """Return the real parts and then the imaginary ones: a matrix times complex columns would be made complex."""
    return np.concatenate([functions.real, functions.imag], axis=1)


def _pair(values: Any) -> np.ndarray:
    real, imaginary = np.split(values, 2)
    return real + 1j * imaginary
