"""Weight decay and preconditioners: a mode is trained at the speed η(λ + δ) p(λ), and ends at λ/(λ + δ) of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from ntkspec.checks import check_number, check_positive
from ntkspec.dynamics._base import Dynamics, Loss, flow_time
from ntkspec.dynamics._descent import gradient_descent

__all__ = [
    "DampedPower",
    "Preconditioned",
    "Ridge",
    "damped_power",
    "equivalent_ridge",
    "preconditioned",
    "ridge",
]

#: Where a preconditioner of one's own is looked at: in steps of 2 % over 24 decades below λ_max.
GRID = np.concatenate([[0.0], np.geomspace(1e-24, 1, 2800)])


@dataclass(frozen=True)
class _Modified(Dynamics):
    """A dynamics with weights p(λ) times those of `base` at η(λ + δ) p(λ), so that r = (δ + λ r_base)/(λ + δ).

    Attributes:
        base: the dynamics without ridge and preconditioner.
        strength: δ, in units of eigenvalues; 0 where there is no ridge.
        unit: η that speeds are multiples of.
    """

    base: Dynamics
    strength: float = 0.0
    unit: float = 1.0

    def _factor(self, speed: np.ndarray) -> np.ndarray | float:
        """p(λ) at ηλ."""
        return 1.0

    def _largest(self, eigenvalue: float) -> float:
        """Return the largest (λ + δ) p(λ) up to an eigenvalue."""
        return eigenvalue + self.strength

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
        """Bound that of `base`; with a ridge twice and one: what reaches the function through δ counts as well."""
        gain = self.base.gain(self.unit * self._largest(speed / self.unit))
        return 1 + 2 * gain if self.strength else gain

    def at(self, learning_rate: float) -> Self:
        return replace(self, base=self.base.at(learning_rate), unit=learning_rate)

    def stability_limit(self, largest_eigenvalue: float) -> float:
        return self.base.stability_limit(self._largest(largest_eigenvalue))

    def residual(self, speed: np.ndarray, step: np.ndarray) -> np.ndarray:
        speed = np.asarray(speed, dtype=float)
        shifted = speed + self._shift
        left = self.base.residual(shifted * self._factor(speed), step)
        return (self._shift + speed * left) / shifted if self.strength else left

    def weights(self, speed: np.ndarray, step: np.ndarray) -> np.ndarray:
        speed = np.asarray(speed, dtype=float)
        factor = self._factor(speed)
        return factor * self.base.weights((speed + self._shift) * factor, step)


@dataclass(frozen=True)
class Ridge(_Modified):
    """A dynamics with the penalty ½ δ |w − w_0|²; build one with `ridge`."""


@dataclass(frozen=True)
class Preconditioned(_Modified):
    """A dynamics whose every mode has the speed η(λ + δ) p(λ); build one with `preconditioned`.

    Attributes:
        preconditioner: p, positive.
    """

    preconditioner: Callable[[np.ndarray], np.ndarray] = field(kw_only=True)

    @property
    def preconditions(self) -> bool:
        return True

    @property
    def max_speed(self) -> float:
        """A speed stable for a p that falls, that of `base` over p(0); `stability_limit` holds for every p."""
        return self.base.max_speed / self.acceleration - self._shift

    @property
    def smooth_speed(self) -> float:
        """0: the bound of Lanczos is an estimate for every speed."""
        return 0.0

    @property
    def acceleration(self) -> float:
        """p(0), times that of `base`; with a ridge, at most."""
        return float(self.preconditioner(np.zeros(1))[0]) * self.base.acceleration

    def sensitivity(self, speed: float, step: np.ndarray) -> np.ndarray:
        """Not known: the preconditioner changes with the matrix."""
        return np.full(np.shape(step), np.inf)

    def _factor(self, speed: np.ndarray) -> np.ndarray:
        return self.preconditioner(speed / self.unit)

    def _largest(self, eigenvalue: float) -> float:
        below = eigenvalue * GRID
        return float(np.max((below + self.strength) * self.preconditioner(below)))


@dataclass(frozen=True)
class DampedPower:
    """The spectral preconditioner p(λ) = (λ + δ)^{−s}; build one with `damped_power`.

    Attributes:
        power: s in [0, 1].
        damping: δ.
    """

    power: float
    damping: float

    def __call__(self, eigenvalue: np.ndarray) -> np.ndarray:
        """p(λ); an eigenvalue below zero is one of rounding."""
        return (np.maximum(eigenvalue, 0) + self.damping) ** -self.power


def ridge(strength: float, dynamics: Dynamics | None = None) -> Ridge:
    """Training with a ridge, which is weight decay towards the initial weights.

    The loss is ½ Σ (f − y)² + ½ δ |w − w_0|²; it ends at kernel ridge regression K(K + δ)⁻¹ y. A decay c of the
    weights in every step (torch's `weight_decay` c in the loss's own unit) is δ = c for the summed loss and n c for
    the mean; that of a network towards zero, not w_0, also shrinks the initial function.

    Args:
        strength: δ > 0, in units of the eigenvalues of K.
        dynamics: how it is trained; gradient descent where None.

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


def damped_power(power: float, damping: float) -> DampedPower:
    """Return the preconditioner (λ + δ)^{−s}: s = 0 is none, ½ is a matrix Adagrad's, 1 is damped natural gradient.

    Args:
        power: s in [0, 1].
        damping: δ > 0, in units of eigenvalues: modes well below it keep their order, those above are learned at
            rates as λ^{1−s}.

    Raises:
        ValueError: if s is outside [0, 1] or δ is not positive.

    Source: Amari, Ba, Grosse et al. 2021, "When does preconditioning help or hurt generalization?", section 3; Gupta,
    Koren & Singer 2018, "Shampoo", for ½.

    Example:
        >>> damped_power(0.5, 1.0)(np.array([0.0, 3.0])).tolist()
        [1.0, 0.5]
    """
    check_number("power", power, 0, 1, hint="0 is none, 1 natural gradient")
    check_positive("damping", damping, "in units of eigenvalues, such as λ_max/1000")
    return DampedPower(float(power), float(damping))


def preconditioned(
    preconditioner: Callable[[np.ndarray], np.ndarray], dynamics: Dynamics | None = None
) -> Preconditioned:
    """Training with a spectral preconditioner, a function of the kernel matrix.

    In function space ḟ = η K p(K)(y − f): what a preconditioner that shares its eigenvectors would do to each
    frequency. Of a loss with a ridge, `preconditioned(p, ridge(δ))` is w ← w + η p(K)(y − Kw − δw), in formulas

        w_t = y (1 − r_base(η p(λ)(λ + δ), t))/(λ + δ),    r_t = (δ + λ r_base(η p(λ)(λ + δ), t))/(λ + δ):

    the preconditioner turns the whole gradient, that of the decay as well, and leaves where training ends.

    **A diagonal one** is no filter of K. On the points, weights D = diag(d) make r ← r − ηKDr, which is plain descent
    of D^½ K D^½ on D^½ r: take `A = ns.operator.measurement.function(lambda f: np.sqrt(d) * f, (n,))`, the operator
    `ns.operator.measured(K, A)`, the labels √d y and any dynamics; `train`/√d and `unseen` are then the function. On
    the parameters, J D Jᵀ is another kernel: rescaled amplitudes of a mapping are one, and have their own spectrum.

    Args:
        preconditioner: p(λ) of eigenvalues (any shape), positive and finite also at 0; see `damped_power`.
        dynamics: how it is trained, with its ridge if it has one; gradient descent where None.

    Returns:
        The dynamics. Lanczos estimates its error for it; it has no bound.

    Raises:
        ValueError: if p(0) or p(1) is not positive and finite, or the dynamics is preconditioned already.

    Source: Amari et al. 2021, section 3.

    Example:
        >>> p = preconditioned(damped_power(1.0, 1e-3))
        >>> p.residual(np.array([0.1, 1.0]), 1).round(3).tolist()
        [0.01, 0.001]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.asarray(preconditioner(np.array([0.0, 1.0])))
    if values.shape != (2,) or not np.isfinite(values).all() or (values <= 0).any():
        what = f"the preconditioner is {values.tolist()} at eigenvalues [0, 1]"
        raise ValueError(f"{what}; expected positive, finite numbers of the same shape: see damped_power")
    base, strength = gradient_descent() if dynamics is None else dynamics, 0.0
    while isinstance(base, Ridge):
        strength += base.strength
        base = base.base
    if base.preconditions:
        raise ValueError("the dynamics is preconditioned already; give the product of both, lambda eigenvalue: p * q")
    return Preconditioned(base, strength, preconditioner=preconditioner)
