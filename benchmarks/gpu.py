"""What an attached GPU does with the same code: the trainer's rate, an ensemble's, and that of the kernel's products.

`make bench-gpu` prints a table, or says that there is no GPU.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import ntkspec as ns
from benchmarks.measure import Record, Spread, show
from benchmarks.trainer_vs_matmul import operations, plan_of, products, training
from ntkspec.trainer.memory import available, need_of

ROUNDS = 5
POINTS, FEATURES = 4096, 512


def seconds_of(case: Callable[[], object]) -> list[float]:
    """Of some calls after a first one that compiles; a case waits for its own result."""
    case()
    found = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        case()
        found.append(time.perf_counter() - start)
    return found


def step(width: int, device: jax.Device) -> Record:
    """Rate of training one network, and its part of the bare products'."""
    plan = plan_of(POINTS, FEATURES, width, 1)
    steps = 10
    one, compiling = training(plan, steps)
    # Read before the weights of the products join them.
    peak = (device.memory_stats() or {}).get("peak_bytes_in_use", 0)
    weights = [{name: leaf[0, 0] for name, leaf in layer.items()} for layer in plan.params(0, 1)]
    inputs = plan.inputs(plan.points)[0]

    def bare() -> None:
        for _ in range(steps):
            found = products(weights, inputs)
        jax.block_until_ready(found)

    trillions = steps * operations(POINTS, FEATURES, width) / 1e12
    trained, bared = seconds_of(one), seconds_of(bare)
    need = need_of(plan)
    return Record(
        f"one network of width {width:,} in float32, {POINTS:,} points",
        Spread.of([trillions / t for t in trained]),
        "TFLOP/s",
        detail={
            "of its bare products": min(bared) / min(trained),
            "compiling (s)": compiling,
            "predicted (GiB)": (need.step + need.shared) / 2**30,
            "peak so far (GiB)": peak / 2**30,
        },
    )


def ensemble(width: int, seeds: int) -> Record:
    """Networks one by one over all at once."""
    one, _ = training(plan_of(256, FEATURES, width, 1), 50)
    together, compiling = training(plan_of(256, FEATURES, width, seeds), 50)
    alone, all_at_once = seconds_of(one), seconds_of(together)
    return Record(
        f"{seeds} seeds one by one over side by side, width {width}, 256 points",
        Spread.of([seeds * a / b for a, b in zip(alone, all_at_once, strict=True)]),
        "×",
        detail={"compiling all (s)": compiling},
    )


def lattice(side: int) -> Record:
    """A product with a kernel on a lattice, in float64."""
    k = ns.kernel.compose(ns.mapping.gaussian(2, 256, scale=10.0), ns.kernel.MLP(depth=3))
    K = ns.operator.lattice(k, (side, side))
    v = jnp.asarray(np.random.default_rng(0).standard_normal(K.num_points))
    seconds = seconds_of(lambda: jax.block_until_ready(K @ v))
    return Record(f"a kernel product on {side:,}² points, float64", Spread.of([1e3 * t for t in seconds]), "ms")


def main() -> list[Record]:
    """Measure what fits and print."""
    device = jax.devices()[0]
    if device.platform != "gpu":
        print("no GPU")
        return []
    print(f"{device.device_kind}, {available([device]) / 2**30:.3g} GiB to plan for, JAX {jax.__version__}")
    records = []
    with jax.default_matmul_precision("highest"):
        for width in (1024, 4096, 16384):
            need = need_of(plan_of(POINTS, FEATURES, width, 1))
            if need.step + need.shared < available([device]):
                records += show([step(width, device)])
        records += show([ensemble(256, 16), ensemble(1024, 16)])
    return records + show([lattice(512), lattice(2048)])


if __name__ == "__main__":
    main()
    sys.exit(0)
