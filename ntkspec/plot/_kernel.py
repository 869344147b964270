"""A stationary kernel as a function of the lag."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes

from ntkspec.plot import _style as style

_NAMES = {"ntk": "NTK", "nngp": "NNGP"}


def kernel(
    data: Any,
    *,
    ax: Axes | None = None,
    which: Literal["ntk", "nngp", "both"] = "ntk",
    num_points: int = 1025,
) -> Axes:
    """Plot kernels against the lag along the first axis, each divided by its value at lag 0.

    Args:
        data: a composed kernel from `ntkspec.kernel.compose`, or {label: kernel}.
        ax: where to draw; new axes if None.
        which: the tangent kernel, the kernel of the output at initialisation, or both (the latter dashed).
        num_points: lags between -0.5 and 0.5 units; an even number is raised by one, so that 0 is among them.

    Returns:
        The axes.

    Raises:
        ValueError: a kernel is not stationary, `which` is unknown, or nothing was given.

    Example:
        >>> class Cosine:
        ...     dim, stationary = 1, True
        ...     def ntk_lag(self, delta):
        ...         return 2 * np.cos(2 * np.pi * delta[..., 0])
        >>> float(kernel(Cosine()).lines[0].get_ydata().max())
        1.0
    """
    style.require_choice("kernel", "which", which, ("ntk", "nngp", "both"))
    kernels = style.by_label(data, "kernel", "kernel")
    for name, each in kernels.items():
        if not each.stationary:
            raise ValueError(
                f"`plot.kernel` got a kernel that is not stationary{f' ({name})' if name != '' else ''}: "
                "it is no function of the lag alone. Compose the network with a Fourier mapping, for example "
                "`ntkspec.mapping.gaussian`, or plot the matrix `k.ntk(x)` itself."
            )
    ax = style.axes_or_new(ax)
    kinds = ["ntk", "nngp"] if which == "both" else [which]
    for index, (name, each) in enumerate(kernels.items()):
        for kind in kinds:
            words = [str(name)] if name != "" else []
            words += [_NAMES[kind]] if len(kinds) > 1 else []
            _curve(ax, each, kind, num_points, color=style.colour(index), label=", ".join(words) or None)
    ax.set_xlim(-0.5, 0.5)
    ax.set_xlabel("Lag along axis 0 (unit)")
    name = "Kernel" if len(kinds) > 1 else _NAMES[which]
    ax.set_ylabel(f"{name}, relative to lag 0")
    if ax.get_legend_handles_labels()[1]:
        style.legend(ax, loc="upper right")
    return ax


def _curve(ax: Axes, kernel: Any, kind: str, num_points: int, **options: Any) -> None:
    """Draw one kernel."""
    half = max(1, num_points // 2)
    lag = np.arange(-half, half + 1) / (2 * half)
    delta = np.zeros((lag.size, int(kernel.dim)))
    delta[:, 0] = lag
    function = kernel.ntk_lag if kind == "ntk" else kernel.nngp_lag
    values = np.asarray(function(delta), dtype=float)
    ax.plot(lag, values / values[half], linestyle="-" if kind == "ntk" else "--", linewidth=1.6, **options)
