"""The house style, by explicit arguments and on new axes only: the rcParams of the user stay as they are."""

from __future__ import annotations

import textwrap
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from ntkspec.record import check_dataset

# Okabe and Ito (2008): distinct with any colour vision. Their yellow is left out, as it is lost on white.
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "0.45"

_HOUSE: dict[Any, Any] = {
    "font.size": 10.0,
    "axes.labelsize": 10.0,
    "axes.titlesize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.edgecolor": "0.35",
}


def row_of_axes(count: int, *, width: float = 6.4, height: float = 4.0, rows: int = 1) -> NDArray[np.object_]:
    """Make a figure with `rows` of `count` axes in the house style, row after row, each `width` by `height` inches."""
    # Made outside the context: Jupyter's backend, loaded with the first figure, turns interactive mode on, and a
    # context around it would turn it off again, so that no later figure shows.
    figure = plt.figure(figsize=(width, height * rows), layout="constrained")
    with matplotlib.rc_context(_HOUSE):
        axes = figure.subplots(rows, count, squeeze=False).ravel()
    for ax in axes:
        ax.grid(True, color="0.9", linewidth=0.7)
        ax.tick_params(labelsize=9, color="0.35")
    return np.asarray(axes, dtype=object)


def axes_or_new(ax: Axes | None, *, width: float = 6.4, height: float = 4.0) -> Axes:
    """Return the given axes as they are, or new ones in the house style, `width` by `height` inches."""
    if ax is not None:
        return ax
    new: Axes = row_of_axes(1, width=width, height=height)[0]
    return new


def by_label(data: Any, call: str, what: str = "Dataset") -> dict[Hashable, Any]:
    """Return one thing, a list of them or {label: thing} as {label: thing}; a single one has an empty label."""
    if isinstance(data, Mapping) and not isinstance(data, xr.Dataset):
        labelled = dict(data)
    else:
        labelled = dict(enumerate(data, start=1)) if isinstance(data, list | tuple) else {"": data}
    if not labelled:
        raise ValueError(f"`plot.{call}` got nothing; pass one {what}, or {{label: {what}}}.")
    return labelled


def colour(index: int) -> str:
    """Return the colour of a curve by its number; after seven they repeat."""
    return OKABE_ITO[index % len(OKABE_ITO)]


def marker(index: int, count: int = 0) -> str:
    """Return the marker of a curve by its number; none for a curve of more than 40 points."""
    return MARKERS[index % len(MARKERS)] if count <= 40 else ""


def look(index: int, count: int = 0) -> dict[str, Any]:
    """Return the options of a curve of `count` points by its number: colour and marker."""
    return {"color": colour(index), "marker": marker(index, count), "markersize": 4}


def curve(
    ax: Axes, x: Any, y: Any, low: Any = None, high: Any = None, *, color: Any, alpha: float = 0.2, **options: Any
) -> None:
    """Draw a line, and a band between `low` and `high` where they are given."""
    ax.plot(x, y, color=color, **({"linewidth": 1.6} | options))
    if low is not None:
        ax.fill_between(x, low, high, color=color, alpha=alpha, linewidth=0)


def require_choice(call: str, name: str, value: Any, choices: Sequence[str]) -> None:
    """Refuse a value that is not one of a few."""
    if value not in choices:
        expected = f"{', '.join(map(repr, choices[:-1]))} or {choices[-1]!r}"
        raise ValueError(f"`plot.{call}` got {name}={value!r}, expected {expected}.")


def label(variable: xr.DataArray, fallback: str, *, units: str = "") -> str:
    """Return the axis label of a variable: its name and, unless it has no dimension, its unit.

    Example:
        >>> label(xr.DataArray(0.0, attrs={"units": "cycles/unit"}), "frequency")
        'Frequency (cycles/unit)'
    """
    name = str(variable.attrs.get("long_name", fallback))
    return with_units(name[:1].upper() + name[1:], str(variable.attrs.get("units", units)))


def with_units(name: str, units: str) -> str:
    """Return `name (units)`, or the name alone where the quantity has no dimension."""
    return name if units in ("", "1", "none", "dimensionless") else f"{name} ({units})"


def note(ax: Axes, text: str) -> None:
    """Write a short grey remark above the axes, wrapped to their width."""
    if not text:
        return
    # About 14 small characters to the inch.
    width = max(30, int(14 * ax.get_window_extent().width / ax.get_figure(root=True).dpi))  # type: ignore[union-attr]
    ax.set_title(textwrap.fill(text, width), loc="left", fontsize="small", color=GREY)


def legend(ax: Axes, *, outside: bool = False, **options: Any) -> None:
    """Draw the legend; `outside` puts it right of the axes where the layout makes room for it."""
    figure = ax.get_figure(root=True)
    if outside and figure is not None and figure.get_layout_engine() is not None:
        options |= {"loc": "center left", "bbox_to_anchor": (1.01, 0.5)}
    ax.legend(**({"fontsize": "small", "title_fontsize": "small", "framealpha": 0.9, "edgecolor": "0.9"} | options))


def step_axis(ax: Axes, steps: xr.DataArray) -> None:
    """Lay out the x axis for training steps: logarithmic, with step 0 kept on a short linear piece."""
    values = np.asarray(steps, dtype=float)
    near_zero_axis(ax, values, threshold=1.0 if values.max() >= 1.0 else None)
    if values.max() > values.min():
        # A little room, so that the markers at both ends are whole.
        low, high = values.min(), values.max()
        logarithmic = ax.get_xscale() != "linear"
        room = 0.03 * (high - low)
        left = (low / 1.12 if low > 0 else -0.15) if logarithmic else low - room
        ax.set_xlim(left, high * 1.12 if logarithmic else high + room)
    ax.set_xlabel(label(steps, "training step"))


def near_zero_axis(ax: Axes, values: ArrayLike, *, threshold: float | None = None) -> None:
    """Make the x axis of values (n,) logarithmic above `threshold`, or the least positive one, and linear below."""
    array = np.asarray(values, dtype=float)
    positive = array[np.isfinite(array) & (array > 0)]
    # Less than a decade and a half reads better on a linear axis.
    if positive.size == 0 or positive.max() < 30 * (start := threshold or positive.min()):
        return
    if array.min() > 0:
        ax.set_xscale("log")
    else:
        ax.set_xscale("symlog", linthresh=start, linscale=0.4)


def log_values(ax: Axes, values: ArrayLike, *, floor: float = 1e-6) -> None:
    """Make the y axis logarithmic and end it at the least positive value, or `floor` of the largest."""
    array = np.asarray(values, dtype=float)
    positive = array[np.isfinite(array) & (array > 0)]
    if positive.size == 0:
        return
    ax.set_yscale("log")
    top = positive.max()
    ax.set_ylim(max(positive.min(), floor * top) / 1.6, 1.6 * top)


def spread(values: ArrayLike, count: int) -> NDArray[np.float64]:
    """Pick at most `count` of the values, both ends included, spread evenly in their logarithm (0 included).

    Example:
        >>> spread([0, 1, 2, 3, 4, 5, 6, 7, 8], 4).tolist()
        [0.0, 1.0, 3.0, 8.0]
    """
    array = np.unique(np.asarray(values, dtype=float))
    if array.size <= count:
        return array
    height = np.log1p(array / array[array > 0].min())
    wanted = np.linspace(height[0], height[-1], count)
    return np.unique(array[np.abs(height[:, None] - wanted).argmin(axis=0)])


def nearest(variable: xr.DataArray, wanted: Sequence[float] | ArrayLike) -> NDArray[np.float64]:
    """Return, for each wanted value, the nearest one a coordinate has, each once and in increasing order."""
    have = np.asarray(variable, dtype=float)
    asked = np.atleast_1d(np.asarray(wanted, dtype=float))
    return np.unique(have[np.abs(have[:, None] - asked).argmin(axis=0)])


def sequence_colours(count: int) -> list[tuple[float, float, float, float]]:
    """Return `count` colours in order, dark to light; viridis without its end that is lost on white."""
    return [matplotlib.colormaps["viridis"](height) for height in np.linspace(0.0, 0.85, count)]


def need(data: Any, names: Sequence[Hashable], *, call: str, source: str) -> xr.Dataset:
    """Return the Dataset if it has the named variables; `call` and `source` are the functions that a message names."""
    return check_dataset(f"`plot.{call}` got", data, names, source=source)
