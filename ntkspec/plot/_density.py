"""How many eigenvalues a kernel has at each level."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from ntkspec.plot import _style as style


def density(
    data: xr.Dataset | Mapping[Hashable, xr.Dataset],
    *,
    ax: Axes | None = None,
    show: Literal["density", "count"] = "density",
) -> Axes:
    """Plot the spectral density, or the number of eigenvalues above each level, with error bands.

    Args:
        data: from `ntkspec.eigen.density`; or {label: such a Dataset} for a comparison.
        ax: where to draw; new axes if None.
        show: `density` (eigenvalues per unit of ln λ) or `count` (eigenvalues of at least λ).

    Returns:
        The axes. A band is two standard errors over the probes; for the count the error of the quadrature is added
        to it. Levels where the quadrature's bounds are wide are shaded for a spectrum alone.

    Raises:
        ValueError: a variable is missing, nothing was given, or `show` is unknown.

    Example:
        >>> d = xr.Dataset({"count": ("eigenvalue", [3.0, 1.0]), "count_standard_error": ("eigenvalue", [0.1, 0.0]),
        ...                 "count_quadrature_error": ("eigenvalue", [0.1, 0.0])}, coords={"eigenvalue": [0.1, 1.0]})
        >>> density(d, show="count").get_ylabel()
        'Eigenvalues of at least λ'
    """
    if show not in ("density", "count"):
        raise ValueError(f"`plot.density` got show={show!r}, expected 'density' or 'count'.")
    several = {"": data} if isinstance(data, xr.Dataset) else dict(data)
    if not several:
        raise ValueError("`plot.density` got nothing; pass one Dataset, or {label: Dataset}.")
    names = {"density": ["density", "density_standard_error"]}.get(
        show, ["count", "count_standard_error", "count_quadrature_error"]
    )
    for each in several.values():
        style.need(each, names, call="density", source="ntkspec.eigen.density")
    ax = style.axes_or_new(ax)
    shown = []
    for index, (name, each) in enumerate(several.items()):
        colour = style.OKABE_ITO[index % len(style.OKABE_ITO)]
        level, value = each["eigenvalue"].values, each[show].values
        error = 2 * each[f"{show}_standard_error"].values
        if show == "count":
            error = error + each["count_quadrature_error"].values
        ax.plot(level, value, color=colour, linewidth=1.4, label=str(name) or None)
        ax.fill_between(level, np.maximum(value - error, 0), value + error, color=colour, alpha=0.25, linewidth=0)
        shown.append(value)
    ax.set_xscale("log")
    _y_axis(ax, np.concatenate(shown), show)
    first = next(iter(several.values()))
    ax.set_xlabel(style.label(first["eigenvalue"], "eigenvalue λ of K"))
    # Modes are what is counted, as the name says; they are no unit to repeat.
    fallback = {"density": "eigenvalues per unit of ln λ", "count": "eigenvalues of at least λ"}[show]
    ax.set_ylabel(style.with_units(fallback[:1].upper() + fallback[1:], ""))
    if len(several) > 1:
        style.legend(ax)
    elif first.attrs.get("resolved_down_to", 0) > first["eigenvalue"].values[0]:
        lowest = float(first.attrs["resolved_down_to"])
        ax.axvspan(first["eigenvalue"].values[0], lowest, color="0.5", alpha=0.12, linewidth=0, zorder=0)
        style.note(ax, f"Below λ = {lowest:.2g} (shaded) the quadrature's bounds are wider than a tenth of the count.")
    return ax


def _y_axis(ax: Axes, values: np.ndarray, show: str) -> None:
    """Return a logarithmic axis from well below one mode, where there is one mode to be seen."""
    positive = values[np.isfinite(values) & (values > 0)]
    if positive.size and positive.max() > 30:
        ax.set_yscale("log")
        ax.set_ylim(
            max(0.7 * positive.min(), 0.3 if show == "count" else 1e-2 * np.median(positive)), 2 * positive.max()
        )
    else:
        ax.set_ylim(0, None)
