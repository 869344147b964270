"""Products on scattered points: exact against a dense matrix, fast at a million points, and cost against n."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.measure import Record, Spread, in_turn, peak_memory, ratio, show

ROUNDS = 5
#: Points where a dense matrix and its temporaries still fit (10 GB).
DENSE = 20_000
STREAMED = 100_000
MILLION = 1_000_000
TOLERANCE = 1e-3
#: Sizes of the curves of cost against n.
EXACT_SIZES = (1_000, 4_000, 16_000)
FAST_SIZES = (1_000, 10_000, 100_000, MILLION)


def problem(num_points: int) -> tuple[Any, np.ndarray, np.ndarray]:
    """A kernel with a cusp, points in the square and a vector."""
    import ntkspec as ns

    rng = np.random.default_rng(0)
    k = ns.kernel.compose(ns.mapping.gaussian(2, 256, scale=10.0, seed=0), ns.kernel.MLP(depth=3))
    return k, rng.random((num_points, 2)), rng.standard_normal(num_points)


def exact_product(num_points: int) -> Any:
    """One streamed product, kernel to result."""
    import ntkspec as ns

    k, x, v = problem(num_points)
    return (ns.operator.scattered(k, x) @ v).block_until_ready()


def fast_product(num_points: int, products: int = 1) -> Any:
    """Products of the fast form, its construction included."""
    import ntkspec as ns

    k, x, v = problem(num_points)
    K = ns.operator.scattered(k, x, tol=TOLERANCE)
    for _ in range(products):
        v = (K @ v).block_until_ready()
    return K


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


def large_exact() -> list[Record]:
    """Time of one product with 10⁵ points, and its memory."""
    memory = peak_memory(f"from benchmarks.scattered_products import *\nexact_product({STREAMED})\n")
    import ntkspec as ns

    k, x, v = problem(STREAMED)
    K = ns.operator.scattered(k, x)
    seconds = in_turn(1, exact=lambda: (K @ v).block_until_ready())["exact"]
    return [
        Record(
            f"peak memory of a streamed product, n = {STREAMED:,} (features {8 * 512 * STREAMED / 2**30:.2g} GiB)",
            Spread.of([memory / 2**30]),
            "GiB",
            at_most=4,
            detail={"product, compilation included (s)": seconds[0], "an entry (ns)": seconds[0] / STREAMED**2 * 1e9},
        )
    ]


def fast_at_a_million() -> list[Record]:
    """Time and memory of the fast form at its target size."""
    memory = peak_memory(f"from benchmarks.scattered_products import *\nfast_product({MILLION})\n")
    import ntkspec as ns

    k, x, v = problem(MILLION)
    built = in_turn(1, build=lambda: ns.operator.scattered(k, x, tol=TOLERANCE))["build"]
    K = ns.operator.scattered(k, x, tol=TOLERANCE)
    (K @ v).block_until_ready()
    seconds = in_turn(ROUNDS, product=lambda: (K @ v).block_until_ready())["product"]
    return [
        Record(
            f"fast product, n = {MILLION:,} in the square, tol {TOLERANCE:g}",
            Spread.of(seconds),
            "s",
            at_most=1,
            detail={
                "stated error": float(K.error),
                "modes": str(K.coefficients.shape),
                "construction (s)": built[0],
                "peak memory (GiB)": memory / 2**30,
            },
        )
    ]


def slope(sizes: tuple[int, ...], tol: float | None) -> tuple[float, dict[str, float | str]]:
    """The least-squares slope of log time against log n, and the times."""
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
    return show([*fast_at_a_million(), *cost_against_size(), *against_dense(), *large_exact()])


if __name__ == "__main__":
    main()
