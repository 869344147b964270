"""A filter of the weights as a sum of ridge resolvents: w_t(λ) = (1 − r_t(λ))/λ = Re Σ_j c_j/(λ + s_j).

What is known of ridge regression at every complex ridge s is then known of training at every time: leave-one-out
residuals and the risk on random points are linear (or bilinear) in the resolvents. For the flow the sum is the inverse
Laplace transform of 1/(z(z + λ)) on a contour around the negative axis,

    (1 − e^{−tλ})/λ = (1/2πi) ∫ e^{zt}/(z(z + λ)) dz,

and for descent, whose generating function in 1/z is η z/((z − 1)(z − 1 + ηλ)),

    (1 − (1 − ηλ)^t)/λ = (1/2πi) ∮ z^t/(z − 1) · 1/(s + λ) dz,   s = (z − 1)/η,

on a circle, or with z = e^u on the flow's contour. A ridge δ moves every s by δ. The trapezoidal rule converges
geometrically; how well is measured on the whole range of eigenvalues.

Source: Trefethen, Weideman & Schmelzer 2006, "Talbot quadratures and rational approximations", equation 5.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ntkspec.dynamics import Dynamics, GradientDescent, GradientFlow, Ridge, Times

__all__ = ["Resolvents", "has_resolvents", "resolvents"]

#: Nodes of the contour, of which conjugate halves: e^{−1.36 · 24} = 7e-15.
TALBOT = 24

#: Steps up to which a circle of 4 (t + 10) nodes is used: beyond, the contour is as good where ηλ_max ≤ 1.
CIRCLE = 240

#: Eigenvalues on which the sum is compared with the filter.
COMPARED = 512


@dataclass(frozen=True)
class Resolvents:
    """w(λ) = Re Σ c_j/(λ + s_j) on [0, λ_max], one of each conjugate pair; s and c are complex, shape (j,).

    Its error is max √λ |sum − filter| over the range.
    """

    shift: np.ndarray
    coefficient: np.ndarray
    error: float

    def __call__(self, eigenvalue: np.ndarray) -> np.ndarray:
        """Return the sum at real eigenvalues (k,)."""
        return (self.coefficient / (eigenvalue[:, None] + self.shift)).sum(axis=1).real


def has_resolvents(dynamics: Dynamics) -> bool:
    """Whether a dynamics is the flow or descent, with or without a ridge."""
    base = dynamics.base if isinstance(dynamics, Ridge) else dynamics
    return isinstance(base, GradientFlow | GradientDescent)


def resolvents(times: Times, largest: float) -> list[Resolvents]:
    """Return the sums that make the weights of a dynamics with `has_resolvents` at each step, on [0, λ_max].

    Their `error` says whether they hold: descent of many steps with ηλ_max near 2 has no short one.
    """
    return [_of_one_step(one, largest) for one in times.each()]


def _of_one_step(times: Times, largest: float) -> Resolvents:
    dynamics, rate, step = times.dynamics, times.rate, float(times.steps[0])
    shift_by, base = (dynamics.strength, dynamics.base) if isinstance(dynamics, Ridge) else (0.0, dynamics)
    if step == 0:
        return Resolvents(np.ones(1, dtype=complex), np.zeros(1, dtype=complex), 0.0)
    if isinstance(base, GradientFlow):
        shift, weight = _talbot(rate * step)
        coefficient = weight / shift
    elif step <= CIRCLE:
        shift, coefficient = _circle(rate, step)
    else:
        shift, coefficient = _descent(rate, step)
    sums = Resolvents(shift + shift_by, coefficient, 0.0)
    grid = largest * np.concatenate([[0.0], np.geomspace(1e-16, 1, COMPARED), np.linspace(0, 1, COMPARED)])
    return replace(sums, error=float(np.max(np.sqrt(grid) * np.abs(sums(grid) - times.weights(grid)[:, 0]))))


def _talbot(time: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes z of the upper half, and the weights of Σ e^{zt} F(z), those of the lower half included."""
    angle = np.pi * (2 * np.arange(TALBOT // 2) + 1) / TALBOT
    a, b, c, d = 0.5017, 0.6407, 0.6122, 0.2645
    scale = TALBOT / time
    z = scale * (a * angle / np.tan(b * angle) - c + 1j * d * angle)
    slope = scale * (a / np.tan(b * angle) - a * b * angle / np.sin(b * angle) ** 2 + 1j * d)
    return z, 2 * np.exp(z * time) * slope / (1j * TALBOT)


def _descent(rate: float, step: float) -> tuple[np.ndarray, np.ndarray]:
    # dz = z du leaves e^{u(t + 1)}.
    u, weight = _talbot(step + 1)
    return np.expm1(u) / rate, weight / np.expm1(u)


def _circle(rate: float, step: float) -> tuple[np.ndarray, np.ndarray]:
    count = 4 * (int(step) + 10)
    # What is aliased falls as radius^−count, what rounds grows as radius^t.
    z = 10 ** (14 / count) * np.exp(2j * np.pi * (np.arange(count // 2) + 0.5) / count)
    return (z - 1) / rate, 2 * z ** (step + 1) / (z - 1) / count
