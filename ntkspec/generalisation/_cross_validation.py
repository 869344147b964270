"""Generalised cross-validation: the error on unseen points that the training error and the degrees of freedom tell."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from ntkspec.checks import as_columns
from ntkspec.dynamics import Dynamics, Loss, Times
from ntkspec.eigen._probe import Probes, draw
from ntkspec.eigen._quadrature import Quadrature, quadrature
from ntkspec.eigen._trajectory import ConvergenceWarning
from ntkspec.generalisation._contour import Resolvents, has_resolvents, resolvents
from ntkspec.generalisation._decomposition import Decomposition, decomposition_where_cheap
from ntkspec.generalisation._inverse import operator_of
from ntkspec.generalisation._tables import SAMPLING, Sampling
from ntkspec.operator import Operator, largest_eigenvalue
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.record import variable

__all__ = ["cross_validation"]

#: Functions of eigenvalues (k,) at once: (k, f).
Functions = Callable[[np.ndarray], np.ndarray]

#: What such functions add up to, by some rule.
Sums = Callable[[Functions], np.ndarray]

#: Relative, on traces and on the result.
QUADRATURE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class _Rule:
    """A cross-validation formula: the residual of a left-out point as a filter g_t(K) y, known from traces.

    They are those of `functions`; `left_out` makes g (k, t) at eigenvalues (k,) of these over n, (f,).
    """

    functions: Functions
    left_out: Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class _Estimate:
    """Of each step: the mean square, its standard error over the probes and its error from the quadratures."""

    value: np.ndarray
    standard_error: np.ndarray
    numerical_error: np.ndarray


def cross_validation(
    K: Operator | Decomposition,
    y: ArrayLike,
    *,
    steps: Sequence[float],
    learning_rate: float,
    loss: Loss = "sum",
    dynamics: Dynamics | None = None,
    sampling: Sampling = SAMPLING,
    progress: Progress = NO_PROGRESS,
) -> xr.Dataset:
    """Generalised cross-validation of training stopped at each step: leave-one-out with traces for diagonals.

    For gradient flow and gradient descent, with or without a ridge, `mean_squared_error` is that of
    `leave_one_out_path` with the mean of each resolvent's diagonal in place of its entries: the mean square of
    y − Re Σ_j c_j (y − (K + s_j)⁻¹y/τ_j), τ_j = tr(K + s_j)⁻¹/n. It is the exact leave-one-out error on circulant
    lattices; the rim of a grid, where a point is harder to tell from the others, weighs too little elsewhere. For a
    ridge at the end of training it is the classical formula.

    `classical` is n ‖r(K, t) y‖²/(tr r(K, t))² a channel, the formula of ridge regression for the smoother 1 − r, which
    is all there is for other dynamics. Late in training without a ridge it fails: on a photograph of 64² points and
    gradient flow at ηλ_max t = 10³, 10⁴, 10⁵ and 10⁶ it said 1.00, 1.05, 1.7 and 12 times the leave-one-out error.

    Computed exactly on circulant lattices, for low-rank factors, from a `decompose`d operator and up to n = 4,096
    points; beyond, by Gauss quadrature of the labels' spectral measure, with traces from random vectors.

    Args:
        K: a kernel operator on n points, or `decompose(K)`.
        y: labels, shape (n,) or (n, channels).
        steps: training steps to report, increasing.
        learning_rate: η of the loss.
        loss: "sum" or "mean".
        dynamics: gradient descent where None.
        sampling: probes of the traces, where products alone are known.
        progress: reporter.

    Returns:
        Dataset over `step`: `mean_squared_error` over points and channels, its `standard_error` over the probes (by the
        jackknife) and `numerical_error`, half the distance of the Gauss from the Gauss–Radau rules, the contour's, and
        what K's `approximation_error` may change to first order; `classical` with `classical_error`, the sum of its
        own, both NaN where nothing is left to learn; `train_error`, the mean square of the residual at the training
        points; `degrees_of_freedom`, tr(1 − r). Attributes: `best_step`, of the least error, `converged`,
        `num_products`.

    Warns:
        ConvergenceWarning: if the numerical error is above a thousandth of the result.

    Raises:
        ValueError: if labels do not fit, steps do not increase, or the learning rate is past the stability limit.

    Source: Golub, Heath & Wahba 1979, "Generalized cross-validation as a method for choosing a good ridge parameter";
    for early stopping, Yao, Rosasco & Caponnetto 2007, "On early stopping in gradient descent learning".

    Example:
        >>> import ntkspec as ns, numpy as np
        >>> k = ns.kernel.compose(ns.mapping.power_law(16, p=1.0), ns.kernel.MLP(depth=2))
        >>> K = ns.operator.lattice(k, shape=(64,))
        >>> y = np.sin(2 * np.pi * K.points[:, 0])
        >>> gcv = ns.generalisation.cross_validation(K, y, steps=[0, 10, 100], learning_rate=1 / 64)
        >>> bool(np.isclose(gcv.mean_squared_error[0], 0.5)), gcv.attrs["best_step"]
        (True, 100.0)
    """
    operator = operator_of(K)
    columns, _ = as_columns(y, operator.num_points)
    times = Times.of(operator.num_points, steps, learning_rate, loss, dynamics)
    modes = decomposition_where_cheap(K)
    largest = largest_eigenvalue(operator) if modes is None else float(modes.eigenvalue.max())
    times.require_stable(largest)
    left = times.residual
    classical = _Rule(left, lambda eigenvalue, trace: left(eigenvalue) / trace)
    rule, contour = classical, np.zeros(len(times.steps))
    if has_resolvents(times.dynamics):
        sums = resolvents(times, largest)
        rule = _resolvent_rule(sums)
        contour = np.sqrt(float(np.max(np.asarray(operator.diagonal())))) * np.array([s.error for s in sums])
    spectra = _exact(modes, columns) if modes else _sampled(operator, columns, rule, sampling, progress)
    best, plain = _estimate(spectra, rule, operator), _estimate(spectra, classical, operator)
    # The contour's error is a part c of every residual, on the norm of the labels: (a + c)² − a².
    scale = np.sqrt(np.sum(columns**2) / columns.shape[1])
    contour = contour * scale * (2 * np.sqrt(np.maximum(best.value, 0)) + contour * scale)
    numerical = best.numerical_error + contour
    converged = bool((numerical <= QUADRATURE_TOLERANCE * best.value).all())
    if not converged:
        warnings.warn(
            "the numerical error is above a thousandth of the result at some step; take a Sampling of more max_steps, "
            "fewer training steps or a smaller learning rate (`numerical_error` says which steps are accurate)",
            ConvergenceWarning,
            stacklevel=2,
        )
    trace, energy = spectra.trace(left)[0], spectra.energy(lambda x: left(x) ** 2)
    plain_error, along = plain.standard_error + plain.numerical_error, partial(variable, "step")
    return xr.Dataset(
        {
            "mean_squared_error": along(best.value, "generalised cross-validation"),
            "standard_error": along(best.standard_error, "standard error over the probes"),
            "numerical_error": along(numerical, "error of quadrature, contour and operator"),
            "classical": along(plain.value, "classical generalised cross-validation"),
            "classical_error": along(plain_error, "error of the classical formula's estimate"),
            "train_error": along(energy / columns.size, "mean square at the training points"),
            "degrees_of_freedom": along(len(columns) - trace, "degrees of freedom tr(1 − r)", "modes"),
        },
        coords={"step": times.coordinate()},
        attrs={
            **times.attributes(operator=operator, dynamics=times.dynamics),
            "best_step": float(times.steps[np.argmin(np.where(np.isnan(best.value), np.inf, best.value))]),
            "num_products": spectra.num_products,
            "converged": int(converged),
        },
    )


def _resolvent_rule(sums: list[Resolvents]) -> _Rule:
    """Traces of Re and Im 1/(λ + s) for all nodes, and what they make of the leave-one-out identity."""
    shift = np.concatenate([each.shift for each in sums])
    ends = np.cumsum([len(each.shift) for each in sums])[:-1]

    def functions(eigenvalue: np.ndarray) -> np.ndarray:
        inverse = 1 / (eigenvalue[:, None] + shift)
        return np.concatenate([inverse.real, inverse.imag], axis=1)

    def left_out(eigenvalue: np.ndarray, trace: np.ndarray) -> np.ndarray:
        real, imaginary = np.split(trace, 2)
        each = zip(sums, np.split(real + 1j * imaginary, ends), strict=True)
        columns = [
            1 - ((1 - 1 / (tau * (eigenvalue[:, None] + one.shift))) @ one.coefficient).real for one, tau in each
        ]
        return np.stack(columns, axis=1)

    return _Rule(functions, left_out)


@dataclass(frozen=True)
class _Spectra:
    """Sums over the eigenvalues, of all modes and of the labels', by one or two rules whose distance is the error.

    Attributes:
        traces: functions to forms (v, f) of the probes; a single row that is the trace itself where all is known.
        energies: functions to Σ (u_i·y)² f(λ_i), shape (f,), all channels.
        probes: what makes traces of forms; None where all is known.
        num_points: number of points n.
        num_labels: number of labels, n times channels.
        num_products: number of products taken.
    """

    traces: tuple[Sums, ...]
    energies: tuple[Sums, ...]
    probes: Probes | None
    num_points: int
    num_labels: int
    num_products: int

    def trace(self, functions: Functions) -> tuple[np.ndarray, np.ndarray]:
        """Return the trace tr f(K) from all probes, (f,), and without each random one in turn, (p, f)."""
        return self._total(np.mean([trace(functions) for trace in self.traces], axis=0))

    def energy(self, functions: Functions) -> np.ndarray:
        """Return the mean of the rules."""
        return np.mean([energy(functions) for energy in self.energies], axis=0)

    def mean_square(self, rule: _Rule, trace: np.ndarray) -> np.ndarray:
        """Of the left-out residuals, from traces (f,)."""
        mean = trace / self.num_points
        return self.energy(lambda x: rule.left_out(x, mean) ** 2) / self.num_labels

    def by_rule(self, rule: _Rule) -> np.ndarray:
        """Return the mean square with each quadrature rule throughout, shape (rules, t)."""

        def one(trace: Sums, energy: Sums) -> np.ndarray:
            mean = self._total(trace(rule.functions))[0] / self.num_points
            return energy(lambda x: rule.left_out(x, mean) ** 2) / self.num_labels

        return np.stack([one(*each) for each in zip(self.traces, self.energies, strict=True)])

    def _total(self, forms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self.probes is None:
            return forms[0], forms
        exact, sampled = forms[: self.probes.num_exact].sum(axis=0), forms[self.probes.num_exact :]
        total, count = sampled.sum(axis=0), len(sampled)
        return exact + total / count, exact + (total - sampled) / (count - 1)


def _exact(K: Decomposition, columns: np.ndarray) -> _Spectra:
    power = K.power(columns).sum(axis=1)
    traces, energies = (
        (lambda functions: K.trace(functions(K.eigenvalue))[None],),
        (lambda functions: power @ functions(K.eigenvalue),),
    )
    return _Spectra(traces, energies, None, len(columns), columns.size, num_products=0)


def _sampled(K: Operator, columns: np.ndarray, rule: _Rule, sampling: Sampling, progress: Progress) -> _Spectra:
    probes = draw(K, sampling.num_probes, sampling.num_exact, sampling.seed)

    def of_traces(rules: Quadrature) -> float:
        (gauss, scatter), (radau, _) = (probes.total(each(rule.functions)) for each in both(rules))
        allowed = np.maximum(scatter / 10, QUADRATURE_TOLERANCE * np.abs(gauss))
        return float(np.max(np.abs(gauss - radau) / 2 - allowed))

    def both(rules: Quadrature) -> tuple[Sums, ...]:
        return rules.integrate, rules.integrate_radau

    run = partial(quadrature, K, tolerance=0.0, max_steps=sampling.max_steps, progress=progress)
    modes = run(probes.vectors, of_traces)
    trace = probes.sum(modes.integrate(rule.functions)) / K.num_points

    def of_energies(rules: Quadrature) -> float:
        gauss, radau = (each(lambda x: rule.left_out(x, trace) ** 2).sum(axis=0) for each in both(rules))
        return float(np.max(np.abs(gauss - radau) / 2 - QUADRATURE_TOLERANCE / 4 * gauss))

    labels = run(jnp.asarray(columns.T), of_energies)
    energies = tuple(partial(_of_all_channels, each) for each in both(labels))
    products = modes.num_products + 2 * sampling.num_exact + labels.num_products
    return _Spectra(both(modes), energies, probes, K.num_points, columns.size, products)


def _of_all_channels(forms: Sums, functions: Functions) -> np.ndarray:
    return forms(functions).sum(axis=0)


def _estimate(spectra: _Spectra, rule: _Rule, K: Operator) -> _Estimate:
    trace, without = spectra.trace(rule.functions)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = spectra.mean_square(rule, trace)
        scatter = np.stack([spectra.mean_square(rule, each) for each in without])
        standard_error = np.sqrt((len(without) - 1) * np.mean((scatter - scatter.mean(axis=0)) ** 2, axis=0))
        by_rule = spectra.by_rule(rule)
        numerical = (by_rule.max(axis=0) - by_rule.min(axis=0)) / 2
        if K.approximation_error:
            numerical = numerical + np.abs(_moved(spectra, rule, K.approximation_error) - value)
    return _Estimate(value, standard_error, numerical)


def _moved(spectra: _Spectra, rule: _Rule, error: float) -> np.ndarray:
    """Return the mean square with every eigenvalue larger by the operator's error."""
    moved = _Rule(lambda x: rule.functions(x + error), lambda x, trace: rule.left_out(x + error, trace))
    return spectra.mean_square(moved, spectra.trace(moved.functions)[0])
