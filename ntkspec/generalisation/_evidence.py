"""How likely the labels are under the Gaussian process of a kernel: the evidence for a mapping, scale or network."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from ntkspec.checks import as_columns
from ntkspec.eigen import log_determinant
from ntkspec.eigen._quadrature import Quadrature, check_resolved, precision, quadrature
from ntkspec.eigen._trajectory import ConvergenceWarning
from ntkspec.generalisation._decomposition import Decomposition
from ntkspec.generalisation._inverse import check_ridge, exact_inverse, operator_of
from ntkspec.generalisation._tables import SAMPLING, Sampling
from ntkspec.operator import Operator, largest_eigenvalue
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.record import attributes, variable

__all__ = ["evidence", "scaled_evidence"]

#: On yᵀA⁻¹y, relative.
QUADRATURE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class _Terms:
    """yᵀA⁻¹y of each channel with its error, log det A with its standard error and all other errors."""

    fit: np.ndarray
    fit_error: np.ndarray
    log_determinant: float
    standard_error: float
    log_determinant_error: float
    num_products: int
    converged: bool


def evidence(
    K: Operator | Decomposition,
    y: ArrayLike,
    *,
    noise: float,
    sampling: Sampling = SAMPLING,
    progress: Progress = NO_PROGRESS,
) -> xr.Dataset:
    """Return the log marginal likelihood of labels under a Gaussian process, −½ yᵀA⁻¹y − ½ log det A − (n/2) log 2π.

    A = K + δI, with noise of variance δ. With `which="nngp"` K is the prior of an infinitely wide network, of the scale
    that its `W_std` and `b_std` give it; see `scaled_evidence` to leave that open. Channels are independent draws.

    Exact on circulant lattices, for low-rank factors, from a `decompose`d operator and up to n = 4,096 points; beyond,
    yᵀA⁻¹y is bracketed by Gauss and Gauss–Radau quadrature and log det A is that of `ntkspec.eigen.log_determinant`.

    Args:
        K: a kernel operator on n points, or `decompose(K)`.
        y: labels, shape (n,) or (n, channels), with mean zero as far as the prior's mean is zero.
        noise: δ ≥ 0, a variance in units of K: above K's `approximation_error`, where that is not 0, and above rounding
            where A is known by products only.
        sampling: probes of the determinant and steps of the data fit, where products alone are known.
        progress: reporter.

    Returns:
        Dataset of scalars: `evidence` in nats, summed over channels, with `standard_error` over the probes and
        `numerical_error` of the quadratures and of K's `approximation_error` (a bound but for the data fit, where it is
        of first order); its terms `data_fit`, −½ yᵀA⁻¹y, and `complexity`, −½ log det A a channel. Attributes:
        `converged`, `num_products`.

    Warns:
        ConvergenceWarning: if the data fit is not known to 1e-6 of itself, or the determinant not well enough.

    Raises:
        ValueError: if the labels do not fit, or the noise is not resolved.

    Source: Rasmussen & Williams 2006, equation 2.30; for the prior, Lee et al. 2018, "Deep neural networks as Gaussian
    processes".

    Example:
        >>> import ntkspec as ns, numpy as np
        >>> k = ns.kernel.compose(ns.mapping.gaussian(1, 16, scale=2.0), ns.kernel.MLP(depth=2))
        >>> K = ns.operator.lattice(k, shape=(64,), which="nngp")
        >>> smooth, rough = np.sin(2 * np.pi * K.points[:, 0]), np.random.default_rng(0).standard_normal(64)
        >>> one, other = [float(ns.generalisation.evidence(K, y, noise=0.01).evidence) for y in (smooth, rough)]
        >>> one > other
        True
    """
    operator, labels, terms = _terms(K, y, noise, sampling, progress)
    n, channels = labels.shape
    fit, complexity = -np.sum(terms.fit) / 2, -terms.log_determinant / 2
    value = fit + channels * (complexity - n / 2 * math.log(2 * math.pi))
    numerical = (np.sum(terms.fit_error) + channels * terms.log_determinant_error) / 2
    return _dataset(
        operator,
        {
            "evidence": (value, "log marginal likelihood"),
            "standard_error": (channels * terms.standard_error / 2, "standard error over the probes"),
            "numerical_error": (numerical, "error of quadrature and operator"),
            "data_fit": (fit, "data fit −½ yᵀA⁻¹y"),
            "complexity": (complexity, "complexity −½ log det A"),
        },
        noise,
        terms,
    )


def scaled_evidence(
    K: Operator | Decomposition,
    y: ArrayLike,
    *,
    noise: float,
    sampling: Sampling = SAMPLING,
    progress: Progress = NO_PROGRESS,
) -> xr.Dataset:
    """Return the evidence with the scale of the prior at its best: under s²(K + δI), with s² = yᵀA⁻¹y/(n c).

    A kernel's scale says nothing of which frequencies it prefers, and a network's is a matter of its last layer. At the
    maximum over s² the evidence is −(nc/2)(log 2πs² + 1) − (c/2) log det A.

    Args:
        K: a kernel operator on n points, or `decompose(K)`.
        y: labels, shape (n,) or (n, c), not all 0.
        noise: δ ≥ 0, the variance of the noise relative to the prior; else as `evidence`.
        sampling: probes of the determinant and steps of the data fit, where products alone are known.
        progress: reporter.

    Returns:
        Dataset of scalars: `evidence` in nats, with `standard_error` and `numerical_error` as `evidence`; `scale`, the
        best s², and `noise_variance`, s²δ in units of the labels. Attributes: `converged`, `num_products`.

    Raises:
        ValueError: as `evidence`, or if the labels are all 0, for which every smaller scale is better.

    Source: Rasmussen & Williams 2006, equation 2.30, maximised over a common factor of K and δ.

    Example:
        >>> import ntkspec as ns, numpy as np
        >>> k = ns.kernel.compose(ns.mapping.gaussian(1, 16, scale=2.0), ns.kernel.MLP(depth=2))
        >>> K = ns.operator.lattice(k, shape=(64,), which="nngp")
        >>> y = np.sin(2 * np.pi * K.points[:, 0])
        >>> one, ten = (ns.generalisation.scaled_evidence(K, c * y, noise=0.01) for c in (1, 10))
        >>> bool(np.isclose(ten["scale"], 100 * one["scale"]))
        True
    """
    operator, labels, terms = _terms(K, y, noise, sampling, progress)
    total = float(np.sum(terms.fit))
    if not total > 0:
        raise ValueError("the labels are all 0, and a prior of any smaller scale fits them better; expected a signal")
    channels = labels.shape[1]
    scale = total / labels.size
    value = -labels.size / 2 * (math.log(2 * math.pi * scale) + 1) - channels * terms.log_determinant / 2
    numerical = labels.size / 2 * float(np.sum(terms.fit_error)) / total + channels * terms.log_determinant_error / 2
    return _dataset(
        operator,
        {
            "evidence": (value, "log marginal likelihood at the best scale"),
            "standard_error": (channels * terms.standard_error / 2, "standard error over the probes"),
            "numerical_error": (numerical, "error of quadrature and operator"),
            "scale": (scale, "best variance factor s² of the prior"),
            "noise_variance": (scale * noise, "variance of the noise s²δ"),
        },
        noise,
        terms,
    )


def _terms(
    K: Operator | Decomposition, y: ArrayLike, noise: float, sampling: Sampling, progress: Progress
) -> tuple[Operator, np.ndarray, _Terms]:
    operator = operator_of(K)
    labels, _ = as_columns(y, operator.num_points)
    noise = check_ridge(operator, noise, "noise")
    error = operator.approximation_error
    inverse = exact_inverse(K, labels, noise, "noise")
    if inverse is not None:
        fit = np.sum(labels * inverse.solution, axis=0)
        # dA⁻¹ = −A⁻¹ dA A⁻¹, and every eigenvalue of A may move by the error.
        fit_error = error * np.sum(inverse.solution**2, axis=0)
        # Σ −log(1 − e/(λ + δ)), each at most the chord through 1/(λ + δ) = 0 and 1/δ.
        trace = len(labels) * float(np.mean(inverse.diagonal))
        moved = -trace * noise * math.log1p(-error / noise) if error else 0.0
        return operator, labels, _Terms(fit, fit_error, inverse.log_determinant, 0.0, moved, 0, True)
    check_resolved(operator, noise, precision(operator) * largest_eigenvalue(operator), "noise")
    return operator, labels, _by_quadrature(operator, labels, noise, sampling, progress)


def _by_quadrature(K: Operator, labels: np.ndarray, noise: float, sampling: Sampling, progress: Progress) -> _Terms:
    def fit(rules: Quadrature) -> tuple[np.ndarray, np.ndarray]:
        gauss, radau = (rule(lambda x: 1 / (x + noise)) for rule in (rules.integrate, rules.integrate_radau))
        return (gauss + radau) / 2, np.abs(gauss - radau) / 2

    def excess(rules: Quadrature) -> float:
        value, error = fit(rules)
        return float(np.max(error - QUADRATURE_TOLERANCE * value))

    rules = quadrature(K, jnp.asarray(labels.T), excess, tolerance=0.0, max_steps=sampling.max_steps, progress=progress)
    converged = excess(rules) <= 0
    if not converged:
        warnings.warn(
            f"after {rules.num_steps} Lanczos steps the data fit is not known to {QUADRATURE_TOLERANCE:g} of itself; "
            "take a Sampling of more max_steps, or more noise (`numerical_error` says how well it is known)",
            ConvergenceWarning,
            stacklevel=4,
        )
    value, error = fit(rules)
    if K.approximation_error:
        error = error + K.approximation_error * rules.integrate(lambda x: 1 / (x + noise) ** 2)
    trace = log_determinant(K, ridge=noise, **vars(sampling), progress=progress)
    return _Terms(
        value,
        error,
        float(trace.log_determinant),
        float(trace.standard_error),
        float(trace.quadrature_error + trace.operator_error),
        rules.num_products + trace.attrs["num_products"],
        converged and bool(trace.attrs["converged"]),
    )


def _dataset(K: Operator, values: dict[str, tuple[float, str]], noise: float, terms: _Terms) -> xr.Dataset:
    nats = {"evidence", "standard_error", "numerical_error", "data_fit", "complexity"}
    return xr.Dataset(
        {name: variable((), value, text, "nats" if name in nats else "") for name, (value, text) in values.items()},
        attrs={
            **attributes(operator=K),
            "noise": noise,
            "num_products": terms.num_products,
            "converged": int(terms.converged),
        },
    )
