"""How a trace is estimated."""

from __future__ import annotations

from dataclasses import dataclass

from ntkspec.progress import Progress

__all__ = ["Sampling"]


@dataclass(frozen=True)
class Sampling:
    """How a trace is estimated; see `ntkspec.eigen.trace_of`, whose arguments these are."""

    num_probes: int
    num_exact: int
    max_steps: int
    seed: int
    progress: Progress
