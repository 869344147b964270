"""Errors at unseen points: learning curves, risk by step, ghosts of frequencies above a grid's limit."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from ntkspec.plot import _style as style


def learning_curve(
    data: xr.Dataset | Mapping[Hashable, xr.Dataset],
    *,
    measured: xr.Dataset | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plot the error at unseen points against the number of training points.

    Args:
        data: from `ntkspec.generalisation.learning_curve` or `eigenlearning`; or {label: such
            a Dataset} for a comparison. `test_standard_error` is drawn as a band.
        measured: points to lay over: `test_error` (num_points) with, if known, `test_standard_error`.
        ax: where to draw; new axes if None.

    Returns:
        The axes, both logarithmic.

    Raises:
        ValueError: a variable is missing, or nothing was given.

    Example:
        >>> c = xr.Dataset({"test_error": ("num_points", [0.5, 0.1])}, coords={"num_points": [10, 100]})
        >>> learning_curve(c, measured=c).get_xscale()
        'log'
    """
    several = style.by_label(data, "learning_curve")
    source = "ntkspec.generalisation.learning_curve"
    everything = [*several.values(), *([] if measured is None else [measured])]
    for each in everything:
        style.need(each, ["test_error", "num_points"], call="learning_curve", source=source)
    ax = style.axes_or_new(ax)
    for i, (name, each) in enumerate(several.items()):
        counts, error, spread = each["num_points"], each["test_error"], each.get("test_standard_error")
        band = () if spread is None else (error - spread, error + spread)
        style.curve(ax, counts, error, *band, color=style.colour(i), label=str(name) or "predicted")
    if measured is not None:
        ax.errorbar(
            measured["num_points"], measured["test_error"], yerr=measured.get("test_standard_error"),
            fmt="o", color="black", markersize=4, capsize=2, linewidth=1, label="measured",
        )  # fmt: skip
    first = next(iter(several.values()))
    ax.set_xscale("log")
    style.log_values(ax, np.concatenate([each["test_error"].values for each in everything]))
    ax.set_xlabel(style.label(first["num_points"], "training points"))
    ax.set_ylabel(style.label(first["test_error"], "mean square error"))
    if len(several) > 1 or measured is not None:
        style.legend(ax)
    return ax


def risk(data: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Plot the error at unseen points against the training step, a curve for each number of training points.

    Args:
        data: from `ntkspec.generalisation.risk`; one curve of method "grid".
        ax: where to draw; new axes if None.

    Returns:
        The axes; a dot marks where each curve is lowest, which is where to stop.

    Raises:
        ValueError: a variable is missing.

    Example:
        >>> r = xr.Dataset({"test_error": ("step", [0.5, 0.1, 0.2])}, coords={"step": [0, 10, 100]})
        >>> risk(r).lines[1].get_xdata().tolist()
        [10]
    """
    style.need(data, ["test_error", "step"], call="risk", source="ntkspec.generalisation.risk")
    ax = style.axes_or_new(ax)
    error = data["test_error"]
    curves = error.transpose("num_points", "step") if "num_points" in error.dims else error.expand_dims("num_points")
    for curve, colour in zip(curves, style.sequence_colours(len(curves)), strict=True):
        name = f"{int(curve['num_points']):,}" if "num_points" in curve.coords else None
        ax.plot(data["step"], curve, color=colour, linewidth=1.6, label=name)
        if np.isfinite(curve).any():
            lowest = curve.isel(step=[int(curve.argmin("step"))])
            ax.plot(lowest["step"], lowest, color=colour, marker="o", markersize=5)
    style.step_axis(ax, data["step"])
    style.log_values(ax, error)
    ax.set_ylabel(style.label(error, "mean square error"))
    if "num_points" in error.dims:
        style.legend(ax, outside=True, title="Training\npoints")
    return ax


def aliasing(data: xr.Dataset, *, step: float | None = None, ax: Axes | None = None) -> Axes:
    """Plot the ghosts of a target: what frequency each is learned as, and how strongly.

    Args:
        data: from `ntkspec.generalisation.aliasing`.
        step: the training step, the nearest there is; the last if None.
        ax: where to draw; new axes if None.

    Returns:
        The axes: |true frequency| to the right, |frequency it is learned as| up, the area of a circle in proportion to
        the amplitude. The line is where a frequency is learned as itself, the dashed ones are the grid's limit.

    Raises:
        ValueError: a variable is missing.

    Example:
        >>> true, ghost = (("ghost", "axis"), [[7.0]]), (("ghost", "axis"), [[-1.0]])
        >>> ghosts = {"true_frequency": true, "ghost_frequency": ghost, "amplitude": (("step", "ghost"), [[0.5]])}
        >>> a = xr.Dataset(ghosts, coords={"step": [10]}, attrs={"limit": [4.0]})
        >>> aliasing(a).collections[0].get_offsets().tolist()
        [[7.0, 1.0]]
    """
    needed = ["true_frequency", "ghost_frequency", "amplitude", "step"]
    style.need(data, needed, call="aliasing", source="ntkspec.generalisation.aliasing")
    chosen = data["step"].values[-1] if step is None else style.nearest(data["step"], [step])[0]
    amplitude = np.abs(data["amplitude"].sel(step=chosen).values)
    true, ghost = (np.linalg.norm(data[name].values, axis=1) for name in ("true_frequency", "ghost_frequency"))
    ax = style.axes_or_new(ax, width=4.8, height=4.4)
    largest = amplitude.max(initial=0.0)
    area = 160 * amplitude / largest if largest > 0 else amplitude
    ax.scatter(true, ghost, s=area, color=style.OKABE_ITO[1], alpha=0.7, linewidth=0)
    reach = 1.05 * max(true.max(initial=1.0), ghost.max(initial=1.0))
    ax.plot([0, reach], [0, reach], color=style.GREY, linewidth=0.8)
    limit = float(np.min(data.attrs.get("limit", np.inf)))
    if limit < reach:
        ax.axvline(limit, color=style.GREY, linewidth=0.8, linestyle="--")
        ax.axhline(limit, color=style.GREY, linewidth=0.8, linestyle="--")
    ax.set_xlim(0, reach)
    ax.set_ylim(0, reach)
    ax.set_aspect("equal")
    ax.set_xlabel(style.label(data["true_frequency"], "true frequency", units="cycles per unit"))
    ax.set_ylabel(style.label(data["ghost_frequency"], "frequency it is learned as", units="cycles per unit"))
    style.note(ax, f"step {chosen:g}; the largest ghost has amplitude {largest:.2g}")
    return ax
