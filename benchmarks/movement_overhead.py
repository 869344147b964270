"""What an observer of the kernels' movement adds to the time of a training run."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import ntkspec as ns
from benchmarks.measure import Record, Spread, show

SEEDS = 4
DEPTH = 3
ROUNDS = 3
#: Name, lattice and width, and the steps at which the kernels are looked at.
RUNS = (
    ("1-D signal", (64,), 512, (0, 1, 3, 10, 30, 60, 100, 150, 200, 300)),
    ("photograph", (32, 32), 512, (0, 10, 30, 60, 100)),
)


@partial(jax.jit, donate_argnames="params")
def advance(network: Any, params: Any, features: jax.Array, y: jax.Array, rate: jax.Array, count: jax.Array) -> Any:
    """Full-batch gradient descent of all networks, `count` steps."""

    def loss(params: Any) -> jax.Array:
        return jnp.sum((network.apply(params, features)[:, 0] - y) ** 2) / 2

    def step(_: int, params: Any) -> Any:
        return jax.tree.map(lambda leaf, slope: leaf - rate * slope, params, jax.vmap(jax.grad(loss))(params))

    return jax.lax.fori_loop(0, count, step, params)


def kernel(shape: tuple[int, ...], width: int) -> ns.kernel.ComposedKernel:
    """The paper's mapping in one dimension, Gaussian frequencies in more."""
    mapping = (
        ns.mapping.power_law(32, p=1.0) if len(shape) == 1 else ns.mapping.gaussian(len(shape), 128, scale=4.0, seed=0)
    )
    return ns.kernel.compose(mapping, ns.kernel.MLP(depth=DEPTH, width=width))


def seconds(k: ns.kernel.ComposedKernel, shape: tuple[int, ...], steps: tuple[int, ...]) -> tuple[float, float]:
    """Of the steps, and of looking, in one run; programs are compiled and Θ is known."""
    K = ns.operator.lattice(k, shape)
    y = np.sin(2 * np.pi * 3 * K.points).sum(axis=1)
    observe = ns.empirical.movement(k, K.points, y)
    features, labels = (jnp.asarray(a, dtype=jnp.float32) for a in (k.mapping(K.points), y))
    rate = jnp.asarray(ns.dynamics.max_learning_rate(K) / 4, dtype=jnp.float32)
    keys = jax.random.split(jax.random.key(0), SEEDS)
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), jax.vmap(k.init)(keys))
    training = looking = 0.0
    for before, step in zip((0, *steps), steps, strict=False):
        started = time.perf_counter()
        params = jax.block_until_ready(advance(k.network, params, features, labels, rate, jnp.asarray(step - before)))
        trained = time.perf_counter()
        observe(step, params)
        training, looking = training + trained - started, looking + time.perf_counter() - trained
    return training, looking


def main() -> list[Record]:
    """Measure and print."""
    records = []
    for name, shape, width, steps in RUNS:
        k = kernel(shape, width)
        seconds(k, shape, steps[:2])
        rounds = [seconds(k, shape, steps) for _ in range(ROUNDS)]
        points = " x ".join(map(str, shape))
        records.append(
            Record(
                f"training watched at {len(steps)} of {steps[-1]} steps over training alone, {name} {points}, "
                f"width {width}, {SEEDS} seeds",
                Spread.of([1 + looking / training for training, looking in rounds]),
                "×",
                at_most=1.2,
                detail={
                    "training (s)": Spread.of([training for training, _ in rounds]).median,
                    "looking (s)": Spread.of([looking for _, looking in rounds]).median,
                },
            )
        )
    return show(records)


if __name__ == "__main__":
    main()
