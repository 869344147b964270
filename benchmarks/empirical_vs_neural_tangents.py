"""The empirical NTK of a finite network in float32 against neural-tangents' implementations that run on today's JAX."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import ntkspec as ns
from benchmarks.measure import Record, Spread, in_turn, ratio, show

DEPTH = 3
FREQUENCIES = 128
#: Points and width; the second implementation runs the network for each pair of points and is asked once, for few.
SIZES = ((64, 256), (256, 512))
FEW = 64
ROUNDS = 5


def networks(width: int) -> dict[str, ns.kernel.ComposedKernel]:
    """Return the same network as an MLP, which knows its factors, and as neural-tangents builds it (traced)."""
    stax = ns.kernel.stax.load().stax
    hidden = [layer for _ in range(DEPTH) for layer in (stax.Dense(width, W_std=2**0.5), stax.Relu())]
    mapping = ns.mapping.gaussian(2, FREQUENCIES, scale=4.0, seed=0)
    return {
        "MLP": ns.kernel.compose(mapping, ns.kernel.MLP(depth=DEPTH, width=width)),
        "stax": ns.kernel.compose(mapping, ns.kernel.from_stax(*stax.serial(*hidden, stax.Dense(1, W_std=2**0.5)))),
    }


def theirs(k: ns.kernel.ComposedKernel, implementation: int) -> Callable[[jax.Array, object], jax.Array]:
    """Their jitted kernel of features and parameters."""
    nt = ns.kernel.stax.load()
    kernel_fn = jax.jit(nt.empirical_ntk_fn(k.network.apply, vmap_axes=0, implementation=implementation))
    return lambda features, params: kernel_fn(features, None, params)


def compared(name: str, k: ns.kernel.ComposedKernel, points: int, width: int) -> list[Record]:
    """One network at one size: time against the better of the two, and the difference."""
    x = np.random.default_rng(0).random((points, 2))
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), k.init(jax.random.key(0)))
    features = k.mapping(x).astype(jnp.float32)
    opponents = {f"implementation {i}": theirs(k, i) for i in ((1, 2) if points <= FEW else (1,))}
    cases: dict[str, Callable[[], object]] = {
        label: lambda opponent=opponent: jax.block_until_ready(opponent(features, params))
        for label, opponent in opponents.items()
    }
    cases["ours"] = lambda: jax.block_until_ready(ns.empirical.ntk(k, params, x))
    for case in cases.values():
        case()
    seconds = in_turn(ROUNDS, **cases)
    best = min(opponents, key=lambda label: Spread.of(seconds[label]).median)
    expected = np.asarray(opponents[best](features, params))
    error = np.abs(np.asarray(ns.empirical.ntk(k, params, x)) - expected).max() / expected.max()
    detail: dict[str, float | str] = {f"{label} (s)": Spread.of(values).median for label, values in seconds.items()}
    return [
        Record(
            f"neural-tangents' empirical NTK ({best}) over ours, {name}, n = {points}, width {width}, float32",
            ratio(seconds[best], seconds["ours"]),
            "×",
            at_least=1,
            detail=detail,
        ),
        Record("… largest difference over the largest entry", Spread.of([float(error)]), "", at_most=1e-5),
    ]


def main() -> list[Record]:
    """Measure and print."""
    records = []
    for points, width in SIZES:
        for name, k in networks(width).items():
            records += compared(name, k, points, width)
    return show(records)


if __name__ == "__main__":
    main()
