"""Every eigenvalue, where that is cheap: circulant lattices by their transform, small operators by eigendecomposition."""

from __future__ import annotations

import numpy as np

from ntkspec.operator import Lattice, Operator

__all__ = ["DENSE_LIMIT", "all_eigenvalues", "half_weights"]

#: Up to this size a dense eigendecomposition (about a second) gives every mode.
DENSE_LIMIT = 1024


def all_eigenvalues(K: Operator) -> tuple[np.ndarray, np.ndarray] | None:
    """The eigenvalues, in no order, and how often each is meant; None where they would be dear.

    On a circulant lattice this is the half spectrum (k and −k share a value), as it lies in memory.
    """
    if isinstance(K, Lattice) and K.circulant:
        return np.asarray(K.transform).ravel(), np.broadcast_to(half_weights(K), K.transform.shape).ravel()
    if K.num_points <= DENSE_LIMIT:
        return np.linalg.eigvalsh(np.asarray(K.to_dense())), np.ones(K.num_points, dtype=np.int8)
    return None


def half_weights(K: Lattice) -> np.ndarray:
    """How many of ±k each column of the half spectrum along the last axis stands for: 1 or 2."""
    last = K.sublattice.shape[-1]
    weight = np.full(last // 2 + 1, 2, dtype=np.int8)
    weight[0] = 1
    if last % 2 == 0:
        weight[-1] = 1
    return weight
