"""Gradient flow and full-batch gradient descent.

Source: Jacot et al. 2018, section 5; Lee et al. 2019, section 2.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np

from ntkspec.dynamics._base import Dynamics

__all__ = ["GradientDescent", "GradientFlow", "gradient_descent", "gradient_flow"]


@jax.tree_util.register_static
@dataclass(frozen=True)
class GradientFlow(Dynamics):
    """Infinitely small steps: r = e^{−ηλt}, stable for every rate.

    Example:
        >>> gradient_flow().residual(np.array([0.0, 1.0]), 1.0).round(3).tolist()
        [1.0, 0.368]
    """

    @property
    def max_rate(self) -> float:
        """Infinity."""
        return float("inf")

    @property
    def discrete(self) -> bool:
        """No: t may be any time."""
        return False

    @property
    def smooth_rate(self) -> float:
        """Infinity: derivatives of e^{−ηλt} alternate everywhere."""
        return float("inf")

    def residual(self, rate: np.ndarray, step: np.ndarray) -> np.ndarray:
        """e^{−ηλt}."""
        return np.exp(-rate * step)

    def weights(self, rate: np.ndarray, step: np.ndarray) -> np.ndarray:
        """(1 − e^{−ηλt})/(ηλ); t at λ = 0."""
        return _quotient(-np.expm1(-rate * step), rate, step)


@jax.tree_util.register_static
@dataclass(frozen=True)
class GradientDescent(Dynamics):
    """Full-batch gradient descent: r = (1 − ηλ)^t exactly, stable for ηλ < 2.

    Example:
        >>> gradient_descent().residual(np.array([0.0, 0.5, 1.5]), 2).tolist()
        [1.0, 0.25, 0.25]
    """

    @property
    def max_rate(self) -> float:
        """2, the edge of stability."""
        return 2.0

    def residual(self, rate: np.ndarray, step: np.ndarray) -> np.ndarray:
        """(1 − ηλ)^t, by log1p where 1 − ηλ would round."""
        return _power(rate, step)

    def weights(self, rate: np.ndarray, step: np.ndarray) -> np.ndarray:
        """(1 − (1 − ηλ)^t)/(ηλ); t at λ = 0."""
        below = rate < 0.5
        log_decay = step * np.log1p(-np.where(below, rate, 0))
        learned = np.where(below, -np.expm1(log_decay), 1 - _power(rate, step))
        return _quotient(learned, rate, step)


def gradient_flow() -> GradientFlow:
    """The dynamics of infinitely small steps."""
    return GradientFlow()


def gradient_descent() -> GradientDescent:
    """The dynamics of full-batch gradient descent, step for step."""
    return GradientDescent()


def _power(rate: np.ndarray, step: np.ndarray) -> np.ndarray:
    """(1 − x)^t to a relative error of a few roundings of t·log(1 − x)."""
    rate, step = np.asarray(rate, dtype=float), np.asarray(step, dtype=float)
    sign = np.where((rate > 1) & (step % 2 == 1), -1.0, 1.0)
    magnitude = np.abs(1 - rate)
    log = np.where(rate < 0.5, np.log1p(-np.minimum(rate, 0.5)), np.log(np.where(magnitude > 0, magnitude, 1)))
    return np.where((magnitude == 0) & (step > 0), 0.0, sign * np.exp(step * log))


def _quotient(learned: np.ndarray, rate: np.ndarray, step: np.ndarray) -> np.ndarray:
    nonzero = rate != 0
    return np.where(nonzero, learned / np.where(nonzero, rate, 1), step)
