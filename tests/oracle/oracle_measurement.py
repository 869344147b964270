"""Measurements as explicit matrices, entry by entry in numpy."""

import itertools
import math

import numpy as np


def rows(shape, measure):
    """The matrix of a linear function of lattice values, a unit vector at a time."""
    n = math.prod(shape)
    return np.stack([np.ravel(measure(unit.reshape(shape))) for unit in np.eye(n)], axis=1)


def fourier(mask):
    """Real, then imaginary parts of the kept e^{−2πik·x}/√N."""
    shape = mask.shape
    x = np.stack(np.meshgrid(*(np.arange(n) / n for n in shape), indexing="ij"), axis=-1).reshape(-1, len(shape))
    k = np.argwhere(mask)
    phase = 2 * np.pi * k @ x.T
    return np.concatenate([np.cos(phase), -np.sin(phase)]) / math.prod(shape) ** 0.5


def spectral(shape, symbol):
    """Multiply the full complex transform by symbol(k_1, …), signed frequencies."""
    k = np.meshgrid(*(np.fft.fftfreq(n, 1 / n) for n in shape), indexing="ij")
    return rows(shape, lambda f: np.fft.ifftn(symbol(*k) * np.fft.fftn(f)).real)


def blur_decimate(shape, factor, taps):
    """Windows one by one."""
    starts = [range(0, n - len(taps) + 1, factor) for n in shape]
    window = np.ones(())
    for _ in shape:
        window = np.multiply.outer(window, taps)

    def measure(f):
        return [
            np.sum(window * f[tuple(slice(i, i + len(taps)) for i in corner)]) for corner in itertools.product(*starts)
        ]

    return rows(shape, measure)


def gradient(shape):
    """Central differences inside."""
    inside = tuple(slice(1, -1) for _ in shape)

    def measure(f):
        return np.concatenate([np.gradient(f, 1 / n, axis=a)[inside].ravel() for a, n in enumerate(shape)])

    return rows(shape, measure)


def mixed(shape):
    """∂²/∂x∂y by central differences of central differences."""

    def measure(f):
        return np.gradient(np.gradient(f, 1 / shape[0], axis=0), 1 / shape[1], axis=1)[1:-1, 1:-1]

    return rows(shape, measure)


def laplacian(shape):
    """Second differences inside."""

    def measure(f):
        total = 0
        for axis, n in enumerate(shape):
            second = (np.roll(f, -1, axis) - 2 * f + np.roll(f, 1, axis)) * n**2
            total = total + second[tuple(slice(1, -1) for _ in shape)]
        return total

    return rows(shape, measure)


def rays(shape, points, weights):
    """Multilinear interpolation by np.interp along one axis after the other."""

    def at(f, x):
        for coordinate in x:
            axis = np.arange(f.shape[0]) / f.shape[0]
            f = np.apply_along_axis(lambda column: np.interp(coordinate, axis, column), 0, f)  # noqa: B023
        return f

    return rows(
        shape,
        lambda f: [sum(w * at(f, x) for x, w in zip(*ray, strict=True)) for ray in zip(points, weights, strict=True)],
    )


def parallel_beam(shape, angles, num_detectors):
    """Joseph's sums ray by ray, from the line's own equation (x − c)·(cos θ, sin θ) = s."""
    centre = [(n - 1) / 2 / n for n in shape]

    def at(line, position):
        low = math.floor(position)
        return sum(
            (1 - abs(position - i)) * line[i] for i in (low, low + 1) if 0 <= i < len(line) and abs(position - i) < 1
        )

    def one(f, theta, s):
        c, t = math.cos(theta), math.sin(theta)
        if abs(t) * shape[0] >= abs(c) * shape[1]:
            column = [(s - (i / shape[0] - centre[0]) * c) / t + centre[1] for i in range(shape[0])]
            return sum(at(f[i], column[i] * shape[1]) for i in range(shape[0])) / (shape[0] * abs(t))
        row = [(s - (j / shape[1] - centre[1]) * t) / c + centre[0] for j in range(shape[1])]
        return sum(at(f[:, j], row[j] * shape[0]) for j in range(shape[1])) / (shape[1] * abs(c))

    offsets = (np.arange(num_detectors) - (num_detectors - 1) / 2) / max(shape)
    return rows(shape, lambda f: [one(f, theta, s) for theta in angles for s in offsets])
