"""Residual filters, the learning rates of two losses, and the stability limit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import jax
import numpy as np
from numpy.typing import ArrayLike

from ntkspec.checks import check_positive, shown
from ntkspec.operator import Operator, largest_eigenvalue

__all__ = ["Dynamics", "Loss", "flow_time", "max_learning_rate", "summed_rate"]

Loss = Literal["sum", "mean"]


class Dynamics(ABC):
    """A residual filter r(ηλ, t), the filter of the weights (1 − r)/(ηλ), and the largest stable ηλ.

    A mode is learned at the speed ηλ, η the learning rate of the summed loss. A subclass is a frozen dataclass, which
    JAX takes as a static argument. It has to answer `max_speed`, `residual` and `weights`; the other members have
    defaults, which hold for gradient descent.
    """

    def __init_subclass__(cls) -> None:
        jax.tree_util.register_static(cls)

    @property
    @abstractmethod
    def max_speed(self) -> float:
        """Largest ηλ at which every mode still converges; infinity where there is no limit."""

    @property
    def discrete(self) -> bool:
        """Whether time comes in whole steps."""
        return True

    @abstractmethod
    def residual(self, speed: np.ndarray, step: np.ndarray) -> np.ndarray:
        """r(ηλ, t), broadcast: the part of a mode still to be learned."""

    @abstractmethod
    def weights(self, speed: np.ndarray, step: np.ndarray) -> np.ndarray:
        """(1 − r)/(ηλ), broadcast, with its limit at λ = 0."""

    @property
    def preconditions(self) -> bool:
        """Whether modes have another speed than ηλ, so that a ridge around it is not one of its loss."""
        return False

    def at(self, learning_rate: float) -> Dynamics:
        """Return the same dynamics for speeds that are multiples of this η of the summed loss."""
        return self

    def stability_limit(self, largest_eigenvalue: float) -> float:
        """Learning rate of the summed loss above which a mode of this λ diverges."""
        return self.max_speed / largest_eigenvalue if largest_eigenvalue > 0 else float("inf")

    @property
    def smooth_speed(self) -> float:
        """Largest ηλ up to which an increment of `weights` is a polynomial of ηλ without a root.

        All of its roots being real and beyond, no derivative changes sign before them, and with it no increment of
        [weights(T, t) e_1]_k: the error bound of Lanczos is then |that| at the last step (`ntkspec.eigen._lanczos`).
        """
        return 1.0

    def gain(self, speed: float) -> float:
        """How large one unit of Lanczos residual may become: at least |r(x, t)| for all t and 0 ≤ x ≤ `speed`."""
        return 1.0

    @property
    def acceleration(self) -> float:
        """How much faster the slowest modes are learned than by gradient descent: −∂r/∂(ηλ)/t at λ = 0, t → ∞."""
        return 1.0

    def sensitivity(self, speed: float, step: np.ndarray) -> np.ndarray:
        """Bound ‖r(ηA, t) − r(ηB, t)‖/(η ‖A − B‖) for ηA, ηB of norm up to `speed`; infinity if no bound is known.

        The two differ by Σ_s G_{t−1−s}(ηA) η(A − B) r_s(ηB), with the impulse response ‖G‖ ≤ acceleration.
        """
        return self.gain(speed) * self.acceleration * step


def flow_time(learning_rate: float, step: ArrayLike, num_points: int, loss: Loss = "sum") -> np.ndarray:
    """Time of gradient flow on ½ Σ (f − y)² that a number of steps of gradient descent is worth.

    τ = η t for the summed loss and η t / n for the mean: to first order (1 − ηλ)^t = e^{−λτ}, and the steps of descent
    are the flow's as long as ηλ_max ≪ 1. With momentum β a step is worth 1/(1 − β) of one.

    Args:
        learning_rate: η of the loss.
        step: t, any shape.
        num_points: number of points n.
        loss: "sum" or "mean".

    Returns:
        τ, shaped as `step`: the `step` to ask `gradient_flow` for at a summed learning rate of 1, or the `t` of
        neural-tangents' `gradient_descent_mse` times n where that takes the mean.

    Raises:
        ValueError: if the loss is not known or the learning rate is not positive.

    Source: Lee et al. 2019, equations 8 and 9.

    Example:
        >>> float(flow_time(0.5, 100, num_points=10, loss="mean"))
        5.0
    """
    return summed_rate(learning_rate, num_points, loss) * np.asarray(step, dtype=float)


def summed_rate(learning_rate: float, num_points: int, loss: Loss) -> float:
    """Learning rate of the summed loss ½ Σ_i |f_i − y_i|² that makes the same steps: η for "sum", η/n for "mean".

    Raises:
        ValueError: if the loss is neither, or the learning rate is not a positive number.
    """
    if not isinstance(loss, str) or loss not in ("sum", "mean"):
        raise ValueError(f"loss={shown(loss)}; expected 'sum' (half the summed square) or 'mean' (that over n points)")
    check_positive("learning_rate", learning_rate, "below ns.dynamics.max_learning_rate")
    return learning_rate if loss == "sum" else learning_rate / num_points


def max_learning_rate(K: Operator, loss: Loss = "sum", *, dynamics: Dynamics | None = None) -> float:
    """Return the edge of stability: the learning rate above which training diverges, 2/λ_max for gradient descent.

    Args:
        K: a kernel operator.
        loss: "sum" or "mean" (½ mean, whose limit is n times larger).
        dynamics: gradient descent where None. 2(1 + β)/λ_max for the heavy ball, (2 + 2β)/(1 + 2β)/λ_max for
            Nesterov's method, 2/(λ_max + δ) with a ridge, none for the flow.

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
    top = largest_eigenvalue(K)
    limit = 2 / top if dynamics is None else dynamics.stability_limit(top)
    return limit / summed_rate(1.0, K.num_points, loss)
