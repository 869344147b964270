"""Pictures of the results: each function takes a Dataset, computes nothing of substance, and returns Axes."""

from ntkspec.extras import needs

with needs("app", "matplotlib"):
    from ntkspec.plot._alignment import alignment
    from ntkspec.plot._bandwidth import bandwidth
    from ntkspec.plot._causes import causes
    from ntkspec.plot._convergence import convergence
    from ntkspec.plot._density import density
    from ntkspec.plot._design import design
    from ntkspec.plot._generalisation import aliasing, learning_curve, risk
    from ntkspec.plot._kernel import kernel
    from ntkspec.plot._movement import movement
    from ntkspec.plot._points import points
    from ntkspec.plot._prediction import images, prediction, quality
    from ntkspec.plot._spectrum import spectrum
    from ntkspec.plot._validation import validation
    from ntkspec.plot._width_law import width_law

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
    "points",
    "prediction",
    "quality",
    "risk",
    "spectrum",
    "validation",
    "width_law",
]
