"""Entries per second of a dense NTK Gram, for every activation."""

from __future__ import annotations

import os
import platform
import time
from statistics import median

import jax
import numpy as np

import ntkspec as ns
from benchmarks.measure import Record, Spread, show
from ntkspec.kernel.activation import ACTIVATIONS, named

POINTS, DEPTH, FREQUENCIES, REPEATS = 1000, 3, 256, 3


def main() -> list[Record]:
    return show([record(name) for name in ACTIVATIONS])


def record(name: str) -> Record:
    """One Gram of `POINTS` points behind 2 · `FREQUENCIES` features, after compilation."""
    times = seconds(name)
    return Record(
        claim=f"entries a second of a dense Gram, {name}, n = {POINTS}, L = {DEPTH}",
        value=Spread.of([POINTS**2 / t for t in times]),
        unit="/s",
    )


def entries_per_second(name: str) -> float:
    """Of the median of the repeats."""
    return POINTS**2 / median(seconds(name))


def seconds(name: str) -> list[float]:
    """Of each repeat; the NNGP Gram where there is no NTK."""
    activation = named(name)
    network = ns.kernel.MLP(depth=DEPTH, activation=activation, W_std=2**0.5 / 30 if name == "siren" else 1.0)
    kernel = ns.kernel.compose(ns.mapping.gaussian(2, FREQUENCIES, scale=3.0), network)
    gram = kernel.ntk if activation.differentiable else kernel.nngp
    x = np.random.default_rng(0).random((POINTS, 2))
    jax.block_until_ready(gram(x))  # compiles
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        jax.block_until_ready(gram(x))
        times.append(time.perf_counter() - start)
    return times


def machine() -> str:
    """Return the processor and the number of its cores that this process may use."""
    try:
        with open("/proc/cpuinfo") as lines:
            model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{model}, {cores} cores"


if __name__ == "__main__":
    main()
