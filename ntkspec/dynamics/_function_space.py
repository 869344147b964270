"""Any convex loss: gradient flow in function space, ḟ = −ηK ∇L(f), as a differential equation.

Training follows the weights of the kernel expansion along with it, ẇ = −η∇L(f), so that f = f_0 + Kw holds at the
points and anywhere else, at one operator product for both. For a convex loss two solutions approach each other in the
norm ‖w‖_K, so that local errors add up and do not grow.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from numpy.typing import ArrayLike

from ntkspec.checks import as_columns, check_positive
from ntkspec.dynamics._base import Loss
from ntkspec.dynamics._descent import GradientFlow
from ntkspec.dynamics._times import Times
from ntkspec.extras import needs
from ntkspec.limits import refuse_if_too_large
from ntkspec.losses import Huber, PointLoss, logistic
from ntkspec.operator import Operator
from ntkspec.operator._base import require_field
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.record import configuration, variable

__all__ = ["Solver", "function_space_flow", "huber"]


#: Products in a step of Dormand and Prince's methods, by order. The one of order 8 is the answer; its distance from a
#: run of order 5 at a looser tolerance estimates the error of that one.
STAGES = {8: 14, 5: 7}
LOOSER = 10.0


class TooStiff(RuntimeError):
    """The operator products that are allowed do not reach the last step."""


@dataclass(frozen=True)
class Solver:
    """How closely a flow is followed.

    Attributes:
        tolerance: error allowed in a step, relative to the function's size.
        max_products: operator products of one run, at most.
    """

    tolerance: float = 1e-6
    max_products: int = 20_000

    def __post_init__(self) -> None:
        check_positive("tolerance", self.tolerance, "such as 1e-6")


#: The default.
SOLVER = Solver()


def huber(threshold: float) -> Huber:
    """Return the Huber loss, half the square of small residuals and linear in large ones.

    Args:
        threshold: d > 0, in the labels' unit.

    Raises:
        ValueError: if d is not positive.

    Source: Huber 1964, "Robust estimation of a location parameter".

    Example:
        >>> huber(1.0)(jnp.array([0.5, 3.0]), jnp.zeros(2)).tolist()
        [0.125, 2.5]
    """
    check_positive("threshold", threshold, "in the labels' unit")
    return Huber(float(threshold))


def function_space_flow(
    K: Operator,
    y: ArrayLike,
    *,
    point_loss: PointLoss,
    steps: Sequence[float],
    learning_rate: float,
    loss: Loss = "sum",
    everywhere: bool = False,
    unseen: ArrayLike | None = None,
    solver: Solver = SOLVER,
    progress: Progress = NO_PROGRESS,
) -> xr.Dataset:
    """Return the trajectory of an infinitely wide network under any convex loss: ḟ = −ηK ∇L(f) from f = 0.

    Args:
        K: a kernel operator on n points.
        y: labels, shape (n,) or (n, channels).
        point_loss: ℓ(f, y) of one value and its label, elementwise on arrays, in jax and convex in f: `logistic`,
            `huber(threshold)`, or one's own function.
        steps: times t to report, in steps of gradient descent at a small learning rate.
        learning_rate: η of the loss.
        loss: "sum", Σ_i ℓ(f_i, y_i), or "mean", that over n points.
        everywhere: also give the function on the whole lattice (operators with a field).
        unseen: also give it at these points, shape (m, d).
        solver: tolerance and the most operator products.
        progress: reporter.

    Returns:
        Dataset with `train` (step, point[, channel]), `weights`, shaped alike, whose kernel expansion is the function,
        `loss` (step) in the asked reduction and `error_estimate` (step): the distance from a run of order 5 at a
        ten times larger tolerance, relative to the largest norm of `train`. With `everywhere`, `field` (step, axis0, …
        [, channel]), with `unseen`, `unseen` (step, asked[, channel]). The attribute `num_products` counts both runs.

    Raises:
        ValueError: if labels or steps have the wrong shape, labels of the logistic loss are outside [0, 1], the loss is
            not convex or not finite where it was looked at (200 values from −20 to 20 label ranges about the labels),
            or the work would not fit in memory.
        RuntimeError: if the solver's `max_products` do not reach the last step: the flow is stiff, and takes about
            ηλ_max t L''/6 steps of 14 products.

    Source: Lee et al. 2019, equation 2 and section 2.4 (cross-entropy); Hairer, Nørsett & Wanner 1993, section II.5.

    Example:
        >>> import ntkspec as ns
        >>> k = ns.kernel.compose(ns.mapping.gaussian(1, 8, scale=2.0), ns.kernel.MLP(depth=1))
        >>> K = ns.operator.lattice(k, (8,))
        >>> y = np.arange(8) % 4 < 2
        >>> p = function_space_flow(K, y, point_loss=logistic, steps=[0, 100], learning_rate=0.1)
        >>> bool(((p.train[1] > 0) == y).all())
        True
    """
    columns, restore = as_columns(y, K.num_points)
    if point_loss is logistic and (how := _map_to_shares(columns)):
        raise ValueError(f"{how}; the logistic loss is for labels in [0, 1], below which it has no bound")
    times = Times.of(K.num_points, steps, learning_rate, loss, GradientFlow())
    num_steps = len(times.steps)
    if unseen is not None:
        K.norm_at(unseen)  # refuses points at which it is not known
    if everywhere:
        require_field(K)
    columns = columns.astype(K.dtype)
    what = f"a flow of {K.num_points:,} points and {columns.shape[1]} channels at {num_steps} steps"
    num_bytes = (2 * STAGES[8] + 4 * num_steps + 8) * columns.nbytes
    refuse_if_too_large(num_bytes, what, "ask for fewer steps, or for channels one by one")
    if not (fall := _fall_of_slope(point_loss, columns)) <= 1e-9:
        raise ValueError(
            f"point_loss={point_loss!r} is not convex in f (its slope falls by {fall:.3g} of itself, NaN where it is "
            "not finite): two runs may part, so no error estimate holds; expected such as logistic or huber(threshold)"
        )
    runs = []
    with progress.start("flow", 2, "runs") as stage:
        for order, allowed in ((8, solver.tolerance), (5, LOOSER * solver.tolerance)):
            max_steps = max(1, solver.max_products // STAGES[order])
            at = jnp.asarray(times.rate * times.steps)
            weights, train, taken, reached = _solve(K, columns, at, allowed, max_steps, point_loss, order)
            num_products = int(taken) * STAGES[order]
            if not bool(reached):
                what = f"{num_products:,} operator products did not reach step {times.steps[-1]:g} at tolerance"
                instead = "give a Solver of more max_products, an earlier last step or a smaller learning rate"
                raise TooStiff(f"{what} {allowed:.0e}; {instead}")
            runs.append((weights, train, num_products))
            stage.advance()
    (weights, train, fine), (_, rough, coarse) = runs
    scale = float(jnp.max(jnp.linalg.norm(train.reshape(num_steps, -1), axis=1)))
    estimate = np.linalg.norm(np.asarray(train - rough).reshape(num_steps, -1), axis=1) / (scale or 1.0)
    total = np.asarray(jnp.sum(point_loss(train, jnp.asarray(columns)), axis=(1, 2)))
    target = restore(columns)
    dims = ("step", "point", "channel")[: 1 + target.ndim]
    variables: dict[str, tuple] = {
        "train": variable(dims, restore(np.asarray(train)), "learned function at the training points"),
        "weights": variable(dims, restore(np.asarray(weights)), "weights of its kernel expansion"),
        "target": variable(dims[1:], target, "signal"),
        "loss": variable("step", total if loss == "sum" else total / K.num_points, f"loss ({loss} over points)"),
        "error_estimate": variable("step", estimate, "estimated error relative to the function"),
    }
    if everywhere:
        field = np.stack([np.asarray(K.field(restore(column))) for column in weights])
        axes = tuple(f"axis{i}" for i in range(len(K.field_shape or ())))
        variables["field"] = variable(("step", *axes, *dims[2:]), field, "learned function on the lattice")
    if unseen is not None:
        values = np.asarray(K.at(unseen, jnp.moveaxis(weights, 1, 0).reshape(K.num_points, -1), progress=progress))
        values = restore(np.moveaxis(values.reshape(len(values), num_steps, -1), 0, 1))
        variables["unseen"] = variable(("step", "asked", *dims[2:]), values, "learned function at unseen points")
    return xr.Dataset(
        variables,
        coords=times.coordinates(K.points, unseen),
        attrs={
            **times.attributes(operator=K, point_loss=point_loss),
            "tolerance": solver.tolerance,
            "num_products": fine + coarse,
            "point_loss": json.dumps(configuration(point_loss), ensure_ascii=False),
            "starts_from_zero": 1,
        },
    )


@partial(jax.jit, static_argnames=("max_steps", "point_loss", "order"))
def _solve(
    K: Operator, y: Array, times: Array, tolerance: float, max_steps: int, point_loss: PointLoss, order: int
) -> tuple[Array, Array, Array, Array]:
    """Weights and function (t, point, channel) at these times, the steps taken, and whether the last was reached."""
    with needs("flow", "diffrax"):
        import diffrax

    slope = jax.grad(lambda f, y: jnp.sum(point_loss(f, y)))

    def velocity(_: Any, state: tuple[Array, Array], parts: tuple[Operator, Array]) -> tuple[Array, Array]:
        K, y = parts
        falling = -slope(state[1], y)
        return falling, jax.vmap(K.matvec, in_axes=1, out_axes=1)(falling)

    # Steps end at the asked times: no interpolation adds an error of its own.
    solved = diffrax.diffeqsolve(
        diffrax.ODETerm(velocity),
        {8: diffrax.Dopri8, 5: diffrax.Dopri5}[order](),
        t0=0.0,
        t1=times[-1],
        dt0=None,
        y0=(jnp.zeros_like(y), jnp.zeros_like(y)),
        args=(K, y),
        saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=diffrax.ClipStepSizeController(
            diffrax.PIDController(rtol=tolerance, atol=tolerance, norm=_worst), step_ts=times
        ),
        max_steps=max_steps,
        throw=False,
    )
    weights, function = solved.ys
    return weights, function, solved.stats["num_steps"], solved.result == diffrax.RESULTS.successful


def _worst(scaled: Any) -> Array:
    """Return the largest of the root mean squares of weights and function: neither hides behind the other."""
    return jnp.max(jnp.stack([jnp.sqrt(jnp.mean(part**2)) for part in jax.tree.leaves(scaled)]))


def _fall_of_slope(point_loss: PointLoss, labels: np.ndarray) -> float:
    """How far ∂ℓ/∂f falls anywhere as f grows, relative to its largest value; NaN where it is not finite."""
    low, high = float(labels.min()), float(labels.max())
    reach = 20 * max(high - low, abs(high), abs(low), 1.0)
    f, y = jnp.meshgrid(jnp.linspace(low - reach, high + reach, 200), jnp.linspace(low, high, 9))
    slope = np.asarray(jax.grad(lambda f: jnp.sum(point_loss(f, y)))(f))
    # A kink is convex too: the slope itself must not fall, but by a rounding.
    return float(-np.diff(slope, axis=1).min() / np.abs(slope).max()) if np.isfinite(slope).all() else float("nan")


def _map_to_shares(labels: np.ndarray) -> str:
    """Describe labels outside [0, 1] and how to map them; empty for others."""
    low, high = float(labels.min()), float(labels.max())
    how = "(y + 1)/2 for classes −1 and 1" if low >= -1 and high <= 1 else "(y − y.min())/(y.max() − y.min())"
    return "" if 0 <= low <= high <= 1 else f"labels reach from {low:.3g} to {high:.3g}: map them by {how}"
