"""Learning curves and risk of a periodic kernel from draws of training points alone: no limit of many modes.

Draws of points from a circulant lattice look the same after any shift, so the mean over draws is also that over shifts
of the target. What is left of a target after all its shifts is its autocovariance C(Δ) = mean_x f(x) f(x + Δ), and
with f̂ = A y the mean squared error at a point x is that of linear prediction,

    C(0) − 2 Σ_j A_xj C(x − x_j) + Σ_jj' A_xj A_xj' C(x_j − x_j') + σ² Σ_j A_xj²,

exactly, however few modes there are. A draw of points, without any labels, stands for the mean over all N shifts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import scipy.fft
import scipy.linalg
import xarray as xr
from numpy.typing import ArrayLike

from ntkspec.checks import check_labels
from ntkspec.dynamics import Dynamics, Loss, Times
from ntkspec.generalisation._decomposition import spectral_rounding
from ntkspec.generalisation._inverse import check_ridge, operator_of
from ntkspec.generalisation._learning_curve import check_counts, check_noise, frequency_variables
from ntkspec.grid import half_weights
from ntkspec.limits import current
from ntkspec.operator import Lattice, Operator
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.record import attributes, step_coordinate, variable

__all__ = ["sampled_learning_curve", "sampled_risk"]

#: Weights of training as functions of the eigenvalues (n,) of the training points' matrix: (n, f).
Filters = Callable[[np.ndarray], np.ndarray]


def sampled_learning_curve(
    K: Operator,
    target: ArrayLike,
    *,
    num_points: Sequence[int],
    noise: float = 0.0,
    ridge: float = 0.0,
    num_draws: int = 16,
    seed: int = 0,
    progress: Progress = NO_PROGRESS,
) -> xr.Dataset:
    """The mean error of kernel regression on n random points, without the limit of many modes of `learning_curve`.

    A mean over draws of points, without labels: each draw counts as regressions on all N shifts of the target, of which
    only the autocovariance is needed (`ntkspec.generalisation._sampled`).

    Args:
        K: a circulant lattice of at most 4,096 points: a periodic kernel on a whole lattice.
        target: f at these points, shape (N,) or (N, channels).
        num_points: training points n, each from 1 to N − 1.
        noise: σ, the standard deviation of noise in each training label; taken into account exactly.
        ridge: δ ≥ 0, in units of the eigenvalues of the training points' matrix.
        num_draws: of the training points, at least 2.
        seed: of the draws.
        progress: reporter.

    Returns:
        Dataset over `num_points`: `test_error`, the mean square of f − f̂ at points that are not trained on, and
        `whole_error`, that at all N, each with its standard error over the draws (`test_standard_error`,
        `whole_standard_error`); `channel_error` and `channel_standard_error` (num_points, channel), the first for each
        channel; `error_by_frequency` (num_points, frequency), which adds up to `whole_error`, and
        `target_by_frequency`. Means over points and channels else.

    Raises:
        ValueError: if K is no circulant lattice or is too large, n is not in 1 … N − 1, labels, noise, ridge or draws
            are no good, or a draw's matrix is singular up to rounding.

    Source: Rasmussen & Williams 2006, equations 2.25 and 2.26; Sollich 1999, "Learning curves for Gaussian processes",
    for the mean over functions.

    Example:
        >>> import ntkspec as ns, numpy as np
        >>> k = ns.kernel.compose(ns.mapping.power_law(16, p=1.0), ns.kernel.MLP(depth=2))
        >>> K = ns.operator.lattice(k, shape=(128,))
        >>> y = np.sin(2 * np.pi * 5 * K.points[:, 0])
        >>> c = ns.generalisation.sampled_learning_curve(K, y, num_points=[8, 64])
        >>> bool(c.test_error[1] < c.test_error[0])
        True
    """
    lattice, labels, counts = _checked(K, target, num_points, num_draws)
    ridge, variance = check_ridge(lattice, ridge), check_noise(noise) ** 2
    draws = _Draws(lattice, np.random.default_rng(seed), num_draws, progress)
    largest = float(np.max(np.asarray(lattice.transform)))

    def weights(value: np.ndarray) -> np.ndarray:
        if not value.min() + ridge > spectral_rounding(lattice, largest):
            raise ValueError(
                f"ridge={ridge:g} leaves the matrix of {len(value)} drawn points singular up to rounding; expected a "
                f"ridge above about {spectral_rounding(lattice, largest):.2g}, or fewer points"
            )
        return 1 / (value + ridge)[:, None]

    found = [draws.errors(int(n), weights, labels, variance) for n in counts]
    return _dataset(lattice, found, labels, {"num_points": counts}, {"noise": noise, "ridge": ridge}, num_draws)


def sampled_risk(
    K: Operator,
    target: ArrayLike,
    *,
    num_points: Sequence[int],
    steps: Sequence[float],
    learning_rate: float,
    loss: Loss = "sum",
    dynamics: Dynamics | None = None,
    noise: float = 0.0,
    num_draws: int = 16,
    seed: int = 0,
    progress: Progress = NO_PROGRESS,
) -> xr.Dataset:
    """The mean error of training on n random points, stopped at each step; without the limit of many modes of `risk`.

    As `sampled_learning_curve`, with the weights (1 − r(λ, t))/λ of a dynamics for those of a ridge.

    Args:
        K: a circulant lattice of at most 4,096 points.
        target: f at these points, shape (N,) or (N, channels).
        num_points: training points n, each from 1 to N − 1.
        steps: training steps to report, increasing.
        learning_rate: η of the loss on n points.
        loss: "sum" or "mean".
        dynamics: gradient descent where None; every one.
        noise: σ, the standard deviation of noise in each training label; taken into account exactly.
        num_draws: of the training points, at least 2.
        seed: of the draws.
        progress: reporter.

    Returns:
        Dataset over (num_points, step), with the variables of `sampled_learning_curve`.

    Raises:
        ValueError: as `sampled_learning_curve`, or if the rate is past the stability limit of a draw.

    Source: the symmetry under shifts; Lee et al. 2019, equations 8 to 11, for the trained function.

    Example:
        >>> import ntkspec as ns, numpy as np
        >>> k = ns.kernel.compose(ns.mapping.power_law(16, p=1.0), ns.kernel.MLP(depth=2))
        >>> K = ns.operator.lattice(k, shape=(128,))
        >>> y = np.sin(2 * np.pi * 5 * K.points[:, 0])
        >>> found = ns.generalisation.sampled_risk(
        ...     K, y, num_points=[16], steps=[0, 100], learning_rate=0.1, dynamics=ns.dynamics.heavy_ball(0.9)
        ... )
        >>> bool(np.isclose(found.test_error[0, 0], 0.5))
        True
    """
    lattice, labels, counts = _checked(K, target, num_points, num_draws)
    variance = check_noise(noise) ** 2
    times = Times.of(lattice.num_points, steps, learning_rate, loss, dynamics)
    draws = _Draws(lattice, np.random.default_rng(seed), num_draws, progress)
    found = []
    for n in counts:
        weights = partial(_stable_weights, replace(times, num_points=int(n)))
        found.append(draws.errors(int(n), weights, labels, variance))
    settings = {"noise": noise, **times.attributes()}
    result = _dataset(lattice, found, labels, {"num_points": counts, "step": times.steps}, settings, num_draws)
    return result.assign_attrs(attributes(operator=lattice, dynamics=times.dynamics))


def _stable_weights(times: Times, eigenvalue: np.ndarray) -> np.ndarray:
    times.require_stable(float(eigenvalue.max()))
    return times.weights(np.maximum(eigenvalue, 0))


@dataclass(frozen=True)
class _Errors:
    """Sums of squares at one n, of each filter: at other points (f, d, c), at all (f, d), by frequency (f, b)."""

    other: np.ndarray
    whole: np.ndarray
    by_frequency: np.ndarray


@dataclass(frozen=True)
class _Draws:
    """Draws of training points from a circulant lattice."""

    lattice: Lattice
    generator: np.random.Generator
    num_draws: int
    progress: Progress

    def errors(self, num_points: int, weights: Filters, labels: np.ndarray, variance: float) -> _Errors:
        """Of labels (N, c), means over channels but at other points."""
        total = self.lattice.num_points
        kernel = np.asarray(self.lattice.lags(), dtype=float).ravel()
        target = _Target.of(labels, self.lattice)
        other, whole, by_frequency = [], [], []
        with self.progress.start(f"draws of {num_points:,} points", self.num_draws, "draws") as stage:
            for _ in range(self.num_draws):
                kept = self.generator.choice(total, num_points, replace=False)
                left = np.ones(total, dtype=bool)
                left[kept] = False
                lag = target.lags(kept)
                value, vector = scipy.linalg.eigh(kernel[lag[kept]], driver="evd")
                expansion = kernel[lag] @ vector
                each = [expansion * w @ vector.T for w in weights(value).T]
                squares = [target.squares(smoother, kept, lag, variance) for smoother in each]
                other.append([one[left].sum(axis=0) for one in squares])
                whole.append([one.sum(axis=0).mean() for one in squares])
                by_frequency.append([target.by_frequency(smoother, kept, lag, variance) for smoother in each])
                stage.advance()
        return _Errors(np.array(other).transpose(1, 0, 2), np.array(whole).T, np.mean(by_frequency, axis=0))


@dataclass(frozen=True)
class _Target:
    """What shifts leave of a target on a lattice.

    Attributes:
        covariance: C of each channel, at flat lags, shape (c, N).
        shape: of the lattice.
        half: the half spectrum: which radial bin each is in, how many it stands for, its power (mean over channels) and
            its frequency in turns a point on each axis, shapes (h,), (h,), (h,), (h, d).
    """

    covariance: np.ndarray
    shape: tuple[int, ...]
    half: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, labels: np.ndarray, lattice: Lattice) -> _Target:
        shape, total = lattice.sublattice.shape, lattice.num_points
        axes = tuple(range(1, len(shape) + 1))
        power = np.abs(scipy.fft.rfftn(labels.T.reshape(-1, *shape), axes=axes)) ** 2 / total
        covariance = scipy.fft.irfftn(power, s=shape, axes=axes).reshape(len(power), total)
        bins, _ = lattice.placement.grid.frequency_bins()
        last = shape[-1] // 2 + 1
        weight = np.broadcast_to(half_weights(shape), (*shape[:-1], last)).ravel()
        axes_turns = np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij")
        turns = np.stack([axis[..., :last].ravel() for axis in axes_turns], axis=1)
        return cls(covariance, shape, (bins[..., :last].ravel(), weight, power.mean(axis=0).ravel(), turns))

    def lags(self, kept: np.ndarray) -> np.ndarray:
        """The flat lag from each kept point to each point, shape (N, n)."""
        place = np.stack(np.unravel_index(np.arange(np.prod(self.shape)), self.shape))
        size = np.array(self.shape)[:, None, None]
        return np.ravel_multi_index(tuple((place[:, :, None] - place[:, None, kept]) % size), self.shape)

    def squares(self, smoother: np.ndarray, kept: np.ndarray, lag: np.ndarray, variance: float) -> np.ndarray:
        """The mean square error at each point, from f̂ = smoother y, shape (N, c)."""
        noise = variance * np.sum(smoother**2, axis=1)
        columns = [
            C[0] - 2 * np.sum(smoother * C[lag], axis=1) + np.sum((smoother @ C[lag[kept]]) * smoother, axis=1)
            for C in self.covariance
        ]
        return np.stack(columns, axis=1) + noise[:, None]

    def by_frequency(self, smoother: np.ndarray, kept: np.ndarray, lag: np.ndarray, variance: float) -> np.ndarray:
        """The same sum over all points, by radial bin: the waves of f̂ against those of f, in the mean over shifts."""
        bins, weight, power, turns = self.half
        dim = len(self.shape)
        waves = scipy.fft.rfftn(smoother.reshape(*self.shape, -1), axes=range(dim)).reshape(len(bins), -1)
        place = np.stack(np.unravel_index(kept, self.shape))
        crossed = np.sum(waves * np.exp(2j * np.pi * turns @ place), axis=1).real
        inner = self.covariance.mean(axis=0)[lag[kept]] + variance * np.eye(len(kept))
        square = sum(np.sum((part @ inner) * part, axis=1) for part in (waves.real, waves.imag))
        energy = power - (2 * power * crossed - square) / len(lag)
        return np.bincount(bins, weights=weight * energy)


def _checked(
    K: Operator, target: ArrayLike, num_points: Sequence[int], num_draws: int
) -> tuple[Lattice, np.ndarray, np.ndarray]:
    operator = operator_of(K)
    if not (isinstance(operator, Lattice) and operator.circulant):
        raise ValueError(
            "the draws need a periodic kernel on a whole lattice, so that all shifts of the points are alike: a "
            "mapping of whole frequencies, as power_law or positional, and no mask; `learning_curve` and `risk` take "
            "every operator"
        )
    total = operator.num_points
    if total > (limit := current().exact_points):
        raise ValueError(
            f"a lattice of {total:,} points; expected at most {limit:,}, as every draw predicts at all of them; "
            "`learning_curve` and `risk` take more"
        )
    if num_draws < 2:
        raise ValueError(f"num_draws={num_draws}; expected at least 2, so that their scatter gives an error bar")
    labels = np.asarray(check_labels(target, total), dtype=float).reshape(total, -1)
    return operator, labels, check_counts(num_points, total)


def _dataset(
    K: Lattice,
    found: list[_Errors],
    labels: np.ndarray,
    cases: dict[str, np.ndarray],
    settings: dict[str, float | str],
    num_draws: int,
) -> xr.Dataset:
    sizes = {name: len(values) for name, values in cases.items()}
    counts = cases["num_points"]
    total = len(labels)
    other = np.stack([one.other / (total - n) for one, n in zip(found, counts, strict=True)])
    whole = np.stack([one.whole / total for one in found])

    def column(values: np.ndarray, text: str) -> tuple:
        return variable(tuple(sizes), values.reshape(*sizes.values()), text)

    def scatter(values: np.ndarray, axis: int = -1) -> np.ndarray:
        return values.std(axis=axis, ddof=1) / np.sqrt(num_draws)

    def by_channel(values: np.ndarray, text: str) -> tuple:
        return variable((*sizes, "channel"), values.reshape(*sizes.values(), -1), text)

    placement = K.placement
    bins, frequency = placement.grid.frequency_bins()
    power = np.abs(scipy.fft.fftn(labels.T.reshape(-1, *bins.shape), axes=tuple(range(1, bins.ndim + 1)))) ** 2
    target = np.bincount(bins.ravel(), weights=power.mean(axis=0).ravel() / total)
    coordinates = {"num_points": ("num_points", counts, {"long_name": "training points", "units": ""})}
    if "step" in cases:
        coordinates["step"] = step_coordinate(cases["step"])
    return xr.Dataset(
        {
            "test_error": column(other.mean(axis=(-1, -2)), "mean square error at other points"),
            "test_standard_error": column(scatter(other.mean(axis=-1)), "standard error over the draws"),
            "channel_error": by_channel(other.mean(axis=-2), "mean square error at other points"),
            "channel_standard_error": by_channel(scatter(other, axis=-2), "standard error over the draws"),
            "whole_error": column(whole.mean(axis=-1), "mean square error at all points"),
            "whole_standard_error": column(scatter(whole), "standard error over the draws"),
            **frequency_variables(np.stack([one.by_frequency for one in found]), target, frequency, labels, sizes),
        },
        coords=coordinates,
        attrs={**attributes(operator=K), **settings, "population": total, "num_draws": num_draws},
    )
