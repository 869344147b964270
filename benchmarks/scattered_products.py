"""Products on scattered points: exact against a dense matrix, fast at a million points, and cost against n."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np

from benchmarks.measure import Record, Spread, in_turn, measure_apart, ratio, show

ROUNDS = 5
#: Points where a dense matrix and its temporaries still fit (10 GB).
DENSE = 20_000
STREAMED = 100_000
MILLION = 1_000_000
TOLERANCE = 1e-3
#: Sizes of the curves of cost against n.
EXACT_SIZES = (1_000, 4_000, 16_000)
FAST_SIZES = (10_000, 100_000, MILLION)


def problem(num_points: int) -> tuple[Any, np.ndarray, np.ndarray]:
    """Return a kernel with a cusp, points in the square and a vector."""
    import ntkspec as ns

    rng = np.random.default_rng(0)
    k = ns.kernel.compose(ns.mapping.gaussian(2, 256, scale=10.0, seed=0), ns.kernel.MLP(depth=3))
    return k, rng.random((num_points, 2)), rng.standard_normal(num_points)


def exact_product(num_points: int) -> float:
    """Seconds of one streamed product, compilation included."""
    import ntkspec as ns

    k, x, v = problem(num_points)
    start = time.perf_counter()
    (ns.operator.scattered(k, x) @ v).block_until_ready()
    return time.perf_counter() - start


def fast_products(num_points: int) -> dict[str, Any]:
    """Seconds of products of the fast form, and of its construction."""
    import ntkspec as ns

    k, x, v = problem(num_points)
    start = time.perf_counter()
    K = ns.operator.scattered(k, x, tol=TOLERANCE)
    built = time.perf_counter() - start
    (K @ v).block_until_ready()
    seconds = in_turn(ROUNDS, product=lambda: (K @ v).block_until_ready())["product"]
    return {"seconds": seconds, "built": built, "error": float(K.error), "modes": str(K.coefficients.shape)}


def against_dense() -> list[Record]:
    """Seconds an entry, streamed, against forming the matrix and multiplying, and against a stored matrix."""
    import ntkspec as ns

    k, x, v = problem(DENSE)
    K = ns.operator.scattered(k, x)
    stored = [ns.operator.dense(k, x)]
    (K @ v).block_until_ready(), (stored[0] @ v).block_until_ready()
    seconds = in_turn(
        ROUNDS,
        streamed=lambda: (K @ v).block_until_ready(),
        stored=lambda: (stored[0] @ v).block_until_ready(),
    )
    # Two dense matrices would not fit beside their temporaries.
    stored.clear()
    formed = in_turn(2, formed=lambda: (ns.operator.dense(k, x) @ v).block_until_ready())["formed"]
    seconds["formed"] = [min(formed)] * ROUNDS
    detail: dict[str, float | str] = {f"{name} (s)": Spread.of(times).median for name, times in seconds.items()}
    return [
        Record(
            f"streamed product, n = {DENSE:,}, over forming the dense matrix and multiplying by it",
            ratio(seconds["streamed"], seconds["formed"]),
            "×",
            at_most=1,
            detail=detail,
        ),
        Record(
            f"the same over a product with the {8 * DENSE**2 / 1e9:.1f} GB matrix already stored (entries are "
            "computed anew in each product)",
            ratio(seconds["streamed"], seconds["stored"]),
            "×",
        ),
    ]


def apart(call: str) -> tuple[Any, float]:
    """Return what a function of this file returns in a fresh process, and its peak memory in GiB."""
    printed, peak = measure_apart(
        f"import json\nfrom benchmarks.scattered_products import *\nprint(json.dumps({call}))"
    )
    return json.loads(printed.splitlines()[-1]), peak / 2**30


def large_exact() -> list[Record]:
    """Time of one product with 10⁵ points, and its memory."""
    seconds, memory = apart(f"exact_product({STREAMED})")
    return [
        Record(
            f"peak memory of a streamed product, n = {STREAMED:,} (features {8 * 512 * STREAMED / 2**30:.2g} GiB)",
            Spread.of([memory]),
            "GiB",
            at_most=4,
            detail={"product, compilation included (s)": seconds, "an entry (ns)": seconds / STREAMED**2 * 1e9},
        )
    ]


def fast_at_a_million() -> list[Record]:
    """Time and memory of the fast form at its target size."""
    found, memory = apart(f"fast_products({MILLION})")
    return [
        Record(
            f"fast product, n = {MILLION:,} in the square, tol {TOLERANCE:g}",
            Spread.of(found["seconds"]),
            "s",
            at_most=1,
            detail={
                "stated error": found["error"],
                "modes": found["modes"],
                "construction (s)": found["built"],
                "peak memory (GiB)": memory,
            },
        )
    ]


def slope(sizes: tuple[int, ...], tol: float | None) -> tuple[float, dict[str, float | str]]:
    """Return the least-squares slope of log time against log n, and the times."""
    import ntkspec as ns

    times = []
    for n in sizes:
        k, x, v = problem(n)
        K = ns.operator.scattered(k, x, tol=tol)
        (K @ v).block_until_ready()
        times.append(Spread.of(in_turn(3, one=lambda K=K, v=v: (K @ v).block_until_ready())["one"]).median)
    exponent = float(np.polyfit(np.log(sizes), np.log(times), 1)[0])
    return exponent, {f"n = {n:,} (s)": time for n, time in zip(sizes, times, strict=True)}


def cost_against_size() -> list[Record]:
    """How both forms grow with n."""
    exact, exact_times = slope(EXACT_SIZES, None)
    fast, fast_times = slope(FAST_SIZES, TOLERANCE)
    return [
        Record("exponent of n in a streamed product", Spread.of([exact]), "", at_most=2.1, detail=exact_times),
        Record("exponent of n in a fast product", Spread.of([fast]), "", at_most=1.1, detail=fast_times),
    ]


def main() -> list[Record]:
    """Measure and print."""
    return [
        record for part in (fast_at_a_million, against_dense, cost_against_size, large_exact) for record in show(part())
    ]


if __name__ == "__main__":
    main()
