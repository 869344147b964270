"""How much of the labels lies in the eigenvectors that are learned first."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from ntkspec.checks import as_columns
from ntkspec.eigen._density import density, steps_taken, sum_reaching
from ntkspec.eigen._quadrature import quadrature
from ntkspec.limits import current
from ntkspec.operator import Operator
from ntkspec.operator._modes import all_modes
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.record import attributes, variable

__all__ = ["alignment"]


def alignment(
    K: Operator,
    y: ArrayLike,
    *,
    eigenvalue: ArrayLike | None = None,
    num_probes: int = 16,
    num_exact: int = 8,
    num_steps: int = 96,
    seed: int = 0,
    progress: Progress = NO_PROGRESS,
) -> xr.Dataset:
    """Return the cumulative power of labels, C(λ) = Σ_{λ_i ≥ λ} (u_i·y)² / ‖y‖², against eigenvalue and rank.

    A kernel learns what lies in its leading eigenvectors, from few points and in few steps: the earlier C rises in
    the rank N(λ) = #{i: λ_i ≥ λ}, the better kernel and task fit. By levels of λ and not one by one, because
    eigenvectors of equal eigenvalues are not unique, and their common power is.

    Exact where the operator knows its modes (a circulant lattice, by one FFT) and up to n = 4,096 points; beyond, C is
    the spectral measure of y, by one Lanczos run, and the rank is that of `density`.

    Args:
        K: a kernel operator on n points.
        y: labels, shape (n,) or (n, channels); the power of channels is added up.
        eigenvalue: levels λ > 0, in any order (those of a spectrum give every rank); None takes those of `density`.
        num_probes: random vectors for the rank.
        num_exact: directions that carry the leading modes, counted without sampling.
        num_steps: Lanczos steps for power and rank.
        seed: seed of the vectors.
        progress: reporter.

    Returns:
        Dataset over the levels `eigenvalue` (ascending): `cumulative_power` C(λ) in [0, 1] with
        `cumulative_power_error`, the distance to the further of its bounds; `rank` N(λ) with `rank_standard_error`,
        `rank_quadrature_error` and `rank_operator_error`, as the count of `density`. C is that of the operator as it
        is: its error, 0 where all eigenvectors are known, does not say what an `approximation_error` does to them.

    Raises:
        ValueError: if the labels do not fit K or are all 0, or as `density`.

    Source: Canatar, Bordelon & Pehlevan 2021, "Spectral bias and task-model alignment explain generalization in kernel
    regression and infinitely wide neural networks" (the cumulative power distribution).

    Example:
        >>> import ntkspec as ns, numpy as np
        >>> k = ns.kernel.compose(ns.mapping.power_law(16, p=1.0), ns.kernel.MLP(depth=3))
        >>> K = ns.operator.lattice(k, shape=(32,))
        >>> y = 1 + np.cos(2 * np.pi * K.points[:, 0])
        >>> c = ns.eigen.alignment(K, y, eigenvalue=ns.eigen.spectrum(K, num_modes=3).eigenvalue)
        >>> c["rank"].values.tolist(), c.cumulative_power.values.round(12).tolist()
        ([3.0, 1.0], [1.0, 0.666666666667])
    """
    columns = as_columns(y, K.num_points)[0].T
    total = float(np.sum(columns**2))
    if total == 0:
        raise ValueError("the labels are all 0, so no part of them lies anywhere; expected labels to be learned")
    steps = steps_taken(num_steps, K)
    count = density(
        K,
        eigenvalue=eigenvalue,
        num_probes=num_probes,
        num_exact=num_exact,
        num_steps=num_steps,
        seed=seed,
        progress=progress,
    )
    levels, num_products = count.eigenvalue.values, count.attrs["num_products"]
    modes = all_modes(K, current().cheap_points)
    if modes is not None:
        power = sum_reaching(modes.eigenvalue, modes.power(columns.T).sum(axis=1), levels) / total
        error = np.zeros_like(power)
    else:
        rules = quadrature(K, jnp.asarray(columns), lambda _: np.inf, tolerance=0.0, max_steps=steps, progress=progress)
        estimate, lower, upper = (each.sum(axis=0) / total for each in rules.above(levels))
        power, error = estimate, np.maximum(upper - estimate, estimate - lower)
        num_products += rules.num_products
    along = partial(variable, "eigenvalue")
    return xr.Dataset(
        {
            "cumulative_power": along(power, "part of the labels' power at eigenvalues of at least λ", ""),
            "cumulative_power_error": along(error, "bound on the error of the cumulative power", ""),
            "rank": along(count["count"].values, "rank: eigenvalues of at least λ", "modes"),
            "rank_standard_error": along(count.count_standard_error.values, "standard error of the rank", "modes"),
            "rank_quadrature_error": along(count.count_quadrature_error.values, "error of the quadrature", "modes"),
            "rank_operator_error": along(count.count_operator_error.values, "error of the operator", "modes"),
        },
        coords={"eigenvalue": count.eigenvalue},
        attrs={**attributes(operator=K), "num_points": K.num_points, "num_products": num_products},
    )
