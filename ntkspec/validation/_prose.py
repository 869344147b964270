"""Every sentence of this room, made of its records: what to do, how far theory holds, why not farther, what is open."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import xarray as xr

from ntkspec.trainer import Difference
from ntkspec.validation._facts import LeftOut, Verdict
from ntkspec.validation._power_law import BIAS_IN_THEORY, FARTHEST, NEVER
from ntkspec.validation._shares import SEEN, WORTH, shares, worst_step

#: Names of causes in a sentence, each with what removes it.
CAUSES = {
    "optimizer": (
        "the optimizer",
        "predict the optimizer's own dynamics (momentum has one), or train by gradient descent",
    ),
    "discrete_step": (
        "the discrete step",
        "predict gradient descent instead of its flow, or take a smaller learning rate",
    ),
    "schedule": ("the schedule of the learning rate", "predict with the same schedule"),
    "output": ("the non-linear output or loss", "train a linear output with a squared loss"),
    "batches": ("drawing minibatches", "train on all points, or on larger batches"),
    "learned_mapping": ("the learned mapping", "keep the mapping fixed"),
    "initialisation": ("the initialisation", "draw the weights as the kernel does (init='network')"),
    "learning_rate": ("the too large learning rate", "take a smaller learning rate"),
    "precision": ("the precision of arithmetic", "train in float64"),
    "fluctuation": ("finite-width fluctuation", "train wider networks, or average several"),
    "moving_kernel": ("the moving kernel (feature learning)", "train wider networks, or stop earlier"),
    "unexplained": ("none of the causes", "train more networks, which shows smaller shares"),
}
#: Why the control of a cause was not run, though the cause may matter.
REASONS = {
    "cost": "which would cost {price:g} times the run, with {budget:g} left of the budget",
    "diverged": "whose control diverged ({error})",
    "too_large": "whose control is too large ({error})",
}
EXPLAIN = "run controls (ns.validation.explain, or --explain) to see"
#: Share of the stability limit up to which large steps are not suspected: half, the usual rate, and a little more for
#: the estimate of λ_max.
GENTLE = 0.505
CONFIDENT = "with 95\N{NO-BREAK SPACE}% confidence"


# Numbers.


def percent(part: xr.DataArray | float, error: xr.DataArray | float = np.nan) -> str:
    """Return a part to two digits, above 100 % to whole ones, with its standard error where it is known."""
    value = 100 * float(part)
    if np.isnan(value):
        return "not known"
    text = f"{digits(value, 2) if abs(value) < 99.5 else f'{value:.0f}'}\N{NO-BREAK SPACE}%"
    if np.isnan(float(error)):
        return text
    return f"{text}\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{digits(100 * float(error), 1)}\N{NO-BREAK SPACE}%"


def digits(value: float, count: int) -> str:
    """Return a number to so many digits, without an exponent above one."""
    return f"{float(f'{value:.{count}g}'):g}"


def power(exponent: float, count: int) -> str:
    """Return an exponent to so many digits, with a minus sign."""
    return digits(exponent if float(f"{exponent:.{count}g}") else 0.0, count).replace("-", "−")


def _count(networks: int) -> str:
    return f"{networks} network{'s' if networks > 1 else ''}"


def _joined(parts: Sequence[str]) -> str:
    """Return 'a', 'a and b', 'a, b and c'."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _sentences(*groups: Sequence[str]) -> str:
    """Return a sentence for each group that has any clause."""
    texts = ("; ".join(filter(None, group)) for group in groups)
    return " ".join(f"{text[0].upper()}{text[1:]}." for text in texts if text)


# A prediction against its training.


def verdict(v: Verdict, causes: xr.Dataset | None = None) -> str:
    """Return what to do, how far theory holds, what the rest is due to, and what was not checked."""
    due, unchecked = [], [f"steps after {v.last_step}"]
    if causes is not None:
        due, unchecked = _due(causes), [*unchecked, *_unchecked(causes)]
    elif not v.holds and v.spreads is None and v.seeds > 2:
        due = [_guess(v)]
    if v.differences:
        due.append(f"training differs from the prediction: {'; '.join(map(difference, v.differences))}")
    return _sentences([_advice(v, causes)], _how_far(v), due, [f"not checked: {', '.join(unchecked)}"])


def _advice(v: Verdict, causes: xr.Dataset | None) -> str:
    if v.idle:
        moved = f"by step {v.last_step} the prediction itself moves by no more than {percent(v.learned)} of the signal"
        return f"take more steps: {moved}, so that agreement shows nothing"
    if v.holds:
        more = "; train more of them to be sure" * (v.seeds < 3 or v.open is not None)
        return f"use the prediction up to step {v.last_step} for networks like these{more}"
    use = f"do not rely on the prediction to {percent(v.tolerance)}"
    if v.holds_until > 0:
        use = f"use the prediction up to step {v.holds_until} only"
    if causes is not None:
        return f"{use}; to come closer, {_cure(causes)}"
    if v.differences:
        return f"{use}; predict what was trained, or train what was predicted, and {EXPLAIN} what remains"
    return f"{use}; {'train at least 3 networks' if v.seeds < 3 else f'{EXPLAIN} why'}"


def _how_far(v: Verdict) -> list[str]:
    mean = v.judged != "error"
    error = "the error of their mean" if mean else "the error"
    peak = f"{percent(v.worst.error, v.worst.standard_error)} of the signal at step {v.worst.step}"
    # What all networks share may come out as nothing, which is no accuracy.
    if mean and v.worst.error == 0:
        peak = f"too small for {_count(v.seeds)} to show"
    clauses = [f"at width {v.width} ({_count(v.seeds)}) theory "]
    if v.holds:
        clauses[0] += f"holds through step {v.last_step}, the last one trained: {error} is at most {peak}"
    else:
        until = f"does not hold to {percent(v.tolerance)}:"
        if v.holds_until > 0:
            until = f"holds to {percent(v.held or v.tolerance)} until step {v.holds_until}; beyond,"
        fades = v.last.step == v.worst.step or (mean and v.last.error == 0)
        later = "" if fades else f" and {percent(v.last.error, v.last.standard_error)} at step {v.last.step}"
        clauses[0] += f"{until} {error} reaches {peak}{later}"
    if v.seeds < 2:
        clauses.append("one network has no error bar")
    elif v.open is not None:
        high = f"{percent(v.open.error)} at step {v.open.step}"
        clauses.append(f"{CONFIDENT} it may be up to {high}, which so few networks cannot exclude")
    return clauses if v.spreads is None else [*clauses, *_spread(v)]


def _spread(v: Verdict) -> list[str]:
    if v.seeds < 3:
        return ["fewer than 3 networks show no spread to compare with the predicted one"]
    if not v.spreads:
        return ["the predicted spread is below the roundings of training: take earlier steps to compare it"]
    last, *others = v.spreads
    interval = f"{percent(last.low)} to {percent(last.high)} {CONFIDENT}"
    text = f"their spread is {percent(last.ratio)} of the predicted one at step {last.step} ({interval})"
    text += "".join(f" and {percent(each.ratio)} at step {each.step}" for each in others if each.step != last.step)
    agrees = "differs from" if others else "agrees with"
    chance = f"the mean of {v.seeds} is off by {percent(last.of_mean)} by chance alone"
    return [f"{text}, which {agrees} the predicted covariance", chance]


def _guess(v: Verdict) -> str:
    """Return what the seeds alone show of the cause: whether the error is common to all."""
    common = v.common > v.spread
    suspects = ["feature learning (kernels that move)"] if common else ["finite width", "kernels that each move apart"]
    if not v.limit_share <= GENTLE:
        suspects.append("a large learning rate")
    if v.differences:
        suspects.insert(0, "the different training")
    parts = f"{percent(v.common)} is common to all networks, with a spread of {percent(v.spread)} between them"
    return f"of the error at its largest, {parts}, as from {' or '.join(suspects)}"


def remarks(v: xr.Dataset) -> list[str]:
    """Return what training did otherwise than the prediction, a clause each."""
    return [difference(Difference(**record)) for record in json.loads(v.attrs["remarks"])]


def difference(d: Difference) -> str:
    """Return what training did otherwise, as a clause."""
    if d.field == "optimizer" and d.theirs is None:
        return f"{d.mine} has no theory here, and is compared with gradient descent at the learning rate of theory"
    text = SCHEDULES[d.mine, d.theirs] if d.field == "schedule" else DIFFERENCES.get(d.field, OTHER)
    return text.format(field=d.field.replace("_", " "), mine=d.mine, theirs=d.theirs)


#: Settings of a training that its prediction does not share.
DIFFERENCES = {
    "flow": "training takes steps, and the prediction is a continuous flow",
    "dynamics": "training was by {mine}, and the prediction is of {theirs}",
    "optimizer": "training was by {mine}, and the prediction is of {theirs}",
    "output": "the output is a {mine}, and the prediction is of a {theirs} one",
    "point_loss": "the loss is {mine}, and the prediction's is {theirs}",
    "batch_size": "each step was on {mine} points, and the prediction's on all",
    "trainable": "the mapping's {mine} were learned, and are fixed in the prediction",
    "init": "weights started as {mine} draws them, and the kernel is of other ones",
    "matmul_precision": "training multiplied in {mine}, of 8 bits, and the prediction in float64",
}
#: Any other option.
OTHER = "the {field} of training was {mine}, and the prediction has none"
SCHEDULES = {
    ("schedule", "constant"): "the learning rate followed a schedule, and the prediction's is constant",
    ("constant", "schedule"): "the learning rate was constant, and the prediction's follows a schedule",
    ("constant", None): "the learning rate was constant, and the prediction's follows a schedule",
    ("schedule", "schedule"): "the learning rate followed another schedule than the prediction's",
    ("schedule", None): "the schedules of training and prediction are too long to be compared",
}


# What controls found.


def explanation(causes: xr.Dataset) -> str:
    """Return what to do, which cause goes with which share, and what was not checked."""
    unchecked = ", ".join(_unchecked(causes))
    return _sentences(
        [f"to come closer to theory, {_cure(causes)}"], _due(causes), [f"not checked: {unchecked}" * bool(unchecked)]
    )


def _cure(causes: xr.Dataset) -> str:
    return CAUSES[str(causes.attrs["cause"])][1]


def _due(causes: xr.Dataset) -> list[str]:
    step, attrs = worst_step(causes), causes.attrs
    at = causes.sel(step=step)
    clauses = _shares(at, step)
    if np.isnan(float(at.unexplained_error)):
        clauses.append(f"the errors of these shares are not known from {_count(attrs['seeds'])}; train at least 3")
    if attrs.get("own_starts"):
        clauses.append("each network is compared with the theory from its own start")
    mean = attrs["cause_of_mean"]
    if mean != "unexplained":
        worst = causes.sel(step=worst_step(causes, "explained_common"))
        common, whole = worst.sel(cause=mean), worst.common_squared
        size = f"at most {percent(np.sqrt(max(float(whole), 0)))} of the signal (step {int(worst.step)})"
        part = _share(common.explained_common / whole, common.explained_common_error / whole)
        clauses.append(f"of what all networks share, {size}, {CAUSES[mean][0]} explains {part}")
    if "spread_exponent" in at:
        clauses.append(_spread_law(at))
    if "limit_share" in at:
        low, high, rose = float(at.limit_share.min()), float(at.limit_share.max()), attrs["catapults"]
        own = f"{low:.2g} to {high:.2g} of the networks' own stability limits"
        if at.limit_share.isnull().any():
            own = f"{low:.2g} of a network's own stability limit"
        risen = f", and the loss of {_count(rose)} rose above its start (a catapult)" if rose else ""
        clauses.append(f"the learning rate is {own}{risen}")
    return clauses


def _unchecked(causes: xr.Dataset) -> list[str]:
    """Return what controls did not look at and may matter all the same."""
    records = [LeftOut(**record) for record in json.loads(causes.attrs["left_out"])]
    names = {"width": ("twice the width",), **CAUSES}
    clauses = [f"{names[r.cause][0]}, {REASONS[r.why].format(**r.detail)}" for r in records if r.missed]
    fixed = any((r.cause, r.why) == ("moving_kernel", "linear_network") for r in records)
    if "fluctuation" in causes.cause and "moving_kernel" not in causes.cause and not fixed:
        clauses.append("whether kernels moved, which may be a part of the spread")
    error = causes.attrs["prediction_error"]
    if error**2 > WORTH * float(causes.error_squared.sel(step=worst_step(causes))):
        clauses.append(f"errors below that of the prediction, {error:.1e} of the signal (give predict a tolerance)")
    return clauses


def _shares(at: xr.Dataset, step: int) -> list[str]:
    farther, nearer, in_doubt = shares(at)
    part = {name: _share(at.share.sel(cause=name), at.share_error.sel(cause=name)) for name in farther}
    parts = [f"{CAUSES[name][0]}{'' if i else ' explains'} {part[name]}" for i, name in enumerate(farther)]
    of = f"of the squared error at step {step} ({percent(np.sqrt(at.error_squared))} of the signal, root mean square)"
    clauses = [f"{of} {_joined(parts) if parts else 'no cause looked at explains a share above its error'}"]
    clauses += [f"{CAUSES[name][0]} takes {percent(-at.share.sel(cause=name))} off" for name in nearer]
    if in_doubt > WORTH:
        clauses.append(f"{percent(in_doubt)} goes with causes within their errors")
    left, error = float(at.unexplained_share), float(at.unexplained_share_error)
    within = f"no more than {percent(SEEN * error)} is unexplained"
    if SEEN * error > 1:
        within = "how much is unexplained these networks do not show; train more"
    return [*clauses, within if abs(left) < SEEN * error else f"{percent(left, error)} is unexplained"]


def _share(part: xr.DataArray, error: xr.DataArray) -> str:
    """Return a share of the whole, which is more than that where others are below zero."""
    more = float(part) - np.nan_to_num(float(error)) > 1 and percent(part) != percent(1.0)
    return f"{percent(part, error)}{' (above 100 %, for other causes take some off)' if more else ''}"


def _spread_law(at: xr.Dataset) -> str:
    exponent, error = float(at.spread_exponent), float(at.spread_exponent_error)
    value = f"width^{power(-exponent, 2)}{'' if np.isnan(error) else f' ± {digits(error, 1)}'}"
    if abs(exponent) < SEEN * error:
        return f"these networks do not show how the spread falls with the width ({value})"
    return f"the spread falls as {value}{', in theory as width^−1/2' if at.attrs['spread_in_theory'] else ''}"


# The law of the width.

#: Quantities of a law in a sentence.
QUANTITIES = {
    "error": "the error of a network",
    "ensemble_error": "that of their mean",
    "bias": "what all networks share (the bias)",
}


def width_law(d: xr.Dataset, max_width: int) -> str:
    """Which width to take, how errors fall with it, and what was checked; `max_width` of 0 asked for no check."""
    a, widest = d.attrs, int(d.width.max())
    worst = d.isel(step=int(np.argmax(d.value.sel(quantity="error", width=widest).values)))
    fewest, most = int(d.seeds.min()), int(d.seeds.max())
    each = _count(most) if fewest == most else f"{fewest} to {_count(most)}"
    laws = _joined([text for quantity in QUANTITIES if (text := _law(worst, quantity))])
    fall = [f"from width {int(d.width.min())} to {widest} ({each} each), at the worst step {int(worst.step)}, {laws}"]
    if np.isnan(a["needed_width"]):
        return _sentences(["no width is known to be enough: at some step the error does not fall with it"], fall)
    interval = ""
    if not np.isnan(a["needed_width_low"]):
        high = "any" if a["needed_width_high"] >= NEVER else digits(a["needed_width_high"], 3)
        interval = f" ({digits(a['needed_width_low'], 3)} to {high})"
    needed = f"take width {digits(a['needed_width'], 3)}{interval} for an accuracy of {percent(a['accuracy'])}"
    if a["needed_width"] > FARTHEST * widest:
        far = f"{digits(a['needed_width'] / widest, 2)} times the widest that was trained"
        needed += f", which is {far}, farther than a law is to be trusted ({FARTHEST:g} times)"
        return _sentences([needed, "train wider networks (widths=... in Python), or accept a larger error"], fall)
    unchecked = f"not checked by training (max_width={max_width})" if max_width else ""
    return _sentences([needed], fall, _check(d) if a["checked_width"] else [unchecked])


def _law(at: xr.Dataset, quantity: str) -> str:
    """Return 'the error of a network falls as width^−0.50 (−0.55 to −0.45)'; empty where too few widths show it."""
    one = at.sel(quantity=quantity)
    low, high = (float(one.exponent_interval.sel(bound=bound)) for bound in ("low", "high"))
    if np.isnan([low, high]).any():
        return ""
    ends = f"{power(-high, 2)} to {power(-low, 2)}"
    if low <= 0 <= high:
        return f"{QUANTITIES[quantity]} may fall or not (a power of {ends})"
    slower = ", more slowly than the 1/width of theory" * (quantity == "bias" and high < BIAS_IN_THEORY)
    return f"{QUANTITIES[quantity]} goes as width^{power(-float(one.exponent), 2)} ({ends}){slower}"


def _check(d: xr.Dataset) -> list[str]:
    a = d.attrs
    error, expected = a["checked_error"], a["expected_error"]
    kept, size = "keeps to" if error <= a["accuracy"] else "misses", percent(error, a["checked_error_sem"])
    checked = f"checked: at width {a['checked_width']} the error is {size}, which {kept} the accuracy"
    law = f"the law expects {percent(expected)}"
    if not a["needed_width_high"] < NEVER:
        return [checked, f"{law}, with an error that so few networks do not show"]
    return [checked, f"{law}, {'within its errors' if a['agrees'] else 'off by more than its errors'}"]
