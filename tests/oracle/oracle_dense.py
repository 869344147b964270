"""Brute force in numpy: explicit matrices, explicit loops, explicit backpropagation."""

import numpy as np


def lattice_points(shape):
    """Points i/shape of [0, 1)^d, last axis fastest."""
    axes = [np.arange(n) / n for n in shape]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(shape))


def descend(K, y, rate, steps):
    """f at the asked steps of f ← f + η K (y − f) from f = 0, step by step; shape (t, *y.shape)."""
    f, path = np.zeros_like(y, dtype=float), []
    for step in range(int(max(steps)) + 1):
        if step in steps:
            path.append(f.copy())
        f = f + rate * K @ (y - f)
    return np.stack(path)


def filtered(K, y, function):
    """function(K) y by eigendecomposition."""
    value, vector = np.linalg.eigh(K)
    return vector @ (function(np.maximum(value, 0))[:, None] * (vector.T @ y.reshape(len(y), -1))).reshape(y.shape)


def energy_at(values, points, frequency, size):
    """|Σ_j v_j e^{−2πi k·x_j}|²/N for one frequency vector, by the sum itself."""
    return abs(np.sum(values * np.exp(-2j * np.pi * points @ np.atleast_1d(frequency)))) ** 2 / size


def train(params, features, y, rate, steps, gain=None, shift=None):
    """Gradient descent on ½ Σ (f − f_0 − y)² of a ReLU network; f − f_0 at the steps, shape (t, n, c).

    `gain` (one number a layer) and `shift` turn parameters into weights and biases in the ntk parametrization; None
    takes them as they are.
    """
    weights = [np.array(layer["w"], dtype=np.float64) for layer in params]
    biases = [np.array(layer["b"], dtype=np.float64) for layer in params]
    gains = [1.0] * len(weights) if gain is None else gain
    shift = 1.0 if shift is None else shift

    def forward():
        inputs, hidden = [], features
        for layer, (w, b) in enumerate(zip(weights, biases, strict=True)):
            hidden = np.maximum(hidden, 0) if layer else hidden
            inputs.append(hidden)
            hidden = gains[layer] * hidden @ w + shift * b
        return inputs, hidden

    start, path = forward()[1], []
    for step in range(int(max(steps)) + 1):
        inputs, output = forward()
        if step in steps:
            path.append(output - start)
        upstream = output - start - y
        for layer in reversed(range(len(weights))):
            down = gains[layer] * upstream @ weights[layer].T
            weights[layer] -= rate * gains[layer] * inputs[layer].T @ upstream
            biases[layer] -= rate * shift * upstream.sum(axis=0)
            upstream = down * (inputs[layer] > 0)
    return np.stack(path)
