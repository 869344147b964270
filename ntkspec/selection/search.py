"""Every candidate of a search judged on the training samples alone, by several criteria, and what each would choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ntkspec.kernel import MLP, ComposedKernel, compose
from ntkspec.selection.family import Family

__all__ = ["Candidate", "Plateau", "plateau"]


@dataclass(frozen=True)
class Candidate:
    """One kernel of a search, and how to make it again.

    Attributes:
        family: of its mapping.
        scale: where on the family it is.
        network: behind the mapping.
        num_frequencies: of the mapping.
        seed: of its frequencies.
    """

    family: Family
    scale: float
    network: MLP
    num_frequencies: int
    seed: int

    def kernel(self, dim: int) -> ComposedKernel:
        """The kernel on coordinates of so many axes."""
        return compose(self.family.build(dim, self.num_frequencies, self.scale, self.seed), self.network)


@dataclass(frozen=True)
class Plateau:
    """Where a criterion is as good as at its best.

    Attributes:
        best: scale of the best candidate.
        low: scale where the criterion has fallen by `flatness` below the best, to the left.
        high: the same to the right.
        middle: half-way between the two, on the axis of the search.
        at_edge: whether the range of the search ends before the criterion falls, on either side.
    """

    best: float
    low: float
    high: float
    middle: float
    at_edge: tuple[bool, bool]


def plateau(family: Family, scales: Sequence[float], quality: Sequence[float], flatness: float) -> Plateau:
    """The stretch about the best scale where the quality is within `flatness` of it, its ends by interpolation.

    What theory does not see (the moving kernel, the optimizer, the noise of the frequencies' draw) pushes the optimum
    either way by more than a flat top is high; its middle is the choice that leaves most room on both sides.

    Args:
        family: whose axis the scales are on.
        scales: increasing, shape (s,).
        quality: larger is better, shape (s,).
        flatness: how far below the best counts as good, in units of the quality.

    Returns:
        The plateau.
    """
    position, value = family.position(np.asarray(scales, dtype=float)), np.asarray(quality, dtype=float)
    top = int(np.argmax(value))
    level = value[top] - flatness

    def end(step: int) -> tuple[float, bool]:
        i = top
        while 0 <= i + step < len(value) and value[i + step] >= level:
            i += step
        if not 0 <= i + step < len(value):
            return float(position[i]), True
        share = (value[i] - level) / (value[i] - value[i + step])
        return float(position[i] + share * (position[i + step] - position[i])), False

    (low, low_edge), (high, high_edge) = end(-1), end(1)
    return Plateau(
        best=float(scales[top]),
        low=family.scale_at(low),
        high=family.scale_at(high),
        middle=family.scale_at((low + high) / 2),
        at_edge=(low_edge, high_edge),
    )
