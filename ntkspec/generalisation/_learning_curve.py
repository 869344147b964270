"""The error on unseen points against the number of training points, from the spectrum of the kernel and a target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from ntkspec.checks import as_columns, check_number
from ntkspec.generalisation._decomposition import Decomposition, decompose
from ntkspec.generalisation._equivalent import capacity_ridge
from ntkspec.generalisation._inverse import check_ridge
from ntkspec.generalisation._sampled import sampled_learning_curve
from ntkspec.generalisation._tables import Case, Draws, check_counts, mean_errors
from ntkspec.operator import Operator
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.record import attributes, variable

__all__ = ["eigenlearning", "learning_curve"]


def learning_curve(
    K: Operator | Decomposition,
    target: ArrayLike,
    *,
    num_points: Sequence[int],
    noise: float = 0.0,
    ridge: float = 0.0,
    method: Literal["equivalent"] | Draws = "equivalent",
    progress: Progress = NO_PROGRESS,
) -> xr.Dataset:
    """Predict the mean error of kernel regression on n random points of a population of N, by n and by frequency.

    The population is the operator's points (a whole lattice, mostly); n of them are drawn without replacement, their
    labels are the target and noise of variance σ². With μ from Σ_k (Λ_k + δ)/(Λ_k + μ) = n over the eigenvalues Λ of K,
    L' = (Λ + δ)/(Λ + μ), L = Λ/(Λ + μ) and target energies v²:

        E = n/(n − Σ L'²) · Σ (1 − L')² (v² + σ²)             squares at the N − n other points, noise included,
        e_k = (1 − L_k)² v_k² + L_k² (σ² + E/n)               squares in mode k on all N points.

    As n/N → 0 this is `eigenlearning`; near N it is not (`ntkspec.generalisation._equivalent`).

    **Where it holds.** It is the limit of many modes that the points see as independent. Against kernel regression on
    16 to 512 of 1,024 points (`benchmarks/learning_curves.py`; smooth, photograph, 1/f and step) its error was 0.2 % in
    the median and 4.1 % at most for kernels with many modes (2-D, σ = 6), which is the noise of the measurement. In
    two dimensions with fewer modes it was 0.7 to 3 % in the median and up to 37 % too low for smooth targets; in one
    dimension 10 to 22 % and up to 70 %. Without a ridge, smooth kernels (gelu, erf) make their error in the few widest
    gaps between points, and it is too low by any factor.

    `Draws` as the method is right there: a mean over draws of points, without labels. On a circulant lattice each draw
    counts as regressions on all N shifts of the target (`ntkspec.generalisation._sampled`), however few the modes.

    Args:
        K: a kernel operator on the N points of the population, or its decomposition; a circulant lattice of any size, a
            low-rank operator, or up to 4,096 points.
        target: f at these points, shape (N,) or (N, channels).
        num_points: training points n, each from 1 to N − 1.
        noise: σ, the standard deviation of noise in each training label.
        ridge: δ ≥ 0, in units of the eigenvalues of the training points' matrix.
        method: "equivalent", the formulas above, or `Draws(number, seed)` of the points of a circulant lattice (a
            periodic kernel on a whole lattice) of at most 4,096.
        progress: reporter of the draws.

    Returns:
        Dataset over `num_points`: `test_error`, the mean square of f − f̂ at points that are not trained on;
        `whole_error`, that at all N; with draws, the standard error of each (`test_standard_error`,
        `whole_standard_error`) and of each channel (`channel_error`, `channel_standard_error`); without,
        `learnability`, Σ L v²/Σ v², the part of the target that is learned on average, `effective_ridge` μ and
        `overfitting`, E₀ = n/(n − Σ L'²). Where the points are on a lattice, for each radial `frequency` (cycles per
        unit): `error_by_frequency` (num_points, frequency), which adds up to `whole_error`, and
        `target_by_frequency`. Means over points and channels throughout.

    Raises:
        ValueError: if n is not in 1 … N − 1, without a ridge not below the rank, the labels do not fit, noise or ridge
            are negative or below K's `approximation_error`, `decompose` refuses K or K is no lattice to draw from, or a
            draw's matrix is singular up to rounding.

    Source: Bordelon, Canatar & Pehlevan 2020; Canatar, Bordelon & Pehlevan 2021; Simon et al. 2023, "The eigenlearning
    framework"; the finite population after LeJeune et al. 2024, "Asymptotics of the sketched pseudoinverse"; for draws,
    Sollich 1999, "Learning curves for Gaussian processes".

    Example:
        >>> import ntkspec as ns, numpy as np
        >>> k = ns.kernel.compose(ns.mapping.power_law(16, p=1.0), ns.kernel.MLP(depth=2))
        >>> K = ns.operator.lattice(k, shape=(256,))
        >>> c = ns.generalisation.learning_curve(K, np.sin(2 * np.pi * 5 * K.points[:, 0]), num_points=[8, 32, 128])
        >>> bool((np.diff(c.test_error) < 0).all())
        True
    """
    variance = check_number("noise", noise, 0, hint="the standard deviation σ ≥ 0, in units of the labels") ** 2
    if isinstance(method, Draws):
        return sampled_learning_curve(K, target, num_points, noise, ridge, method, progress)
    modes = decompose(K)  # type: ignore[arg-type]  # a decomposition is its own
    total = modes.num_points
    labels, _ = as_columns(target, total)
    counts = check_counts(num_points, total)
    ridge = check_ridge(modes.operator, ridge)
    weight = modes.weight.astype(float)
    energy = modes.power(labels).mean(axis=1)
    cases, shifted = [], modes.eigenvalue + ridge
    for n in counts:
        kappa = capacity_ridge(shifted, weight, n, 0.0)
        inner, gain = shifted / (shifted + kappa), modes.eigenvalue / (shifted + kappa)
        overfitting = n / (n - weight @ inner**2)
        error = overfitting * (((1 - inner) ** 2) @ (energy + weight * variance))
        scatter = weight * gain**2 * (variance + error / n)
        whole = (((1 - gain) ** 2) @ energy + scatter.sum()) / total
        learnability = (gain @ energy) / max(energy.sum(), np.finfo(float).tiny)
        test = error / (total - n) - variance
        cases.append(Case((test, whole, learnability, kappa + ridge, overfitting), gain, scatter))
    names = {
        "test_error": "mean square error at other points",
        "whole_error": "mean square error at all points",
        "learnability": "part of the target that is learned on average",
        "effective_ridge": "effective ridge μ",
        "overfitting": "overfitting coefficient",
    }
    return xr.Dataset(
        mean_errors(modes, labels, cases, names, {"num_points": len(counts)}),
        coords={"num_points": variable("num_points", counts, "training points")},
        attrs={**attributes(operator=modes.operator), "noise": noise, "ridge": ridge, "population": total},
    )


def eigenlearning(
    eigenvalue: ArrayLike,
    coefficient: ArrayLike,
    *,
    num_points: Sequence[int],
    noise: float = 0.0,
    ridge: float = 0.0,
) -> xr.Dataset:
    """Predict the mean test error of kernel regression on n independent points of a continuum, mode by mode.

    With κ from Σ λ_i/(λ_i + κ) + δ/κ = n, L = λ/(λ + κ): E = n/(n − Σ L²) · (Σ (1 − L)² v² + σ²).

    Args:
        eigenvalue: λ of the kernel's integral operator in the distribution of points, shape (m,): of a lattice's
            matrix, its eigenvalues over N. What a list leaves out acts like a ridge of its sum.
        coefficient: v of the target in the eigenfunctions, of mean square 1, shape (m,) or (m, channels).
        num_points: training points n ≥ 1, without a ridge fewer than positive eigenvalues.
        noise: σ, the standard deviation of noise in each training label.
        ridge: δ ≥ 0, in units of the eigenvalues of the training points' matrix.

    Returns:
        Dataset over `num_points`: `test_error`, the mean square of f − f̂, noise not included; `effective_ridge` κ;
        `overfitting` E₀; and (num_points, mode) `learnability` L and `error_by_mode`, which adds up to `test_error`.

    Raises:
        ValueError: if the shapes disagree, an eigenvalue, noise or ridge is negative, or n is out of range.

    Source: Simon, Dickens, Karkada & DeWeese 2023, "The eigenlearning framework", equations 6 to 12; Canatar, Bordelon
    & Pehlevan 2021, equations 4 and 5.

    Example:
        >>> c = eigenlearning([0.5, 0.25, 0.25], [1.0, 0.0, 1.0], num_points=[1, 2])
        >>> bool(c.learnability.sum("mode")[1].round(9) == 2)
        True
    """
    value, vector = np.asarray(eigenvalue, dtype=float), np.asarray(coefficient, dtype=float)
    if value.ndim != 1 or not value.size or not (np.isfinite(value).all() and (value >= 0).all()):
        raise ValueError(f"eigenvalues of shape {value.shape}; expected a list (m,) of numbers that are not negative")
    m = len(value)
    if vector.ndim not in (1, 2) or len(vector) != m or not np.isfinite(vector).all():
        what = f"coefficients of shape {vector.shape} for {m} eigenvalues"
        raise ValueError(f"{what}; expected finite numbers ({m},) or ({m}, channels), one row a mode")
    counts = check_counts(num_points, None)
    variance = check_number("noise", noise, 0, hint="the standard deviation σ ≥ 0, in units of the labels") ** 2
    check_number("ridge", ridge, 0, hint="one number δ ≥ 0, in units of the eigenvalues of n points' matrix")
    energy = np.mean(vector.reshape(len(value), -1) ** 2, axis=1)
    ones = np.ones_like(value)
    kappa = np.array([capacity_ridge(value, ones, n, ridge) for n in counts])
    learned = value / (value + kappa[:, None])
    overfitting = counts / (counts - np.sum(learned**2, axis=1))
    total = overfitting * (((1 - learned) ** 2) @ energy + variance)
    by_mode = (1 - learned) ** 2 * energy + learned**2 * (total / counts)[:, None]
    return xr.Dataset(
        {
            "test_error": variable("num_points", total - variance, "mean square error"),
            "effective_ridge": variable("num_points", kappa, "effective ridge κ"),
            "overfitting": variable("num_points", overfitting, "overfitting coefficient"),
            "learnability": variable(("num_points", "mode"), learned, "part of the mode that is learned on average"),
            "error_by_mode": variable(("num_points", "mode"), by_mode, "mean square error in the mode"),
        },
        coords={
            "num_points": variable("num_points", counts, "training points"),
            "eigenvalue": variable("mode", value, "eigenvalue λ"),
        },
        attrs={**attributes(), "noise": noise, "ridge": ridge},
    )
