"""Weight decay: λ becomes λ + δ in the speed, and training ends at λ/(λ + δ) of a mode instead of all of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ntkspec.checks import check_positive
from ntkspec.dynamics._base import Dynamics, Loss, flow_time
from ntkspec.dynamics._descent import gradient_descent

__all__ = ["Ridge", "equivalent_ridge", "ridge"]


@dataclass(frozen=True)
class Ridge(Dynamics):
    """A dynamics with the penalty ½ δ |w − w_0|²; build one with `ridge`.

    Its weights are those of `base` at the speed η(λ + δ), so that r = (δ + λ r_base(η(λ + δ), t))/(λ + δ).

    Attributes:
        base: the dynamics without it.
        strength: δ, in units of eigenvalues.
        unit: η that speeds are multiples of.
    """

    base: Dynamics
    strength: float
    unit: float = 1.0

    @property
    def _shift(self) -> float:
        return self.unit * self.strength

    @property
    def max_speed(self) -> float:
        return self.base.max_speed - self._shift

    @property
    def discrete(self) -> bool:
        return self.base.discrete

    @property
    def smooth_speed(self) -> float:
        return self.base.smooth_speed - self._shift

    @property
    def acceleration(self) -> float:
        return self.base.acceleration

    def gain(self, speed: float) -> float:
        """Bound that of `base`, twice and one: what reaches the function through δ counts as well."""
        return 1 + 2 * self.base.gain(speed + self._shift)

    def at(self, learning_rate: float) -> Ridge:
        return replace(self, base=self.base.at(learning_rate), unit=learning_rate)

    def stability_limit(self, largest_eigenvalue: float) -> float:
        return self.base.stability_limit(largest_eigenvalue + self.strength)

    def residual(self, speed: np.ndarray, step: np.ndarray) -> np.ndarray:
        """(ηδ + ηλ r_base)/(ηλ + ηδ), without a difference."""
        speed = np.asarray(speed, dtype=float)
        shifted = speed + self._shift
        return (self._shift + speed * self.base.residual(shifted, step)) / shifted

    def weights(self, speed: np.ndarray, step: np.ndarray) -> np.ndarray:
        return self.base.weights(np.asarray(speed, dtype=float) + self._shift, step)


def ridge(strength: float, dynamics: Dynamics | None = None) -> Ridge:
    """Training with a ridge, which is weight decay towards the initial weights.

    The loss is ½ Σ (f − y)² + ½ δ |w − w_0|²; it ends at kernel ridge regression K(K + δ)⁻¹ y. A decay c of the
    weights in every step (torch's `weight_decay` c in the loss's own unit) is δ = c for the summed loss and n c for
    the mean; that of a network towards zero, not w_0, also shrinks the initial function.

    Args:
        strength: δ > 0, in units of the eigenvalues of K.
        dynamics: how it is trained; gradient descent where None.

    Returns:
        The dynamics.

    Raises:
        ValueError: if δ is not positive, or the dynamics is preconditioned: the ridge goes inside.

    Source: Rasmussen & Williams 2006, section 6.2; for the path, Hu, Li & Yu 2020, "Simple and effective
    regularization methods for training on noisily labeled data", section 4.

    Example:
        >>> ridge(0.5).residual(np.array([0.0, 0.5]), 1000).tolist()
        [1.0, 0.5]
    """
    check_positive("strength", strength, "δ in units of eigenvalues; without one take the dynamics alone")
    if dynamics is not None and dynamics.preconditions:
        what = "a ridge around a preconditioned dynamics would take its preconditioner at λ + δ"
        raise ValueError(f"{what}; descent of the loss with a ridge is preconditioned(p, ridge(strength, dynamics))")
    return Ridge(gradient_descent() if dynamics is None else dynamics, float(strength))


def equivalent_ridge(learning_rate: float, step: float, num_points: int, loss: Loss = "sum") -> float:
    """Return the ridge whose end is near where training without one stands at a step: δ = 1/τ, τ the flow's time.

    Both leave alone the modes of λ ≪ 1/τ and learn those of λ ≫ 1/τ: 1 − e^{−λτ} against λ/(λ + 1/τ) differ by at most
    0.204 (at λτ = 2.51), and the risk of the flow is at most 1.69 times the ridge's for every target.

    Args:
        learning_rate: η of the loss.
        step: t > 0.
        num_points: n.
        loss: "sum" or "mean".

    Returns:
        δ in units of the eigenvalues of K, as `ridge` takes it.

    Raises:
        ValueError: if the step or the learning rate is not positive.

    Source: Ali, Kolter & Tibshirani 2019, "A continuous-time view of early stopping for least squares", theorem 1.

    Example:
        >>> equivalent_ridge(0.5, 100, num_points=10)
        0.02
    """
    check_positive("step", step, "at step 0 the ridge is infinite")
    return 1 / float(flow_time(learning_rate, step, num_points, loss))
