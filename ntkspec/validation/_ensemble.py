"""The spread of trained networks against that of the infinitely wide ensemble."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

import numpy as np
import xarray as xr

from ntkspec.record import check_dataset
from ntkspec.validation._differences import training_of
from ntkspec.validation._facts import Spread
from ntkspec.validation._statistics import interval, jackknife, products, split

#: Roundings of the largest function in a training, below which a spread may be one of rounding: networks of float32
#: kept 15 of them where those of float64 had come together.
ROUNDINGS = 64


def require_ensemble_of(p: xr.Dataset, r: xr.Dataset, ensemble: xr.Dataset, steps: np.ndarray) -> None:
    """Refuse an ensemble that is not the infinitely wide limit of these networks."""
    needed = ("prediction", "standard_deviation", "step", "x")
    source, common = "ntkspec.dynamics.ensemble", ("learning_rate", "loss")
    check_dataset("`ensemble` is", ensemble, needed, source=source, attributes=common)
    if mismatch := next(_mismatches(p, r, ensemble, steps), None):
        raise ValueError(mismatch)


def _mismatches(p: xr.Dataset, r: xr.Dataset, ensemble: xr.Dataset, steps: np.ndarray) -> Iterator[str]:
    if r.attrs["starts_from_zero"] or training_of(r).output != "linear":
        yield (
            "the predicted covariance is of networks with a linear output, each from its own random start: train with "
            "centered=False, or leave `ensemble` out"
        )
    if not p.attrs["starts_from_zero"]:
        yield "the mean of the ensemble starts from zero: predict without `initial`"
    if ensemble.x.shape != r.x.shape or not np.allclose(ensemble.x, r.x, atol=1e-12):
        yield "the ensemble is predicted at other points; give ns.dynamics.ensemble the training points twice"
    if missing := sorted(set(steps.tolist()) - set(ensemble.step.values.tolist())):
        yield f"the ensemble has no step {missing}; give it the steps of the prediction"
    for name in ("learning_rate", "loss"):
        if ensemble.attrs[name] != p.attrs[name]:
            yield f"the ensemble has {name}={ensemble.attrs[name]}, the prediction {p.attrs[name]}"
    apart = float(np.abs(ensemble.prediction.sel(step=steps) - p.train.sel(step=steps)).max())
    # A prediction is good to 1e-6 of the labels, and an approximate operator to a little less.
    if apart > 1e-3 * float(np.abs(p.target).max()):
        yield (
            f"the ensemble's mean is up to {apart:.3g} away from the prediction; give both the same labels and dynamics"
        )


def compare_spreads(
    r: xr.Dataset, ensemble: xr.Dataset, inner: Sequence[Hashable], signal: float
) -> dict[str, xr.DataArray]:
    """Spread of networks over the predicted one, √(Σ_i Var f_t(x_i) of the networks / channels · Σ_i cov_t(x_i, x_i)).

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


def spreads(v: xr.Dataset) -> tuple[Spread, ...]:
    """Return the spread over the predicted one at the last step where it is known, and where it is farthest off.

    The farthest is one whose interval excludes 1, if there is any.
    """
    v = v.sel(step=v.spread_ratio.notnull())
    if not v.sizes["step"]:
        return ()
    low, high = v.spread_ratio_interval.sel(bound="low"), v.spread_ratio_interval.sel(bound="high")
    off = np.abs(np.log(v.spread_ratio)).where((low > 1) | (high < 1), -1.0)
    indices = [-1] if float(off.max()) < 0 else [-1, int(np.argmax(off.values))]
    # The mean scatters by the networks' own spread, which need not be the predicted one.
    of_mean = v.spread / v.sizes["seed"] ** 0.5
    return tuple(
        Spread(int(v.step[i]), *(float(each[i]) for each in (v.spread_ratio, low, high, of_mean))) for i in indices
    )
