"""How fast finite networks come near theory as they get wider: errors of one and of the mean, seeds and bias apart.

Two problems: the paper's 1-D signal (64 points, b = 1 … 32, a = 1/b) and a photograph (32² training pixels, Gaussian
frequencies), depth 3, ntk parametrization, gradient descent at η = 1/λ_max from f − f_0 = 0, at steps 10, 100 and 300.

``python -m benchmarks.width_law [LARGEST_1D LARGEST_2D]`` goes on where an earlier run was stopped, and draws
results/width_law.png, which `benchmarks.page` puts on docs/benchmarks.md.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Record, Spread, show

RESULTS = Path(__file__).parent / "results"
PLOT = RESULTS / "width_law.png"
WIDTHS = (64, 128, 256, 512, 1024, 2048, 4096)
STEPS = (0, 10, 100, 300)
SEEDS = 16
#: Parameters of the networks that are trained side by side, at most.
TOGETHER = 2e7


@dataclass(frozen=True)
class Runs:
    """Trained less predicted, relative to the norm of the signal: shape (width, seed, step, point)."""

    name: str
    widths: np.ndarray
    difference: list[np.ndarray]


def paper() -> tuple[Any, Any, np.ndarray]:
    """The 1-D problem: mapping, operator's maker and labels."""
    import ntkspec as ns

    task = ns.task.signal.paper(num_points=64, oversampling=2)
    return ns.mapping.power_law(32, p=1.0), lambda k: ns.operator.lattice(k, (64,)), task.train_values


def photograph() -> tuple[Any, Any, np.ndarray]:
    """The 2-D problem."""
    import ntkspec as ns

    task = ns.task.image.astronaut(64)
    g = ns.mapping.gaussian(2, 256, scale=4.0, seed=0, normalize=False)
    return g, lambda k: ns.operator.lattice(k, task.shape, task.train_mask), task.train_values


def differences(problem: tuple[Any, Any, np.ndarray], width: int, linearised: bool = False) -> np.ndarray:
    """Trained less predicted for every seed, shape (seed, step, point)."""
    import ntkspec as ns

    g, on_points, y = problem
    network = ns.kernel.MLP(depth=3, width=width)
    k = ns.kernel.compose(g, ns.kernel.linearised(network) if linearised else network)
    K = on_points(ns.kernel.compose(g, network))
    rate = ns.dynamics.max_learning_rate(K) / 2
    p = ns.predict(K, y, steps=STEPS, learning_rate=rate)
    at_once = int(np.clip(TOGETHER // (2 * width**2), 1, SEEDS))
    runs = [
        ns.trainer.train(k, K.points, y, steps=STEPS, learning_rate=rate, seeds=at_once, seed=1000 + first)
        for first in range(0, SEEDS, at_once)
    ]
    trained = np.concatenate([r.train.values for r in runs])[:SEEDS]
    return ((trained - p.train.values) / np.linalg.norm(y)).astype(np.float32)


def kept(name: str, width: int, make: Any) -> np.ndarray:
    """What was measured before, or measured now."""
    path = RESULTS / f"width_law_{name}_{width}.npy"
    if not path.exists():
        RESULTS.mkdir(parents=True, exist_ok=True)
        found = make()
        temporary = path.with_suffix(".tmp.npy")
        np.save(temporary, found)
        temporary.replace(path)
        print(f"{name}, width {width}: {errors(found)['single'].round(4)}", file=sys.stderr, flush=True)
    return np.load(path)


def errors(difference: np.ndarray) -> dict[str, np.ndarray]:
    """At each step: of single networks, of their mean, and the mean's split into seeds and bias.

    With s² the variance over seeds, the mean of S networks is off by bias² + s²/S in expectation.
    """
    square = np.sum(difference.astype(np.float64) ** 2, axis=2)
    mean = np.sum(difference.mean(axis=0, dtype=np.float64) ** 2, axis=1)
    seeds = len(difference)
    spread = (square.mean(axis=0) - mean) * seeds / (seeds - 1)
    return {
        "single": np.sqrt(square).mean(axis=0),
        "mean": np.sqrt(mean),
        "spread": np.sqrt(spread),
        "bias": np.sqrt(np.maximum(mean - spread / seeds, 0)),
    }


def slope(widths: np.ndarray, difference: list[np.ndarray], name: str, step: int) -> Spread:
    """The exponent of an error in the width, with its 95 % interval from leaving out each seed in turn."""
    value = np.array([errors(one)[name][step] for one in difference])
    good = value > 0
    if good.sum() < 2:
        return Spread(np.nan, np.nan, np.nan)
    position = np.log(widths[good]) - np.log(widths[good]).mean()
    weight = position / np.sum(position**2)
    variance = [_jackknife(one, name, step) for one, kept in zip(difference, good, strict=True) if kept]
    exponent, error = float(weight @ np.log(value[good])), float(np.sqrt(weight**2 @ variance))
    return Spread(exponent, exponent - 2 * error, exponent + 2 * error)


def _jackknife(difference: np.ndarray, name: str, step: int) -> float:
    """The variance of the logarithm of an error."""
    count = len(difference)
    left = [errors(np.delete(difference, i, axis=0))[name][step] for i in range(count)]
    logs = np.log(np.maximum(left, 1e-12))
    return float((count - 1) * np.mean((logs - logs.mean()) ** 2))


def worst_law(runs: Runs) -> tuple[float, float, float]:
    """Constant and exponent of a single network's error at its worst step, and the scatter of its logarithm."""
    distance = [np.linalg.norm(one.astype(np.float64), axis=2).max(axis=1) for one in runs.difference]
    position = np.concatenate([np.full(len(d), np.log(w)) for d, w in zip(distance, runs.widths, strict=True)])
    logs = np.log(np.concatenate(distance))
    exponent, height = np.polyfit(position, logs, 1)
    return float(np.exp(height)), float(-exponent), float(np.std(logs - height - exponent * position, ddof=2))


def plot(cases: list[Runs]) -> None:
    """Errors against width, a column a problem."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(cases), 4.2), layout="constrained")
    axes = figure.subplots(1, len(cases), squeeze=False, sharey=True)[0]
    styles = {"single": "o-", "mean": "s--", "bias": "^:"}
    for ax, runs in zip(axes, cases, strict=True):
        for i, step in enumerate(STEPS[1:], start=1):
            for name, style in styles.items():
                values = np.array([errors(one)[name][i] for one in runs.difference])
                # A bias that the noise of the seeds hides is left out.
                values = np.where(values > 0, values, np.nan)
                ax.loglog(runs.widths, values, style, color=f"C{i - 1}", label=f"{name}, step {step}", ms=4, lw=1.2)
        start = errors(runs.difference[0])["single"][2]
        ax.loglog(runs.widths, start * (runs.widths / runs.widths[0]) ** -0.5, "k-", lw=0.6, label="width$^{-1/2}$")
        ax.set(xlabel="width", title=runs.name)
    axes[0].set_ylabel("distance to theory, relative to the signal")
    axes[-1].legend(fontsize="x-small", frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(PLOT, dpi=150)


def records(runs: Runs) -> list[Record]:
    """Errors and slopes of one problem, and the law that `ntkspec.selection.width` holds."""
    constant, exponent, residual = worst_law(runs)
    law: dict[str, float | str] = {"constant": constant, "scatter of ln(error)": residual}
    claim = f"{runs.name}: exponent of the width, single networks at their worst step"
    found = [Record(claim, Spread.of([-exponent]), "", detail=law)]
    for i, step in enumerate(STEPS[1:], start=1):
        for name in ("single", "mean", "bias"):
            values = {
                f"W = {width}": float(errors(one)[name][i])
                for width, one in zip(runs.widths, runs.difference, strict=True)
            }
            claim = f"{runs.name}, step {step}: exponent of the width, {name}"
            found.append(Record(claim, slope(runs.widths, runs.difference, name, i), "", detail=values))
    return found


def main(largest_1d: int = 1024, largest_2d: int = 512) -> list[Record]:
    """Measure, draw and print; widths up to the largest asked for."""
    cases = []
    for name, problem, largest in (("1-D", paper(), largest_1d), ("2-D", photograph(), largest_2d)):
        widths = [w for w in WIDTHS if w <= largest]
        difference = [kept(name, w, lambda w=w, p=problem: differences(p, w)) for w in widths]
        cases.append(Runs(name, np.array(widths), difference))
    plot(cases)
    linear = kept("1-D linearised", 512, lambda: differences(paper(), 512, linearised=True))
    moving = errors(kept("1-D", 512, lambda: differences(paper(), 512)))
    held = errors(linear)
    extra = [
        Record(
            f"1-D, step {step}, width 512: mean of {SEEDS} linearised networks over that of networks",
            Spread.of([float(held["mean"][i] / moving["mean"][i])]),
            "×",
            detail={
                f"{n} ({w})": float(e[n][i])
                for n in ("single", "mean", "bias")
                for w, e in (("linearised", held), ("network", moving))
            },
        )
        for i, step in enumerate(STEPS[1:], start=1)
    ]
    return show([record for runs in cases for record in records(runs)] + extra)


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:3]))
