"""Numbers and runs in words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

__all__ = ["digits", "joined", "percent", "power", "remarks", "seeds_in_words"]


def percent(part: xr.DataArray | float, error: xr.DataArray | float = np.nan) -> str:
    """A part to two digits, with its standard error where there is one."""
    text = f"{digits(100 * float(part), 2)}\N{NO-BREAK SPACE}%"
    if np.isnan(float(error)):
        return text
    return f"{text}\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{digits(100 * float(error), 1)}\N{NO-BREAK SPACE}%"


def digits(value: float, count: int) -> str:
    """To so many digits, without an exponent above one."""
    return f"{float(f'{value:.{count}g}'):g}"


def power(exponent: float, count: int) -> str:
    """A power of a law to so many digits, with a minus sign, and none before nothing."""
    return digits(exponent if float(f"{exponent:.{count}g}") else 0.0, count).replace("-", "−")


def seeds_in_words(count: int) -> str:
    """'1 seed', '4 seeds'."""
    return f"{count} seed{'s' if count > 1 else ''}"


def joined(parts: Sequence[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def remarks(predicted: dict[str, Any], trained: dict[str, Any], points: int) -> list[str]:
    """What a training did that the prediction knows nothing of, a sentence each.

    Args:
        predicted: attributes of the prediction.
        trained: attributes of the training.
        points: how many there are.
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
    elif "point_loss" in predicted:
        found.append("the prediction is a flow, and training takes steps")
        if trained["optimizer"].startswith(("heavy_ball", "nesterov")):
            found.append(f"{trained['optimizer']} has momentum, and the flow has none")
    if trained.get("schedule", "") and _dynamics(predicted) != "Schedule":
        found.append("the learning rate followed a schedule, the prediction's is constant")
    if trained.get("batch_size", points) < points:
        found.append(f"steps were taken on {trained['batch_size']} of {points} points, the prediction's on all")
    if trained.get("trainable", ""):
        found.append(
            f"the mapping's {trained['trainable'].replace(',', ' and ')} were learned, the prediction's are fixed"
        )
    if trained.get("init", "network") != "network":
        found.append(f"networks started as {trained['init']} has it, the kernel is of other ones")
    return found


def _loss(attrs: dict[str, Any]) -> str:
    """'of squares', where nothing else is said."""
    name = json.loads(attrs.get("point_loss", '"squared"'))
    short = name["class"] if isinstance(name, dict) else str(name).rpartition(".")[2]
    return "of squares" if short == "squared" else short


def _dynamics(attrs: dict[str, Any]) -> str:
    described = json.loads(attrs.get("configuration", "{}")).get("dynamics")
    return str(described["class"]) if described else ""
