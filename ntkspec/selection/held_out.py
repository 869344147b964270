"""Held-out prediction: what a kernel trained on some of the training points makes of the others, without training."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from ntkspec.dynamics import Dynamics, max_learning_rate
from ntkspec.eigen.trajectory import trajectory
from ntkspec.kernel import ComposedKernel
from ntkspec.selection.samples import Samples

__all__ = ["folds", "held_out_error"]

#: On the error bound of the learned function, relative to the labels: 60 dB below them.
TOLERANCE = 1e-4
#: Operator products at most; what has not converged by then says so through its error bound.
MAX_PRODUCTS = 512


def folds(num_points: int, count: int, part: float, seed: int) -> np.ndarray:
    """Which points each fold holds out, boolean (count, n): disjoint ones while there are enough points.

    Args:
        num_points: n.
        count: number of folds.
        part: of the points that a fold holds out.
        seed: of the permutation.

    Returns:
        True where held out; every fold holds out as many.
    """
    size = max(1, int(part * num_points))
    order = np.random.default_rng(seed).permutation(num_points)
    held = np.zeros((count, num_points), dtype=bool)
    for i in range(count):
        held[i, np.take(order, np.arange(i * size, (i + 1) * size), mode="wrap")] = True
    return held


def held_out_error(
    samples: Samples, k: ComposedKernel, held: np.ndarray, steps: np.ndarray, dynamics: Dynamics
) -> tuple[np.ndarray, float]:
    """Squared error on points that are held out, along the training on the others.

    Steps are those at half the stability limit of the kernel on the points that are kept.

    Args:
        samples: points and labels.
        k: the kernel.
        held: True at the points to hold out, shape (n,).
        steps: shape (t,).
        dynamics: of the training.

    Returns:
        The squared error of each point and channel, shape (t, channel, held), and the largest bound on the relative
        error of the learned function.
    """
    K = samples.operator(k, ~held)
    labels = samples.labels[~held].T
    rate = max_learning_rate(K, dynamics=dynamics) / 2
    path = trajectory(K, jnp.asarray(labels), steps, rate, dynamics, tolerance=TOLERANCE, max_products=MAX_PRODUCTS)
    truth = samples.labels[held].T
    error = np.stack([samples.expand(k, K, np.asarray(weights), held) - truth for weights in path.weights])
    return error**2, float(path.error_bound.max())
