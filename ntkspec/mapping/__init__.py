"""Mappings γ of coordinates before a network, and their inner product k_γ(Δ).

Coordinates live in [0, 1)^d and frequencies are in cycles per unit. With Σ a² = 1 the image of a Fourier mapping
γ(v) = [a cos 2πb·v, a sin 2πb·v] lies on the unit sphere, so any dot-product kernel behind γ depends on the
lag Δ = v − v' alone.

Inner products are carried as versines v(Δ) = 1 − k_γ(Δ)/k_γ(0) = Σ 2a² sin²(πb·Δ)/Σa², which keep every digit
where points nearly coincide; 1 − cos does not.

Source: Tancik et al. 2020, "Fourier features let networks learn high frequency functions in low
dimensional domains", equations 5 to 8.
"""

from ntkspec.mapping._base import (
    JoinedMapping,
    Mapping,
    ProductMapping,
    Stationary,
    StationaryMapping,
    SumMapping,
    Versines,
)
from ntkspec.mapping._combined import concatenate, direct_product, direct_sum, multiply, rotate
from ntkspec.mapping._conventions import bacon, from_radians, nerf, siren_first_layer, tiny_cuda_nn
from ntkspec.mapping._describe import describe
from ntkspec.mapping._fourier import FourierMapping, from_frequencies, with_amplitudes
from ntkspec.mapping._identity import IdentityMapping, identity
from ntkspec.mapping._ladder import basic, positional, power_law
from ntkspec.mapping._law import (
    LimitMapping,
    gaussian,
    gaussian_limit,
    laplace,
    laplace_limit,
    log_uniform,
    uniform,
    uniform_limit,
)  # fmt: skip

__all__ = [
    "FourierMapping",
    "IdentityMapping",
    "JoinedMapping",
    "LimitMapping",
    "Mapping",
    "ProductMapping",
    "Stationary",
    "StationaryMapping",
    "SumMapping",
    "Versines",
    "bacon",
    "basic",
    "concatenate",
    "describe",
    "direct_product",
    "direct_sum",
    "from_frequencies",
    "from_radians",
    "gaussian",
    "gaussian_limit",
    "identity",
    "laplace",
    "laplace_limit",
    "log_uniform",
    "multiply",
    "nerf",
    "positional",
    "power_law",
    "rotate",
    "siren_first_layer",
    "tiny_cuda_nn",
    "uniform",
    "uniform_limit",
    "with_amplitudes",
]
