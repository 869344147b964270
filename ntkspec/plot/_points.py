"""What is predicted at scattered points: maps of truth, prediction and error, or a curve in one dimension."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import NDArray

from ntkspec.plot import _style as style

_SOURCE = "ntkspec.predict(..., unseen=points)"


def points(data: xr.Dataset, *, step: float | None = None, channel: int = 0) -> NDArray[np.object_]:
    """Plot what is learned at held-out points beside the truth; at the training points where none are held out.

    Args:
        data: Dataset from `ntkspec.predict`, with `unseen`, `unseen_x` and `unseen_target`, or `train`, `x` and
            `target`.
        step: step to show, the nearest there is; the last if None.
        channel: number of the output.

    Returns:
        In one dimension one axes with truth and prediction, else three: truth, prediction and error over the first two
        coordinates.

    Raises:
        ValueError: a variable that the picture needs is missing.

    Example:
        >>> x, f = [[0.1, 0.2], [0.5, 0.6]], [[0.0, 0.4]]
        >>> p = xr.Dataset({"train": (("step", "point"), f), "target": ("point", [0.1, 0.5])},
        ...                coords={"step": [10], "x": (("point", "axis"), x)})
        >>> [ax.get_title(loc="left") for ax in points(p)]
        ['Truth', 'Step 10', 'Error']
    """
    held_out = "unseen_target" in data
    learned, where, truth = ("unseen", "unseen_x", "unseen_target") if held_out else ("train", "x", "target")
    data = style.need(data, [learned, where, truth, "step"], call="points", source=_SOURCE)
    if "channel" in data.dims:
        data = data.isel(channel=channel)
    at = float(style.nearest(data["step"], data["step"].max() if step is None else step)[0])
    x = np.asarray(data[where].transpose(..., "axis"))
    true, found = np.ravel(data[truth]), np.ravel(data[learned].sel(step=at))
    names = [str(name) for name in data["axis"].values] if "axis" in data.coords else []
    names = [f"{name} (unit)" for name in names] or [f"Axis {i} (unit)" for i in range(x.shape[1])]
    values = str(data["channel"].item() if "channel" in data.coords else data[truth].attrs.get("long_name", "value"))
    if x.shape[1] == 1:
        ax = style.axes_or_new(None)
        order = np.argsort(x[:, 0])
        ax.plot(x[order, 0], true[order], "o", color="black", markersize=3, label="truth")
        ax.plot(x[order, 0], found[order], color=style.OKABE_ITO[0], linewidth=1.4, label=f"step {at:,g}")
        ax.set(xlabel=names[0], ylabel=values)
        style.legend(ax)
        return np.asarray([ax], dtype=object)
    axes = style.row_of_axes(3, width=11.0, height=3.6)
    low, high = float(true.min()), float(true.max())
    largest = float(np.abs(found - true).max()) or 1.0
    looks: tuple[tuple[str, Any, dict[str, Any]], ...] = (
        ("Truth", true, {"cmap": "viridis", "vmin": low, "vmax": high}),
        (f"Step {at:,g}", found, {"cmap": "viridis", "vmin": low, "vmax": high}),
        ("Error", found - true, {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest}),
    )
    for ax, (title, colours, options) in zip(axes, looks, strict=True):
        _map(ax, x, colours, options, title, values)
        ax.set(xlabel=names[0], ylabel=names[1])
    return axes


def _map(ax: Axes, x: NDArray[Any], colours: Any, options: dict[str, Any], title: str, values: str) -> None:
    size = float(np.clip(4000 / len(x), 3, 60))
    drawn = ax.scatter(x[:, 0], x[:, 1], c=colours, s=size, linewidths=0, **options)
    ax.set_title(title, loc="left", fontsize="medium")
    ax.get_figure(root=True).colorbar(drawn, ax=ax, pad=0.02).set_label(values)  # type: ignore[union-attr]
