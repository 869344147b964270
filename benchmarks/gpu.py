"""What an attached GPU does with the same code: training, ensembles, empirical kernels, FFT operators, predictions.

`make bench-gpu` prints a table beside the limits of the device, or says that there is no GPU; `benchmarks.page` puts it
on docs/benchmarks.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import ntkspec as ns
from benchmarks import prediction_vs_fft
from benchmarks.measure import Record, Spread, in_turn, ratio, show
from benchmarks.run import RESULTS, save
from benchmarks.trainer_vs_matmul import operations, plan_of, products, training
from ntkspec.kernel import _gram as gram
from ntkspec.trainer._memory import available, need_of
from ntkspec.trainer._model import products_in_bfloat16

ROUNDS = 7
POINTS, FEATURES = 4096, 512
WIDTHS = (1024, 4096, 16384)
SIDES = (512, 2048, 4096)
GIB = 2**30


def limits(side: int = 8192, copied: int = 2**30) -> Iterator[Record]:
    """Measure what the device can do at best: products of matrices, and a copy."""
    generator = np.random.default_rng(0)
    single = [jnp.asarray(generator.standard_normal((side, side), dtype=np.float32)) for _ in range(2)]
    for name, dtype in (("float32", jnp.float32), ("bfloat16", jnp.bfloat16)):
        a, b = (one.astype(dtype) for one in single)
        product = jax.jit(lambda a, b: jnp.matmul(a, b, precision="highest", preferred_element_type=jnp.float32))
        seconds = timed(product=lambda product=product, a=a, b=b: product(a, b))["product"]
        rates = Spread.of([2 * side**3 / t / 1e12 for t in seconds])
        yield Record(f"the device: product of {name} matrices of {side:,}", rates, "TFLOP/s")
    numbers = jnp.ones(copied // 4, dtype=jnp.float32)
    copy = jax.jit(lambda a: a + 1)
    seconds = timed(copy=lambda: copy(numbers))["copy"]
    yield Record("the device: read and write of 1 GiB", Spread.of([2 * copied / t / 1e9 for t in seconds]), "GB/s")


def step(width: int, device: jax.Device, points: int = POINTS, features: int = FEATURES) -> Iterator[Record]:
    """Training of one network beside the bare products in its steps, both in float32 and with bfloat16 products."""
    plan = plan_of(points, features, width, 1)
    need, steps = need_of(plan), 10
    if need.step + need.shared > available([device]):
        return
    one, compiling = training(plan, steps)
    # Read before the weights of the products join them.
    peak = (device.memory_stats() or {}).get("peak_bytes_in_use", 0)
    half, _ = training(plan_of(points, features, width, 1, bfloat16=True), steps)
    weights = [{name: leaf[0, 0] for name, leaf in layer.items()} for layer in plan.params(0, 1)]
    inputs = plan.inputs(plan.points)[0]
    rounded = jax.jit(products_in_bfloat16(products))
    seconds = timed(
        bare=lambda: [products(weights, inputs) for _ in range(steps)][-1],
        bare_half=lambda: [rounded(weights, inputs) for _ in range(steps)][-1],
        one=one,
        half=half,
    )
    trillions = steps * operations(points, features, width) / 1e12
    rates = {name: trillions / Spread.of(times).median for name, times in seconds.items()}
    yield Record(
        f"rate of a training step over its bare products, width {width:,}, {points:,} points",
        ratio(seconds["bare"], seconds["one"]),
        "×",
        at_least=0.8,
        detail={
            "step (TFLOP/s)": rates["one"],
            "bare (TFLOP/s)": rates["bare"],
            "step with bfloat16 products (TFLOP/s)": rates["half"],
            "compiling (s)": compiling,
            "predicted (GiB)": (need.step + need.shared) / GIB,
            "peak of the process so far (GiB)": peak / GIB,
        },
    )
    yield Record("… with bfloat16 products, over bare ones", ratio(seconds["bare_half"], seconds["half"]), "×")


def ensemble(width: int, points: int, features: int, seeds: int = 16) -> Record:
    """Networks one by one over all at once."""
    one, compiling_one = training(plan_of(points, features, width, 1), 50)
    together, compiling = training(plan_of(points, features, width, seeds), 50)
    seconds = timed(one_by_one=lambda: [one() for _ in range(seeds)][-1], together=together)
    return Record(
        f"{seeds} seeds one by one over all in one run, width {width:,}, {points:,} points",
        ratio(seconds["one_by_one"], seconds["together"]),
        "×",
        at_least=2.0,
        detail={
            "steps of all a second": 50 / Spread.of(seconds["together"]).median,
            "compiling one (s)": compiling_one,
            "compiling all (s)": compiling,
        },
    )


def lattice(side: int, dtype: str) -> Record:
    """Measure a product with a kernel on a lattice beside one padded FFT there and back, as written without thought."""
    k = ns.kernel.compose(ns.mapping.gaussian(2, 256, scale=10.0, seed=0), ns.kernel.MLP(depth=3))
    K = ns.operator.lattice(k, (side, side), dtype=dtype)
    v = jnp.asarray(np.random.default_rng(0).standard_normal(K.num_points), dtype=dtype)
    torus, transform = K.sublattice.torus, K.transform

    @jax.jit
    def bare(transform: jax.Array, v: jax.Array) -> jax.Array:
        spectrum = transform * jnp.fft.rfft2(v.reshape(side, side), s=torus)
        return jnp.fft.irfft2(spectrum, s=torus)[:side, :side]

    seconds = timed(product=lambda: K @ v, bare=lambda: bare(transform, v))
    medians = {f"{name} (ms)": 1e3 * Spread.of(times).median for name, times in seconds.items()}
    # Padded in, spectrum out and in once for each axis, there and back.
    moved = 8 * np.dtype(dtype).itemsize * float(np.prod(torus))
    rate = moved / Spread.of(seconds["product"]).median / 1e9
    return Record(
        f"a kernel product on {side:,}² points, {dtype}, over a padded FFT there and back",
        ratio(seconds["product"], seconds["bare"]),
        "×",
        detail={**medians, "if each axis is read and written once (GB/s)": rate},
    )


def prediction() -> Record:
    """Measure the whole of `ntkspec.predict` on a photograph of 512² over its bare products."""
    k, y, rate = prediction_vs_fft.problem()
    path = prediction_vs_fft.predict(k, y, rate)
    bare = prediction_vs_fft.bare_products(k, y, path.attrs["num_products"])
    seconds = timed(predict=lambda: prediction_vs_fft.predict(k, y, rate).train.values, bare=bare)
    return Record(
        "prediction on 512² over its bare FFT products",
        ratio(seconds["predict"], seconds["bare"]),
        "×",
        detail={
            "prediction (s)": Spread.of(seconds["predict"]).median,
            "bare (s)": Spread.of(seconds["bare"]).median,
            "products": str(path.attrs["num_products"]),
        },
    )


def kernels(points: int = 4000, width: int = 1024) -> Iterator[Record]:
    """Entries of the analytic kernel in float64, and of an empirical one in float32, a second."""
    k = ns.kernel.compose(ns.mapping.gaussian(2, 256, scale=10.0), ns.kernel.MLP(depth=3, width=width))
    x = np.random.default_rng(0).random((points, 2))
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), k.init(jax.random.key(0)))
    seconds = timed(analytic=lambda: k.ntk(x), empirical=lambda: ns.empirical.ntk(k, params, x))
    for name, what in (("analytic", "infinite width, float64"), ("empirical", f"width {width:,}, float32")):
        rates = Spread.of([points**2 / t for t in seconds[name]])
        yield Record(f"entries a second of a dense NTK, {what}, n = {points:,}, L = 3", rates, "/s")


def tiles(points: int = 8192) -> Iterator[Record]:
    """Measure the analytic kernel by the size of the tiles it is computed in, of which `LARGE_TILE` is taken here."""
    k = ns.kernel.compose(ns.mapping.gaussian(2, 256, scale=10.0), ns.kernel.MLP(depth=3))
    x = np.random.default_rng(0).random((points, 2))
    for side in (gram.TILE, gram.LARGE_TILE // 2, gram.LARGE_TILE, 2 * gram.LARGE_TILE):
        with ns.limits.limited(block=side):
            seconds = timed(tiled=lambda: k.ntk(x))["tiled"]
        rates = Spread.of([points**2 / t for t in seconds])
        yield Record(f"entries a second of a dense NTK, float64, n = {points:,}, in tiles of {side}", rates, "/s")


def agreement(width: int = 512) -> Record:
    """Networks of the same seeds trained here and on the processor, relative to the signal."""
    task = ns.task.image.astronaut(32)
    k = ns.kernel.compose(ns.mapping.gaussian(2, 256, scale=2.0, normalize=False), ns.kernel.MLP(depth=3, width=width))
    K = ns.operator.lattice(k, task.shape, task.train_mask)
    options: dict[str, Any] = {"steps": [100], "learning_rate": ns.dynamics.max_learning_rate(K) / 2}
    there, here = (
        ns.trainer.train(k, K.points, task.train_values, devices=[device], **options).train.values
        for device in (jax.devices("cpu")[0], jax.devices()[0])
    )
    apart = np.linalg.norm((here - there).reshape(len(here), -1), axis=1) / np.linalg.norm(task.train_values)
    claim = f"networks of width {width} trained here and on the processor, 100 steps, float32: apart"
    return Record(claim, Spread.of(apart.tolist()), "of the signal", at_most=1e-4)


def timed(**cases: Callable[[], Any]) -> dict[str, list[float]]:
    """Seconds of each case in turn, after a first call that compiles."""
    waiting = {name: lambda case=case: jax.block_until_ready(case()) for name, case in cases.items()}
    for case in waiting.values():
        case()
    return in_turn(ROUNDS, **waiting)


def measured(device: jax.Device) -> Iterator[Record]:
    """All records, one after the other."""
    yield from limits()
    for width in WIDTHS:
        yield from step(width, device)
    yield ensemble(256, 64, 64)
    yield ensemble(256, 256, FEATURES)
    yield ensemble(1024, 256, FEATURES)
    yield from kernels()
    yield from tiles()
    for side in SIDES:
        for dtype in ("float64", "float32"):
            yield lattice(side, dtype)
    yield prediction()
    yield agreement()


def main() -> list[Record]:
    """Measure what fits, print, and keep."""
    device = jax.devices()[0]
    if device.platform != "gpu":
        print("no GPU")
        return []
    print(f"{device.device_kind}, {available([device]) / GIB:.3g} GiB to plan for, JAX {jax.__version__}")
    records: list[Record] = []
    with jax.default_matmul_precision("highest"):
        for record in measured(device):
            records += show([record])
            save("gpu", records, RESULTS)
    return records


if __name__ == "__main__":
    main()
    sys.exit(0)
