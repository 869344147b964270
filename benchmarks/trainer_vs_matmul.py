"""The trainer's step against the bare matrix products in it, and seeds in one run against one by one."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np

import ntkspec as ns
from benchmarks.measure import Record, Spread, in_turn, ratio, show
from ntkspec.kernel._network import Parameters
from ntkspec.trainer._devices import threads_for
from ntkspec.trainer._loop import Networks
from ntkspec.trainer._memory import need_of
from ntkspec.trainer._plan import Plan

DEPTH = 3
ROUNDS = 7


@jax.jit
def products(params: Parameters, features: jax.Array) -> list[jax.Array]:
    """Return the products of one step: forward, then the gradients of weights and of hidden layers."""
    weights = [layer["w"] for layer in params]
    inputs = [features]
    for w in weights[:-1]:
        inputs.append(inputs[-1] @ w)
    back = inputs[-1] @ weights[-1]
    gradients = []
    for layer, (hidden, w) in reversed(list(enumerate(zip(inputs, weights, strict=True)))):
        gradients.append(hidden.T @ back)
        if layer:
            back = back @ w.T
    return gradients


def operations(points: int, features: int, width: int) -> float:
    """Floating-point operations of the products of one step."""
    sizes = [features, *[width] * DEPTH, 1]
    layers = [a * b for a, b in pairwise(sizes)]
    return 2.0 * points * (3 * sum(layers) - layers[0])


def plan_of(points: int, features: int, width: int, seeds: int, bfloat16: bool = False) -> Plan:
    """Full-batch gradient descent on a one-dimensional signal."""
    mapping = ns.mapping.gaussian(1, features // 2, scale=8.0)
    k = ns.kernel.compose(mapping, ns.kernel.MLP(depth=DEPTH, width=width))
    training = ns.trainer.Training(matmul_precision="bfloat16" if bfloat16 else "float32")
    x = np.arange(points)[:, None] / points
    options = {"steps": [1], "training": training, "learning_rate": 1e-4, "seeds": seeds}
    return ns.trainer.plan(k, x, np.ones((points, 1)), **options)


def training(plan: Plan, steps: int) -> tuple[Callable[[], object], float]:
    """Return a call of `steps` steps of all networks, which goes on where it ended, and seconds of the first call."""
    networks = Networks(plan, 0, plan.seeds, jax.local_devices()[:1], threads_for(need_of(plan).step))

    def some() -> None:
        networks.state = networks.layout.advance(
            plan.recipe, networks.problem, networks.state, jnp.asarray(0), jnp.asarray(steps)
        )
        jax.block_until_ready(networks.state)

    first = time.perf_counter()
    some()
    compiled = time.perf_counter()
    some()
    return some, (compiled - first) - (time.perf_counter() - compiled)


def against_products(width: int, points: int, features: int, at_least: float | None) -> Record:
    """Return the rate of a step over that of its products."""
    steps = 10
    plan = plan_of(points, features, width, 1)
    one, compiling = training(plan, steps)
    weights = [{name: leaf[0, 0] for name, leaf in layer.items()} for layer in plan.params(0, 1)]
    inputs = plan.inputs(plan.points)[0]

    def bare() -> None:
        for _ in range(steps):
            jax.block_until_ready(products(weights, inputs))

    bare()
    seconds = in_turn(ROUNDS, bare=bare, one=one)
    billions = steps * operations(points, features, width) / 1e9
    rates = {f"{name} (GFLOP/s)": billions / Spread.of(seconds[name]).median for name in ("one", "bare")}
    return Record(
        f"rate of a training step over its bare products, width {width}, {points:,} points",
        ratio(seconds["bare"], seconds["one"]),
        "×",
        at_least=at_least,
        detail={**rates, "compiling (s)": compiling},
    )


def together(width: int, points: int, features: int, seeds: int, at_least: float | None) -> Record:
    """Return the time of networks one by one over that of all in one run, and the rates of their bare products."""
    steps = 20
    plan = plan_of(points, features, width, seeds)
    one, compiling_one = training(plan_of(points, features, width, 1), steps)
    everything, compiling = training(plan, steps)
    weights = [{name: leaf[0] for name, leaf in layer.items()} for layer in plan.params(0, seeds)]
    first = jax.tree.map(lambda leaf: leaf[0], weights)
    inputs = plan.inputs(plan.points)[0]
    batched = jax.jit(jax.vmap(products, in_axes=(0, None)))

    def one_by_one() -> None:
        for _ in range(seeds):
            one()

    def bare_one_by_one() -> None:
        for _ in range(seeds * steps):
            jax.block_until_ready(products(first, inputs))

    def bare_side_by_side() -> None:
        for _ in range(steps):
            jax.block_until_ready(batched(weights, inputs))

    bare_one_by_one(), bare_side_by_side()
    cases = {
        "one_by_one": one_by_one,
        "together": everything,
        "bare_one_by_one": bare_one_by_one,
        "bare_side_by_side": bare_side_by_side,
    }
    seconds = in_turn(ROUNDS, **cases)
    billions = seeds * steps * operations(points, features, width) / 1e9
    rates = {f"{name} (GFLOP/s)": billions / Spread.of(seconds[name]).median for name in cases}
    return Record(
        f"{seeds} seeds one by one over all in one run, width {width}, {points:,} points",
        ratio(seconds["one_by_one"], seconds["together"]),
        "×",
        at_least=at_least,
        detail={**rates, "compiling one (s)": compiling_one, "compiling all (s)": compiling},
    )


def main() -> list[Record]:
    """Measure and print."""
    return show(
        [
            against_products(512, 256, 512, None),
            against_products(1024, 256, 512, 0.8),
            against_products(1024, 1024, 512, 0.8),
            together(64, 64, 64, 16, None),
            together(256, 64, 64, 16, 2.0),
            together(1024, 256, 512, 4, None),
        ]
    )


if __name__ == "__main__":
    main()
