"""Predicted learning curves against kernel regression on random subsets: targets, mappings, activations, noise, ridge.

Two predictions: the closed form of many modes (`learning_curve`), and that from draws of points without labels
(method `Draws`). Measured: the mean square error at the other points, a mean over draws of points and noise,
until its standard error is below `WANTED` or the draws of an n are used up; where errors have a long tail, as for
smooth targets in one dimension, what is left of it is part of the largest difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg

from benchmarks.measure import Record, Spread, show

SIDE = 32
POINTS = SIDE * SIDE
#: Training points, and draws at most.
COUNTS = {16: 2000, 32: 2000, 64: 2000, 128: 1500, 256: 1200, 512: 900}
#: Draws of the prediction in one batch, and batches at most.
DRAWS = {16: 500, 32: 300, 64: 150, 128: 60, 256: 48, 512: 24}
BATCHES = 8
#: Relative standard errors at which measurement and prediction stop to draw.
WANTED, PREDICTED = 0.015, 0.025


@dataclass(frozen=True)
class Case:
    """Regression with a kernel on 1,024 points.

    Attributes:
        ridge: in units of k(0).
        noise: standard deviation, for targets of variance 1.
        rough: whether the kernel's modes are many, which is what the closed form asks for.
    """

    name: str
    dim: int
    kind: str
    scale: float
    activation: str
    ridge: float = 1e-2
    noise: float = 0.0
    rough: bool = False

    def build(self) -> Any:
        """Return the lattice operator, of whole frequencies."""
        import ntkspec as ns

        if self.kind == "power law":
            mapping = ns.mapping.power_law(num_frequencies=64, p=self.scale)
        elif self.kind == "positional":
            mapping = ns.mapping.positional(dim=self.dim, num_frequencies=8, log2_max=self.scale)
        else:
            drawn = ns.mapping.gaussian(dim=self.dim, num_frequencies=128, scale=self.scale, seed=0)
            mapping = ns.mapping.from_frequencies(np.rint(drawn.frequencies), drawn.amplitudes)
        k = ns.kernel.compose(mapping, ns.kernel.MLP(depth=3, activation=self.activation))
        return ns.operator.lattice(k, (POINTS,) if self.dim == 1 else (SIDE, SIDE))


CASES = (
    Case("1-D power law p = 1, relu", 1, "power law", 1.0, "relu"),
    Case("1-D gaussian σ = 10, erf, noise", 1, "gaussian", 10.0, "erf", 5e-2, 0.1),
    Case("1-D gaussian σ = 40, relu", 1, "gaussian", 40.0, "relu"),
    Case("2-D positional, relu, noise", 2, "positional", 3.0, "relu", 5e-2, 0.1),
    Case("2-D gaussian σ = 2, gelu, noise", 2, "gaussian", 2.0, "gelu", 5e-2, 0.1),
    Case("2-D gaussian σ = 4, erf", 2, "gaussian", 4.0, "erf"),
    Case("2-D gaussian σ = 6, relu", 2, "gaussian", 6.0, "relu", rough=True),
    Case("2-D gaussian σ = 6, gelu, noise", 2, "gaussian", 6.0, "gelu", 5e-2, 0.1, rough=True),
)


def targets(dim: int) -> dict[str, np.ndarray]:
    """Four targets of mean 0 and variance 1 on the points."""
    from skimage.data import camera

    rng, side = np.random.default_rng(5), SIDE if dim == 2 else POINTS
    x = np.arange(side) / side
    image = camera().astype(float)
    axes = [np.fft.fftfreq(side, 1 / side)] * dim
    radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij")))
    falling = np.fft.fftn(rng.standard_normal(radius.shape)) / np.where(radius > 0, radius, np.inf)
    # A row of pixels and its mirror image, as the lattice closes upon itself.
    photo = image[::16, ::16] if dim == 2 else np.concatenate([image[100], image[100, ::-1]])
    first, last = np.meshgrid(x, x, indexing="ij") if dim == 2 else (x, x)
    found = {
        "smooth": np.exp(np.cos(2 * np.pi * first)) * np.sin(4 * np.pi * last),
        "photo": photo,
        "1/f": np.fft.ifftn(falling).real,
        "step": np.sign(first + last - 1 + 1e-9),
    }
    return {name: ((y - y.mean()) / y.std()).ravel() for name, y in found.items()}


def measured(gram: np.ndarray, y: np.ndarray, n: int, ridge: float, noise: float, seed: int) -> tuple[Any, Any]:
    """Return the mean square error of each target (c,) at other points, and its relative standard error."""
    rng = np.random.default_rng(seed)
    squares: list[np.ndarray] = []
    while True:
        for _ in range(max(10, COUNTS[n] // 20)):
            kept = rng.choice(POINTS, n, replace=False)
            left = np.ones(POINTS, dtype=bool)
            left[kept] = False
            matrix = gram[np.ix_(kept, kept)]
            matrix[np.diag_indices(n)] += ridge
            labels = y[kept] + noise * rng.standard_normal((n, y.shape[1]))
            weights = scipy.linalg.cho_solve(scipy.linalg.cho_factor(matrix, overwrite_a=True), labels)
            squares.append(np.mean((y[left] - gram[np.ix_(left, kept)] @ weights) ** 2, axis=0))
        mean = np.mean(squares, axis=0)
        error = np.std(squares, axis=0, ddof=1) / np.sqrt(len(squares)) / mean
        if len(squares) >= COUNTS[n] or error.max() <= WANTED:
            return mean, error


@dataclass(frozen=True)
class Compared:
    """Relative errors (n, target) of both predictions of one kernel, and the noise of what they are held against."""

    closed: np.ndarray
    sampled: np.ndarray
    noise: np.ndarray
    own_noise: np.ndarray


def compare(case: Case) -> Compared:
    """Both predictions against measurement."""
    import ntkspec as ns

    K = case.build()
    gram = np.asarray(K.to_dense())
    ridge, noise = case.ridge * gram[0, 0], case.noise
    found = targets(case.dim)
    y, counts = np.stack(list(found.values()), axis=1), list(COUNTS)
    options = {"num_points": counts, "ridge": ridge, "noise": noise}
    closed = [ns.generalisation.learning_curve(K, f, **options).test_error for f in y.T]
    sampled, own = zip(*(predicted(K, y, n, ridge, noise) for n in counts), strict=True)
    means, errors = zip(*(measured(gram, y, n, ridge, noise, seed=n) for n in counts), strict=True)
    mean = np.stack(means)
    return Compared(
        np.abs(np.stack(closed, axis=1) / mean - 1),
        np.abs(np.stack(sampled) / mean - 1),
        np.stack(errors),
        np.stack(own),
    )


def predicted(K: Any, y: np.ndarray, n: int, ridge: float, noise: float) -> tuple[Any, Any]:
    """Return the same from draws without labels, in batches until its own standard error is small."""
    import ntkspec as ns

    batches = []
    while True:
        draws = ns.generalisation.Draws(DRAWS[n], seed=1000 + len(batches))
        found = ns.generalisation.learning_curve(K, y, num_points=[n], ridge=ridge, noise=noise, method=draws)
        found = found.isel(num_points=0)
        batches.append((found.channel_error.values, found.channel_standard_error.values))
        mean = np.mean([value for value, _ in batches], axis=0)
        error = np.sqrt(np.sum([scatter**2 for _, scatter in batches], axis=0)) / len(batches) / mean
        if len(batches) == BATCHES or error.max() <= PREDICTED:
            return mean, error


def record(claim: str, values: np.ndarray, most: float | None, **detail: float | str) -> Record:
    """Of relative errors, in percent."""
    return Record(claim, Spread.of(list(100 * values.ravel())), "%", at_most=most, detail=detail)


def main() -> list[Record]:
    """Measure and print."""
    results = {case.name: compare(case) for case in CASES}
    rough = {case.name for case in CASES if case.rough}

    def gather(what: str, names: set[str] | None = None) -> np.ndarray:
        return np.stack([getattr(r, what) for name, r in results.items() if names is None or name in names])

    noise = {
        "noise of the measured means: median (%)": float(100 * np.median(gather("noise"))),
        "largest (%)": float(100 * gather("noise").max()),
    }
    own = {"its own standard error: median (%)": float(100 * np.median(gather("own_noise")))}
    largest = np.array([gather("sampled").max()])
    each = {name: float(100 * np.median(gather("closed", {name}))) for name in results}
    return show(
        [
            record("learning curve from draws without labels: error", gather("sampled"), 2.7, **noise, **own),
            record("learning curve from draws without labels: largest error", largest, 8.6),
            record("learning curve in closed form, rough kernels: error", gather("closed", rough), 2.7),
            record("learning curve in closed form, rough kernels: largest error", gather("closed", rough).max(), 8.6),
            record("learning curve in closed form, all kernels: error", gather("closed"), None, **each),
        ]
    )


if __name__ == "__main__":
    main()
