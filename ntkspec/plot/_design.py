"""What a design found, on one page: the search, the choice, the training to expect, and the spectra behind it."""

from __future__ import annotations

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from ntkspec.plot import _style as style

_SOURCE = "ntkspec.design"
_NAT = 20 / np.log(10)


def design(data: xr.Dataset) -> np.ndarray:
    """Plot a design: predicted PSNR over scale and time, the criteria, PSNR against step, and both spectra.

    Args:
        data: from `ntkspec.design`.

    Returns:
        The four axes, shape (4,): PSNR over scale and time with the chosen point, each criterion against the scale,
        predicted PSNR against the step, and the kernel's and the signal's energy by frequency.

    Raises:
        TypeError: it is not a Dataset.
        ValueError: a variable is missing.

    Example:
        >>> import ntkspec as ns
        >>> d = ns.design(ns.task.signal.paper(), num_frequencies=32, scales=[1, 4, 16])
        >>> design(d).shape
        (4,)
    """
    needed = ["psnr", "leave_one_out", "evidence", "predicted_psnr", "chosen_scale", "scale", "time"]
    data = style.need(data, needed, call="design", source=_SOURCE)
    curve = _chosen_curve(data)
    figure = plt.figure(figsize=(11, 8), layout="constrained")
    with matplotlib.rc_context({"axes.spines.top": False, "axes.spines.right": False, "font.size": 10.0}):
        axes = figure.subplots(2, 2).ravel()
    _map(axes[0], curve, data)
    _criteria(axes[1], curve, data)
    _training(axes[2], data)
    _spectra(axes[3], data)
    for ax in axes[1:]:
        ax.grid(True, color="0.9", linewidth=0.7)
    return np.asarray(axes)


def _chosen_curve(data: xr.Dataset) -> xr.Dataset:
    """Return the candidates that differ from the chosen one in scale alone, in order."""
    same = np.ones(data.sizes["candidate"], dtype=bool)
    for name in ("family", "depth", "activation", "W_std", "b_std"):
        same &= np.asarray(data[name] == data.attrs[name])
    curve = data.isel(candidate=np.flatnonzero(same))
    return curve.sortby("scale") if curve.sizes["candidate"] > 1 else curve


def _map(ax: Axes, curve: xr.Dataset, data: xr.Dataset) -> None:
    """PSNR over scale and time."""
    psnr = np.asarray(curve["psnr"].transpose("time", "candidate"))
    top = np.nanmax(psnr)
    mesh = ax.pcolormesh(
        curve["scale"], curve["time"], psnr, cmap="cividis", vmin=max(np.nanmin(psnr), top - 10), shading="nearest"
    )
    _scale_axis(ax, data)
    ax.set_yscale("log")
    ax.set_ylabel(style.label(curve["time"], "time"))
    ax.plot(data.attrs["scale"], _time_of_steps(data), marker="*", color="white", markeredgecolor="black", ms=15)
    bar = ax.figure.colorbar(mesh, ax=ax, pad=0.02, extend="min")
    bar.set_label("Expected PSNR between the points (dB)")
    style.note(ax, f"chosen: {data.attrs['scale']:.3g} by {data.attrs['criterion'].replace('_', ' ')}")


def _time_of_steps(data: xr.Dataset) -> float:
    """Return the time of the map nearest to the recommended steps: both run over the same times."""
    near = int(np.abs(np.log(np.asarray(data["step"]) / data.attrs["steps"])).argmin())
    missing = data.sizes["time"] - data.sizes["step"]
    return float(data["time"][near + missing])


def _criteria(ax: Axes, curve: xr.Dataset, data: xr.Dataset) -> None:
    """Every criterion, as far below its best; the evidence on its own scale."""
    names = [str(name) for name in data["criterion"].values]
    for name, colour, marker in zip(names, style.OKABE_ITO, style.MARKERS, strict=False):
        values = np.asarray(curve[name])
        # A nat a sample of a Gaussian is 20/ln 10 dB of its error.
        best = _NAT * values.max(axis=1) if name == "evidence" else -10 * np.log10(values.min(axis=1))
        chosen, family = (
            float(data["chosen_scale"].sel(criterion=name)),
            data["chosen_family"].sel(criterion=name).item(),
        )
        other = "" if family == data.attrs["family"] else f" ({family})"
        text = f"{name.replace('_', ' ')}: {chosen:.3g}{other}"
        ax.plot(curve["scale"], best - best.max(), color=colour, marker=marker, ms=4, label=text)
        if not other:
            ax.plot(chosen, 0.15, marker="v", color=colour, ms=8, clip_on=False)
    used = data.sel(criterion=data.attrs["criterion"])
    ax.axvspan(float(used["plateau_low"]), float(used["plateau_high"]), color="0.93", zorder=0)
    _scale_axis(ax, data)
    ax.set_ylim(-4, 0.4)
    ax.set_ylabel("Below its best (dB)")
    style.legend(ax, title="criterion: scale it takes", loc="lower center")


def _training(ax: Axes, data: xr.Dataset) -> None:
    """PSNR to expect against step."""
    step = data["step"]
    ax.fill_between(
        step, data["predicted_psnr_low"], data["predicted_psnr_high"], color=style.OKABE_ITO[0], alpha=0.15, lw=0
    )
    ax.plot(step, data["predicted_psnr"], color=style.OKABE_ITO[0], linewidth=1.8)
    ax.axvline(data.attrs["steps"], color=style.GREY, linestyle=":", linewidth=1.2)
    style.step_axis(ax, step)
    ax.set_ylabel("Predicted PSNR between the points (dB)")
    style.note(ax, f"{data.attrs['steps']:,} steps at learning rate {data.attrs['learning_rate']:.3g}")


def _spectra(ax: Axes, data: xr.Dataset) -> None:
    """Return the kernel's rates and the signal's energy by frequency, each relative to its largest."""
    if "signal_energy" not in data:
        ax.set_axis_off()
        ax.text(0.5, 0.5, "scattered points have no frequencies", ha="center", color=style.GREY)
        return
    shown = data[["rayleigh_quotient", "signal_energy"]]
    positive = shown.isel(frequency=np.flatnonzero(np.asarray(data["frequency"]) > 0))
    for name, colour, text in (
        ("rayleigh_quotient", style.OKABE_ITO[0], "kernel: rate of learning"),
        ("signal_energy", style.OKABE_ITO[1], "signal: energy"),
    ):
        values = np.asarray(positive[name])
        values = values / values.max()
        ax.plot(positive["frequency"], np.where(values > 0, values, np.nan), color=colour, label=text, linewidth=1.6)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_ylim(bottom=1e-7)
    ax.set_xlabel(style.label(data["frequency"], "frequency"))
    ax.set_ylabel("Relative to the largest")
    style.legend(ax)


def _scale_axis(ax: Axes, data: xr.Dataset) -> None:
    if data.attrs["family"] not in ("positional", "power_law"):
        ax.set_xscale("log")
    units = f" ({data.attrs['scale_units']})" if data.attrs["scale_units"] else ""
    meaning = data.attrs["scale_meaning"]
    ax.set_xlabel(f"{meaning[0].upper()}{meaning[1:]}{units}")
