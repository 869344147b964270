"""A predicted trajectory against trained networks: errors by step and frequency, and a verdict."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import numpy as np
import xarray as xr

from ntkspec.grid import energy_by_frequency, place

__all__ = ["psnr", "validate"]


def psnr(
    values: xr.DataArray,
    reference: xr.DataArray | np.ndarray,
    dims: Iterable[Hashable] | None = None,
    peak: float = 1.0,
) -> xr.DataArray:
    """Peak signal-to-noise ratio, −10 log₁₀(mean squared error / peak²).

    Args:
        values: what was learned.
        reference: what it should be, broadcastable.
        dims: dimensions averaged over; None means all but `step` and `seed`.
        peak: the largest value a signal can take.

    Returns:
        PSNR in dB over the remaining dimensions; infinite for a perfect fit.

    Example:
        >>> import xarray as xr
        >>> float(psnr(xr.DataArray([0.1, 0.1], dims="point"), xr.DataArray([0.0, 0.0], dims="point")).round(6))
        20.0
    """
    if dims is None:
        dims = [dim for dim in values.dims if dim not in ("step", "seed")]
    error = ((values - reference) ** 2).mean(dim=list(dims))
    with np.errstate(divide="ignore"):
        ratio = -10 * xr.apply_ufunc(np.log10, error / peak**2)
    ratio.attrs = {"long_name": "peak signal-to-noise ratio", "units": "dB"}
    return ratio


def validate(p: xr.Dataset, r: xr.Dataset, *, tolerance: float = 0.05) -> xr.Dataset:
    """Compare a prediction with trained networks at their common steps.

    Errors are root sums of squares over the training points relative to the labels' own: e = ‖f_trained −
    f_predicted‖/‖y‖. The part of frequency f is √(energy of the difference at f / energy of y), so Σ_f e_f² = e².

    Args:
        p: from `ntkspec.predict`.
        r: from `ntkspec.trainer.train`, started from the same function.
        tolerance: up to which error the theory is said to hold.

    Returns:
        Dataset over `step`:

        - `error_by_seed` (seed, step), their mean `error` and its standard error `error_sem`;
        - `ensemble_error`: of the mean over seeds; `spread`: of a seed about that mean, root mean square;
          `systematic_error`: √max(0, ensemble_error² − spread²/seeds), what no number of seeds averages away;
        - `error_by_frequency` (step, frequency) and `error_by_frequency_sem`;
        - `predicted_residual`, `trained_residual`, `trained_residual_sem` (step, frequency): residual amplitude
          relative to the labels' at that frequency, NaN where the labels have none;
        - `field_error` (step), where both hold a field: root mean square over the lattice relative to the labels';

        and the attributes `verdict` (a sentence), `holds_until_step` (−1 if never) and `tolerance`.

    Raises:
        ValueError: if the two differ in points, learning rate, loss or initial function, or share no step beyond 0.

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
    steps = _comparable(p, r)
    p, r = p.sel(step=steps), r.sel(step=steps)
    signal = float(np.sqrt((p.target**2).sum()))
    inner = [dim for dim in ("point", "channel") if dim in p.train.dims]
    difference = r.train - p.train
    by_seed = np.sqrt((difference**2).sum(inner)) / signal
    mean = difference.mean("seed")
    seeds = r.sizes["seed"]
    spread = np.sqrt(((difference - mean) ** 2).sum(inner).sum("seed") / max(seeds - 1, 1)) / signal
    ensemble = np.sqrt((mean**2).sum(inner)) / signal
    systematic = ((ensemble**2 - spread**2 / seeds).clip(min=0)) ** 0.5
    variables: dict[str, xr.DataArray] = {
        "error_by_seed": by_seed,
        "error": by_seed.mean("seed"),
        "error_sem": _standard_error(by_seed),
        "ensemble_error": ensemble,
        "spread": spread,
        "systematic_error": systematic,
        **_by_frequency(p, r, difference),
    }
    if "field" in p and "field" in r:
        lattice = [dim for dim in p.field.dims if dim != "step"]
        squared = ((r.field - p.field) ** 2).mean(lattice)
        variables["field_error"] = np.sqrt(squared).mean("seed") / np.sqrt((p.target**2).mean())
    v = xr.Dataset(variables)
    for name in v.data_vars:
        v[name].attrs.update(long_name=str(name).replace("_", " ") + ", relative to the labels", units="")
    v.attrs = {key: r.attrs[key] for key in ("configuration", "versions", "ntkspec_version", "width", "dtype")}
    v.attrs |= {"learning_rate": r.attrs["learning_rate"], "loss": r.attrs["loss"], "tolerance": tolerance}
    v.attrs["holds_until_step"] = _holds_until(v, tolerance)
    v.attrs["verdict"] = _verdict(v)
    return v


def _comparable(p: xr.Dataset, r: xr.Dataset) -> np.ndarray:
    """The common steps of two runs of the same problem."""
    if p.x.shape != r.x.shape or not np.allclose(p.x, r.x, atol=1e-12):
        raise ValueError(
            f"the prediction has points {p.x.shape}, the training {r.x.shape}, or other ones: use K.points"
        )
    for name in ("learning_rate", "loss"):
        if p.attrs[name] != r.attrs[name]:
            raise ValueError(
                f"the prediction has {name}={p.attrs[name]}, the training {r.attrs[name]}; give both the same"
            )
    if p.target.shape != r.target.shape or not np.allclose(p.target, r.target, atol=1e-6):
        raise ValueError("the prediction and the training have other labels; give both the same y")
    steps = np.intersect1d(p.step, r.step)
    if not (steps > 0).any():
        raise ValueError(
            f"no common step beyond 0: predicted {p.step.values.tolist()}, trained {r.step.values.tolist()}"
        )
    _same_start(p, r)
    return steps


def _same_start(p: xr.Dataset, r: xr.Dataset) -> None:
    advice = "train with centered=True and predict without `initial`, or predict each network from its own step 0"
    if 0 in p.step and 0 in r.step:
        gap = float(np.abs(r.train.sel(step=0) - p.train.sel(step=0)).max())
        if gap > 1e-5 * float(np.abs(p.target).max()):
            raise ValueError(
                f"the networks start up to {gap:.3g} away from the prediction's initial function; {advice}"
            )
    elif not (p.attrs["starts_from_zero"] and r.attrs["starts_from_zero"]):
        raise ValueError(f"without step 0 in both, only runs that start from zero compare; {advice}")


def _standard_error(by_seed: xr.DataArray) -> xr.DataArray:
    """Of the mean over seeds; NaN for a single one, whose error is not known."""
    if by_seed.sizes["seed"] < 2:
        return xr.full_like(by_seed.isel(seed=0, drop=True), np.nan)
    return by_seed.std("seed", ddof=1) / np.sqrt(by_seed.sizes["seed"])


def _by_frequency(p: xr.Dataset, r: xr.Dataset, difference: xr.DataArray) -> dict[str, xr.DataArray]:
    placement = place(p.x.values)
    if placement is None:
        return {}

    def energy(values: xr.DataArray) -> xr.DataArray:
        channels = values if "channel" in values.dims else values.expand_dims("channel")
        ordered = channels.transpose("channel", ..., "point")
        power, frequency = energy_by_frequency(ordered.values, placement)
        dims = [dim for dim in ordered.dims[1:-1]]
        coords = {dim: ordered[dim] for dim in dims if dim in ordered.coords}
        return xr.DataArray(power.sum(axis=0), dims=[*dims, "frequency"], coords={**coords, "frequency": frequency})

    target = energy(p.target)
    error = (energy(difference) / target.sum()) ** 0.5
    present = target > 1e-12 * target.max()
    predicted = (energy(p.target - p.train) / target).where(present) ** 0.5
    trained = (energy(p.target - r.train) / target).where(present) ** 0.5
    return {
        "error_by_frequency": error.mean("seed"),
        "error_by_frequency_sem": _standard_error(error),
        "predicted_residual": predicted,
        "trained_residual": trained.mean("seed"),
        "trained_residual_sem": _standard_error(trained),
    }


def _holds_until(v: xr.Dataset, tolerance: float) -> int:
    """The last step before the first whose mean error exceeds the tolerance; −1 if that is the first trained one."""
    holds = np.asarray(v.error <= tolerance) | np.asarray(v.step == 0)
    count = len(holds) if holds.all() else int(np.argmin(holds))
    last = int(v.step[count - 1]) if count else 0
    return last if last > 0 else -1


def _verdict(v: xr.Dataset) -> str:
    width, seeds, last = v.attrs["width"], v.sizes["seed"], int(v.step[-1])
    holds, tolerance = v.attrs["holds_until_step"], v.attrs["tolerance"]
    worst = v.isel(step=int(np.argmax(v.error.values)))
    who = f"At width {width} ({seeds} seed{'s' if seeds > 1 else ''})"
    peak = f"{_percent(worst.error, worst.error_sem)} of the signal at step {int(worst.step)}"
    if holds == last:
        return f"{who} the lazy regime holds through step {last}, the last one trained: the error is at most {peak}."
    until = (
        f"holds to {_percent(v.error.sel(step=slice(0, holds)).max())} until step {holds}; beyond," if holds > 0 else ""
    )
    limit = f"does not hold to {_percent(tolerance)}:"
    end = v.sel(step=last)
    later = "" if int(worst.step) == last else f" and {_percent(end.error, end.error_sem)} at step {last}"
    return f"{who} the lazy regime {until or limit} the error reaches {peak}{later}, {_cause(worst, seeds)}."


def _cause(worst: xr.Dataset, seeds: int) -> str:
    if seeds < 3:
        return "with too few seeds to tell fluctuation from feature learning (take at least 3)"
    common, spread = float(worst.systematic_error), float(worst.spread)
    if common > spread:
        return f"{_percent(common)} of it common to all seeds against a spread of {_percent(spread)}: feature learning"
    return (
        f"mostly the spread of seeds ({_percent(spread)}, against {_percent(common)} common to all): finite-width "
        "fluctuation, which a wider network or the mean of an ensemble reduces"
    )


def _percent(part: xr.DataArray | float, error: xr.DataArray | float = np.nan) -> str:
    """A part of the signal to two digits, with its standard error where there is one."""
    text = f"{_digits(100 * float(part), 2)}\N{NO-BREAK SPACE}%"
    if np.isnan(float(error)):
        return text
    return f"{text}\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{_digits(100 * float(error), 1)}\N{NO-BREAK SPACE}%"


def _digits(value: float, count: int) -> str:
    """To so many digits, without an exponent above one."""
    return f"{float(f'{value:.{count}g}'):g}"
