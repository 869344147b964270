"""How many eigenvalues an operator has above each level, and how densely they lie."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import xarray as xr
from jaxtyping import Float, Real
from numpy.typing import ArrayLike

from ntkspec.checks import check_number
from ntkspec.eigen._exact import all_eigenvalues
from ntkspec.eigen._probe import draw
from ntkspec.eigen._quadrature import precision, quadrature
from ntkspec.operator import Operator
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.record import attributes, variable

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
        eigenvalue: levels λ > 0, in any order; None takes 193 over the whole spectrum, above the rounding of K.
        num_probes: random vectors; the standard error falls with their square root.
        num_exact: directions that carry the leading modes, summed without sampling.
        num_steps: products a vector; the quadrature error falls with them.
        seed: seed of the vectors.
        progress: reporter.

    Returns:
        Dataset over the levels `eigenvalue` (ascending): `count` N(λ) with its `count_standard_error` over the
        probes, its `count_quadrature_error`, half the distance of the bounds of Chebyshev, Markov and Stieltjes, and
        its `count_operator_error`; `density`, the eigenvalues per unit of ln λ, with `density_standard_error`. No
        eigenvalue is off by more than the operator's `approximation_error` e (Weyl), so the exact kernel's count lies
        between N(λ + e) and N(λ − e), which is n for λ ≤ e: the operator error is the larger distance to them. All
        errors are 0 where every eigenvalue of the kernel is known. Attribute `resolved_down_to` is the lowest level
        above which quadrature and operator error are in sum at most a tenth of the count or of one mode: below it
        `num_steps` or the operator did not resolve the spectrum.

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
    given = None if eigenvalue is None else _check_levels(eigenvalue)
    num_steps = steps_taken(num_steps, K)

    def levels_for(places: np.ndarray) -> np.ndarray:
        """Those given, or from just above the largest place down to half the smallest that is not rounding."""
        top = float(places.max())
        bottom = max(float(places.min()) / 2, precision(K) * top)
        return np.geomspace(bottom, 1.001 * top, NUM_LEVELS) if given is None else given

    known = all_eigenvalues(K)
    if known is not None:
        levels, num_products = levels_for(known[0]), 0
        reaching = lambda levels: sum_reaching(*known, levels)
        count = reaching(levels)
        slope, zero = _slope(count, levels), np.zeros_like(count)
        standard_error, quadrature_error, slope_error = zero, zero, zero
    else:
        probes = draw(K, num_probes, num_exact, seed)
        rules = quadrature(K, probes.vectors, lambda _: np.inf, tolerance=0.0, max_steps=num_steps, progress=progress)
        levels, num_products = levels_for(rules.rules[0]), rules.num_products + 2 * num_exact
        reaching = lambda levels: probes.sum(rules.above(levels)[0])
        estimate, lower, upper = rules.above(levels)
        count, standard_error = probes.total(estimate)
        slope, slope_error = probes.total(_slope(estimate, levels))
        quadrature_error = probes.sum(upper - lower) / 2
    operator_error = _operator_error(K, levels, count, reaching)
    unresolved = np.flatnonzero(quadrature_error + operator_error > 0.1 * np.maximum(count, 1))
    lowest = levels[min(unresolved[-1] + 1, len(levels) - 1)] if unresolved.size else levels[0]
    along = partial(variable, "eigenvalue")
    return xr.Dataset(
        {
            "count": along(count, "eigenvalues of at least λ", "modes"),
            "count_standard_error": along(standard_error, "standard error over the probes", "modes"),
            "count_quadrature_error": along(quadrature_error, "error of the quadrature", "modes"),
            "count_operator_error": along(operator_error, "error of the operator", "modes"),
            "density": along(slope, "eigenvalues per unit of ln λ", "modes"),
            "density_standard_error": along(slope_error, "standard error over the probes", "modes"),
        },
        coords={"eigenvalue": along(levels, "eigenvalue λ of K")},
        attrs={
            **attributes(operator=K),
            "num_points": K.num_points,
            "num_products": num_products,
            "resolved_down_to": float(lowest),
        },
    )


def _check_levels(eigenvalue: ArrayLike) -> np.ndarray:
    """Return positive levels, ascending and each once; those that are apart by roundings are one."""
    levels = np.unique(np.asarray(eigenvalue, dtype=float))
    if not levels.size or not (levels > 0).all():
        raise ValueError("`eigenvalue` holds a level that is not above 0, or none; levels are compared by logarithms")
    # A degenerate eigenvalue as `eigvalsh` gives it; a density divides by what the logarithms are apart.
    return levels[np.append(True, np.diff(np.log(levels)) > ROUNDINGS * np.finfo(float).eps)]


def steps_taken(num_steps: int, K: Operator) -> int:
    """`num_steps`, if it makes a quadrature; never more than points."""
    check_number("num_steps", num_steps, 2, hint="Lanczos steps")
    return min(num_steps, K.num_points)


def sum_reaching(
    value: Float[np.ndarray, " h"], weight: Real[np.ndarray, " h"], levels: Float[np.ndarray, " g"]
) -> Float[np.ndarray, " g"]:
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


def _slope(count: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """−dN/d ln λ by central differences."""
    if len(levels) < 2:
        return np.full_like(count, np.nan)
    return -np.gradient(count, np.log(levels), axis=-1)
