"""How many steps every mode of a spectrum takes: the table that answers when a frequency is learned."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import xarray as xr

from ntkspec.dynamics import Dynamics, Loss, Times
from ntkspec.dynamics import steps_to as steps_of_mode
from ntkspec.record import attributes, variable

__all__ = ["stability", "steps_to"]


def steps_to(
    s: xr.Dataset,
    epsilon: float = 0.1,
    *,
    learning_rate: float | None = None,
    loss: Loss = "sum",
    dynamics: Dynamics | None = None,
) -> xr.Dataset:
    """Return the steps after which a part ε of each mode is left: log ε/log|1 − ηλ| for gradient descent.

    Args:
        s: from `ntkspec.eigen.spectrum`.
        epsilon: ε in (0, 1).
        learning_rate: η of the loss; half the stability limit where None (for the flow, 1/λ_max).
        loss: "sum" or "mean".
        dynamics: gradient descent where None.

    Returns:
        Dataset with dimension `mode`: `steps` (infinity where ε is never reached), `steps_at_most`, those of λ less its
        error bound, `eigenvalue`, `multiplicity`, and `mode_frequency`, |dominant frequency| in cycles per unit, NaN
        for points on no lattice.

        With dimension `frequency`, for every band of a lattice (of other operators those of the modes): the number of
        its `waves` and of the `modes` that are mostly there, `fastest` and `slowest`, the first and last steps among
        them, and `by_eigenvalue`: True where they are those of modes, all of them known. Else they are those of plane
        waves by their Rayleigh quotients: exact where K is circulant, and otherwise from below, for a mask or a
        boundary makes the last part of a wave slower.

        Its attributes hold `epsilon`, `learning_rate`, `max_learning_rate` (the edge of stability in the asked loss)
        and `flow_time_of_a_step`, ητ of one step for the flow on the summed loss.

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
    times = _times(s, learning_rate, loss, dynamics)
    value, error = s.eigenvalue.values, s.eigenvalue_error.values
    times.require_stable(float(value.max()))
    of_mode = np.linalg.norm(s.dominant_frequency.values, axis=1)

    def steps_at(value: np.ndarray) -> np.ndarray:
        return steps_of_mode(epsilon, times.rate * np.maximum(value, 0), times.filters)

    steps = [steps_at(value), steps_at(value - error)]
    frequency, waves, modes, fastest, slowest, known = _bands(s, of_mode, steps[0], steps_at)
    unit, cycles = "steps" if times.dynamics.discrete else "time", "cycles per unit"
    return xr.Dataset(
        {
            "eigenvalue": s.eigenvalue,
            "multiplicity": s.multiplicity,
            "mode_frequency": variable("mode", of_mode, "dominant frequency", cycles),
            "steps": variable("mode", steps[0], f"steps until {epsilon:g} is left", unit),
            "steps_at_most": variable("mode", np.maximum(*steps), "the same, for λ less its error", unit),
            "waves": variable("frequency", waves, "plane waves of the frequency"),
            "modes": variable("frequency", modes, "modes of the frequency"),
            "fastest": variable("frequency", fastest, "steps of its fastest", unit),
            "slowest": variable("frequency", slowest, "steps of its slowest", unit),
            "by_eigenvalue": variable("frequency", known, "steps of modes, all known"),
        },
        coords={"frequency": variable("frequency", frequency, "frequency", cycles)},
        attrs={
            **times.attributes(dynamics=times.dynamics),
            "epsilon": epsilon,
            "max_learning_rate": times.stability_limit(float(value.max())),
            "flow_time_of_a_step": times.rate,
        },
    )


def _bands(s: xr.Dataset, of_mode: np.ndarray, steps: np.ndarray, steps_at: Callable) -> tuple[np.ndarray, ...]:
    """Return each frequency, its numbers of waves and modes, first and last steps, and whether they are of modes.

    They are where all modes of a band are known, else of the Rayleigh quotients of its plane waves.
    """
    finite = np.isfinite(of_mode)
    waves_known = "rayleigh_least" in s
    frequency = s.frequency.values if waves_known else np.unique(of_mode[finite])
    band = np.searchsorted((frequency[1:] + frequency[:-1]) / 2, of_mode[finite])
    modes = np.bincount(band, minlength=len(frequency))
    first, last = np.full(len(frequency), np.inf), np.zeros(len(frequency))
    np.minimum.at(first, band, steps[finite])
    np.maximum.at(last, band, steps[finite])
    if not waves_known:
        return frequency, modes, modes, first, last, np.full(len(frequency), bool(s.attrs["complete"]))
    waves = s.frequency_count.values
    known = (modes >= waves) | (bool(s.attrs["complete"]) & (modes > 0))
    # Past the fastest rate a mode swings, and takes longer again.
    ends = [steps_at(s[name].values) for name in ("rayleigh_largest", "rayleigh_quotient", "rayleigh_least")]
    first, last = np.where(known, first, np.min(ends, axis=0)), np.where(known, last, np.max(ends, axis=0))
    return frequency, waves, modes, first, last, known


def stability(s: xr.Dataset, *, learning_rate: float | None = None, dynamics: Dynamics | None = None) -> xr.Dataset:
    """Return what a learning rate means under the summed and under the mean loss: its limit, sharpness, and flow time.

    The sharpness, the largest eigenvalue of the loss's Hessian, is λ_max for ½ Σ (f − y)² and λ_max/n for ½ mean. At a
    learning rate η training is at the edge of stability where the sharpness is 2/η (gradient descent).

    Args:
        s: from `ntkspec.eigen.spectrum`.
        learning_rate: η of the summed loss; half the limit where None (for the flow, 1/λ_max).
        dynamics: gradient descent where None.

    Returns:
        Dataset with dimension `loss` ("sum", "mean"): `max_learning_rate`, 2/sharpness for gradient descent;
        `learning_rate`, which makes the same steps under both; `sharpness`; `edge_of_stability`, the sharpness at which
        training with that rate starts to diverge; `flow_time_of_a_step`, τ = η for the sum and η/n for the mean: after
        t steps the flow on ½ Σ (f − y)² is at time τ t.

    Raises:
        ValueError: if the learning rate is not a positive number.

    Source: Cohen et al. 2021, "Gradient descent on neural networks typically occurs at the edge of stability",
    section 2; Lee et al. 2019, equations 8 and 9.

    Example:
        >>> import ntkspec as ns
        >>> k = ns.kernel.compose(ns.mapping.power_law(16, p=1.0), ns.kernel.MLP(depth=3))
        >>> table = stability(ns.eigen.spectrum(ns.operator.lattice(k, shape=(32,))))
        >>> (table.edge_of_stability / table.sharpness).values.round(12).tolist()
        [2.0, 2.0]
        >>> float(table.learning_rate.sel(loss="mean") / table.learning_rate.sel(loss="sum"))
        32.0
    """
    times, top = _times(s, learning_rate, "sum", dynamics), float(s.eigenvalue.max())
    per_unit = np.array([1.0, 1 / times.num_points])
    columns = {
        "max_learning_rate": (times.stability_limit(top) / per_unit, "largest stable learning rate"),
        "learning_rate": (times.rate / per_unit, "learning rate"),
        "sharpness": (top * per_unit, "largest eigenvalue of the loss's Hessian"),
        "edge_of_stability": (_edge(times, top) * per_unit, "sharpness at which training diverges"),
        "flow_time_of_a_step": (np.full(2, times.rate), "time of the flow on the summed loss in a step"),
    }
    return xr.Dataset(
        {name: variable("loss", values, words) for name, (values, words) in columns.items()},
        coords={"loss": ["sum", "mean"]},
        attrs={**attributes(dynamics=times.dynamics), "num_points": times.num_points},
    )


def _times(s: xr.Dataset, learning_rate: float | None, loss: Loss, dynamics: Dynamics | None) -> Times:
    """Return a learning rate for a spectrum, where None half the stability limit; the steps are what is looked for."""
    of, top = partial(Times.of, s.attrs["num_points"], [0], loss=loss, dynamics=dynamics), float(s.eigenvalue.max())
    if learning_rate is not None:
        return of(learning_rate)
    unit = of(1.0)
    limit = unit.stability_limit(top)
    return of(limit / 2 if np.isfinite(limit) else 1 / (unit.rate * top))


def _edge(times: Times, top: float) -> float:
    """Return the eigenvalue whose stability limit is the learning rate; limits fall with the eigenvalue."""
    if not np.isfinite(times.stability_limit(top)):
        return float("inf")
    # Not by scipy's brentq, which refuses a bracket without a root: with a ridge there may be none.
    low, high = np.log(top) - 60, np.log(top) + 60
    for _ in range(64):
        middle = (low + high) / 2
        below = times.stability_limit(float(np.exp(middle))) > times.learning_rate
        low, high = (middle, high) if below else (low, middle)
    return float(np.exp(high))
