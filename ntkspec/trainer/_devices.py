"""Ensembles on processors and devices: in turn on the cores of one processor, side by side over several devices.

Side by side on a processor, as on a GPU, the weights of all networks would pass through a core's cache at every step,
and products of their size keep one core busy. In turn, a small network stays in the cache of its core from step to step
(`benchmarks/trainer_vs_matmul.py`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from math import gcd
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from ntkspec import limits
from ntkspec.checks import shown
from ntkspec.trainer._ensemble import Problem, State, advance, in_turn, steps_of
from ntkspec.trainer._model import Recipe
from ntkspec.trainer._optimizer import searches

#: Bytes of a step of a network up to which it has a core to itself. The products of larger ones keep all cores busy,
#: and their states are better not copied into parts.
SMALL = 2**26


def takes_turns(devices: Sequence[jax.Device], networks: int) -> bool:
    """Whether networks are trained one after another: several on a single processor."""
    alone = len(devices) == 1 and devices[0].platform == "cpu"
    return alone and networks > 1 and limits.current().threads != 0


def threads_for(step: int) -> int:
    """How many networks, whose steps take so many bytes each, are best trained at the same time."""
    return _cores() if step <= SMALL else 1


def _cores() -> int:
    if (threads := limits.current().threads) is not None:
        return max(threads, 1)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Cores:
    """Networks that take turns, in a few threads.

    Of JAX's settings the device and the precision of products hold in the threads; others that a caller has set by a
    context, such as `jax.debug_nans`, hold in his own. Each thread has `size` networks from one of `firsts` on, counted
    through the groups. The last part may overlap the one before it: all are of one size, and one program.
    """

    def __init__(self, device: jax.Device, networks: int, threads: int) -> None:
        self.device = device
        self.size = -(-networks // min(threads, networks))
        self.firsts = tuple(min(first, networks - self.size) for first in range(0, networks, self.size))
        self._compiled = False

    def problem(self, problem: Problem) -> Problem:
        """As it is."""
        return problem

    def state(self, state: State) -> State:
        """As it is."""
        return state

    def advance(self, recipe: Recipe, problem: Problem, state: State, first: Array, count: Array) -> State:
        """`ntkspec.trainer._ensemble.advance`, network by network in each thread."""
        if len(self.firsts) == 1:
            return _advance_all(recipe, problem, state, first, count)

        def train(number: int, part: State, count: Array) -> State:
            # Settings of JAX belong to a thread.
            with jax.default_device(self.device), jax.default_matmul_precision("highest"):
                return jax.block_until_ready(_advance_part(recipe, problem, part, jnp.asarray(number), first, count))

        parts = _apart(state, self.firsts, self.size)
        if not self._compiled:
            # Of no step: every thread would compile the program for itself.
            parts[0] = train(0, parts[0], jnp.zeros_like(count))
            self._compiled = True
        with ThreadPoolExecutor(len(parts)) as pool:
            moved = list(pool.map(partial(train, count=count), self.firsts, parts))
        return _joined(moved, self.firsts, problem.start.shape[:2])


@partial(jax.jit, static_argnames="recipe", donate_argnames="state")
def _advance_all(recipe: Recipe, problem: Problem, state: State, first: Array, count: Array) -> State:
    moved = in_turn(recipe, problem, _flat(state), jnp.zeros((), int), first, count)
    return _shaped(moved, problem.start.shape[:2])


@partial(jax.jit, static_argnames="recipe", donate_argnames="part")
def _advance_part(recipe: Recipe, problem: Problem, part: State, number: Array, first: Array, count: Array) -> State:
    return in_turn(recipe, problem, part, number, first, count)


@partial(jax.jit, static_argnames=("firsts", "size"))
def _apart(state: State, firsts: tuple[int, ...], size: int) -> list[State]:
    flat = _flat(state)
    return [jax.tree.map(lambda leaf, first=first: leaf[first : first + size], flat) for first in firsts]


@partial(jax.jit, static_argnames=("firsts", "shape"))
def _joined(parts: list[State], firsts: tuple[int, ...], shape: tuple[int, ...]) -> State:
    ends = (*firsts[1:], shape[0] * shape[1])

    def join(*leaves: Array) -> Array:
        kept = [leaf[: end - first] for leaf, first, end in zip(leaves, firsts, ends, strict=True)]
        return jnp.concatenate(kept)

    return _shaped(jax.tree.map(join, *parts), shape)


def _flat(state: State) -> State:
    """(group, seed, …) to (network, …)."""
    # In numbers: of no parameters at all, which some optimizers keep, −1 could be anything.
    return jax.tree.map(lambda leaf: leaf.reshape(leaf.shape[0] * leaf.shape[1], *leaf.shape[2:]), state)


def _shaped(state: State, shape: tuple[int, ...]) -> State:
    return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), state)


#: Names of the axes of a mesh of devices.
NETWORKS, POINTS = "networks", "points"


@dataclass(frozen=True)
class Layout:
    """Which device trains what.

    Attributes:
        mesh: of devices, (networks, points); None for one device, on which nothing is laid out.
        splits: whether points lie on their devices for good; batches are drawn from all, so all have all.
    """

    mesh: Mesh | None
    splits: bool

    def problem(self, problem: Problem) -> Problem:
        """Return the problem on its devices, with points of weight zero where their number does not divide."""
        if self.mesh is None:
            return problem
        if self.splits:
            problem = _filled_up(problem, -problem.labels.shape[0] % self.mesh.shape[POINTS])
        specs = _specs_of_problem(self.splits)
        return jax.tree.map(self._put, specs, problem, is_leaf=lambda spec: isinstance(spec, P))

    def state(self, state: State) -> State:
        """Return the state on its devices."""
        return state if self.mesh is None else self._put(P(None, NETWORKS), state)

    def advance(self, recipe: Recipe, problem: Problem, state: State, first: jax.Array, count: jax.Array) -> State:
        """`ntkspec.trainer._ensemble.advance` on all devices."""
        if self.mesh is None:
            return advance(recipe, problem, state, first, count)
        return _program(recipe, self.mesh, self.splits)(problem, state, first, count)

    def _put(self, spec: P, tree: Any) -> Any:
        sharding = NamedSharding(self.mesh, spec)  # type: ignore[arg-type]  # there is a mesh where this is called

        def put(leaf: Any) -> Any:
            return jax.device_put(leaf, sharding) if isinstance(leaf, jax.Array) else leaf

        return jax.tree.map(put, tree)


def layout(devices: Sequence[jax.Device], networks: int, points: int, recipe: Recipe) -> Layout:
    """As many networks apart as divide evenly; the devices left over share the points of a step.

    A recipe that searches along a line needs the loss of all points in one place. Devices that would have nothing to do
    are left out.
    """
    apart = apart_of(devices, networks)
    share = len(devices) // apart
    if searches(recipe.optimizer):
        share = 1
    elif recipe.training.batch_size is not None:
        share = gcd(share, recipe.training.batch_size)
    else:
        share = min(share, points)
    if apart * share == 1:
        return Layout(None, False)
    grid = np.array(devices[: apart * share]).reshape(apart, share)
    mesh = Mesh(grid, (NETWORKS, POINTS), axis_types=(AxisType.Auto, AxisType.Auto))
    return Layout(mesh, splits=recipe.training.batch_size is None and share > 1)


def check_devices(devices: Iterable[jax.Device] | None) -> list[jax.Device]:
    """Return the devices that are to train; None is all local ones."""
    if devices is None:
        return jax.local_devices()
    listed = list(devices) if isinstance(devices, Iterable) and not isinstance(devices, str) else [None]
    are_devices = all(isinstance(device, jax.Device) for device in listed)
    if not are_devices or not 0 < len(set(listed)) == len(listed):
        expected = "different devices, such as jax.local_devices(), or None for them all"
        raise (ValueError if are_devices else TypeError)(f"devices={shown(devices)}; expected {expected}")
    return listed


def apart_of(devices: Sequence[jax.Device], networks: int) -> int:
    """How many groups of devices train networks of their own: the most that divides both."""
    return gcd(len(devices), networks)


@lru_cache(maxsize=16)
def _program(recipe: Recipe, mesh: Mesh, splits: bool) -> Any:
    axis = POINTS if mesh.shape[POINTS] > 1 else None
    state = P(None, NETWORKS)
    # Gradients are of each device's own points and summed by hand; JAX's check would sum them once more.
    mapped = jax.shard_map(
        partial(steps_of, recipe, axis=axis),
        mesh=mesh,
        in_specs=(_specs_of_problem(splits), state, P(), P()),
        out_specs=state,
        check_vma=False,
    )
    return jax.jit(mapped, donate_argnums=1)


def _specs_of_problem(splits: bool) -> Problem:
    points = POINTS if splits else None
    split: dict[str, Any] = {
        "inputs": P(None, points),
        "labels": P(points),
        "weights": P(points),
        "start": P(None, NETWORKS, points),
        "keys": P(None, NETWORKS),
    }
    return Problem(**{name: split.get(name, P()) for name in Problem._fields})


def _filled_up(problem: Problem, missing: int) -> Problem:
    """With `missing` copies of the last point whose weight is zero."""

    def longer(leaf: jax.Array, axis: int, mode: str) -> jax.Array:
        return jnp.pad(leaf, [(0, missing if i == axis else 0) for i in range(leaf.ndim)], mode=mode)

    return problem._replace(
        inputs=longer(problem.inputs, 1, "edge"),
        labels=longer(problem.labels, 0, "edge"),
        weights=longer(problem.weights, 0, "constant"),
        start=longer(problem.start, 2, "edge"),
    )
