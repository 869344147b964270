"""A training run, checked before anything is allocated, and its arrays."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from ntkspec.checks import (
    Refused,
    check_labels,
    check_points,
    check_positive,
    check_seed,
    check_sizes,
    check_whole_steps,
    shown,
)
from ntkspec.grid import Grid
from ntkspec.kernel._composed import ComposedKernel, check_composed
from ntkspec.limits import refuse_if_too_large
from ntkspec.mapping import FourierMapping
from ntkspec.record import configuration
from ntkspec.trainer._ensemble import Problem, batch_keys, ceiling, initialise, outputs
from ntkspec.trainer._keep import Saved
from ntkspec.trainer._model import LEARNABLE, Recipe, initialisation_refusals, try_loss, try_step
from ntkspec.trainer._optimizer import is_rateless
from ntkspec.training import Training, are_factors

#: Bytes of a step where a schedule that is a function is asked for its factors: numbers, their copy and changes.
TABULATED = 40


@dataclass(frozen=True)
class Plan:
    """All that a run depends on, checked; make one with `ntkspec.trainer.plan`.

    Attributes:
        kernels: kernel of each group; they differ in the numbers of their mapping alone.
        points: x, (point, axis).
        labels: y, (point, channel).
        training: options of the networks.
        rateless: whether the optimizer finds its own steps.
        rates: learning rate of each group; None until it is taken from the kernel.
        factors: factors of the schedule, by run of equal steps, (run,), which begin at the steps `starts`.
        starts: first step of each run, (run,).
        seed: number of the first network, of `seeds`.
        seeds: number of networks.
        steps: steps at which to record, (step,).
        lattice: lattice on which the function is recorded, too.
        unseen: points at which it is recorded, too, (asked, axis).
        squeeze: whether labels came without a channel.
    """

    kernels: tuple[ComposedKernel, ...]
    points: np.ndarray
    labels: np.ndarray
    training: Training
    rateless: bool
    rates: tuple[float, ...] | None
    factors: np.ndarray
    starts: np.ndarray
    seed: int
    seeds: int
    steps: np.ndarray
    lattice: Grid | None
    unseen: np.ndarray | None
    squeeze: bool

    @cached_property
    def recipe(self) -> Recipe:
        """What a step does."""
        return Recipe.of(self.training, self.rateless)

    @property
    def elsewhere(self) -> np.ndarray | None:
        """Points beside those that train at which the function is recorded: of the lattice, then unseen ones."""
        parts = [] if self.lattice is None else [np.asarray(self.lattice.points())]
        parts += [] if self.unseen is None else [self.unseen]
        return np.concatenate(parts) if parts else None

    @property
    def num_elsewhere(self) -> int:
        """How many those are."""
        lattice = 0 if self.lattice is None else self.lattice.size
        return lattice + (0 if self.unseen is None else len(self.unseen))

    @property
    def mean(self) -> bool:
        """Whether the loss is over the number of points."""
        return self.training.loss == "mean"

    @property
    def dtype(self) -> str:
        """Precision of parameters and arithmetic."""
        return self.training.dtype

    @property
    def last(self) -> int:
        """The last step."""
        return int(self.steps[-1])

    def part(self, groups: tuple[int, int], rates: list[float | None]) -> Plan:
        """Return the plan of some of the groups, with their learning rates as far as they are known."""
        known = [rate for rate in rates[slice(*groups)] if rate is not None]
        return replace(self, kernels=self.kernels[slice(*groups)], rates=tuple(known) or None)

    def changed(
        self, training: Training | None = None, steps: Sequence[int] | np.ndarray | None = None, **fields: Any
    ) -> Plan:
        """Return the plan of another run on the same points and labels, which are not checked again.

        Args:
            training: options, which go with these labels.
            steps: steps at which to record.
            **fields: other fields of the plan, such as `kernels`, `rates` and `seed`.
        """
        recorded = self.steps if steps is None else np.asarray(steps, dtype=np.int64)
        other = replace(self, training=self.training if training is None else training, steps=recorded, **fields)
        factors, starts = _table(other.training, other.last)
        rateless = other.rates is None and is_rateless(other.training.optimizer)
        return replace(other, factors=factors, starts=starts, rateless=rateless)

    def is_beside(self, other: Plan) -> bool:
        """Whether another plan differs in the numbers of its mapping and in its learning rate alone."""

        def rest(plan: Plan) -> tuple[Any, ...]:
            shapes = [(np.shape(leaf), str(np.asarray(leaf).dtype)) for leaf in jax.tree.leaves(plan.kernels)]
            shared = {**plan.configuration(), "kernels": None, "rates": plan.rates is None}
            network = configuration(plan.kernels[0].network)
            return plan.training, shared, plan.path(plan.last), jax.tree.structure(plan.kernels), shapes, network

        return rest(self) == rest(other)

    def configuration(self) -> dict[str, Any]:
        """All that the path of the networks depends on, but for what `path` holds, as JSON has it."""
        steady = replace(self.training, schedule="constant")
        names = ("kernels", "points", "labels", "rates", "seed", "seeds", "lattice", "unseen")
        described = configuration({name: getattr(self, name) for name in names})
        return {**described, "training": json.loads(steady.to_json())}

    def path(self, step: int) -> dict[str, Any]:
        """Return what was recorded and by which factors of the learning rate, up to a step: more may follow."""
        until = self.starts < max(step, 1)
        return {
            "recorded": self.steps[self.steps <= step].tolist(),
            "last": self.last,
            "schedule": configuration([self.factors[until], self.starts[until]]),
        }

    def require_same_path(self, saved: Saved) -> None:
        """Refuse to go on from a checkpoint that came another way, or whose other parts end elsewhere."""
        was, now = saved.progress, self.path(saved.seen)
        if len(was["parts"]) == 1:
            now["last"] = was["last"]
        for name, meaning in (("recorded", "steps"), ("last", "a last step"), ("schedule", "a schedule")):
            if now[name] != was[name]:
                had = f"the checkpoint at step {saved.seen} had {meaning} {was[name]} so far, and now {now[name]}"
                raise ValueError(f"{had} is asked for; give the same up to that step, or begin in an empty folder")

    def inputs(self, points: np.ndarray) -> jax.Array:
        """Return what the networks take at points (n, d): features, or the points where the mapping is learned."""
        if self.recipe.training.trainable:
            return jnp.broadcast_to(jnp.asarray(points, dtype=self.dtype), (len(self.kernels), *points.shape))
        return jnp.stack([k.mapping(points).astype(self.dtype) for k in self.kernels])

    def fixed(self) -> dict[str, jax.Array]:
        """Return what is not learned of a mapping that is learned in part, each (group, …)."""
        names = set(LEARNABLE) - set(self.recipe.training.trainable) if self.recipe.training.trainable else set()
        return {name: self._stacked(name) for name in sorted(names)}

    def params(self, first: int, count: int) -> Any:
        """Parameters of the networks from `first` on, (group, seed, …)."""
        k = self.kernels[0]
        inputs, outputs = k.mapping.num_features, self.labels.shape[1]
        params = initialise(k.network, self.seed, count, inputs, outputs, self.dtype, self.training.init, first)
        groups = len(self.kernels)
        stacked = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (groups, *leaf.shape)), params)
        if not self.recipe.training.trainable:
            return stacked
        learned = {name: self._stacked(name) for name in self.recipe.training.trainable}
        spread = {name: jnp.repeat(leaf[:, None], count, axis=1) for name, leaf in learned.items()}
        return {"network": stacked, "mapping": spread}

    def shapes(self) -> Any:
        """Shapes and dtypes of the parameters of one network; nothing is computed."""
        stacked = jax.eval_shape(lambda: self.params(0, 1))
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[2:], leaf.dtype), stacked)

    def problem(self, params: Any, first: int) -> Problem:
        """Return the arrays of the networks from `first` on; their learning rate is 1 where it is not known yet."""
        n, groups, count = len(self.points), len(self.kernels), jax.tree.leaves(params)[0].shape[1]
        labels = jnp.asarray(self.labels, dtype=self.dtype)
        network, inputs, fixed = self.kernels[0].network, self.inputs(self.points), self.fixed()
        beginning = outputs(self.recipe, network, params, inputs, fixed)
        start = beginning if self.training.centered else jnp.zeros_like(beginning)
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
            ceiling=ceiling(self.recipe, beginning, start, labels, scale),
            keys=batch_keys(self.seed, first, count, groups),
        )

    def _stacked(self, name: str) -> jax.Array:
        return jnp.stack([jnp.asarray(getattr(k.mapping, name), dtype=self.dtype) for k in self.kernels])


def planned(
    k: ComposedKernel,
    x: ArrayLike,
    y: ArrayLike,
    *,
    steps: Sequence[int],
    training: Training,
    learning_rate: float | None,
    seeds: int,
    seed: int,
    field_shape: tuple[int, ...] | None,
    unseen: ArrayLike | None,
) -> Plan:
    """Return a checked plan, which may not fit in memory; see `ntkspec.trainer.plan`."""
    check_composed(k)
    if not isinstance(training, Training):
        raise TypeError(f"training={shown(training)}; expected ns.trainer.Training(...)")
    points = np.asarray(check_points(x, k.dim))
    labels = np.asarray(check_labels(y, len(points)))
    recorded = check_whole_steps(steps)
    check_sizes(seeds=seeds)
    check_seed(seed)
    if refusal := next(_refusals(training, k, labels, learning_rate), None):
        raise refusal
    shape = None if field_shape is None else _field_shape(field_shape, k.dim)
    factors, starts = _table(training, int(recorded[-1]))
    plan = Plan(
        kernels=(k,),
        points=points,
        labels=labels.reshape(len(points), -1),
        training=training,
        rateless=learning_rate is None and is_rateless(training.optimizer),
        rates=None if learning_rate is None else (float(learning_rate),),
        factors=factors,
        starts=starts,
        seed=seed,
        seeds=seeds,
        steps=recorded,
        lattice=None if shape is None else Grid.unit(shape),
        unseen=None if unseen is None or not np.size(unseen) else np.asarray(check_points(unseen, k.dim)),
        squeeze=labels.ndim == 1,
    )
    try_loss(plan.recipe, training.dtype)
    try_step(plan.recipe, plan.shapes(), training.dtype)
    return plan


def _refusals(training: Training, k: ComposedKernel, labels: np.ndarray, rate: float | None) -> Iterator[Exception]:
    """Yield why options do not go with this kernel, these labels or this process."""
    if labels.size == 0:
        yield ValueError(f"labels have shape {labels.shape}; expected at least one point and one channel to train on")
    if rate is not None and not training.optimizer.takes_rate:
        yield ValueError(
            f"learning_rate={rate}, and the optimizer ({training.optimizer}) was built with its own; leave it out, "
            "or give the optimizer by name"
        )
    if rate is not None:
        check_positive("learning_rate", rate, "below ns.dynamics.max_learning_rate, or None")
    if training.dtype == "float64" and jnp.result_type(float) != jnp.float64:
        yield Refused(
            "dtype='float64', and JAX's float64 is off; leave JAX_ENABLE_X64=0 out of the environment, or take {dtype}",
            dtype="float32",
        )
    if (training.batch_size or 0) > len(labels):
        yield ValueError(
            f"batch_size={training.batch_size}; expected at most the number of points, {len(labels)}; by default all"
        )
    low, high = float(labels.min()), float(labels.max())
    if (training.of_logits or training.output == "sigmoid") and not 0 <= low <= high <= 1:
        what = "the logistic loss" if training.of_logits else "a sigmoid output"
        yield Refused(
            f"labels reach from {low:.3g} to {high:.3g}, and {what} is for labels in [0, 1]; scale them, or take "
            "{output} with {loss}",
            output="linear",
            loss="sum",
        )
    if training.trainable and not isinstance(k.mapping, FourierMapping):
        yield ValueError(
            f"a {type(k.mapping).__name__} has no list of frequencies and amplitudes to learn; take a mapping such as "
            "ns.mapping.gaussian(...), or trainable=()"
        )
    yield from initialisation_refusals(training.init, k.network)


def _field_shape(given: Sequence[int], dim: int) -> tuple[int, ...]:
    listed = isinstance(given, Sequence | np.ndarray) and not isinstance(given, str)
    sizes = tuple(given) if listed else ()
    if len(sizes) != dim or not all(isinstance(n, int | np.integer) and n is not True and n > 0 for n in sizes):
        expected = f"{dim} positive sizes, one a coordinate, such as {(64,) * dim}"
        raise (ValueError if listed else TypeError)(f"field_shape={shown(given)}; expected {expected}")
    return tuple(map(int, sizes))


def _table(training: Training, last: int) -> tuple[np.ndarray, np.ndarray]:
    """Factors of the learning rate and the first step of each: what `ntkspec.dynamics.Schedule` holds."""
    schedule = training.schedule
    if not callable(schedule) or hasattr(schedule, "factors"):
        listed, starts = training.factors(last)
        return np.asarray(listed, dtype=float), np.asarray(starts, dtype=np.int64)
    refuse_if_too_large(
        TABULATED * last,
        f"a schedule that is a function, asked for its factor at each of {last:,} steps,",
        "give one that lists its changes, such as ns.dynamics.piecewise({0: 1.0, 1000: 0.1}), or ask for fewer steps",
    )
    values = _values(schedule, max(last, 1))
    if values.shape != (max(last, 1),):
        raise TypeError(f"the schedule gives arrays of shape {values.shape}; expected one number a step, such as 0.5")
    if not are_factors(values):
        raise ValueError("the schedule gives factors that are negative, not finite or all zero; expected such as 0.5")
    first = np.flatnonzero(np.r_[True, np.diff(values) != 0])
    return values[first], first


def _values(schedule: Callable[[Any], Any], count: int) -> np.ndarray:
    try:
        factors = np.asarray(jax.vmap(schedule)(jnp.arange(count)))
        if factors.dtype.kind in "biuf":
            return factors.astype(float)
    # A function of plain numbers looks at its step.
    except (TypeError, ValueError, jax.errors.JAXTypeError):
        pass
    values, step = np.zeros(count), 0
    try:
        for step in range(count):
            values[step] = float(schedule(step))
    except (TypeError, ValueError) as error:
        expected = "a function of the step that gives a factor of the learning rate, such as 0.5"
        raise TypeError(f"the schedule gives no number at step {step} ({error}); expected {expected}") from error
    return values
