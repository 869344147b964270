"""A predicted against a trained trajectory: by step, or by frequency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ntkspec.plot import _style as style

_SOURCE = "ntkspec.validate"


def validation(
    data: xr.Dataset,
    *,
    ax: Axes | None = None,
    by: Literal["step", "frequency"] = "step",
    frequencies: Sequence[float] | None = None,
) -> Axes:
    """Plot how far training is from its prediction.

    Args:
        data: from `ntkspec.validate`.
        ax: where to draw; new axes if None.
        by: `step` (the error against step, with the range of the seeds and the tolerance; with an ensemble the spread
            of networks against the predicted one, and the error of their mean) or `frequency` (the trained residual as
            points, the predicted one as lines, at a few frequencies).
        frequencies: which to draw, in cycles per unit, the nearest there are; at most five if None.

    Returns:
        The axes; by step, with the verdict above them.

    Raises:
        ValueError: a variable is missing, or `by` is unknown.

    Example:
        >>> v = xr.Dataset({"error": ("step", [0.02, 0.04])}, {"step": [0, 10]}, {"tolerance": 0.05})
        >>> validation(v).get_ylabel()
        'Error, relative to the signal'
    """
    style.require_choice("validation", "by", by, ("step", "frequency"))
    return _by_step(data, ax) if by == "step" else _by_frequency(data, ax, frequencies)


def _by_step(data: xr.Dataset, ax: Axes | None) -> Axes:
    """Draw errors, or where it is predicted the spread, with the tolerance and until where the theory holds."""
    data = style.need(data, ["error", "step"], call="validation", source=_SOURCE)
    ax = style.axes_or_new(ax)
    if "predicted_spread" in data:
        shown = _of_ensemble(data, ax)
    else:
        # Both start from the same function: the error of step 0 is zero and has no place on a log axis.
        data = data.isel(step=np.flatnonzero(data["step"] > 0)) if (data["step"] > 0).any() else data
        shown = _of_networks(data, ax)
    tolerance = data.attrs.get("tolerance")
    if tolerance is not None:
        ax.axhline(float(tolerance), color="black", linestyle="--", linewidth=1.2, label=f"tolerance {tolerance:.3g}")
        shown.append(np.array([float(tolerance)]))
    until = int(data.attrs.get("holds_until_step", -1))
    if until >= 0:
        ax.axvline(until, color=style.OKABE_ITO[2], linestyle=":", linewidth=1.6, label=f"holds until step {until:,}")
    style.step_axis(ax, data["step"])
    style.log_values(ax, np.concatenate(shown), floor=1e-5)
    style.legend(ax, outside=True)
    style.note(ax, str(data.attrs.get("verdict", "")))
    return ax


def _of_networks(data: xr.Dataset, ax: Axes) -> list[np.ndarray]:
    """Draw the mean error, the range of the seeds and the error of their mean; return what is drawn."""
    step, blue, orange = data["step"], style.OKABE_ITO[0], style.OKABE_ITO[1]
    shown = [np.ravel(data["error"])]
    if "error_by_seed" in data:
        seeds = data["error_by_seed"]
        low, high = seeds.min("seed"), seeds.max("seed")
        ax.fill_between(
            step,
            low,
            high,
            color=blue,
            alpha=0.18,
            linewidth=0,
            label=f"range of {seeds.sizes['seed']} seeds",
        )
        shown += [np.ravel(low), np.ravel(high)]
    bars, name = _bars(data)
    few = step.size <= 40
    ax.errorbar(
        step, data["error"], yerr=bars if few else None, color=blue, marker="o" if few else "", markersize=4,
        linewidth=1.6, elinewidth=1.0, label=name,
    )  # fmt: skip
    if "ensemble_error" in data:
        ax.plot(step, data["ensemble_error"], color=orange, linestyle="-.", label="mean of the ensemble")
        shown.append(np.ravel(data["ensemble_error"]))
    ax.set_ylabel("Error, relative to the signal")
    return shown


def _of_ensemble(data: xr.Dataset, ax: Axes) -> list[np.ndarray]:
    """Draw the spread against the predicted one, and the error of the mean, of it what all share; return the lines."""
    names = ["spread", "ensemble_error", "spread_ratio_interval", "systematic_error_interval"]
    data = style.need(data, names, call="validation", source=_SOURCE)
    step, blue, orange = data["step"], style.OKABE_ITO[0], style.OKABE_ITO[1]
    ends = data["spread_ratio_interval"] * data["predicted_spread"]
    bars = np.stack([data["spread"] - ends.sel(bound="low"), ends.sel(bound="high") - data["spread"]])
    ax.errorbar(
        step, data["spread"], yerr=np.nan_to_num(bars), color=blue, marker="o", markersize=4, linewidth=1.6,
        elinewidth=1.0, label="spread, 95 % interval",
    )  # fmt: skip
    ax.plot(step, data["predicted_spread"], color=blue, linestyle=":", linewidth=1.6, label="predicted spread")
    ax.plot(step, data["ensemble_error"], color=orange, linestyle="-.", label="error of the mean")
    low, high = (data["systematic_error_interval"].sel(bound=bound) for bound in ("low", "high"))
    ax.fill_between(step, low, high, color=orange, alpha=0.18, linewidth=0, label="of it common to all,\n95 % interval")
    ax.set_ylabel("Relative to the signal")
    return [np.ravel(data[name]) for name in ("spread", "predicted_spread", "ensemble_error")]


def _bars(data: xr.Dataset) -> tuple[np.ndarray | xr.DataArray | None, str]:
    """Lengths below and above the mean error: of its interval over seeds, or its standard error; and their name."""
    if "error_interval" in data:
        low, high = (data["error_interval"].sel(bound=bound).values for bound in ("low", "high"))
        error = data["error"].values
        return np.nan_to_num(np.stack([error - low, high - error])), "mean, 95 % interval"
    bars = data.get("error_sem")
    return bars, "error" if bars is None else "mean ± standard error"


def _by_frequency(data: xr.Dataset, ax: Axes | None, frequencies: Sequence[float] | None) -> Axes:
    """Draw predicted lines and trained points of a few frequencies, dark to light as they rise."""
    needed = ["predicted_residual", "trained_residual", "step", "frequency"]
    data = style.need(data, needed, call="validation", source=_SOURCE)
    ax = style.axes_or_new(ax)
    known = data["frequency"].values[data["predicted_residual"].notnull().all("step")]
    chosen = style.spread(known, 5) if frequencies is None else style.nearest(data["frequency"], frequencies)
    handles = []
    for index, (frequency, colour) in enumerate(zip(chosen, style.sequence_colours(len(chosen)), strict=True)):
        one = data.sel(frequency=frequency)
        marker = style.MARKERS[index % len(style.MARKERS)]
        ax.plot(one["step"], one["predicted_residual"], color=colour, linewidth=1.5)
        bars = one.get("trained_residual_sem")
        ax.errorbar(
            one["step"],
            one["trained_residual"],
            yerr=bars,
            fmt=marker,
            color=colour,
            markersize=4.5,
            elinewidth=1.0,
        )
        handles.append(Line2D([], [], color=colour, marker=marker, markersize=4.5, label=f"{frequency:g}"))
    style.step_axis(ax, data["step"])
    drawn = data[["predicted_residual", "trained_residual"]].sel(frequency=chosen)
    style.log_values(ax, np.concatenate([np.ravel(each) for each in drawn.data_vars.values()]), floor=1e-3)
    ax.set_ylabel("Residual amplitude, relative to the target")
    units = data["frequency"].attrs.get("units", "cycles/unit")
    handles.append(Line2D([], [], color=style.GREY, label="predicted"))
    handles.append(Line2D([], [], color=style.GREY, marker="o", linestyle="", markersize=4.5, label="trained"))
    style.legend(ax, outside=True, title=style.with_units("Frequency", units).replace(" (", "\n("), handles=handles)
    return ax
