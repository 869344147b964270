"""Gradient flow and full-batch gradient descent.

Source: Jacot et al. 2018, section 5; Lee et al. 2019, section 2.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ntkspec.dynamics._base import Dynamics

__all__ = ["GradientDescent", "GradientFlow", "gradient_descent", "gradient_flow"]


@dataclass(frozen=True)
class GradientFlow(Dynamics):
    """Infinitely small steps: r = e^{−ηλt}, stable for every speed."""

    @property
    def max_speed(self) -> float:
        return float("inf")

    @property
    def discrete(self) -> bool:
        return False

    @property
    def smooth_speed(self) -> float:
        """Infinity: derivatives of e^{−ηλt} alternate everywhere."""
        return float("inf")

    def residual(self, speed: np.ndarray, step: np.ndarray) -> np.ndarray:
        return np.exp(-speed * step)

    def weights(self, speed: np.ndarray, step: np.ndarray) -> np.ndarray:
        return per_speed(-np.expm1(-speed * step), speed, step)


@dataclass(frozen=True)
class GradientDescent(Dynamics):
    """Full-batch gradient descent: r = (1 − ηλ)^t exactly, stable for ηλ < 2."""

    @property
    def max_speed(self) -> float:
        return 2.0

    def residual(self, speed: np.ndarray, step: np.ndarray) -> np.ndarray:
        return _power(speed, step)

    def weights(self, speed: np.ndarray, step: np.ndarray) -> np.ndarray:
        below = speed < 0.5
        log_decay = step * np.log1p(-np.where(below, speed, 0))
        learned = np.where(below, -np.expm1(log_decay), 1 - _power(speed, step))
        return per_speed(learned, speed, step)


def gradient_flow() -> GradientFlow:
    """Return the dynamics of infinitely small steps.

    Example:
        >>> gradient_flow().residual(np.array([0.0, 1.0]), 1.0).round(3).tolist()
        [1.0, 0.368]
    """
    return GradientFlow()


def gradient_descent() -> GradientDescent:
    """Return the dynamics of full-batch gradient descent, step for step.

    Example:
        >>> gradient_descent().residual(np.array([0.0, 0.5, 1.5]), 2).tolist()
        [1.0, 0.25, 0.25]
    """
    return GradientDescent()


def _power(speed: np.ndarray, step: np.ndarray) -> np.ndarray:
    """(1 − x)^t to a relative error of a few roundings of t·log(1 − x)."""
    speed, step = np.asarray(speed, dtype=float), np.asarray(step, dtype=float)
    sign = np.where((speed > 1) & (step % 2 == 1), -1.0, 1.0)
    return np.where((speed == 1) & (step > 0), 0.0, sign * np.exp(step * log_of_factor(speed)))


def log_of_factor(speed: np.ndarray) -> np.ndarray:
    """Return log|1 − x| without the difference where x < ½; 0 where x is 1."""
    magnitude = np.abs(1 - speed)
    return np.where(speed < 0.5, np.log1p(-np.minimum(speed, 0.5)), np.log(np.where(magnitude > 0, magnitude, 1)))


def per_speed(learned: np.ndarray, speed: np.ndarray, at_zero: np.ndarray) -> np.ndarray:
    """Return (1 − r)/(ηλ), with its limit at λ = 0."""
    nonzero = speed != 0
    return np.where(nonzero, learned / np.where(nonzero, speed, 1), at_zero)
