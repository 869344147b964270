"""Generalised cross-validation: the error on unseen points that the training error and the degrees of freedom tell."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from ntkspec.checks import check_labels, check_steps
from ntkspec.dynamics import Dynamics, Loss, gradient_descent, summed_rate
from ntkspec.eigen import trace_of
from ntkspec.eigen.quadrature import Quadrature, quadrature
from ntkspec.eigen.trajectory import ConvergenceWarning
from ntkspec.generalisation.decomposition import Decomposition, decomposition_where_cheap
from ntkspec.generalisation.inverse import operator_of
from ntkspec.generalisation.tables import Sampling, check_training, step_coordinate, variable
from ntkspec.operator import Operator, largest_eigenvalue
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.record import attributes

__all__ = ["cross_validation"]

#: A filter at all steps: eigenvalues (k,) to (k, t).
Filters = Callable[[np.ndarray], np.ndarray]

#: On the residual's energy, relative.
QUADRATURE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class _Parts:
    """‖r y‖² (t,) of all channels with its error, and tr r (t,) with its standard error and all other errors."""

    energy: np.ndarray
    energy_error: np.ndarray
    trace: np.ndarray
    standard_error: np.ndarray
    trace_error: np.ndarray
    num_products: int


def cross_validation(
    K: Operator | Decomposition,
    y: ArrayLike,
    *,
    steps: Sequence[float],
    learning_rate: float,
    loss: Loss = "sum",
    dynamics: Dynamics | None = None,
    num_probes: int = 16,
    num_exact: int = 8,
    max_steps: int = 512,
    seed: int = 0,
    progress: Progress = NO_PROGRESS,
) -> xr.Dataset:
    """Generalised cross-validation of training stopped at each step, n ‖r(K, t) y‖² / (tr r(K, t))² a channel.

    The leave-one-out error with the mean of 1 − S_ii = [r(K, t)]_ii in place of each, for any dynamics. Exact (as a
    formula) where these are all the same, as on a circulant lattice, and the dynamics is ridge regression; see
    `leave_one_out_path` for how good the formula is for others.

    Computed exactly on circulant lattices, for low-rank factors, from a `decompose`d operator and up to n = 4,096
    points; beyond, ‖r y‖² is by Gauss quadrature of the labels' spectral measure, tr r by that of random vectors.

    Args:
        K: a kernel operator on n points, or `decompose(K)`.
        y: labels, shape (n,) or (n, channels).
        steps: training steps to report, increasing.
        learning_rate: η of the loss.
        loss: "sum" or "mean".
        dynamics: gradient descent where None.
        num_probes: random vectors for the trace.
        num_exact: directions that carry the leading modes, summed without sampling.
        max_steps: Lanczos steps a vector, at most.
        seed: of the vectors.
        progress: reporter.

    Returns:
        Dataset over `step`: `mean_squared_error`, the mean over channels; its `standard_error` over the probes and
        `numerical_error`, of the quadratures and of K's `approximation_error` (to first order); `train_error`, the mean
        square of the residual at the training points; `degrees_of_freedom`, tr(1 − r). NaN where both traces have
        vanished. Attributes: `best_step`, the asked one with the least error, `num_products`, `converged`.

    Warns:
        ConvergenceWarning: if the energy of the residual is not known to a part in a thousand, or as `trace_of`.

    Raises:
        ValueError: if labels or steps are no good, or the learning rate is past the stability limit.

    Source: Golub, Heath & Wahba 1979, "Generalized cross-validation as a method for choosing a good ridge parameter";
    for early stopping, Yao, Rosasco & Caponnetto 2007.

    Example:
        >>> import ntkspec as ns, numpy as np
        >>> k = ns.kernel.compose(ns.mapping.power_law(16, p=1.0), ns.kernel.MLP(depth=2))
        >>> K = ns.operator.lattice(k, shape=(64,))
        >>> y = np.sin(2 * np.pi * K.points[:, 0])
        >>> found = ns.generalisation.cross_validation(K, y, steps=[0, 10, 100], learning_rate=1 / 64)
        >>> bool(found.mean_squared_error[0] == np.mean(y**2)), found.attrs["best_step"]
        (True, 100.0)
    """
    operator = operator_of(K)
    labels = np.asarray(check_labels(y, operator.num_points), dtype=float)
    asked = check_steps(steps)
    rate = summed_rate(learning_rate, operator.num_points, loss)
    dynamics = (gradient_descent() if dynamics is None else dynamics).at(rate)
    columns = labels.reshape(len(labels), -1)

    def left(eigenvalue: np.ndarray) -> np.ndarray:
        return dynamics.residual(rate * eigenvalue[:, None], asked)

    modes = decomposition_where_cheap(K)
    check_training(largest_eigenvalue(operator) if modes is None else modes.eigenvalue.max(), rate, dynamics, asked)
    if modes is None:
        parts = _by_quadrature(operator, columns, left, Sampling(num_probes, num_exact, max_steps, seed, progress))
    else:
        parts = _by_modes(modes, columns, left)
    n, count = columns.shape
    with np.errstate(divide="ignore", invalid="ignore"):
        # The quotient first: both may be tiny.
        value = n / count * parts.energy / parts.trace / parts.trace
        standard_error = 2 * value * parts.standard_error / np.abs(parts.trace)
        numerical_error = value * (parts.energy_error / parts.energy + 2 * parts.trace_error / np.abs(parts.trace))
    converged = bool((parts.energy_error <= QUADRATURE_TOLERANCE * parts.energy).all())
    if not converged:
        warnings.warn(
            "the energy of the residual is not known to a part in a thousand at every step; take more max_steps, or "
            "fewer training steps (`numerical_error` tells which are good)",
            ConvergenceWarning,
            stacklevel=2,
        )
    return xr.Dataset(
        {
            "mean_squared_error": variable("step", value, "generalised cross-validation"),
            "standard_error": variable("step", standard_error, "standard error over the probes"),
            "numerical_error": variable("step", numerical_error, "error of quadrature and operator"),
            "train_error": variable("step", parts.energy / columns.size, "mean square at the training points"),
            "degrees_of_freedom": variable("step", n - parts.trace, "degrees of freedom tr(1 − r)", "modes"),
        },
        coords={"step": step_coordinate(asked)},
        attrs={
            **attributes(operator=operator, dynamics=dynamics),
            "learning_rate": learning_rate,
            "loss": loss,
            "best_step": float(asked[np.nanargmin(value)]) if np.isfinite(value).any() else float("nan"),
            "num_products": parts.num_products,
            "converged": int(converged),
        },
    )


def _by_modes(K: Decomposition, columns: np.ndarray, left: Filters) -> _Parts:
    residual = left(K.eigenvalue)
    energy = K.power(columns).sum(axis=1) @ residual**2
    zero = np.zeros_like(energy)
    error = K.operator.approximation_error
    moved = K.trace(np.abs(left(K.eigenvalue + error) - residual)) if error else zero
    return _Parts(energy, zero, K.trace(residual), zero, moved, num_products=0)


def _by_quadrature(
    K: Operator,
    columns: np.ndarray,
    left: Filters,
    sampling: Sampling,
) -> _Parts:
    def energy(rules: Quadrature) -> tuple[np.ndarray, np.ndarray]:
        gauss, radau = (rule(lambda x: left(x) ** 2).sum(axis=0) for rule in (rules.integrate, rules.integrate_radau))
        return (gauss + radau) / 2, np.abs(gauss - radau) / 2

    def excess(rules: Quadrature) -> float:
        value, error = energy(rules)
        return float(np.max(error - QUADRATURE_TOLERANCE * value))

    rules = quadrature(
        K, jnp.asarray(columns.T), excess, tolerance=0.0, max_steps=sampling.max_steps, progress=sampling.progress
    )
    trace = trace_of(K, left, **vars(sampling))
    return _Parts(
        *energy(rules),
        trace.trace.values,
        trace.standard_error.values,
        trace.quadrature_error.values + trace.operator_error.values,
        num_products=rules.num_steps * columns.shape[1] + trace.attrs["num_products"],
    )
