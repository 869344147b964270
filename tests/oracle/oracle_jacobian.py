"""The empirical NTK from whole Jacobians."""

import jax
import numpy as np


def kernels(apply, params, x, z):
    """∇f_c(x_i)·∇f_d(x_j) and ∇f_c(x_i)·∇f_d(z_j), shapes (n, n, c, c) and (n, k, c, c)."""
    both = _jacobian(apply, params, np.concatenate([x, z]))
    rows = [both[: len(x)], both[len(x) :]]
    return tuple(np.einsum("icp,jdp->ijcd", rows[0], other) for other in rows)


def _jacobian(apply, params, x):
    leaves = jax.tree.leaves(jax.jit(jax.jacrev(lambda p: apply(p, x)))(params))
    return np.concatenate([np.asarray(leaf).reshape(*leaf.shape[:2], -1) for leaf in leaves], axis=2)
