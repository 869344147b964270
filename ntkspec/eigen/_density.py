"""How many eigenvalues an operator has above each level, and how densely they lie."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from ntkspec.eigen._exact import all_eigenvalues
from ntkspec.eigen._probe import draw
from ntkspec.eigen._quadrature import precision, quadrature
from ntkspec.operator import Operator
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.record import attributes

__all__ = ["density", "steps_taken", "sum_reaching"]

#: Levels over the whole spectrum where none are given.
NUM_LEVELS = 193
#: Roundings by which the logarithms of two levels are apart that are one.
ROUNDINGS = 64


def density(
    K: Operator,
    *,
    eigenvalue: ArrayLike | None = None,
    num_probes: int = 16,
    num_exact: int = 8,
    num_steps: int = 96,
    seed: int = 0,
    progress: Progress = NO_PROGRESS,
) -> xr.Dataset:
    """Return the eigenvalue count N(λ) = #{i: λ_i ≥ λ} and the spectral density −dN/d ln λ.

    Exact where the operator knows its modes and up to n = 4,096 points; beyond by stochastic Lanczos quadrature. It
    sees the whole spectrum, where `spectrum` sees its leading modes.

    Args:
        K: a kernel operator on n points.
        eigenvalue: levels λ, positive, in any order; None takes 193 over the whole
            spectrum, as far as it is above the rounding of K.
        num_probes: random vectors; the standard error falls with their square root.
        num_exact: directions that carry the leading modes, summed without sampling.
        num_steps: products a vector; the quadrature error falls with them.
        seed: of the vectors.
        progress: reporter.

    Returns:
        Dataset over the levels `eigenvalue` (ascending): `count` N(λ) with its `count_standard_error` over the
        probes, its `count_quadrature_error`, half the distance of the bounds of Chebyshev, Markov and Stieltjes, and
        its `count_operator_error`; `density`, the eigenvalues per unit of ln λ, with `density_standard_error`. No
        eigenvalue is off by more than the operator's `approximation_error` e (Weyl), so the exact kernel's count lies
        between N(λ + e) and N(λ − e), which is n for λ ≤ e: the operator error is the larger distance to them, 0 where
        e is. The others are 0 where every eigenvalue of the operator is known. Where quadrature and operator error are
        no longer small against the count, `num_steps` or the operator did not resolve the spectrum: attribute
        `resolved_down_to` is the lowest level above which their sum is at most a tenth of the count or of one mode.

    Raises:
        ValueError: if a level is not positive, there are too few probes or steps, or they would not fit in memory.

    Source: Lin, Saad & Yang 2016, "Approximating spectral densities of large matrices"; Szegő 1939,
    "Orthogonal polynomials", section 3.41 (the bounds).

    Example:
        >>> import ntkspec as ns
        >>> k = ns.kernel.compose(ns.mapping.power_law(16, p=1.0), ns.kernel.MLP(depth=3))
        >>> d = ns.eigen.density(ns.operator.lattice(k, shape=(4096,)), eigenvalue=[1e-12, 10.0])
        >>> d["count"].values.tolist()
        [4096.0, 15.0]
    """
    asked = None if eigenvalue is None else _check_levels(eigenvalue)
    steps = steps_taken(num_steps, K)
    known = all_eigenvalues(K)
    if known is not None:
        levels = _levels_over(known[0], precision(K)) if asked is None else asked
        count = sum_reaching(*known, levels)
        zero = np.zeros_like(count)
        moved = _operator_error(K, levels, count, lambda shifted: sum_reaching(*known, shifted))
        return _dataset(K, levels, count, zero, zero, moved, _density(count, levels), zero, num_products=0)
    probes = draw(K, num_probes, num_exact, seed)
    rules = quadrature(K, probes.vectors, lambda _: np.inf, tolerance=0.0, max_steps=steps, progress=progress)
    levels = _levels_over(rules.rules[0], precision(K)) if asked is None else asked
    estimate, lower, upper = rules.above(levels)
    count, standard_error = probes.total(estimate)
    slope, slope_error = probes.total(_density(estimate, levels))
    return _dataset(
        K,
        levels,
        count,
        standard_error,
        probes.sum(upper - lower) / 2,
        _operator_error(K, levels, count, lambda shifted: probes.sum(rules.above(shifted)[0])),
        slope,
        slope_error,
        num_products=rules.num_steps * len(rules.mass) + 2 * num_exact,
    )


def _check_levels(eigenvalue: ArrayLike) -> np.ndarray:
    """Return the levels asked for, ascending and each once; those that are apart by roundings are one.

    Raises:
        ValueError: if there is none, or one that is not positive.
    """
    levels = np.unique(np.asarray(eigenvalue, dtype=float))
    if not levels.size or not (levels > 0).all():
        raise ValueError(
            "`eigenvalue` holds a level that is not above 0, or none; they are compared on a logarithmic scale"
        )
    # A degenerate eigenvalue as `eigvalsh` gives it; a density divides by what the logarithms are apart.
    return levels[np.append(True, np.diff(np.log(levels)) > ROUNDINGS * np.finfo(float).eps)]


def _levels_over(places: np.ndarray, rounding: float) -> np.ndarray:
    """Levels from just above the largest of the places down to half the smallest that is not rounding."""
    top = float(places.max())
    bottom = max(float(places.min()) / 2, rounding * top)
    return np.geomspace(bottom, 1.001 * top, NUM_LEVELS)


def steps_taken(num_steps: int, K: Operator) -> int:
    """`num_steps`, if it makes a quadrature; never more than points.

    Raises:
        ValueError: if it is less than 2.
    """
    if num_steps < 2:
        raise ValueError(f"num_steps={num_steps}; expected at least 2 Lanczos steps")
    return min(num_steps, K.num_points)


def sum_reaching(value: np.ndarray, weight: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return the weight of the known eigenvalues that reach each level; one within rounding of it does."""
    slack = 1e-13 * value.max()
    place = np.searchsorted(levels, value + slack, side="right")
    held = np.bincount(place, weights=weight, minlength=len(levels) + 1)
    return np.cumsum(held[::-1])[::-1][1:]


def _operator_error(
    K: Operator, levels: np.ndarray, count: np.ndarray, reaching: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """How far a count may be off where no eigenvalue is by more than the operator's approximation error."""
    error = K.approximation_error
    if not error:
        return np.zeros_like(count)
    at_least = reaching(levels + error)
    at_most = np.where(levels > error, reaching(np.maximum(levels - error, np.finfo(float).tiny)), K.num_points)
    return np.maximum(at_most - count, count - at_least)


def _density(count: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """−dN/d ln λ by central differences."""
    if len(levels) < 2:
        return np.full_like(count, np.nan)
    return -np.gradient(count, np.log(levels), axis=-1)


def _dataset(
    K: Operator,
    levels: np.ndarray,
    count: np.ndarray,
    standard_error: np.ndarray,
    quadrature_error: np.ndarray,
    operator_error: np.ndarray,
    slope: np.ndarray,
    slope_error: np.ndarray,
    *,
    num_products: int,
) -> xr.Dataset:
    unresolved = np.flatnonzero(quadrature_error + operator_error > 0.1 * np.maximum(count, 1))
    lowest = levels[min(unresolved[-1] + 1, len(levels) - 1)] if unresolved.size else levels[0]

    def along(values: np.ndarray, long_name: str, units: str) -> tuple:
        return ("eigenvalue", values, {"long_name": long_name, "units": units})

    return xr.Dataset(
        {
            "count": along(count, "eigenvalues of at least λ", "modes"),
            "count_standard_error": along(standard_error, "standard error over the probes", "modes"),
            "count_quadrature_error": along(quadrature_error, "error of the quadrature", "modes"),
            "count_operator_error": along(operator_error, "error of the operator", "modes"),
            "density": along(slope, "eigenvalues per unit of ln λ", "modes"),
            "density_standard_error": along(slope_error, "standard error over the probes", "modes"),
        },
        coords={"eigenvalue": along(levels, "eigenvalue λ of K", "")},
        attrs={
            **attributes(operator=K),
            "num_points": K.num_points,
            "num_products": num_products,
            "resolved_down_to": float(lowest),
        },
    )
