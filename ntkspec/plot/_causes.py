"""What a gap between theory and training is due to, by step."""

from __future__ import annotations

from typing import Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from ntkspec.plot import _style as style

_SOURCE = "ntkspec.validation.explain"
_WHOLE = {
    "all": ("error_squared", "explained", "unexplained"),
    "mean": ("common_squared", "explained_common", "unexplained_common"),
}


def causes(data: xr.Dataset, *, ax: Axes | None = None, of: Literal["all", "mean"] = "all") -> Axes:
    """Plot which part of the squared error each control explains, stacked at each step.

    Args:
        data: from `ntkspec.validation.explain`.
        ax: where to draw; new axes if None.
        of: "all" of the squared error of a network, or that of the "mean": what all seeds share.

    Returns:
        The axes. Stacks add up to 100 %, where parts below zero, of causes that bring networks nearer to theory, hang
        below. Whiskers are standard errors over seeds, and numbers above the stacks the error itself, relative to the
        signal: its root mean square over seeds, which is more than the mean that `ntkspec.validate` tells.

    Raises:
        ValueError: a variable is missing, or `of` is unknown.

    Example:
        >>> d = xr.Dataset(
        ...     {"explained": (("cause", "step"), [[0.03], [0.01]]), "error_squared": ("step", [0.05]),
        ...      "explained_error": (("cause", "step"), [[0.01]] * 2), "unexplained": ("step", [0.01])},
        ...     {"cause": ["fluctuation", "moving_kernel"], "step": [10]})
        >>> causes(d).get_ylabel()
        'Part of the squared error (%)'
    """
    style.require_choice("causes", "of", of, tuple(_WHOLE))
    whole_name, part_name, rest_name = _WHOLE[of]
    error_name = f"{part_name}_error"
    data = style.need(data, [whole_name, part_name, error_name, rest_name, "cause"], call="causes", source=_SOURCE)
    ax = style.axes_or_new(ax)
    whole = data[whole_name].where(data[whole_name] > 0)
    names = data["words"] if "words" in data.coords else data["cause"]
    parts: list[tuple[str, xr.DataArray, xr.DataArray | None, str]] = [
        (str(name), data[part_name].isel(cause=i) / whole, data[error_name].isel(cause=i) / whole, style.colour(i))
        for i, name in enumerate(names.values)
    ]
    parts.append(("unexplained", data[rest_name] / whole, None, "0.8"))
    position = np.arange(data.sizes["step"])
    up, down, reach = (np.zeros(len(position)) for _ in range(3))
    for name, part, error, colour in parts:
        height = np.nan_to_num(100 * part.values)
        bottom = np.where(height >= 0, up, down)
        bars = None if error is None else np.nan_to_num(100 * error.values)
        ax.bar(
            position, height, bottom=bottom, color=colour, width=0.7, yerr=bars, label=name,
            error_kw={"elinewidth": 1.0, "ecolor": "0.2"},
        )  # fmt: skip
        up, down = up + np.maximum(height, 0), down + np.minimum(height, 0)
        # Numbers stand above the whiskers.
        reach = np.maximum(reach, np.maximum(up, bottom + height + (0 if bars is None else bars)))
    for at, top, value in zip(position, reach, whole.values, strict=True):
        text = "0" if np.isnan(value) else f"{100 * np.sqrt(value):.2g} %"
        ax.annotate(text, (at, top), xytext=(0, 4), textcoords="offset points", ha="center", fontsize="small")
    ax.axhline(0, color="0.35", linewidth=0.8)
    ax.axhline(100, color="0.35", linewidth=0.8, linestyle=":")
    ax.margins(y=0.1)
    ax.set_xticks(position, [f"{int(step):,}" for step in data["step"].values])
    above = "root mean square error of a network" if of == "all" else "error of the mean"
    ax.set_xlabel(f"{style.label(data['step'], 'training step')}\n(above: {above})")
    ax.set_ylabel("Part of the squared error (%)" if of == "all" else "Part of the squared error of the mean (%)")
    style.legend(ax, outside=True)
    style.note(ax, str(data.attrs.get("verdict", "")))
    return ax
