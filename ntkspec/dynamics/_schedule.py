"""Learning-rate schedules: the filter is a product, r(ηλ, t) = Π_{s<t} (1 − c_s ηλ)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ntkspec.checks import check_sizes
from ntkspec.dynamics._base import Dynamics
from ntkspec.dynamics._descent import log_of_factor, per_speed
from ntkspec.limits import current, refuse_if_too_large

__all__ = ["Schedule", "cosine", "piecewise", "schedule"]

#: Bytes of a step in a schedule that changes at every step, as it is made.
LISTED = 64


@dataclass(frozen=True, eq=False)
class Schedule(Dynamics):
    """Gradient descent with a learning rate of its own in every step; build one with `schedule`.

    Attributes:
        factors: c of each run of equal steps, relative to the learning rate of the prediction, shape (run,).
        starts: its first step, shape (run,); the last run does not end.
    """

    factors: np.ndarray
    starts: np.ndarray

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schedule) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[bytes, bytes]:
        return self.factors.tobytes(), self.starts.tobytes()

    @property
    def max_speed(self) -> float:
        """2/max c: every single step is stable."""
        return 2 / float(self.factors.max())

    @property
    def smooth_speed(self) -> float:
        return 1 / float(self.factors.max())

    @property
    def acceleration(self) -> float:
        return float(self.factors.max())

    def residual(self, speed: np.ndarray, step: np.ndarray) -> np.ndarray:
        sign, logarithm, _ = self._product(np.asarray(speed, dtype=float), np.asarray(step, dtype=float))
        return sign * np.exp(logarithm)

    def weights(self, speed: np.ndarray, step: np.ndarray) -> np.ndarray:
        """(1 − r)/(ηλ); Σ_{s<t} c_s at λ = 0."""
        speed, step = np.asarray(speed, dtype=float), np.asarray(step, dtype=float)
        sign, logarithm, total = self._product(speed, step)
        # Where no factor is near zero 1 − r is read from the logarithm, without a difference.
        learned = np.where(speed * self.factors.max() < 0.5, -np.expm1(logarithm), 1 - sign * np.exp(logarithm))
        return per_speed(learned, speed, total)

    def _product(self, speed: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sign and logarithm of the product, and Σ c, broadcast."""
        runs = int(np.searchsorted(self.starts, step.max(initial=0), side="right"))
        rows = speed.size // max(1, len(speed)) if speed.ndim else 1
        together = max(1, current().side_by_side // (runs * rows))
        if step.ndim < speed.ndim and len(speed) > together:
            blocks = [self._product(speed[i : i + together], step) for i in range(0, len(speed), together)]
            return tuple(np.concatenate(column) for column in zip(*blocks, strict=True))  # type: ignore[return-value]
        factors, starts = self.factors[:runs], self.starts[:runs]
        run = np.searchsorted(starts, step, side="right") - 1
        row = np.arange(speed.size).reshape(speed.shape)
        within = step - starts[run]

        def summed(column: np.ndarray) -> np.ndarray:
            """Over all steps before the asked ones, of what every step of a run adds, (…, run)."""
            whole = np.cumsum(column[..., :-1] * np.diff(starts), axis=-1)
            before = np.concatenate([np.zeros((*column.shape[:-1], 1)), whole], axis=-1)
            return before[row, run] + within * column[row, run]

        change = speed.reshape(-1, 1) * factors
        flips = summed((change > 1).astype(float))
        sign = np.where(flips % 2 == 1, -1.0, 1.0) * (summed((change == 1).astype(float)) == 0)
        return sign, summed(log_of_factor(change)), summed(np.broadcast_to(factors, change.shape))


def schedule(rates: Sequence[float] | Callable[[int], float], num_steps: int | None = None) -> Schedule:
    """Gradient descent whose learning rate changes from step to step.

    Args:
        rates: c_s ≥ 0 for s = 0, 1, …, relative to the learning rate that a prediction is asked for, or a function of
            the step (an optax schedule is one). The last one holds from there on.
        num_steps: how many steps a function is asked for.

    Raises:
        ValueError: if rates are negative or not finite, all of them are zero, a function comes without `num_steps`, or
            so many do not fit in memory.

    Source: the recursion itself; compare Lee et al. 2019, section 2.2.

    Example:
        >>> schedule([1.0, 1.0, 0.5]).residual(np.array([0.5]), np.array([2, 3])).tolist()
        [0.25, 0.1875]
    """
    if callable(rates):
        if num_steps is None:
            raise ValueError("a schedule that is a function needs num_steps, how many steps it is asked for")
        _require_countable(num_steps)
        rates = [float(rates(step)) for step in range(num_steps)]
    values = np.asarray(rates, dtype=float)
    values = values if values.ndim == 1 else np.empty(0)
    first = np.flatnonzero(np.r_[values.size > 0, np.diff(values) != 0])
    return _checked(values[first], first, "[0.1, 0.5, 1.0]")


def _checked(factors: np.ndarray, starts: np.ndarray, example: str) -> Schedule:
    if not starts.size or starts[0] or not np.isfinite(factors).all() or (factors < 0).any() or not factors.any():
        what = "a list of numbers from step 0 on that are not negative, one of them positive"
        raise ValueError(f"the factors of a schedule are not {what}; expected such as {example}")
    return Schedule(factors, starts)


def _require_countable(num_steps: int) -> None:
    """Refuse steps whose factors, one by one, would not fit in memory."""
    check_sizes(num_steps=num_steps)
    what = f"a schedule with a factor for each of {num_steps:,} steps"
    refuse_if_too_large(LISTED * num_steps, what, "ask for fewer steps, or for a schedule of few changes (piecewise)")


def piecewise(factors: Mapping[int, float]) -> Schedule:
    """Return a schedule of constants: step → the factor that holds from it on.

    Args:
        factors: by first step; one of them step 0.

    Raises:
        ValueError: if step 0 has no factor, a step is no whole number, or factors are negative or all zero.

    Example:
        >>> piecewise({0: 1.0, 1000: 0.1}).weights(np.array([0.0]), 1010).tolist()
        [1001.0]
    """
    for step in factors:
        if not isinstance(step, int | np.integer) or isinstance(step, bool):
            raise ValueError(f"a factor starts at step {step!r}; expected whole steps, as {{0: 1.0, 1000: 0.1}}")
    starts = np.array(sorted(factors), dtype=int)
    return _checked(np.array([factors[step] for step in starts], dtype=float), starts, "{0: 1.0, 1000: 0.1}")


def cosine(num_steps: int, *, warmup: int = 0, final: float = 0.0) -> Schedule:
    """Return a linear warm-up to the learning rate, then half a cosine down.

    c_s = (s + 1)/warmup before `warmup`, then final + (1 − final)(1 + cos π(s − warmup)/(num_steps − warmup))/2, and
    `final` from `num_steps` on.

    Args:
        num_steps: steps until `final`.
        warmup: steps of them that climb.
        final: the last factor, in [0, 1].

    Raises:
        ValueError: if the warm-up does not leave a step, `final` is not in [0, 1], or so many steps do not fit in
            memory.

    Source: Loshchilov & Hutter 2017, "SGDR", equation 5.

    Example:
        >>> cosine(4, warmup=2).factors.round(6).tolist()
        [0.5, 1.0, 0.5, 0.0]
    """
    _require_countable(num_steps)
    if not 0 <= warmup < num_steps or not 0 <= final <= 1:
        raise ValueError(f"warmup={warmup}, final={final}; expected 0 <= warmup < {num_steps} and 0 <= final <= 1")

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        done = (step - warmup) / (num_steps - warmup)
        return final + (1 - final) * (1 + math.cos(math.pi * done)) / 2

    return schedule([factor(step) for step in range(num_steps)] + [final])
