"""What the precision of training does to the comparison with theory, and what a step costs in each.

The same networks from the same seeds are trained in float64, in float32, and in float32 with the operands of products
rounded to bfloat16: how far a precision moves a network from its float64 self, beside how far theory is away.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

import ntkspec as ns
from benchmarks.measure import Record, Spread, in_turn, ratio, show
from benchmarks.trainer_vs_matmul import training
from benchmarks.width_law import Problem, paper, photograph

STEPS = (0, 10, 100, 300)
SEEDS = 8
ROUNDS = 5
#: Steps of a timed call.
TIMED = 5
PRECISIONS: dict[str, dict[str, str]] = {
    "float64": {"dtype": "float64"},
    "float32": {},
    "bfloat16 products": {"matmul_precision": "bfloat16"},
}


def norms(functions: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of functions (…, point), relative to the signal's."""
    return np.linalg.norm(functions, axis=-1) / np.linalg.norm(y)


def distances(name: str, trained: dict[str, np.ndarray], predicted: np.ndarray, y: np.ndarray) -> list[Record]:
    """How far each precision moves networks (seed, step, point), and their distances to theory (step, point)."""
    records = []
    own = trained["float64"]
    for precision in list(PRECISIONS)[1:]:
        found = trained[precision]
        for i, step in enumerate(STEPS[1:], start=1):
            moved = norms(found[:, i] - own[:, i], y)
            away = {which: norms(f[:, i] - predicted[i], y).mean() for which, f in trained.items()}
            of_mean = {which: norms(f[:, i].mean(axis=0) - predicted[i], y) for which, f in trained.items()}
            detail = {
                "error in float64": away["float64"],
                f"error in {precision}": away[precision],
                "moved over error": moved.mean() / away["float64"],
                "mean of all: moved": norms((found[:, i] - own[:, i]).mean(axis=0), y),
                "mean of all: error in float64": of_mean["float64"],
                f"mean of all: error in {precision}": of_mean[precision],
            }
            records.append(
                Record(
                    f"{name}, step {step}: {precision} from float64, of the signal, mean over {SEEDS} seeds",
                    Spread(float(moved.mean()), float(moved.min()), float(moved.max())),
                    "",
                    detail={key: float(value) for key, value in detail.items()},
                )
            )
    return records


def costs(name: str, k: ns.kernel.ComposedKernel, x: np.ndarray, y: np.ndarray, rate: float) -> list[Record]:
    """Seconds of a step in each precision over those in float32, in turn."""
    cases = {}
    for precision, options in PRECISIONS.items():
        chosen: Any = ns.trainer.Training(**options)  # type: ignore[arg-type]  # they are checked there
        plan = ns.trainer.plan(k, x, y, steps=STEPS, training=chosen, learning_rate=rate, seeds=SEEDS)
        cases[precision], _ = training(plan, TIMED)
    seconds = in_turn(ROUNDS, **cases)
    return [
        Record(
            f"{name}: a step in {precision} over one in float32, {SEEDS} seeds",
            ratio(seconds[precision], seconds["float32"]),
            "×",
            detail={
                f"{which} (ms)": 1e3 * Spread.of(seconds[which]).median / TIMED for which in (precision, "float32")
            },
        )
        for precision in PRECISIONS
        if precision != "float32"
    ]


def measured(name: str, problem: Problem, width: int) -> list[Record]:
    """Return the records of one problem at one width."""
    g, shape, mask, y = problem
    k = ns.kernel.compose(g, ns.kernel.MLP(depth=3, width=width))
    K = ns.operator.lattice(k, shape, mask)
    rate = ns.dynamics.max_learning_rate(K) / 2
    options: dict[str, Any] = {"steps": STEPS, "learning_rate": rate}
    predicted = ns.predict(K, y, **options).train.values
    trained = {
        precision: ns.trainer.train(k, K.points, y, seeds=SEEDS, **options, **settings).train.values
        for precision, settings in PRECISIONS.items()
    }
    title = f"{name}, width {width}"
    with jax.default_matmul_precision("highest"):
        return distances(title, trained, predicted, y) + costs(title, k, K.points, y, rate)


def main() -> list[Record]:
    """Measure and print."""
    cases = (("1-D", paper(), 256), ("1-D", paper(), 1024), ("photograph", photograph(), 256))
    return [record for case in cases for record in show(measured(*case))]


if __name__ == "__main__":
    main()
