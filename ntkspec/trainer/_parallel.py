"""An ensemble over several devices: networks apart, and the points of a step apart where devices are left."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from math import gcd
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from ntkspec.checks import shown
from ntkspec.trainer._ensemble import Problem, State, advance, steps_of
from ntkspec.trainer._model import Recipe
from ntkspec.trainer._optimizer import searches

__all__ = ["Layout", "apart_of", "check_devices", "layout"]

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
        return jax.tree.map(self._put, _specs_of_problem(self.splits), problem, is_leaf=_is_spec)

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
        return jax.tree.map(lambda leaf: jax.device_put(jnp.asarray(leaf), sharding) if _is_array(leaf) else leaf, tree)


def layout(devices: Sequence[jax.Device], networks: int, points: int, recipe: Recipe) -> Layout:
    """As many networks apart as divide evenly; the devices left over share the points of a step.

    Args:
        devices: to use.
        networks: seeds that are trained at once.
        points: n.
        recipe: of a step. One that searches along a line needs the loss of all points in one place.

    Returns:
        The layout; devices that would have nothing to do are left out.
    """
    found = list(devices)
    apart = apart_of(found, networks)
    share = len(found) // apart
    if searches(recipe.optimizer):
        share = 1
    elif recipe.batch_size is not None:
        share = gcd(share, recipe.batch_size)
    else:
        share = min(share, points)
    if apart * share == 1:
        return Layout(None, False)
    grid = np.array(found[: apart * share]).reshape(apart, share)
    mesh = Mesh(grid, (NETWORKS, POINTS), axis_types=(AxisType.Auto, AxisType.Auto))
    return Layout(mesh, splits=recipe.batch_size is None and share > 1)


def check_devices(devices: Iterable[jax.Device] | None) -> list[jax.Device]:
    """Those that are to train; None is all local ones.

    Raises:
        TypeError: if they are no devices.
        ValueError: if there is none, or one is named twice.
    """
    if devices is None:
        return jax.local_devices()
    expected = "expected such as jax.local_devices(), or None for them all"
    if isinstance(devices, str) or not isinstance(devices, Iterable):
        raise TypeError(f"devices={shown(devices)} is no list of devices; {expected}")
    found = list(devices)
    if wrong := [one for one in found if not isinstance(one, jax.Device)]:
        raise TypeError(f"devices has {shown(wrong[0])}, which is none; {expected}")
    if not found:
        raise ValueError(f"devices=[] has none to train on; {expected}")
    if len(set(found)) < len(found):
        raise ValueError(f"devices={found} names one twice; {expected}")
    return found


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
    return Problem(
        network=P(),  # type: ignore[arg-type]  # a tree of specifications
        inputs=P(None, points),  # type: ignore[arg-type]
        fixed=P(),  # type: ignore[arg-type]
        labels=P(points),  # type: ignore[arg-type]
        weights=P(points),  # type: ignore[arg-type]
        start=P(None, NETWORKS, points),  # type: ignore[arg-type]
        rate=P(),  # type: ignore[arg-type]
        factors=P(),  # type: ignore[arg-type]
        starts=P(),  # type: ignore[arg-type]
        scale=P(),  # type: ignore[arg-type]
        ceiling=P(),  # type: ignore[arg-type]
        keys=P(None, NETWORKS),  # type: ignore[arg-type]
    )


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


def _is_spec(leaf: Any) -> bool:
    return isinstance(leaf, P)


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array)
