"""What a training does otherwise than another one, or than theory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ntkspec.training._optimizer import Optimizer

if TYPE_CHECKING:
    from ntkspec.training._training import Training

#: Filters of steps that training can take, by the optimizer's name.
_STEPPING = {
    "GradientDescent": "gradient_descent",
    "Schedule": "gradient_descent",
    "HeavyBall": "heavy_ball",
    "Nesterov": "nesterov",
}
#: Changes of a schedule that are looked at where it is a function.
LISTED = 4096


class Difference(NamedTuple):
    """A respect in which a training differs from another one, or from what a prediction is of.

    `field` is that of `Training`; "flow" where a prediction is one, "dynamics" where no optimizer takes the steps of a
    prediction. `theirs` is None where it is not known.
    """

    field: str
    mine: Any
    theirs: Any


def unlike_prediction(training: Training, p: Any) -> list[Difference]:
    """Return what a training does otherwise than a prediction says, in no order."""
    differences = [*_unlike_dynamics(training, p), *_unlike_loss(training, p.attrs)]
    fixed = {"init": "network", "trainable": (), "gradient_clip": None, "matmul_precision": "float32"}
    for name, theirs in fixed.items():
        if (mine := getattr(training, name)) != theirs:
            differences.append(Difference(name, mine, theirs))
    if training.batch_size is not None and training.batch_size < p.sizes["point"]:
        differences.append(Difference("batch_size", training.batch_size, None))
    return differences


def _unlike_dynamics(training: Training, p: Any) -> list[Difference]:
    described = json.loads(p.attrs.get("configuration", "{}")).get("dynamics") or {"class": "GradientDescent"}
    kind, mine, differences = described["class"], training.optimizer, []
    beta = described.get("momentum", 0.0)
    theirs = (
        Optimizer(_STEPPING[kind], (("momentum", beta),))
        if beta and kind in _STEPPING
        else Optimizer.of("gradient_descent")
    )
    if "point_loss" in p.attrs or kind == "GradientFlow":
        differences.append(Difference("flow", False, True))
    elif kind not in _STEPPING:
        differences.append(Difference("dynamics", str(mine), kind))
        theirs = mine if mine.has_theory else theirs
    same = mine.momentum == theirs.momentum == 0 or (mine.name, mine.momentum) == (theirs.name, theirs.momentum)
    if not mine.has_theory or not same:
        differences.append(Difference("optimizer", mine, theirs))
    return differences + _unlike_schedule(training, described, int(p.step[-1]))


def _unlike_schedule(training: Training, described: dict[str, Any], last: int) -> list[Difference]:
    """Of learning rates up to a step; of a prediction with many changes a digest is all that is kept."""
    import numpy as np

    from ntkspec.record import configuration

    mine, kind = training.schedule, described["class"]
    if kind != "Schedule":
        # A ridge and a preconditioner have a base that may be one, and are another kind of step anyway.
        differs = mine != "constant" and kind in (*_STEPPING, "GradientFlow")
        return [Difference("schedule", mine, "constant")] if differs else []
    function = callable(mine) and not hasattr(mine, "factors")
    if function:
        starts: Any = range(min(max(last, 1), LISTED))
        factors: Any = [float(mine(step)) for step in starts]
    else:
        factors, starts = training.factors(last)
    if isinstance(described["factors"], dict):
        same = not function and configuration(np.array(factors)) == described["factors"]
        return [] if same else [Difference("schedule", mine, None)]
    theirs = tuple(zip(described["starts"], described["factors"], strict=True))
    every = np.union1d(starts, described["starts"])
    every = every[every < max(last, 1)]
    ours, other = (
        np.asarray(values)[np.searchsorted(begun, every, side="right") - 1]
        for values, begun in ((factors, starts), (described["factors"], described["starts"]))
    )
    # A function may give its factors in float32.
    return [] if np.allclose(ours, other, rtol=1e-5, atol=1e-7) else [Difference("schedule", mine, theirs)]


def _unlike_loss(training: Training, attrs: Mapping[str, Any]) -> list[Difference]:
    from ntkspec.record import configuration

    theirs, differences = json.loads(attrs.get("point_loss", '"squared"')), []
    theirs = theirs["class"] if isinstance(theirs, dict) else theirs.removeprefix("ntkspec.losses.")
    if training.of_logits or training.of_squares:
        mine = "logistic" if training.of_logits else "squared"
    else:
        mine = configuration(training.point_loss)
        mine = mine["class"] if isinstance(mine, dict) else mine
    if training.output != (output := attrs.get("output", "linear")):
        differences.append(Difference("output", training.output, output))
    return differences if mine == theirs else [*differences, Difference("point_loss", mine, theirs)]
