"""Lattices of a million points and more: seconds and peak memory, each case in a fresh process.

`python -m benchmarks.lattice_sizes colour line` measures only those cases, and `colour=512` another side.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.measure import Record, Spread, measure_apart, show

#: ηλ_max t of the reported times.
TIMES = (1.0, 10.0, 100.0, 1e3, 1e4, 1e5)
GIB = 2**30


@dataclass(frozen=True)
class Case:
    """One size of one kind of problem, and what it must stay below."""

    claim: str
    run: Callable[[int], dict[str, float]]
    size: int
    max_seconds: float | None
    max_gib: float


def photograph(side: int, colour: bool) -> np.ndarray:
    """Return a photograph, continued by its mirror images: values in [0, 1], shape (side, side) or (side, side, 3)."""
    from skimage.data import astronaut, camera

    image = (astronaut() if colour else camera()).astype(float) / 255
    excess = [(0, max(0, side - n)) for n in image.shape[:2]]
    return np.pad(image, excess + [(0, 0)] * (image.ndim - 2), mode="symmetric")[:side, :side]


def predict(side: int, *, colour: bool, times: tuple[float, ...], max_basis_bytes: float) -> dict[str, float]:
    """Kernel to trajectory, compilation included."""
    import ntkspec as ns

    y = photograph(side, colour)
    y = y.reshape(side * side, *y.shape[2:])
    k = ns.kernel.compose(ns.mapping.gaussian(2, 256, scale=10.0, seed=0), ns.kernel.MLP(depth=3))
    # λ_max is n times an integral over the kernel: that of a small lattice will do for the scale of time.
    rate = 1 / (ns.operator.largest_eigenvalue(ns.operator.lattice(k, (64, 64))) * (side / 64) ** 2)
    start = time.perf_counter()
    K = ns.operator.lattice(k, (side, side))
    built = time.perf_counter()
    flow = ns.dynamics.gradient_flow()
    p = ns.predict(K, y, steps=times, learning_rate=rate, dynamics=flow, max_basis_bytes=max_basis_bytes)
    return {
        "seconds": time.perf_counter() - start,
        "lattice (s)": built - start,
        "products a channel": p.attrs["num_products"],
        "passes": p.attrs["passes"],
        "error bound": float(p.error_bound.max()),
        "ηλ_max t": rate * p.attrs["largest_eigenvalue"] * times[-1],
    }


def colour(side: int) -> dict[str, float]:
    """Three channels to ηλ_max t = 10⁵."""
    return predict(side, colour=True, times=TIMES, max_basis_bytes=2 * GIB)


def large(side: int) -> dict[str, float]:
    """One channel, the recurrence run twice because its vectors would not fit."""
    return predict(side, colour=False, times=TIMES[::2], max_basis_bytes=0)


def line(points: int) -> dict[str, float]:
    """Return the spectrum of a kernel of whole frequencies in one dimension."""
    import ntkspec as ns

    k = ns.kernel.compose(ns.mapping.power_law(64, p=1.0), ns.kernel.MLP(depth=3))
    start = time.perf_counter()
    K = ns.operator.lattice(k, (points,))
    K.transform.block_until_ready()
    built = time.perf_counter()
    s = ns.eigen.spectrum(K)
    value = s.eigenvalue.values
    return {
        "seconds": time.perf_counter() - start,
        "lattice (s)": built - start,
        "eigenvalues": len(value),
        "sum over trace − 1": float(value.sum() / s.trace - 1),
    }


CASES = {
    "colour": Case("prediction of a colour photograph, side", colour, 1024, 60, 4),
    "large": Case("prediction in two passes, side", large, 4096, None, 12),
    "line": Case("spectrum of whole frequencies, points", line, 100_000_000, 60, 8),
}


def measure(name: str, size: int) -> list[Record]:
    """Seconds and memory of one case."""
    case = CASES[name]
    code = f"import json\nfrom benchmarks.lattice_sizes import CASES\nprint(json.dumps(CASES[{name!r}].run({size})))\n"
    output, peak = measure_apart(code)
    detail = json.loads(output.splitlines()[-1])
    seconds = Spread.of([detail.pop("seconds")])
    claim = f"{case.claim} {size:,}"
    return [
        Record(claim, seconds, "s", at_most=case.max_seconds, detail=detail),
        Record(f"{claim}: peak memory", Spread.of([peak / GIB]), "GiB", at_most=case.max_gib),
    ]


def main(asked: list[str] | None = None) -> list[Record]:
    """Measure and print; all cases at their full sizes unless some are asked for by name."""
    records: list[Record] = []
    for word in asked or list(CASES):
        name, _, size = word.partition("=")
        records += show(measure(name, int(size) if size else CASES[name].size))
    return records


if __name__ == "__main__":
    main(sys.argv[1:])
