"""A run with its prediction, rebuilt from their attributes, or one of their controls."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
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
from ntkspec.trainer import Keep, Optimizer, Plan, Training, plan, run, stability_limit
from ntkspec.validation._errors import common_steps, require_on, require_same_start, signal_norm

#: Objects that attributes may not hold.
NOT_HELD = {"dynamics", "optimizer", "point_loss", "schedule"}
#: Points that show the size of a network's function at its start.
SAMPLED = 64


@dataclass(frozen=True)
class Case:
    """A run and its prediction, or one of their controls.

    Attributes:
        plan: of the networks.
        p: the prediction as it was given, at the steps to explain.
        filters: dynamics of the prediction.
        stretch: steps for each of the prediction's.
        from_zero: whether the prediction starts from zero, whatever the given one does.
        K: kernel on the points; None makes a dense one where another prediction is needed.
    """

    plan: Plan
    p: xr.Dataset
    filters: Dynamics
    stretch: int = 1
    from_zero: bool = False
    K: Operator | None = None

    @property
    def k(self) -> ComposedKernel:
        """Mapping and network."""
        return self.plan.kernels[0]

    @property
    def training(self) -> Training:
        """Options of the networks."""
        return self.plan.training

    @property
    def learning_rate(self) -> float | None:
        """η of the networks; None where the optimizer has its own."""
        return None if self.plan.rates is None else self.plan.rates[0]

    @property
    def seeds(self) -> int:
        """Number of networks."""
        return self.plan.seeds

    @property
    def steps(self) -> np.ndarray:
        """Steps of the given prediction."""
        return np.asarray(self.p.step.values).astype(int)

    @property
    def optimizer(self) -> Optimizer:
        """Optimizer of the networks."""
        return self.training.optimizer

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
        if self.theory_limits or self.optimizer.limit is None or self.learning_rate is None:
            return 0.0
        return float(self.learning_rate / stability_limit(self.plan))

    @property
    def theory_limits(self) -> bool:
        """Whether the stability limit of theory is that of the run, but for the width."""
        return self.training.batch_size is None and not self.training.trainable

    @cached_property
    def start_norm(self) -> float:
        """‖f_0‖ of networks, root mean square, relative to the signal: f − f_0 keeps the roundings of f."""
        x = self.p.x.values
        variance = np.diagonal(self.k.gram(x[:: -(-len(x) // SAMPLED)], which="nngp")).mean()
        return float(np.sqrt(variance * self.p.target.size)) / signal_norm(self.p)

    @property
    def plain(self) -> bool:
        """Whether the loss is of squares of a linear output."""
        return self.training.of_squares and self.training.output == "linear"

    @property
    def own_filters(self) -> Dynamics:
        """The dynamics of an optimizer that has a theory."""
        if self.optimizer.momentum:
            found: Dynamics = getattr(dynamics, self.optimizer.name)(self.optimizer.momentum)
            return found
        schedule = self.training.schedule
        if isinstance(schedule, tuple):
            return dynamics.piecewise(dict(schedule))
        return schedule if isinstance(schedule, Dynamics) else dynamics.gradient_descent()

    def differing(self, *, training: dict[str, Any] | None = None, **fields: Any) -> Case:
        """Return the same case but for options of its training, fields of its plan or its own."""
        of_plan = {name: fields.pop(name) for name in ("kernels", "rates", "seed") if name in fields}
        if training or of_plan:
            fields["plan"] = self.plan.changed(replace(self.training, **(training or {})), **of_plan)
        return replace(self, **fields)

    def trains_as(self, other: Case) -> bool:
        """Whether it is the same run."""
        mine, theirs = ((c.training, c.learning_rate, c.stretch) for c in (self, other))
        return self.k is other.k and mine == theirs

    def predicts_as(self, other: Case) -> bool:
        """Whether it is the same prediction, wherever it starts."""
        mine, theirs = ((c.filters, c.stretch, c.from_zero) for c in (self, other))
        return mine == theirs

    @property
    def own_starts(self) -> bool:
        """Whether each network is compared with theory from its own function at step 0, which is not zero."""
        return not self.training.centered

    def theory(self, trained: np.ndarray, progress: Progress = NO_PROGRESS) -> np.ndarray:
        """Return the prediction at the steps, ([seed,] step, point[, channel]); of each network where starts differ.

        Of the networks `trained`, (seed, step, point[, channel]), only step 0 is used.
        """
        if self.own_starts:
            return self._from_own_starts(trained, progress)
        start = None if self.from_zero or self.p.attrs["starts_from_zero"] else self.p.train.sel(step=0).values
        return self._predicted(self.p.target.values, start, progress)

    def _from_own_starts(self, trained: np.ndarray, progress: Progress) -> np.ndarray:
        """f_0 + (1 − r(K, t))(y − f_0) of each network's f_0, as channels of one prediction."""
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
        r = run(self.plan.changed(steps=self.steps * self.stretch), keep, progress=progress)
        return np.asarray(r.train.transpose("seed", *self.p.train.dims).values)


def case_of(
    of: ComposedKernel | Plan, p: xr.Dataset, r: xr.Dataset, K: Operator | None, options: dict[str, Any]
) -> tuple[Case, np.ndarray]:
    """Return the run of `r`, by its kernel or its plan, and its networks at the steps that it shares with `p`."""
    k = of.kernels[0] if isinstance(of, Plan) else of
    check_composed(k)
    steps = common_steps(p, r)
    if K is not None:
        require_on(K, p.x.values)
    if not isinstance(options, Mapping) or not set(options) <= NOT_HELD:
        expected = f"objects that attributes cannot hold, by name: {', '.join(sorted(NOT_HELD))}"
        raise TypeError(f"options={shown(options)}; expected {expected}")
    if mismatch := next(_mismatches(of if isinstance(of, Plan) else None, k, p, r, steps), None):
        raise ValueError(mismatch)
    if r.attrs["centered"]:
        require_same_start(p, r)
    rate, filters = float(r.attrs["learning_rate"]), _filters(p, options)
    rates = None if np.isnan(rate) else (rate,)
    if isinstance(of, Plan):
        planned = of
    else:
        held = {name: each for name, each in options.items() if name != "dynamics"}
        planned = plan(
            k, p.x.values, p.target.values, steps=r.step.values.tolist(),
            training=Training.from_json(r.attrs["training"], **held), learning_rate=None if rates is None else rate,
            seeds=r.sizes["seed"], seed=int(r.attrs["first_seed"]),
        )  # fmt: skip
    training = planned.training
    if training.schedule == "cosine" or (isinstance(of, Plan) and training.schedule != "constant"):
        # A cosine ends with the run, and a control may have other steps.
        training = replace(training, schedule=dynamics.Schedule(planned.factors, planned.starts))
    if training.batch_size == r.sizes["point"]:
        training = replace(training, batch_size=None)
    case = Case(
        planned.changed(training, steps, rates=rates, lattice=None, unseen=None), p.sel(step=steps), filters, K=K
    )
    return case, r.train.sel(step=steps).transpose("seed", *p.train.dims).values


def _mismatches(
    planned: Plan | None, k: ComposedKernel, p: xr.Dataset, r: xr.Dataset, steps: np.ndarray
) -> Iterator[str]:
    if not np.array_equal(r.seed, np.arange(r.sizes["seed"])):
        yield "the training holds a part of its seeds; give all of them, for controls start from the same"
    if json.loads(attributes(kernel=k)["configuration"])["kernel"] != json.loads(r.attrs["configuration"])["kernel"]:
        yield "the networks were not trained from this kernel; give the `k` that `train` was given"
    if planned is not None and planned.training.to_json() != r.attrs["training"]:
        yield "the networks were not trained by this plan; give that of `run`"
    if not r.attrs["centered"] and not p.attrs["starts_from_zero"]:
        yield (
            "each of these networks starts from a function of its own, and so does the theory it is compared with; "
            "predict without `initial`"
        )
    if not r.attrs["starts_from_zero"] and 0 not in steps:
        yield "the functions that these networks start from are not known; record step 0 in both"
    if "dynamics" not in json.loads(p.attrs["configuration"]):
        yield (
            "controls start from a prediction by a filter of the spectrum, and this one is a flow in function space; "
            "give one from ns.predict"
        )


def _filters(p: xr.Dataset, options: dict[str, Any]) -> Dynamics:
    """Return the dynamics of a prediction."""
    described = json.loads(p.attrs["configuration"])["dynamics"]
    given = options.get("dynamics", options.get("schedule") if described["class"] == "Schedule" else None)
    try:
        return from_description(described, given)
    except ValueError as error:
        raise ValueError(f"of the prediction, {error}: options={{'dynamics': ...}}") from None
