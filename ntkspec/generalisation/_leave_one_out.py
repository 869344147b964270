"""What each training point would have been predicted to be without it, of all points at once."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from ntkspec.checks import as_columns, check_number
from ntkspec.dynamics import Dynamics, Loss, Times
from ntkspec.eigen._quadrature import check_resolved, precision
from ntkspec.eigen._trajectory import ConvergenceWarning
from ntkspec.generalisation._contour import Resolvents, has_resolvents, resolvents
from ntkspec.generalisation._decomposition import Decomposition, decompose
from ntkspec.generalisation._inverse import check_ridge, exact_inverse, operator_of
from ntkspec.generalisation._solve import circulant_of, solve
from ntkspec.operator import Operator, largest_eigenvalue
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.record import attributes, variable

__all__ = ["leave_one_out", "leave_one_out_path"]


def leave_one_out(
    K: Operator | Decomposition,
    y: ArrayLike,
    *,
    ridge: float,
    num_probes: int = 32,
    tolerance: float = 1e-8,
    max_products: int = 2048,
    seed: int = 0,
    progress: Progress = NO_PROGRESS,
) -> xr.Dataset:
    """Return the residual of every point in a ridge regression on the others: y_i − f_{−i}(x_i) = [A⁻¹y]_i / [A⁻¹]_ii.

    A = K + δI. No regression is done again: the identity is exact. So is the computation on circulant lattices (by FFT;
    all [A⁻¹]_ii are the same), for low-rank factors, from a `decompose`d operator, and up to n = 4,096 points (by
    Cholesky). Beyond, A⁻¹y is solved by conjugate gradients, and the diagonal estimated from random signs z as the mean
    of z_i [A⁻¹z]_i; on a whole lattice only its difference from that of the nearest circulant matrix is.

    Args:
        K: a kernel operator on n points, or `decompose(K)`.
        y: labels, shape (n,) or (n, channels).
        ridge: δ ≥ 0, in units of eigenvalues: above K's `approximation_error`, where that is not 0, and above rounding
            where A is solved by products only.
        num_probes: random vectors, where they are needed.
        tolerance: on the relative residual of the solutions.
        max_products: operator products a vector, at most.
        seed: seed of the vectors.
        progress: reporter.

    Returns:
        Dataset with `residual` (point[, channel]) and `prediction`, y less that; `residual_standard_error`, over the
        probes; `mean_squared_error` of the residuals over points and channels, with `standard_error` (both by the
        jackknife over probes, which takes out the bias of 1/[A⁻¹]_ii²); and `generalised`, the same with the mean of
        the diagonal in place of each entry (generalised cross-validation). Standard errors are 0 where all is exact.
        `solution_error` is the largest ‖y − Ax‖/‖y‖. Attributes: `exact`, `converged`, `num_products`.

    Warns:
        ConvergenceWarning: if a solution is short of the tolerance.

    Raises:
        ValueError: if the labels do not fit, or the ridge is not resolved.

    Source: Craven & Wahba 1978, "Smoothing noisy data with spline functions", section 3; Rasmussen & Williams 2006,
    equation 5.12; for the estimate, Bekas, Kokiopoulou & Saad 2007, "An estimator for the diagonal of a matrix".

    Example:
        >>> import ntkspec as ns, numpy as np
        >>> k = ns.kernel.compose(ns.mapping.gaussian(1, 16, scale=2.0), ns.kernel.MLP(depth=2))
        >>> K = ns.operator.lattice(k, shape=(64,))
        >>> y = np.sin(2 * np.pi * K.points[:, 0])
        >>> bool(ns.generalisation.leave_one_out(K, y, ridge=1e-3).mean_squared_error < 1e-2)
        True
    """
    operator = operator_of(K)
    columns, restore = as_columns(y, operator.num_points)
    ridge = check_ridge(operator, ridge)
    inverse = exact_inverse(K, columns, ridge, "ridge")
    if inverse is not None:
        solution, diagonal = inverse.solution, inverse.diagonal
        residual = solution / diagonal[:, None]
        scatter, mean = np.zeros(1), (np.mean(residual**2), 0.0)
        solution_error, num_products = 0.0, 0
    else:
        check_resolved(operator, ridge, precision(operator) * largest_eigenvalue(operator), "ridge")
        check_number("num_probes", num_probes, 2, hint="vectors, whose scatter gives an error bar")
        signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(num_probes, len(columns)))
        right = jnp.asarray(np.concatenate([columns.T, signs]))
        solved = solve(operator, right, ridge, tolerance=tolerance, max_steps=max_products, progress=progress)
        solution = solved.columns[: columns.shape[1]].T
        diagonal = _diagonal_samples(operator, ridge, signs, solved.columns[columns.shape[1] :])
        least, most = 1 / (np.asarray(operator.diagonal(), dtype=float) + ridge), 1 / ridge
        estimate = np.clip(diagonal.mean(axis=0), least, most)
        residual = solution / estimate[:, None]
        scatter = diagonal.std(axis=0, ddof=1) / np.sqrt(num_probes) / estimate
        mean = _jackknife(solution, diagonal, least, most)
        solution_error, num_products = float(solved.error.max()), solved.num_products
    if inverse is None and solution_error > tolerance:
        warnings.warn(
            f"after {num_products} products a solution has a relative residual of {solution_error:.2g}, above the "
            f"tolerance {tolerance:.2g}; take more max_products, or a larger ridge",
            ConvergenceWarning,
            stacklevel=2,
        )
    standard_error, generalised = np.abs(residual) * scatter[:, None], np.mean(solution**2) / np.mean(diagonal) ** 2
    return xr.Dataset(
        {
            **_residuals(restore(columns), restore(residual), ("point", "channel")),
            "residual_standard_error": variable(
                ("point", "channel")[: np.ndim(y)], restore(standard_error), "standard error over the probes"
            ),
            "mean_squared_error": variable((), mean[0], "mean square of the residuals"),
            "standard_error": variable((), mean[1], "standard error of the mean square over the probes"),
            "generalised": variable((), generalised, "generalised cross-validation"),
            "solution_error": variable((), solution_error, "largest relative residual of a solution"),
        },
        attrs={
            **attributes(operator=operator),
            "ridge": ridge,
            "exact": int(inverse is not None),
            "converged": int(inverse is not None or solution_error <= tolerance),
            "num_products": num_products,
        },
    )


def _residuals(labels: np.ndarray, residual: np.ndarray, dims: tuple[str, ...]) -> dict[str, tuple]:
    dims = dims[: residual.ndim]
    return {
        "residual": variable(dims, residual, "label less its prediction from the other points"),
        "prediction": variable(dims, labels - residual, "prediction from the other points"),
    }


def _diagonal_samples(K: Operator, ridge: float, signs: np.ndarray, solutions: np.ndarray) -> np.ndarray:
    """Unbiased samples (p, n) of the diagonal of A⁻¹, by the difference from a circulant inverse where there is one."""
    circulant = circulant_of(K, ridge)
    if circulant is None:
        return signs * solutions
    known = np.stack([np.asarray(circulant(jnp.asarray(z))) for z in signs])
    return signs * (solutions - known) + circulant.diagonal()


def _jackknife(solution: np.ndarray, samples: np.ndarray, least: np.ndarray, most: float) -> tuple[float, float]:
    """Return the mean square of solution / mean of samples, and its standard error."""
    count, power = len(samples), np.mean(solution**2, axis=1)
    total = samples.sum(axis=0)

    def of(diagonal: np.ndarray) -> float:
        return float(np.mean(power / np.clip(diagonal, least, most) ** 2))

    without = np.array([of((total - sample) / (count - 1)) for sample in samples])
    mean = count * of(total / count) - (count - 1) * without.mean()
    return mean, float(np.sqrt((count - 1) / count * np.sum((without - without.mean()) ** 2)))


def leave_one_out_path(
    K: Operator | Decomposition,
    y: ArrayLike,
    *,
    steps: Sequence[float],
    learning_rate: float,
    loss: Loss = "sum",
    dynamics: Dynamics | None = None,
    tolerance: float = 1e-8,
) -> xr.Dataset:
    """Return the residual of every point at every step, had training been done on all the others.

    **Exact** for gradient flow and gradient descent, each with or without a ridge: training is a sum of ridge
    regressions with complex ridges s_j (`ntkspec.generalisation._contour`), and for each the leave-one-out identity
    holds, y_i − f_{−i}(x_i, t) = y_i − Re Σ_j c_j (y_i − [(K + s_j)⁻¹y]_i / [(K + s_j)⁻¹]_ii).

    **An approximation** for every other dynamics: [r(K, t) y]_i / [r(K, t)]_ii, the identity of ridge regression, of
    another linear smoother. It is right at step 0 and at the end of training with a ridge, and no more than a guide
    between. For gradient flow, where both can be had, the root mean square of its residuals was within 4 % of the exact
    one up to ηλ_max t = 10, 0.2 to 1 times it at 100, 0.15 to 1.2 times at 10³, and off by factors up to 30 at 10⁵ (two
    kernels on 256 and 576 points; sine, step, photograph and noise).

    Args:
        K: a kernel operator on n points that `decompose` takes, or its decomposition.
        y: labels, shape (n,) or (n, channels).
        steps: training steps to report, increasing.
        learning_rate: η of the loss on all n points; every point is left out at the same rate of the summed loss.
        loss: "sum" or "mean".
        dynamics: gradient descent where None.
        tolerance: on `error_bound`.

    Returns:
        Dataset over `step` with `residual` (step, point[, channel]), `prediction`, y less that, `mean_squared_error`
        (step) over points and channels, and `error_bound` (step), on the error of every residual relative to ‖y‖
        (root-sum-square over points and channels) that the contour makes, beside rounding; NaN for the approximation,
        as are its residuals where nothing is left to learn. Attribute: `exact`.

    Warns:
        ConvergenceWarning: if an error bound is above the tolerance, as for many steps of descent with ηλ_max near 2.

    Raises:
        ValueError: if the labels do not fit, steps do not increase, the learning rate is past the stability limit, or
            K has more than 4,096 points and no structure.

    Source: Craven & Wahba 1978 for ridge regression; Trefethen, Weideman & Schmelzer 2006 for the contour.

    Example:
        >>> import ntkspec as ns, numpy as np
        >>> k = ns.kernel.compose(ns.mapping.gaussian(1, 16, scale=2.0), ns.kernel.MLP(depth=2))
        >>> K = ns.operator.lattice(k, shape=(64,))
        >>> y = np.sin(2 * np.pi * K.points[:, 0])
        >>> left = ns.generalisation.leave_one_out_path(K, y, steps=[0, 100], learning_rate=1 / 64)
        >>> bool(left.mean_squared_error[0] == np.mean(y**2)), bool(left.mean_squared_error[1] < 0.5)
        (True, True)
    """
    modes = decompose(K)  # type: ignore[arg-type]  # a decomposition is its own
    columns, restore = as_columns(y, modes.num_points)
    times = Times.of(modes.num_points, steps, learning_rate, loss, dynamics)
    largest = float(modes.eigenvalue.max())
    times.require_stable(largest)
    exact = has_resolvents(times.dynamics)
    if exact:
        sums = resolvents(times, largest)
        residual = np.stack([_left_out(modes, columns, each) for each in sums])
        # k_i = K_{−i}^{1/2} v with |v|² ≤ K_ii, and the eigenvalues of K_{−i} lie within those of K.
        greatest = float(np.max(np.asarray(modes.operator.diagonal())))
        bound = np.sqrt(greatest * modes.num_points) * np.array([each.error for each in sums])
    else:
        residual, bound = _smoothed(modes, columns, times), np.full(len(times.steps), np.nan)
    if exact and bound.max() > tolerance:
        warnings.warn(
            f"the error bound of the contour is {bound.max():.2g} of the labels, above the tolerance {tolerance:.2g}; "
            "take a smaller learning rate, or gradient_flow()",
            ConvergenceWarning,
            stacklevel=2,
        )
    return xr.Dataset(
        {
            **_residuals(restore(columns), restore(residual), ("step", "point", "channel")),
            "mean_squared_error": variable("step", np.mean(residual**2, axis=(1, 2)), "mean square of the residuals"),
            "error_bound": variable("step", bound, "bound on the residuals' error relative to the labels"),
        },
        coords={"step": times.coordinate()},
        attrs={
            **times.attributes(operator=modes.operator, dynamics=times.dynamics),
            "exact": int(exact),
        },
    )


def _left_out(K: Decomposition, columns: np.ndarray, sums: Resolvents) -> np.ndarray:
    """Return the residuals (n, c) of left-out points at one step."""
    inverse = 1 / (K.eigenvalue[:, None] + sums.shift)
    solution, diagonal = K.apply(inverse, columns), K.diagonal(inverse)
    predicted = columns - solution / diagonal[:, :, None]
    return columns - np.tensordot(sums.coefficient, predicted, axes=1).real


def _smoothed(K: Decomposition, columns: np.ndarray, times: Times) -> np.ndarray:
    """Return the same by the identity of a linear smoother, shape (t, n, c)."""
    left = times.residual(K.eigenvalue)
    with np.errstate(divide="ignore", invalid="ignore"):
        return K.apply(left, columns) / K.diagonal(left)[:, :, None]
