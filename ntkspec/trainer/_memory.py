"""How many networks fit in memory at once, known before anything is allocated."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntkspec import limits
from ntkspec.checks import Refused
from ntkspec.trainer._devices import apart_of, takes_turns, threads_for
from ntkspec.trainer._ensemble import begin, evaluated
from ntkspec.trainer._model import raw
from ntkspec.trainer._plan import Plan

#: Copies of the parameters in a step (they, their gradient, the update), and of every product's output (before and
#: after the activation, its derivative, and both on the way back). Compilers use between half and all of it.
PARAMETERS, OUTPUTS = 3, 5
#: Copies of the states of networks that take turns in threads: as they were, apart, and as they are now.
COPIES = 3
#: The part of the free memory that is planned for.
USED = 0.8
#: Bytes for each recorded number: float32, float64, residual and its transform.
RECORDED, RECORDED_FIELD = 40, 16


class TooLarge(Refused):
    """What a run would need does not fit in memory."""


@dataclass(frozen=True)
class Need:
    """Bytes that a run takes.

    Attributes:
        parameters: parameters of one network.
        state: the same with its optimizer's memory.
        step: the state with its gradient and the outputs of its layers.
        evaluated: outputs of all layers where all networks are evaluated, so many rows at a time.
        shared: features of the points and of those elsewhere of one kernel.
        recorded: records of all networks.
    """

    parameters: int
    state: int
    step: int
    evaluated: int
    shared: int
    recorded: int


@dataclass(frozen=True)
class Part:
    """Networks that are trained together: of kernels from one to before another, `count` seeds from `first` on."""

    groups: tuple[int, int]
    first: int
    count: int

    def describe(self) -> list[int]:
        """As numbers, for a checkpoint."""
        return [*self.groups, self.first, self.count]

    @classmethod
    def of(cls, numbers: list[int]) -> Part:
        """From such numbers."""
        start, end, first, count = numbers
        return cls((start, end), first, count)


def need_of(plan: Plan) -> Need:
    """Return what a run will take, from the shapes of its arrays."""
    params, memory, products = _shapes(plan)
    n, channels = plan.labels.shape
    itemsize, batch_size = np.dtype(plan.dtype).itemsize, plan.training.batch_size
    width = plan.points.shape[1] if plan.training.trainable else plan.kernels[0].mapping.num_features
    others, points = plan.num_elsewhere, min(n, batch_size or n)
    per_step = PARAMETERS * _bytes(params) + _bytes(memory) + OUTPUTS * points * products * itemsize
    networks = len(plan.kernels) * plan.seeds
    return Need(
        parameters=_bytes(params),
        state=_bytes(params) + _bytes(memory),
        step=per_step + (0 if batch_size is None else points * width * itemsize),
        evaluated=min(networks * max(n, others), evaluated()) * products * itemsize,
        # Features are computed in float64.
        shared=(n + others) * width * (itemsize + 8),
        recorded=networks * len(plan.steps) * channels * (n * RECORDED + others * RECORDED_FIELD),
    )


def available(devices: list[jax.Device]) -> float:
    """Bytes that may be planned for on all devices together."""
    stats = [device.memory_stats() for device in devices]
    if all(one and "bytes_limit" in one for one in stats):
        return USED * sum(one["bytes_limit"] - one.get("bytes_in_use", 0) for one in stats if one)
    # Several devices of a processor share its memory.
    return USED * limits.current().available


def partition(plan: Plan, need: Need, devices: list[jax.Device]) -> list[Part]:
    """Take all seeds of all kernels at once if they fit; else as many seeds at a time as do, else kernel by kernel."""
    free, groups = available(devices), len(plan.kernels)
    host = USED * limits.current().available
    if need.recorded > host:
        recording = f"recording {plan.seeds * groups} networks at {len(plan.steps)} steps would need"
        size = f"{_gib(need.recorded)}, of {_gib(host)} available"
        raise TooLarge(f"{recording} {size}; take fewer steps or seeds, or a smaller lattice or signal")
    left = free - (need.recorded if devices[0].platform == "cpu" else 0)
    most = limits.current().networks or plan.seeds * groups
    together = min(_seeds_that_fit(plan, need, left, groups, devices), most // groups)
    if together >= 1:
        return _by_seeds(plan, (0, groups), together, devices)
    alone = min(_seeds_that_fit(plan, need, left, 1, devices), most)
    if alone < 1:
        raise TooLarge(
            f"one network would need {_gib(need.step + need.shared)} (its parameters are {_gib(need.parameters)}), of "
            f"{_gib(left)} available; take a smaller width, a batch size below {len(plan.points)}, {{dtype}}, or an "
            "optimizer that keeps less",
            dtype="float32",
        )
    return [part for g in range(groups) for part in _by_seeds(plan, (g, g + 1), alone, devices)]


def _seeds_that_fit(plan: Plan, need: Need, left: float, groups: int, devices: list[jax.Device]) -> int:
    """How many networks of each of the groups are trained together."""
    left -= groups * need.shared
    side_by_side = int(left // (groups * need.step))
    if not takes_turns(devices, 2):
        return side_by_side
    threads = min(threads_for(need.step), groups * plan.seeds)
    # Of several kernels, each thread takes out the features of its own.
    at_work = max(threads * (need.step + (need.shared if groups > 1 else 0)), need.evaluated)
    # One thread has no copies, but states are made of parameters that are still there.
    each = COPIES * need.state if threads > 1 else need.state + need.parameters
    in_turn = int((left - at_work) // (groups * each))
    # One by itself has no turns to take.
    return in_turn if in_turn * groups > 1 else min(side_by_side, 1) if groups == 1 else 0


def _by_seeds(plan: Plan, groups: tuple[int, int], together: int, devices: list[jax.Device]) -> list[Part]:
    if together < plan.seeds:
        # In equal parts, which are one program; a multiple of what the devices train apart.
        apart = apart_of(devices, plan.seeds)
        parts = -(-plan.seeds // together)
        together = min(together, -(-plan.seeds // parts // apart) * apart) if together >= apart else together
    firsts = range(0, plan.seeds, together)
    return [Part(groups, first, min(together, plan.seeds - first)) for first in firsts]


def _shapes(plan: Plan) -> tuple[Any, Any, int]:
    """Of the parameters and the optimizer's memory of one network, and the outputs of its products at one point."""
    network = plan.kernels[0].network
    params = jax.eval_shape(lambda: plan.params(0, 1))
    problem = jax.eval_shape(lambda params: plan.problem(params, 0)._replace(network=None), params)  # type: ignore[arg-type]
    problem = problem._replace(network=network)
    state = jax.eval_shape(lambda problem, params: begin(plan.recipe, problem, params), problem, params)
    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[2:], leaf.dtype), params)
    inputs = jax.ShapeDtypeStruct((1, problem.inputs.shape[2]), problem.inputs.dtype)
    fixed = {name: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype) for name, leaf in problem.fixed.items()}
    traced = jax.make_jaxpr(lambda params, x, fixed: raw(plan.recipe, network, params, x, fixed))(one, inputs, fixed)
    return params, state.memory, _products(traced.jaxpr)


def _products(jaxpr: Any) -> int:
    """Numbers in the outputs of all matrix products."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            total += sum(prod(variable.aval.shape) for variable in equation.outvars)
        for value in equation.params.values():
            total += _products(value.jaxpr) if hasattr(value, "jaxpr") else 0
    return total


def _bytes(tree: Any) -> int:
    return sum(
        leaf.size * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
        if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    )


def _gib(number: float) -> str:
    return f"{number / 2**30:.3g} GiB"
