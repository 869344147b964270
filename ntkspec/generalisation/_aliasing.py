"""Where the energy of frequencies above a training grid's limit ends up, and the risk on such a grid: both exact."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from ntkspec.checks import check_sizes
from ntkspec.dynamics import Dynamics, Loss, Times
from ntkspec.eigen._frequency import one_sign
from ntkspec.generalisation._fold import Fold, fold_of
from ntkspec.grid import Grid
from ntkspec.limits import refuse_if_too_large
from ntkspec.operator import Operator
from ntkspec.record import variable

__all__ = ["aliasing", "grid_risk"]


def aliasing(
    K: Operator,
    target: ArrayLike,
    *,
    steps: Sequence[float],
    learning_rate: float,
    loss: Loss = "sum",
    dynamics: Dynamics | None = None,
    num_ghosts: int = 32,
) -> xr.Dataset:
    """Which frequency every frequency of a target is learned as, when training sees every s-th point.

    A wave of frequency k on the grid of M points is no other than those of k + M j. Training learns a part
    T_k'k = (1 − r(Λ̄, t)) Λ_k'/Σ_alias Λ of it as k' (`ntkspec.generalisation._fold`): itself for k' = k, else a ghost.
    Exact, with no product of the operator.

    Args:
        K: a lattice operator of a periodic kernel with a mask that keeps every s-th point of each axis.
        target: f on the whole lattice, shape (*full) or (*full, channels).
        steps: training steps to report, increasing.
        learning_rate: η of the loss.
        loss: "sum" or "mean".
        dynamics: gradient descent where None.
        num_ghosts: the strongest to list.

    Returns:
        Dataset. By radial `frequency` (cycles per unit), as means over points and channels: `target_energy`
        (frequency); `learned_energy` and `ghost_energy` (step, frequency), of f̂ and of that part of it that came from
        other frequencies; `transfer` (step, frequency, learned_frequency), the mean of T² summed over the learned ones.
        A list over `ghost`, strongest first: `true_frequency` and `ghost_frequency` (ghost, axis), and (step, ghost)
        `gain` T and `amplitude`, of the wave that a cosine of the target's amplitude leaves there (root mean square
        over channels). Attribute: `limit`, the highest frequency of the grid on each axis.

    Raises:
        TypeError: if K is no lattice operator.
        ValueError: if the kernel is not periodic or the points are no regular grid, the target has another shape, or
            steps do not increase, or the learning rate is past the stability limit.

    Source: `ntkspec.generalisation._fold`.

    Example:
        >>> import ntkspec as ns, numpy as np
        >>> k = ns.kernel.compose(ns.mapping.power_law(16, p=1.0), ns.kernel.MLP(depth=2))
        >>> K = ns.operator.lattice(k, shape=(64,), mask=np.arange(64) % 4 == 0)
        >>> y = np.cos(2 * np.pi * 13 * np.arange(64) / 64)
        >>> a = ns.generalisation.aliasing(K, y, steps=[1000], learning_rate=0.05)
        >>> float(a.true_frequency[0, 0]), abs(float(a.ghost_frequency[0, 0]))
        (13.0, 3.0)
    """
    check_sizes(num_ghosts=num_ghosts)
    times = Times.of(K.num_points, steps, learning_rate, loss, dynamics)
    fold, waves, learned = _trained(K, target, times)
    given = fold.by_alias(waves) * fold.phase
    sums = given.sum(axis=1, keepdims=True)
    bins, frequency = Grid.unit(fold.full).frequency_bins()
    gains = [part * fold.share for part in learned]
    energy = np.stack([_by_frequency(fold.over_frequencies(gain * sums), bins) for gain in gains])
    ghost = np.stack([_by_frequency(fold.over_frequencies(gain * (sums - given)), bins) for gain in gains])
    transfer = _transfer(fold, learned, bins)
    return xr.Dataset(
        {
            "target_energy": variable("frequency", _by_frequency(waves, bins), "mean square of the target"),
            "learned_energy": variable(("step", "frequency"), energy, "mean square of the learned function"),
            "ghost_energy": variable(("step", "frequency"), ghost, "mean square of what is alias in it"),
            "transfer": variable(("step", "frequency", "learned_frequency"), transfer, "energy of a wave learned as"),
            **_ghosts(fold, learned, given, num_ghosts),
        },
        coords={
            "step": times.coordinate(),
            "frequency": variable("frequency", frequency, "frequency", "cycles per unit"),
            "learned_frequency": variable("learned_frequency", frequency, "learned frequency", "cycles per unit"),
        },
        attrs={
            **times.attributes(operator=K, dynamics=times.dynamics),
            "limit": [m / 2 for m in fold.train],
        },
    )


def grid_risk(K: Operator, target: ArrayLike, times: Times, noise: float) -> xr.Dataset:
    """See `ntkspec.generalisation.risk`, method "grid"."""
    variance = noise**2
    fold, waves, learned = _trained(K, target, times)
    total, count = waves[0].size, K.num_points
    given = fold.by_alias(waves) * fold.phase
    bins, frequency = Grid.unit(fold.full).frequency_bins()
    rows, other = [], []
    start, stride = fold.operator.sublattice.start, fold.operator.sublattice.stride
    on_grid = tuple(slice(o, None, s) for o, s in zip(start, stride, strict=True))
    axes = tuple(range(1, waves.ndim))
    for part in learned:
        gain = part * fold.share
        missed = fold.over_frequencies((given - gain * given.sum(axis=1, keepdims=True)) / fold.phase)
        # Noise of variance σ² at each point of the grid has σ² n in each of its waves, before they are scaled.
        scatter = variance * fold.over_frequencies(gain * len(gain)) ** 2 * count / total
        rows.append(_by_frequency(missed, bins) + np.bincount(bins.ravel(), weights=scatter.ravel()) / total)
        values = np.fft.ifftn(missed, axes=axes).real
        rest = np.sum(values**2) - np.sum(values[(slice(None), *on_grid)] ** 2)
        noisy = variance * (np.sum((gain * len(gain)) ** 2) * count / total - np.sum(part**2))
        other.append((rest / len(waves) + noisy) / (total - count) if total > count else np.nan)
    error, frequencies = np.stack(rows), variable("frequency", frequency, "frequency", "cycles per unit")
    return xr.Dataset(
        {
            "test_error": variable("step", np.array(other), "mean square error at other points"),
            "whole_error": variable("step", error.sum(axis=1), "mean square error at all points"),
            "error_by_frequency": variable(("step", "frequency"), error, "mean square error at each frequency"),
            "target_by_frequency": variable("frequency", _by_frequency(waves, bins), "mean square of the target"),
        },
        coords={"step": times.coordinate(), "frequency": frequencies},
        attrs={
            **times.attributes(operator=K, dynamics=times.dynamics),
            "noise": noise,
            "population": total,
        },
    )


def _trained(K: Operator, target: ArrayLike, times: Times) -> tuple[Fold, np.ndarray, np.ndarray]:
    """Return the fold, the target's transform (channel, *full), and what is learned (t, *M)."""
    fold = fold_of(K)
    values = np.asarray(target, dtype=float)
    dim = len(fold.full)
    if values.shape[:dim] != fold.full or values.ndim > dim + 1 or not np.isfinite(values).all():
        shapes = f"{fold.full} or {(*fold.full, 'channels')}"
        raise ValueError(f"the target has shape {values.shape}; expected the whole lattice, {shapes}, without NaN")
    times.require_stable(float(fold.eigenvalue.max()))
    waves = np.fft.fftn(np.moveaxis(values.reshape(*fold.full, -1), -1, 0), axes=range(1, dim + 1))
    return fold, waves, fold.learned(times)


def _by_frequency(waves: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """Mean square of functions with transforms (channel, *full) in each bin, a mean over channels."""
    power = np.mean(np.abs(waves) ** 2, axis=0) / bins.size**2
    return np.bincount(bins.ravel(), weights=power.ravel())


def _transfer(fold: Fold, learned: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """T² of all pairs of aliases, in bins: (t, from, to)."""
    of = fold.by_alias(bins).reshape(len(fold.share), -1)
    count = int(bins.max()) + 1
    num_bytes = 8 * (len(learned) * count**2 + 3 * of.size * len(of))
    refuse_if_too_large(num_bytes, "the transfer of all frequencies", "ask for fewer steps")
    pair = of[:, None] * count + of[None]
    share = fold.share.reshape(len(of), -1) ** 2
    members = np.bincount(bins.ravel(), minlength=count)
    weights = (np.broadcast_to((share * part.ravel() ** 2)[None], pair.shape).ravel() for part in learned)
    energy = [np.bincount(pair.ravel(), weights=weight, minlength=count**2) for weight in weights]
    return np.stack(energy).reshape(-1, count, count) / members[:, None]


def _ghosts(fold: Fold, learned: np.ndarray, given: np.ndarray, num_ghosts: int) -> dict[str, tuple]:
    """Return the strongest pairs of a true and another learned frequency."""
    axes = [np.fft.fftfreq(n, 1 / n) for n in fold.full]
    every = fold.by_alias(np.stack(np.meshgrid(*axes, indexing="ij"))).reshape(len(axes), len(fold.share), -1)
    # k and −k are one real wave, which has both their amplitudes; those that are their own mirror image have one.
    half = np.array(fold.full)[:, None, None] / 2
    mirrored = (every == 0) | (np.abs(every) == half)
    first = np.where(np.abs(every) == half, 0.0, every)
    sign = np.sign(np.take_along_axis(first, np.argmax(first != 0, axis=0)[None], axis=0)[0])
    alone = mirrored.all(axis=0)
    times = np.where(alone, 1.0, np.where(sign > 0, 2.0, 0.0))
    height = times * np.sqrt(np.mean(np.abs(given) ** 2, axis=0)).reshape(times.shape) / np.prod(fold.full)
    share, most = fold.share.reshape(times.shape), np.abs(learned).max(axis=0).ravel()
    strength = height[:, None] * (share * most)[None]
    strength[np.arange(len(share)), np.arange(len(share))] = 0
    chosen = np.argsort(strength.ravel(), kind="stable")[::-1][:num_ghosts]
    # What a transform rounds off is no ghost.
    chosen = chosen[strength.ravel()[chosen] > 1e-13 * max(height.max(), np.finfo(float).tiny)]
    source, into, at = np.unravel_index(chosen, strength.shape)
    gain = learned.reshape(len(learned), -1)[:, at] * share[into, at]
    # The ghost is written with the sign that belongs to the true frequency's.
    true = one_sign(every[:, source, at].T)
    flipped = np.where((true == every[:, source, at].T).all(axis=1), 1.0, -1.0)[:, None]
    return {
        "true_frequency": variable(("ghost", "axis"), true, "true frequency", "cycles per unit"),
        "ghost_frequency": variable(
            ("ghost", "axis"), flipped * every[:, into, at].T + 0.0, "frequency it is learned as", "cycles per unit"
        ),
        "gain": variable(("step", "ghost"), gain, "part of the true wave that is learned as the ghost"),
        "amplitude": variable(("step", "ghost"), gain * height[source, at], "amplitude of the ghost"),
    }
