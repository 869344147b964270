"""What is predicted at scattered points: maps of truth, prediction and error, or a curve in one dimension."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import NDArray

from ntkspec.plot import _style as style

_SOURCE = "ntkspec.predict(..., unseen=points)"
#: Outputs that are shown together; of more, the best and the worst.
_TOGETHER = 3


def points(data: xr.Dataset, *, step: float | None = None, channel: int | None = None) -> NDArray[np.object_]:
    """Plot what is learned at held-out points beside the truth; at the training points where none are held out.

    Args:
        data: Dataset from `ntkspec.predict`, with `unseen`, `unseen_x` and `unseen_target`, or `train`, `x` and
            `target`; `trained`, of the shape of `unseen`, is shown beside it.
        step: step to show, the nearest there is; the last if None.
        channel: number of the output; None shows all of up to three, and of more the best and the worst, by error at
            that step relative to the output's standard deviation.

    Returns:
        In one dimension one axes an output with truth and prediction, else three maps each, of truth, prediction and
        its error, over the first two coordinates; where there is `trained`, it comes after the prediction.

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
    at = float(style.nearest(data["step"], data["step"].max() if step is None else step)[0])
    x = np.asarray(data[where].transpose(..., "axis"))
    curves = {f"Step {at:,g}": learned} | ({f"Trained, step {at:,g}": "trained"} if "trained" in data else {})
    true, *found = (
        np.asarray(one).reshape(len(x), -1)
        for one in (data[truth], *(data[each].sel(step=at) for each in curves.values()))
    )
    names = [str(name) for name in data["axis"].values] if "axis" in data.coords else []
    names = [f"{name} (unit)" for name in names] or [f"Axis {i} (unit)" for i in range(x.shape[1])]
    outputs = _outputs(data, truth, true.shape[1])
    shown = _chosen(true, found[0], outputs) if channel is None else {channel: outputs[channel]}
    if x.shape[1] == 1:
        axes = style.row_of_axes(len(shown), width=6.4 if len(shown) == 1 else 4.6 * len(shown))
        order = np.argsort(x[:, 0])
        for ax, (i, output) in zip(axes, shown.items(), strict=True):
            ax.plot(x[order, 0], true[order, i], "o", color="black", markersize=3, label="truth")
            for number, (title, values) in enumerate(zip(curves, found, strict=True)):
                look = {"color": style.colour(number), "linewidth": 1.4, "linestyle": "--" if number else "-"}
                ax.plot(x[order, 0], values[order, i], label=title[0].lower() + title[1:], **look)
            ax.set(xlabel=names[0], ylabel=output)
            style.legend(ax)
        return axes
    count = 2 + len(curves)
    axes = style.row_of_axes(count, width=3.7 * count, height=3.6, rows=len(shown))
    for row, (i, output) in zip(axes.reshape(-1, count), shown.items(), strict=True):
        _maps(row, x, true[:, i], {title: values[:, i] for title, values in zip(curves, found, strict=True)}, output)
        for ax in row:
            ax.set(xlabel=names[0], ylabel=names[1])
    return axes


def _outputs(data: xr.Dataset, truth: str, count: int) -> list[str]:
    if "channel" in data.coords:
        return [str(name) for name in data["channel"].values]
    name = str(data[truth].attrs.get("long_name", "value"))
    return [name] if count == 1 else [f"{name} {i}" for i in range(count)]


def _chosen(true: NDArray[Any], found: NDArray[Any], outputs: list[str]) -> dict[int, str]:
    """Names of the outputs to show, by number."""
    if len(outputs) <= _TOGETHER:
        return dict(enumerate(outputs))
    error = np.sqrt(((found - true) ** 2).mean(axis=0)) / np.maximum(true.std(axis=0), np.finfo(float).tiny)
    best, worst = int(np.argmin(error)), int(np.argmax(error))
    return {best: f"{outputs[best]} (best of {len(outputs)})", worst: f"{outputs[worst]} (worst of {len(outputs)})"}


def _maps(row: NDArray[np.object_], x: NDArray[Any], true: Any, found: dict[str, Any], output: str) -> None:
    """Draw the truth, what was found and the error of the first of that."""
    heights = {"cmap": "viridis", "vmin": float(true.min()), "vmax": float(true.max())}
    for ax, (title, values) in zip(row, ({"Truth": true} | found).items(), strict=False):
        _map(ax, x, values, heights, title, output)
    error = next(iter(found.values())) - true
    largest = float(np.abs(error).max()) or 1.0
    _map(row[-1], x, error, {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest}, "Error", output)


def _map(ax: Axes, x: NDArray[Any], colours: Any, options: dict[str, Any], title: str, values: str) -> None:
    size = float(np.clip(4000 / len(x), 3, 60))
    drawn = ax.scatter(x[:, 0], x[:, 1], c=colours, s=size, linewidths=0, **options)
    ax.set_title(title, loc="left", fontsize="medium")
    ax.get_figure(root=True).colorbar(drawn, ax=ax, pad=0.02).set_label(values)  # type: ignore[union-attr]
