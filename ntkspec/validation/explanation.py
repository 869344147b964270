"""What controls found, in words."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr

from ntkspec.record import check_dataset
from ntkspec.validation.words import digits, joined, percent, power

__all__ = ["gap_in_words", "named", "require_explanation_of"]

#: Standard errors by which a part must stand out from nothing to be named.
SEEN = 2.0
#: Part of the squared error below which a cause is not worth a word.
WORTH = 0.01


def require_explanation_of(p: xr.Dataset, r: xr.Dataset, causes: xr.Dataset) -> None:
    """Refuse an explanation of another run.

    Raises:
        ValueError: with what differs.
    """
    told = ("width", "dtype", "first_seed", "seeds", "learning_rate", "loss", "optimizer")
    source = "ntkspec.validation.explain"
    check_dataset("`causes` is", causes, ("explained", "step"), source=source, attributes=told)
    theirs, ours = dict(causes.attrs), {**r.attrs, "seeds": r.sizes["seed"]}
    for name in told:
        a, b = theirs[name], ours[name]
        if a != b and not (isinstance(a, float) and np.isnan(a) and np.isnan(b)):
            raise ValueError(f"`causes` explains a run with {name}={a}, this one has {b}; explain this one")
    steps = np.intersect1d(p.step, r.step)
    if not np.array_equal(causes.step, steps[steps > 0]):
        raise ValueError(f"`causes` explains steps {causes.step.values.tolist()}, these runs share {steps.tolist()}")


def worst_step(causes: xr.Dataset) -> int:
    """Where networks are farthest from theory."""
    return int(causes.step[int(np.argmax(causes.error_squared.values))])


def named(causes: xr.Dataset, part: str) -> str:
    """The cause with the largest part (`explained`, `explained_common`) where networks are farthest from theory.

    Returns:
        Its name; "unexplained" where none stands out from nothing, or what is left is larger.
    """
    at = causes.sel(step=worst_step(causes))
    if part == "explained":
        parts, errors, left = at.share, at.share_error, at.unexplained_share
    else:
        # Not as a share: what all networks share may be nothing at all.
        whole = at.error_squared
        parts, errors = at.explained_common / whole, at.explained_common_error / whole
        left = at.unexplained_common / whole
    seen = _seen(parts, errors)
    if not seen or float(parts.sel(cause=seen[0])) < float(left):
        return "unexplained"
    return seen[0]


def gap_in_words(causes: xr.Dataset) -> str:
    """How much of the squared error goes with which cause, where networks are farthest from theory."""
    step = worst_step(causes)
    at = causes.sel(step=step)
    said = [_parts_in_words(at, step)]
    if causes.attrs.get("own_starts"):
        said.insert(0, "Each network is held against the theory from its own start.")
    if np.isnan(float(at.unexplained_error)):
        few = "One network tells" if causes.attrs["seeds"] == 1 else "Two networks tell"
        said.append(f"{few} no error of these parts; train at least 3.")
    mean = causes.attrs.get("cause_of_mean", "unexplained")
    if mean != "unexplained":
        common = at.sel(cause=mean)
        of = float(common.explained_common / at.common_squared)
        said.append(
            f"Of what all seeds share ({percent(np.sqrt(max(float(at.common_squared), 0)))} of the signal), "
            f"{common.words.item()} explains {percent(of, common.explained_common_error / at.common_squared)}."
        )
    if "spread_exponent" in at:
        error = float(at.spread_exponent_error)
        said.append(
            f"The spread goes with the width to the power {power(-float(at.spread_exponent), 2)}"
            f"{'' if np.isnan(error) else f' ± {digits(error, 1)}'}, in theory −1/2."
        )
    if "limit_share" in at:
        low, high = float(at.limit_share.min()), float(at.limit_share.max())
        rose = causes.attrs["catapults"]
        risen = f"; the loss of {rose} rose above its start, a catapult" if rose else ""
        said.append(f"The learning rate is {low:.2g} to {high:.2g} of the networks' own stability limits{risen}.")
    if causes.attrs["prediction_error"] ** 2 > WORTH * float(at.error_squared):
        said.append(
            f"The prediction itself is known to {causes.attrs['prediction_error']:.1e} of the signal only: predict "
            "with a smaller tolerance."
        )
    dear = [why for why in json.loads(causes.attrs["left_out"]).values() if "would cost" in why or "diverged" in why]
    return " ".join([*said, *(f"Not looked at: {why}." for why in dear)])


def _parts_in_words(at: xr.Dataset, step: int) -> str:
    seen, nearer = _seen(at.share, at.share_error), _seen(-at.share, at.share_error)
    parts = [_explains(at.sel(cause=name), i) for i, name in enumerate(seen)]
    of = f"Of the squared error at step {step} ({percent(np.sqrt(float(at.error_squared)))} of the signal)"
    left = f"{percent(at.unexplained_share, at.unexplained_share_error)} stays unexplained"
    if not parts:
        return f"{of} no cause looked at explains a part that stands out; {left}."
    against = "".join(f"; {at.sel(cause=n).words.item()} takes {percent(-at.share.sel(cause=n))} off" for n in nearer)
    return f"{of} {joined(parts)}{against}; {left}."


def _explains(one: xr.Dataset, position: int) -> str:
    """'the moving kernel explains 60 %', then 'finite-width fluctuation 30 %'."""
    verb = "" if position else "explains "
    return f"{one.words.item()} {verb}{percent(one.share, one.share_error)}"


def _seen(part: xr.DataArray, error: xr.DataArray) -> list[str]:
    """Causes whose part stands out, largest first; of one seed, whose error is not known, all that are worth a word."""
    known = np.nan_to_num(error.values, nan=0.0)
    values = part.values
    keep = np.flatnonzero((values > SEEN * known) & (values > WORTH))
    return [str(part.cause.values[i]) for i in keep[np.argsort(-values[keep])]]
