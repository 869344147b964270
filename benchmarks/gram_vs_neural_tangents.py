"""A dense NTK Gram matrix against neural-tangents' jitted kernel: entries per second, compile time and memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import ntkspec as ns
from benchmarks.measure import Record, Spread, in_turn, peak_memory, ratio, show

NUM_POINTS = 4000
NUM_FEATURES = 512
DEPTH = 3
ROUNDS = 7

#: The matrix of `n` points in a fresh process, features included; that of one tile tells what all else takes.
MEMORY = """
import jax.numpy as jnp, numpy as np, ntkspec as ns
x = jnp.asarray(np.random.default_rng(0).random(({n}, 2)))
k = ns.kernel.compose(ns.mapping.gaussian(2, {features} // 2, scale=10.0, seed=0), ns.kernel.MLP(depth={depth}))
k.ntk(x).block_until_ready()
"""


def composed() -> tuple[ns.kernel.ComposedKernel, jax.Array]:
    """Return the kernel behind Fourier features, and points."""
    mapping = ns.mapping.gaussian(2, NUM_FEATURES // 2, scale=10.0, seed=0)
    x = jax.numpy.asarray(np.random.default_rng(0).random((NUM_POINTS, 2)))
    return ns.kernel.compose(mapping, ns.kernel.MLP(depth=DEPTH)), x


def theirs() -> Callable[[jax.Array], Any]:
    """Return the jitted kernel of the same network, on features."""
    stax = ns.kernel.stax.load().stax
    hidden = [stax.Dense(1, W_std=2**0.5), stax.Relu()] * DEPTH
    kernel_fn = jax.jit(stax.serial(*hidden, stax.Dense(1, W_std=2**0.5))[2], static_argnames="get")
    return lambda x: jax.block_until_ready(kernel_fn(x, None, get="ntk"))


def cold(case: Callable[[], object]) -> float:
    """Seconds of the first run, compilation included."""
    start = time.perf_counter()
    case()
    return time.perf_counter() - start


def memory() -> Spread:
    """Peak memory beyond that of a matrix of one tile, over the size of the result."""
    sizes = {"features": NUM_FEATURES, "depth": DEPTH}
    peak = {n: peak_memory(MEMORY.format(n=n, **sizes)) for n in (256, NUM_POINTS)}
    return Spread.of([(peak[NUM_POINTS] - peak[256]) / (8 * NUM_POINTS**2)])


def main() -> list[Record]:
    """Measure and print."""
    (k, x), opponent = composed(), theirs()
    features = k.mapping(x)
    cases = {
        "ours": lambda: jax.block_until_ready(k.ntk(x)),
        "ours on features": lambda: jax.block_until_ready(k.network.ntk(features)),
        "theirs": lambda: opponent(features),
    }
    first = {name: cold(case) for name, case in cases.items()}
    seconds = in_turn(ROUNDS, **cases)
    difference = np.abs(np.asarray(k.ntk(x)) / np.asarray(opponent(features)) - 1)
    # On the diagonal arccos ρ has lost half of the opponent's digits.
    coincident = np.max(np.diag(difference))
    np.fill_diagonal(difference, 0)
    entries = {f"{name} (entries/s)": x.shape[0] ** 2 / Spread.of(values).median for name, values in seconds.items()}
    compile_seconds = {f"{name} (s)": first[name] - Spread.of(seconds[name]).median for name in cases}
    return show(
        [
            Record(
                f"ntkspec over neural-tangents, NTK Gram entries per second, n = {NUM_POINTS:,}, L = {DEPTH}",
                ratio(seconds["theirs"], seconds["ours"]),
                "×",
                at_least=2,
                detail=entries,
            ),
            Record(
                "… given the features as inputs",
                ratio(seconds["theirs"], seconds["ours on features"]),
                "×",
                at_least=2,
            ),
            Record("… peak memory over the size of the matrix", memory(), "×", at_most=1.5),
            Record(
                "… compile time",
                Spread.of([compile_seconds["ours (s)"]]),
                "s",
                detail=compile_seconds,
            ),
            Record(
                "… largest relative difference of an entry off the diagonal",
                Spread.of([float(np.max(difference))]),
                "",
                at_most=1e-12,
                detail={"on the diagonal": float(coincident)},
            ),
        ]
    )


if __name__ == "__main__":
    main()
