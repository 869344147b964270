"""One-number summaries of a spectrum: how many modes it holds, how wide the kernel is, how fast it falls."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

__all__ = ["bandwidth", "energy_below"]


def bandwidth(s: xr.Dataset) -> xr.Dataset:
    """Measures of the width of a spectrum.

    Args:
        s: from `ntkspec.eigen.spectrum`.

    Returns:
        Dataset of scalars:

        - `effective_rank` = trace K / λ_max, at least the number of modes as strong as the first
          (Vershynin 2018, "High-dimensional probability", section 5.6).
        - `participation_ratio` = (Σλ)²/Σλ² = (trace K)²/‖K‖_F², the number of modes that share the trace
          (Bell & Dean 1970, "Atomic vibrations in vitreous silica").
        - `entropy_rank` = exp(−Σ p log p), p = λ/trace K, the number of equal modes with the same entropy (Roy &
          Vetterli 2007, "The effective rank: a measure of effective dimensionality"). A lower bound where the
          spectrum is not complete: what is missing of the trace then counts with the p of the last mode, the largest
          it can have.
        - `full_width_half_maximum` of the kernel's lag function, in units: the first lag on the first axis at which
          k(Δ) falls to (k(0) + min k)/2, twice; measured from the lowest value so that a large constant
          part (every ReLU kernel has one) does not hide the width. Infinite where it never falls, NaN without lags.
          (Tancik et al. 2020, "Fourier features let networks learn high frequency functions in low dimensional
          domains", reads the width of the kernel against the scale of the mapping.)
        - `spectral_deviation` = √(Σ λ|f|²/Σλ) over the modes held, |f| the dominant frequency, cycles per unit: the
          root mean square bandwidth (Gabor 1946, "Theory of communication").
        - `half_power_frequency`: the smallest f with half of the held Σλ (constant mode apart) at |frequency| ≤ f, the
          median of the power spectrum (Stulen & De Luca 1981, "Frequency parameters of the myoelectric signal").
        - `decay_exponent`: −d log λ/d log mode number, fitted by least squares over `decay_first_mode` to
          `decay_last_mode`: from mode 2 (the first without the constant) to the last whose eigenvalue is above 10
          times its error bound (Bietti & Mairal 2019, "On the inductive bias of neural tangent kernels":
          the exponent says how smooth the functions of the kernel's space are).
        - `condition_number` = λ_max/λ_min over the modes held; a lower bound where the spectrum is not complete
          (`complete` = 0), infinite where λ_min is below its error bound (Golub & Van Loan 2013, "Matrix computations",
          section 2.6; it bounds the steps of gradient descent).

    See also `energy_below`, the part of the trace at low frequencies, and `alignment`, which also looks at the labels.

    Example:
        >>> import ntkspec as ns
        >>> k = ns.kernel.compose(ns.mapping.power_law(16, p=1.0), ns.kernel.MLP(depth=3))
        >>> b = ns.eigen.bandwidth(ns.eigen.spectrum(ns.operator.lattice(k, shape=(32,))))
        >>> bool(1 < b.effective_rank < b.participation_ratio < 32)
        True
    """
    value, error = s.eigenvalue.values, s.eigenvalue_error.values
    trace, norm = float(s.trace), float(s.frobenius_norm)
    first, last, exponent = _decay(value, error)
    deviation, half_power = _frequency_widths(s)
    smallest = float(value[-1]) if value[-1] > error[-1] else 0.0
    measures = {
        "effective_rank": (trace / value[0], "modes"),
        "participation_ratio": (trace**2 / norm**2, "modes"),
        "entropy_rank": (_entropy_rank(value, trace), "modes"),
        "full_width_half_maximum": (_full_width(s), "unit"),
        "spectral_deviation": (deviation, "cycles per unit"),
        "half_power_frequency": (half_power, "cycles per unit"),
        "decay_exponent": (exponent, ""),
        "decay_first_mode": (first, "mode number"),
        "decay_last_mode": (last, "mode number"),
        "condition_number": (value[0] / smallest if smallest else np.inf, ""),
        "complete": (int(s.attrs["complete"]), ""),
    }
    return xr.Dataset(
        {
            name: ((), number, {"units": units, "long_name": name.replace("_", " ")})
            for name, (number, units) in measures.items()
        },
        attrs=dict(s.attrs),
    )


def energy_below(s: xr.Dataset, frequency: ArrayLike) -> xr.DataArray:
    """Return the part of the trace carried at |frequency| ≤ f: the kernel's capacity that is spent on smooth functions.

    On a lattice E(f) = Σ_{|k| ≤ f} u_kᴴ K u_k / (N trace K) over its N plane waves u_k = e^{2πik·x}: exact also
    where the spectrum is not complete, and with what masks and boundaries leak. Else E(f) = Σ_{|f_i| ≤ f} λ_i /
    trace K over the modes held, f_i their dominant frequency: a lower bound where the spectrum is not complete.

    Args:
        s: from `ntkspec.eigen.spectrum`.
        frequency: f, cycles per unit, of any shape. In more than one dimension it counts in bands one turn of the
            longest axis wide.

    Returns:
        E(f) in the shape of `frequency`, with dimension `frequency` where that has one.

    Raises:
        ValueError: if the points are not on a lattice.

    Source: Slepian & Pollak 1961, "Prolate spheroidal wave functions, Fourier analysis and uncertainty I": the energy
    of a function inside a band, here averaged over the kernel's Gaussian process.

    Example:
        >>> import ntkspec as ns
        >>> k = ns.kernel.compose(ns.mapping.power_law(16, p=1.0), ns.kernel.MLP(depth=3))
        >>> s = ns.eigen.spectrum(ns.operator.lattice(k, shape=(32,)))
        >>> ns.eigen.energy_below(s, [0, 4, 16]).values.round(3).tolist()
        [0.32, 0.765, 1.0]
    """
    limits = np.asarray(frequency, dtype=float)
    if "rayleigh_quotient" in s:
        place, energy = s.frequency.values, s.rayleigh_quotient.values * s.frequency_count.values
        total = float(energy.sum())
    else:
        place, energy = np.linalg.norm(s.dominant_frequency.values, axis=1), s.eigenvalue.values
        total = float(s.trace)
        if np.isnan(place).any():
            what = "the points of this spectrum are not on a lattice, so its modes have no frequency; expected one of"
            raise ValueError(f"{what} a regular lattice (holes are fine: operator.lattice(k, shape, mask))")
    order = np.argsort(place, kind="stable")
    held = np.concatenate([[0.0], np.cumsum(energy[order])])
    # A frequency that is meant to be that of a mode is, to rounding.
    share = held[np.searchsorted(place[order], limits * (1 + 1e-12), side="right")] / total
    one_axis = limits.ndim == 1
    return xr.DataArray(
        share,
        dims=("frequency",) if one_axis else tuple(f"axis_{i}" for i in range(limits.ndim)),
        coords={"frequency": ("frequency", limits, {"units": "cycles per unit"})} if one_axis else None,
        name="energy_below",
        attrs={"long_name": "part of the trace at or below the frequency", "units": ""},
    )


def _entropy_rank(value: np.ndarray, trace: float) -> float:
    part = np.maximum(value, 0) / trace
    missing = max(1 - float(part.sum()), 0.0)
    part = part[part > 0]
    return float(np.exp(-np.sum(part * np.log(part)) - missing * np.log(part[-1])))


def _decay(value: np.ndarray, error: np.ndarray) -> tuple[int, int, float]:
    """First and last mode number of the fit, and the exponent; NaN with fewer than three modes."""
    trusted = value > 10 * error
    last = len(value) if trusted.all() else int(np.argmin(trusted))
    if last < 4:
        return 2, last, float("nan")
    number = np.arange(2, last + 1)
    slope = np.polyfit(np.log(number), np.log(value[1:last]), 1)[0]
    return 2, last, float(-slope)


def _full_width(s: xr.Dataset) -> float:
    if "kernel_lag" not in s:
        return float("nan")
    lag, kernel = s.lag.values, s.kernel_lag.values[0]
    centre = int(np.argmin(np.abs(lag)))
    lag, kernel = lag[centre:], kernel[centre:]
    if kernel.min() == kernel[0]:
        return float("inf")
    half = (kernel[0] + kernel.min()) / 2
    below = int(np.argmax(kernel <= half))
    before = below - 1
    part = (kernel[before] - half) / (kernel[before] - kernel[below])
    return float(2 * (lag[before] + part * (lag[below] - lag[before])))


def _frequency_widths(s: xr.Dataset) -> tuple[float, float]:
    radius = np.linalg.norm(s.dominant_frequency.values, axis=1)
    value = np.maximum(s.eigenvalue.values, 0)
    if np.isnan(radius).any():
        return float("nan"), float("nan")
    deviation = float(np.sqrt(np.sum(value * radius**2) / value.sum()))
    moving = np.flatnonzero(radius > 0)
    if not len(moving):
        return deviation, 0.0
    order = moving[np.argsort(radius[moving])]
    cumulative = np.cumsum(value[order])
    return deviation, float(radius[order][np.searchsorted(cumulative, cumulative[-1] / 2)])
