"""How the kernel of finite networks moves while they are trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from ntkspec.plot import _style as style

_SOURCE = "ntkspec.empirical.movement"
_CURVES = {
    "change": {
        "kernel_drift": "since initialisation",
        "kernel_rotation": "of direction (1 − cosine)",
        "kernel_error": "from infinite width",
    },
    "alignment": {"kernel_alignment": "kernel", "centered_kernel_alignment": "centred kernel"},
}
_LABELS = {"change": "Change of the kernel, relative to it", "alignment": "Alignment with the target"}


def movement(
    data: xr.Dataset,
    *,
    ax: Axes | None = None,
    show: Literal["change", "alignment", "frequency"] = "change",
    steps: Sequence[float] | None = None,
) -> Axes:
    """Plot what the observer of moving kernels has seen.

    Args:
        data: from training with ``observe=ntkspec.empirical.movement(...)``, or such Datasets along `step`.
        ax: where to draw; new axes if None.
        show: `change` (drift, rotation and distance to infinite width, against step), `alignment` (with the target,
            against step) or `frequency` (the rate of each frequency relative to the first step's, a curve a step).
        steps: which to draw by frequency, the nearest ones there are; at most six if None.

    Returns:
        The axes. Lines are means over seeds, bands their range; by frequency the dashed line is the kernel of infinite
        width.

    Raises:
        ValueError: a variable is missing, or `show` is unknown.

    Example:
        >>> r = xr.Dataset({name: (("seed", "step"), [[0.0, 0.2], [0.0, 0.4]]) for name in
        ...     ("kernel_drift", "kernel_rotation", "kernel_error")}, coords={"step": [0, 100]})
        >>> movement(r).lines[0].get_ydata().round(6).tolist()
        [0.0, 0.3]
    """
    if show == "frequency":
        return _by_frequency(data, ax, steps)
    style.require_choice("movement", "show", show, (*_CURVES, "frequency"))
    names = _CURVES[show]
    data = style.need(data, [*names, "step"], call="movement", source=_SOURCE)
    ax = style.axes_or_new(ax)
    for index, (name, text) in enumerate(names.items()):
        look = style.look(index, data.sizes["step"])
        _over_seeds(ax, data["step"], data[name], label=text, alpha=0.18, **look)
    style.step_axis(ax, data["step"])
    ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]) if show == "alignment" else 0.0)
    ax.set_ylabel(_LABELS[show])
    style.legend(ax)
    style.note(ax, _points(data))
    return ax


def _by_frequency(data: xr.Dataset, ax: Axes | None, steps: Sequence[float] | None) -> Axes:
    """Draw a curve for each of a few steps, dark to light as they rise."""
    needed = ["kernel_rayleigh_quotient", "kernel_frequency", "step"]
    data = style.need(data, needed, call="movement", source=_SOURCE)
    ax = style.axes_or_new(ax)
    quotient = data["kernel_rayleigh_quotient"]
    first = quotient.isel(step=0)
    chosen = style.spread(data["step"], 6) if steps is None else style.nearest(data["step"], steps)
    frequency = data["kernel_frequency"]
    for step, colour in zip(chosen, style.sequence_colours(len(chosen)), strict=True):
        _over_seeds(ax, frequency, quotient.sel(step=step) / first, color=colour, alpha=0.15, label=f"{step:g}")
    if "infinite_rayleigh_quotient" in data.coords:
        infinite = data["infinite_rayleigh_quotient"] / first
        ax.plot(
            frequency, infinite.mean("seed"), color=style.GREY, linestyle="--", linewidth=1.2, label="infinite width"
        )
    ax.set_xlabel(style.label(frequency, "frequency", units="cycles per unit"))
    ax.set_ylabel(f"Rate of learning, relative to step {float(data['step'][0]):g}")
    ax.set_ylim(bottom=0.0)
    style.legend(ax, outside=True, title="Step")
    style.note(ax, _points(data))
    return ax


def _over_seeds(ax: Axes, x: xr.DataArray, values: xr.DataArray, **options: Any) -> None:
    """Draw the mean over seeds, and their range."""
    style.curve(ax, x, values.mean("seed"), values.min("seed"), values.max("seed"), **options)


def _points(data: xr.Dataset) -> str:
    """Return the part that was watched, where it was not all."""
    looked, of = (data.attrs.get(name) for name in ("kernel_points", "kernel_points_of"))
    return "" if looked is None or looked == of else f"Kernels at {int(looked):,} of {int(np.asarray(of)):,} points."
