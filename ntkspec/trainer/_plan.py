"""A training run as it was asked for, and its arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntkspec.grid import Grid
from ntkspec.kernel._composed import ComposedKernel
from ntkspec.record import configuration
from ntkspec.trainer._checkpoint import BEHAVIOUR, Saved
from ntkspec.trainer._ensemble import Problem, initialise, outputs
from ntkspec.trainer._model import LEARNABLE, Recipe
from ntkspec.trainer._trial import behaviour

__all__ = ["Plan", "highest_saved", "losses_of"]

#: How many times its first value a loss may grow before that is called divergence: the edge of stability shows tens.
GROWTH = 1e6
#: How many times it may have grown in a state that is saved: a run at the edge goes up by tens and comes back.
UNSETTLED = 50


@dataclass(frozen=True)
class Plan:
    """All that a run depends on.

    Attributes:
        kernels: one for each group; they differ in the numbers of their mapping alone.
        points: x, (point, axis).
        labels: y, (point, channel).
        recipe: of a step.
        rates: learning rate of each group; None until it is taken from the kernel.
        factors: of the schedule, by run of equal steps, (run,).
        starts: first step of each run, (run,).
        mean: whether the loss is over the number of points.
        init: name of the initialisation.
        seed: of the first network.
        seeds: how many networks.
        centered: whether f − f_0 is trained.
        dtype: of parameters and arithmetic.
        steps: at which to record, (step,).
        lattice: on which the function is recorded, too.
    """

    kernels: tuple[ComposedKernel, ...]
    points: np.ndarray
    labels: np.ndarray
    recipe: Recipe
    rates: tuple[float, ...] | None
    factors: np.ndarray
    starts: np.ndarray
    mean: bool
    init: str
    seed: int
    seeds: int
    centered: bool
    dtype: str
    steps: np.ndarray
    lattice: Grid | None

    @property
    def last(self) -> int:
        """The last step."""
        return int(self.steps[-1])

    def part(self, groups: tuple[int, int], rates: list[float | None]) -> Plan:
        """The plan of some of the groups, with their learning rates as far as they are known."""
        known = [rate for rate in rates[slice(*groups)] if rate is not None]
        return replace(self, kernels=self.kernels[slice(*groups)], rates=tuple(known) or None)

    def configuration(self, step: int) -> dict[str, Any]:
        """All that the path of the networks up to a step depends on, but for what `path` tells, as JSON holds it."""
        everything = configuration(self)
        for name in ("steps", "factors", "starts"):
            del everything[name]
        if told := behaviour(self.recipe, step):
            everything[BEHAVIOUR] = configuration(told)
        return everything

    def path(self, step: int) -> dict[str, Any]:
        """What was recorded and by which factors of the learning rate, up to a step: more may follow."""
        until = self.starts < max(step, 1)
        return {
            "recorded": self.steps[self.steps <= step].tolist(),
            "last": self.last,
            "schedule": configuration([self.factors[until], self.starts[until]]),
        }

    def require_same_path(self, saved: Saved) -> None:
        """Refuse to go on from a checkpoint that came another way, or whose other parts end elsewhere.

        Raises:
            ValueError: with what differs.
        """
        progress, asked = saved.progress, self.path(saved.seen)
        was = {key: progress[key] for key in ("recorded", "last", "schedule")}
        if len(progress["parts"]) == 1:
            asked["last"] = was["last"]
        for name, meaning in (("recorded", "steps"), ("last", "a last step"), ("schedule", "a schedule")):
            if asked[name] != was[name]:
                raise ValueError(
                    f"the checkpoint at step {saved.seen} had {meaning} {was[name]} so far, and now "
                    f"{asked[name]} is asked for; ask for the same up to that step, or begin anew in an empty folder"
                )

    def inputs(self, points: np.ndarray) -> jax.Array:
        """What the networks take at points (n, d): features, or the points where the mapping is learned."""
        if self.recipe.trainable:
            return jnp.broadcast_to(jnp.asarray(points, dtype=self.dtype), (len(self.kernels), *points.shape))
        return jnp.stack([k.mapping(points).astype(self.dtype) for k in self.kernels])

    def fixed(self) -> dict[str, jax.Array]:
        """What is not learned of a mapping that is learned in part, each (group, …)."""
        names = set(LEARNABLE) - set(self.recipe.trainable) if self.recipe.trainable else set()
        return {name: self._stacked(name) for name in sorted(names)}

    def params(self, first: int, count: int) -> Any:
        """Parameters of the networks from `first` on, (group, seed, …)."""
        k = self.kernels[0]
        params = initialise(
            k.network, self.seed, count, k.mapping.num_features, self.labels.shape[1], self.dtype, self.init, first
        )
        groups = len(self.kernels)
        stacked = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (groups, *leaf.shape)), params)
        if not self.recipe.trainable:
            return stacked
        learned = {name: self._stacked(name) for name in self.recipe.trainable}
        spread = {name: jnp.repeat(leaf[:, None], count, axis=1) for name, leaf in learned.items()}
        return {"network": stacked, "mapping": spread}

    def shapes(self) -> Any:
        """Shapes and dtypes of the parameters of one network; nothing is computed."""
        stacked = jax.eval_shape(lambda: self.params(0, 1))
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[2:], leaf.dtype), stacked)

    def problem(self, params: Any, first: int) -> Problem:
        """The arrays of the networks from `first` on; their learning rate is 1 where it is not known yet."""
        n, groups, count = len(self.points), len(self.kernels), jax.tree.leaves(params)[0].shape[1]
        labels = jnp.asarray(self.labels, dtype=self.dtype)
        network, inputs, fixed = self.kernels[0].network, self.inputs(self.points), self.fixed()
        beginning = outputs(self.recipe, network, params, inputs, fixed)
        start = beginning if self.centered else jnp.zeros_like(beginning)
        scale = 1 / n if self.mean else 1.0
        return Problem(
            network=network,
            inputs=inputs,
            fixed=fixed,
            labels=labels,
            weights=jnp.ones(n, dtype=self.dtype),
            start=start,
            rate=jnp.asarray(np.ones(groups) if self.rates is None else self.rates, dtype=self.dtype),
            factors=jnp.asarray(self.factors, dtype=self.dtype),
            starts=jnp.asarray(self.starts),
            scale=jnp.asarray(scale, dtype=self.dtype),
            ceiling=_ceiling(self.recipe, beginning, start, labels, scale),
            keys=_batch_keys(self.seed, first, count, groups),
        )

    def _stacked(self, name: str) -> jax.Array:
        return jnp.stack([jnp.asarray(getattr(k.mapping, name), dtype=self.dtype) for k in self.kernels])


@partial(jax.jit, static_argnames="recipe")
def losses_of(recipe: Recipe, f: jax.Array, labels: jax.Array, scale: float) -> jax.Array:
    """The loss of outputs (..., point, channel)."""
    return scale * jnp.sum(recipe.losses(f, labels), axis=(-2, -1))


@partial(jax.jit, static_argnames="recipe")
def _ceiling(recipe: Recipe, beginning: jax.Array, start: jax.Array, labels: jax.Array, scale: float) -> jax.Array:
    """A loss that no run on its way to the labels reaches."""
    at_start, known, drawn = _sizes(recipe, beginning, start, labels, scale)
    largest = jnp.max(at_start + GROWTH * jnp.maximum(known, drawn))
    return jnp.minimum(largest, jnp.finfo(labels.dtype).max).astype(labels.dtype)


@partial(jax.jit, static_argnames="recipe")
def highest_saved(
    recipe: Recipe, beginning: jax.Array, start: jax.Array, labels: jax.Array, scale: float
) -> tuple[jax.Array, jax.Array]:
    """The loss of each network at its start, and that above which it is not saved, (group, seed)."""
    at_start, known, drawn = _sizes(recipe, beginning, start, labels, scale)
    # The loss of labels that are zero, or lost in the rounding of f − f_0, says nothing: f_0 does.
    rounding = 100 * jnp.finfo(labels.dtype).eps * beginning
    lost = jnp.abs(losses_of(recipe, rounding, labels, scale) - losses_of(recipe, 0 * rounding, labels, scale))
    return at_start, at_start + UNSETTLED * jnp.where(known > lost, known, jnp.maximum(known, drawn))


def _sizes(
    recipe: Recipe, beginning: jax.Array, start: jax.Array, labels: jax.Array, scale: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The loss at the start, and how large losses are: of the start and the labels, and of outputs as they are drawn.

    A loss may be zero or negative at any of them; outputs of some size have a loss that is not.
    """

    def size(f: jax.Array) -> jax.Array:
        loss = jnp.abs(losses_of(recipe, f, labels, scale))
        return jnp.where(jnp.isfinite(loss), loss, 0)

    known = jnp.maximum(size(beginning - start), jnp.maximum(size(jnp.zeros_like(labels)), size(labels)))
    drawn = jnp.maximum(size(beginning), jnp.finfo(labels.dtype).eps * scale * labels.size)
    return losses_of(recipe, beginning - start, labels, scale), known, drawn


@partial(jax.jit, static_argnames=("count", "groups"))
def _batch_keys(seed: int, first: int, count: int, groups: int) -> jax.Array:
    """Of the minibatches of each network: its own, the same in every group."""
    root = jax.random.fold_in(jax.random.key(seed), 2**31 + 1)
    keys = jax.vmap(lambda i: jax.random.fold_in(root, i))(first + jnp.arange(count))
    return jnp.broadcast_to(keys, (groups, count))
