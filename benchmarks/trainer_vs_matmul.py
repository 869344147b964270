"""The trainer's step against the bare matrix products in it, and seeds side by side against one by one."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import jax
import jax.numpy as jnp

import ntkspec as ns
from benchmarks.measure import Record, Spread, in_turn, ratio, show
from ntkspec.kernel.network import Parameters
from ntkspec.trainer.ensemble import advance, initialise, outputs

POINTS = 256
FEATURES = 512
DEPTH = 3
SEEDS = 4
STEPS = 10
ROUNDS = 11


@jax.jit
def products(params: Parameters, features: jax.Array) -> list[jax.Array]:
    """The products of one step: forward, then the gradients of weights and of hidden layers."""
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


def operations(width: int) -> float:
    """Floating-point operations of the products of one step."""
    sizes = [FEATURES, *[width] * DEPTH, 1]
    layers = [a * b for a, b in pairwise(sizes)]
    return 2.0 * POINTS * (3 * sum(layers) - layers[0])


def training(network: ns.kernel.MLP, seeds: int, features: jax.Array, y: jax.Array) -> Callable[[], object]:
    """`STEPS` steps of `seeds` networks at a time; every call goes on where the last one ended."""
    params = initialise(network, 0, seeds, FEATURES, 1, "float32")
    start = outputs(network, params, features)
    rate = jnp.asarray(1e-4, dtype=jnp.float32)

    def steps() -> None:
        nonlocal params
        params = jax.block_until_ready(advance(network, params, start, features, y, rate, jnp.asarray(STEPS)))

    return steps


def at_width(width: int) -> list[Record]:
    """Both comparisons at one width."""
    network = ns.kernel.MLP(depth=DEPTH, width=width)
    features = jax.random.normal(jax.random.key(0), (POINTS, FEATURES), dtype=jnp.float32)
    y = jnp.ones((POINTS, 1), dtype=jnp.float32)
    weights = [
        {name: leaf[0] for name, leaf in layer.items()} for layer in initialise(network, 0, 1, FEATURES, 1, "float32")
    ]
    one, together = training(network, 1, features, y), training(network, SEEDS, features, y)

    def bare() -> None:
        for _ in range(STEPS):
            jax.block_until_ready(products(weights, features))

    def one_by_one() -> None:
        for _ in range(SEEDS):
            one()

    cases = {"bare": bare, "one": one, "together": together, "one_by_one": one_by_one}
    for case in cases.values():
        case()
    seconds = in_turn(ROUNDS, **cases)
    billions = STEPS * operations(width) / 1e9
    rates = {f"{name} (GFLOP/s)": billions / Spread.of(seconds[name]).median for name in ("one", "bare")}
    spans = {f"{name} (s)": Spread.of(seconds[name]).median for name in ("one_by_one", "together")}
    return [
        Record(
            f"rate of a training step over its bare products, width {width}",
            ratio(seconds["bare"], seconds["one"]),
            "×",
            detail=rates,
        ),
        Record(
            f"{SEEDS} seeds one by one over side by side, width {width}",
            ratio(seconds["one_by_one"], seconds["together"]),
            "×",
            detail=spans,
        ),
    ]


def main() -> list[Record]:
    """Measure and print."""
    return show(at_width(512) + at_width(1024))


if __name__ == "__main__":
    main()
