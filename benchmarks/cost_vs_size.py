"""Seconds of a lattice product against the number of points, over four decades, as a slope and a plot."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Record, Spread, in_turn, ratio, show

PLOT = Path(__file__).parent / "results" / "cost_vs_size.png"
ROUNDS = 5
#: Points on an axis, for about 10³ … 10⁷ points.
SIDES = {1: (1000, 10_000, 100_000, 1_000_000, 10_000_000), 2: (32, 100, 320, 1000, 3200), 3: (10, 22, 46, 100, 216)}
#: Points that a measurement goes through at least, so that a small one is not the clock's and the dispatch's.
WORK = 3_000_000


Case = tuple[int, int, Callable[[], object]]


def product(dim: int, side: int, dtype: str) -> tuple[Case, Callable[[], object]]:
    """Return the numbers of points and of products in a run, and the compiled runs: products, and bare FFTs.

    The bare transforms are those of the whole torus, forward and back, with a multiplication between: what a product
    would cost without a lattice's knowledge of its zeros.
    """
    import jax
    import jax.numpy as jnp

    import ntkspec as ns

    # What the kernel is makes no difference to the cost of a product; few frequencies build the large ones quickly.
    k = ns.kernel.compose(ns.mapping.gaussian(dim, 16, scale=3.0, seed=0), ns.kernel.MLP(depth=1))
    K = ns.operator.lattice(k, (side,) * dim, dtype=dtype)
    v = jnp.ones(K.num_points, dtype=dtype)
    count = max(1, WORK // K.num_points)
    bound = float(abs(K.transform).max())
    torus, kept = K.sublattice.torus, (slice(None, side),) * dim

    @jax.jit
    def run(K: Any, v: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda v, _: (K.matvec(v) / bound, None), v, length=count)[0]

    @jax.jit
    def bare(transform: jax.Array, v: jax.Array) -> jax.Array:
        def one(v: jax.Array, _: None) -> tuple[jax.Array, None]:
            return jnp.fft.irfftn(jnp.fft.rfftn(v, s=torus) * transform, s=torus)[kept], None

        return jax.lax.scan(one, v, length=count)[0]

    half = jnp.ones((*torus[:-1], torus[-1] // 2 + 1), dtype=dtype)
    grid = v.reshape((side,) * dim)
    case = K.num_points, count, lambda: run(K, v).block_until_ready()
    return case, lambda: bare(half, grid).block_until_ready()


def measure(dim: int, dtype: str, sides: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (size,), seconds of one product (round, size) and of its bare transforms (round, size)."""
    points, seconds, of_bare = [], [], []
    for side in sides:
        (n, count, run), bare = product(dim, side, dtype)
        run(), bare()
        points.append(n)
        took = in_turn(ROUNDS, run=run, bare=bare)
        seconds.append(np.array(took["run"]) / count)
        of_bare.append(np.array(took["bare"]) / count)
    return np.array(points), np.array(seconds).T, np.array(of_bare).T


def slope(points: np.ndarray, seconds: np.ndarray) -> float:
    """Return the exponent p of seconds ∝ n^p, by least squares on logarithms."""
    return float(np.polyfit(np.log(points), np.log(seconds), 1)[0])


def plot(curves: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> None:
    """Each curve with the range of its rounds, beside a line of slope one."""
    from matplotlib.figure import Figure

    axes = Figure(figsize=(6, 4.5), layout="constrained").add_subplot()
    for name, (points, seconds, _) in curves.items():
        middle = np.median(seconds, axis=0)
        (line,) = axes.loglog(points, middle, "o-", label=f"{name}: n^{slope(points, middle):.2f}")
        axes.fill_between(points, seconds.min(axis=0), seconds.max(axis=0), color=line.get_color(), alpha=0.2, lw=0)
    points, seconds, _ = next(iter(curves.values()))
    axes.loglog(points, np.median(seconds[:, 0]) * points / points[0], "k:", lw=1, label="n")
    axes.set(xlabel="points n", ylabel="seconds a product", title="Lattice product")
    axes.legend(frameon=False)
    PLOT.parent.mkdir(parents=True, exist_ok=True)
    axes.figure.savefig(PLOT, dpi=150)


def main(num_sizes: int | None = None) -> list[Record]:
    """Measure, plot and print; `num_sizes` leaves out the largest."""
    cases = {"1-D": (1, "float64"), "2-D": (2, "float64"), "3-D": (3, "float64"), "2-D float32": (2, "float32")}
    curves = {name: measure(dim, dtype, SIDES[dim][:num_sizes]) for name, (dim, dtype) in cases.items()}
    plot(curves)
    records = []
    for name, (points, seconds, bare) in curves.items():
        detail: dict[str, float | str] = {
            f"n = {n:,} (s)": float(s) for n, s in zip(points, np.median(seconds, axis=0), strict=True)
        }
        each = Spread.of([slope(points, one) for one in seconds])
        detail |= {
            "bare transforms: exponent": str(Spread.of([slope(points, one) for one in bare])),
            "largest product over its bare transforms (×)": str(ratio(seconds[:, -1], bare[:, -1])),
        }
        records.append(Record(f"{name} lattice product: exponent of n", each, "", at_most=1.1, detail=detail))
    return show(records)


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:2]))
