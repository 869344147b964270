"""Which runs can be compared, and errors of a training about its prediction by frequency."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator

import numpy as np
import xarray as xr

from ntkspec.grid import energy_by_frequency, place
from ntkspec.operator import Operator
from ntkspec.operator._base import check_operator
from ntkspec.record import check_dataset
from ntkspec.validation._differences import training_of
from ntkspec.validation._statistics import interval, standard_error


def psnr(
    values: xr.DataArray,
    reference: xr.DataArray | np.ndarray,
    dims: Iterable[Hashable] | None = None,
    peak: float = 1.0,
) -> xr.DataArray:
    """Peak signal-to-noise ratio, −10 log₁₀(mean squared error / peak²).

    Args:
        values: learned function.
        reference: true function, broadcastable.
        dims: dimensions to average over; None takes all but `step` and `seed`.
        peak: largest value a signal can take.

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


def inner_dims(p: xr.Dataset) -> list[Hashable]:
    """Dimensions of a function, which norms sum over."""
    return [dim for dim in ("point", "channel") if dim in p.train.dims]


def signal_norm(p: xr.Dataset) -> float:
    """‖y‖."""
    return float(np.sqrt((p.target**2).sum()))


def require_on(K: Operator, points: np.ndarray) -> None:
    """Refuse an operator that is not on the points of the runs."""
    check_operator(K)
    if K.points.shape != points.shape or not np.allclose(K.points, points, atol=1e-12):
        raise ValueError(f"K is on other points than the runs, {K.points.shape} and {points.shape}; give the same K")


def common_steps(p: xr.Dataset, r: xr.Dataset) -> np.ndarray:
    """Return the common steps of two runs of the same problem; refuse others, or such without one beyond 0."""
    variables, attributes = ("train", "target", "step", "x"), ("learning_rate", "loss")
    of_p, of_r = ("`p` is", p), ("`r` is", r)
    check_dataset(*of_p, variables, source="ntkspec.predict")
    check_dataset(*of_r, variables, source="ntkspec.trainer.train")
    # Results that changed places would else be told that they lack attributes.
    if "seed" in p.train.dims or "seed" not in r.dims:
        raise ValueError(
            f"the prediction has the dimensions {tuple(p.train.dims)}, the training {tuple(r.train.dims)}; expected "
            "`seed` in the training alone: give the prediction first, and of one network r.isel(seed=[0])"
        )
    check_dataset(*of_p, (), source="ntkspec.predict", attributes=attributes)
    needed = (*attributes, "width", "dtype", "training")
    check_dataset(*of_r, (), source="ntkspec.trainer.train", attributes=needed)
    if mismatch := next(_mismatches(p, r), None):
        raise ValueError(mismatch)
    return np.intersect1d(p.step, r.step)


def _mismatches(p: xr.Dataset, r: xr.Dataset) -> Iterator[str]:
    if p.x.shape != r.x.shape or not np.allclose(p.x, r.x, atol=1e-12):
        yield f"the prediction has points {p.x.shape}, the training {r.x.shape}, or other ones: use K.points"
    if "unseen" in p and "unseen" in r and not np.array_equal(p.unseen_x, r.unseen_x):
        yield "the prediction and the training were asked at other unseen points; give both the same `unseen`"
    for name in ("learning_rate", "loss"):
        # An optimizer that was built with its own learning rate does not show it; that of one without a theory is a
        # number of another kind.
        has_theory = training_of(r).optimizer.has_theory
        other = name == "learning_rate" and (np.isnan(r.attrs[name]) or not has_theory)
        if not other and p.attrs[name] != r.attrs[name]:
            yield f"the prediction has {name}={p.attrs[name]}, the training {r.attrs[name]}; give both the same"
    if p.target.shape != r.target.shape or not np.allclose(p.target, r.target, atol=1e-6):
        yield "the prediction and the training have other labels; give both the same y"
    if not (np.intersect1d(p.step, r.step) > 0).any():
        yield f"no common step beyond 0: predicted {p.step.values.tolist()}, trained {r.step.values.tolist()}"
    if not (p.target**2).sum() > 0:
        yield "the labels are all zero, and errors are relative to them; give a signal"


def require_same_start(p: xr.Dataset, r: xr.Dataset) -> None:
    """Refuse networks that do not start where the prediction does."""
    advice = (
        "train with centered=True and predict without `initial`, predict each network from its own step 0, or compare "
        "with the infinitely wide ensemble (ensemble=ns.dynamics.ensemble(...))"
    )
    if 0 in p.step and 0 in r.step:
        gap = float(np.abs(r.train.sel(step=0) - p.train.sel(step=0)).max())
        if gap > 1e-5 * float(np.abs(p.target).max()):
            raise ValueError(f"the networks start up to {gap:.3g} away from the prediction; {advice}")
    elif not (p.attrs["starts_from_zero"] and r.attrs["starts_from_zero"]):
        raise ValueError(f"without step 0 in both, only runs that start from zero compare; {advice}")


def by_frequency(p: xr.Dataset, r: xr.Dataset, difference: xr.DataArray) -> dict[str, xr.DataArray]:
    """Errors and residuals (step, frequency); nothing where the points lie on no lattice."""
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
    found = {"predicted_residual": predicted}
    for name, by_seed in (("error_by_frequency", error), ("trained_residual", trained)):
        found |= _over_seeds(name, by_seed)
    return found


def _over_seeds(name: str, by_seed: xr.DataArray) -> dict[str, xr.DataArray]:
    mean, error = by_seed.mean("seed"), standard_error(by_seed)
    ends = interval(mean, error, by_seed.sizes["seed"]).clip(min=0)
    return {name: mean, f"{name}_sem": error, f"{name}_interval": ends}
