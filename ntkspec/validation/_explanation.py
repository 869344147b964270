"""What controls found, in words."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr

from ntkspec.record import check_dataset
from ntkspec.validation._words import digits, joined, percent, power

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


def worst_step(causes: xr.Dataset, part: str = "explained") -> int:
    """Where networks are farthest from theory (`explained`), or what they share is (`explained_common`)."""
    squared = causes.error_squared if part == "explained" else causes.common_squared
    # Of one network nothing is known to be shared.
    return int(causes.step[int(np.argmax(np.nan_to_num(squared.values, nan=-np.inf)))])


def named(causes: xr.Dataset, part: str) -> str:
    """Return the cause with the largest part (`explained`, `explained_common`) where that is worst.

    Returns:
        Its name; "unexplained" where none stands out from nothing, or what is left, with all that does not stand out,
        is larger.
    """
    at = causes.sel(step=worst_step(causes, part))
    if part == "explained":
        parts, errors, left = at.share, at.share_error, at.unexplained_share
    else:
        # Not as a share: what all networks share may be nothing at all.
        whole = at.error_squared
        parts, errors = at.explained_common / whole, at.explained_common_error / whole
        left = at.unexplained_common / whole
    seen = _seen(parts, errors)
    if not seen or float(parts.sel(cause=seen[0])) < float(left) + _in_doubt(parts, seen):
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
        worst = causes.sel(step=worst_step(causes, "explained_common"))
        common, whole = worst.sel(cause=mean), worst.common_squared
        said.append(
            f"Of what all seeds share, at most {percent(np.sqrt(max(float(whole), 0)))} of the signal (step "
            f"{int(worst.step)}), {common.words.item()} explains "
            f"{_part(common.explained_common / whole, common.explained_common_error / whole)}."
        )
    if _hides_movement(causes):
        said.append("Whether kernels moved was not looked at, so that a part of the spread may be theirs.")
    if "spread_exponent" in at:
        said.append(_spread_in_words(at))
    if "limit_share" in at:
        low, high = float(at.limit_share.min()), float(at.limit_share.max())
        rose = causes.attrs["catapults"]
        risen = f"; the loss of {rose} rose above its start, a catapult" if rose else ""
        shares = f"{low:.2g} to {high:.2g} of the networks' own stability limits"
        if at.limit_share.isnull().any():
            shares = f"{low:.2g} of a network's own stability limit"
        said.append(f"The learning rate is {shares}{risen}.")
    if causes.attrs["prediction_error"] ** 2 > WORTH * float(at.error_squared):
        said.append(
            f"The prediction itself is known to {causes.attrs['prediction_error']:.1e} of the signal only: predict "
            "with a smaller tolerance."
        )
    missed = ("would cost", "diverged", "is too large")
    dear = [why for why in json.loads(causes.attrs["left_out"]).values() if any(word in why for word in missed)]
    return " ".join([*said, *(f"Not looked at: {why}." for why in dear)])


def _spread_in_words(at: xr.Dataset) -> str:
    """How the spread goes with the width, and how it would in theory, if that knows this run."""
    exponent, error = float(at.spread_exponent), float(at.spread_exponent_error)
    found = f"to the power {power(-exponent, 2)}{'' if np.isnan(error) else f' ± {digits(error, 1)}'}"
    if abs(exponent) < SEEN * error:
        return f"How the spread goes with the width these networks do not show ({found})."
    known = ", in theory −1/2" if at.attrs.get("spread_in_theory") else ""
    return f"The spread goes with the width {found}{known}."


def _hides_movement(causes: xr.Dataset) -> bool:
    """Whether the spread is called fluctuation where kernels may have moved."""
    names = set(causes.cause.values.tolist())
    still = "linear in their parameters" in json.loads(causes.attrs["left_out"]).get("moving_kernel", "")
    return "fluctuation" in names and "moving_kernel" not in names and not still


def _parts_in_words(at: xr.Dataset, step: int) -> str:
    seen, nearer = _seen(at.share, at.share_error), _seen(-at.share, at.share_error)
    parts = [_explains(at.sel(cause=name), i) for i, name in enumerate(seen)]
    size = percent(np.sqrt(float(at.error_squared)))
    of = f"Of the squared error at step {step} ({size} of the signal, root mean square)"
    share, error = float(at.unexplained_share), float(at.unexplained_share_error)
    left = f"{percent(share, error)} stays unexplained"
    if abs(share) < SEEN * error:
        left = f"nothing stays unexplained that stands out (within {percent(SEEN * error)})"
    if (doubt := _in_doubt(at.share, [*seen, *nearer])) > WORTH:
        left = f"{percent(doubt)} goes with causes that do not stand out on so few seeds; {left}"
    if not parts:
        return f"{of} no cause looked at explains a part that stands out; {left}."
    against = "".join(f"; {at.sel(cause=n).words.item()} takes {percent(-at.share.sel(cause=n))} off" for n in nearer)
    return f"{of} {joined(parts)}{against}; {left}."


def _in_doubt(parts: xr.DataArray, seen: list[str]) -> float:
    """Return the sum of what goes with other causes than those that stand out, as far as it is more than nothing."""
    return float(parts.drop_sel(cause=seen).clip(min=0).sum())


def _explains(one: xr.Dataset, position: int) -> str:
    """Return 'the moving kernel explains 60 %', then 'finite-width fluctuation 30 %'."""
    verb = "" if position else "explains "
    return f"{one.words.item()} {verb}{_part(one.share, one.share_error)}"


def _part(part: xr.DataArray, error: xr.DataArray) -> str:
    """Return a part of the whole, which is more than that where others are below zero."""
    more = float(part) > 1 and percent(part) != percent(1.0)
    return f"{percent(part, error)}{' (more than all, for the rest together takes some off)' if more else ''}"


def _seen(part: xr.DataArray, error: xr.DataArray) -> list[str]:
    """Causes whose part stands out, largest first; of one seed, whose error is not known, all that are worth a word."""
    known = np.nan_to_num(error.values, nan=0.0)
    values = part.values
    keep = np.flatnonzero((values > SEEN * known) & (values > WORTH))
    return [str(part.cause.values[i]) for i in keep[np.argsort(-values[keep])]]
