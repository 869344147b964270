"""Every candidate of a search judged on the training samples alone, by several criteria, and what each would choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from ntkspec.kernel import MLP, ComposedKernel, compose
from ntkspec.progress import Progress
from ntkspec.selection._family import Family
from ntkspec.selection._samples import Box
from ntkspec.selection._score import Score, score

__all__ = [
    "CRITERIA",
    "Candidate",
    "Choice",
    "Plateau",
    "Search",
    "candidates",
    "choose",
    "plateau",
    "quality",
    "search",
    "widened",
]

#: The criteria of a search, each with what it is in words and how much of it counts as flat, in its units. The 0.05 dB
#: were chosen on the pictures of `python -m benchmarks.regret`, which measures what they lose there.
CRITERIA = {
    "leave_one_out": ("leave-one-out error", 0.05),
    "expected": ("expected error between the points", 0.05),
    "generalised": ("generalised cross-validation", 0.05),
    "evidence": ("log evidence of the NNGP", 0.01),
}

#: How far into the flat stretch the choice is taken.
TAKEN = 0.5
#: Scales that are added at most to either end of a search that is too narrow.
WIDER = 4


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
        """Return the kernel on coordinates of so many axes."""
        return compose(self.family.build(dim, self.num_frequencies, self.scale, self.seed), self.network)

    def same_curve(self, other: Candidate) -> bool:
        """Whether the two differ in scale alone."""
        return replace(self, scale=0.0) == replace(other, scale=0.0)


@dataclass(frozen=True)
class Search:
    """All candidates with their scores, in one order."""

    candidates: tuple[Candidate, ...]
    scores: tuple[Score, ...]

    def stacked(self, name: str) -> np.ndarray:
        """Return a field of all scores, shape (candidate, time)."""
        return np.stack([getattr(one, name) for one in self.scores])

    def curve(self, like: Candidate) -> list[float]:
        """Return the scales of the candidates that differ from one in scale alone, increasing."""
        return sorted(one.scale for one in self.candidates if one.same_curve(like))


def candidates(
    families: Sequence[Family],
    scales: Sequence[float] | None,
    networks: Sequence[MLP],
    highest_frequency: float,
    num_frequencies: int,
    seed: int,
) -> tuple[Candidate, ...]:
    """Every family at each of its scales before each network."""
    return tuple(
        Candidate(one, float(scale), network, num_frequencies, seed)
        for one, network in product(families, networks)
        for scale in sorted(set(one.scales(highest_frequency) if scales is None else scales))
    )


def search(found: Sequence[Candidate], box: Box, progress: Progress) -> Search:
    """Score every candidate."""
    scores = []
    with progress.start("candidates", len(found), "kernels") as stage:
        for one in found:
            scores.append(score(one.kernel(box.points.shape[1]), box))
            stage.advance()
    return Search(tuple(found), tuple(scores))


def widened(found: Search, criterion: str, lowest_frequency: float, box: Box, progress: Progress) -> Search:
    """Go on beyond the tried scales while the criterion has not fallen at their ends, up to `WIDER` on either side.

    A single scale is a question about that scale, and is left alone.

    Args:
        found: scored candidates.
        criterion: of `CRITERIA`, whose best family and network are followed.
        lowest_frequency: below which a wave is nearly a linear function, and scales make no difference.
        box: points and labels.
        progress: reporter.

    Returns:
        The same candidates, and the further ones after them.
    """
    for _ in range(WIDER):
        beyond = _beyond(found, criterion, lowest_frequency)
        if not beyond:
            return found
        more = search(beyond, box, progress)
        found = Search(found.candidates + more.candidates, found.scores + more.scores)
    return found


def _beyond(found: Search, criterion: str, lowest_frequency: float) -> list[Candidate]:
    """Return the next scale on each side where the plateau of the best candidate has no end."""
    choice = choose(found, criterion)
    scales = found.curve(choice.candidate)
    if len(scales) < 2:
        return []
    family = choice.candidate.family
    position = family.position(np.asarray(scales))
    step = (position[-1] - position[0]) / (len(position) - 1)
    low, high = choice.plateau.at_edge
    next_ones = [family.scale_at(position[0] - step)] * low + [family.scale_at(position[-1] + step)] * high
    return [replace(choice.candidate, scale=one) for one in next_ones if one > family.least(lowest_frequency)]


def quality(criterion: str, values: np.ndarray) -> np.ndarray:
    """Return a criterion so that larger is better: mean squared errors in dB below 1, the evidence as it is."""
    if criterion == "evidence":
        return values
    with np.errstate(divide="ignore"):
        return -10 * np.log10(values)


@dataclass(frozen=True)
class Plateau:
    """Where a criterion is as good as at its best.

    Attributes:
        low: scale where the criterion has fallen by `flatness` below the best, to the left.
        high: the same to the right.
        taken: half-way from the first to the second, on the axis of the search.
        at_edge: whether the range of the search ends before the criterion falls, on either side.
    """

    low: float
    high: float
    taken: float
    at_edge: tuple[bool, bool]


def plateau(family: Family, scales: Sequence[float], values: Sequence[float], flatness: float) -> Plateau:
    """Return the stretch about the best scale where the quality is within `flatness` of it, its ends by interpolation.

    What theory does not see (the moving kernel, the optimizer, the draw of the frequencies) moves the optimum either
    way by more than a flat top is high; its middle leaves most room on both sides.

    Args:
        family: whose axis the scales are on.
        scales: increasing, shape (s,).
        values: of the criterion, larger is better, shape (s,).
        flatness: how far below the best counts as good, in units of the values.

    Returns:
        The plateau.
    """
    position, value = family.position(np.asarray(scales, dtype=float)), np.asarray(values, dtype=float)
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
        low=family.scale_at(low),
        high=family.scale_at(high),
        taken=family.scale_at(low + TAKEN * (high - low)),
        at_edge=(low_edge, high_edge),
    )


@dataclass(frozen=True)
class Choice:
    """What a criterion would choose."""

    candidate: Candidate
    plateau: Plateau


def choose(found: Search, criterion: str) -> Choice:
    """Return the family and network of the best candidate, in its plateau of scales.

    Args:
        found: scored candidates.
        criterion: of `CRITERIA`; each candidate is judged at its best time.

    Returns:
        The choice.
    """
    values = np.nanmax(quality(criterion, found.stacked(criterion)), axis=1)
    best = found.candidates[int(np.argmax(values))]
    by_scale = {one.scale: value for one, value in zip(found.candidates, values, strict=True) if one.same_curve(best)}
    scales = found.curve(best)
    flat = plateau(best.family, scales, [by_scale[one] for one in scales], CRITERIA[criterion][1])
    return Choice(replace(best, scale=flat.taken), flat)
