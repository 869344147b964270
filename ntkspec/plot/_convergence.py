"""What is left to learn, by frequency and training step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from ntkspec.plot import _style as style


def convergence(
    data: xr.Dataset,
    *,
    ax: Axes | None = None,
    frequencies: Sequence[float] | None = None,
    as_image: bool = False,
) -> Axes:
    """Plot the residual amplitude at each frequency, relative to the target's, against the training step.

    Args:
        data: from `ntkspec.eigen.convergence`: `residual_energy(step, frequency)`, `target_energy(frequency)`.
        ax: where to draw; new axes if None.
        frequencies: which to draw, in cycles per unit, the nearest ones there are; at most seven spread over
            those that the target holds if None. Not used by the image.
        as_image: draw every frequency, as a map of frequency against step.

    Returns:
        The axes: 1 is untouched, 0 is learned.

    Raises:
        ValueError: a variable is missing, or the target has no energy.

    Example:
        >>> residual, target = (("step", "frequency"), [[4.0], [1.0]]), ("frequency", [4.0])
        >>> energies = {"residual_energy": residual, "target_energy": target}
        >>> c = xr.Dataset(energies, {"step": [0, 10], "frequency": [3.0]})
        >>> convergence(c).lines[0].get_ydata().tolist()
        [1.0, 0.5]
    """
    needed = ["residual_energy", "target_energy", "step", "frequency"]
    data = style.need(data, needed, call="convergence", source="ntkspec.eigen.convergence")
    target = data["target_energy"]
    if not float(target.max()) > 0:
        raise ValueError("`plot.convergence` got a target without energy at any frequency; is it zero everywhere?")
    # Below this the ratio is one rounding error over another.
    held = data.isel(frequency=np.flatnonzero(np.asarray(target) > 1e-20 * float(target.max())))
    relative = (held["residual_energy"].clip(min=0) / held["target_energy"]) ** 0.5
    relative["frequency"].attrs |= data["frequency"].attrs
    ax = style.axes_or_new(ax)
    if as_image:
        return _image(ax, relative)
    return _curves(ax, relative, held["target_energy"], frequencies)


def _curves(ax: Axes, relative: xr.DataArray, energy: xr.DataArray, frequencies: Sequence[float] | None) -> Axes:
    """Draw a curve for each of a few frequencies, dark to light as they rise."""
    if frequencies is None:
        strong = energy["frequency"].values[np.asarray(energy >= 1e-6 * energy.max())]
        chosen = style.spread(strong, 7)
    else:
        chosen = style.nearest(relative["frequency"], frequencies)
    for frequency, colour in zip(chosen, style.sequence_colours(len(chosen)), strict=True):
        curve = relative.sel(frequency=frequency)
        ax.plot(curve["step"], curve, color=colour, linewidth=1.6, label=f"{frequency:g}")
    style.step_axis(ax, relative["step"])
    style.log_values(ax, relative.sel(frequency=chosen))
    ax.set_ylabel("Residual amplitude, relative to the target")
    title = style.with_units("Frequency", relative["frequency"].attrs.get("units", "cycles/unit"))
    style.legend(ax, outside=True, title=title.replace(" (", "\n("))
    return ax


def _image(ax: Axes, relative: xr.DataArray) -> Axes:
    """Draw every frequency against step, the residual as colour."""
    ax.grid(False)
    mesh = ax.pcolormesh(
        relative["step"], relative["frequency"], relative.transpose("frequency", "step"),
        cmap="cividis", vmin=0.0, vmax=1.0, shading="nearest", rasterized=True,
    )  # fmt: skip
    style.step_axis(ax, relative["step"])
    ax.set_ylabel(style.label(relative["frequency"], "frequency", units="cycles/unit"))
    grown = float(relative.max()) > 1 + 1e-6
    bar = ax.figure.colorbar(mesh, ax=ax, pad=0.02, extend="max" if grown else "neither")
    bar.set_label("Residual amplitude, relative to the target")
    return ax
