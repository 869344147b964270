"""What a gap between theory and training can be due to, each with the run that would not have it.

A cause is one row of `CAUSES`: what it is called, when it cannot matter, and its control, the same case but for one
respect. They stand in the order in which they are taken away, what a person chose first and what the width does last,
so that a moving kernel is told from finite width in a run that theory is about.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from ntkspec import dynamics
from ntkspec.dynamics import Dynamics
from ntkspec.kernel import ComposedKernel, linearised
from ntkspec.kernel.linearised import Linearised
from ntkspec.operator import Operator, dense
from ntkspec.prediction import predict
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.trainer import train
from ntkspec.trainer.optimizer import Optimizer, as_optimizer

__all__ = ["CAUSES", "Case", "Cause", "filters_of"]

#: By how much a too large learning rate is divided: ηλ = 2 becomes 1/2, where no mode overshoots.
SMALLER = 4
#: Error above which float32 is not looked at. It would take some thousand roundings, all of them the same way.
ROUNDING = float(np.finfo(np.float32).eps) ** 0.5


@dataclass(frozen=True)
class Case:
    """A run and its prediction, or one of their controls.

    Attributes:
        k: mapping and network.
        p: the prediction as it was given, at the steps to explain.
        settings: options of `train`.
        filters: dynamics of the prediction.
        stretch: steps for each of the prediction's.
        from_zero: whether the prediction starts from zero, whatever the given one does.
        K: the kernel on the points; None makes a dense one where another prediction is needed.
    """

    k: ComposedKernel
    p: xr.Dataset
    settings: dict[str, Any]
    filters: Dynamics
    stretch: int = 1
    from_zero: bool = False
    K: Operator | None = None

    @property
    def steps(self) -> np.ndarray:
        """Those of the given prediction."""
        return np.asarray(self.p.step.values).astype(int)

    @cached_property
    def optimizer(self) -> Optimizer:
        """That the networks are trained by."""
        return as_optimizer(self.settings["optimizer"])

    @property
    def rate(self) -> float:
        """η of this case's prediction."""
        return float(self.p.attrs["learning_rate"]) / self.stretch

    @property
    def largest(self) -> float:
        """ηλ of the largest eigenvalue."""
        rate = dynamics.summed_rate(self.rate, self.p.sizes["point"], self.p.attrs["loss"])
        return rate * float(self.p.attrs["largest_eigenvalue"])

    @property
    def limit_share(self) -> float:
        """η over the stability limit of infinite width; NaN where the optimizer has none."""
        limit = self.optimizer.limit
        return math.nan if limit is None else self.largest / limit

    @property
    def plain(self) -> bool:
        """Whether the loss is of squares of a linear output."""
        squares = self.settings["loss"] != "logistic" and self.settings.get("point_loss") is None
        return squares and self.settings["output"] == "linear"

    @property
    def own_filters(self) -> Dynamics:
        """What the optimizer does to a mode; only those that have a theory."""
        beta = self.optimizer.momentum
        makers: dict[str, Callable[[], Dynamics]] = {
            "gradient_descent": dynamics.gradient_descent,
            "heavy_ball": lambda: dynamics.heavy_ball(beta),
            "nesterov": lambda: dynamics.nesterov(beta),
        }
        return makers[self.optimizer.name]()

    def differing(self, *, settings: dict[str, Any] | None = None, **fields: Any) -> Case:
        """The same case but for these."""
        return replace(self, settings={**self.settings, **(settings or {})}, **fields)

    def trains_as(self, other: Case) -> bool:
        """Whether it is the same run."""
        return (self.k is other.k) and (self.settings, self.stretch) == (other.settings, other.stretch)

    def predicts_as(self, other: Case) -> bool:
        """Whether it is the same prediction."""
        mine, theirs = ((c.filters, c.stretch, c.from_zero) for c in (self, other))
        return mine == theirs

    def predicted(self, progress: Progress = NO_PROGRESS) -> np.ndarray:
        """The prediction at the steps, (step, point[, channel])."""
        K = dense(self.k, self.p.x.values, progress=progress) if self.K is None else self.K
        start = None if self.from_zero or self.p.attrs["starts_from_zero"] else self.p.train.sel(step=0).values
        found = predict(
            K,
            self.p.target.values,
            steps=(self.steps * self.stretch).tolist(),
            learning_rate=self.rate,
            loss=self.p.attrs["loss"],
            dynamics=self.filters,
            initial=start,
            tolerance=self.p.attrs["tolerance"],
            progress=progress,
        )
        return np.asarray(found.train.values)

    def trained(self, progress: Progress = NO_PROGRESS) -> np.ndarray:
        """The networks at the steps, (seed, step, point[, channel])."""
        found = train(
            self.k,
            self.p.x.values,
            self.p.target.values,
            steps=(self.steps * self.stretch).tolist(),
            progress=progress,
            **self.settings,
        )
        return np.asarray(found.train.values)


def filters_of(p: xr.Dataset) -> Dynamics:
    """The dynamics that a prediction is of."""
    described = json.loads(p.attrs["configuration"])["dynamics"]
    settings = {name: value for name, value in described.items() if name != "class"}
    found: Dynamics = getattr(dynamics, described["class"])(**settings)
    return found


@dataclass(frozen=True)
class Cause:
    """One thing that sets networks apart from theory.

    Attributes:
        words: what it is called in a sentence.
        dismissed: why it cannot matter in a case whose error is at least so large at every step; empty where it may.
        control: the case without it; None where the seeds themselves tell.
        cost: of a step of the control, in units of the case's own.
    """

    words: str
    dismissed: Callable[[Case, float], str]
    control: Callable[[Case], Case] | None
    cost: float = 1.0


def _no_discrete_step(case: Case, error: float) -> str:
    if case.filters.discrete:
        return "the prediction takes steps, too"
    return "" if case.optimizer.has_theory else f"no prediction of {case.optimizer} is known"


def _no_optimizer(case: Case, error: float) -> str:
    if case.optimizer.name == "gradient_descent":
        return "it is gradient descent"
    return "the prediction is of it" if case.optimizer.has_theory and case.filters == case.own_filters else ""


def _no_large_rate(case: Case, error: float) -> str:
    if np.isnan(case.limit_share) or not case.plain:
        return "the stability limit of the prediction is not that of this run"
    if case.limit_share <= 0.5:
        return f"the learning rate is {case.limit_share:.2g} of the stability limit: no mode overshoots"
    if case.settings.get("schedule") is not None:
        return "with a schedule, more and smaller steps are another run"
    return ""


def _no_rounding(case: Case, error: float) -> str:
    if case.settings["dtype"] == "float64":
        return "the run is in float64"
    if case.settings["matmul_precision"] == "bfloat16" or error <= ROUNDING:
        return ""
    return f"the error is {error:.1e} of the signal and more, far from the roundings of float32"


def _no_moving_kernel(case: Case, error: float) -> str:
    if case.settings["seeds"] < 2:
        return "one seed does not tell what it shares with others; train at least 3"
    if isinstance(case.k.network, Linearised):
        return "the networks are linear in their parameters"
    return "the mapping is learned, and moves the kernel as well" if case.settings["trainable"] else ""


def _without_optimizer(case: Case) -> Case:
    if case.optimizer.has_theory:
        return case.differing(filters=case.own_filters)
    # At ηλ up to 1 no mode overshoots, so that the steps add no cause of their own.
    stretch = case.stretch * max(1, math.ceil(case.largest))
    rate = float(case.p.attrs["learning_rate"]) / stretch
    return case.differing(settings={"optimizer": "gradient_descent", "learning_rate": rate}, stretch=stretch)


def _slower(case: Case) -> Case:
    stretch = case.stretch * SMALLER
    return case.differing(settings={"learning_rate": case.p.attrs["learning_rate"] / stretch}, stretch=stretch)


def _plain(case: Case) -> Case:
    settings = {"output": "linear", "loss": case.p.attrs["loss"], "point_loss": None}
    return case.differing(settings=settings, from_zero=True)


def _unless(matters: Callable[[Case], bool], why: str) -> Callable[[Case, float], str]:
    return lambda case, error: "" if matters(case) else why


def _with(**settings: Any) -> Callable[[Case], Case]:
    return lambda case: case.differing(settings=settings)


CAUSES: dict[str, Cause] = {
    "optimizer": Cause("the optimizer", _no_optimizer, _without_optimizer),
    "discrete_step": Cause(
        "the discrete step", _no_discrete_step, lambda case: case.differing(filters=case.own_filters)
    ),
    "output": Cause(
        "the non-linear output or loss",
        _unless(lambda case: not case.plain, "the output is linear and the loss of squares"),
        _plain,
    ),
    "batches": Cause(
        "the minibatches",
        _unless(lambda case: case.settings["batch_size"] is not None, "every step is on all points"),
        _with(batch_size=None),
    ),
    "learned_mapping": Cause(
        "the learned mapping",
        _unless(lambda case: bool(case.settings["trainable"]), "the mapping is fixed"),
        _with(trainable=()),
    ),
    "initialisation": Cause(
        "the initialisation",
        _unless(lambda case: case.settings["init"] != "network", "the networks start as their kernel says"),
        _with(init="network"),
    ),
    "learning_rate": Cause("the too large learning rate", _no_large_rate, _slower),
    "precision": Cause("float32", _no_rounding, _with(dtype="float64", matmul_precision="float32"), 2.0),
    "fluctuation": Cause(
        "finite-width fluctuation",
        _unless(lambda case: case.settings["seeds"] > 1, "one seed has no spread; train at least 3"),
        None,
    ),
    "moving_kernel": Cause(
        "the moving kernel (feature learning)",
        _no_moving_kernel,
        lambda case: case.differing(k=linearised(case.k)),
        3.0,
    ),
}
