"""Numbers and runs in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

__all__ = ["joined", "percent", "remarks", "seeds_in_words"]


def percent(part: xr.DataArray | float, error: xr.DataArray | float = np.nan) -> str:
    """A part to two digits, with its standard error where there is one."""
    text = f"{digits(100 * float(part), 2)}\N{NO-BREAK SPACE}%"
    if np.isnan(float(error)):
        return text
    return f"{text}\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{digits(100 * float(error), 1)}\N{NO-BREAK SPACE}%"


def digits(value: float, count: int) -> str:
    """To so many digits, without an exponent above one."""
    return f"{float(f'{value:.{count}g}'):g}"


def seeds_in_words(count: int) -> str:
    """'1 seed', '4 seeds'."""
    return f"{count} seed{'s' if count > 1 else ''}"


def joined(parts: Sequence[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def remarks(attrs: dict[str, Any], points: int) -> list[str]:
    """What a training did that the prediction knows nothing of, a sentence each.

    Args:
        attrs: of the training.
        points: how many there are.
    """
    found = []
    if not attrs.get("optimizer_has_theory", 1):
        found.append(
            f"{attrs['optimizer']} has no theory here: its networks are compared with the prediction all the same"
        )
    if attrs.get("output", "linear") != "linear":
        found.append(f"the output is a {attrs['output']}, and the prediction is of a linear one")
    if attrs.get("point_loss", '"ntkspec.trainer.model.squared"') != '"ntkspec.trainer.model.squared"':
        found.append("the loss is not of squares, and the prediction's is")
    if attrs.get("batch_size", points) < points:
        found.append(f"steps were taken on {attrs['batch_size']} of {points} points, the prediction's on all")
    if attrs.get("trainable", ""):
        found.append(
            f"the mapping's {attrs['trainable'].replace(',', ' and ')} were learned, the prediction's are fixed"
        )
    if attrs.get("init", "network") != "network":
        found.append(f"networks started as {attrs['init']} has it, the kernel is of other ones")
    return found
