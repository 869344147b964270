"""What a gap between theory and training can be due to, each with the run that would not have it.

A cause is one row of `CAUSES`: when it cannot matter, and its control, the same case but for one respect. Causes are
removed in this order: choices of the run first, effects of the width last, so that feature learning is measured in a
run that theory describes.
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
from ntkspec.validation._facts import Why
from ntkspec.validation._run import Case

#: Divisor of a too large learning rate: ηλ = 2 becomes 1/2, where no mode overshoots.
SMALLER = 4
#: Share of the stability limit of the default learning rate, and the roundings of its few products and quotients.
HALF = 0.5 * (1 + 1e-9)
#: Error above which float32 is not looked at, relative to the larger of the signal and the functions that networks
#: start from. It would take some thousand roundings, all of them the same way.
ROUNDING = float(np.finfo(np.float32).eps) ** 0.5

#: Why a cause cannot matter, with numbers or names that belong to it; None where it may.
Dismissal = tuple[Why, dict[str, Any]] | None


@dataclass(frozen=True)
class Cause:
    """One thing that sets networks apart from theory.

    Attributes:
        dismissed: reason why it cannot matter in a case whose error is at least so large at every step.
        control: the case without it, None where the seeds themselves show it.
        cost: cost of a step of the control, in units of the case's own.
    """

    dismissed: Callable[[Case, float], Dismissal]
    control: Callable[[Case], Case] | None
    cost: float = 1.0


def _no_discrete_step(case: Case, _error: float) -> Dismissal:
    if case.filters.discrete:
        return "predicted", {}
    return None if case.optimizer.has_theory else ("no_prediction", {"optimizer": str(case.optimizer)})


def _no_optimizer(case: Case, _error: float) -> Dismissal:
    plain = isinstance(case.filters, GradientDescent | GradientFlow | Schedule)
    if case.optimizer.name == "gradient_descent" and plain:
        return "absent", {}
    return ("predicted", {}) if case.optimizer.has_theory and case.filters == case.own_filters else None


def _no_schedule(case: Case, _error: float) -> Dismissal:
    if case.training.schedule == "constant":
        return "absent", {}
    return ("predicted", {}) if isinstance(case.filters, Schedule) else None


def _no_large_rate(case: Case, _error: float) -> Dismissal:
    if np.isnan(case.limit_share) or not case.plain:
        return "other_limit", {}
    share = max(case.limit_share, case.own_limit_share)
    if share <= HALF:
        return "slow_enough", {"share": share}
    return None if case.training.schedule == "constant" else ("schedule", {})


def _no_rounding(case: Case, error: float) -> Dismissal:
    if case.training.dtype == "float64":
        return "float64", {}
    if jnp.result_type(float) != jnp.float64:
        return "no_float64", {}
    if case.training.matmul_precision == "bfloat16" or error <= ROUNDING * max(1.0, case.start_norm):
        return None
    return "large_error", {"error": error}


def _no_moving_kernel(case: Case, _error: float) -> Dismissal:
    reasons: tuple[tuple[bool, Why], ...] = (
        (case.seeds < 2, "one_seed"),
        (isinstance(case.k.network, Linearised), "linear_network"),
        (case.training.init != "network", "initialisation"),
        (bool(case.training.trainable), "learned_mapping"),
    )
    return next(((why, {}) for holds, why in reasons if holds), None)


def _without_optimizer(case: Case) -> Case:
    if case.optimizer.has_theory:
        return case.differing(filters=case.own_filters)
    # At ηλ up to 1 no mode overshoots, so that the steps add no cause of their own.
    stretch = case.stretch * max(1, math.ceil(case.largest))
    rate = float(case.p.attrs["learning_rate"]) / stretch
    return case.differing(training={"optimizer": "gradient_descent"}, rates=(rate,), stretch=stretch)


def _without_schedule(case: Case) -> Case:
    # Of momentum under a schedule there is no prediction.
    if case.optimizer.has_theory and isinstance(case.own_filters, Schedule):
        return case.differing(filters=case.own_filters)
    return case.differing(training={"schedule": "constant"})


def _slower(case: Case) -> Case:
    # To half the limit at most, if that is farther.
    stretch = case.stretch * max(SMALLER, math.ceil(case.own_limit_share / HALF))
    return case.differing(rates=(case.p.attrs["learning_rate"] / stretch,), stretch=stretch)


def _plain(case: Case) -> Case:
    training = {"output": "linear", "loss": case.p.attrs["loss"], "point_loss": None}
    return case.differing(training=training, from_zero=True)


def _if(matters: Callable[[Case], bool], why: Why = "absent") -> Callable[[Case, float], Dismissal]:
    return lambda case, _error: None if matters(case) else (why, {})


def _with(**training: Any) -> Callable[[Case], Case]:
    return lambda case: case.differing(training=training)


CAUSES: dict[str, Cause] = {
    "optimizer": Cause(_no_optimizer, _without_optimizer),
    "discrete_step": Cause(_no_discrete_step, lambda case: case.differing(filters=case.own_filters)),
    "schedule": Cause(_no_schedule, _without_schedule),
    "output": Cause(_if(lambda case: not case.plain), _plain),
    "batches": Cause(_if(lambda case: case.training.batch_size is not None), _with(batch_size=None)),
    "learned_mapping": Cause(_if(lambda case: bool(case.training.trainable)), _with(trainable=())),
    "initialisation": Cause(_if(lambda case: case.training.init != "network"), _with(init="network")),
    "learning_rate": Cause(_no_large_rate, _slower),
    "precision": Cause(_no_rounding, _with(dtype="float64", matmul_precision="float32"), 2.0),
    "fluctuation": Cause(_if(lambda case: case.seeds > 1, "one_seed"), None),
    "moving_kernel": Cause(_no_moving_kernel, lambda case: case.differing(kernels=(linearised(case.k),)), 3.0),
}
