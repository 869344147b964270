"""Smooth activations with closed forms.

A smooth kernel loses nothing when its versine is good to rounding relative to 1; those that are steep (`Sin` at the
frequencies of SIREN, `Erf` and `Gaussian` of a large variance) keep the relative precision of a small versine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from ntkspec.kernel.activation._base import Pair, safe_divide, safe_sqrt, spread
from ntkspec.module import Module


class Erf(Module):
    """φ(u) = erf u.

    E[φφ] = (2/π) asin(2c/√((1 + 2q_x)(1 + 2q_z))) and E[φ'φ'] = (4/π)/√Δ with Δ = (1 + 2q_x)(1 + 2q_z) − 4c².

    Source: Williams 1997, "Computing with infinite networks".
    """

    differentiable: ClassVar[bool] = True

    def __call__(self, u: Array) -> Array:
        return jax.scipy.special.erf(u)

    def dual(self, pair: Pair) -> tuple[Pair, Array]:
        # The arcsine as atan2(2c, √Δ), with Δ a sum of positive terms.
        q_x, q_z, c, *_ = pair
        sine2 = pair.sine_squared
        root = jnp.sqrt(1 + 2 * (q_x + q_z) + 4 * q_x * q_z * sine2)
        second_x, second_z = (2 / jnp.pi * jnp.arctan2(2 * q, jnp.sqrt(1 + 4 * q)) for q in (q_x, q_z))
        covariance = 2 / jnp.pi * jnp.arctan2(2 * c, root)
        # Of |c|, erf being odd: √(s_x s_z) − E = ((s_x − E) + (s_z − E) − (√s_x − √s_z)²)/2, each by a difference of
        # angles where they nearly cancel.
        size = jnp.where(c < 0, -c, jnp.where(c > 0, c, 1))
        excess = sum(
            jnp.arctan2(_erf_sine(q, other, size, sine2, root), jnp.sqrt(1 + 4 * q) * root + 4 * q * size)
            for q, other in ((q_x, q_z), (q_z, q_x))
        )
        norm, magnitude = safe_sqrt(second_x) * safe_sqrt(second_z), jnp.where(c < 0, -covariance, covariance)
        small = safe_divide(excess / jnp.pi - spread(second_x, second_z), norm)
        smaller = jnp.where(magnitude > norm / 2, small, 1 - safe_divide(magnitude, norm))
        moments = Pair.of_smaller(second_x, second_z, covariance, smaller)
        return moments, 4 / jnp.pi / root


def _erf_sine(q: Array, other: Array, c: Array, sine2: Array, root: Array) -> Array:
    """2q√Δ − 2c√(1 + 4q), the sine of an angle difference times its hypotenuse, rationalised, for c > 0."""
    numerator = 4 * q * (1 + 2 * q) * ((q - other) + sine2 * other * (1 + 2 * q))
    return numerator / (2 * q * root + 2 * c * jnp.sqrt(1 + 4 * q))


class Gelu(Module):
    """φ(u) = u Φ(u) with Φ the normal distribution function: the exact GELU, not the tanh approximation.

    With Δ = (1 + q_x)(1 + q_z) − c², B = E[Φ(u)Φ(v)] = 1/4 + asin(c/√((1 + q_x)(1 + q_z)))/2π, G = 1/(2π√Δ)
    and m = 1/(1 + q_x) + 1/(1 + q_z):
    E[φφ] = c B + G (q_x q_z + c² (m − 1)) and E[φ'φ'] = B + c G (m + 1/Δ).

    Source: Tsuchida et al. 2021, "Avoiding kernel fixed points: computing with ELU and GELU infinite networks".
    """

    differentiable: ClassVar[bool] = True

    def __call__(self, u: Array) -> Array:
        return jax.nn.gelu(u, approximate=False)

    def dual(self, pair: Pair) -> tuple[Pair, Array]:
        # Δ as a sum of positive terms, and q_x q_z − c² as q_x q_z sin²θ.
        q_x, q_z, c, *_ = pair
        second_x, second_z = (_gelu(q, q, q, jnp.zeros(()))[0] for q in (q_x, q_z))
        covariance, derivative = _gelu(q_x, q_z, c, pair.sine_squared)
        return Pair.of_covariance(second_x, second_z, covariance), derivative


def _gelu(q_x: Array, q_z: Array, c: Array, sine2: Array) -> tuple[Array, Array]:
    delta = 1 + q_x + q_z + q_x * q_z * sine2
    root = jnp.sqrt(delta)
    both = jnp.arctan2(root, -c) / (2 * jnp.pi)
    density = 1 / (2 * jnp.pi * root)
    mean = 1 / (1 + q_x) + 1 / (1 + q_z)
    return c * both + density * (q_x * q_z * sine2 + c**2 * mean), both + c * density * (mean + 1 / delta)


class Sin(Module):
    """φ(u) = A sin(ω u + p); `cos`, `rbf` and `siren` are members of this family.

    With D = (q_x + q_z)/2 − c, S = q_x + q_z and κ = cos 2p:
    E[φφ] = (A²/2)(e^(−ω²D) − κ e^(−ω²(S − D))) and E[φ'φ'] = (A²ω²/2)(e^(−ω²D) + κ e^(−ω²(S − D))).

    Args:
        omega: ω.
        phase: p.
        amplitude: A.

    Source: Pearce et al. 2019, "Expressive priors in Bayesian neural networks" (cosine); Sitzmann et al. 2020,
    "Implicit neural representations with periodic activation functions".
    """

    differentiable: ClassVar[bool] = True
    omega: float | Array = 1.0
    phase: float | Array = 0.0
    amplitude: float | Array = 1.0

    def __call__(self, u: Array) -> Array:
        return self.amplitude * jnp.sin(self.omega * u + self.phase)

    def dual(self, pair: Pair) -> tuple[Pair, Array]:
        """Differences of exponentials by expm1, with exponents from the versine: right also for ω²q of thousands."""
        q_x, q_z, c = (self.omega**2 * a for a in pair[:3])
        kappa = jnp.cos(2 * self.phase)
        less, more = 2 * jnp.sin(self.phase) ** 2, 2 * jnp.cos(self.phase) ** 2  # 1 − κ and 1 + κ
        norm, apart = safe_sqrt(q_x) * safe_sqrt(q_z), spread(q_x, q_z)
        near, far = apart + norm * pair.versine, apart + norm * pair.far  # ω²D and ω²(S − D)
        covariance = _difference(near, far, c, kappa, less)
        derivative = _difference(near, far, c, -kappa, more)
        second_x, second_z = (_difference(jnp.zeros(()), 2 * q, q, kappa, less) for q in (q_x, q_z))
        # s_x s_z − E² = (1 − e^(−2ω²D))(1 − κ² e^(−2ω²(S−D))) − κ (e^(−ω²q_x) − e^(−ω²q_z))², up to A⁴/4.
        gap = jnp.exp(-jnp.minimum(q_x, q_z)) * jnp.expm1(-jnp.abs(q_x - q_z))
        gram = -jnp.expm1(-2 * near) * (less * more - kappa**2 * jnp.expm1(-2 * far)) - kappa * gap**2
        root = safe_sqrt(second_x) * safe_sqrt(second_z)
        magnitude = jnp.where(covariance < 0, -covariance, covariance)
        close = magnitude > root / 2
        smaller = jnp.where(
            close,
            safe_divide(gram, root * (root + jnp.where(close, magnitude, root))),
            1 - safe_divide(magnitude, root),
        )
        half = self.amplitude**2 / 2
        moments = Pair.of_smaller(half * second_x, half * second_z, half * covariance, smaller)
        return moments, half * self.omega**2 * derivative


def _difference(near: Array, far: Array, c: Array, kappa: Array, less: Array) -> Array:
    """e^(−near) − κ e^(−far) where far − near = 2c and less = 1 − κ; no cancellation for κ ≥ 0, and none for κ ≤ 0."""
    forward = c >= 0
    magnitude = jnp.where(forward, c, -c)  # not abs: its slope at c = 0 would be lost
    decay = jnp.exp(-jnp.where(forward, near, far)) * jnp.expm1(-2 * magnitude)
    odd = jnp.where(forward, -decay, decay)
    return jnp.where(kappa >= 0, less * jnp.exp(-near) + kappa * odd, jnp.exp(-near) - kappa * jnp.exp(-far))


def cos(omega: float | Array = 1.0) -> Sin:
    """Cosine features: a `Sin` with phase π/2."""
    return Sin(omega=omega, phase=math.pi / 2)


def siren(omega: float | Array = 30.0) -> Sin:
    """φ(u) = sin(ω₀ u) with the frequency of SIREN (Sitzmann et al. 2020)."""
    return Sin(omega=omega)


def rbf(gamma: float | Array = 1.0) -> Sin:
    """φ(u) = √2 sin(√(2γ) u + π/4), whose dual is the kernel e^(−γ E[(u − v)²]).

    Source: Rahimi & Recht 2007, "Random features for large-scale kernel machines".
    """
    return Sin(omega=(2 * gamma) ** 0.5, phase=math.pi / 4, amplitude=2**0.5)


class Gaussian(Module):
    """φ(u) = e^(−β u²).

    E[φφ] = 1/√Δ and E[φ'φ'] = 4β²c/Δ^(3/2) with Δ = (1 + 2βq_x)(1 + 2βq_z) − 4β²c².

    Args:
        rate: β.

    Source: the Gaussian integral itself; Williams 1997, "Computing with infinite networks", has the one with centres.
    """

    differentiable: ClassVar[bool] = True
    rate: float | Array = 1.0

    def __call__(self, u: Array) -> Array:
        return jnp.exp(-self.rate * u**2)

    def dual(self, pair: Pair) -> tuple[Pair, Array]:
        """Return the closed forms, and 1 − ρ' = 1 − (1 + y)^(−1/4) with y = Δ²/((1 + 4βq_x)(1 + 4βq_z)) − 1 ≥ 0."""
        a, b, c = (2 * self.rate * moment for moment in pair[:3])
        sum_, twist = 1 + a + b, a * b * pair.sine_squared
        delta = sum_ + twist
        y = ((a - b) ** 2 + twist * (2 * sum_ + twist)) / ((1 + 2 * a) * (1 + 2 * b))
        versine = -jnp.expm1(-jnp.log1p(y) / 4)
        moments = Pair(1 / jnp.sqrt(1 + 2 * a), 1 / jnp.sqrt(1 + 2 * b), 1 / jnp.sqrt(delta), versine, 2 - versine)
        return moments, 2 * self.rate * c / delta**1.5


class Polynomial(Module):
    """φ(u) = Σ_i p_i uⁱ.

    In Hermite polynomials of variance q, φ = Σ_k b_k(q) He_k with
    b_k(q) = Σ_m p_(k+2m) (k + 2m)!/(2^m m! k!) q^m, hence E[φφ] = Σ_k k! b_k(q_x) b_k(q_z) c^k and
    E[φ'φ'] = Σ_k k k! b_k(q_x) b_k(q_z) c^(k−1).

    Args:
        coefficients: p_0, p_1, ..., lowest degree first.

    Source: Daniely et al. 2016, "Toward deeper understanding of neural networks" (dual activations).

    Example:
        >>> import ntkspec as ns
        >>> square = ns.kernel.Polynomial((0.0, 0.0, 1.0))
        >>> float(square.dual(Pair.of_versine(1.0, 1.0, 1.0))[0].covariance)  # E[u²] E[v²]
        1.0
    """

    differentiable: ClassVar[bool] = True
    coefficients: tuple[float | Array, ...] | Array

    def __call__(self, u: Array) -> Array:
        return _polynomial(self.coefficients, u)

    def dual(self, pair: Pair) -> tuple[Pair, Array]:
        q_x, q_z, c, *_ = pair
        h_x, h_z = self._hermite(q_x), self._hermite(q_z)
        terms = [math.factorial(k) * x * z for k, (x, z) in enumerate(zip(h_x, h_z, strict=True))]
        second_x, second_z = (
            _polynomial([math.factorial(k) * b**2 for k, b in enumerate(h)], q) for h, q in ((h_x, q_x), (h_z, q_z))
        )
        derivative = _polynomial([k * term for k, term in enumerate(terms)][1:], c)
        return Pair.of_covariance(second_x, second_z, _polynomial(terms, c)), derivative

    def _hermite(self, q: Array) -> list[Array]:
        p = self.coefficients
        return [
            _polynomial(
                [
                    p[n] * (math.factorial(n) / (2**m * math.factorial(m) * math.factorial(k)))
                    for m, n in enumerate(range(k, len(p), 2))
                ],
                q,
            )
            for k in range(len(p))
        ]


def _polynomial(coefficients: Sequence[float | Array] | Array, x: Array) -> Array:
    """Σ_i p_i xⁱ, where a p_i may be an array like x."""
    return reduce(lambda value, coefficient: value * x + coefficient, reversed(coefficients), jnp.zeros_like(x))
