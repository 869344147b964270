"""A predicted trajectory against trained networks: errors by step and frequency, and a verdict."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import xarray as xr

from ntkspec.checks import check_positive
from ntkspec.dynamics import summed_rate
from ntkspec.validation import _prose as prose
from ntkspec.validation._differences import differences, training_of
from ntkspec.validation._ensemble import compare_spreads, require_ensemble_of, spreads
from ntkspec.validation._errors import by_frequency, common_steps, inner_dims, require_same_start, signal_norm
from ntkspec.validation._facts import Peak, Verdict, as_json
from ntkspec.validation._shares import require_explanation_of
from ntkspec.validation._statistics import interval, jackknife, products, split, standard_error


def validate(
    p: xr.Dataset,
    r: xr.Dataset,
    *,
    tolerance: float = 0.05,
    ensemble: xr.Dataset | None = None,
    causes: xr.Dataset | None = None,
) -> xr.Dataset:
    """Compare a prediction with trained networks at their common steps.

    Errors are root sums of squares over the training points relative to the labels' own: e = ‖f_trained −
    f_predicted‖/‖y‖. The part of frequency f is √(energy of the difference at f / energy of y), so Σ_f e_f² = e².
    Intervals hold the true value with 95 % (Student's t over seeds; of quantities that are no mean over seeds, with the
    error from leaving out one seed at a time); those of one network are NaN, for nothing is known of its luck.

    With `ensemble` networks may start from random functions of their own: their mean is compared with the prediction,
    their spread with the predicted covariance, and the verdict is about those.

    Args:
        p: result of `ntkspec.predict`.
        r: result of `ntkspec.trainer.train` from the same start, or (with `ensemble`) with centered=False.
        tolerance: error up to which the theory holds.
        ensemble: result of `ntkspec.dynamics.ensemble` at the training points and these steps.
        causes: result of `ntkspec.validation.explain` for these runs: the verdict then names what the gap is due to.

    Returns:
        Dataset over `step`:

        - `error_by_seed` (seed, step), their mean `error`, its standard error `error_sem` and `error_interval` (bound,
          step), where `bound` is "low" and "high";
        - `ensemble_error`: of the mean over seeds; `spread`: of a seed about that mean, root mean square (NaN for
          one seed); `systematic_error`: √max(0, ensemble_error² − spread²/seeds), what no number of seeds averages
          away, and `systematic_error_interval`;
        - `error_by_frequency` (step, frequency), `error_by_frequency_sem` and `error_by_frequency_interval`;
        - `predicted_residual`, `trained_residual`, `trained_residual_sem` (step, frequency): residual amplitude
          relative to the labels' at that frequency, NaN where the labels have none; `trained_residual_interval`;
        - `field_error` and `unseen_error` (step), where both hold a field or the same unseen points: root mean square
          over the lattice or those points, relative to the labels';
        - with `ensemble`: `predicted_spread`, `spread_ratio` = spread/predicted_spread and `spread_ratio_interval`, NaN
          where the predicted one is below the roundings of training;

        and the attributes `verdict` (sentences), `holds_until_step` (−1 if never) and `tolerance`.

    Raises:
        ValueError: if the two differ in points, learning rate, loss or initial function, or share no step beyond 0; if
            `ensemble` or `causes` are of other runs.

    Example:
        >>> import ntkspec as ns, numpy as np
        >>> k = ns.kernel.compose(ns.mapping.basic(dim=1), ns.kernel.MLP(depth=1, width=512))
        >>> K = ns.operator.lattice(k, shape=(16,))
        >>> y = np.sin(2 * np.pi * K.points[:, 0])
        >>> options = dict(steps=[0, 2, 4], learning_rate=ns.dynamics.max_learning_rate(K) / 2)
        >>> v = ns.validate(ns.predict(K, y, **options), ns.trainer.train(k, K.points, y, **options))
        >>> bool(v.error.sel(step=4) < 0.2)
        True
    """
    steps = common_steps(p, r)
    check_positive("tolerance", tolerance, "such as 0.05, relative to the signal")
    if ensemble is None:
        require_same_start(p, r)
    else:
        require_ensemble_of(p, r, ensemble, steps)
    if causes is not None:
        require_explanation_of(p, r, causes)
    p, r = p.sel(step=steps), r.sel(step=steps)
    signal, inner = signal_norm(p), inner_dims(p)
    difference = r.train - p.train
    variables = _by_step(difference, inner, signal) | by_frequency(p, r, difference)
    for other in ("field", "unseen"):
        if other in p and other in r:
            squared: xr.DataArray = (r[other] - p[other]) ** 2
            each = squared.mean([dim for dim in p[other].dims if dim != "step"]) ** 0.5
            variables[f"{other}_error"] = each.mean("seed") / np.sqrt((p.target**2).mean())
    v = xr.Dataset(variables)
    if ensemble is not None:
        v = v.assign(compare_spreads(r, ensemble, inner, signal))
    for name in v.data_vars:
        v[name].attrs.update(long_name=str(name).replace("_", " ") + ", relative to the labels", units="")
    if ensemble is not None:
        v.spread_ratio.attrs["long_name"] = "spread of networks, relative to the predicted one"
    facts = _facts(p, r, v, tolerance)
    v.attrs = {key: r.attrs[key] for key in ("configuration", "versions", "ntkspec_version", "width", "dtype")}
    v.attrs |= {"learning_rate": r.attrs["learning_rate"], "loss": r.attrs["loss"], "tolerance": tolerance}
    v.attrs |= {"holds_until_step": facts.holds_until, "remarks": as_json(facts.differences), "facts": facts.to_json()}
    v.attrs["verdict"] = prose.verdict(facts, causes)
    return v


def _facts(p: xr.Dataset, r: xr.Dataset, v: xr.Dataset, tolerance: float) -> Verdict:
    """Return the numbers that a verdict is made of."""
    judged: Literal["error", "systematic_error"] = "systematic_error" if "spread_ratio" in v else "error"
    error, last = v[judged], int(v.step[-1])
    standard_error = v.error_sem if judged == "error" else xr.full_like(error, np.nan)
    until = _holds_until(error, tolerance)

    def peak(step: int) -> Peak:
        return Peak(step, float(error.sel(step=step)), float(standard_error.sel(step=step)))

    later = error.where(v.step > 0, drop=True)
    farthest = v.isel(step=int(np.argmax(v.error.values)))
    high = v[f"{judged}_interval"].sel(bound="high", step=(v.step > 0) & (v.step <= until))
    above = high.where(high > tolerance, drop=True)
    # Runs without step 0 start from zero.
    start = p.train.sel(step=0) if 0 in p.step else 0.0
    learned = float((((p.train - start) ** 2).sum(inner_dims(p)) ** 0.5).max()) / signal_norm(p)
    return Verdict(
        width=r.attrs["width"],
        seeds=r.sizes["seed"],
        tolerance=tolerance,
        judged=judged,
        last_step=last,
        holds_until=until,
        held=float(error.sel(step=slice(0, max(until, 0))).max()) if until > 0 else math.nan,
        worst=peak(int(later.step[int(later.values.argmax())])),
        last=peak(last),
        open=Peak(int(above.idxmax()), float(above.max())) if above.size else None,
        learned=learned,
        common=float(farthest.systematic_error),
        spread=float(farthest.spread),
        limit_share=_limit_share(p, r),
        differences=differences(p, r),
        spreads=spreads(v) if "spread_ratio" in v else None,
    )


def _limit_share(p: xr.Dataset, r: xr.Dataset) -> float:
    """ηλ_max of the prediction over the optimizer's stability limit; NaN where it is not known or the rate changes."""
    training = training_of(r)
    limit = training.optimizer.limit
    if limit is None or "largest_eigenvalue" not in p.attrs or training.schedule != "constant":
        return math.nan
    rate = summed_rate(float(p.attrs["learning_rate"]), p.sizes["point"], p.attrs["loss"])
    return rate * float(p.attrs["largest_eigenvalue"]) / limit


def _by_step(difference: xr.DataArray, inner: list, signal: float) -> dict[str, xr.DataArray]:
    """Errors of single networks, of their mean, and what is common to all."""
    seeds = difference.sizes["seed"]
    by_seed = ((difference**2).sum(inner)) ** 0.5 / signal
    mean = difference.mean("seed")
    spread = (((difference - mean) ** 2).sum(inner).sum("seed") / max(seeds - 1, 1)) ** 0.5 / signal
    ensemble = (mean**2).sum(inner) ** 0.5 / signal
    error, sem = by_seed.mean("seed"), standard_error(by_seed)
    gram = products(difference, inner, signal)
    common, common_error = (
        error.copy(data=values) for values in jackknife(lambda weights: split(gram, weights).common, seeds)
    )
    return {
        "error_by_seed": by_seed,
        "error": error,
        "error_sem": sem,
        "error_interval": interval(error, sem, seeds).clip(min=0),
        "ensemble_error": ensemble,
        # Of one network there is none, which is not to say that it is zero.
        "spread": spread if seeds > 1 else xr.full_like(spread, np.nan),
        "systematic_error": ((ensemble**2 - spread**2 / seeds).clip(min=0)) ** 0.5,
        "systematic_error_interval": interval(common, common_error, seeds).clip(min=0) ** 0.5,
    }


def _holds_until(error: xr.DataArray, tolerance: float) -> int:
    """Return the last step before the first whose error exceeds the tolerance; −1 if that is the first trained one."""
    holds = np.asarray(error <= tolerance) | np.asarray(error.step == 0)
    count = len(holds) if holds.all() else int(np.argmin(holds))
    last = int(error.step[count - 1]) if count else 0
    return last if last > 0 else -1
