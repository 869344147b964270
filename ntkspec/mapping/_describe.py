"""What a mapping holds in true cycles per unit, and what of it a lattice cannot tell apart."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ntkspec.mapping._base import Mapping
from ntkspec.mapping._fourier import FourierMapping
from ntkspec.mapping._law import GAUSSIAN, LimitMapping

__all__ = ["describe"]

CYCLES = "cycles per unit"
Variables = dict[str, tuple]


def describe(mapping: Mapping, shape: tuple[int, ...] | None = None) -> xr.Dataset:
    """Return the frequencies of a mapping, and on a lattice those that it aliases.

    Points i/n see a frequency k as k mod n in [−n/2, n/2): above n/2, its Nyquist limit, a frequency passes for a
    lower one, and the kernel on the lattice is that of the folded mapping.

    Args:
        mapping: of listed frequencies, or a limit.
        shape: points on each axis of the lattice i/shape; None leaves the lattice out.

    Returns:
        Dataset; ``print(describe(g).summary)`` is for people. Frequencies weigh by their energy a².

        - `num_frequencies` (inf for a limit), `num_features`, `total_energy` = Σa², `constant_energy` (share of b = 0),
          `periodic` (1 if every frequency is whole, so that k_γ has period 1), scalars.
        - `min_frequency`, `max_frequency`, `rms_frequency` (axis): of |b_i|; `rms_radius`: of |b|;
          `dominant_wavelength` = 1/rms_radius, units.
        - `frequency` (number, axis) and `energy` (number), the share of each; not for a limit.
        - With a shape: `lattice` and `nyquist` = n/2 (axis); `energy_above_nyquist` (axis), the share beyond it, and
          `aliased_energy`, the share beyond it on any axis (NaN where a turned limit has no closed form);
          `aliased` (number) and `folded_frequency` (number, axis).

    Raises:
        TypeError: if it is not a mapping.
        ValueError: if it holds no frequencies or is made of several, or the shape is not one positive size an axis.

    Example:
        >>> import ntkspec as ns
        >>> d = ns.mapping.describe(ns.mapping.nerf(dim=1, num_frequencies=4), shape=(10,))
        >>> d.frequency.values.ravel().tolist(), d.folded_frequency.values.ravel().tolist()
        ([1.0, 2.0, 4.0, 8.0], [1.0, 2.0, 4.0, -2.0])
        >>> print(d.summary)
        4 frequencies on 1 axis, 8 features, |γ|² = 1
        axis 0: |b| from 1 to 8, rms 4.61 cycles per unit; Nyquist limit of 10 points 5, 25 % of the energy above
        dominant wavelength 0.217 units = 2.17 points; every frequency is whole: period 1
        aliased: 1 frequency, 25 % of the energy
    """
    if not isinstance(mapping, Mapping):
        raise TypeError(f"`mapping` is a {type(mapping).__name__}; expected one from ntkspec.mapping")
    if shape is not None:
        whole = np.issubdtype(np.asarray(shape).dtype, np.integer)
        shape = tuple(np.atleast_1d(shape).tolist())
        if not whole or len(shape) != mapping.dim or min(shape) < 1:
            raise ValueError(f"shape={shape}; expected {mapping.dim} positive sizes, one a coordinate of the mapping")
    if isinstance(mapping, FourierMapping):
        variables = _listed(mapping, shape)
    elif isinstance(mapping, LimitMapping):
        variables = _limit(mapping, shape)
    else:
        raise ValueError(
            f"a {type(mapping).__name__} has no one list or law of frequencies; describe the mappings it is made of"
        )
    radius = float(variables["rms_radius"][1])
    wavelength = 1 / radius if radius else float("inf")
    variables["dominant_wavelength"] = ((), wavelength, {"units": "unit"})
    variables["num_features"] = ((), mapping.num_features)
    variables["total_energy"] = ((), float(mapping.norm_squared))
    if shape is not None:
        variables["lattice"] = ("axis", np.array(shape), {"units": "points"})
        variables["nyquist"] = ("axis", np.array(shape) / 2, {"units": CYCLES})
    dataset = xr.Dataset(variables, coords={"axis": np.arange(mapping.dim)})
    return dataset.assign_attrs(summary=_summary(dataset))


def _listed(mapping: FourierMapping, shape: tuple[int, ...] | None) -> Variables:
    b = np.asarray(mapping.frequencies, dtype=float)
    energy = np.asarray(mapping.amplitudes, dtype=float) ** 2
    share = energy / energy.sum()
    size, held = np.abs(b), share > 0
    variables: Variables = {
        "num_frequencies": ((), float(len(b))),
        "constant_energy": ((), share[(b == 0).all(axis=1)].sum()),
        "periodic": ((), int(mapping.periodic)),
        "min_frequency": ("axis", size[held].min(axis=0), {"units": CYCLES}),
        "max_frequency": ("axis", size[held].max(axis=0), {"units": CYCLES}),
        "rms_frequency": ("axis", np.sqrt(share @ b**2), {"units": CYCLES}),
        "rms_radius": ((), np.sqrt(share @ (b**2).sum(axis=1)), {"units": CYCLES}),
        "frequency": (("number", "axis"), b, {"units": CYCLES}),
        "energy": ("number", share, {"long_name": "share of the energy"}),
    }
    if shape is not None:
        n = np.array(shape)
        above = size > n / 2
        variables |= {
            "energy_above_nyquist": ("axis", share @ above),
            "aliased_energy": ((), share @ above.any(axis=1)),
            "aliased": ("number", above.any(axis=1)),
            "folded_frequency": (("number", "axis"), b - n * np.floor(b / n + 0.5), {"units": CYCLES}),
        }
    return variables


def _limit(mapping: LimitMapping, shape: tuple[int, ...] | None) -> Variables:
    spread, law = np.asarray(mapping.spread, dtype=float), mapping.law
    width, reach = np.linalg.norm(spread, axis=0), np.abs(spread).sum(axis=0)
    # One z an axis: each coordinate of b is then a multiple of one z, or for Gaussians distributed as one.
    own = (spread != 0).sum(axis=0) <= 1
    variables: Variables = {
        "num_frequencies": ((), float("inf")),
        "constant_energy": ((), 0.0),
        "periodic": ((), 0),
        "min_frequency": ("axis", np.zeros(mapping.dim), {"units": CYCLES}),
        "max_frequency": ("axis", [r * law.highest if r else 0.0 for r in reach], {"units": CYCLES}),
        "rms_frequency": ("axis", law.deviation * width, {"units": CYCLES}),
        "rms_radius": ((), law.deviation * np.linalg.norm(width), {"units": CYCLES}),
    }
    if shape is not None:
        with np.errstate(divide="ignore"):
            tail = law.tail(np.array(shape) / 2 / width)
        known = own if law is not GAUSSIAN else np.ones_like(own)
        above = np.where(known, tail, np.nan)
        independent = own.all() and ((spread != 0).sum(axis=1) <= 1).all()
        aliased = -np.expm1(np.log1p(-above).sum()) if independent else float("nan")
        variables |= {"energy_above_nyquist": ("axis", above), "aliased_energy": ((), aliased)}
    return variables


def _summary(d: xr.Dataset) -> str:
    axes, on_lattice = d.sizes["axis"], "nyquist" in d
    on = "1 axis" if axes == 1 else f"{axes} axes"
    features = f"{int(d.num_features)} features, |γ|² = {float(d.total_energy):.4g}"
    lines = [f"{_count(float(d.num_frequencies))} on {on}, {features}"]
    for i in range(axes):
        at = d.isel(axis=i)
        low, high, rms = (float(at[f"{name}_frequency"]) for name in ("min", "max", "rms"))
        lines.append(f"axis {i}: |b| from {low:.3g} to {high:.3g}, rms {rms:.3g} {CYCLES}")
        if on_lattice:
            limit = f"; Nyquist limit of {int(at.lattice)} points {float(at.nyquist):.4g}, "
            lines[-1] += f"{limit}{_percent(at.energy_above_nyquist)} of the energy above"
    length = float(d.dominant_wavelength)
    points = f" = {length * float(d.lattice.max()):.3g} points" if on_lattice else ""
    period = "every frequency is whole: period 1" if int(d.periodic) else "no period on the unit"
    lines.append(f"dominant wavelength {length:.3g} units{points}; {period}")
    if on_lattice:
        number = f"{_count(float(d.aliased.sum()))}, " if "aliased" in d else ""
        lines.append(f"aliased: {number}{_percent(d.aliased_energy)} of the energy")
    if float(d.constant_energy):
        lines.append(f"constant: {_percent(d.constant_energy)} of the energy at frequency 0")
    return "\n".join(lines)


def _count(number: float) -> str:
    if not np.isfinite(number):
        return "infinitely many frequencies"
    return f"{int(number)} {'frequency' if number == 1 else 'frequencies'}"


def _percent(share: xr.DataArray) -> str:
    return "an unknown share" if np.isnan(float(share)) else f"{100 * float(share):.3g} %"
