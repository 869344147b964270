"""A prediction on a 64 x 64 lattice against neural-tangents: Gram matrix, eigendecomposition, same times."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import ntkspec as ns
from benchmarks.measure import Record, Spread, in_turn, ratio, show

SIDE = 64
DEPTH = 3
ROUNDS = 3
#: ηλ_max t of the five reported times.
TIMES = (1.0, 10.0, 100.0, 1e3, 1e4)


def labels() -> np.ndarray:
    """Return a photograph, one value a point."""
    from skimage.data import camera

    block = camera().shape[0] // SIDE
    return camera().reshape(SIDE, block, SIDE, block).mean(axis=(1, 3)).ravel() / 255


def ours(k: ns.kernel.ComposedKernel, y: np.ndarray, rate: float) -> Any:
    """From the kernel to the trajectory."""
    K, flow = ns.operator.lattice(k, (SIDE, SIDE)), ns.dynamics.gradient_flow()
    return ns.predict(K, y, steps=TIMES, learning_rate=rate, dynamics=flow, tolerance=1e-9)


def theirs(k: ns.kernel.ComposedKernel, y: np.ndarray, rate: float) -> Callable[[], jax.Array]:
    """Return the same from the same features: `kernel_fn`, then `predict.gradient_descent_mse`."""
    nt = ns.kernel.stax.load()
    hidden = [nt.stax.Dense(1, W_std=2**0.5), nt.stax.Relu()] * DEPTH
    kernel_fn = jax.jit(nt.stax.serial(*hidden, nt.stax.Dense(1, W_std=2**0.5))[2], static_argnames="get")
    features = k.mapping(ns.operator.lattice(k, (SIDE, SIDE)).points)
    # Its loss is the mean over points, so its rate is n times that of the sum.
    rate = rate * y.size

    def predict() -> jax.Array:
        gram = kernel_fn(features, None, get="ntk")
        learned = nt.predict.gradient_descent_mse(gram, jnp.asarray(y)[:, None], learning_rate=rate)
        return jax.block_until_ready(learned(np.asarray(TIMES), 0.0)[..., 0])

    return predict


def cold(case: Callable[[], object]) -> float:
    """Seconds of the first run, compilation included."""
    start = time.perf_counter()
    case()
    return time.perf_counter() - start


def main() -> list[Record]:
    """Measure and print."""
    k = ns.kernel.compose(ns.mapping.gaussian(2, 256, scale=10.0, seed=0), ns.kernel.MLP(depth=DEPTH))
    y = labels()
    rate = 1 / ns.operator.largest_eigenvalue(ns.operator.lattice(k, (SIDE, SIDE)))
    jax.clear_caches()
    opponent = theirs(k, y, rate)
    cold_seconds = {"ours": cold(lambda: ours(k, y, rate)), "theirs": cold(opponent)}
    seconds = in_turn(ROUNDS, ours=lambda: ours(k, y, rate).train.values, theirs=opponent)
    mine, reference = ours(k, y, rate), np.asarray(opponent())
    difference = np.linalg.norm(mine.train.values - reference, axis=1) / np.linalg.norm(reference, axis=1)
    detail = {f"{name} (s)": Spread.of(values).median for name, values in seconds.items()}
    return show(
        [
            Record(
                f"neural-tangents over ntkspec, prediction on {SIDE}², compiled",
                ratio(seconds["theirs"], seconds["ours"]),
                "×",
                at_least=100,
                detail=detail,
            ),
            Record(
                "… first run, with compilation",
                Spread.of([cold_seconds["theirs"] / cold_seconds["ours"]]),
                "×",
                detail={f"{name} (s)": value for name, value in cold_seconds.items()},
            ),
            Record(
                "… largest relative difference of the five functions",
                Spread.of([float(difference.max())]),
                "",
                at_most=1e-8,
                detail={"own error bound": float(mine.error_bound.max())},
            ),
        ]
    )


if __name__ == "__main__":
    main()
