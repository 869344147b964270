"""A run and its prediction as their attributes tell them, or one of their controls: what can be done again."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from ntkspec import dynamics
from ntkspec.checks import shown
from ntkspec.dynamics import Dynamics, from_description
from ntkspec.kernel import ComposedKernel
from ntkspec.kernel._composed import check_composed
from ntkspec.operator import Operator, dense
from ntkspec.prediction import predict
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.record import attributes
from ntkspec.trainer import Keep, Optimizer, Training, plan, stability_limit, train
from ntkspec.validation._errors import common_steps, require_on, require_same_start, signal_norm

__all__ = ["Case", "case_of"]

#: Settings of a run that its attributes may not hold.
NOT_HELD = {"dynamics", "optimizer", "point_loss", "schedule"}
#: Points at which the size of a network's function at its start is found.
LOOKED_AT = 64


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
        return Optimizer.of(self.settings["optimizer"])

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

    @cached_property
    def own_limit_share(self) -> float:
        """η over the stability limit of its first network, where batches or a learned mapping lower that; else 0."""
        rate = self.settings["learning_rate"]
        if self.theory_limits or self.optimizer.limit is None or rate is None:
            return 0.0
        planned = plan(self.k, self.p.x.values, self.p.target.values, steps=[0], **_of_plan(self.settings))
        return float(rate / stability_limit(planned))

    @property
    def theory_limits(self) -> bool:
        """Whether the stability limit of theory is that of the run, but for the width."""
        return self.settings["batch_size"] is None and not self.settings["trainable"]

    @cached_property
    def start_norm(self) -> float:
        """‖f_0‖ of networks, root mean square, relative to the signal: f − f_0 keeps the roundings of f."""
        x = self.p.x.values
        variance = np.diagonal(self.k.gram(x[:: -(-len(x) // LOOKED_AT)], which="nngp")).mean()
        return float(np.sqrt(variance * self.p.target.size)) / signal_norm(self.p)

    @property
    def plain(self) -> bool:
        """Whether the loss is of squares of a linear output."""
        squares = self.settings["loss"] != "logistic" and self.settings.get("point_loss") is None
        return squares and self.settings["output"] == "linear"

    @property
    def own_filters(self) -> Dynamics:
        """What the optimizer does to a mode; only those that have a theory."""
        beta, schedule = self.optimizer.momentum, self.settings.get("schedule")
        makers: dict[str, Callable[[], Dynamics]] = {
            "gradient_descent": lambda: schedule if isinstance(schedule, Dynamics) else dynamics.gradient_descent(),
            "heavy_ball": lambda: dynamics.heavy_ball(beta),
            "nesterov": lambda: dynamics.nesterov(beta),
        }
        return makers[self.optimizer.name]()

    def differing(self, *, settings: dict[str, Any] | None = None, **fields: Any) -> Case:
        """Return the same case but for these."""
        return replace(self, settings={**self.settings, **(settings or {})}, **fields)

    def trains_as(self, other: Case) -> bool:
        """Whether it is the same run."""
        return (self.k is other.k) and (self.settings, self.stretch) == (other.settings, other.stretch)

    def predicts_as(self, other: Case) -> bool:
        """Whether it is the same prediction, wherever it starts."""
        mine, theirs = ((c.filters, c.stretch, c.from_zero) for c in (self, other))
        return mine == theirs

    @property
    def own_starts(self) -> bool:
        """Whether each network is compared with theory from its own function at step 0, which is not zero."""
        return not self.settings["centered"]

    def theory(self, trained: np.ndarray, progress: Progress = NO_PROGRESS) -> np.ndarray:
        """Return the prediction at the steps, (step, point[, channel]), or of each network, (seed, step, ...).

        Args:
            trained: its networks, (seed, step, point[, channel]), of whom only step 0 is looked at.
            progress: reporter.
        """
        if self.own_starts:
            return self._from_own_starts(trained, progress)
        start = None if self.from_zero or self.p.attrs["starts_from_zero"] else self.p.train.sel(step=0).values
        return self._predicted(self.p.target.values, start, progress)

    def _from_own_starts(self, trained: np.ndarray, progress: Progress) -> np.ndarray:
        """f_0 + (1 − r(K, t))(y − f_0) of each network's f_0: they are so many channels of one prediction."""
        starts = trained[:, list(self.steps).index(0)]
        seeds, n = starts.shape[:2]
        side_by_side = np.moveaxis(starts.reshape(seeds, n, -1), 0, 1)
        labels = np.broadcast_to(self.p.target.values.reshape(n, 1, -1), side_by_side.shape)
        found = self._predicted(labels.reshape(n, -1), side_by_side.reshape(n, -1), progress)
        return np.moveaxis(found.reshape(len(found), n, seeds, *trained.shape[3:]), 2, 0)

    def _predicted(self, labels: np.ndarray, start: np.ndarray | None, progress: Progress) -> np.ndarray:
        K = dense(self.k, self.p.x.values, progress=progress) if self.K is None else self.K
        found = predict(
            K,
            labels,
            steps=(self.steps * self.stretch).tolist(),
            learning_rate=self.rate,
            loss=self.p.attrs["loss"],
            dynamics=self.filters,
            initial=start,
            tolerance=self.p.attrs["tolerance"],
            progress=progress,
        )
        return np.asarray(found.train.values)

    def trained(self, keep: Keep, progress: Progress = NO_PROGRESS) -> np.ndarray:
        """Return the networks at the steps, (seed, step, point[, channel])."""
        found = train(
            self.k,
            self.p.x.values,
            self.p.target.values,
            steps=(self.steps * self.stretch).tolist(),
            checkpoint=keep,
            progress=progress,
            **self.settings,
        )
        return np.asarray(found.train.values)


def _filters(p: xr.Dataset, options: dict[str, Any]) -> Dynamics:
    """Return the dynamics that a prediction is of."""
    described = json.loads(p.attrs["configuration"]).get("dynamics")
    if described is None:
        raise ValueError(
            "controls start from a prediction by a filter of the spectrum, and this one is a flow in function space; "
            "give one from ns.predict"
        )
    given = options.get("dynamics")
    if given is None and described["class"] == "Schedule":
        given = options.get("schedule")
    try:
        return from_description(described, given)
    except ValueError as error:
        raise ValueError(f"of the prediction, {error}: options={{'dynamics': ...}}") from None


def case_of(
    k: ComposedKernel, p: xr.Dataset, r: xr.Dataset, K: Operator | None, options: dict[str, Any]
) -> tuple[Case, np.ndarray]:
    """Return the run as its attributes tell it, and its networks, at the steps that both know.

    Raises:
        ValueError: if the three do not belong together, or something is needed that attributes cannot hold.
        TypeError: if one of them is of another kind.
    """
    check_composed(k)
    steps = common_steps(p, r)
    signal_norm(p)
    if K is not None:
        require_on(K, p.x.values)
    if not isinstance(options, Mapping) or not set(options) <= NOT_HELD:
        raise TypeError(
            f"options={shown(options)}; expected what attributes cannot hold, by name: {', '.join(sorted(NOT_HELD))}"
        )
    if "seed" not in r.dims or not np.array_equal(r.seed, np.arange(r.sizes["seed"])):
        raise ValueError("the training holds a part of its seeds; give the whole, for controls start from the same")
    if json.loads(attributes(kernel=k)["configuration"])["kernel"] != json.loads(r.attrs["configuration"])["kernel"]:
        raise ValueError("the networks were not trained from this kernel; give the `k` that `train` was given")
    if r.attrs["centered"]:
        require_same_start(p, r)
    elif not p.attrs["starts_from_zero"]:
        raise ValueError(
            "each of these networks starts from a function of its own, and so does the theory it is compared with; "
            "predict without `initial`"
        )
    if not r.attrs["starts_from_zero"] and 0 not in steps:
        raise ValueError("the functions that these networks start from are not known; record step 0 in both")
    settings = _settings(r, {name: value for name, value in options.items() if name != "dynamics"})
    _require_run(k, p, steps, settings)
    trained = r.train.sel(step=steps).transpose("seed", *p.train.dims).values
    return Case(k, p.sel(step=steps), settings, _filters(p, options), K=K), trained


def _require_run(k: ComposedKernel, p: xr.Dataset, steps: np.ndarray, settings: dict[str, Any]) -> None:
    """Refuse settings that no run can have."""
    plan(k, p.x.values, p.target.values, steps=steps.tolist(), **_of_plan(settings))


def _of_plan(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings as a plan takes them."""
    apart = {name: settings[name] for name in ("learning_rate", "seeds", "seed")}
    options = {name: value for name, value in settings.items() if name not in apart}
    return {**apart, "training": Training(**options)}


def _settings(r: xr.Dataset, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of `train` as the attributes of its result tell them."""
    training = Training.from_json(r.attrs["training"], **options)
    settings: dict[str, Any] = {each.name: getattr(training, each.name) for each in fields(training)}
    schedule = training.schedule
    if schedule == "constant":
        settings["schedule"] = None
    elif schedule == "cosine":
        settings["schedule"] = dynamics.cosine(int(r.step[-1]))
    elif isinstance(schedule, tuple):
        settings["schedule"] = dynamics.piecewise(dict(schedule))
    if training.batch_size == r.sizes["point"]:
        settings["batch_size"] = None
    return {
        **settings,
        "learning_rate": None if np.isnan(r.attrs["learning_rate"]) else float(r.attrs["learning_rate"]),
        "seeds": r.sizes["seed"],
        "seed": int(r.attrs["first_seed"]),
    }
