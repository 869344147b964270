"""How fast each frequency of the labels is learned."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from ntkspec.checks import as_columns
from ntkspec.dynamics import Dynamics, Loss, Times
from ntkspec.eigen._trajectory import trajectory, warn_unless_converged
from ntkspec.grid import energy_by_frequency
from ntkspec.operator import Operator
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.record import variable

__all__ = ["convergence"]


def convergence(
    K: Operator,
    y: ArrayLike,
    *,
    steps: Sequence[float],
    learning_rate: float,
    loss: Loss = "sum",
    dynamics: Dynamics | None = None,
    tolerance: float = 1e-6,
    max_products: int = 1024,
    progress: Progress = NO_PROGRESS,
) -> xr.Dataset:
    """Return the energy of the residual r(K, t) y in each frequency band, step by step.

    E(f, t) = Σ_{|k| in f} |Σ_j [r(K, t) y]_j e^{−2πi k·x_j}|² / N, so that Σ_f E = ‖residual‖².

    Args:
        K: an operator on lattice points.
        y: labels, shape (n,) or (n, channels); channels are added up.
        steps: training steps to report.
        learning_rate: η of the loss.
        loss: "sum" or "mean".
        dynamics: gradient descent where None.
        tolerance: on the residual's error relative to ‖y‖.
        max_products: operator products at most.
        progress: reporter.

    Returns:
        Dataset with `residual_energy` (step, frequency), `target_energy` (frequency) and `error_bound` (step), on the
        norm of the residual relative to ‖y‖; the coordinate `frequency` is in cycles per unit.

    Warns:
        ConvergenceWarning: if the error bound is above the tolerance.

    Raises:
        ValueError: if the points are not on a lattice, labels or steps are not accepted, or the learning rate is
            past the stability limit.

    Example:
        >>> import ntkspec as ns, numpy as np
        >>> k = ns.kernel.compose(ns.mapping.power_law(16, p=1.0), ns.kernel.MLP(depth=3))
        >>> K = ns.operator.lattice(k, shape=(32,))
        >>> y = np.cos(2 * np.pi * K.points[:, 0]) + np.cos(2 * np.pi * 5 * K.points[:, 0])
        >>> c = ns.eigen.convergence(K, y, steps=[0, 100], learning_rate=ns.dynamics.max_learning_rate(K) / 2)
        >>> left = c.residual_energy.sel(step=100) / c.target_energy
        >>> bool(left.sel(frequency=1) < left.sel(frequency=5))
        True
    """
    placement = K.placement
    if placement is None:
        what = (
            "the points are scattered, or are measurements with no place on a lattice, so frequencies are not defined"
        )
        raise ValueError(f"{what}; use points of a regular lattice (holes are fine: operator.lattice(k, shape, mask))")
    channels = as_columns(y, K.num_points)[0].T
    times = Times.of(K.num_points, steps, learning_rate, loss, dynamics)
    path = trajectory(
        K, jnp.asarray(channels), times, tolerance=tolerance, max_products=max_products, progress=progress
    )
    warn_unless_converged(path.error_bound, tolerance)
    residual, frequency = energy_by_frequency(channels - np.asarray(path.learned), placement)
    target, _ = energy_by_frequency(channels, placement)
    return xr.Dataset(
        {
            "residual_energy": variable(("step", "frequency"), residual.sum(axis=1), "energy of the residual"),
            "target_energy": variable("frequency", target.sum(axis=0), "energy of the labels"),
            "error_bound": variable("step", path.error_bound, "bound on the residual's error relative to the labels"),
        },
        coords={
            "step": times.coordinate(),
            "frequency": variable("frequency", frequency, "frequency", "cycles per unit"),
        },
        attrs={
            **times.attributes(operator=K, dynamics=times.dynamics),
            "num_products": path.num_products,
            "converged": int(path.error_bound.max() <= tolerance),
        },
    )
