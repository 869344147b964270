"""An ensemble on the cores of a processor: some networks to each, one after another.

Side by side, as on a GPU, the weights of all networks would pass through a core's cache at every step, and products of
their size keep one core busy. In turn, a small network stays in the cache of its core from step to step
(`benchmarks/trainer_vs_matmul.py`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from ntkspec import limits
from ntkspec.trainer._ensemble import Problem, State, in_turn
from ntkspec.trainer._model import Recipe

__all__ = ["Cores", "takes_turns", "threads_for"]

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
    context, such as `jax.debug_nans`, hold in his own.

    Attributes:
        device: the processor.
        size: networks of a thread.
        firsts: number of the first network of each thread, counted through the groups. The last part may overlap the
            one before it: all are of one size, and one program.
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
