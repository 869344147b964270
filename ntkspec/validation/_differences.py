"""What a training did otherwise than its prediction."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import xarray as xr

from ntkspec.trainer import Difference, Optimizer, Training
from ntkspec.training import custom_of


def training_of(r: xr.Dataset) -> Training:
    """Return how networks were trained; what text cannot hold has its name alone, a schedule its recorded factors."""
    names = _names(r)
    training = Training.from_json(r.attrs["training"], **{name: _named(name, text) for name, text in names.items()})
    return replace(training, schedule=_recorded(r)) if "schedule" in names else training


def _names(r: xr.Dataset) -> dict[str, str]:
    described = json.loads(r.attrs["training"])
    return {name: described[name]["custom"] for name in custom_of(described)}


def differences(p: xr.Dataset, r: xr.Dataset) -> tuple[Difference, ...]:
    """Options of a training that its prediction does not share, up to the last step of the prediction.

    Returns:
        The records of `Training.unlike`. Values are numbers and texts, as JSON holds them; a schedule is "constant",
        "schedule", or None where it is not known.
    """
    training = training_of(r.sel(step=slice(0, int(p.step[-1]))))
    found = training.unlike(p)
    return tuple(_plain(record, _names(r), unknown=callable(training.schedule)) for record in found)


def _named(option: str, name: str) -> object:
    """Return an object that has no more than the name of one that text cannot hold."""
    if option == "optimizer":
        return Optimizer(name, transformation=name)

    def function(f: object, y: object) -> None: ...

    function.__qualname__ = name
    return "constant" if option == "schedule" else function


def _recorded(r: xr.Dataset) -> object:
    """Return the schedule of recorded factors, one a step; a function where they are a digest or too few."""
    factors = json.loads(r.attrs.get("schedule", "null"))
    if isinstance(factors, list) and len(factors) >= int(r.step[-1]):
        return tuple(enumerate(factors))
    return lambda _step: np.nan


def _plain(record: Difference, names: dict[str, str], *, unknown: bool) -> Difference:
    field, mine, theirs = record
    if field == "schedule":
        theirs = None if unknown and theirs != "constant" else theirs
        mine, theirs = (each if each in ("constant", None) else "schedule" for each in (mine, theirs))
    if field == "point_loss" and "point_loss" in names:
        mine = names["point_loss"]
    if field == "optimizer":
        mine, theirs = str(mine), str(theirs) if record.mine.has_theory else None
    return Difference(field, " and ".join(mine) if isinstance(mine, tuple) else mine, theirs)
