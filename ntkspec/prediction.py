"""Operator, filter and labels make a training trajectory, with its error estimate, and no training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from numpy.typing import ArrayLike

from ntkspec.checks import check_labels, check_numbers
from ntkspec.dynamics import Dynamics, Loss, Times
from ntkspec.eigen._trajectory import ConvergenceWarning, Trajectory, trajectory, warn_unless_converged
from ntkspec.limits import refuse_if_too_large
from ntkspec.operator import Operator
from ntkspec.operator._base import check_operator, require_field
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.record import variable

__all__ = ["ConvergenceWarning", "axis_names", "predict"]


def predict(  # noqa: PLR0913  # a door: options are named in one call
    K: Operator,
    y: ArrayLike,
    *,
    steps: Sequence[float],
    learning_rate: float,
    loss: Loss = "sum",
    dynamics: Dynamics | None = None,
    everywhere: bool = False,
    unseen: ArrayLike | None = None,
    initial: ArrayLike | None = None,
    initial_unseen: ArrayLike | None = None,
    tolerance: float = 1e-6,
    max_products: int = 1024,
    max_basis_bytes: float | None = None,
    progress: Progress = NO_PROGRESS,
) -> xr.Dataset:
    """Return the trajectory of an infinitely wide network: f_t = f_0 + (1 − r(K, t))(y − f_0).

    Away from the training points f_t(x) = f_0(x) + k(x, X) K⁻¹ (1 − r(K, t))(y − f_0). All steps come from one
    Lanczos basis (or, on a circulant lattice, exactly from one FFT).

    Args:
        K: a kernel operator on n points.
        y: labels, shape (n,) or (n, channels).
        steps: training steps to report, increasing.
        learning_rate: η of the loss.
        loss: "sum", ½ Σ_i |f_i − y_i|², or "mean", that over n points.
        dynamics: `ntkspec.dynamics.gradient_descent()` where None.
        everywhere: also give the learned function on the whole lattice (lattice operators, and measurements of one).
        unseen: also give the learned function at these points, shape (m, d), on any lattice or none (every operator
            that knows its kernel, measurements of one too). Costs one entry of the kernel for each pair of points.
        initial: f_0 at the points, shaped as `y`; on a lattice also as (*shape) or (*shape, channels): that is what
            `everywhere` needs. None starts from zero, as a network trained as f − f_0 does.
        initial_unseen: f_0 at the unseen points, shape (m,) or (m, channels), which `unseen` needs beside `initial`.
        tolerance: on the error bound relative to ‖y − f_0‖.
        max_products: Lanczos steps at most; a result short of the tolerance says so and warns.
        max_basis_bytes: of Lanczos vectors to keep. What exceeds it is computed a second time, in up to twice the time
            (attribute `passes`). None is half of the memory that is free.
        progress: reporter.

    Returns:
        Dataset with `train` (step, point[, channel]), `target`, `loss` (step) in the asked loss, `error_bound` (step),
        a bound on ‖error of train‖/‖y − f_0‖ for the operator as it is, and `converged` (step). An operator that is an
        approximation K̃ adds `operator_error_bound` (step): ηt‖K − K̃‖, which bounds ‖r(K, t) − r(K̃, t)‖ for gradient
        flow, and for gradient descent within its limit; see `Dynamics.sensitivity` for the others. With `everywhere`,
        `field` (step, axis0, … [, channel]) and `field_error_bound` (step), root-sum-square over the lattice. With
        `unseen`, `unseen` (step, asked[, channel]) and `unseen_error_bound` (step), root-sum-square over those points
        and for the operator as it is; `unseen_x` (asked, axis) holds them. `x` (point, axis) holds the training points.

    Warns:
        ConvergenceWarning: if an error bound is above the tolerance.

    Raises:
        ValueError: if labels, steps, points or the initial function have the wrong shape, the operator
            does not know other points, or the learning rate is past the stability limit (the message gives it).

    Source: Lee et al. 2019, equations 8 to 11; Tancik et al. 2020, equation 4.

    Example:
        >>> import ntkspec as ns, numpy as np
        >>> k = ns.kernel.compose(ns.mapping.gaussian(1, 64, scale=4.0), ns.kernel.MLP(depth=3))
        >>> K = ns.operator.lattice(k, shape=(64,), mask=np.arange(64) % 2 == 0)
        >>> y = np.sin(2 * np.pi * 3 * K.points[:, 0])
        >>> rate = ns.dynamics.max_learning_rate(K) / 2
        >>> p = ns.predict(K, y, steps=[0, 10, 1000], learning_rate=rate, everywhere=True)
        >>> dict(p.sizes)["point"], dict(p.sizes)["axis0"], bool(p.loss[2] < p.loss[1] < p.loss[0])
        (32, 64, True)
        >>> between = ns.predict(K, y, steps=[1000], learning_rate=rate, unseen=[[1 / 12]])
        >>> bool(abs(between.unseen.item() - 1) < 0.1)
        True
    """
    check_operator(K)
    labels = check_labels(y, K.num_points)
    times = Times.of(K.num_points, steps, learning_rate, loss, dynamics)
    if everywhere:
        require_field(K)
    start, start_field = _initial(K, labels, initial, everywhere)
    initials, num_steps = (initial, initial_unseen), len(times.steps)
    elsewhere = None if unseen is None else _Unseen.of(K, labels, unseen, initials, num_steps)
    norms = ([K.field_norm()] if everywhere else []) + ([elsewhere.norm] if elsewhere else [])
    path = trajectory(
        K,
        jnp.atleast_2d((labels - start).T),
        times,
        tolerance=tolerance,
        max_products=max_products,
        field_norm=max(norms, default=0.0),
        max_basis_bytes=max_basis_bytes,
        progress=progress,
    )
    warn_unless_converged(path.field_error_bound if norms else path.error_bound, tolerance)
    train = start + _as_labels(path.learned, labels)
    variables = _variables(K, labels, train, path, loss, tolerance)
    if K.approximation_error:
        bound = times.sensitivity(path.largest_eigenvalue) * K.approximation_error
        what = "bound on what the operator's own error adds to `train`, relative to the labels"
        variables["operator_error_bound"] = variable("step", bound, what)
    if everywhere:
        variables |= _field(K, labels, path, start_field, progress)
    if elsewhere is not None:
        variables |= elsewhere.variables(K, labels, path, progress)
    return xr.Dataset(
        variables,
        coords=times.coordinates(K.points, unseen) | (_axis_coordinates(K) if everywhere else {}),
        attrs={
            **times.attributes(operator=K, dynamics=times.dynamics),
            "tolerance": tolerance,
            "num_products": path.num_products,
            "passes": path.passes,
            "largest_eigenvalue": path.largest_eigenvalue,
            "starts_from_zero": int(initial is None),
        },
    )


def axis_names(dim: int) -> tuple[str, ...]:
    """Names of the lattice dimensions of a field: axis0, axis1 and so on."""
    return tuple(f"axis{i}" for i in range(dim))


def _as_labels(values: Array, labels: Array) -> Array:
    """(t, channel, point) as (t, point) or (t, point, channel), as the labels are."""
    return values[:, 0] if labels.ndim == 1 else jnp.swapaxes(values, 1, 2)


def _initial(K: Operator, labels: Array, initial: ArrayLike | None, everywhere: bool) -> tuple[Array, Array | None]:
    """f_0 at the points and, where given, on the lattice."""
    if initial is None:
        return jnp.zeros_like(labels), None
    two = "give real and imaginary parts as two channels, like the labels"
    f0 = check_numbers("`initial` values", initial, f"shape {labels.shape}, like the labels", two)
    if K.field_shape is not None and f0.shape == (*K.field_shape, *labels.shape[1:]):
        return K.restrict(f0), f0
    if f0.shape != labels.shape:
        raise ValueError(f"`initial` has shape {f0.shape}; expected that of the labels, {labels.shape}")
    if everywhere:
        expected = (*_lattice_of(K), *labels.shape[1:])
        raise ValueError(f"everywhere=True needs `initial` on the whole lattice, {expected}; it has shape {f0.shape}")
    return f0, None


def _variables(
    K: Operator, labels: Array, train: Array, path: Trajectory, loss: Loss, tolerance: float
) -> dict[str, tuple]:
    dims = ("step", "point", "channel")[: 1 + labels.ndim]
    residual = jnp.sum((labels - train).reshape(len(train), -1) ** 2, axis=1) / 2
    value = residual if loss == "sum" else residual / K.num_points
    return {
        "train": variable(dims, np.asarray(train), "learned function at the training points"),
        "target": variable(dims[1:], np.asarray(labels), "signal"),
        "loss": variable("step", np.asarray(value), f"loss (half the {loss} of squares)"),
        "error_bound": variable("step", path.error_bound, "bound on the error relative to the labels"),
        "converged": variable("step", path.error_bound <= tolerance, "error bound within the tolerance"),
    }


def _lattice_of(K: Operator) -> tuple[int, ...]:
    """Return the lattice of the field; `predict` has refused an operator without one."""
    return K.field_shape or ()


def _field(K: Operator, labels: Array, path: Trajectory, start: Array | None, progress: Progress) -> dict[str, tuple]:
    shape, num_steps = _lattice_of(K), len(path.weights)
    dims = ("step", *axis_names(len(shape)), *("channel",)[: labels.ndim - 1])
    values = np.empty((num_steps, *shape, *labels.shape[1:]))
    with progress.start("field", num_steps, "steps") as stage:
        for i in range(num_steps):
            values[i] = K.field(_as_labels(path.weights[i : i + 1], labels)[0]) + (0 if start is None else start)
            stage.advance()
    bound = variable("step", path.field_error_bound, "bound on the field's error relative to the labels")
    return {"field": variable(dims, values, "learned function on the lattice"), "field_error_bound": bound}


@dataclass(frozen=True)
class _Unseen:
    """Points other than the lattice's, with f_0 there and a bound on the kernel's norm on them."""

    points: np.ndarray
    start: np.ndarray | None
    norm: float

    @classmethod
    def of(
        cls, K: Operator, labels: Array, unseen: ArrayLike, initials: tuple[ArrayLike | None, ...], num_steps: int
    ) -> _Unseen:
        """Check points, and f_0 at the training points and at them, before any work."""
        points = np.asarray(unseen, dtype=float)
        norm = K.norm_at(points)
        shape = (len(points), *labels.shape[1:])
        start = None if initials[1] is None else np.asarray(initials[1], dtype=float)
        if (initials[0] is None) != (start is None) or (start is not None and start.shape != shape):
            got = ["None" if each is None else f"of shape {np.shape(each)}" for each in initials]
            what = f"with `unseen`, give both `initial` and `initial_unseen` (shape {shape}) or neither"
            raise ValueError(f"{what}; got initial {got[0]}, initial_unseen {got[1]}")
        num_bytes = 8 * num_steps * (3 * math.prod(shape) + 2 * labels.size)
        what = f"{num_steps} steps of {len(points):,} unseen points"
        refuse_if_too_large(num_bytes, what, "ask for fewer points or steps")
        return cls(points, start, norm)

    def variables(self, K: Operator, labels: Array, path: Trajectory, progress: Progress) -> dict[str, tuple]:
        """Return the function there, all steps and channels from the same entries of the kernel."""
        num_steps, channels, n = path.weights.shape
        values = np.asarray(K.at(self.points, path.weights.reshape(-1, n).T, progress=progress))
        values = np.moveaxis(values.reshape(-1, num_steps, channels), 0, 1)
        values = values.reshape(num_steps, len(self.points), *labels.shape[1:])
        values = values if self.start is None else self.start + values
        dims = ("step", "asked", "channel")[: 1 + labels.ndim]
        bound = "bound on the error at unseen points relative to the labels"
        return {
            "unseen": variable(dims, values, "learned function at unseen points"),
            "unseen_error_bound": variable("step", path.field_error_bound, bound),
        }


def _axis_coordinates(K: Operator) -> dict[str, tuple]:
    full = _lattice_of(K)
    names = axis_names(len(full))
    return {name: variable(name, np.arange(n) / n, "coordinate", "unit") for name, n in zip(names, full, strict=True)}
