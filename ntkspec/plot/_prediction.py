"""What the network has learned at a step: curves in one dimension, pictures in two, the loss in any."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from ntkspec.plot import _style as style

Show = Literal["function", "image", "loss"]
_SOURCE = "ntkspec.predict"
# No eye and no 8-bit file tells better pictures apart; a fit without noise goes to infinity.
_BEYOND_SIGHT = 60.0


def prediction(
    data: xr.Dataset,
    *,
    ax: Axes | None = None,
    show: Show | None = None,
    step: float | None = None,
    steps: Sequence[float] | None = None,
    channel: int = 0,
    reference: ArrayLike | None = None,
) -> Axes:
    """Plot a predicted (or trained) trajectory in the way that suits its dimension.

    Args:
        data: from `ntkspec.predict`, or a training run with the same names.
        ax: where to draw; new axes if None.
        show: `function` (1-D: the target and what is learned at a few steps), `image` (2-D: the field at one
            step) or `loss` (against step); what the data allows, in this order, if None.
        step: which to show as an image, the nearest there is; the last if None.
        steps: which to show as functions; at most five spread over all if None.
        channel: which output to show as a function.
        reference: the true values where the function is drawn, shape (n,) or (n, channels); drawn as a dotted line.

    Returns:
        The axes.

    Raises:
        ValueError: a variable that the picture needs is missing, or `show` is unknown.

    Example:
        >>> p = xr.Dataset({"loss": ("step", [2.0, 1.0])}, coords={"step": [0, 10]})
        >>> prediction(p).get_xlabel()
        'Training step'
    """
    data = style.need(data, ["step"], call="prediction", source=_SOURCE)
    chosen = _suits(data) if show is None else show
    style.require_choice("prediction", "show", chosen, ("function", "image", "loss"))
    if chosen == "function":
        return _functions(style.axes_or_new(ax), data, steps, channel, reference)
    if chosen == "image":
        ax = style.axes_or_new(ax, width=4.6, height=4.6)
        at = float(style.nearest(data["step"], data["step"].max() if step is None else step)[0])
        _draw_picture(ax, _picture(data, at), f"Step {at:,g}")
        return ax
    return _loss(style.axes_or_new(ax), data)


def images(
    data: xr.Dataset,
    *,
    steps: Sequence[float] | None = None,
    reference: ArrayLike | None = None,
    axes: Sequence[Axes] | None = None,
) -> NDArray[np.object_]:
    """Plot the learned picture at several steps in a row, beside the picture it should become.

    Args:
        data: from `ntkspec.predict(..., everywhere=True)`, with `field(step, axis0, axis1[, ...])`.
        steps: which to show, the nearest there are; at most four spread over all if None.
        reference: the true picture, shape (rows, columns) or (rows, columns, 1 or 3), drawn last.
        axes: where to draw, one for each picture; a new row if None, or a column for pictures that are long strips.

    Returns:
        The axes, in order.

    Raises:
        ValueError: there is no field with two axes, or not as many axes as pictures.
    """
    data = style.need(data, ["field", "step"], call="images", source=f"{_SOURCE}(..., everywhere=True)")
    chosen = style.spread(data["step"], 4) if steps is None else style.nearest(data["step"], steps)
    pictures = [(f"Step {at:,g}", _picture(data, float(at))) for at in chosen]
    if reference is not None:
        pictures.append(("Reference", _flat_channel(np.asarray(reference, dtype=float))))
    row = _places(pictures) if axes is None else np.asarray(axes, dtype=object).ravel()
    if len(row) != len(pictures):
        raise ValueError(f"`plot.images` got {len(row)} axes for {len(pictures)} pictures; pass one for each.")
    for ax, (title, picture) in zip(row, pictures, strict=True):
        _draw_picture(ax, picture, title)
        ax.set(xticks=[], yticks=[], xlabel="", ylabel="")
    return np.asarray(row, dtype=object)


def _places(pictures: Sequence[tuple[str, NDArray[np.float64]]]) -> NDArray[np.object_]:
    height, width = pictures[0][1].shape[:2]
    if width > 3 * height:
        return style.row_of_axes(1, width=8.0, height=max(8.0 * height / width, 0.2) + 0.3, rows=len(pictures))
    return style.row_of_axes(len(pictures), width=2.0 * len(pictures), height=min(2.0 * height / width, 8.0) + 0.3)


def quality(data: Mapping[str, xr.DataArray], *, ax: Axes | None = None) -> Axes:
    """Plot PSNR against the training step for several runs.

    Args:
        data: {label: PSNR in dB, with a `step` dimension}. Labels that differ only in the words `train` and
            `test` share a colour, the training one solid and the test one dashed.
        ax: where to draw; new axes if None.

    Returns:
        The axes, up to 60 dB at most.

    Raises:
        ValueError: there is nothing to draw, or a curve has no `step`.

    Example:
        >>> run = xr.DataArray([10.0, 30.0], dims="step", coords={"step": [0, 100]})
        >>> [line.get_linestyle() for line in quality({"train": run, "test": run - 3}).lines]
        ['-', '--']
    """
    if not data:
        raise ValueError("`plot.quality` got no curve; pass {label: PSNR by step}.")
    for name, curve in data.items():
        if curve.dims != ("step",):
            raise ValueError(f"`plot.quality` got dimensions {curve.dims} for {name!r}, expected ('step',).")
    ax = style.axes_or_new(ax)
    stems = list(dict.fromkeys(_without_part(name) for name in data))
    for name, curve in data.items():
        index = stems.index(_without_part(name))
        ax.plot(
            curve["step"],
            curve,
            color=style.colour(index),
            linestyle="--" if re.search(r"\btest\b", name) else "-",
            marker=style.marker(index) if curve.size <= 20 else None,
            markersize=4,
            label=name,
        )
    step_values = np.concatenate([np.ravel(curve["step"]) for curve in data.values()])
    style.step_axis(ax, xr.DataArray(step_values, attrs=next(iter(data.values()))["step"].attrs))
    ax.set_ylabel("PSNR (dB)")
    if max(float(curve.max()) for curve in data.values()) > _BEYOND_SIGHT:
        ax.set_ylim(top=_BEYOND_SIGHT)
    style.legend(ax, outside=len(data) > 4)
    return ax


def _without_part(name: str) -> str:
    """Return a label without the words that tell its training and test curves apart."""
    return re.sub(r"\W*\b(train|test)\b\W*", " ", name).strip()


def _axes_of(data: xr.Dataset) -> list[str]:
    """Return the names of the field's spatial dimensions, in order."""
    return [str(name) for name in data["field"].dims if re.fullmatch(r"axis\d+", str(name))]


def _suits(data: xr.Dataset) -> Show:
    """Return the picture that a trajectory allows."""
    if "field" in data:
        dim = len(_axes_of(data))
    else:
        dim = data["x"].sizes.get("axis", 1) if "x" in data and "train" in data else 0
    if dim == 1:
        return "function"
    return "image" if dim in (2, 3) and "field" in data else "loss"


def _functions(
    ax: Axes, data: xr.Dataset, steps: Sequence[float] | None, channel: int, reference: ArrayLike | None
) -> Axes:
    """Draw the target as points and what is learned as curves, dark to light as training goes on."""
    data = style.need(data, ["field"] if "field" in data else ["train", "x"], call="prediction", source=_SOURCE)
    if "channel" in data.dims:
        data = data.isel(channel=channel)
    if "field" in data:
        learned, position = data["field"], data[_axes_of(data)[0]]
    else:
        order = np.argsort(np.ravel(data["x"]))
        learned, position = data["train"].isel(point=order), data["x"].squeeze()[order]
    if reference is not None:
        truth = np.asarray(reference, dtype=float).reshape(position.size, -1)[:, channel]
        ax.plot(np.ravel(position), truth, color="0.6", linewidth=1.0, linestyle=":", label="truth")
    chosen = style.spread(data["step"], 5) if steps is None else style.nearest(data["step"], steps)
    for at, colour in zip(chosen, style.sequence_colours(len(chosen)), strict=True):
        ax.plot(position, np.ravel(learned.sel(step=at)), color=colour, linewidth=1.5, label=f"{at:,g}")
    if "target" in data and "x" in data:
        # Above the curves: a learned function hides its own data otherwise.
        points = np.ravel(data["x"]), np.ravel(data["target"])
        ax.plot(*points, "o", color="black", markersize=3 if points[0].size <= 200 else 1, label="target", zorder=5)
    ax.set_xlabel(style.label(data.get("x", position), "position", units="unit"))
    ax.set_ylabel(style.label(data.get("target", learned), "signal"))
    style.legend(ax, outside=True, title="Step")
    return ax


def _picture(data: xr.Dataset, step: float) -> NDArray[np.float64]:
    """Return the field at a step, (rows, columns[, 3]); the middle slice of a volume."""
    data = style.need(data, ["field"], call="prediction", source=f"{_SOURCE}(..., everywhere=True)")
    names = _axes_of(data)
    if len(names) not in (2, 3):
        raise ValueError(f"`plot` got a field with {len(names)} spatial axes, expected 2 or 3 for an image.")
    field = data["field"].sel(step=step).transpose(*names, ...)
    if len(names) == 3:
        field = field.isel({names[2]: field.sizes[names[2]] // 2})
    return _flat_channel(np.asarray(field, dtype=float))


def _flat_channel(picture: NDArray[np.float64]) -> NDArray[np.float64]:
    """Drop a channel axis unless it holds red, green and blue; of any other number, keep the first."""
    if picture.ndim == 3 and picture.shape[-1] != 3:
        return picture[..., 0]
    return picture


def _draw_picture(ax: Axes, picture: NDArray[np.float64], title: str) -> None:
    """Draw a picture clipped to [0, 1], rows downwards as arrays are read."""
    options: dict[str, Any] = {} if picture.ndim == 3 else {"cmap": "gray", "vmin": 0.0, "vmax": 1.0}
    ax.grid(False)
    rows, columns = picture.shape[:2]
    # Pixel i stands at i/n of its axis, so its cell reaches half a pixel either side.
    extent = (-0.5 / columns, 1 - 0.5 / columns, 1 - 0.5 / rows, -0.5 / rows)
    ax.imshow(np.clip(picture, 0.0, 1.0), interpolation="nearest", extent=extent, aspect=rows / columns, **options)
    ax.set_xlabel("Axis 1 (unit)")
    ax.set_ylabel("Axis 0 (unit)")
    ax.set_title(title, loc="left", fontsize="medium")


def _loss(ax: Axes, data: xr.Dataset) -> Axes:
    """Draw the loss against step, a faint curve for each seed where there are several."""
    loss = style.need(data, ["loss"], call="prediction", source=_SOURCE)["loss"].transpose("step", ...)
    values = np.asarray(loss).reshape(loss.sizes["step"], -1)
    if values.shape[1] > 1:
        ax.plot(data["step"], values, color=style.OKABE_ITO[4], linewidth=0.8)
    ax.plot(data["step"], values.mean(axis=1), color=style.OKABE_ITO[0], linewidth=1.8)
    style.step_axis(ax, data["step"])
    style.log_values(ax, values, floor=1e-12)
    ax.set_ylabel(style.label(loss, "training loss"))
    return ax
