"""Learning curves and risk of a periodic kernel from draws of training points alone: no limit of many modes.

Draws of points from a circulant lattice look the same after any shift, so the mean over draws is also that over shifts
of the target. What is left of a target after all its shifts is its autocovariance C(Δ) = mean_x f(x) f(x + Δ), and
with f̂ = A y the mean squared error at a point x is that of linear prediction,

    C(0) − 2 Σ_j A_xj C(x − x_j) + Σ_jj' A_xj A_xj' C(x_j − x_j') + σ² Σ_j A_xj²,

exactly, however few modes there are. A draw of points, without any labels, gives the mean over all N shifts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import scipy.fft
import scipy.linalg
import xarray as xr
from numpy.typing import ArrayLike

from ntkspec.checks import as_columns
from ntkspec.dynamics import Times
from ntkspec.generalisation._decomposition import Decomposition, spectral_rounding
from ntkspec.generalisation._inverse import check_ridge, operator_of, singular
from ntkspec.generalisation._tables import Draws, check_counts, frequency_variables
from ntkspec.grid import energy_by_frequency, half_weights
from ntkspec.limits import current
from ntkspec.operator import Lattice, Operator
from ntkspec.progress import Progress
from ntkspec.record import attributes, step_coordinate, variable

__all__ = ["sampled_learning_curve", "sampled_risk"]

#: Weights of training as functions of the eigenvalues (n,) of the training points' matrix: (n, f).
Filters = Callable[[np.ndarray], np.ndarray]


def sampled_learning_curve(
    K: Operator | Decomposition,
    target: ArrayLike,
    num_points: Sequence[int],
    noise: float,
    ridge: float,
    draws: Draws,
    progress: Progress,
) -> xr.Dataset:
    """See `ntkspec.generalisation.learning_curve`, method `Draws`."""
    lattice, labels, counts = _checked(K, target, num_points)
    ridge, population = check_ridge(lattice, ridge), _Population.of(lattice, labels, noise, draws, progress)
    rounding = spectral_rounding(lattice, float(np.max(np.asarray(lattice.transform))))

    def weights(value: np.ndarray) -> np.ndarray:
        if not value.min() + ridge > rounding:
            raise singular(ridge, rounding)
        return 1 / (value + ridge)[:, None]

    errors = [population.errors(int(n), weights) for n in counts]
    settings = {**attributes(operator=lattice), "noise": noise, "ridge": ridge}
    return _dataset(lattice, errors, labels, {"num_points": counts}, settings, draws)


def sampled_risk(
    K: Operator | Decomposition,
    target: ArrayLike,
    num_points: Sequence[int] | None,
    times: Times,
    noise: float,
    draws: Draws,
    progress: Progress,
) -> xr.Dataset:
    """See `ntkspec.generalisation.risk`, method `Draws`."""
    lattice, labels, counts = _checked(K, target, num_points)
    population = _Population.of(lattice, labels, noise, draws, progress)
    cases = [replace(times, num_points=int(n)) for n in counts]
    errors = [population.errors(case.num_points, partial(_stable_weights, case)) for case in cases]
    settings = {"noise": noise, **times.attributes(operator=lattice, dynamics=times.dynamics)}
    return _dataset(lattice, errors, labels, {"num_points": counts, "step": times.steps}, settings, draws)


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
class _Population:
    """Points of a circulant lattice with a target, to draw training points from."""

    lattice: Lattice
    target: _Target
    variance: float
    generator: np.random.Generator
    num_draws: int
    progress: Progress

    @classmethod
    def of(cls, lattice: Lattice, labels: np.ndarray, noise: float, draws: Draws, progress: Progress) -> _Population:
        generator = np.random.default_rng(draws.seed)
        return cls(lattice, _Target.of(labels, lattice), noise**2, generator, draws.number, progress)

    def errors(self, num_points: int, weights: Filters) -> _Errors:
        """Squares at one n, means over channels but at other points."""
        total, target, variance = self.lattice.num_points, self.target, self.variance
        kernel = np.asarray(self.lattice.lags(), dtype=float).ravel()
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
    """What shifts leave of a target on a lattice of some shape: C of each channel at flat lags, covariance (c, N).

    Of the half spectrum the radial bin, number of waves, power (mean over channels), all (h,), and the frequency in
    turns a point on each axis (h, d).
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
        """Return the flat lag from each kept point to each point, shape (N, n)."""
        place = np.stack(np.unravel_index(np.arange(np.prod(self.shape)), self.shape))
        size = np.array(self.shape)[:, None, None]
        return np.ravel_multi_index(tuple((place[:, :, None] - place[:, None, kept]) % size), self.shape)

    def squares(self, smoother: np.ndarray, kept: np.ndarray, lag: np.ndarray, variance: float) -> np.ndarray:
        """Return the mean square error at each point, from f̂ = smoother y, shape (N, c)."""
        noise = variance * np.sum(smoother**2, axis=1)
        columns = [
            C[0] - 2 * np.sum(smoother * C[lag], axis=1) + np.sum((smoother @ C[lag[kept]]) * smoother, axis=1)
            for C in self.covariance
        ]
        return np.stack(columns, axis=1) + noise[:, None]

    def by_frequency(self, smoother: np.ndarray, kept: np.ndarray, lag: np.ndarray, variance: float) -> np.ndarray:
        """Return the same summed over all points, by radial bin: waves of f̂ against those of f, the mean of shifts."""
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
    K: Operator | Decomposition, target: ArrayLike, num_points: Sequence[int] | None
) -> tuple[Lattice, np.ndarray, np.ndarray]:
    operator = operator_of(K)
    if not (isinstance(operator, Lattice) and operator.circulant):
        raise ValueError(
            "the draws need a periodic kernel on a whole lattice, so that all shifts of the points are alike: a mapping"
            ' of whole frequencies, as power_law, and no mask; method="equivalent" takes every operator'
        )
    total = operator.num_points
    if total > (limit := current().exact_points):
        what = f"a lattice of {total:,} points; expected at most {limit:,}, as every draw predicts at all of them"
        raise ValueError(f'{what}; method="equivalent" takes more')
    labels, _ = as_columns(target, total)
    return operator, labels, check_counts(num_points, total)


def _dataset(
    K: Lattice,
    errors: list[_Errors],
    labels: np.ndarray,
    cases: dict[str, np.ndarray],
    settings: dict[str, Any],
    draws: Draws,
) -> xr.Dataset:
    sizes = {name: len(values) for name, values in cases.items()}
    counts = cases["num_points"]
    total = len(labels)
    other = np.stack([one.other / (total - n) for one, n in zip(errors, counts, strict=True)])
    whole = np.stack([one.whole / total for one in errors])

    def column(values: np.ndarray, text: str, *dims: str) -> tuple:
        shape = (*sizes.values(), -1) if dims else tuple(sizes.values())
        return variable((*sizes, *dims), values.reshape(shape), text)

    def scatter(values: np.ndarray, axis: int = -1) -> np.ndarray:
        return values.std(axis=axis, ddof=1) / np.sqrt(draws.number)

    target, frequency = energy_by_frequency(labels.T, K.placement)
    coordinates = {"num_points": variable("num_points", counts, "training points")}
    if "step" in cases:
        coordinates["step"] = step_coordinate(cases["step"])
    return xr.Dataset(
        {
            "test_error": column(other.mean(axis=(-1, -2)), "mean square error at other points"),
            "test_standard_error": column(scatter(other.mean(axis=-1)), "standard error over the draws"),
            "channel_error": column(other.mean(axis=-2), "mean square error at other points", "channel"),
            "channel_standard_error": column(scatter(other, axis=-2), "standard error over the draws", "channel"),
            "whole_error": column(whole.mean(axis=-1), "mean square error at all points"),
            "whole_standard_error": column(scatter(whole), "standard error over the draws"),
            **frequency_variables(
                np.stack([one.by_frequency for one in errors]), target.mean(axis=0), frequency, labels, sizes
            ),
        },
        coords=coordinates,
        attrs={**settings, "population": total, "num_draws": draws.number},
    )
