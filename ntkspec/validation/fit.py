"""Power laws of the width: errors of ensembles, a slope through them, and intervals from drawing seeds anew."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from ntkspec.validation.seeds import CONFIDENCE

__all__ = ["NEVER", "Errors", "errors", "law"]

#: Resamples of the seeds.
DRAWS = 1000
#: A width beyond all that can be built, where a law hardly falls or does not.
NEVER = 1e12
#: What is fitted, and what it is.
QUANTITIES = {
    "error": "error of a network",
    "ensemble_error": "error of the mean",
    "spread": "spread of networks",
    "bias": "what all networks share",
}


class Errors(NamedTuple):
    """Root squared distances of weighted seeds, each (step,); NaN where a square comes out below zero."""

    error: np.ndarray
    ensemble_error: np.ndarray
    spread: np.ndarray
    bias: np.ndarray


class _Fit(NamedTuple):
    """value = constant · width^−exponent, each (step,)."""

    constant: np.ndarray
    exponent: np.ndarray


def law(grams: dict[int, np.ndarray], steps: np.ndarray, accuracy: float) -> xr.Dataset:
    """Errors, fits and their intervals, and the width at which a network's error meets the accuracy.

    Args:
        grams: products of distances to theory of the networks of each width, (step, seed, seed).
        steps: after 0.
        accuracy: relative to the signal.

    Returns:
        See `ntkspec.validation.width_law`.
    """
    widths = np.array(list(grams))

    def of(counts: dict[int, np.ndarray]) -> np.ndarray:
        """(quantity, width, step)."""
        return np.stack([np.stack(errors(gram, counts[width])) for width, gram in grams.items()], axis=1)

    whole = of({width: np.ones(gram.shape[-1]) for width, gram in grams.items()})
    fits = [_fit(widths, values) for values in whole]
    draws = np.stack([of(counts) for counts in _drawn(grams)])
    drawn = [[_fit(widths, values) for values in draw] for draw in draws]
    value_ends = _percentiles(draws)
    slope_ends = _percentiles(np.array([[fit.exponent for fit in one] for one in drawn]))
    # Too small to see on so many seeds: an interval from those draws that show it would be one of their luck.
    slope_ends[:, np.isnan([fit.exponent for fit in fits])] = np.nan
    ends = _percentiles(np.nan_to_num([_meets(one[0], accuracy) for one in drawn], nan=NEVER))
    by_width, by_step = ("quantity", "width", "step"), ("quantity", "step")
    found = xr.Dataset(
        {
            "value": (by_width, whole, _label("distance to theory, relative to the signal")),
            "value_interval": (("bound", *by_width), value_ends, _label("its 95 % interval")),
            "constant": (by_step, [fit.constant for fit in fits], _label("value at width 1")),
            "exponent": (by_step, [fit.exponent for fit in fits], _label("power of the width by which it falls")),
            "exponent_interval": (("bound", *by_step), slope_ends, _label("its 95 % interval")),
        },
        coords={
            "quantity": list(QUANTITIES),
            "words": ("quantity", list(QUANTITIES.values())),
            "width": ("width", widths, {"long_name": "width", "units": "units"}),
            "step": ("step", steps, {"long_name": "training step", "units": "steps"}),
            "bound": ["low", "high"],
        },
    )
    needed = {"needed_width": _meets(fits[0], accuracy), "needed_width_low": ends[0], "needed_width_high": ends[1]}
    return found.assign_attrs({name: float(value) for name, value in needed.items()})


def _label(long_name: str) -> dict[str, str]:
    return {"long_name": long_name, "units": ""}


def _meets(fit: _Fit, accuracy: float) -> float:
    """The width at which a law is down to the accuracy at every step, `NEVER` at most; NaN where it does not fall."""
    if not (fit.exponent > 0).all():
        return np.nan
    return float(np.exp(min((np.log(fit.constant / accuracy) / fit.exponent).max(), np.log(NEVER))))


def errors(gram: np.ndarray, counts: np.ndarray) -> Errors:
    """Of seeds drawn so many times. One drawn twice makes no pair with itself: that would show its variance as bias."""
    own, total = np.einsum("tss->ts", gram), counts.sum()
    single = own @ counts / total
    pairs = total**2 - (counts**2).sum()
    between = np.einsum("s,tsu,u->t", counts, gram, counts)
    common = (between - own @ counts**2) / pairs
    with np.errstate(invalid="ignore"):
        return Errors(
            np.sqrt(own) @ counts / total,
            np.sqrt(np.maximum(common + (single - common) / total, 0)),
            np.sqrt(single - common),
            np.sqrt(common),
        )


def _fit(widths: np.ndarray, values: np.ndarray) -> _Fit:
    """Least squares in logarithms through those of `values` (width, step) that there are."""
    known = np.isfinite(values) & (values > 0)
    log = np.log(np.where(known, values, 1.0))
    count = known.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        x = np.where(known, np.log(widths)[:, None], 0.0)
        x_mean, y_mean = x.sum(axis=0) / count, (log * known).sum(axis=0) / count
        off = (x - x_mean) * known
        slope = np.where(count > 1, (off * log).sum(axis=0) / (off**2).sum(axis=0), np.nan)
        return _Fit(np.exp(y_mean - slope * x_mean), -slope)


def _drawn(grams: dict[int, np.ndarray]) -> list[dict[int, np.ndarray]]:
    """How often each seed of each width is drawn, `DRAWS` times; never one seed alone, which has no pairs."""
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(DRAWS):
        one = {}
        for width, gram in grams.items():
            seeds = gram.shape[-1]
            counts = np.bincount(rng.integers(seeds, size=seeds), minlength=seeds)
            while np.count_nonzero(counts) < 2:
                counts = np.bincount(rng.integers(seeds, size=seeds), minlength=seeds)
            one[width] = counts.astype(float)
        draws.append(one)
    return draws


def _percentiles(draws: np.ndarray) -> np.ndarray:
    """The ends of the interval over the first axis; NaN where more than half of the draws show nothing."""
    shown = np.isfinite(draws)
    ends = np.nanquantile(np.where(shown.any(axis=0), draws, 0.0), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    return np.where(shown.mean(axis=0) > 0.5, ends, np.nan)
