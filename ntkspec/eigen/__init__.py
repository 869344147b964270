"""What an operator is made of: eigenvalues, bandwidth, and how fast each frequency is learned."""

from ntkspec.eigen.bandwidth import bandwidth
from ntkspec.eigen.convergence import convergence
from ntkspec.eigen.spectrum import spectrum

__all__ = ["bandwidth", "convergence", "spectrum"]
