"""What an operator is made of: eigenvalues, bandwidth, and how fast each frequency is learned."""

from ntkspec.eigen.alignment import alignment
from ntkspec.eigen.bandwidth import bandwidth, energy_below
from ntkspec.eigen.convergence import convergence
from ntkspec.eigen.density import density
from ntkspec.eigen.spectrum import spectrum
from ntkspec.eigen.steps import stability, steps_to
from ntkspec.eigen.trace import log_determinant, trace_of

__all__ = [
    "alignment",
    "bandwidth",
    "convergence",
    "density",
    "energy_below",
    "log_determinant",
    "spectrum",
    "stability",
    "steps_to",
    "trace_of",
]
