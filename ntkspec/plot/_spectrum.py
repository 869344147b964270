"""Eigenvalues against the frequency their eigenvectors hold."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import NDArray

from ntkspec.plot import _style as style

# Above this many points a vector picture is slow to open and no sharper.
_RASTER = 2000
# Above this many modes the bars of their spread are a grey cloud.
_BARS = 200


def spectrum(
    data: xr.Dataset | Mapping[Hashable, xr.Dataset] | Sequence[xr.Dataset],
    *,
    ax: Axes | None = None,
    against: Literal["frequency", "mode"] = "frequency",
) -> Axes:
    """Plot the eigenvalues of one kernel, or compare those of several.

    Args:
        data: from `ntkspec.eigen.spectrum`; or {label: spectrum}, or a list of them, for a comparison.
        ax: where to draw; new axes if None.
        against: the x axis, `frequency` (the dominant one) or `mode` (the rank from the largest).

    Returns:
        The axes. Points are coloured by purity (the share of the eigenvector's power at its dominant frequency) unless
        all are pure; in a comparison, by label. A bar through a point is the spread of its eigenvector's
        frequencies, for a spectrum alone of few modes. Eigenvalues within their error bound are faint. A line gives
        the mean Rayleigh quotient of plane waves, where the spectrum holds it.

    Raises:
        ValueError: a variable is missing, nothing was given, or `against` is unknown.

    Example:
        >>> s = xr.Dataset({"eigenvalue": ("mode", [2.0, 1.0]),
        ...                 "dominant_frequency": (("mode", "axis"), [[0.0], [1.0]])})
        >>> spectrum(s).get_yscale()
        'log'
    """
    style.require_choice("spectrum", "against", against, ("frequency", "mode"))
    spectra = style.by_label(data, "spectrum", "spectrum")
    needed = ["eigenvalue", "dominant_frequency"] if against == "frequency" else ["eigenvalue"]
    for each in spectra.values():
        style.need(each, needed, call="spectrum", source="ntkspec.eigen.spectrum")
    ax = style.axes_or_new(ax)
    alone = len(spectra) == 1
    positions = {name: _positions(each, against) for name, each in spectra.items()}
    for index, (name, each) in enumerate(spectra.items()):
        _points(ax, each, positions[name], index, label=None if alone and name == "" else str(name), alone=alone)
    if alone and against == "frequency":
        _spread_bars(ax, next(iter(spectra.values())), positions[next(iter(spectra))])
    if against == "frequency":
        for index, each in enumerate(spectra.values()):
            _rate_line(ax, each, index)
    first = next(iter(spectra.values()))
    ax.set_ylabel(style.label(first["eigenvalue"], "eigenvalue"))
    ax.set_yscale("log")
    ax.set_ylim(*_limits(list(spectra.values())))
    _x_axis(ax, first, np.concatenate(list(positions.values())), against)
    if ax.get_legend_handles_labels()[1]:
        style.legend(ax)
    style.note(ax, _remarks(first) if alone else "")
    return ax


def _positions(spectrum: xr.Dataset, against: str) -> NDArray[np.float64]:
    """Return the x position of each mode: |frequency|, or its rank from 1."""
    if against == "mode":
        return np.arange(1.0, spectrum.sizes["mode"] + 1)
    frequency = spectrum["dominant_frequency"].transpose("mode", ...)
    return np.linalg.norm(frequency.values.reshape(frequency.sizes["mode"], -1), axis=1)


def _resolved(spectrum: xr.Dataset) -> NDArray[np.bool_]:
    """Return which eigenvalues are known to be positive: above their error bound."""
    error = spectrum["eigenvalue_error"].values if "eigenvalue_error" in spectrum else 0.0
    return np.asarray(spectrum["eigenvalue"].values > error)


def _points(
    ax: Axes, spectrum: xr.Dataset, x: NDArray[np.float64], index: int, *, label: str | None, alone: bool
) -> None:
    """Draw one spectrum: what is resolved in full, what is not as faint crosses."""
    y = spectrum["eigenvalue"].values
    resolved = _resolved(spectrum)
    faint = ~resolved & (y > 0)
    options: dict[str, Any] = {"s": 18.0 if y.size <= 300 else 9.0, "rasterized": y.size > _RASTER}
    purity = spectrum["dominant_power"].values if "dominant_power" in spectrum else None
    if alone and purity is not None and purity.min() < 0.99:
        # Reversed, so that the pure modes are the dark ones and the picture keeps its weight on white.
        points = ax.scatter(
            x[resolved], y[resolved], c=purity[resolved], cmap="cividis_r", vmin=0, vmax=1,
            edgecolors="0.4", linewidths=0.3, label=label, **options,
        )  # fmt: skip
        bar = ax.figure.colorbar(points, ax=ax, pad=0.02)
        bar.set_label("Purity (power at the dominant frequency)")
    else:
        options |= {"color": style.colour(index), "marker": style.marker(index), "linewidths": 0}
        ax.scatter(x[resolved], y[resolved], label=label, **options)
    if faint.any():
        ax.scatter(x[faint], y[faint], **(options | {"color": "0.75", "marker": "x", "linewidths": 0.8}))


def _spread_bars(ax: Axes, spectrum: xr.Dataset, x: NDArray[np.float64]) -> None:
    """Draw how far the frequencies of each eigenvector reach, where there are few enough bars to tell apart."""
    if "frequency_spread" not in spectrum or spectrum.sizes["mode"] > _BARS:
        return
    y, spread = spectrum["eigenvalue"].values, spectrum["frequency_spread"].values
    shown = _resolved(spectrum) & (spread > 0.01 * x.max())
    if shown.any():
        ax.hlines(
            y[shown], np.maximum(x - spread, 0)[shown], (x + spread)[shown], color="0.6", linewidth=0.6, alpha=0.4,
            zorder=0.5,
        )  # fmt: skip


def _rate_line(ax: Axes, spectrum: xr.Dataset, index: int) -> None:
    """Draw the mean Rayleigh quotient of the plane waves of each frequency, where the spectrum holds it."""
    if "rayleigh_quotient" not in spectrum:
        return
    rate = spectrum["rayleigh_quotient"]
    ax.plot(rate["frequency"], rate, color=style.colour(index), linewidth=1.0, alpha=0.8, zorder=1)


def _limits(spectra: list[xr.Dataset]) -> tuple[float, float]:
    """Return the ends of the eigenvalue axis, set by what is resolved: rounding puts the rest anywhere."""
    shown = [each["eigenvalue"].values[_resolved(each) & (each["eigenvalue"].values > 0)] for each in spectra]
    values = np.concatenate(
        shown + [each["rayleigh_quotient"].values for each in spectra if "rayleigh_quotient" in each]
    )
    values = values[values > 0]
    if not values.size:
        values = np.concatenate([np.abs(each["eigenvalue"].values) for each in spectra])
        values = values[values > 0]
    if not values.size:
        return 0.1, 10.0
    margin = max(2.0, (values.max() / values.min()) ** 0.05)
    return values.min() / margin, values.max() * margin


def _x_axis(ax: Axes, spectrum: xr.Dataset, x: NDArray[np.float64], against: str) -> None:
    """Scale and label the x axis."""
    style.near_zero_axis(ax, x)
    if against == "mode":
        ax.set_xlabel("Mode, from the largest eigenvalue")
        return
    if ax.get_xscale() != "log" and x.max() > 0:
        # A little room left of 0, so that the constant mode is not cut by the spine.
        threshold = x[x > 0].min() if ax.get_xscale() == "symlog" else x.max()
        ax.set_xlim(-0.2 * threshold if ax.get_xscale() == "symlog" else -0.03 * threshold, None)
    units = spectrum["dominant_frequency"].attrs.get("units", "cycles/unit")
    ax.set_xlabel(style.with_units("Dominant frequency, magnitude", units))


def _remarks(spectrum: xr.Dataset) -> str:
    """Return what a reader must know about what is not in the picture."""
    modes = spectrum.sizes["mode"]
    remarks = []
    if not spectrum.attrs.get("complete", 1) and "num_points" in spectrum.attrs:
        remarks.append(f"The largest {modes:,} of {int(spectrum.attrs['num_points']):,} modes.")
    if hidden := modes - int(_resolved(spectrum).sum()):
        remarks.append(
            f"{hidden:,} of {modes:,} modes are not above their error bound: faint crosses, or left out below the axis."
        )
    return " ".join(remarks)
