"""Traces of functions of an operator and its log-determinant, with error bars."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
import xarray as xr

from ntkspec.eigen._exact import all_eigenvalues
from ntkspec.eigen._probe import Probes, draw
from ntkspec.eigen._quadrature import Function, Quadrature, check_resolved, precision, quadrature
from ntkspec.eigen._trajectory import ConvergenceWarning
from ntkspec.operator import Operator
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.record import attributes, variable

__all__ = ["log_determinant", "trace_of"]


def trace_of(
    K: Operator,
    function: Function,
    *,
    num_probes: int = 16,
    num_exact: int = 8,
    max_steps: int = 512,
    seed: int = 0,
    progress: Progress = NO_PROGRESS,
) -> xr.Dataset:
    """Return the trace of a function of an operator, tr f(K) = Σ f(λ_i).

    Exact where the operator knows its modes and up to n = 4,096 points; beyond by stochastic Lanczos quadrature,
    with as many steps as bring the error of the quadrature to a tenth of that of the sampling.

    Args:
        K: a kernel operator on n points.
        function: f, of non-negative eigenvalues as an array (k,); returns (k,), or (k, f) for many functions at the
            price of one.
        num_probes: random vectors; the standard error falls with their square root.
        num_exact: directions that carry the leading modes, summed without sampling.
        max_steps: products a vector, at most.
        seed: seed of the vectors.
        progress: reporter.

    Returns:
        Dataset of scalars (or with a dimension `function`): `trace`, its `standard_error` over the probes,
        `quadrature_error`, the distance of the Gauss from the Gauss–Radau rule, and `operator_error`, what the
        operator's own `approximation_error` e may change. The quadrature error is a bound where f's derivatives are
        of one sign by turns (log(λ + δ), 1/(λ + δ), e^{−tλ}, √λ), else an estimate; both it and the standard error
        are 0 where every eigenvalue of the operator is known. No eigenvalue is off by more than e (Weyl), so the
        operator error is tr g(K) with g(λ) = max(|f(λ + e) − f(λ)|, |f(max(λ − e, 0)) − f(λ)|): a bound for monotone
        f (as well as tr g is known). Attributes: `converged`, `num_products`.

    Warns:
        ConvergenceWarning: if after `max_steps` the quadrature error is still above a tenth of the standard error.

    Raises:
        ValueError: if there are too few probes, or they would not fit in memory.

    Source: Ubaru, Chen & Saad 2017, "Fast estimation of tr(f(A)) via stochastic Lanczos quadrature".

    Example:
        >>> import ntkspec as ns
        >>> k = ns.kernel.compose(ns.mapping.power_law(16, p=1.0), ns.kernel.MLP(depth=3))
        >>> K = ns.operator.lattice(k, shape=(4096,))
        >>> of_square = ns.eigen.trace_of(K, lambda eigenvalue: eigenvalue**2)
        >>> bool(abs(of_square.trace - K.frobenius_norm() ** 2) < 1e-10 * of_square.trace)
        True
    """
    change = _change(function, K.approximation_error)
    known, num_products, converged = all_eigenvalues(K), 0, True
    if known is not None:
        value, weight = np.maximum(known[0], 0), known[1]
        total = np.tensordot(weight, np.asarray(function(value)), axes=1)
        zero = np.zeros_like(total)
        standard_error, quadrature_error = zero, zero
        moved = np.tensordot(weight, change(value), axes=1) if K.approximation_error else zero
    else:
        probes = draw(K, num_probes, num_exact, seed)

        def excess(rules: Quadrature) -> float:
            total, standard_error, quadrature_error = _estimate(probes, rules, function)
            allowed = np.maximum(standard_error / 10, 10 * precision(K) * np.abs(total))
            return float(np.max(quadrature_error - allowed))

        rules = quadrature(K, probes.vectors, excess, tolerance=0.0, max_steps=max_steps, progress=progress)
        total, standard_error, quadrature_error = _estimate(probes, rules, function)
        moved = probes.sum(rules.integrate(change)) if K.approximation_error else np.zeros_like(total)
        num_products, converged = rules.num_products + 2 * num_exact, excess(rules) <= 0
    if not converged:
        warnings.warn(
            f"after {rules.num_steps} Lanczos steps a vector the quadrature error is {np.max(quadrature_error):.2g}, "
            f"against a standard error of {np.max(standard_error):.2g}; take more max_steps, or a larger ridge",
            ConvergenceWarning,
            stacklevel=2,
        )
    scalar = partial(variable, ("function",) * np.ndim(total))
    return xr.Dataset(
        {
            "trace": scalar(total, "tr f(K)"),
            "standard_error": scalar(standard_error, "standard error over the probes"),
            "quadrature_error": scalar(quadrature_error, "error of the quadrature"),
            "operator_error": scalar(moved, "error of the operator"),
        },
        attrs={**attributes(operator=K), "num_products": num_products, "converged": int(converged)},
    )


def log_determinant(
    K: Operator,
    *,
    ridge: float,
    num_probes: int = 16,
    num_exact: int = 8,
    max_steps: int = 512,
    seed: int = 0,
    progress: Progress = NO_PROGRESS,
) -> xr.Dataset:
    """Return log det(K + δI) = Σ log(λ_i + δ), the term of a Gaussian process' evidence that costs most.

    Args:
        K: a kernel operator on n points.
        ridge: δ, above the rounding of a product with K and above K's `approximation_error`: below them the smallest
            eigenvalues, and with them the determinant, are not known.
        num_probes: random vectors.
        num_exact: directions that carry the leading modes, summed without sampling.
        max_steps: products a vector, at most.
        seed: seed of the vectors.
        progress: reporter.

    Returns:
        Dataset of scalars: `log_determinant`, `standard_error` over the probes, `quadrature_error`, a bound by the
        Gauss and Gauss–Radau rules, which bracket each vᵀ log(K + δI) v (both 0 where every eigenvalue of the operator
        is known), and `operator_error`, a bound on what K's `approximation_error` may change, 0 where that is.

    Warns:
        ConvergenceWarning: as `trace_of`.

    Raises:
        ValueError: if the ridge is not a number above rounding and the operator's approximation error.

    Source: Ubaru, Chen & Saad 2017; Golub & Meurant 2010, chapter 6 (the bracket).

    Example:
        >>> import ntkspec as ns, numpy as np
        >>> k = ns.kernel.compose(ns.mapping.power_law(16, p=1.0), ns.kernel.MLP(depth=3))
        >>> K = ns.operator.lattice(k, shape=(32,))
        >>> d = ns.eigen.log_determinant(K, ridge=0.1)
        >>> bool(np.isclose(d.log_determinant, np.linalg.slogdet(K.to_dense() + 0.1 * np.eye(32)).logabsdet))
        True
    """
    check_resolved(K, ridge, precision(K) * float(K.frobenius_norm()), "ridge")
    trace = trace_of(
        K,
        lambda eigenvalue: np.log(eigenvalue + ridge),
        num_probes=num_probes,
        num_exact=num_exact,
        max_steps=max_steps,
        seed=seed,
        progress=progress,
    )
    determinant = trace.rename(trace="log_determinant").assign_attrs(ridge=ridge)
    determinant.log_determinant.attrs["long_name"] = "log det(K + δI)"
    return determinant


def _change(function: Function, error: float) -> Function:
    """How far a function may change where its argument, not below 0, moves by at most an error."""

    def change(value: np.ndarray) -> np.ndarray:
        here = np.asarray(function(value))
        above, below = np.asarray(function(value + error)), np.asarray(function(np.maximum(value - error, 0)))
        return np.maximum(np.abs(above - here), np.abs(below - here))

    return change


def _estimate(probes: Probes, rules: Quadrature, function: Function) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the trace, its standard error and the quadrature's, from the middle of the two rules."""
    gauss, radau = rules.integrate(function), rules.integrate_radau(function)
    total, standard_error = probes.total((gauss + radau) / 2)
    return total, standard_error, probes.sum(np.abs(gauss - radau) / 2)
