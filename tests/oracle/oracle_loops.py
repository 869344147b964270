"""Every dynamics as the loop it stands for: explicit weights, explicit steps, explicit matrices."""

import numpy as np

import ntkspec as ns

DELTA = 0.01
COSINE = np.r_[np.arange(1, 11) / 10, 0.05 + 0.95 * (1 + np.cos(np.pi * np.arange(290) / 290)) / 2, 0.05]


def steady(_):
    return 1.0


def annealed(step):
    return COSINE[min(step, 300)]


def walk(matrix, y, rate, steps, *, beta=0.0, ahead=False, delta=0.0, factor=steady, preconditioner=None):
    """Weights w of f = K w after so many steps of the update rule, as (step, point)."""
    weights, before, path = np.zeros_like(y), np.zeros_like(y), []
    P = np.eye(len(y)) if preconditioner is None else preconditioner
    for step in range(max(steps) + 1):
        if step in steps:
            path.append(weights.copy())
        velocity = beta * (weights - before)
        at = weights + velocity if ahead else weights
        gradient = P @ (y - matrix @ at - delta * at)
        before, weights = weights, weights + velocity + rate * factor(step) * gradient
    return np.stack(path)


DYNAMICS = {
    "heavy ball": (ns.dynamics.heavy_ball(0.9), {"beta": 0.9}),
    "nesterov": (ns.dynamics.nesterov(0.7), {"beta": 0.7, "ahead": True}),
    "no momentum": (ns.dynamics.heavy_ball(0.0), {}),
    "ridge": (ns.dynamics.ridge(DELTA), {"delta": DELTA}),
    "ridge and momentum": (
        ns.dynamics.ridge(DELTA, ns.dynamics.nesterov(0.5)),
        {"delta": DELTA, "beta": 0.5, "ahead": True},
    ),
    "cosine": (ns.dynamics.cosine(300, warmup=10, final=0.05), {"factor": annealed}),
    "ridge and schedule": (
        ns.dynamics.ridge(DELTA, ns.dynamics.piecewise({0: 1.0, 5: 0.25})),
        {"delta": DELTA, "factor": lambda step: 1.0 if step < 5 else 0.25},
    ),
}
