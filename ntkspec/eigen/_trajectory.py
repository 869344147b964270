"""Filters of an operator applied to labels, for all steps at once: exactly by FFT, or by Lanczos with its error."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from ntkspec.dynamics import Times
from ntkspec.eigen._lanczos import Krylov, grow_until
from ntkspec.limits import current, refuse_if_too_large
from ntkspec.operator import Operator
from ntkspec.operator._modes import Modes
from ntkspec.progress import NO_PROGRESS, Progress

__all__ = ["ConvergenceWarning", "Trajectory", "trajectory", "warn_unless_converged"]

#: Units of rounding in a step of the recurrence, relative to λ_max: of a transform, and of the three vectors of a step.
ROUNDINGS = 4

#: Vectors of a basis that count as one number of a channel side by side.
BASIS = 16

#: Steps that are counted one by one for the bound of a filter that swings, and points of the sum beyond them.
COUNTED, BEYOND = 4096, 512


class ConvergenceWarning(UserWarning):
    """A result whose error bound is above the tolerance that was asked for."""


@dataclass(frozen=True)
class Trajectory:
    """What training makes of labels y, every step at once; numbers are those of the channel that took most.

    Attributes:
        learned: (1 − r(K, t)) y, shape (t, channel, point).
        weights: K⁻¹(1 − r(K, t)) y, shape (t, channel, point); their kernel expansion is the learned function.
        error_bound: bound on the error of `learned` relative to ‖y‖, shape (t,).
        field_error_bound: the same of the expansion of `weights`, root-sum-square over all points, shape (t,).
        num_products: operator products, those of a second pass among them.
        largest_eigenvalue: λ_max as far as y sees it.
        passes: of the Lanczos recurrence: 2 where its vectors did not fit in memory; 0 where it was not needed.
    """

    learned: Float[Array, "t channel n"]
    weights: Float[Array, "t channel n"]
    error_bound: Float[np.ndarray, " t"]
    field_error_bound: Float[np.ndarray, " t"]
    num_products: int
    largest_eigenvalue: float
    passes: int


def trajectory(
    K: Operator,
    y: Float[Array, "channel n"],
    times: Times,
    *,
    tolerance: float,
    max_products: int,
    field_norm: float = 0.0,
    max_basis_bytes: float | None = None,
    progress: Progress = NO_PROGRESS,
) -> Trajectory:
    """Apply the filters of a dynamics at all steps.

    The error has two parts. That of too few steps is bounded by the residual (see `ntkspec.eigen._lanczos`). That of
    rounding comes in through K Q = Q T + β q eᵀ + F, whose columns ‖F_j‖ are a few units of rounding ε times λ_max: the
    residual of the flow gains F e^{−ηsT} e_1, no larger than ‖F‖ ≤ √k c ε λ_max, for a time t. So nothing computed with
    that ε is better than ε ηλ_max t; more steps do not help then, and none are taken.

    It is exact, up to rounding, where the operator knows its modes. Labels are (channel, point); the tolerance is on
    `error_bound`, and on `field_error_bound` where `field_norm` bounds the kernel's norm on all points of interest.
    """
    y = y.astype(K.dtype)
    what = f"{len(times.steps)} steps of {y.shape[1]:,} points and {y.shape[0]} channels"
    # Both results at every step, a copy while they are joined, and the work space of products.
    num_bytes = (4 * len(times.steps) + 4) * y.nbytes
    refuse_if_too_large(num_bytes, what, "ask for fewer steps, or for channels one by one")
    modes = K.modes()
    if modes is not None:
        return _by_modes(K, modes, y, times)
    # A basis holds many vectors of every channel. Beyond this, running side by side gains nothing: one after the other,
    # each stops at its own number of steps, and there is the basis of only one at a time.
    group = max(1, current().side_by_side // BASIS // y.shape[1])
    groups = [y[first : first + group] for first in range(0, y.shape[0], group)]
    grow = partial(grow_until, K, tolerance=tolerance, max_steps=max_products, max_basis_bytes=max_basis_bytes)
    return _side_by_side([_by_lanczos(K, part, times, field_norm, grow, progress) for part in groups])


def _by_lanczos(
    K: Operator, y: Array, times: Times, field_norm: float, grow: Callable[..., Krylov], progress: Progress
) -> Trajectory:
    steps, rate, acceleration = times.steps, times.rate, times.filters.acceleration
    amplification = np.maximum(1, _amplification(rate * acceleration * field_norm, steps))

    def bounds(krylov: Krylov) -> tuple[np.ndarray, np.ndarray]:
        """Of too few steps, and of rounding."""
        unit = ROUNDINGS * float(jnp.finfo(K.dtype).eps) * np.sqrt(krylov.num_steps)
        return _error_bound(krylov, times), unit * (1 + rate * acceleration * krylov.largest_ritz() * steps)

    def worst(krylov: Krylov) -> float:
        # A rate past the limit grows without end: say so now, not after max_products.
        times.require_stable(krylov.largest_ritz())
        short, rounding = bounds(krylov)
        short = short * amplification if field_norm else short
        return float(np.max(np.where(short <= rounding, 0, short + rounding)))

    krylov = grow(y, worst, progress=progress)
    short, rounding = bounds(krylov)
    both = np.concatenate([krylov.coefficients(f) for f in (times.weights, times.learned)], axis=2)
    combined = krylov.combine(K, both, progress)
    return Trajectory(
        learned=combined[len(steps) :],
        weights=combined[: len(steps)],
        error_bound=short + rounding,
        field_error_bound=short * amplification + rounding,
        num_products=krylov.num_steps + krylov.num_dropped,
        largest_eigenvalue=krylov.largest_ritz(),
        passes=2 if krylov.num_dropped else 1,
    )


def _side_by_side(parts: list[Trajectory]) -> Trajectory:
    """One trajectory of the channels of all; the worst of them speaks for its numbers."""
    if len(parts) == 1:
        return parts[0]
    return Trajectory(
        learned=jnp.concatenate([part.learned for part in parts], axis=1),
        weights=jnp.concatenate([part.weights for part in parts], axis=1),
        error_bound=np.max([part.error_bound for part in parts], axis=0),
        field_error_bound=np.max([part.field_error_bound for part in parts], axis=0),
        num_products=max(part.num_products for part in parts),
        largest_eigenvalue=max(part.largest_eigenvalue for part in parts),
        passes=max(part.passes for part in parts),
    )


def _error_bound(krylov: Krylov, times: Times) -> Float[np.ndarray, " t"]:
    """β_k times how much the last coefficient of the weights has moved, relative to ‖y‖, the worst over channels.

    See `ntkspec.eigen._lanczos`; where it cannot turn around that is its absolute value.
    """
    filters, top = times.filters, times.rate * krylov.largest_ritz()
    norm = np.where(krylov.norm > 0, krylov.norm, 1)
    scale = filters.gain(top) * krylov.off_diagonal[-1] / norm
    turns = top > filters.smooth_speed
    moved = _variation(krylov, times) if turns else np.abs(krylov.coefficients(times.weights)[-1])
    return np.max(moved * scale[:, None], axis=0)


def _variation(krylov: Krylov, times: Times) -> Float[np.ndarray, "channel t"]:
    """Σ_{s<t} |g_{s+1} − g_s| of the last coefficient g, shape (channel, t).

    Every step is counted up to `COUNTED`. Beyond, the sum is one over blocks, each taken to move as fast as at its
    faster end: an estimate there, of what has stopped to swing in all but slow or marginal modes.
    """
    longest = int(np.ceil(times.steps.max()))
    every = np.arange(min(longest, COUNTED) + 1)
    blocks = np.unique(np.rint(np.geomspace(COUNTED, max(longest, COUNTED), BEYOND)).astype(int))
    ends = blocks if longest > COUNTED else blocks[:0]
    counted_at = np.unique(np.concatenate([every, ends, ends + 1]))
    position = {name: np.searchsorted(counted_at, where) for name, where in (("at", ends), ("next", ends + 1))}
    g = krylov.last_coefficient(times.at(counted_at.astype(float)).weights)
    counted = np.cumsum(np.abs(np.diff(g[:, : len(every)], axis=1)), axis=1)
    speed = np.abs(g[:, position["next"]] - g[:, position["at"]])
    summed = np.maximum(speed[:, 1:], speed[:, :-1]) * np.diff(ends)
    total = np.concatenate([np.zeros((len(g), 1)), counted, summed], axis=1)
    total[:, len(every) :] = total[:, len(every) - 1 : len(every)] + np.cumsum(summed, axis=1)
    # The first point at or after the asked step.
    points = np.concatenate([every, ends[1:]])
    return total[:, np.searchsorted(points, np.ceil(times.steps))]


def _amplification(rate: float, steps: np.ndarray) -> np.ndarray:
    """How much larger the error may be away from the training points.

    The residual −ηβ g(s) q_{k+1} of the weights reaches the function through K_* e^{−η(t−s)K}, whose norm is at
    most √λ_* min(√λ, (2eη(t−s))^{−1/2}); integrated over a growing |g| this is √(ηλ_*) (1 + √(2t/e)).
    With momentum a slow mode is driven by η/(1 − β), which is the rate to give; for modes that swing it is an estimate.
    """
    return np.sqrt(rate) * (1 + np.sqrt(2 * steps / np.e))


def _by_modes(K: Operator, modes: Modes, y: Float[Array, "channel n"], times: Times) -> Trajectory:
    top = float(modes.eigenvalue.max())
    times.require_stable(top)
    coefficients = modes.coefficients(y.T)

    def apply(function: Callable[[Times], np.ndarray]) -> Array:
        # One step at a time: the values of all would be as large as the results.
        columns = [jnp.asarray(modes.combine(function(one), coefficients)[0]).T for one in times.each()]
        return jnp.stack(columns).reshape(len(times.steps), *y.shape)

    weights = apply(lambda one: one.weights(modes.eigenvalue))
    learned = apply(lambda one: one.learned(modes.eigenvalue))
    # Of a transform, or of a matrix of eigenvectors.
    growth = np.log2(2 * K.num_points) if modes.waves is not None else ROUNDINGS * np.sqrt(K.num_points)
    unit = float(jnp.finfo(K.dtype).eps) * growth
    rounding = unit * (1 + times.rate * times.filters.acceleration * top * times.steps)
    return Trajectory(learned, weights, rounding, rounding, 0, top, passes=0)


def warn_unless_converged(bound: np.ndarray, tolerance: float) -> None:
    """Warn, as the public caller, if the error bound exceeds the tolerance."""
    worst = float(np.max(bound))
    if worst > tolerance:
        warnings.warn(
            f"the error bound is {worst:.2g} of the labels, above the tolerance {tolerance:.2g}; give a larger "
            "max_products, fewer steps or a smaller learning rate (`error_bound` says which steps are accurate)",
            ConvergenceWarning,
            stacklevel=3,
        )
