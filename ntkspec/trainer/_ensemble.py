"""An ensemble of finite networks as one program: pure functions of their stacked parameters.

Every array of an ensemble leads with two axes, (group, seed, …): kernels of equal shapes side by side, and networks of
each from different seeds.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ntkspec import limits
from ntkspec.kernel._base import Network
from ntkspec.trainer._model import INITIALISATIONS, Recipe, raw

#: How many times its first value a loss may grow before that is called divergence: the edge of stability shows tens.
GROWTH = 1e6
#: How many times it may have grown in a state that is saved: a run at the edge goes up by tens and comes back.
UNSETTLED = 50
#: Parameters that are drawn at once, or those of one network: draws are of float64 and take thrice what they become.
DRAWN = 2**24


class Problem(NamedTuple):
    """What does not change while an ensemble is trained.

    Attributes:
        network: that all of it share.
        inputs: features (group, point, feature), or points (group, point, axis) of a learned mapping.
        fixed: the fields of a learned mapping that are not learned, each (group, …).
        labels: y, (point, channel).
        weights: 1 for each point and 0 for one that only fills a device's share up, (point,).
        start: what is subtracted from the outputs, (group, seed, point, channel).
        rate: learning rate, (group,).
        factors: factor of the schedule for each run of equal steps, (run,).
        starts: the first step of each run, (run,).
        scale: of the summed loss: 1, or one over the number of points.
        ceiling: the loss above which a network has diverged.
        keys: of the minibatches, (group, seed).
    """

    network: Network
    inputs: Array
    fixed: dict[str, Array]
    labels: Array
    weights: Array
    start: Array
    rate: Array
    factors: Array
    starts: Array
    scale: Array
    ceiling: Array
    keys: Array


class State(NamedTuple):
    """What changes, and what a checkpoint keeps.

    Attributes:
        params: parameters of the networks; see `ntkspec.trainer._model.raw`.
        memory: state of the optimizer.
        loss: before the last step, (group, seed).
        error: mean squared error before the last step, (group, seed).
        diverged: the first step whose loss was not finite or above the ceiling, −1 if none, (group, seed).
    """

    params: Any
    memory: Any
    loss: Array
    error: Array
    diverged: Array


def initialise(
    network: Network,
    seed: int,
    count: int,
    num_features: int,
    channels: int,
    dtype: str,
    init: str = "network",
    first: int = 0,
) -> Any:
    """Parameters of `count` networks from number `first` on, stacked; network i is the same whatever the count."""
    numbers = jnp.arange(first, first + count)
    return _initialise(network, jax.random.key(seed), numbers, num_features, channels, dtype, init)


@partial(jax.jit, static_argnames=("num_features", "channels", "dtype", "init"))
def _initialise(
    network: Network, key: Array, numbers: Array, num_features: int, channels: int, dtype: str, init: str
) -> Any:
    # In one program: float64 draws of a wide network never exist whole beside the float32 parameters.
    def one(number: Array) -> Any:
        own_key = jax.random.fold_in(key, number)
        drawn = network.init(own_key, num_features, channels)
        params = INITIALISATIONS[init](network, jax.random.fold_in(own_key, 2**31), drawn)
        return jax.tree.map(lambda leaf: leaf.astype(dtype), params)

    size = sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(one, numbers[0])))
    return jax.lax.map(one, numbers, batch_size=max(1, DRAWN // size))


@partial(jax.jit, static_argnames="recipe")
def begin(recipe: Recipe, problem: Problem, params: Any) -> State:
    """Return the state before the first step of parameters (group, seed, …)."""
    memory = _over_groups(
        lambda rate, keys, params: jax.vmap(lambda key, params: recipe.build(rate, key).init(params))(keys, params),
        problem.rate * problem.factors[0],
        problem.keys,
        params,
    )
    shape = problem.start.shape[:2]
    nothing = jnp.full(shape, jnp.nan, dtype=problem.labels.dtype)
    # Of the types that a step gives back: with others the program would be compiled twice.
    return State(params, memory, nothing, nothing, jnp.full(shape, -1, dtype=jnp.int32))


def evaluated() -> int:
    """Points whose outputs are computed at once, divided by the networks: a lattice of any size takes their memory."""
    return limits.current().side_by_side // 64


def outputs(recipe: Recipe, network: Network, params: Any, inputs: Array, fixed: dict[str, Array]) -> Array:
    """Return the networks' outputs before centring and sigmoid, (group, seed, point, channel)."""
    networks, n = len(inputs) * jax.tree.leaves(params)[0].shape[1], inputs.shape[1]
    return _outputs(recipe, network, params, inputs, fixed, min(n, max(1, evaluated() // networks)))


@partial(jax.jit, static_argnames=("recipe", "together"))
def _outputs(
    recipe: Recipe, network: Network, params: Any, inputs: Array, fixed: dict[str, Array], together: int
) -> Array:
    def of_group(params: Any, points: Array, fixed: dict[str, Array]) -> Array:
        one = recipe.products(lambda params, points, fixed: raw(recipe, network, params, points, fixed))
        return jax.vmap(lambda params: one(params, points, fixed))(params)

    def of_points(points: Array) -> Array:
        return _over_groups(of_group, params, points, fixed)

    n = inputs.shape[1]
    if n == together:
        return of_points(inputs)
    # A last part that overlaps the one before it: all parts have one size, and one program.
    count = -(-n // together)
    starts = jnp.minimum(jnp.arange(count) * together, n - together)
    parts = jax.lax.map(lambda i: of_points(jax.lax.dynamic_slice_in_dim(inputs, i, together, axis=1)), starts)
    joined = jnp.moveaxis(parts, 0, 2).reshape(*parts.shape[1:3], count * together, -1)
    before = (count - 1) * together
    return jnp.concatenate([joined[:, :, :before], joined[:, :, count * together - (n - before) :]], axis=2)


@partial(jax.jit, static_argnames="recipe", donate_argnames="state")
def advance(recipe: Recipe, problem: Problem, state: State, first: Array, count: Array) -> State:
    """Take `count` steps from step `first` with every network, all of them side by side.

    Both are traced, so one program serves every stretch between two reports, and where stretches end changes no bit.
    The memory of `state` is reused.
    """
    return steps_of(recipe, problem, state, first, count)


def steps_of(
    recipe: Recipe, problem: Problem, state: State, first: Array, count: Array, axis: str | None = None
) -> State:
    """`advance` inside a program; `axis` names the devices that share the points of a step."""

    def step(i: Array, state: State) -> State:
        one = partial(_step, recipe, problem, axis, i)
        return _over_groups(
            lambda rate, inputs, fixed, *rest: jax.vmap(partial(one, rate, inputs, fixed))(*rest),
            problem.rate * _factor(problem, i),
            problem.inputs,
            problem.fixed,
            problem.start,
            problem.keys,
            state,
        )

    return jax.lax.fori_loop(first, first + count, step, state)


def in_turn(recipe: Recipe, problem: Problem, states: State, number: Array, first: Array, count: Array) -> State:
    """Take `count` steps from step `first` with one network after another.

    States (network, …) are those of the problem's networks from `number` on, counted through the groups.
    """

    def train(place: Array, states: State) -> State:
        group, seed = jnp.divmod(number + place, problem.start.shape[1])
        inputs, fixed = jax.tree.map(lambda leaf: leaf[group], (problem.inputs, problem.fixed))
        start, key = problem.start[group, seed], problem.keys[group, seed]

        def step(i: Array, state: State) -> State:
            rate = problem.rate[group] * _factor(problem, i)
            return _step(recipe, problem, None, i, rate, inputs, fixed, start, key, state)

        own = jax.tree.map(lambda leaf: leaf[place], states)
        moved = jax.lax.fori_loop(first, first + count, step, own)
        return jax.tree.map(lambda leaf, one: jax.lax.dynamic_update_index_in_dim(leaf, one, place, 0), states, moved)

    return jax.lax.fori_loop(0, len(states.loss), train, states)


def _factor(problem: Problem, i: Array) -> Array:
    """Of the schedule at step i."""
    return problem.factors[jnp.searchsorted(problem.starts, i, side="right") - 1]


def _step(
    recipe: Recipe,
    problem: Problem,
    axis: str | None,
    i: Array,
    rate: Array,
    inputs: Array,
    fixed: dict[str, Array],
    start: Array,
    key: Array,
    state: State,
) -> State:
    """Step i of one network."""
    labels, weights, scale = problem.labels, problem.weights, problem.scale
    if recipe.training.batch_size is not None:
        n = labels.shape[0]
        chosen = jax.random.permutation(jax.random.fold_in(key, i), n)[: recipe.training.batch_size]
        scale = scale * n / recipe.training.batch_size
        if axis is not None:
            chosen = _share(chosen, axis)
        inputs, labels, start, weights = (part[chosen] for part in (inputs, labels, start, weights))

    def total(values: Any) -> Any:
        return values if axis is None else jax.lax.psum(values, axis)

    def loss(params: Any, network: Network, inputs: Array, fixed: dict[str, Array]) -> tuple[Array, Array]:
        f = raw(recipe, network, params, inputs, fixed) - start
        each = weights[:, None] * recipe.losses(f, labels)
        apart = weights[:, None] * (recipe.guess(f) - labels) ** 2
        return scale * jnp.sum(each), jnp.sum(apart)

    given = (problem.network, inputs, fixed)
    (value, apart), gradient = recipe.products(jax.value_and_grad(loss, has_aux=True))(state.params, *given)
    value, apart, gradient, size = total((value, apart, gradient, jnp.sum(weights) * labels.shape[1]))
    if (largest := recipe.training.gradient_clip) is not None:
        norm = jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(gradient)))
        gradient = jax.tree.map(lambda leaf: leaf * jnp.minimum(1, largest / norm).astype(leaf.dtype), gradient)
    update, memory = recipe.build(rate, key).update(
        gradient,
        state.memory,
        state.params,
        value=value,
        grad=gradient,
        value_fn=recipe.scalar(lambda params: loss(params, *given)[0]),
    )
    params = jax.tree.map(lambda p, u: p + u, state.params, update)
    bad = ~(value <= problem.ceiling)
    diverged = jnp.where((state.diverged < 0) & bad, i.astype(state.diverged.dtype), state.diverged)
    return State(params, memory, value, apart / size, diverged)


def _share(chosen: Array, axis: str) -> Array:
    """Return this device's part of a batch."""
    each = chosen.shape[0] // jax.lax.axis_size(axis)
    return jax.lax.dynamic_slice_in_dim(chosen, jax.lax.axis_index(axis) * each, each)


def _over_groups(function: Any, *args: Any) -> Any:
    """Map `function` over groups; with a single one it is called as it is, so that its products stay as written."""
    if jax.tree.leaves(args[0])[0].shape[0] > 1:
        return jax.vmap(function)(*args)
    only = function(*jax.tree.map(lambda leaf: leaf[0], args))
    return jax.tree.map(lambda leaf: leaf[None], only)


@partial(jax.jit, static_argnames="recipe")
def losses_of(recipe: Recipe, f: jax.Array, labels: jax.Array, scale: float) -> jax.Array:
    """Return the loss of outputs (..., point, channel)."""
    return scale * jnp.sum(recipe.losses(f, labels), axis=(-2, -1))


@partial(jax.jit, static_argnames="recipe")
def ceiling(recipe: Recipe, beginning: jax.Array, start: jax.Array, labels: jax.Array, scale: float) -> jax.Array:
    """Return a loss that no run on its way to the labels reaches."""
    at_start, known, drawn = _sizes(recipe, beginning, start, labels, scale)
    largest = jnp.max(at_start + GROWTH * jnp.maximum(known, drawn))
    return jnp.minimum(largest, jnp.finfo(labels.dtype).max).astype(labels.dtype)


@partial(jax.jit, static_argnames="recipe")
def highest_saved(
    recipe: Recipe, beginning: jax.Array, start: jax.Array, labels: jax.Array, scale: float
) -> tuple[jax.Array, jax.Array]:
    """Return the loss of each network at its start, and that above which it is not saved, (group, seed)."""
    at_start, known, drawn = _sizes(recipe, beginning, start, labels, scale)
    # The loss of labels that are zero, or lost in the rounding of f − f_0, says nothing: f_0 does.
    rounding = 100 * jnp.finfo(labels.dtype).eps * beginning
    lost = jnp.abs(losses_of(recipe, rounding, labels, scale) - losses_of(recipe, 0 * rounding, labels, scale))
    return at_start, at_start + UNSETTLED * jnp.where(known > lost, known, jnp.maximum(known, drawn))


def _sizes(
    recipe: Recipe, beginning: jax.Array, start: jax.Array, labels: jax.Array, scale: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the loss at the start, and a scale of losses: of the start and the labels, and of outputs as drawn.

    A loss may be zero or negative at any of them; outputs of some size have a loss that is not.
    """

    def size(f: jax.Array) -> jax.Array:
        loss = jnp.abs(losses_of(recipe, f, labels, scale))
        return jnp.where(jnp.isfinite(loss), loss, 0)

    known = jnp.maximum(size(beginning - start), jnp.maximum(size(jnp.zeros_like(labels)), size(labels)))
    drawn = jnp.maximum(size(beginning), jnp.finfo(labels.dtype).eps * scale * labels.size)
    return losses_of(recipe, beginning - start, labels, scale), known, drawn


@partial(jax.jit, static_argnames=("count", "groups"))
def batch_keys(seed: int, first: int, count: int, groups: int) -> jax.Array:
    """Of the minibatches of each network: its own, the same in every group."""
    root = jax.random.fold_in(jax.random.key(seed), 2**31 + 1)
    keys = jax.vmap(lambda i: jax.random.fold_in(root, i))(first + jnp.arange(count))
    return jnp.broadcast_to(keys, (groups, count))
