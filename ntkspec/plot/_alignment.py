"""How much of the labels lies in the leading eigenvectors."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from ntkspec.plot import _style as style


def alignment(
    data: xr.Dataset | Mapping[Hashable, xr.Dataset],
    *,
    ax: Axes | None = None,
    against: Literal["rank", "eigenvalue"] = "rank",
) -> Axes:
    """Plot the cumulative power of labels against the rank, or the level, of the eigenvalues.

    Args:
        data: from `ntkspec.eigen.alignment`; or {label: such a Dataset} for a comparison.
        ax: where to draw; new axes if None.
        against: the x axis, `rank` (eigenvalues of at least λ) or `eigenvalue` (λ, largest on the left).

    Returns:
        The axes. A band is the bound on the power's error; the earlier a curve rises, the better kernel and task fit.

    Raises:
        ValueError: a variable is missing, nothing was given, or `against` is unknown.

    Example:
        >>> c = xr.Dataset({"cumulative_power": ("eigenvalue", [1.0, 0.6]), "rank": ("eigenvalue", [3.0, 1.0]),
        ...                 "cumulative_power_error": ("eigenvalue", [0.0, 0.0])}, coords={"eigenvalue": [0.1, 1.0]})
        >>> alignment(c).get_xlabel()
        'Rank: eigenvalues of at least λ'
    """
    style.require_choice("alignment", "against", against, ("rank", "eigenvalue"))
    several = style.by_label(data, "alignment")
    needed = ["cumulative_power", "cumulative_power_error", "rank"]
    for each in several.values():
        style.need(each, needed, call="alignment", source="ntkspec.eigen.alignment")
    ax = style.axes_or_new(ax)
    for index, (name, each) in enumerate(several.items()):
        x = each[against].values
        # A rank below one mode is noise of an estimate; a logarithmic axis has no place for it.
        seen = x >= (0.5 if against == "rank" else 0)
        x, power, error = (v[seen] for v in (x, each["cumulative_power"].values, each["cumulative_power_error"].values))
        low, high = np.clip([power - error, power + error], 0, 1)
        options = style.look(index, len(x)) | {"alpha": 0.25, "linewidth": 1.4}
        style.curve(ax, x, power, low, high, label=str(name) or None, **options)
    ax.set_xscale("log")
    first = next(iter(several.values()))
    if against == "eigenvalue":
        ax.invert_xaxis()
        ax.set_xlabel(style.label(first["eigenvalue"], "eigenvalue λ of K"))
    else:
        ax.set_xlabel("Rank: eigenvalues of at least λ")
    ax.set_ylim(0, 1.03)
    ax.set_ylabel("Cumulative power of the labels")
    if len(several) > 1:
        style.legend(ax, loc="lower right")
    return ax
