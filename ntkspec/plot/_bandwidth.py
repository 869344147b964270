"""One number of a spectrum, against the scale of the mapping or side by side."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from numbers import Real

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from ntkspec.plot import _style as style


def bandwidth(
    data: xr.Dataset | Mapping[Hashable, xr.Dataset],
    *,
    ax: Axes | None = None,
    measure: str = "effective_rank",
) -> Axes:
    """Plot one bandwidth measure against the scale of the mapping, or as bars where there is no scale.

    Args:
        data: from `ntkspec.eigen.bandwidth`, with or without a `scale` dimension; or {label: such a Dataset}.
            Labels that are all numbers are read as scales.
        ax: where to draw; new axes if None.
        measure: the variable to plot, such as `effective_rank` or `full_width_half_maximum`.

    Returns:
        The axes.

    Raises:
        ValueError: the measure is not there (the message lists what is), or nothing was given.

    Example:
        >>> b = xr.Dataset({"effective_rank": ("scale", [3.0, 9.0])}, coords={"scale": [1.0, 4.0]})
        >>> bandwidth(b).get_xlabel()
        'Scale of the mapping (cycles/unit)'
    """
    several = style.by_label(data, "bandwidth")
    for each in several.values():
        style.need(each, [], call="bandwidth", source="ntkspec.eigen.bandwidth")
        if measure not in each:
            names = ", ".join(map(str, each.data_vars))
            raise ValueError(f"`plot.bandwidth` got measure={measure!r}, expected one of: {names}.")
    values = {name: each[measure] for name, each in several.items()}
    if all(isinstance(name, Real) for name in values):
        scales = xr.DataArray(list(values), dims="scale", name="scale")
        values = {"": xr.concat(list(values.values()), scales, combine_attrs="override").sortby("scale")}
    if any("scale" in each.dims for each in values.values()):
        return _against_scale(style.axes_or_new(ax), values, measure)
    return _bars(style.axes_or_new(ax, height=1.2 + 0.42 * len(values)), values, measure)


def _name(variable: xr.DataArray, measure: str) -> str:
    """Return the label of the measure's axis."""
    return style.label(variable, measure.replace("_", " "))


def _against_scale(ax: Axes, values: Mapping[Hashable, xr.DataArray], measure: str) -> Axes:
    """Draw a curve for each label, logarithmic where the values span decades."""
    for index, (name, each) in enumerate(values.items()):
        ax.plot(each["scale"], each, label=str(name) or None, **style.look(index))
    heights = np.concatenate([np.ravel(each) for each in values.values()])
    finite = heights[np.isfinite(heights)]
    if finite.size and finite.min() > 0 and finite.max() > 30 * finite.min():
        ax.set_yscale("log")
    style.near_zero_axis(ax, np.concatenate([np.ravel(each["scale"]) for each in values.values()]))
    first = next(iter(values.values()))
    ax.set_xlabel(style.label(first["scale"], "scale of the mapping", units="cycles/unit"))
    ax.set_ylabel(_name(first, measure))
    if any(name != "" for name in values):
        style.legend(ax)
    return ax


def _bars(ax: Axes, values: Mapping[Hashable, xr.DataArray], measure: str) -> Axes:
    """Draw a bar for each label, the first on top, with its value at the end."""
    numbers = [float(each) for each in values.values()]
    # An infinite condition number has no bar, and its text says so.
    lengths = [number if np.isfinite(number) else 0.0 for number in numbers]
    bars = ax.barh([str(name) for name in values], lengths, height=0.6, color=style.OKABE_ITO[0])
    ax.bar_label(bars, labels=[f"{number:.4g}" for number in numbers], padding=4, fontsize="small")
    ax.invert_yaxis()
    ax.margins(x=0.14)
    if not any(lengths):
        ax.set_xlim(0, 1)
    ax.grid(False, axis="y")
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(_name(next(iter(values.values())), measure))
    return ax
