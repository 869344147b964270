"""The infinitely wide ensemble: mean and covariance over initialisations of what training makes of labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from ntkspec.checks import check_labels, check_points
from ntkspec.dynamics._base import Dynamics, Loss
from ntkspec.dynamics._times import Times
from ntkspec.kernel import ComposedKernel
from ntkspec.limits import refuse_if_too_large
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.record import variable

__all__ = ["bytes_of_ensemble", "ensemble"]


def ensemble(
    k: ComposedKernel,
    x: ArrayLike,
    y: ArrayLike,
    asked: ArrayLike,
    *,
    steps: Sequence[float],
    learning_rate: float,
    loss: Loss = "sum",
    dynamics: Dynamics | None = None,
    progress: Progress = NO_PROGRESS,
) -> xr.Dataset:
    """Predictive mean and covariance of infinitely wide networks, each trained from its own random initialisation.

    An initial function f_0 is a Gaussian process of kernel 𝒦 (NNGP), and training is linear in it:
    f_t(z) = f_0(z) + A_t (y − f_0(x)) with A_t = Θ(z, x) Θ⁻¹(1 − r(Θ, t)), so that

        mean_t = A_t y,    cov_t = 𝒦(z, z) − A_t 𝒦(x, z) − 𝒦(z, x) A_tᵀ + A_t 𝒦(x, x) A_tᵀ,

    here as B Bᵀ with B = (−A_t, 1) 𝒦^{1/2} on x and z together, which is never negative. Outputs of a network are
    independent of each other, each with this covariance.

    Args:
        k: a composed kernel.
        x: training points, shape (n, d).
        y: labels, shape (n,) or (n, channels).
        asked: points z to predict at, shape (m, d); they may be training points.
        steps: training steps to report, increasing.
        learning_rate: η of the loss.
        loss: "sum" or "mean".
        dynamics: gradient descent where None.
        progress: reporter.

    Returns:
        Dataset with `prediction` (step, point[, channel]), the mean, `covariance` (step, point, other) and
        `standard_deviation` (step, point) at the asked points, whose coordinates are `x` (point, axis).

    Raises:
        ValueError: if shapes do not fit, steps do not increase, the learning rate is past the stability limit, or the
            dense matrices of n + m points would not fit in memory.

    Source: Lee et al. 2019, equations 14 to 16, for any residual filter.

    Example:
        >>> import ntkspec as ns
        >>> k = ns.kernel.compose(ns.mapping.gaussian(1, 8, scale=2.0), ns.kernel.MLP(depth=1))
        >>> x = np.array([[0.1], [0.4]])
        >>> p = ensemble(k, x, [1.0, -1.0], [[0.1], [0.25]], steps=[0, 10**6], learning_rate=1e-2)
        >>> p.prediction.round(6)[1, 0].item(), bool(p.standard_deviation[1, 0] < 1e-6 < p.standard_deviation[1, 1])
        (1.0, True)
    """
    points, wanted = check_points(x, k.dim), check_points(asked, k.dim)
    n, m = len(points), len(wanted)
    labels = np.asarray(check_labels(y, n))
    times = Times.of(n, steps, learning_rate, loss, dynamics)
    num_steps = len(times.steps)
    # A point that is asked for and trained on is one point: what the two share is then exactly the same.
    distinct, place = np.unique(np.concatenate([np.asarray(points), np.asarray(wanted)]), axis=0, return_inverse=True)
    what = f"an ensemble of {n:,} training and {m:,} asked points at {num_steps} steps"
    instead = "ask for fewer points: the mean alone at any number of points is `ntkspec.predict(K, y, ..., unseen=)`"
    refuse_if_too_large(bytes_of_ensemble(n, m, len(distinct), num_steps), what, instead)
    theta = np.asarray(k.gram(points, which="ntk", progress=progress))
    value, vector = np.linalg.eigh(theta)
    times.require_stable(float(value[-1]))
    cross = np.asarray(k.ntk(wanted, points)) @ vector
    variance, direction = np.linalg.eigh(np.asarray(k.gram(distinct, which="nngp", progress=progress)))
    root = (direction * np.sqrt(np.maximum(variance, 0)))[place.ravel()]
    # An eigenvalue below zero is one of rounding.
    weights = times.weights(np.maximum(value, 0))
    mean, covariance = np.empty((num_steps, m, *labels.shape[1:])), np.empty((num_steps, m, m))
    with progress.start("ensemble", num_steps, "steps") as stage:
        for i in range(num_steps):
            A = (cross * weights[:, i]) @ vector.T
            B = root[n:] - A @ root[:n]
            mean[i], covariance[i] = A @ labels, B @ B.T
            stage.advance()
    deviation = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    dims = ("step", "point", "channel")[: 1 + labels.ndim]
    return xr.Dataset(
        {
            "prediction": variable(dims, mean, "mean over initialisations"),
            "covariance": variable(("step", "point", "other"), covariance, "covariance of an output"),
            "standard_deviation": variable(("step", "point"), deviation, "standard deviation"),
        },
        coords=times.coordinates(wanted),
        attrs=times.attributes(kernel=k, dynamics=times.dynamics),
    )


def bytes_of_ensemble(num_points: int, num_asked: int, num_distinct: int, num_steps: int) -> int:
    """Memory that the dense matrices of an ensemble take; `num_distinct` counts a point that is both once."""
    # Kernel, eigenvectors and their product with it, on all points; the covariances.
    return 8 * (4 * num_distinct**2 + (num_steps + 2) * num_asked * (num_asked + num_points))
