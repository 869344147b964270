"""How the distance of networks to theory falls with their width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ntkspec.plot import _style as style

_SOURCE = "ntkspec.validation.width_law"
_LINES: dict[str, Any] = {"error": "-", "spread": "--", "bias": ":", "ensemble_error": "-."}


def width_law(
    data: xr.Dataset,
    *,
    ax: Axes | None = None,
    quantities: Sequence[str] = ("error", "bias"),
) -> Axes:
    """Plot errors against the width, with their intervals, the fitted laws and a guide of slope −1/2.

    Args:
        data: from `ntkspec.validation.width_law`.
        ax: where to draw; new axes if None.
        quantities: which to draw, of "error", "ensemble_error", "spread" and "bias".

    Returns:
        The axes, both logarithmic. Marks are what was trained, lines the laws, a star the width that was checked.

    Raises:
        ValueError: a variable is missing, or a quantity is unknown.

    Example:
        >>> one = (("quantity", "width", "step"), [[[0.1], [0.07]]])
        >>> law = {"constant": (("quantity", "step"), [[0.57]]), "exponent": (("quantity", "step"), [[0.51]])}
        >>> d = xr.Dataset({"value": one, **law}, {"quantity": ["error"], "width": [32, 64], "step": [10]})
        >>> width_law(d, quantities=["error"]).get_xlabel()
        'Width'
    """
    data = style.need(data, ["value", "constant", "exponent", "width"], call="width_law", source=_SOURCE)
    if unknown := [name for name in quantities if name not in data["quantity"]]:
        known = ", ".join(map(str, data["quantity"].values))
        raise ValueError(f"`plot.width_law` got quantities {', '.join(unknown)}; the data has {known}.")
    ax = style.axes_or_new(ax)
    width = data["width"].values
    checked = float(data.attrs.get("checked_width", 0))
    reach = np.array([width.min(), max(width.max(), checked)], dtype=float)
    steps = data["step"].values
    for step, colour in zip(steps, style.sequence_colours(len(steps)), strict=True):
        for i, name in enumerate(quantities):
            _draw(ax, data.sel(step=step, quantity=name), reach, colour, style.MARKERS[i], _LINES[name])
    start = float(data["value"].sel(quantity=quantities[0]).isel(width=0).max())
    ax.plot(reach, start * (reach / reach[0]) ** -0.5, color="black", linewidth=0.8)
    if checked:
        ax.errorbar(
            checked, data.attrs["checked_error"], yerr=2 * data.attrs["checked_error_sem"], fmt="*", color="black", ms=9
        )
    if "accuracy" in data.attrs:
        ax.axhline(float(data.attrs["accuracy"]), color="black", linestyle="--", linewidth=1.0)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_xticks(width, [f"{w}" for w in width])
    ax.set_xlabel("Width")
    ax.set_ylabel("Distance to theory, relative to the signal")
    handles = [
        Line2D([], [], color=colour, label=f"step {int(step):,}")
        for step, colour in zip(steps, style.sequence_colours(len(steps)), strict=True)
    ]
    words = dict(zip(data["quantity"].values, data["words"].values, strict=True)) if "words" in data.coords else {}
    handles += [
        Line2D(
            [], [], color=style.GREY, linestyle=_LINES[name], marker=style.MARKERS[i], ms=4, label=words.get(name, name)
        )
        for i, name in enumerate(quantities)
    ]
    handles.append(Line2D([], [], color="black", linewidth=0.8, label="width$^{-1/2}$"))
    if checked:
        handles.append(Line2D([], [], color="black", marker="*", linestyle="", ms=9, label="checked"))
    if "accuracy" in data.attrs:
        handles.append(Line2D([], [], color="black", linestyle="--", label=f"accuracy {data.attrs['accuracy']:.3g}"))
    style.legend(ax, outside=True, handles=handles)
    style.note(ax, str(data.attrs.get("verdict", "")))
    return ax


def _draw(ax: Axes, one: xr.Dataset, reach: np.ndarray, colour: Any, marker: str, line: str) -> None:
    """Draw marks with intervals of one quantity at one step, and its law."""
    bars = None
    if "value_interval" in one:
        low, high = (one["value_interval"].sel(bound=bound).values for bound in ("low", "high"))
        value = one["value"].values
        # An interval that is not known has no bar; a resample may leave the value outside of its own interval.
        bars = np.nan_to_num(np.maximum([value - low, high - value], 0))
    ax.errorbar(one["width"], one["value"], yerr=bars, fmt=marker, color=colour, ms=4, elinewidth=1.0)
    constant, exponent = float(one["constant"]), float(one["exponent"])
    if np.isfinite(exponent):
        ax.plot(reach, constant * reach**-exponent, color=colour, linestyle=line, linewidth=1.3)
