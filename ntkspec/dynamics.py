"""Training as one scalar filter of the spectrum: the residual of a mode after t steps is r(ηλ, t).

For a squared loss and a fixed kernel each eigenvector of K is trained on its own. A dynamics is its residual
filter r, the weight filter (1 − r)/(ηλ), finite at λ → 0, and the largest stable ηλ. All take the dimensionless
rate ηλ, where η is the learning rate of the summed loss.

Source: Jacot et al. 2018, section 5; Lee et al. 2019, section 2.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import jax
import numpy as np

from ntkspec.operator import Operator, largest_eigenvalue

__all__ = [
    "Dynamics",
    "GradientDescent",
    "GradientFlow",
    "Loss",
    "gradient_descent",
    "gradient_flow",
    "max_learning_rate",
    "summed_rate",
]

Loss = Literal["sum", "mean"]


class Dynamics(Protocol):
    """What a prediction asks of a way of training."""

    @property
    def max_rate(self) -> float:
        """The largest ηλ at which every mode still converges; infinity where there is no limit."""
        ...

    @property
    def discrete(self) -> bool:
        """Whether time comes in whole steps."""
        ...

    def residual(self, rate: np.ndarray, step: np.ndarray) -> np.ndarray:
        """r(ηλ, t), broadcast: the part of a mode still to be learned."""
        ...

    def weights(self, rate: np.ndarray, step: np.ndarray) -> np.ndarray:
        """(1 − r)/(ηλ), broadcast, with its limit at λ = 0."""
        ...


@jax.tree_util.register_static
@dataclass(frozen=True)
class GradientFlow:
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

    def residual(self, rate: np.ndarray, step: np.ndarray) -> np.ndarray:
        """e^{−ηλt}."""
        return np.exp(-rate * step)

    def weights(self, rate: np.ndarray, step: np.ndarray) -> np.ndarray:
        """(1 − e^{−ηλt})/(ηλ); t at λ = 0."""
        return _quotient(-np.expm1(-rate * step), rate, step)


@jax.tree_util.register_static
@dataclass(frozen=True)
class GradientDescent:
    """Full-batch gradient descent: r = (1 − ηλ)^t exactly, stable for ηλ < 2.

    Example:
        >>> gradient_descent().residual(np.array([0.0, 0.5, 1.5]), 2).tolist()
        [1.0, 0.25, 0.25]
    """

    @property
    def max_rate(self) -> float:
        """2, the edge of stability."""
        return 2.0

    @property
    def discrete(self) -> bool:
        """Yes."""
        return True

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


def summed_rate(learning_rate: float, num_points: int, loss: Loss) -> float:
    """The rate of the summed loss that makes the same steps.

    Args:
        learning_rate: η of the asked loss.
        num_points: n.
        loss: "sum" is ½ Σ_i |f_i − y_i|², "mean" is that over n; channels are summed in both.

    Returns:
        η for "sum", η/n for "mean".

    Raises:
        ValueError: if the loss is neither, or the learning rate is not a positive number.
    """
    if loss not in ("sum", "mean"):
        raise ValueError(f"loss={loss!r}; expected 'sum' (half the summed square) or 'mean' (that over n points)")
    if not (np.isfinite(learning_rate) and learning_rate > 0):
        raise ValueError(f"learning_rate={learning_rate}; expected a positive number")
    return learning_rate if loss == "sum" else learning_rate / num_points


def max_learning_rate(K: Operator, loss: Loss = "sum", *, dynamics: Dynamics | None = None) -> float:
    """The stability limit: the learning rate above which training diverges, 2/λ_max for gradient descent.

    Args:
        K: a kernel operator.
        loss: "sum" or "mean" (½ mean, whose limit is n times larger).
        dynamics: gradient descent where None.

    Returns:
        η_max, in the units of the asked loss.

    Raises:
        ValueError: if the loss is not known.

    Source: theory of linear iterations; LeCun et al. 1998, "Efficient backprop", section 5.

    Example:
        >>> import ntkspec as ns
        >>> k = ns.kernel.compose(ns.mapping.power_law(16, p=1.0), ns.kernel.MLP(depth=3))
        >>> K = ns.operator.lattice(k, shape=(32,))
        >>> eigenvalue = ns.eigen.spectrum(K).eigenvalue
        >>> ns.dynamics.max_learning_rate(K) * float(eigenvalue[0])
        2.0
    """
    dynamics = gradient_descent() if dynamics is None else dynamics
    return dynamics.max_rate / summed_rate(1.0, K.num_points, loss) / largest_eigenvalue(K)


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
