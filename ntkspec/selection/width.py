"""The width at which a finite network follows theory, from width laws that were measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["MEASURED", "WidthLaw", "width_for"]


@dataclass(frozen=True)
class WidthLaw:
    """error = constant · width^−exponent · time^growth, of single networks relative to the signal.

    Attributes:
        constant: its error at width 1 and ηλ_max t = 1.
        exponent: by which it falls with the width.
        growth: by which it rises with ηλ_max t.
        residual: standard deviation of ln(error) about the law, over the measured widths and times.
        latest: ηλ_max t up to which it was measured.
        widths: the least and the largest width measured.
        source: what was measured, and by what.
    """

    constant: float
    exponent: float
    growth: float
    residual: float
    latest: float
    widths: tuple[int, int]
    source: str

    def error(self, width: float, time: float) -> float:
        """The error that the law expects."""
        return float(self.constant * width**-self.exponent * time**self.growth)

    def width(self, error: float, time: float) -> float:
        """The width at which it expects an error."""
        return float((self.constant * time**self.growth / error) ** (1 / self.exponent))


#: Fitted by `benchmarks/width_law.py`.
MEASURED = WidthLaw(
    constant=0.55,
    exponent=0.44,
    growth=0.0,
    residual=0.1,
    latest=300.0,
    widths=(64, 1024),
    source="",
)


def width_for(accuracy: float, time: float, law: WidthLaw = MEASURED) -> tuple[int, int]:
    """The width at which a network should stay within `accuracy` of theory, and the same with two standard deviations.

    Args:
        accuracy: error relative to the signal.
        time: ηλ_max t until which it should hold; beyond the law's `latest` the law is extrapolated.
        law: what was measured.

    Returns:
        Both widths, rounded up to a multiple of 16.
    """

    def rounded(width: float) -> int:
        return int(16 * np.ceil(max(width, 1) / 16))

    return (
        rounded(law.width(accuracy, time)),
        rounded(law.width(accuracy * np.exp(-2 * law.residual), time)),
    )
