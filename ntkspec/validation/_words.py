"""Numbers and runs in words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from ntkspec.trainer import Optimizer

__all__ = ["digits", "joined", "percent", "power", "remarks", "seeds_in_words"]

#: Filters of steps that training can take, by the optimizer's name.
STEPPING = {
    "GradientDescent": "gradient descent",
    "Schedule": "gradient descent",
    "HeavyBall": "heavy_ball",
    "Nesterov": "nesterov",
}
UNTOLD = "whether the schedules of training and of the prediction are the same cannot be told from their attributes"


def percent(part: xr.DataArray | float, error: xr.DataArray | float = np.nan) -> str:
    """Return a part to two digits, above 100 % to whole ones, with its standard error where there is one."""
    value = 100 * float(part)
    text = f"{digits(value, 2) if abs(value) < 99.5 else f'{value:.0f}'}\N{NO-BREAK SPACE}%"
    if np.isnan(float(error)):
        return text
    return f"{text}\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{digits(100 * float(error), 1)}\N{NO-BREAK SPACE}%"


def digits(value: float, count: int) -> str:
    """To so many digits, without an exponent above one."""
    return f"{float(f'{value:.{count}g}'):g}"


def power(exponent: float, count: int) -> str:
    """Return a power of a law to so many digits, with a minus sign, and none before nothing."""
    return digits(exponent if float(f"{exponent:.{count}g}") else 0.0, count).replace("-", "−")


def seeds_in_words(count: int) -> str:
    """'1 seed', '4 seeds'."""
    return f"{count} seed{'s' if count > 1 else ''}"


def joined(parts: Sequence[str]) -> str:
    """Return 'a', 'a and b', 'a, b and c'."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def remarks(predicted: dict[str, Any], trained: dict[str, Any], points: int, last: float) -> list[str]:
    """Return what a training did that the prediction knows nothing of, a sentence each.

    Args:
        predicted: attributes of the prediction.
        trained: attributes of the training.
        points: how many there are.
        last: step that is compared.
    """
    found = []
    output, of = trained.get("output", "linear"), predicted.get("output", "linear")
    if not trained.get("optimizer_has_theory", 1):
        rate = trained["learning_rate"]
        own = "with steps of its own" if np.isnan(rate) else f"learning rate {rate:.3g}"
        found.append(
            f"{trained['optimizer']} has no theory here: its networks ({own}) are compared with the prediction "
            f"({predicted['learning_rate']:.3g}) all the same"
        )
    if output != of:
        found.append(f"the output is a {output}, and the prediction is of a {of} one")
    if _loss(trained) != _loss(predicted):
        found.append(f"the loss is {_loss(trained)}, and the prediction's is {_loss(predicted)}")
    found += _of_dynamics(predicted, trained)
    found += _of_schedules(predicted, trained, last)
    if trained.get("batch_size", points) < points:
        found.append(f"steps were taken on {trained['batch_size']} of {points} points, the prediction's on all")
    if trained.get("trainable", ""):
        found.append(
            f"the mapping's {trained['trainable'].replace(',', ' and ')} were learned, the prediction's are fixed"
        )
    if trained.get("init", "network") != "network":
        found.append(f"networks started as {trained['init']} has it, the kernel is of other ones")
    if trained.get("matmul_precision", "") == "bfloat16":
        found.append("training multiplied in bfloat16, of 8 bits, and the prediction knows nothing of that")
    return found


def _of_dynamics(predicted: dict[str, Any], trained: dict[str, Any]) -> list[str]:
    """Where steps of training are of another kind than those of the prediction, but for their length."""
    of = _dynamics(predicted)
    has_theory = bool(trained.get("optimizer_has_theory", 1))
    own = Optimizer.of(trained.get("optimizer", "gradient_descent")) if has_theory else None
    momentum = own is not None and own.momentum > 0
    if "point_loss" in predicted or of["class"] == "GradientFlow":
        found = ["the prediction is a flow, and training takes steps"]
        return [*found, f"{own} has momentum, and the flow has none"] if momentum else found
    if of["class"] not in STEPPING:
        return [f"the prediction is of {of['class']}, which training does not know"]
    # What has no theory is said to be compared all the same.
    name = STEPPING[of["class"]] if of.get("momentum") else "gradient descent"
    if own is None or (not momentum and name == "gradient descent"):
        return []
    if momentum and (own.name, own.momentum) == (name, of.get("momentum")):
        return []
    theirs = f"{name}(momentum={of['momentum']})" if of.get("momentum") else name
    return [f"training was by {own if momentum else 'gradient descent'}, the prediction is of {theirs}"]


def _of_schedules(predicted: dict[str, Any], trained: dict[str, Any], last: float) -> list[str]:
    """Where the learning rate changes otherwise in training than in the prediction, up to a step.

    Training records its factors and not where each begins, so that of two schedules with the same ones nothing is said.
    """
    own, of = json.loads(trained.get("schedule", "") or "null"), _dynamics(predicted)
    if of["class"] != "Schedule":
        # A ridge and a preconditioner have a base that may be one, and are another kind of step anyway.
        constant = of["class"] in (*STEPPING, "GradientFlow")
        return ["the learning rate followed a schedule, the prediction's is constant"] if own and constant else []
    factors, starts = of["factors"], of["starts"]
    if own is not None and factors == own:
        return []
    if isinstance(factors, dict):
        if own is None:
            return ["the prediction has a schedule, the learning rate of training was constant"]
        return [UNTOLD]
    begun = [factor for factor, start in zip(factors, starts, strict=True) if start < last]
    if own is None:
        # Factors that are all one are not recorded of training.
        if all(factor == 1.0 for factor in begun):
            return []
        return ["the prediction has a schedule, the learning rate of training was constant"]
    if isinstance(own, dict):
        return [UNTOLD]
    # Of a function of the step training records the factors of its own steps alone, in their digits.
    both = min(len(own), len(factors))
    if len(begun) <= both == len(own) and np.allclose(own, factors[:both], rtol=1e-5, atol=1e-7):
        return []
    return ["the learning rate followed another schedule than the prediction's"]


def _loss(attrs: dict[str, Any]) -> str:
    """'of squares', where nothing else is said."""
    name = json.loads(attrs.get("point_loss", '"squared"'))
    short = (
        name["class"] if isinstance(name, dict) else name.rpartition(".")[2] if name.startswith("ntkspec.") else name
    )
    return "of squares" if short == "squared" else short


def _dynamics(attrs: dict[str, Any]) -> dict[str, Any]:
    """Return the filter that a prediction is of, as its configuration tells it; descent where it tells none."""
    return json.loads(attrs.get("configuration", "{}")).get("dynamics") or {"class": "GradientDescent"}
