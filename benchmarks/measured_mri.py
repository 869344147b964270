"""Masked Fourier measurements of a 96³ volume against the bare FFTs they contain, and their peak memory."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks.measure import Record, Spread, in_turn, peak_memory, ratio, show

SIDE = 96
ROUNDS = 5
#: ηλ_max t of the reported times.
TIMES = (1.0, 10.0, 100.0)
#: Part of k-space that is kept at random, beside its middle.
KEPT = 0.25


def problem() -> tuple[Any, np.ndarray]:
    """Return an operator on masked Fourier coefficients of a volume, and the coefficients of a ball with a hole."""
    import ntkspec as ns

    k = ns.kernel.compose(ns.mapping.gaussian(3, 256, scale=4.0, seed=0), ns.kernel.MLP(depth=3))
    frequency = np.fft.fftfreq(SIDE, 1 / SIDE)
    radius = np.sqrt(sum(f**2 for f in np.meshgrid(frequency, frequency, frequency, indexing="ij")))
    mask = (radius < SIDE / 12) | (np.random.default_rng(0).random((SIDE,) * 3) < KEPT)
    A = ns.operator.measurement.masked_fourier(mask)
    x = (np.arange(SIDE) + 0.5) / SIDE - 0.5
    distance = np.sqrt(sum(f**2 for f in np.meshgrid(x, x, x, indexing="ij")))
    volume = ((distance < 0.4) & (distance > 0.15)).astype(float)
    return ns.operator.measured(ns.operator.lattice(k, (SIDE,) * 3), A), np.asarray(A @ volume)


def predict(K: Any, y: np.ndarray, rate: float) -> Any:
    """Return the work that is measured: the trajectory of the measurements."""
    import ntkspec as ns

    return ns.predict(K, y, steps=TIMES, learning_rate=rate, dynamics=ns.dynamics.gradient_flow())


def bare_products(K: Any, num_products: int) -> Any:
    """As many transforms of the volume and of the padded torus, there and back, and nothing else."""
    import jax
    import jax.numpy as jnp

    shape = (SIDE,) * 3
    torus = K.kernel.sublattice.torus
    transform = K.kernel.transform / jnp.max(K.kernel.transform)

    @partial(jax.jit, static_argnames="count")
    def products(transform: jax.Array, coefficients: jax.Array, count: int) -> jax.Array:
        def one(coefficients: jax.Array, _: None) -> tuple[jax.Array, None]:
            volume = jnp.fft.irfftn(coefficients, s=shape, norm="ortho")
            volume = jnp.fft.irfftn(transform * jnp.fft.rfftn(volume, s=torus), s=torus)[:SIDE, :SIDE, :SIDE]
            return jnp.fft.rfftn(volume, norm="ortho"), None

        return jax.lax.scan(one, coefficients, length=count)[0]

    coefficients = jnp.fft.rfftn(jnp.asarray(np.random.default_rng(1).standard_normal(shape)))
    return lambda: products(transform, coefficients, num_products).block_until_ready()


def main() -> list[Record]:
    """Measure and print."""
    import ntkspec as ns

    memory = peak_memory(
        "from benchmarks.measured_mri import predict, problem\nimport ntkspec as ns\nK, y = problem()\n"
        "predict(K, y, 1 / ns.operator.largest_eigenvalue(K))\n"
    )
    K, y = problem()
    rate = 1 / ns.operator.largest_eigenvalue(K)
    path = predict(K, y, rate)
    count = int(path.attrs["num_products"])
    bare, bare_one = bare_products(K, count), bare_products(K, 1)
    bare()
    bare_one()
    (K @ y).block_until_ready()
    seconds = in_turn(
        ROUNDS,
        product=lambda: (K @ y).block_until_ready(),
        bare_one=bare_one,
        predict=lambda: predict(K, y, rate).train.values,
        bare=bare,
    )
    medians: dict[str, float | str] = {f"{name} (s)": Spread.of(times).median for name, times in seconds.items()}
    detail = {**medians, "products": str(count), "measurements": str(K.num_points)}
    return show(
        [
            Record(
                f"product of masked Fourier measurements of {SIDE}³ over its bare FFTs",
                ratio(seconds["product"], seconds["bare_one"]),
                "×",
                at_most=3,
                detail=detail,
            ),
            Record(
                f"prediction on masked Fourier measurements of {SIDE}³ over its bare FFTs",
                ratio(seconds["predict"], seconds["bare"]),
                "×",
                at_most=3,
                detail={"error bound": float(path.error_bound.max())},
            ),
            Record(
                f"peak memory of a prediction on masked Fourier measurements of {SIDE}³",
                Spread.of([memory / 2**30]),
                "GiB",
            ),
        ]
    )


if __name__ == "__main__":
    main()
