"""Preconditioned training: w ← w + η p(K)(y − f) has the filter of λ p(λ) in place of λ.

With a ridge, w ← w + η p(K)(y − Kw − δw), a mode of w has the speed η p(λ)(λ + δ) and ends at y/(λ + δ).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ntkspec.checks import check_number, check_positive
from ntkspec.dynamics._base import Dynamics
from ntkspec.dynamics._descent import gradient_descent
from ntkspec.dynamics._ridge import Ridge

__all__ = ["DampedPower", "Preconditioned", "damped_power", "preconditioned"]

#: Where a preconditioner of one's own is looked at: in steps of 2 % over 24 decades below λ_max.
GRID = np.concatenate([[0.0], np.geomspace(1e-24, 1, 2800)])


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


@dataclass(frozen=True)
class Preconditioned(Dynamics):
    """A dynamics whose every mode has the speed η(λ + δ) p(λ); build one with `preconditioned`.

    Attributes:
        preconditioner: p, positive.
        base: the dynamics without it and without a ridge.
        strength: δ of the loss's ridge; 0 where it has none.
        unit: η that speeds are multiples of.
    """

    preconditioner: Callable[[np.ndarray], np.ndarray]
    base: Dynamics
    strength: float = 0.0
    unit: float = 1.0

    @property
    def preconditions(self) -> bool:
        return True

    @property
    def _shift(self) -> float:
        return self.unit * self.strength

    @property
    def max_speed(self) -> float:
        """A speed stable for a p that falls, that of `base` over p(0); `stability_limit` holds for every p."""
        return self.base.max_speed / self.acceleration - self._shift

    @property
    def discrete(self) -> bool:
        return self.base.discrete

    @property
    def smooth_speed(self) -> float:
        """None: the bound of Lanczos is an estimate for every speed."""
        return 0.0

    @property
    def acceleration(self) -> float:
        """p(0), times that of `base`; with a ridge, at most."""
        return float(self.preconditioner(np.zeros(1))[0]) * self.base.acceleration

    def gain(self, speed: float) -> float:
        """Bound that of `base` at the preconditioned speed; with a ridge twice and one, as `Ridge`."""
        gain = self.base.gain(self.unit * self._largest(speed / self.unit))
        return 1 + 2 * gain if self.strength else gain

    def at(self, learning_rate: float) -> Preconditioned:
        return replace(self, base=self.base.at(learning_rate), unit=learning_rate)

    def stability_limit(self, largest_eigenvalue: float) -> float:
        return self.base.stability_limit(self._largest(largest_eigenvalue))

    def _largest(self, eigenvalue: float) -> float:
        asked = eigenvalue * GRID
        return float(np.max((asked + self.strength) * self.preconditioner(asked)))

    def sensitivity(self, speed: float, step: np.ndarray) -> np.ndarray:
        """Not known: the preconditioner changes with the matrix."""
        return np.full(np.shape(step), np.inf)

    def residual(self, speed: np.ndarray, step: np.ndarray) -> np.ndarray:
        """r_base(ηλ p(λ), t); with a ridge (δ + λ r_base(η(λ + δ) p(λ), t))/(λ + δ)."""
        factor, shifted = self.preconditioner(speed / self.unit), speed + self._shift
        left = self.base.residual(shifted * factor, step)
        return (self._shift + speed * left) / shifted if self.strength else left

    def weights(self, speed: np.ndarray, step: np.ndarray) -> np.ndarray:
        """p(λ) times those of `base` at η(λ + δ) p(λ)."""
        factor = self.preconditioner(speed / self.unit)
        return factor * self.base.weights((speed + self._shift) * factor, step)


def damped_power(power: float, damping: float) -> DampedPower:
    """Return the preconditioner (λ + δ)^{−s}: s = 0 is none, ½ is a matrix Adagrad's, 1 is damped natural gradient.

    Args:
        power: s in [0, 1].
        damping: δ > 0, in units of eigenvalues: modes well below it keep their order, those above are learned at
            rates as λ^{1−s}.

    Returns:
        p, a function of eigenvalues.

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
    return Preconditioned(preconditioner, base, strength)
