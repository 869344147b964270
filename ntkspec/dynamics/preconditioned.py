"""Preconditioned training: w ← w + η p(K)(y − f) has the filter of λ p(λ) in place of λ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import numpy as np

from ntkspec.checks import check_positive
from ntkspec.dynamics.base import Dynamics
from ntkspec.dynamics.descent import gradient_descent

__all__ = ["DampedPower", "Preconditioned", "damped_power", "preconditioned"]

#: Where a preconditioner of one's own is looked at: in steps of 2 % over 24 decades below λ_max.
GRID = np.concatenate([[0.0], np.geomspace(1e-24, 1, 2800)])


@jax.tree_util.register_static
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


@jax.tree_util.register_static
@dataclass(frozen=True)
class Preconditioned(Dynamics):
    """A dynamics whose every mode has the rate ηλ p(λ); build one with `preconditioned`.

    Attributes:
        preconditioner: p, positive.
        base: the dynamics without it.
        unit: the η that rates are multiples of.
    """

    preconditioner: Callable[[np.ndarray], np.ndarray]
    base: Dynamics
    unit: float = 1.0

    @property
    def max_rate(self) -> float:
        """A rate that is sure to be stable, that of `base` over p(0); `limit` knows the learning rate itself."""
        return self.base.max_rate / self.pace

    @property
    def discrete(self) -> bool:
        """As `base`."""
        return self.base.discrete

    @property
    def smooth_rate(self) -> float:
        """None: the bound of Lanczos is an estimate for every rate."""
        return 0.0

    @property
    def pace(self) -> float:
        """p(0), times that of `base`."""
        return float(self.preconditioner(np.zeros(1))[0]) * self.base.pace

    def gain(self, rate: float) -> float:
        """That of `base` at the preconditioned rate."""
        return self.base.gain(self.unit * self._largest(rate / self.unit))

    def at(self, learning_rate: float) -> Preconditioned:
        """With rates that are multiples of this η."""
        return replace(self, base=self.base.at(learning_rate), unit=learning_rate)

    def limit(self, largest_eigenvalue: float) -> float:
        """That of `base` at the largest λ p(λ) up to λ_max."""
        return self.base.limit(self._largest(largest_eigenvalue))

    def _largest(self, eigenvalue: float) -> float:
        asked = eigenvalue * GRID
        return float(np.max(asked * self.preconditioner(asked)))

    def sensitivity(self, rate: float, step: np.ndarray) -> np.ndarray:
        """Not known: the preconditioner changes with the matrix."""
        return np.full(np.shape(step), np.inf)

    def residual(self, rate: np.ndarray, step: np.ndarray) -> np.ndarray:
        """r_base(ηλ p(λ), t)."""
        return self.base.residual(rate * self.preconditioner(rate / self.unit), step)

    def weights(self, rate: np.ndarray, step: np.ndarray) -> np.ndarray:
        """p(λ) times those of `base` at ηλ p(λ)."""
        factor = self.preconditioner(rate / self.unit)
        return factor * self.base.weights(rate * factor, step)


def damped_power(power: float, damping: float) -> DampedPower:
    """The preconditioner (λ + δ)^{−s}: s = 0 is none, ½ is a matrix Adagrad's, 1 is damped natural gradient.

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
    if not 0 <= power <= 1:
        raise ValueError(f"power={power}; expected between 0 (none) and 1 (natural gradient)")
    check_positive("damping", damping, "in units of eigenvalues, such as λ_max/1000")
    return DampedPower(float(power), float(damping))


def preconditioned(
    preconditioner: Callable[[np.ndarray], np.ndarray], dynamics: Dynamics | None = None
) -> Preconditioned:
    """Training with a spectral preconditioner, a function of the kernel matrix.

    In function space ḟ = η K p(K)(y − f): what a preconditioner that shares its eigenvectors would do to each
    frequency. One that does not, such as a diagonal on the parameters, makes another kernel instead of another filter.

    Args:
        preconditioner: p(λ) of eigenvalues (any shape), positive and finite also at 0; see `damped_power`.
        dynamics: how it is trained; gradient descent where None.

    Returns:
        The dynamics. Lanczos estimates its error for it; it has no bound.

    Raises:
        ValueError: if p(0) or p(1) is not positive and finite.

    Source: Amari et al. 2021, section 3.

    Example:
        >>> p = preconditioned(damped_power(1.0, 1e-3))
        >>> p.residual(np.array([0.1, 1.0]), 1).round(3).tolist()
        [0.01, 0.001]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.asarray(preconditioner(np.array([0.0, 1.0])))
    if values.shape != (2,) or not np.isfinite(values).all() or (values <= 0).any():
        raise ValueError(
            f"the preconditioner is {values.tolist()} at eigenvalues [0, 1]; expected positive, finite numbers of the "
            "same shape: see damped_power(power, damping)"
        )
    return Preconditioned(preconditioner, gradient_descent() if dynamics is None else dynamics)
