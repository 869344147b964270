"""Trained networks against the infinitely wide ensemble: do they scatter as their predicted covariance says?"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import xarray as xr

from ntkspec.record import check_dataset
from ntkspec.validation._seeds import interval, jackknife, products, split
from ntkspec.validation._words import percent

__all__ = ["compare_spreads", "doubt_in_words", "require_ensemble_of", "spread_in_words"]

#: Roundings of the largest function in a training, below which a spread may be one of rounding: networks of float32
#: kept 15 of them where those of float64 had come together.
ROUNDINGS = 64


def require_ensemble_of(p: xr.Dataset, r: xr.Dataset, ensemble: xr.Dataset, steps: np.ndarray) -> None:
    """Refuse an ensemble that is not the infinitely wide limit of these networks.

    Raises:
        ValueError: with what differs.
    """
    needed = ("prediction", "standard_deviation", "step", "x")
    source, told = "ntkspec.dynamics.ensemble", ("learning_rate", "loss")
    check_dataset("`ensemble` is", ensemble, needed, source=source, attributes=told)
    if r.attrs["starts_from_zero"] or r.attrs.get("output", "linear") != "linear":
        raise ValueError(
            "the predicted covariance is of networks with a linear output, each from its own random start: train with "
            "centered=False, or leave `ensemble` out"
        )
    if not p.attrs["starts_from_zero"]:
        raise ValueError("the mean of the ensemble starts from zero: predict without `initial`")
    if ensemble.x.shape != r.x.shape or not np.allclose(ensemble.x, r.x, atol=1e-12):
        raise ValueError("the ensemble is asked at other points; give ns.dynamics.ensemble the training points twice")
    if missing := sorted(set(steps.tolist()) - set(ensemble.step.values.tolist())):
        raise ValueError(f"the ensemble has no step {missing}; ask it for the steps of the prediction")
    for name in ("learning_rate", "loss"):
        if ensemble.attrs[name] != p.attrs[name]:
            raise ValueError(f"the ensemble has {name}={ensemble.attrs[name]}, the prediction {p.attrs[name]}")
    apart = float(np.abs(ensemble.prediction.sel(step=steps) - p.train.sel(step=steps)).max())
    # A prediction is good to 1e-6 of the labels, and an approximate operator to a little less.
    if apart > 1e-3 * float(np.abs(p.target).max()):
        raise ValueError(
            f"the ensemble's mean is up to {apart:.3g} away from the prediction; give both the same labels and dynamics"
        )


def compare_spreads(
    r: xr.Dataset, ensemble: xr.Dataset, inner: Sequence[Hashable], signal: float
) -> dict[str, xr.DataArray]:
    """Spread of networks over the predicted one, √(Σ_i Var f_t(x_i) of the networks / channels · Σ_i cov_t(x_i, x_i)).

    Args:
        r: trained networks, at the steps asked for.
        ensemble: their infinitely wide limit.
        inner: the dimensions of a function.
        signal: ‖y‖.

    Returns:
        `predicted_spread`, `spread_ratio` (step) and `spread_ratio_interval` (bound, step), whose error is that of
        the ratio's logarithm, from leaving out one seed at a time; NaN where the predicted spread is below the
        roundings of training.
    """
    deviation = ensemble.standard_deviation.sel(step=r.step)
    predicted = np.sqrt(r.sizes.get("channel", 1) * (deviation**2).sum("point")) / signal
    rounding = ROUNDINGS * float(np.finfo(r.attrs["dtype"]).eps) * max(1.0, float(predicted.max()))
    # About their mean, so that the digits of a small spread are not lost in large functions.
    gram, seeds = products(r.train - r.train.mean("seed"), inner, signal), r.sizes["seed"]
    with np.errstate(divide="ignore", invalid="ignore"):
        log, error = jackknife(lambda weights: np.log(split(gram, weights).spread) / 2, seeds)
        measured = predicted.copy(data=log) - np.log(predicted.where(predicted > rounding))
    return {
        "predicted_spread": predicted,
        "spread_ratio": np.exp(measured),
        "spread_ratio_interval": np.exp(interval(measured, predicted.copy(data=error), seeds)),
    }


def spread_in_words(v: xr.Dataset) -> str:
    """Whether the networks scatter as predicted, at the last step that tells and where they do so least."""
    seeds = v.sizes["seed"]
    if seeds < 3:
        return "With fewer than 3 seeds the spread of networks cannot be compared with the predicted one."
    v = v.sel(step=v.spread_ratio.notnull())
    if not v.sizes["step"]:
        return "The predicted spread is below the roundings of training: ask for earlier steps to compare it."
    low, high = v.spread_ratio_interval.sel(bound="low"), v.spread_ratio_interval.sel(bound="high")
    off = (np.abs(np.log(v.spread_ratio))).where((low > 1) | (high < 1))
    last = v.isel(step=-1)
    at_last = (
        f"the spread of networks is {percent(last.spread_ratio)} of the predicted one at step {int(last.step)} "
        f"({percent(low[-1])} to {percent(high[-1])} with 95\N{NO-BREAK SPACE}% confidence)"
    )
    # By their own spread, which need not be the predicted one.
    chance = f"the mean of {seeds} is off by {percent(last.spread / seeds**0.5)} by chance alone"
    if bool(off.isnull().all()):
        return f"As the predicted covariance has it within the error of {seeds} seeds, {at_last}; {chance}."
    worst = v.isel(step=int(np.nanargmax(off.values)))
    where = (
        "" if int(worst.step) == int(last.step) else f", and {percent(worst.spread_ratio)} at step {int(worst.step)}"
    )
    return f"Not as the predicted covariance has it, {at_last}{where}; {chance}."


def doubt_in_words(v: xr.Dataset, judged: xr.DataArray) -> str:
    """How far the judged error may be off where theory is said to hold; nothing where the seeds are enough to tell.

    Args:
        v: the comparison.
        judged: `error`, or with an ensemble `systematic_error`.
    """
    seeds = v.sizes["seed"]
    if seeds < 2:
        return "One network has no error bar; train more."
    held = v.sel(step=(v.step > 0) & (v.step <= v.attrs["holds_until_step"]))
    high = held[f"{judged.name}_interval"].sel(bound="high")
    if not bool((high > v.attrs["tolerance"]).any()):
        return ""
    at = high.isel(step=int(np.nanargmax(high.values)))
    return (
        f"That theory holds so far is more than {seeds} seeds can tell: at step {int(at.step)} that error may be "
        f"up to {percent(at)} (95\N{NO-BREAK SPACE}% confidence); train more of them."
    )
