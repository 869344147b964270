"""Amplitudes tuned through the kernel against every power law, on the paper's 1-D families of signals (its figure 5).

N = 256 points, every other one trains; b = 1 … 64, depth 4, ReLU; the flow stops at ητ = 5, as 1,000 steps at rate 5e-3
do. Amplitudes are tuned on 1,024 signals of a family, and judged on 64 others.
"""

from __future__ import annotations

import numpy as np

from benchmarks.measure import Record, Spread, show

NUM_POINTS, NUM_FREQUENCIES, TIME = 256, 64, 5.0
TRAINED_ON, JUDGED_ON = 1024, 64
POWERS = (*np.linspace(0, 2, 17), np.inf)


def signals(alpha: float, count: int, seed: int) -> np.ndarray:
    """Random signals whose amplitudes fall as the frequency's power −α, brought together to [−½, ½]."""
    rng = np.random.default_rng(seed)
    wave = np.arange(NUM_POINTS)
    amplitude = (1.0 + np.minimum(wave, NUM_POINTS - wave)) ** -alpha
    amplitude[0] = 0
    z = rng.standard_normal((2, count, NUM_POINTS))
    values = np.fft.ifft((z[0] + 1j * z[1]) * amplitude).real
    return (values - values.min()) / np.ptp(values) - 0.5


def of_family(alpha: float) -> Record:
    """Test error of the tuned amplitudes over that of the best power law, for one family."""
    import ntkspec as ns

    network = ns.kernel.MLP(depth=4)

    def error(mapping: ns.mapping.FourierMapping) -> np.ndarray:
        k = ns.kernel.compose(mapping, network)
        return np.asarray(ns.selection.lattice_error(k, test, 2, TIME))

    train, test = signals(alpha, TRAINED_ON, seed=1), signals(alpha, JUDGED_ON, seed=2)
    flat = ns.mapping.power_law(NUM_FREQUENCIES, p=0.0)
    tuned = ns.selection.tune_amplitudes(ns.kernel.compose(flat, network), train, time=TIME)
    own = error(ns.mapping.with_amplitudes(flat, tuned.amplitude.values))
    laws = [error(ns.mapping.power_law(NUM_FREQUENCIES, p)) for p in POWERS]
    best = int(np.argmin([law.mean() for law in laws]))
    ratios = own / laws[best]
    return Record(
        f"test error of tuned amplitudes over that of the best power law, α = {alpha:g} (range over signals)",
        Spread(float(own.mean() / laws[best].mean()), float(ratios.min()), float(ratios.max())),
        "×",
        at_most=1,
        detail={"tuned": float(own.mean()), "best power law": float(laws[best].mean()), "its p": float(POWERS[best])},
    )


def main() -> list[Record]:
    """Measure and print."""
    return show([of_family(alpha) for alpha in (1.0, 1.5, 2.0)])


if __name__ == "__main__":
    main()
