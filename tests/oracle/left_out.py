"""Training points left out one by one, the slow way."""

import numpy as np


def left_out(gram, y, fit):
    """y_i less the prediction k_i·w of weights w = fit(K_{−i}, y_{−i}) from the other points."""
    residual = np.zeros_like(y)
    for i in range(len(gram)):
        others = np.arange(len(gram)) != i
        residual[i] = y[i] - gram[i, others] @ fit(gram[np.ix_(others, others)], y[others])
    return residual


def regression(ridge):
    return lambda gram, y: np.linalg.solve(gram + ridge * np.eye(len(gram)), y)


def trained(dynamics, rate, step):
    dynamics = dynamics.at(rate)

    def fit(gram, y):
        value, vector = np.linalg.eigh(gram)
        weights = rate * dynamics.weights(rate * np.maximum(value, 0), np.asarray(step))
        return vector @ (weights.reshape(-1, *[1] * (y.ndim - 1)) * (vector.T @ y))

    return fit
