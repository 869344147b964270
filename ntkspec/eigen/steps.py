"""How many steps every mode of a spectrum takes: the table that answers when a frequency is learned."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ntkspec.dynamics import Dynamics, Loss, gradient_descent, summed_rate
from ntkspec.dynamics import steps_to as steps_of_rate
from ntkspec.record import attributes

__all__ = ["steps_to"]


def steps_to(
    s: xr.Dataset,
    epsilon: float = 0.1,
    *,
    learning_rate: float | None = None,
    loss: Loss = "sum",
    dynamics: Dynamics | None = None,
) -> xr.Dataset:
    """The steps after which a part ε of each mode is left: log ε/log|1 − ηλ| for gradient descent.

    Args:
        s: from `ntkspec.eigen.spectrum`.
        epsilon: ε in (0, 1).
        learning_rate: η of the loss; half the stability limit where None (for the flow, 1/λ_max).
        loss: "sum" or "mean".
        dynamics: gradient descent where None.

    Returns:
        Dataset with dimension `mode`: `steps` (infinity where ε is never reached), `steps_at_most`, those of λ less its
        error bound, `eigenvalue`, `multiplicity`, and `mode_frequency`, |dominant frequency| in cycles per unit, NaN
        for points on no lattice. For each such `frequency` the number of `modes`, `fastest` and `slowest`, the first
        and last steps among them. Its attributes hold `epsilon`, `learning_rate`, `max_learning_rate` (the edge of
        stability in the asked loss) and `flow_time_of_a_step`, ητ of one step for the flow on the summed loss.

    Raises:
        ValueError: if ε is not between 0 and 1, or the learning rate is past the stability limit.

    Source: `ntkspec.dynamics.steps_to`.

    Example:
        >>> import ntkspec as ns
        >>> k = ns.kernel.compose(ns.mapping.power_law(16, p=1.0), ns.kernel.MLP(depth=3))
        >>> table = steps_to(ns.eigen.spectrum(ns.operator.lattice(k, shape=(32,))), 0.1)
        >>> table.mode_frequency.values[[0, 1, 3]].tolist(), bool(table.steps[0] < table.steps[1] < table.steps[3])
        ([0.0, 1.0, 2.0], True)
    """
    dynamics = gradient_descent() if dynamics is None else dynamics
    per_step = summed_rate(1.0, s.attrs["num_points"], loss)
    value, error = s.eigenvalue.values, s.eigenvalue_error.values
    limit = dynamics.limit(float(value.max())) / per_step
    if learning_rate is None:
        learning_rate = limit / 2 if np.isfinite(limit) else 1 / float(value.max()) / per_step
    rate = summed_rate(learning_rate, s.attrs["num_points"], loss)
    if learning_rate > limit * (1 + 1e-9):
        raise ValueError(
            f"learning_rate={learning_rate:.6g} is past the stability limit of {type(dynamics).__name__} for the "
            f"{loss} loss, {limit:.6g}; take less"
        )
    filters = dynamics.at(rate)
    steps = [steps_of_rate(epsilon, rate * np.maximum(of, 0), filters) for of in (value, value - error)]
    of_mode = np.linalg.norm(s.dominant_frequency.values, axis=1)
    frequency = np.unique(of_mode[np.isfinite(of_mode)])
    at = of_mode == frequency[:, None]
    steps_at = np.broadcast_to(steps[0], at.shape)
    unit = {"units": "steps" if dynamics.discrete else "time"}
    cycles = {"units": "cycles per unit"}
    return xr.Dataset(
        {
            "eigenvalue": s.eigenvalue,
            "multiplicity": s.multiplicity,
            "mode_frequency": ("mode", of_mode, {"long_name": "dominant frequency", **cycles}),
            "steps": ("mode", steps[0], {"long_name": f"steps until {epsilon:g} is left", **unit}),
            "steps_at_most": ("mode", np.maximum(*steps), {"long_name": "the same, for λ less its error", **unit}),
            "modes": ("frequency", at.sum(axis=1), {"long_name": "modes of the frequency", "units": ""}),
            "fastest": (
                "frequency",
                np.min(steps_at, axis=1, where=at, initial=np.inf),
                {"long_name": "steps of its fastest mode", **unit},
            ),
            "slowest": (
                "frequency",
                np.max(steps_at, axis=1, where=at, initial=0),
                {"long_name": "steps of its slowest mode", **unit},
            ),
        },
        coords={"frequency": ("frequency", frequency, {"long_name": "frequency", **cycles})},
        attrs={
            **attributes(dynamics=dynamics),
            "epsilon": epsilon,
            "loss": loss,
            "learning_rate": learning_rate,
            "max_learning_rate": limit,
            "flow_time_of_a_step": rate,
        },
    )
