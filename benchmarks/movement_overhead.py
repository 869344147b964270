"""What an observer of the kernels' movement adds to the time of a training run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import ntkspec as ns
from benchmarks.measure import Record, Spread, in_turn, ratio, show

SEEDS = 4
DEPTH = 3
ROUNDS = 5
#: Name, lattice and width, and the steps at which the kernels are looked at.
RUNS = (
    ("1-D signal", (64,), 512, (0, 1, 3, 10, 30, 60, 100, 150, 200, 300)),
    ("photograph", (32, 32), 512, (0, 10, 30, 60, 100)),
)


def kernel(shape: tuple[int, ...], width: int) -> ns.kernel.ComposedKernel:
    """Return the paper's mapping in one dimension, Gaussian frequencies in more."""
    mapping = (
        ns.mapping.power_law(32, p=1.0) if len(shape) == 1 else ns.mapping.gaussian(len(shape), 128, scale=4.0, seed=0)
    )
    return ns.kernel.compose(mapping, ns.kernel.MLP(depth=DEPTH, width=width))


def first_call(case: Callable[[], object]) -> float:
    """Seconds of a call that compiles."""
    started = time.perf_counter()
    case()
    return time.perf_counter() - started


def overhead(name: str, shape: tuple[int, ...], width: int, steps: tuple[int, ...]) -> Record:
    """Measure a run that is watched over the same run alone, in turn."""
    k = kernel(shape, width)
    K = ns.operator.lattice(k, shape)
    y = np.sin(2 * np.pi * 3 * K.points).sum(axis=1)
    options: dict[str, Any] = {
        "steps": steps,
        "learning_rate": ns.dynamics.max_learning_rate(K) / 4,
        "seeds": SEEDS,
    }
    # One observer for all rounds: it remembers nothing of a run.
    observe = ns.empirical.movement(k, K.points, y)
    cases: dict[str, Callable[[], object]] = {
        "alone": lambda: ns.trainer.train(k, K.points, y, **options),
        "watched": lambda: ns.trainer.train(k, K.points, y, observe=observe, **options),
    }
    first = {case: first_call(run) for case, run in cases.items()}
    seconds = in_turn(ROUNDS, **cases)
    points = " x ".join(map(str, shape))
    return Record(
        f"training watched at {len(steps)} of {steps[-1]} steps over training alone, {name} {points}, "
        f"width {width}, {SEEDS} seeds",
        ratio(seconds["watched"], seconds["alone"]),
        "×",
        at_most=1.2,
        detail={
            **{f"{case} (s)": Spread.of(seconds[case]).median for case in cases},
            **{f"first call {case} (s)": first[case] for case in cases},
        },
    )


def main() -> list[Record]:
    """Measure and print."""
    return show([overhead(*run) for run in RUNS])


if __name__ == "__main__":
    main()
