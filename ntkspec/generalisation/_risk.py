"""The error on unseen points against the number of training points and the training step, frequency by frequency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from ntkspec.checks import check_labels
from ntkspec.dynamics import Dynamics, Loss, Times
from ntkspec.generalisation._contour import Resolvents, has_resolvents, resolvents
from ntkspec.generalisation._decomposition import Decomposition, decompose
from ntkspec.generalisation._equivalent import compression_shift
from ntkspec.generalisation._learning_curve import by_frequency, check_counts, check_noise
from ntkspec.operator import Operator
from ntkspec.record import attributes, variable

__all__ = ["risk"]


def risk(
    K: Operator | Decomposition,
    target: ArrayLike,
    *,
    num_points: Sequence[int],
    steps: Sequence[float],
    learning_rate: float,
    loss: Loss = "sum",
    dynamics: Dynamics | None = None,
    noise: float = 0.0,
) -> xr.Dataset:
    """The mean error of training on n random points of a population of N, stopped at each step, by frequency.

    Training is a sum of ridge regressions with complex ridges (`ntkspec.generalisation._contour`), and the
    deterministic equivalent of `learning_curve` holds for each and, in the second moment, for each pair of them. So
    this is the limit of many modes itself at every step, as dynamical mean-field theory is; no effective ridge stands
    for early stopping. Where that limit holds is said at `learning_curve`. Measured for two rough kernels on 32² points
    (ReLU behind positional and behind Gaussian frequencies of σ = 6; noise 0.1; n = 32 and 128), it was within 1 % of
    `sampled_risk` at every step from ηλ_max t = 1 to 10⁵.

    Args:
        K: a kernel operator on the N points of the population, or its decomposition; a circulant lattice of any size, a
            low-rank operator, or up to 4,096 points.
        target: f at these points, shape (N,) or (N, channels).
        num_points: training points n, each from 1 to N − 1, drawn without replacement.
        steps: training steps to report, increasing.
        learning_rate: η of the loss on n points.
        loss: "sum" or "mean" (½ mean over the n points).
        dynamics: gradient flow or gradient descent (the default), each with or without a ridge.
        noise: σ, the standard deviation of noise in each training label.

    Returns:
        Dataset over (num_points, step): `test_error`, the mean square of f − f̂ at points that are not trained on;
        `train_error`, that of y − f̂ at those that are; `whole_error`, of f − f̂ at all N; `contour_error`, the largest
        error of the sums of resolvents, relative to ‖y‖. Where the points are on a lattice, `error_by_frequency`
        (num_points, step, frequency), which adds up to `whole_error`, and `target_by_frequency`. Means over points and
        channels throughout.

    Raises:
        ValueError: if the dynamics is another, n is not in 1 … N − 1, labels, steps, noise or rate are no good, or
            `decompose` refuses K.

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
    modes = decompose(K)  # type: ignore[arg-type]  # a decomposition is its own
    total = modes.num_points
    labels = np.asarray(check_labels(target, total), dtype=float).reshape(total, -1)
    counts = check_counts(num_points, total)
    variance = check_noise(noise) ** 2
    times = Times.of(total, steps, learning_rate, loss, dynamics)
    if not has_resolvents(times.dynamics):
        raise ValueError(
            f"dynamics={type(times.dynamics).__name__}; expected gradient_flow() or gradient_descent(), with or "
            "without ridge(…); momentum β is near the flow at the rate η/(1 − β), and `sampled_risk` takes every "
            "dynamics"
        )
    case = _Case(modes, modes.power(labels).mean(axis=1), variance)
    rows, gains, scatters = [], [], []
    for n in counts:
        trained = replace(times, num_points=int(n))
        trained.require_stable(n / total * float(modes.eigenvalue.max()))
        for sums in resolvents(trained, case.largest(n)):
            test, train, gain, scatter = case.at(n, sums)
            whole = (((1 - gain) ** 2) @ case.energy + scatter.sum()) / total
            rows.append(
                (test, train, whole, np.sqrt(float(np.max(np.asarray(modes.operator.diagonal())))) * sums.error)
            )
            gains.append(gain)
            scatters.append(scatter)
    sizes = {"num_points": len(counts), "step": len(times.steps)}
    columns = np.array(rows).T.reshape(4, *sizes.values())
    names = {
        "test_error": "mean square error at other points",
        "train_error": "mean square of the residual at the training points",
        "whole_error": "mean square error at all points",
        "contour_error": "bound on the error of the sums of resolvents, relative to the labels",
    }
    return xr.Dataset(
        {
            name: variable(tuple(sizes), values, text)
            for (name, text), values in zip(names.items(), columns, strict=True)
        }
        | by_frequency(modes, labels, np.stack(gains, axis=1), np.stack(scatters, axis=1), sizes),
        coords={
            "num_points": ("num_points", counts, {"long_name": "training points", "units": ""}),
            "step": times.coordinate(),
        },
        attrs={
            **attributes(operator=modes.operator, dynamics=times.dynamics),
            **times.attributes(),
            "noise": noise,
            "population": total,
        },
    )


@dataclass(frozen=True)
class _Case:
    """A kernel, a target's energy in the modes of each eigenvalue (h,), and the variance of noise."""

    modes: Decomposition
    energy: np.ndarray
    variance: float

    def largest(self, num_points: float) -> float:
        """About the most that λ_max of n points' matrix is: the top mode in proportion, and the next whole."""
        value = np.sort(self.modes.eigenvalue)[::-1]
        share = 2 * num_points / self.modes.num_points
        return float(min(value[0], share * value[0] + value[min(1, len(value) - 1)]))

    def at(self, num_points: float, sums: Resolvents) -> tuple[float, float, np.ndarray, np.ndarray]:
        """Test and train error, and of each eigenvalue (h,) the gain and the variance in its modes."""
        value, weight = self.modes.eigenvalue, self.modes.weight.astype(float)
        total, n = self.modes.num_points, num_points
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
        return (whole - clean) / (total - n), residual / n, gain, scatter
