"""What a gap between theory and training can be due to, each with the run that would not have it.

A cause is one row of `CAUSES`: what it is called, when it cannot matter, and its control, the same case but for one
respect. They stand in the order in which they are taken away, what a person chose first and what the width does last,
so that a moving kernel is told from finite width in a run that theory is about.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from ntkspec.dynamics import GradientDescent, GradientFlow, Schedule
from ntkspec.kernel import linearised
from ntkspec.kernel._linearised import Linearised
from ntkspec.validation._case import Case

__all__ = ["CAUSES", "Cause"]

#: By how much a too large learning rate is divided: ηλ = 2 becomes 1/2, where no mode overshoots.
SMALLER = 4
#: The limit's share that is taken where none is given, and what its few products and quotients may round it to.
HALF = 0.5 * (1 + 1e-9)
#: Error above which float32 is not looked at, relative to the larger of the signal and the functions that networks
#: start from. It would take some thousand roundings, all of them the same way.
ROUNDING = float(np.finfo(np.float32).eps) ** 0.5


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


def _no_discrete_step(case: Case, _error: float) -> str:
    if case.filters.discrete:
        return "the prediction takes steps, too"
    return "" if case.optimizer.has_theory else f"no prediction of {case.optimizer} is known"


def _no_optimizer(case: Case, _error: float) -> str:
    if case.optimizer.name == "gradient_descent" and isinstance(
        case.filters, GradientDescent | GradientFlow | Schedule
    ):
        return "it is gradient descent"
    return "the prediction is of it" if case.optimizer.has_theory and case.filters == case.own_filters else ""


def _no_schedule(case: Case, _error: float) -> str:
    if case.settings.get("schedule") is None:
        return "the learning rate follows no schedule"
    return "the prediction has a schedule, too" if isinstance(case.filters, Schedule) else ""


def _no_large_rate(case: Case, _error: float) -> str:
    if np.isnan(case.limit_share) or not case.plain:
        return "the stability limit of the prediction is not that of this run"
    share = max(case.limit_share, case.own_limit_share)
    if share <= HALF:
        overshoots = ": no mode overshoots" if case.optimizer.name == "gradient_descent" else ""
        return f"the learning rate is {share:.2g} of the stability limit{overshoots}"
    if case.settings.get("schedule") is not None:
        return "with a schedule, more and smaller steps are another run"
    return ""


def _no_rounding(case: Case, error: float) -> str:
    if case.settings["dtype"] == "float64":
        return "the run is in float64"
    if jnp.result_type(float) != jnp.float64:
        return "JAX's float64 is off (JAX_ENABLE_X64=0)"
    if case.settings["matmul_precision"] == "bfloat16" or error <= ROUNDING * max(1.0, case.start_norm):
        return ""
    return f"the error is {error:.1e} of the signal and more, far from the roundings of float32"


def _no_moving_kernel(case: Case, _error: float) -> str:
    if case.settings["seeds"] < 2:
        return "one seed does not tell what it shares with others; train at least 3"
    if isinstance(case.k.network, Linearised):
        return "the networks are linear in their parameters"
    if case.settings["init"] != "network":
        return "networks linearised at another initialisation than the kernel's own are not trained here"
    return "the mapping is learned, and moves the kernel as well" if case.settings["trainable"] else ""


def _without_optimizer(case: Case) -> Case:
    if case.optimizer.has_theory:
        return case.differing(filters=case.own_filters)
    # At ηλ up to 1 no mode overshoots, so that the steps add no cause of their own.
    stretch = case.stretch * max(1, math.ceil(case.largest))
    rate = float(case.p.attrs["learning_rate"]) / stretch
    return case.differing(settings={"optimizer": "gradient_descent", "learning_rate": rate}, stretch=stretch)


def _without_schedule(case: Case) -> Case:
    # Of momentum under a schedule there is no prediction.
    if case.optimizer.has_theory and isinstance(case.own_filters, Schedule):
        return case.differing(filters=case.own_filters)
    return case.differing(settings={"schedule": None})


def _slower(case: Case) -> Case:
    # To half the limit at most, if that is farther.
    stretch = case.stretch * max(SMALLER, math.ceil(case.own_limit_share / HALF))
    return case.differing(settings={"learning_rate": case.p.attrs["learning_rate"] / stretch}, stretch=stretch)


def _plain(case: Case) -> Case:
    settings = {"output": "linear", "loss": case.p.attrs["loss"], "point_loss": None}
    return case.differing(settings=settings, from_zero=True)


def _unless(matters: Callable[[Case], bool], why: str) -> Callable[[Case, float], str]:
    return lambda case, _error: "" if matters(case) else why


def _with(**settings: Any) -> Callable[[Case], Case]:
    return lambda case: case.differing(settings=settings)


CAUSES: dict[str, Cause] = {
    "optimizer": Cause("the optimizer", _no_optimizer, _without_optimizer),
    "discrete_step": Cause(
        "the discrete step", _no_discrete_step, lambda case: case.differing(filters=case.own_filters)
    ),
    "schedule": Cause("the schedule of the learning rate", _no_schedule, _without_schedule),
    "output": Cause(
        "the non-linear output or loss",
        _unless(lambda case: not case.plain, "the output is linear and the loss of squares"),
        _plain,
    ),
    "batches": Cause(
        "drawing minibatches",
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
    "precision": Cause(
        "the precision of arithmetic", _no_rounding, _with(dtype="float64", matmul_precision="float32"), 2.0
    ),
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
