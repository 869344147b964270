"""Power laws of the width: errors of ensembles, a slope through them, and intervals from drawing seeds anew."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from ntkspec.record import step_coordinate, variable
from ntkspec.validation._statistics import CONFIDENCE

#: Resamples of the seeds.
DRAWS = 1000
#: A width beyond all that can be built, where a law hardly falls or does not.
NEVER = 1e12
#: How many times the widest trained network a law is trusted. Biases fall otherwise than spreads, and take over.
FARTHEST = 8.0
#: Power of the width by which the bias falls in theory: corrections to the mean over networks are O(1/width).
BIAS_IN_THEORY = 1.0
#: Quantities that are fitted.
QUANTITIES = {
    "error": "error of a network",
    "ensemble_error": "error of the mean",
    "spread": "spread of networks",
    "bias": "what all networks share",
}


class Errors(NamedTuple):
    """Root squared distances of weighted seeds, each (…, step); NaN where a square comes out below zero."""

    error: np.ndarray
    ensemble_error: np.ndarray
    spread: np.ndarray
    bias: np.ndarray


class _Fit(NamedTuple):
    """value = constant · width^−exponent, each (…, step)."""

    constant: np.ndarray
    exponent: np.ndarray


def law(grams: dict[int, np.ndarray], steps: np.ndarray, accuracy: float) -> xr.Dataset:
    """Errors, fits and their intervals, and the width at which a network's error meets the accuracy.

    Args:
        grams: products of distances to theory of the networks of each width, (step, seed, seed).
        steps: steps after 0.
        accuracy: error relative to the signal.
    """
    widths, rng = np.array(list(grams)), np.random.default_rng(0)
    fewest = min(gram.shape[-1] for gram in grams.values())
    # (quantity, width, step), and (quantity, draw, width, step).
    whole = np.stack([errors(gram, np.ones(gram.shape[-1]), fewest) for gram in grams.values()], axis=1)
    draws = np.stack([errors(gram, _drawn(rng, gram.shape[-1]), fewest) for gram in grams.values()], axis=2)
    fits, drawn = [_fit(widths, values) for values in whole], [_fit(widths, values) for values in draws]
    value_ends = _percentiles(np.swapaxes(draws, 0, 1))
    slope_ends = _percentiles(np.stack([fit.exponent for fit in drawn], axis=1))
    # Too small to see on so many seeds: an interval from those draws that show it would be one of their luck.
    slope_ends[:, np.isnan([fit.exponent for fit in fits])] = np.nan
    ends = _percentiles(np.nan_to_num(_meets(drawn[0], accuracy), nan=NEVER))
    by_width, by_step = ("quantity", "width", "step"), ("quantity", "step")
    d = xr.Dataset(
        {
            "value": variable(by_width, whole, "distance to theory, relative to the signal"),
            "value_interval": variable(("bound", *by_width), value_ends, "its 95 % interval"),
            "constant": variable(by_step, [fit.constant for fit in fits], "value at width 1"),
            "exponent": variable(by_step, [fit.exponent for fit in fits], "power of the width by which it falls"),
            "exponent_interval": variable(("bound", *by_step), slope_ends, "its 95 % interval"),
        },
        coords={
            "quantity": list(QUANTITIES),
            "words": ("quantity", list(QUANTITIES.values())),
            "width": variable("width", widths, "width", "units"),
            "seeds": variable("width", [gram.shape[-1] for gram in grams.values()], "networks"),
            "step": step_coordinate(steps),
            "bound": ["low", "high"],
        },
    )
    needed = {"needed_width": _meets(fits[0], accuracy), "needed_width_low": ends[0], "needed_width_high": ends[1]}
    return d.assign_attrs({name: float(value) for name, value in needed.items()})


def _meets(fit: _Fit, accuracy: float) -> np.ndarray:
    """Return the width at which a law meets the accuracy at every step, at most `NEVER`; NaN where it rises."""
    falls = fit.exponent > 0
    exponent = np.where(falls, fit.exponent, 1.0)
    width = np.exp(np.minimum((np.log(fit.constant / accuracy) / exponent).max(axis=-1), np.log(NEVER)))
    return np.where(falls.all(axis=-1), width, np.nan)


def errors(gram: np.ndarray, counts: np.ndarray, mean_of: int) -> Errors:
    """Errors of products (step, seed, seed) whose seeds are drawn so many times (…, seed), each (…, step).

    A seed drawn twice makes no pair with itself: that would show its variance as bias. `ensemble_error` is that of the
    mean of `mean_of` networks.
    """
    own, total = np.einsum("tss->ts", gram), counts.sum(axis=-1)[..., None]
    single = counts @ own.T / total
    pairs = total**2 - (counts**2).sum(axis=-1)[..., None]
    between = np.stack([((counts @ one) * counts).sum(axis=-1) for one in gram], axis=-1)
    common = (between - counts**2 @ own.T) / pairs
    with np.errstate(invalid="ignore"):
        return Errors(
            counts @ np.sqrt(own).T / total,
            np.sqrt(np.maximum(common + (single - common) / mean_of, 0)),
            np.sqrt(single - common),
            np.sqrt(common),
        )


def _fit(widths: np.ndarray, values: np.ndarray) -> _Fit:
    """Least squares in logarithms through those of `values` (…, width, step) that there are."""
    known = np.isfinite(values) & (values > 0)
    log = np.log(np.where(known, values, 1.0))
    count = known.sum(axis=-2, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        x = np.where(known, np.log(widths)[:, None], 0.0)
        x_mean, y_mean = x.sum(axis=-2, keepdims=True) / count, (log * known).sum(axis=-2, keepdims=True) / count
        off = (x - x_mean) * known
        slope = np.where(
            count > 1, (off * log).sum(axis=-2, keepdims=True) / (off**2).sum(axis=-2, keepdims=True), np.nan
        )
        return _Fit(np.exp(y_mean - slope * x_mean)[..., 0, :], -slope[..., 0, :])


def _drawn(rng: np.random.Generator, seeds: int) -> np.ndarray:
    """How often each seed is drawn, `DRAWS` times; never one seed alone, which has no pairs, (draw, seed)."""
    counts = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=DRAWS)
    while (alone := np.count_nonzero(counts, axis=1) < 2).any():
        counts[alone] = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=int(alone.sum()))
    return counts.astype(float)


def _percentiles(draws: np.ndarray) -> np.ndarray:
    """Return the ends of the interval over the first axis; NaN where more than half of the draws show nothing."""
    shown = np.isfinite(draws)
    ends = np.nanquantile(np.where(shown.any(axis=0), draws, 0.0), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    return np.where(shown.mean(axis=0) > 0.5, ends, np.nan)
