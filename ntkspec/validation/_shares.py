"""Which causes stand out from the errors of their shares, and the largest of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from ntkspec.record import check_dataset

#: Standard errors by which a share must differ from zero to be named.
SEEN = 2.0
#: Share of the squared error below which a cause is not named.
WORTH = 0.01
#: Attributes that an explanation shares with its run.
SAME_RUN = ("width", "dtype", "first_seed", "seeds", "learning_rate", "loss", "training")


class Shares(NamedTuple):
    """Causes whose share of the squared error stands out, largest first; those whose negative share does; the rest."""

    farther: list[str]
    nearer: list[str]
    in_doubt: float


def require_explanation_of(p: xr.Dataset, r: xr.Dataset, causes: xr.Dataset) -> None:
    """Refuse an explanation of another run."""
    source = "ntkspec.validation.explain"
    check_dataset("`causes` is", causes, ("explained", "step"), source=source, attributes=SAME_RUN)
    run = {**r.attrs, "seeds": r.sizes["seed"]}
    for name in SAME_RUN:
        theirs, ours = causes.attrs[name], run[name]
        if theirs != ours and not (isinstance(theirs, float) and np.isnan(theirs) and np.isnan(ours)):
            raise ValueError(f"`causes` explains a run with {name}={theirs}, this one has {ours}; explain this one")
    steps = np.intersect1d(p.step, r.step)
    if not np.array_equal(causes.step, steps[steps > 0]):
        raise ValueError(f"`causes` explains steps {causes.step.values.tolist()}, these runs share {steps.tolist()}")


def worst_step(causes: xr.Dataset, part: str = "explained") -> int:
    """Return the step where networks (`explained`) or their mean (`explained_common`) are farthest from theory."""
    squared = causes.error_squared if part == "explained" else causes.common_squared
    # Of one network nothing is known to be shared.
    return int(causes.step[int(np.argmax(np.nan_to_num(squared.values, nan=-np.inf)))])


def named(causes: xr.Dataset, part: str) -> str:
    """Return the cause with the largest part (`explained`, `explained_common`) at its worst step.

    It is "unexplained" where no part stands out, or the rest together with those that do not is larger.
    """
    at = causes.sel(step=worst_step(causes, part))
    if part == "explained":
        part_of, errors, left = at.share, at.share_error, at.unexplained_share
    else:
        # Not as a share of what is common, which may be nothing at all.
        whole = at.error_squared
        part_of, errors = at.explained_common / whole, at.explained_common_error / whole
        left = at.unexplained_common / whole
    largest = _standing_out(part_of, errors)
    if not largest or float(part_of.sel(cause=largest[0])) < float(left) + _rest(part_of, largest):
        return "unexplained"
    return largest[0]


def shares(at: xr.Dataset) -> Shares:
    """Return the shares of the squared error at one step of an explanation."""
    farther, nearer = _standing_out(at.share, at.share_error), _standing_out(-at.share, at.share_error)
    return Shares(farther, nearer, _rest(at.share, [*farther, *nearer]))


def _standing_out(part: xr.DataArray, error: xr.DataArray) -> list[str]:
    """Causes whose part stands out, largest first; where errors are not known, all that are `WORTH` it."""
    known, values = np.nan_to_num(error.values, nan=0.0), part.values
    keep = np.flatnonzero((values > SEEN * known) & (values > WORTH))
    return [str(part.cause.values[i]) for i in keep[np.argsort(-values[keep])]]


def _rest(part: xr.DataArray, without: list[str]) -> float:
    return float(part.drop_sel(cause=without).clip(min=0).sum())
