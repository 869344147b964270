"""What a gap between theory and training can be due to, each with the run that would not have it.

A cause is one row of `CAUSES`: what it is called, when it cannot matter, and its control, the same run and prediction
but for one respect.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
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
from ntkspec.trainer.optimizer import Optimizer, as_optimizer

__all__ = ["CAUSES", "Case", "Cause", "Control"]

#: By how much a too large learning rate is divided: ηλ = 2 becomes 1/2, from where descent and flow agree well.
SMALLER = 4
#: Error above which float32 is not looked at. It would take some thousand roundings, all of them the same way.
ROUNDING = float(np.finfo(np.float32).eps) ** 0.5


@dataclass(frozen=True)
class Control:
    """A run and its prediction that differ in one respect.

    Attributes:
        kernel: whose network is trained; None takes the same.
        options: of `train`, in place of the run's own.
        stretch: steps for each of the run's.
        theory: the prediction at the run's steps, shaped as `Case.theory`; None takes the same.
        trains: False where only the prediction differs, and the run is compared with that.
    """

    kernel: ComposedKernel | None = None
    options: dict[str, Any] = field(default_factory=dict)
    stretch: int = 1
    theory: np.ndarray | None = None
    trains: bool = True


@dataclass(frozen=True)
class Case:
    """A run to be explained.

    Attributes:
        k: mapping and network.
        p: its prediction, at the steps to explain.
        r: the run, at these.
        settings: options of `train` that made the run.
        K: the kernel on its points; None makes a dense one where a control needs another prediction.
    """

    k: ComposedKernel
    p: xr.Dataset
    r: xr.Dataset
    settings: dict[str, Any]
    K: Operator | None = None

    @property
    def theory(self) -> np.ndarray:
        """The prediction, (step, point[, channel])."""
        return np.asarray(self.p.train.values)

    @property
    def steps(self) -> np.ndarray:
        """Whole steps."""
        return np.asarray(self.p.step.values).astype(int)

    @cached_property
    def optimizer(self) -> Optimizer:
        """That the networks were trained by."""
        return as_optimizer(self.settings["optimizer"])

    @cached_property
    def dynamics(self) -> Dynamics:
        """That the prediction is of."""
        described = json.loads(self.p.attrs["configuration"])["dynamics"]
        settings = {name: value for name, value in described.items() if name != "class"}
        found: Dynamics = getattr(dynamics, described["class"])(**settings)
        return found

    @property
    def limit_share(self) -> float:
        """η over the stability limit of infinite width; NaN where the optimizer has none."""
        rate = dynamics.summed_rate(self.p.attrs["learning_rate"], self.p.sizes["point"], self.p.attrs["loss"])
        limit = self.optimizer.limit
        return math.nan if limit is None else rate * float(self.p.attrs["largest_eigenvalue"]) / limit

    @property
    def plain(self) -> bool:
        """Whether the loss is of squares of a linear output."""
        return self.settings["output"] == "linear" and self.settings["loss"] != "logistic" and not self._own_loss

    @property
    def _own_loss(self) -> bool:
        return self.settings.get("point_loss") is not None

    def own_dynamics(self) -> Dynamics:
        """What the optimizer does to a mode; only those that have a theory."""
        beta = self.optimizer.momentum
        makers: dict[str, Callable[[], Dynamics]] = {
            "gradient_descent": dynamics.gradient_descent,
            "heavy_ball": lambda: dynamics.heavy_ball(beta),
            "nesterov": lambda: dynamics.nesterov(beta),
        }
        return makers[self.optimizer.name]()

    def predicted(
        self,
        progress: Progress = NO_PROGRESS,
        *,
        of: Dynamics | None = None,
        stretch: int = 1,
        from_zero: bool = False,
    ) -> np.ndarray:
        """Another prediction at the run's steps: by other dynamics, in smaller steps, or started from zero."""
        K = dense(self.k, self.p.x.values, progress=progress) if self.K is None else self.K
        start = None if from_zero or self.p.attrs["starts_from_zero"] else self.p.train.sel(step=0).values
        found = predict(
            K,
            self.p.target.values,
            steps=(self.steps * stretch).tolist(),
            learning_rate=self.p.attrs["learning_rate"] / stretch,
            loss=self.p.attrs["loss"],
            dynamics=self.dynamics if of is None else of,
            initial=start,
            tolerance=self.p.attrs["tolerance"],
            progress=progress,
        )
        return np.asarray(found.train.values)


@dataclass(frozen=True)
class Cause:
    """One thing that sets networks apart from theory.

    Attributes:
        words: what it is called in a sentence.
        dismissed: why it cannot matter in a case; empty where it may.
        control: the run without it; None where the seeds themselves tell.
        cost: of the control, in units of the run itself.
    """

    words: str
    dismissed: Callable[[Case], str]
    control: Callable[[Case, Progress], Control] | None
    cost: Callable[[Case], float]


def _no_discrete_step(case: Case) -> str:
    if case.dynamics.discrete:
        return "the prediction takes the same steps as the run"
    return "" if case.optimizer.has_theory else f"no prediction of {case.optimizer} is known"


def _no_large_rate(case: Case) -> str:
    if np.isnan(case.limit_share) or not case.plain:
        return "the stability limit of the prediction is not that of this run"
    if case.limit_share <= 0.5:
        return f"the learning rate is {case.limit_share:.2g} of the stability limit: no mode overshoots"
    if case.settings["batch_size"] is not None or case.settings.get("schedule") is not None:
        return "with minibatches or a schedule a quarter of the rate is another run"
    return ""


def _no_optimizer(case: Case) -> str:
    if case.optimizer.name == "gradient_descent":
        return "it is gradient descent"
    if case.optimizer.has_theory and type(case.own_dynamics()) is type(case.dynamics):
        return f"the prediction is of {case.optimizer.name}"
    if case.optimizer.has_theory and not case.dynamics.discrete:
        return "the control of the discrete step has it"
    return ""


def _no_rounding(case: Case) -> str:
    if case.settings["dtype"] == "float64":
        return "the run is in float64"
    if case.settings["matmul_precision"] == "bfloat16":
        return ""
    scale = float(np.sqrt((case.p.target**2).sum()))
    error = np.sqrt((((case.r.train - case.p.train) / scale) ** 2).sum(["point", *_channel(case.p)]).mean("seed"))
    least = float(error.where(error.step > 0).min())
    if least > ROUNDING:
        return f"the error is {least:.1e} of the signal and more, far from the roundings of float32"
    return ""


def _no_moving_kernel(case: Case) -> str:
    if isinstance(case.k.network, Linearised):
        return "the networks are linear in their parameters"
    if case.settings["trainable"]:
        return "the mapping is learned, and moves the kernel whatever the network does"
    return ""


def _by_optimizer(case: Case, progress: Progress) -> Control:
    if case.optimizer.has_theory:
        return Control(theory=case.predicted(progress, of=case.own_dynamics()), trains=False)
    rate, p = float(case.p.attrs["learning_rate"]), case.p.attrs
    share = dynamics.summed_rate(rate, case.p.sizes["point"], p["loss"]) * float(p["largest_eigenvalue"])
    # Beyond ηλ = 3/2 a finite network may not bear the rate that its infinite limit does.
    stretch = max(1, math.ceil(share / 1.5))
    return Control(options={"optimizer": "gradient_descent", "learning_rate": rate / stretch}, stretch=stretch)


def _unless(condition: Callable[[Case], bool], why: str) -> Callable[[Case], str]:
    return lambda case: "" if condition(case) else why


def _changed(**options: Any) -> Callable[[Case, Progress], Control]:
    return lambda case, progress: Control(options=options)


def _same(cost: float) -> Callable[[Case], float]:
    return lambda case: cost


def _channel(p: xr.Dataset) -> list[str]:
    return ["channel"] if "channel" in p.train.dims else []


CAUSES: dict[str, Cause] = {
    "discrete_step": Cause(
        "the discrete step",
        _no_discrete_step,
        lambda case, progress: Control(theory=case.predicted(progress, of=case.own_dynamics()), trains=False),
        _same(0),
    ),
    "optimizer": Cause("the optimizer", _no_optimizer, _by_optimizer, lambda case: 1 - int(case.optimizer.has_theory)),
    "output": Cause(
        "the output's or the loss's non-linearity",
        _unless(lambda case: not case.plain, "the output is linear and the loss of squares"),
        lambda case, progress: Control(
            options={"output": "linear", "loss": case.p.attrs["loss"], "point_loss": None},
            theory=case.predicted(progress, from_zero=True),
        ),
        _same(1),
    ),
    "batches": Cause(
        "minibatches",
        _unless(lambda case: case.settings["batch_size"] is not None, "every step is on all points"),
        _changed(batch_size=None),
        _same(1),
    ),
    "learned_mapping": Cause(
        "the mapping being learned",
        _unless(lambda case: bool(case.settings["trainable"]), "the mapping is fixed"),
        _changed(trainable=()),
        _same(1),
    ),
    "initialisation": Cause(
        "another initialisation than the kernel's",
        _unless(lambda case: case.settings["init"] != "network", "the networks start as their kernel says"),
        _changed(init="network"),
        _same(1),
    ),
    "learning_rate": Cause(
        "too large a learning rate",
        _no_large_rate,
        lambda case, progress: Control(
            options={"learning_rate": case.p.attrs["learning_rate"] / SMALLER},
            stretch=SMALLER,
            theory=case.predicted(progress, stretch=SMALLER),
        ),
        _same(SMALLER),
    ),
    "fluctuation": Cause(
        "finite-width fluctuation",
        _unless(lambda case: case.r.sizes["seed"] > 1, "one seed has no spread; train at least 3"),
        None,
        _same(0),
    ),
    "moving_kernel": Cause(
        "the moving kernel (feature learning)",
        _no_moving_kernel,
        lambda case, progress: Control(kernel=linearised(case.k)),
        _same(3),
    ),
    "precision": Cause("float32", _no_rounding, _changed(dtype="float64", matmul_precision="float32"), _same(2)),
}
