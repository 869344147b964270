"""What an operator is made of: eigenvalues, bandwidth, and how fast each frequency is learned."""

from ntkspec.eigen._alignment import alignment
from ntkspec.eigen._bandwidth import bandwidth, energy_below
from ntkspec.eigen._convergence import convergence
from ntkspec.eigen._density import density
from ntkspec.eigen._spectrum import spectrum
from ntkspec.eigen._steps import stability, steps_to
from ntkspec.eigen._trace import log_determinant, trace_of

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
