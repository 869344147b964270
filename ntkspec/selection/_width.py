"""The width at which a finite network follows theory, from width laws that were measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ntkspec.checks import check_positive

__all__ = ["MEASURED", "WidthLaw", "law_of", "width_for"]


@dataclass(frozen=True)
class WidthLaw:
    """error = constant · width^−exponent: the distance of one network to theory, relative to the signal.

    Attributes:
        constant: error at width 1.
        exponent: power of the width by which the error falls.
        residual: standard deviation of ln(error) of a single network about the law.
        latest: steps at η = 1/λ_max up to which it was measured; the error is that of the worst step.
        widths: least and largest width measured.
        source: signal and program of the measurement.
        network: depth and activation of the networks measured.
    """

    constant: float
    exponent: float
    residual: float
    latest: float
    widths: tuple[int, int]
    source: str
    network: tuple[int, str] = (3, "relu")

    def error(self, width: float) -> float:
        """Return the error expected at a width."""
        return float(self.constant * width**-self.exponent)

    def width(self, error: float) -> float:
        """Return the width at which an error is expected."""
        return float((self.constant / error) ** (1 / self.exponent))


#: By the number of coordinates, fitted by `python -m benchmarks.width_law`: three hidden ReLU layers.
MEASURED = {
    1: WidthLaw(1.04, 0.487, 0.201, 300.0, (64, 4096), "the paper's 1-D signal, 64 points (benchmarks/width_law.py)"),
    2: WidthLaw(0.985, 0.392, 0.099, 300.0, (64, 4096), "a photograph of 32² points (benchmarks/width_law.py)"),
}


def law_of(dim: int) -> WidthLaw:
    """Return the law measured for the nearest number of coordinates."""
    return MEASURED[min(dim, max(MEASURED))]


def width_for(accuracy: float, law: WidthLaw) -> tuple[int, int]:
    """Return the width at which a network should stay within `accuracy` of theory, and that at which 19 of 20 should.

    Args:
        accuracy: error relative to the signal.
        law: measured law.

    Returns:
        Both widths, rounded up to a multiple of 16.

    Raises:
        ValueError: if the accuracy is not positive.

    Example:
        >>> law = WidthLaw(1.0, 0.5, 0.1, 300.0, (64, 1024), "an example")
        >>> width_for(0.05, law)
        (400, 608)
    """
    check_positive("accuracy", accuracy, "an error relative to the signal, such as 0.1")

    def rounded(width: float) -> int:
        return int(16 * np.ceil(max(width, 1) / 16))

    return rounded(law.width(accuracy)), rounded(law.width(accuracy * np.exp(-2 * law.residual)))
