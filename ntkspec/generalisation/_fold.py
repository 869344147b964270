"""What a regular training grid makes of frequencies: a stationary kernel's spectrum folded, in closed form.

On every s-th point of a periodic lattice the frequencies k + M j are the same wave, M the points of the grid. The
grid's matrix has the eigenvalue Λ̄_m = Σ_alias Λ_k / s^d, and training spreads what it learns of m over all its aliases
in proportion to Λ:

    f̂_k = (1 − r(Λ̄_m, t)) Λ_k/Σ_alias Λ · Σ_alias f_k',   k, k' ≡ m.

Source: theory of sampling; Tancik et al. 2020, section 4, for why the spectrum of the grid's matrix matters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ntkspec.dynamics import Times
from ntkspec.operator import Lattice, Operator, lattice

__all__ = ["Fold", "fold_of"]


@dataclass(frozen=True)
class Fold:
    """The aliases of a training grid in a periodic lattice; arrays "by alias" have shape (..., S, M_1, …, M_d).

    Of K on the grid: the share Λ_k/Σ_alias Λ by alias, the eigenvalues Λ̄ of its matrix (*M), and the phase e^{2πi k·o}
    of the grid's origin o by alias.
    """

    operator: Lattice
    share: np.ndarray
    eigenvalue: np.ndarray
    phase: np.ndarray

    @property
    def full(self) -> tuple[int, ...]:
        """The whole lattice."""
        return self.operator.sublattice.full

    @property
    def train(self) -> tuple[int, ...]:
        """Points of the grid on each axis, M."""
        return self.operator.sublattice.shape

    def by_alias(self, values: np.ndarray) -> np.ndarray:
        """Values (..., *full) over frequencies as (..., S, *M)."""
        return _by_alias(values, self.full, self.train)

    def over_frequencies(self, values: np.ndarray) -> np.ndarray:
        """Back to (..., *full)."""
        lead, dim = values.shape[: values.ndim - 1 - len(self.full)], len(self.full)
        turns = tuple(n // m for n, m in zip(self.full, self.train, strict=True))
        values = values.reshape(*lead, *turns, *self.train)
        order = [len(lead) + i + j * dim for i in range(dim) for j in range(2)]
        return values.transpose(*range(len(lead)), *order).reshape(*lead, *self.full)

    def learned(self, times: Times) -> np.ndarray:
        """1 − r(Λ̄, t) of each frequency of the grid, shape (t, *M)."""
        return np.moveaxis(times.learned(self.eigenvalue), -1, 0)


def fold_of(K: Operator) -> Fold:
    """Return the fold of a training grid, and refuse any other operator."""
    instead = "for other lattice operators ns.predict(K, y, ..., everywhere=True) gives the learned function itself"
    if not isinstance(K, Lattice):
        what = f"`K` is a {type(K).__name__}; frequencies fold only for a stationary kernel on a regular grid"
        raise TypeError(
            f"{what}: give ns.operator.lattice(k, shape, mask), the mask keeping every s-th point; {instead}"
        )
    if not K.sublattice.periodic:
        what = "the kernel does not have period 1, so that its grid has edges and plane waves are not its modes"
        raise ValueError(f"{what}; use a mapping of whole frequencies (power_law, positional, basic); {instead}")
    if not K.circulant:
        what = f"the points are no regular grid of the lattice {K.sublattice.full} that closes upon itself"
        raise ValueError(f"{what}; expected a mask that keeps every s-th point, s a divisor of each size; {instead}")
    full, train = K.sublattice.full, K.sublattice.shape
    whole = lattice(K.kernel, full, which=K.which)
    value = _by_alias(np.fft.fftn(np.asarray(whole.lags())).real.clip(min=0), full, train)
    total = value.sum(axis=0)
    share = np.divide(value, total, out=np.zeros_like(value), where=total > 0)
    axes = [np.fft.fftfreq(n, 1 / n) * o / n for n, o in zip(full, K.sublattice.start, strict=True)]
    phase = np.exp(2j * np.pi * sum(np.meshgrid(*axes, indexing="ij")))
    return Fold(K, share, total / len(value), _by_alias(phase, full, train))


def _by_alias(values: np.ndarray, full: tuple[int, ...], train: tuple[int, ...]) -> np.ndarray:
    lead, dim = values.shape[: values.ndim - len(full)], len(full)
    turns = tuple(n // m for n, m in zip(full, train, strict=True))
    pairs = [size for both in zip(turns, train, strict=True) for size in both]
    first = len(lead)
    order = [first + 2 * i for i in range(dim)] + [first + 2 * i + 1 for i in range(dim)]
    split = values.reshape(*lead, *pairs).transpose(*range(first), *order)
    return split.reshape(*lead, math.prod(turns), *train)
