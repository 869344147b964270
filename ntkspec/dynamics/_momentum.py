"""Momentum: two numbers a mode, so the residual is a power of a 2×2 companion matrix, here in closed form.

With trace s and determinant p of the companion matrix, and its eigenvalues μ (the roots of μ² − sμ + p),

    r_t = [μ₁^{t+1}(1 − μ₂) − μ₂^{t+1}(1 − μ₁)]/(μ₁ − μ₂),    r_0 = r_{−1} = 1 (it starts at rest).

In both methods (1 − μ₁)(1 − μ₂) = ηλ, so that with ν = 1 − μ and A(ν) = (1 − (1 − ν)^{t+1})/ν

    (1 − r_t)/(ηλ) = [A(ν₁) − A(ν₂)]/(ν₂ − ν₁),

which loses no digits at λ → 0, where ν₁ → 0. Near a double root and beyond it G_t = (μ₁^{t+1} − μ₂^{t+1})/(μ₁ − μ₂) is
taken as μ₁^t expm1((t+1)ℓ)/expm1(ℓ) with ℓ = log(μ₂/μ₁), and r_t = G_t − pG_{t−1}.

**Bounds.** Where both roots lie in the unit disc |G_t| ≤ Σ_{i≤t} β^i < 1/(1 − β), hence |r_t| ≤ (1 + β)/(1 − β); with
real positive roots 0 ≤ r_t ≤ 1.

Source: Polyak 1964, "Some methods of speeding up the convergence of iteration methods"; Nesterov 1983; Goh 2017, "Why
momentum really works", for the picture; Lessard, Recht & Packard 2016, section 3 and table 1, for both recursions.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from ntkspec.checks import check_number
from ntkspec.dynamics._base import Dynamics
from ntkspec.dynamics._descent import GradientDescent

__all__ = ["HeavyBall", "Nesterov", "heavy_ball", "nesterov"]


@dataclass(frozen=True)
class _Momentum(Dynamics):
    """A method with the momentum β in [0, 1)."""

    momentum: float

    def __post_init__(self) -> None:
        check_number("momentum", self.momentum, 0, np.nextafter(1, 0), hint="in [0, 1), mostly 0.9")

    @abstractmethod
    def _companion(self, speed: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Trace and determinant of the companion matrix, and the discriminant s² − 4p as a product of its factors."""

    @property
    def acceleration(self) -> float:
        return 1 / (1 - self.momentum)

    def gain(self, speed: float) -> float:
        """1 where no mode swings, (1 + β)/(1 − β) beyond."""
        return 1.0 if speed <= self.smooth_speed else (1 + self.momentum) / (1 - self.momentum)

    def residual(self, speed: np.ndarray, step: np.ndarray) -> np.ndarray:
        return self._filters(speed, step)[0]

    def weights(self, speed: np.ndarray, step: np.ndarray) -> np.ndarray:
        """(1 − r)/(ηλ); (t − β(1 − β^t)/(1 − β))/(1 − β) at λ = 0."""
        return self._filters(speed, step)[1]

    def _filters(self, speed: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        speed, step = np.asarray(speed, dtype=float), np.asarray(step, dtype=float)
        if self.momentum == 0:
            plain = GradientDescent()
            return plain.residual(speed, step), plain.weights(speed, step)
        trace, determinant, discriminant = self._companion(speed)
        slow = speed < self.smooth_speed / 2
        residual_slow, weights_slow = _apart(np.where(slow, speed, 0), *self._companion(np.where(slow, speed, 0)), step)
        residual = np.where(slow, residual_slow, _near(trace, determinant, discriminant, step))
        # No digit is lost here: ηλ is not small beside β's (1 − √β)².
        weights = np.where(slow, weights_slow, (1 - residual) / np.where(slow, 1, speed))
        return residual, weights


def _apart(
    speed: np.ndarray, trace: np.ndarray, determinant: np.ndarray, discriminant: np.ndarray, step: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Residual and weights where both roots are real, positive and far from each other."""
    gap = np.sqrt(discriminant)
    # 1 − μ₁ without the difference: the product of both is the speed.
    fast = (2 - trace + gap) / 2
    slow = speed / fast
    log_slow, log_fast = np.log1p(-slow), np.log(determinant) - np.log1p(-slow)
    power = step + 1
    residual = (fast * np.exp(power * log_slow) - slow * np.exp(power * log_fast)) / gap
    is_zero = slow == 0
    grown = np.where(is_zero, power, -np.expm1(power * log_slow) / np.where(is_zero, 1, slow))
    return residual, (grown + np.expm1(power * log_fast) / fast) / gap


def _near(trace: np.ndarray, determinant: np.ndarray, discriminant: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Return the residual by complex roots, double ones among them."""
    # Roots of the mirrored trace: μ → −μ, so that (−1)^t is exact however long the time.
    mirrored = trace < 0
    root = np.sqrt(discriminant.astype(complex))
    larger = (np.abs(trace) + root) / 2
    none = larger == 0
    larger = np.where(none, 1, larger)
    # Both zero only where one step learns all.
    log_larger, log_ratio = np.log(larger), np.log1p(-np.where(none, 0, root) / larger + 0j * step)
    double = log_ratio == 0

    def response(time: np.ndarray) -> np.ndarray:
        """G_time of the mirrored roots."""
        quotient = np.expm1((time + 1) * log_ratio) / np.where(double, 1, np.expm1(log_ratio))
        value = (np.exp(time * log_larger) * np.where(double, time + 1, quotient)).real
        return np.where(none, time == 0, value)

    odd = np.where(step % 2 == 1, -1.0, 1.0)
    now, before = response(step), np.where(step > 0, response(np.maximum(step - 1, 0)), 0)
    signed = np.where(mirrored, odd, 1) * (now - np.where(mirrored, -1, 1) * determinant * before)
    return np.where(step == 0, 1.0, signed)


@dataclass(frozen=True)
class HeavyBall(_Momentum):
    """Polyak's momentum: w ← w − η∇ + β(w − w_before), r_{t+1} = (1 + β − ηλ) r_t − β r_{t−1}.

    Stable for ηλ < 2(1 + β).
    """

    @property
    def max_speed(self) -> float:
        return 2 * (1 + self.momentum)

    @property
    def smooth_speed(self) -> float:
        """(1 − √β)², beyond which modes swing."""
        return (1 - self.momentum) ** 2 / (1 + np.sqrt(self.momentum)) ** 2

    def _companion(self, speed: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        beta = self.momentum
        discriminant = (self.smooth_speed - speed) * ((1 + np.sqrt(beta)) ** 2 - speed)
        return 1 + beta - speed, np.full_like(speed, beta), discriminant


@dataclass(frozen=True)
class Nesterov(_Momentum):
    """Nesterov's momentum, constant β: v = w + β(w − w_before), w ← v − η∇(v).

    r_{t+1} = (1 − ηλ)[(1 + β) r_t − β r_{t−1}], stable for ηλ < (2 + 2β)/(1 + 2β).
    """

    @property
    def max_speed(self) -> float:
        return (2 + 2 * self.momentum) / (1 + 2 * self.momentum)

    @property
    def smooth_speed(self) -> float:
        """((1 − β)/(1 + β))², beyond which modes swing."""
        return ((1 - self.momentum) / (1 + self.momentum)) ** 2

    def gain(self, speed: float) -> float:
        """As the heavy ball's, times 1 + 2β and β more: the gradient is taken at the point ahead."""
        return (1 + 2 * self.momentum) * super().gain(speed) + self.momentum

    def _companion(self, speed: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        beta, left = self.momentum, 1 - speed
        return left * (1 + beta), left * beta, left * (1 + beta) ** 2 * (self.smooth_speed - speed)


def heavy_ball(beta: float = 0.9) -> HeavyBall:
    """Gradient descent with Polyak's momentum, as in torch.optim.SGD(momentum=beta).

    Args:
        beta: momentum, in [0, 1); 0 is gradient descent.

    Raises:
        ValueError: if `beta` is outside [0, 1).

    Source: Polyak 1964, equation 9.

    Example:
        >>> heavy_ball(0.5).residual(np.array([0.0, 0.25, 1.0]), 2).round(12).tolist()
        [1.0, 0.4375, -0.5]
    """
    return HeavyBall(float(beta))


def nesterov(beta: float = 0.9) -> Nesterov:
    """Gradient descent with Nesterov's momentum of a constant β, as in torch.optim.SGD(nesterov=True).

    Args:
        beta: momentum, in [0, 1); 0 is gradient descent.

    Raises:
        ValueError: if `beta` is outside [0, 1).

    Source: Nesterov 1983; Lessard, Recht & Packard 2016, section 3.2.

    Example:
        >>> nesterov(0.5).residual(np.array([0.0, 0.5, 1.0]), 2).round(12).tolist()
        [1.0, 0.125, 0.0]
    """
    return Nesterov(float(beta))
