"""Statistics over seeds: squared distances of one network, of all in common, and of each about the others.

All are functions of the products ⟨d_s, d_s'⟩ of the networks' distances d_s = f_s − f_theory, so that leaving a seed
out, or drawing it twice, is a weight and no second look at the functions.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy.special import stdtrit

#: Of every interval here.
CONFIDENCE = 0.95

#: Statistic of weights of the seeds, shape (seed,).
Statistic = Callable[[np.ndarray], np.ndarray]


class Squares(NamedTuple):
    """Mean squared distances, each of the shape that the products have before their two seeds.

    Attributes:
        single: of one network, E|d_s|².
        common: of the mean of infinitely many, |E d_s|²; unbiased, so it may come out below zero.
        spread: variance of a network about that mean; single = common + spread.
    """

    single: np.ndarray
    common: np.ndarray
    spread: np.ndarray


def products(difference: xr.DataArray, inner: Sequence[Hashable], scale: float) -> np.ndarray:
    """⟨d_s, d_s'⟩ / scale² of distances (seed, …, *inner), shape (…, seed, seed)."""
    outer = [dim for dim in difference.dims if dim not in inner and dim != "seed"]
    values = difference.transpose(*outer, "seed", *inner).values / scale
    flat = values.reshape(*values.shape[: len(outer) + 1], -1)
    return np.asarray(flat @ np.swapaxes(flat, -1, -2))


def split(gram: np.ndarray, weights: np.ndarray) -> Squares:
    """Squared distances of weighted seeds; what is common needs two of them and is NaN for one.

    Of pairs, only those of different seeds are averaged: E⟨d_s, d_s'⟩ = |E d|², while ⟨d_s, d_s⟩ has the variance too.

    Args:
        gram: products, shape (…, seed, seed).
        weights: how often each seed counts, shape (seed,).
    """
    total, pairs = weights.sum(), weights.sum() ** 2 - (weights**2).sum()
    own = np.einsum("...ss->...s", gram)
    single = own @ weights / total
    between = np.einsum("s,...st,t->...", weights, gram, weights) - own @ weights**2
    common = between / pairs if pairs > 0 else np.full_like(single, np.nan)
    return Squares(single, common, single - common)


def jackknife(statistic: Statistic, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a statistic of all seeds and its standard error, from leaving out one seed at a time.

    It is NaN where it is unknown: fewer than three seeds leave the error of a variance so.

    Source: Efron & Stein 1981, "The jackknife estimate of variance".
    """
    whole = np.ones(seeds)
    value = np.asarray(statistic(whole))
    if seeds < 2:
        return value, np.full_like(value, np.nan, dtype=float)
    left_out = np.stack([statistic(whole - np.eye(seeds)[s]) for s in range(seeds)])
    variance = (seeds - 1) / seeds * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0)
    return value, np.sqrt(variance)


def standard_error(by_seed: xr.DataArray) -> xr.DataArray:
    """Of the mean over seeds; NaN for a single one, whose error is not known."""
    if by_seed.sizes["seed"] < 2:
        return xr.full_like(by_seed.isel(seed=0, drop=True), np.nan)
    # Some versions of xarray warn where all seeds are NaN, which a frequency without energy in the signal is.
    return by_seed.std("seed", ddof=1, skipna=False) / np.sqrt(by_seed.sizes["seed"])


def interval(value: xr.DataArray, error: xr.DataArray, seeds: int, confidence: float = CONFIDENCE) -> xr.DataArray:
    """Value ± t · error along a leading dimension `bound` ("low", "high"), Student's t of seeds − 1 degrees of freedom.

    Of one network nothing is known, and both ends are NaN.
    """
    factor = float(stdtrit(seeds - 1, (1 + confidence) / 2)) if seeds > 1 else np.nan
    ends = xr.concat([value - factor * error, value + factor * error], dim="bound")
    return ends.assign_coords(bound=["low", "high"])
