"""Candidates judged on the training samples alone, by several criteria, and the choice of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

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

#: The criteria of a search, each with its name in a sentence and the loss that counts as flat, in its units.
#: `python -m benchmarks.regret` measures what these 0.05 dB lose on the pictures that they were chosen on.
CRITERIA = {
    "leave_one_out": ("leave-one-out error", 0.05),
    "expected": ("expected error between the points", 0.05),
    "generalised": ("generalised cross-validation", 0.05),
    "evidence": ("log evidence of the NNGP", 0.01),
}

#: Position of the choice in the flat stretch.
TAKEN = 0.5
#: Largest number of candidates added to either end of a search that is too narrow.
WIDER = 4


@dataclass(frozen=True)
class Candidate:
    """One kernel of a search, and how to make it again: a family at a value of its parameter, before a network."""

    family: Family
    value: float
    network: MLP
    num_frequencies: int
    seed: int

    def kernel(self, dim: int) -> ComposedKernel:
        """Return the kernel on coordinates of so many axes."""
        return compose(self.family.build(dim, self.num_frequencies, self.value, self.seed), self.network)

    def same_curve(self, other: Candidate) -> bool:
        """Whether the two differ in the family's parameter alone."""
        return replace(self, value=0.0) == replace(other, value=0.0)


@dataclass(frozen=True)
class Search:
    """All candidates with their scores, in one order."""

    candidates: tuple[Candidate, ...]
    scores: tuple[Score, ...]

    def stacked(self, name: str) -> np.ndarray:
        """Return a field of all scores, shape (candidate, time)."""
        return np.stack([getattr(score, name) for score in self.scores])

    def curve(self, like: Candidate) -> list[float]:
        """Values of the candidates on the curve of one, increasing."""
        return sorted(each.value for each in self.candidates if each.same_curve(like))


def candidates(
    kinds: Sequence[tuple[Family, MLP]],
    values: Sequence[float] | None,
    highest_frequency: float,
    num_frequencies: int,
    seed: int,
) -> tuple[Candidate, ...]:
    """Every family at each of its values, named ones if there are any, before its network."""
    return tuple(
        Candidate(family, float(value), network, num_frequencies, seed)
        for family, network in kinds
        for value in sorted(set(family.given or family.values(highest_frequency) if values is None else values))
    )


def search(tried: Sequence[Candidate], box: Box, progress: Progress) -> Search:
    """Score every candidate."""
    scores = []
    with progress.start("candidates", len(tried), "kernels") as stage:
        for candidate in tried:
            scores.append(score(candidate.kernel(box.points.shape[1]), box))
            stage.advance()
    return Search(tuple(tried), tuple(scores))


def widened(searched: Search, criterion: str, lowest_frequency: float, box: Box, progress: Progress) -> Search:
    """Go on beyond the tried values while the criterion has not fallen at their ends, up to `WIDER` on either side.

    The best family and network by the criterion are followed, down to the lowest frequency, below which a wave is
    nearly a linear function and scales make no difference. A single value is a question about that value, and is left
    alone.
    """
    for _ in range(WIDER):
        beyond = _beyond(searched, criterion, lowest_frequency)
        if not beyond:
            break
        more = search(beyond, box, progress)
        searched = Search(searched.candidates + more.candidates, searched.scores + more.scores)
    return searched


def _beyond(searched: Search, criterion: str, lowest_frequency: float) -> list[Candidate]:
    """Return the next value on each side where the plateau of the best candidate has no end."""
    choice = choose(searched, criterion)
    values = searched.curve(choice.candidate)
    if len(values) < 2:
        return []
    family = choice.candidate.family
    position = family.position(np.asarray(values))
    step = (position[-1] - position[0]) / (len(position) - 1)
    low, high = choice.plateau.at_edge
    further = [family.value_at(position[0] - step)] * low + [family.value_at(position[-1] + step)] * high
    return [replace(choice.candidate, value=value) for value in further if value > family.least(lowest_frequency)]


def quality(criterion: str, values: np.ndarray) -> np.ndarray:
    """Return a criterion so that larger is better: mean squared errors in dB below 1, the evidence as it is."""
    if criterion == "evidence":
        return values
    with np.errstate(divide="ignore"):
        return -10 * np.log10(values)


@dataclass(frozen=True)
class Plateau:
    """Where a criterion is as good as at its best: from `low` to `high`, where it has fallen by its flatness.

    `taken` is the middle of the two on the axis of the search; `at_edge` says of either side whether the search ends
    before the criterion falls.
    """

    low: float
    high: float
    taken: float
    at_edge: tuple[bool, bool]


def plateau(family: Family, values: Sequence[float], qualities: Sequence[float], flatness: float) -> Plateau:
    """Return the stretch about the best value where the quality is within `flatness` of it, its ends by interpolation.

    Effects that theory leaves out (the moving kernel, the optimizer, the draw of the frequencies) shift the optimum
    either way by more than a flat top is high; its middle leaves most room on both sides.

    Args:
        family: family of the candidates.
        values: increasing values of its parameter, shape (s,).
        qualities: criterion there, larger is better, shape (s,).
        flatness: loss that counts as good, in units of the criterion.
    """
    position, quality = family.position(np.asarray(values, dtype=float)), np.asarray(qualities, dtype=float)
    top = int(np.argmax(quality))
    level = quality[top] - flatness

    def end(step: int) -> tuple[float, bool]:
        i = top
        while 0 <= i + step < len(quality) and quality[i + step] >= level:
            i += step
        if not 0 <= i + step < len(quality):
            return float(position[i]), True
        share = (quality[i] - level) / (quality[i] - quality[i + step])
        return float(position[i] + share * (position[i + step] - position[i])), False

    (low, low_edge), (high, high_edge) = end(-1), end(1)
    middle = low + TAKEN * (high - low)
    return Plateau(family.value_at(low), family.value_at(high), family.value_at(middle), (low_edge, high_edge))


@dataclass(frozen=True)
class Choice:
    """The choice of a criterion, and the plateau that it is in."""

    candidate: Candidate
    plateau: Plateau


def choose(searched: Search, criterion: str) -> Choice:
    """Return the family and network of the best candidate by a criterion, each at its best time, in its plateau."""
    qualities = np.nanmax(quality(criterion, searched.stacked(criterion)), axis=1)
    best = searched.candidates[int(np.argmax(qualities))]
    on_curve = {
        each.value: value for each, value in zip(searched.candidates, qualities, strict=True) if each.same_curve(best)
    }
    values = searched.curve(best)
    flat = plateau(best.family, values, [on_curve[value] for value in values], CRITERIA[criterion][1])
    return Choice(replace(best, value=flat.taken), flat)
