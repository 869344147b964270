"""Kernel regression on random points, as regression on all of them with another ridge: deterministic equivalents.

**Infinitely many points.** With eigenvalues λ_i of the integral operator, n independent points and a ridge δ, κ solves

    Σ λ_i/(λ_i + κ) + δ/κ = n.

A mode is learned to L_i = λ_i/(λ_i + κ), and with target energies v_i² and noise σ² the test error is
E = E₀ (Σ (1 − L_i)² v_i² + σ²), E₀ = n/(n − Σ L_i²) (noise included); mode i holds (1 − L_i)² v_i² + L_i² E/n of it.

**A lattice of N points**, n of them drawn without replacement: S selects them, and R = Sᵀ(S K Sᵀ + s)⁻¹S. The ridge may
as well be part of the kernel, K' = K + s, interpolated without any. With Schur complements the mean of R is a free
compression by a projection, R ≃ (K + μ)⁻¹, and with Λ the eigenvalues of K

    Σ_k (Λ_k + s)/(Λ_k + μ) = n,   L'_k = (Λ_k + s)/(Λ_k + μ).

It turns into the first as N → ∞ (λ = Λ/N, κ = μ/N), and at n = N into μ = s. For the second moment, the same equivalent
of the 2 × 2 block matrix [[K + s₁, εC], [0, K + s₂]] gives, for labels of covariance C in the same modes,

    R₁ C R₂ ≃ (C + q₁₂)/((K + μ₁)(K + μ₂)),   q₁₂ = Σ C_k (1 − L'₁)(1 − L'₂) / (n − Σ L'₁ L'₂),

so that with s₁ = s₂ the error at the N − n other points adds up to E = n q = n Σ (1 − L')² C/(n − Σ L'²). It needs
modes that are spread over all points, as plane waves are, and many of them. All of it holds for complex ridges, which
is how it answers for training stopped at a time (`ntkspec.generalisation._contour`).

Source: Bordelon, Canatar & Pehlevan 2020, "Spectrum dependent learning curves in kernel regression and wide neural
networks"; Canatar, Bordelon & Pehlevan 2021; Simon, Dickens, Karkada & DeWeese 2023, "The eigenlearning framework",
equations 6 to 12. For projections, LeJeune et al. 2024, "Asymptotics of the sketched pseudoinverse".
"""

from __future__ import annotations

import numpy as np
import scipy.optimize

__all__ = ["capacity_ridge", "compression_shift"]

#: On log κ, and on s(μ)/s.
PRECISION = 1e-14

#: Points of the path along which a complex ridge is followed, and Newton steps at each.
PATH, NEWTON = 24, 6


def capacity_ridge(eigenvalue: np.ndarray, weight: np.ndarray, num_points: float, ridge: float) -> float:
    """Return the κ > 0 that solves Σ w a/(a + κ) + δ/κ = n for eigenvalues a ≥ 0 of w modes each, shapes (h,).

    The logarithm of the left side falls with log κ, so that a bracket has one root. Without a ridge no κ > 0
    solves it once n reaches the number of positive eigenvalues: all is learned then.
    """
    rank = float(weight[eigenvalue > 0].sum())
    if ridge == 0 and num_points >= rank:
        what = f"{num_points:g} training points and no ridge, but only {rank:g} positive eigenvalues"
        raise ValueError(f"{what}: all modes would be learned without an error; take fewer points, or a ridge")

    def excess(log: float) -> float:
        kappa = np.exp(log)
        return float(np.log((weight @ (eigenvalue / (eigenvalue + kappa)) + ridge / kappa) / num_points))

    # Σ w a/(a + κ) + δ/κ ≤ (Σ w a + δ)/κ.
    high = low = float(np.log((weight @ eigenvalue + ridge) / num_points))
    while excess(low) <= 0:
        low -= 2.0
    return float(np.exp(scipy.optimize.brentq(excess, low, high + 1e-9, xtol=PRECISION, rtol=PRECISION)))


def compression_shift(eigenvalue: np.ndarray, weight: np.ndarray, num_points: float, shift: np.ndarray) -> np.ndarray:
    """Return the μ of a lattice for complex ridges: Σ w (Λ + s)/(Λ + μ) = n.

    Solved for s, s = (n − Σ wΛ/(Λ + μ))/Σ w/(Λ + μ), it is followed by Newton's method from the positive s of the same
    size along an arc, on which μ is analytic: it has no singularity off the negative axis. Λ ≥ 0 has w modes, N > n in
    all, shapes (h,); s and μ have shape (j,).
    """
    size = np.abs(shift)
    start = [capacity_ridge(eigenvalue + s, weight, num_points, 0.0) + s for s in size]
    mu = np.asarray(start, dtype=complex)
    angle = np.angle(shift)
    for part in np.linspace(0, 1, PATH + 1)[1:]:
        wanted = size * np.exp(1j * part * angle)
        for _ in range(NEWTON):
            inverse = 1 / (eigenvalue[:, None] + mu)
            once, twice = weight @ inverse, weight @ inverse**2
            held = (weight * eigenvalue) @ inverse
            reached = (num_points - held) / once
            slope = (((weight * eigenvalue) @ inverse**2) * once + (num_points - held) * twice) / once**2
            step = (wanted - reached) / slope
            mu = mu + step
            if (np.abs(step) <= PRECISION * np.abs(mu)).all():
                break
    if not (np.abs(wanted - reached) <= 1e-9 * size).all():
        raise RuntimeError(
            "the effective ridge of a complex ridge was not found; train for less, or take a larger ridge"
        )
    return mu
