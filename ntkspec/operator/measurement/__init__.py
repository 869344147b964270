"""Linear measurements A of values on a lattice: what is known of a signal that is not sampled point by point.

Each is a frozen pytree with `forward` (values to measurements) and `transpose`, both real, and `A @ values` measures an
array. `ntkspec.operator.measured(K, A)` is the kernel of the measurements, A K Aᵀ.
"""

from ntkspec.operator.measurement._base import Measurement
from ntkspec.operator.measurement._fourier import (
    masked_fourier,
    spectral_derivative,
    spectral_gradient,
    spectral_laplacian,
)
from ntkspec.operator.measurement._general import function, matrix, stacked, subsample
from ntkspec.operator.measurement._rays import rays
from ntkspec.operator.measurement._stencil import blur_decimate, derivative, gradient, laplacian
from ntkspec.operator.measurement._tomography import parallel_beam

__all__ = [
    "Measurement",
    "blur_decimate",
    "derivative",
    "function",
    "gradient",
    "laplacian",
    "masked_fourier",
    "matrix",
    "parallel_beam",
    "rays",
    "spectral_derivative",
    "spectral_gradient",
    "spectral_laplacian",
    "stacked",
    "subsample",
]
