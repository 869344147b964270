"""How long a design takes, and what a gradient through the kernel costs."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.measure import Record, Spread, in_turn, ratio, show

ROUNDS = 3
NUM_SCALES = 12
#: Whole frequencies, amplitudes to tune, on a photograph of so many pixels a side.
NUM_FREQUENCIES, SIDE = 256, 128
#: Learning rate times steps.
TIME = 5.0


def of_design() -> Record:
    """Seconds for the search over 12 scales for a colour photograph of 256²; the first compiles."""
    import ntkspec as ns

    task = ns.task.image.photograph("astronaut", 256, colour=True)
    scales = np.geomspace(0.5, 64, NUM_SCALES)
    seconds = in_turn(ROUNDS, design=lambda: ns.design(task, scales=scales))["design"]
    claim = f"design over {NUM_SCALES} scales for a 256² colour photograph (the longest compiles)"
    return Record(claim, Spread.of(seconds), "s", at_most=60, detail={"training points": float(task.train_mask.sum())})


def of_gradient() -> Record:
    """Measure the predicted error with its gradient in 256 amplitudes, over the predicted error alone."""
    import jax

    import ntkspec as ns

    values = ns.task.image.photograph("astronaut", SIDE, colour=True).values
    signals = np.moveaxis(values, -1, 0)
    rng = np.random.default_rng(0)
    frequencies = np.rint(8 * rng.standard_normal((NUM_FREQUENCIES, 2)))
    g = ns.mapping.from_frequencies(frequencies, np.ones(NUM_FREQUENCIES))

    def error(amplitudes: Any) -> Any:
        k = ns.kernel.compose(ns.mapping.with_amplitudes(g, amplitudes), ns.kernel.MLP(depth=3))
        return ns.selection.lattice_error(k, signals, 2, TIME).mean()

    alone, both = jax.jit(error), jax.jit(jax.value_and_grad(error))
    a = g.amplitudes
    jax.block_until_ready((alone(a), both(a)))
    seconds = in_turn(9, alone=lambda: jax.block_until_ready(alone(a)), both=lambda: jax.block_until_ready(both(a)))
    claim = f"predicted error with its gradient in {NUM_FREQUENCIES} amplitudes over the error alone, {SIDE}²"
    return Record(
        claim,
        ratio(seconds["both"], seconds["alone"]),
        "×",
        at_most=5,
        detail={"error alone (s)": float(np.median(seconds["alone"]))},
    )


def main() -> list[Record]:
    """Measure and print."""
    return show([of_design(), of_gradient()])


if __name__ == "__main__":
    main()
