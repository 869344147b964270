"""A prediction on a 512 x 512 lattice against the bare FFT products it contains, and its peak memory."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks.measure import Record, Spread, in_turn, peak_memory, ratio, show

SIDE = 512
ROUNDS = 9
#: ηλ_max t of the reported times.
TIMES = (1.0, 10.0, 100.0, 1e3, 1e4, 1e5)


def problem() -> tuple[Any, np.ndarray, float]:
    """Return a kernel, a photograph as labels, and the rate at which ηλ_max = 1."""
    from skimage.data import camera

    import ntkspec as ns

    k = ns.kernel.compose(ns.mapping.gaussian(2, 256, scale=10.0, seed=0), ns.kernel.MLP(depth=3))
    largest = ns.operator.largest_eigenvalue(ns.operator.lattice(k, (SIDE, SIDE)))
    return k, camera().astype(float).ravel() / 255, 1 / largest


def predict(k: Any, y: np.ndarray, rate: float) -> Any:
    """Return the work that is measured: kernel to trajectory."""
    import ntkspec as ns

    K = ns.operator.lattice(k, (SIDE, SIDE))
    return ns.predict(K, y, steps=TIMES, learning_rate=rate, dynamics=ns.dynamics.gradient_flow())


def bare_products(k: Any, y: np.ndarray, num_products: int) -> Any:
    """Return the same number of products and nothing else, written by hand.

    No row of zeros is transformed here either.
    """
    import jax
    import jax.numpy as jnp

    import ntkspec as ns

    K = ns.operator.lattice(k, (SIDE, SIDE))
    rows, columns = K.sublattice.torus
    transform = K.transform.T / jnp.max(K.transform)

    @partial(jax.jit, static_argnames="count")
    def products(transform: jax.Array, v: jax.Array, count: int) -> jax.Array:
        def one(v: jax.Array, _: None) -> tuple[jax.Array, None]:
            spectrum = jnp.fft.fft(jnp.fft.rfft(v, n=columns).T, n=rows)
            spectrum = jnp.fft.ifft(transform * spectrum)[:, :SIDE]
            return jnp.fft.irfft(spectrum.T, n=columns)[:, :SIDE], None

        return jax.lax.scan(one, v, length=count)[0]

    v = jnp.asarray(y).reshape(SIDE, SIDE)
    return lambda: products(transform, v, num_products).block_until_ready()


def main() -> list[Record]:
    """Measure and print."""
    memory = peak_memory("from benchmarks.prediction_vs_fft import predict, problem\npredict(*problem())\n")
    idle = peak_memory("import jax, ntkspec\nntkspec.predict, jax.numpy.zeros(1)\n")
    k, y, rate = problem()
    path = predict(k, y, rate)
    bare = bare_products(k, y, path.attrs["num_products"])
    bare()
    seconds = in_turn(ROUNDS, predict=lambda: predict(k, y, rate).train.values, bare=bare)
    detail: dict[str, float | str] = {
        "prediction (s)": Spread.of(seconds["predict"]).median,
        "bare (s)": Spread.of(seconds["bare"]).median,
        "products": str(path.attrs["num_products"]),
        "error bound": float(path.error_bound.max()),
    }
    gib = 2**30
    return show(
        [
            Record(
                f"prediction on {SIDE}² over its bare FFT products",
                ratio(seconds["predict"], seconds["bare"]),
                "×",
                at_most=1.3,
                detail=detail,
            ),
            Record(
                f"peak memory of a prediction on {SIDE}²",
                Spread.of([memory / gib]),
                "GiB",
                at_most=2,
                detail={"of which Python, JAX and the package (GiB)": idle / gib},
            ),
        ]
    )


if __name__ == "__main__":
    main()
