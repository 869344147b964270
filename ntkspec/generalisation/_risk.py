"""The error on unseen points against the number of training points and the training step, frequency by frequency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from ntkspec.checks import as_columns, check_number
from ntkspec.dynamics import Dynamics, Loss, Times
from ntkspec.generalisation._aliasing import grid_risk
from ntkspec.generalisation._contour import Resolvents, has_resolvents, resolvents
from ntkspec.generalisation._decomposition import Decomposition, decompose
from ntkspec.generalisation._equivalent import compression_shift
from ntkspec.generalisation._inverse import operator_of
from ntkspec.generalisation._sampled import sampled_risk
from ntkspec.generalisation._tables import Case, Draws, check_counts, mean_errors
from ntkspec.operator import Operator
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.record import variable

__all__ = ["risk"]


def risk(
    K: Operator | Decomposition,
    target: ArrayLike,
    *,
    num_points: Sequence[int] | None = None,
    steps: Sequence[float],
    learning_rate: float,
    loss: Loss = "sum",
    dynamics: Dynamics | None = None,
    noise: float = 0.0,
    method: Literal["equivalent", "grid"] | Draws = "equivalent",
    progress: Progress = NO_PROGRESS,
) -> xr.Dataset:
    """Predict the mean error of training on n points of a population of N, stopped at each step, by frequency.

    **"equivalent"**: n random points. Training is a sum of ridge regressions with complex ridges
    (`ntkspec.generalisation._contour`), and the deterministic equivalent of `learning_curve` holds for each and, in the
    second moment, for each pair of them. So this is the limit of many modes itself at every step, as dynamical
    mean-field theory is; no effective ridge replaces early stopping. Where that limit holds is said at
    `learning_curve`. Measured for two rough kernels on 32² points (ReLU behind positional and behind Gaussian
    frequencies of σ = 6; noise 0.1; n = 32 and 128), it was within 1 % of that of draws at every step from
    ηλ_max t = 1 to 10⁵.

    **`Draws`**: n random points of a circulant lattice of at most 4,096, draw by draw and for every dynamics; exact for
    each draw and all shifts of the target (`ntkspec.generalisation._sampled`).

    **"grid"**: the points of K, every s-th of each axis of a lattice; exact. Frequency k of f − f̂ holds
    |f_k − T_k Σ_alias f|², T_k as in `aliasing`: what is not learned of it yet, and what is learned of its aliases in
    its place; and what T_k makes of noise, in the mean.

    Args:
        K: a kernel operator on the N points of the population, or its decomposition; a circulant lattice of any size, a
            low-rank operator, or up to 4,096 points. For "grid" a lattice operator of a periodic kernel, with a mask
            that keeps every s-th point of each axis.
        target: f at these points, shape (N,) or (N, channels); for "grid" on the whole lattice, (*full[, channels]).
        num_points: training points n, each from 1 to N − 1, drawn without replacement; None for "grid".
        steps: training steps to report, increasing.
        learning_rate: η of the loss on n points.
        loss: "sum" or "mean" (½ mean over the n points).
        dynamics: gradient descent where None; for "equivalent" that or the flow, each with or without a ridge.
        noise: σ, the standard deviation of noise in each training label.
        method: which points are trained on, and how the mean over them is taken.
        progress: reporter of the draws.

    Returns:
        Dataset over (num_points, step), for "grid" over step: `test_error`, the mean square of f − f̂ at points that are
        not trained on (NaN where all are); `whole_error`, at all N; on a lattice `error_by_frequency` (..., frequency),
        which adds up to `whole_error`, and `target_by_frequency`. "equivalent" adds `train_error`, the mean square of
        y − f̂ at the training points, and `contour_error`, the largest error of the sums of resolvents, relative to ‖y‖;
        draws add standard errors as in `learning_curve`. Means over points, channels and noise throughout.

    Raises:
        TypeError: if K is no operator, or no lattice operator for "grid".
        ValueError: if labels, steps, noise or n are out of range, the learning rate is past the stability limit, or the
            method does not take K or the dynamics.

    Source: Simon et al. 2023, "The eigenlearning framework", for one ridge; Bordelon, Atanasov & Pehlevan 2024, "A
    dynamical model of neural scaling laws", for training time; `ntkspec.generalisation._equivalent`.

    Example:
        >>> import ntkspec as ns, numpy as np
        >>> k = ns.kernel.compose(ns.mapping.power_law(16, p=0.5), ns.kernel.MLP(depth=2))
        >>> K = ns.operator.lattice(k, shape=(256,))
        >>> y = np.sin(2 * np.pi * 5 * K.points[:, 0])
        >>> flow = ns.dynamics.gradient_flow()
        >>> found = ns.generalisation.risk(
        ...     K, y, num_points=[32, 128], steps=[0, 10, 1000], learning_rate=1.0, loss="mean", dynamics=flow
        ... )
        >>> bool(np.allclose(found.test_error[:, 0], 0.5)), bool(found.test_error[1, 2] < found.test_error[0, 2])
        (True, True)
    """
    times = Times.of(operator_of(K).num_points, steps, learning_rate, loss, dynamics)
    check_number("noise", noise, 0, hint="the standard deviation σ ≥ 0, in units of the labels")
    if method == "grid":
        return grid_risk(K, target, times, noise)  # type: ignore[arg-type]  # refuses a decomposition
    if isinstance(method, Draws):
        return sampled_risk(K, target, num_points, times, noise, method, progress)
    return _equivalent(decompose(K), target, num_points, times, noise)  # type: ignore[arg-type]  # as its own


def _equivalent(
    modes: Decomposition, target: ArrayLike, num_points: Sequence[int] | None, times: Times, noise: float
) -> xr.Dataset:
    total = modes.num_points
    labels, _ = as_columns(target, total)
    counts = check_counts(num_points, total)
    if not has_resolvents(times.dynamics):
        expected = "gradient_flow() or gradient_descent(), with or without ridge(…)"
        instead = "momentum β is near the flow at the rate η/(1 − β), and method=Draws() takes every dynamics"
        raise ValueError(f"dynamics={type(times.dynamics).__name__}; expected {expected}; {instead}")
    equivalent = _Equivalent(modes, modes.power(labels).mean(axis=1), noise**2)
    greatest = np.sqrt(float(np.max(np.asarray(modes.operator.diagonal()))))
    cases = []
    for n in counts:
        trained = replace(times, num_points=int(n))
        trained.require_stable(n / total * float(modes.eigenvalue.max()))
        cases += [equivalent.at(n, sums, greatest) for sums in resolvents(trained, equivalent.largest(n))]
    sizes = {"num_points": len(counts), "step": len(times.steps)}
    names = {
        "test_error": "mean square error at other points",
        "train_error": "mean square of the residual at the training points",
        "whole_error": "mean square error at all points",
        "contour_error": "bound on the error of the sums of resolvents, relative to the labels",
    }
    return xr.Dataset(
        mean_errors(modes, labels, cases, names, sizes),
        coords={"num_points": variable("num_points", counts, "training points"), "step": times.coordinate()},
        attrs={
            **times.attributes(operator=modes.operator, dynamics=times.dynamics),
            "noise": noise,
            "population": total,
        },
    )


@dataclass(frozen=True)
class _Equivalent:
    """A kernel, a target's energy in the modes of each eigenvalue (h,), and the variance of noise."""

    modes: Decomposition
    energy: np.ndarray
    variance: float

    def largest(self, num_points: float) -> float:
        """About the most that λ_max of n points' matrix is: the top mode in proportion, and the next whole."""
        value = np.sort(self.modes.eigenvalue)[::-1]
        share = 2 * num_points / self.modes.num_points
        return float(min(value[0], share * value[0] + value[min(1, len(value) - 1)]))

    def at(self, n: float, sums: Resolvents, greatest: float) -> Case:
        """Errors of training on n points by a sum of resolvents, whose own error counts √K_ii times."""
        value, weight = self.modes.eigenvalue, self.modes.weight.astype(float)
        total = self.modes.num_points
        mu = compression_shift(value, weight, n, sums.shift)
        mu, shift = np.concatenate([mu, mu.conj()]), np.concatenate([sums.shift, sums.shift.conj()])
        coefficient = np.concatenate([sums.coefficient, sums.coefficient.conj()]) / 2
        inverse = 1 / (value[:, None] + mu)
        missed = (mu - shift) * inverse
        labels = self.energy + weight * self.variance
        learned = 1 - missed
        coupling = (missed.T * labels) @ missed / (n - (learned.T * weight) @ learned)
        each = coefficient * inverse
        gain = value * each.sum(axis=1).real
        scatter = weight * (gain**2 * self.variance + value**2 * np.sum((each @ coupling) * each, axis=1).real)
        # The residual at the training points is (1 − Σc) y + Σ c s R y.
        rest, times = 1 - coefficient.sum().real, each * shift
        summed = times.sum(axis=1)
        second = labels @ summed**2 + weight @ np.sum((times @ coupling) * times, axis=1)
        residual = rest**2 * n / total * labels.sum() + 2 * rest * labels @ summed.real + second.real
        trace = n * rest + weight @ summed.real
        clean = residual - 2 * self.variance * trace + n * self.variance
        whole = ((1 - gain) ** 2) @ self.energy + scatter.sum()
        numbers = (whole - clean) / (total - n), residual / n, whole / total, greatest * sums.error
        return Case(numbers, gain, scatter)
