"""Pictures of the results: each function takes a Dataset, computes nothing of substance, and returns Axes."""

from ntkspec.plot.alignment import alignment
from ntkspec.plot.bandwidth import bandwidth
from ntkspec.plot.causes import causes
from ntkspec.plot.convergence import convergence
from ntkspec.plot.density import density
from ntkspec.plot.design import design
from ntkspec.plot.generalisation import aliasing, learning_curve, risk
from ntkspec.plot.kernel import kernel
from ntkspec.plot.movement import movement
from ntkspec.plot.prediction import images, prediction, quality
from ntkspec.plot.spectrum import spectrum
from ntkspec.plot.validation import validation
from ntkspec.plot.width_law import width_law

__all__ = [
    "aliasing",
    "alignment",
    "bandwidth",
    "causes",
    "convergence",
    "density",
    "design",
    "images",
    "kernel",
    "learning_curve",
    "movement",
    "prediction",
    "quality",
    "risk",
    "spectrum",
    "validation",
    "width_law",
]
