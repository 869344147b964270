"""Train the network whose kernel was computed, several seeds at once, and record its trajectory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from numpy.typing import ArrayLike

from ntkspec.checks import check_labels, check_points, check_positive, check_sizes, check_steps
from ntkspec.grid import Grid, energy_by_frequency, place
from ntkspec.kernel.composed import ComposedKernel
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.record import attributes
from ntkspec.trainer.ensemble import advance, initialise, outputs

__all__ = ["train"]

#: Steps in one call of the compiled loop, so that a progress bar moves.
STRETCH = 25


def train(
    k: ComposedKernel,
    x: ArrayLike,
    y: ArrayLike,
    *,
    steps: Sequence[int],
    learning_rate: float,
    loss: str = "sum",
    seeds: int = 4,
    seed: int = 0,
    centered: bool = True,
    field_shape: tuple[int, ...] | None = None,
    dtype: str = "float32",
    progress: Progress = NO_PROGRESS,
) -> xr.Dataset:
    """Full-batch gradient descent of `seeds` finite networks side by side.

    Centred, the trained function is f(θ_t) − f(θ_0), which starts at zero exactly where a prediction without
    `initial` starts, and has the kernel of f; otherwise it is f(θ_t), and a prediction needs its step 0 as `initial`.

    Args:
        k: mapping and network; the network needs a width.
        x: training points, shape (n, d).
        y: labels, shape (n,) or (n, channels).
        steps: increasing whole numbers of steps after which to record.
        learning_rate: η of the loss.
        loss: "sum", ½ Σ_i |f_i − y_i|², or "mean", that over n points.
        seeds: number of networks.
        seed: of the first network's initialisation; the others are folded in by number.
        centered: train f − f_0.
        field_shape: also record the function on the lattice i/field_shape, as a prediction's `field`.
        dtype: precision of parameters and arithmetic, "float32" or "float64".
        progress: reporter.

    Returns:
        Dataset named as a prediction's: `train` (seed, step, point[, channel]), `loss` (seed, step), `target`; on
        lattice points `residual_energy` (seed, step, frequency) and `target_energy` (frequency); with `field_shape`
        the `field` (seed, step, axis0, …[, channel]).

    Raises:
        ValueError: on labels, points, steps, seeds or a learning rate of the wrong kind, or a network without a width.
        FloatingPointError: if a loss stops being finite; the message names the step.

    Example:
        >>> import ntkspec as ns, numpy as np
        >>> k = ns.kernel.compose(ns.mapping.basic(dim=1), ns.kernel.MLP(depth=1, width=64))
        >>> x = np.arange(8)[:, None] / 8
        >>> r = ns.trainer.train(k, x, np.sin(2 * np.pi * x[:, 0]), steps=[0, 50], learning_rate=0.1, seeds=2)
        >>> dict(r.sizes)["seed"], bool((r.loss.sel(step=50) < r.loss.sel(step=0)).all())
        (2, True)
    """
    points = check_points(x, k.dim)
    labels = check_labels(y, points.shape[0])
    recorded = _whole_steps(steps)
    check_sizes(seeds=seeds)
    check_positive("learning_rate", learning_rate, "below ns.dynamics.max_learning_rate")
    if loss not in ("sum", "mean"):
        raise ValueError(f"loss={loss!r}; expected 'sum' or 'mean'")
    if dtype not in ("float32", "float64"):
        raise ValueError(f"dtype={dtype!r}; expected 'float32' or 'float64'")
    if field_shape is not None and (len(field_shape) != k.dim or min(field_shape) < 1):
        raise ValueError(f"field_shape={field_shape}; expected {k.dim} positive sizes, one a coordinate")
    rate = learning_rate if loss == "sum" else learning_rate / len(points)
    lattice = None if field_shape is None else Grid.unit(tuple(field_shape))
    # On a GPU the default product of float32 is coarser than float32.
    with jax.default_matmul_precision("highest"):
        run = _Run(k, points, labels, rate, seeds, seed, centered, lattice, dtype)
        values, fields = run.record(recorded, progress)
    return _dataset(k, points, labels, recorded, values, fields, lattice, loss, learning_rate, centered, seed, dtype)


class _Run:
    """The arrays of one training run."""

    def __init__(
        self,
        k: ComposedKernel,
        points: Array,
        labels: Array,
        rate: float,
        seeds: int,
        seed: int,
        centered: bool,
        lattice: Grid | None,
        dtype: str,
    ) -> None:
        self.network = k.network
        self.features = k.mapping(points).astype(dtype)
        self.labels = labels.reshape(len(points), -1).astype(dtype)
        self.target = np.asarray(self.labels, dtype=np.float64)
        self.rate = jnp.asarray(rate, dtype=dtype)
        self.params = initialise(k.network, seed, seeds, self.features.shape[1], self.labels.shape[1], dtype)
        self.field_features = None if lattice is None else k.mapping(lattice.points()).astype(dtype)
        start = outputs(self.network, self.params, self.features)
        self.start = start if centered else jnp.zeros_like(start)
        self.field_start: np.ndarray | float = 0.0
        if self.field_features is not None and centered:
            self.field_start = np.asarray(outputs(self.network, self.params, self.field_features))

    def record(self, steps: np.ndarray, progress: Progress) -> tuple[np.ndarray, np.ndarray | None]:
        """Outputs (seed, step, point, channel) at the asked steps, and on the field's lattice."""
        values, fields = [], []
        half_sum = math.nan
        with progress.start("training", int(steps[-1]), "steps") as stage:
            done = 0
            for step in steps:
                for count in _stretches(int(step) - done):
                    self._advance(count)
                    stage.advance(count, loss=half_sum)
                done = int(step)
                now = np.asarray(outputs(self.network, self.params, self.features) - self.start)
                # In float64, where the square of a diverging float32 does not overflow before it is seen.
                half_sum = float(np.mean(np.sum((now - self.target) ** 2, axis=(1, 2))) / 2)
                if not math.isfinite(half_sum):
                    raise FloatingPointError(
                        f"training diverged by step {step}; take a learning rate below the stability limit, "
                        "ns.dynamics.max_learning_rate(K, loss=...)"
                    )
                values.append(now)
                if self.field_features is not None:
                    fields.append(
                        np.asarray(outputs(self.network, self.params, self.field_features)) - self.field_start
                    )
        return np.stack(values, axis=1), np.stack(fields, axis=1) if fields else None

    def _advance(self, count: int) -> None:
        self.params = advance(
            self.network, self.params, self.start, self.features, self.labels, self.rate, jnp.asarray(count)
        )
        jax.block_until_ready(self.params)


def _stretches(total: int) -> Iterator[int]:
    while total > 0:
        yield min(total, STRETCH)
        total -= STRETCH


def _whole_steps(steps: Sequence[int]) -> np.ndarray:
    recorded = check_steps(steps)
    if (recorded != np.rint(recorded)).any():
        raise ValueError(f"steps={recorded.tolist()}; expected whole numbers: a network takes no half steps")
    return recorded.astype(np.int64)


def _dataset(
    k: ComposedKernel,
    points: Array,
    labels: Array,
    steps: np.ndarray,
    values: np.ndarray,
    fields: np.ndarray | None,
    lattice: Grid | None,
    loss: str,
    learning_rate: float,
    centered: bool,
    seed: int,
    dtype: str,
) -> xr.Dataset:
    target = np.asarray(labels)
    residual = target.reshape(1, 1, len(points), -1) - values.astype(np.float64)
    half_sum = np.sum(residual**2, axis=(2, 3)) / 2
    channel = () if labels.ndim == 1 else ("channel",)
    squeeze = (lambda a: a[..., 0]) if labels.ndim == 1 else (lambda a: a)
    variables: dict = {
        "train": (
            ("seed", "step", "point", *channel),
            squeeze(values.astype(np.float64)),
            _label("learned function at the training points"),
        ),
        "target": (("point", *channel), target, _label("signal")),
        "loss": (
            ("seed", "step"),
            half_sum if loss == "sum" else half_sum / len(points),
            _label(f"loss (half the {loss} of squares)"),
        ),
    }
    coords: dict = {
        "step": ("step", steps, {"long_name": "training step", "units": "steps"}),
        "seed": ("seed", np.arange(len(values))),
        "x": (("point", "axis"), np.asarray(points), {"long_name": "coordinate", "units": "unit"}),
    }
    placement = place(np.asarray(points))
    if placement is not None:
        energy, frequency = energy_by_frequency(np.moveaxis(residual, 2, 3), placement)
        labels_energy, _ = energy_by_frequency(target.reshape(len(points), -1).T, placement)
        variables["residual_energy"] = (
            ("seed", "step", "frequency"),
            energy.sum(axis=2),
            _label("energy of the residual"),
        )
        variables["target_energy"] = ("frequency", labels_energy.sum(axis=0), _label("energy of the labels"))
        coords["frequency"] = ("frequency", frequency, {"long_name": "frequency", "units": "cycles per unit"})
    if fields is not None and lattice is not None:
        axes = tuple(f"axis{i}" for i in range(lattice.dim))
        variables["field"] = (
            ("seed", "step", *axes, *channel),
            squeeze(fields.reshape(*fields.shape[:2], *lattice.shape, -1)).astype(np.float64),
            _label("learned function on the lattice"),
        )
        for name, positions in zip(axes, lattice.axes(), strict=True):
            coords[name] = (name, positions, {"long_name": "coordinate", "units": "unit"})
    attrs = {
        **attributes(kernel=k),
        "learning_rate": learning_rate,
        "loss": loss,
        "width": k.network.width,
        "dtype": dtype,
        "first_seed": seed,
        "starts_from_zero": int(centered),
    }
    return xr.Dataset(variables, coords=coords, attrs=attrs)


def _label(long_name: str) -> dict[str, str]:
    return {"long_name": long_name, "units": ""}
