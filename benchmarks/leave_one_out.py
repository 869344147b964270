"""Leave-one-out against refitting without every point: how far it is off, and how much time it takes."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import scipy.linalg

from benchmarks.measure import Record, Spread, show

SIDE = 20
RIDGE = 1e-3
ROUNDS = 3
#: ηλ_max t of training.
TIME = 1000.0


def problem() -> tuple[Any, np.ndarray]:
    """Return an operator on 400 points, and labels of two channels."""
    from skimage.data import astronaut

    import ntkspec as ns

    k = ns.kernel.compose(ns.mapping.gaussian(2, 256, scale=4.0, seed=0), ns.kernel.MLP(depth=3))
    image = astronaut()[:: 512 // SIDE, :: 512 // SIDE, :2][:SIDE, :SIDE].astype(float) / 255
    return ns.operator.lattice(k, (SIDE, SIDE)), image.reshape(-1, 2)


def refitted(gram: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the residual of every point in a regression on the others."""
    residual = np.zeros_like(y)
    for i in range(len(gram)):
        others = np.arange(len(gram)) != i
        matrix = gram[np.ix_(others, others)]
        matrix[np.diag_indices(len(matrix))] += RIDGE
        residual[i] = y[i] - gram[i, others] @ scipy.linalg.cho_solve(scipy.linalg.cho_factor(matrix), y[others])
    return residual


def retrained(gram: np.ndarray, y: np.ndarray, rate: float) -> np.ndarray:
    """Return the same of gradient flow."""
    residual = np.zeros_like(y)
    for i in range(len(gram)):
        others = np.arange(len(gram)) != i
        value, vector = scipy.linalg.eigh(gram[np.ix_(others, others)])
        weights = -np.expm1(-rate * TIME * value) / value
        residual[i] = y[i] - gram[i, others] @ (vector @ (weights[:, None] * (vector.T @ y[others])))
    return residual


def timed(call: Any) -> tuple[float, Any]:
    """Seconds and the result."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def main() -> list[Record]:
    """Measure and print."""
    import ntkspec as ns

    K, y = problem()
    gram = np.asarray(K.to_dense())
    rate = 1 / ns.operator.largest_eigenvalue(K)
    flow = {"steps": [TIME], "learning_rate": rate, "dynamics": ns.dynamics.gradient_flow()}
    slow, expected = timed(lambda: refitted(gram, y))
    slower, trained = timed(lambda: retrained(gram, y, rate))
    ridge = [timed(lambda: ns.generalisation.leave_one_out(K, y, ridge=RIDGE)) for _ in range(ROUNDS)]
    path = [timed(lambda: ns.generalisation.leave_one_out_path(K, y, **flow)) for _ in range(ROUNDS)]
    off = float(np.abs(ridge[0][1].residual - expected).max() / np.abs(y).max())
    off_path = float(np.abs(path[0][1].residual[0] - trained).max() / np.abs(y).max())
    return show(
        [
            Record("leave-one-out of a ridge, error at n = 400", Spread.of([off]), "of the labels", at_most=1e-8),
            Record(
                "leave-one-out of gradient flow, error at n = 400", Spread.of([off_path]), "of the labels", at_most=1e-8
            ),
            Record("refitting n times over leave-one-out", Spread.of([slow / s for s, _ in ridge]), "×", at_least=10),
            Record("retraining n times over leave-one-out", Spread.of([slower / s for s, _ in path]), "×", at_least=10),
        ]
    )


if __name__ == "__main__":
    main()
