"""The loop of a training run: stretches of steps, and what is looked at and kept between them."""

from __future__ import annotations

import functools
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntkspec.checks import Refused, check_progress
from ntkspec.progress import NO_PROGRESS, Progress, Stage
from ntkspec.trainer._devices import Cores, Layout, check_devices, layout, takes_turns, threads_for
from ntkspec.trainer._ensemble import Problem, State, begin, highest_saved, losses_of, outputs
from ntkspec.trainer._keep import NO_KEEP, Clock, Keep, Saved, flattened, newest, postponed, restored, write
from ntkspec.trainer._memory import Part, need_of, partition
from ntkspec.trainer._optimizer import reading
from ntkspec.trainer._plan import Plan
from ntkspec.trainer._rate import default_rates, stable_rates
from ntkspec.trainer._recording import Observe, Observer, Trajectory, check_observe, dataset, joined
from ntkspec.training import custom_of

#: Steps of the first call of the compiled loop, and seconds that a call should take: a progress bar moves.
FIRST_STRETCH = 1
SECONDS = 0.25


def trained(
    plan: Plan,
    keep: Keep = NO_KEEP,
    observe: Observe | None = None,
    devices: Sequence[jax.Device] | None = None,
    progress: Progress = NO_PROGRESS,
) -> tuple[Plan, Trajectory]:
    """Return the plan with its learning rates, and what its networks did; see `ntkspec.trainer.run`."""
    used = check_devices(devices)
    check_observe(observe)
    check_progress(progress)
    saved = _resumed(plan, keep)
    need = need_of(plan)
    parts = partition(plan, need, used) if saved is None else [Part.of(part) for part in saved.progress["parts"]]
    rates: list[float | None] = list(plan.rates or [None] * len(plan.kernels))
    apart = max(sum(part.groups == other.groups for other in parts) for part in parts)
    observer = None if observe is None else Observer(observe, apart)
    begun, done = 0, []
    if saved is not None:
        begun, rates = saved.progress["part"], saved.progress["rates"]
        done = [Trajectory.of(saved.arrays, f"part{i}") for i in range(begun)]
        for trajectory in done:
            trajectory.require_observed(observe is not None)
    # On a GPU the default product of float32 is coarser than float32. What is laid out over no devices is made on the
    # one that was asked for.
    with (
        postponed(keep.folder is not None) as interruption,
        jax.default_device(used[0]),
        jax.default_matmul_precision("highest"),
        progress.start("training", plan.last * len(parts), "steps") as stage,
    ):
        path = None if saved is None else saved.path
        clock = None if keep.folder is None else Clock(keep, interruption, path=path)
        stage.advance(plan.last * begun) if begun else None
        for part in parts[begun:]:
            networks = Networks(plan.part(part.groups, rates), part.first, part.count, used, threads_for(need.step))
            rates[slice(*part.groups)] = networks.plan.rates or ()
            # Before they go on from a checkpoint: an observer that looks back sees how they started.
            if observer is not None:
                networks.begin(observer)
            if saved is not None and len(done) == begun:
                networks.resume(saved, stage)
                networks.trajectory.require_observed(observe is not None)
            with _naming_the_last(clock):
                for _ in networks.train(stage, clock):
                    if clock is not None:
                        _save(clock, networks, lambda: _to_save(plan, parts, rates, done, networks))  # noqa: B023
            done.append(networks.trajectory)
    return replace(plan, rates=tuple(rates)), joined(parts, done)  # type: ignore[arg-type]  # all are known now


def _save(clock: Clock, networks: Networks, contents: Callable[[], Saved]) -> None:
    """Keep the state of some networks, unless it is far above its start, and stop if that was asked for."""
    high, folder = networks.unsettled(), clock.keep.folder
    # Two are kept: on the way up they would replace the good ones. The end of a run is its result.
    if high and networks.step < networks.plan.last and not clock.interruption.asked:
        return
    clock.saved(networks.step, write(folder, contents()))  # type: ignore[arg-type]  # a clock has one
    clock.interruption.obey(f"saved at step {networks.step} in {folder}{high}")


@contextmanager
def _naming_the_last(clock: Clock | None) -> Iterator[None]:
    """Name the last good checkpoint where a run diverges."""
    try:
        yield
    except Diverged as error:
        if clock is None or clock.path is None:
            raise
        raise error.followed_by(f"; the last good checkpoint is {clock.path.name}") from None


def _resumed(plan: Plan, keep: Keep) -> Saved | None:
    """Return the checkpoint to go on from, if `keep` resumes and there is one."""
    keep.require_usable()
    if keep.folder is None or not keep.resume:
        return None
    saved = newest(keep.folder, plan.configuration(), previous=keep.resume == "previous")
    if saved is not None:
        plan.require_same_path(saved)
        if names := custom_of(saved.configuration["training"]):
            warnings.warn(
                f"the checkpoint holds no more of its {' and '.join(names)} than a name; the run goes on to the same "
                "bits only if it is given the same",
                stacklevel=4,
            )
    return saved


def _to_save(
    plan: Plan, parts: list[Part], rates: list[float | None], done: list[Trajectory], networks: Networks
) -> Saved:
    trajectories = [*done, networks.trajectory]
    arrays = flattened("state", networks.state)
    for i, trajectory in enumerate(trajectories):
        arrays |= trajectory.arrays(f"part{i}")
    # Parts before this one have taken all steps.
    seen = plan.last if done else networks.step
    progress = {
        "step": networks.step,
        "part": len(done),
        "parts": [part.describe() for part in parts],
        "rates": rates,
        **plan.path(seen),
    }
    return Saved(arrays, plan.configuration(), progress)


class Networks:
    """Some networks of a plan under training: `count` seeds from `first` on; on one processor so many at a time."""

    def __init__(self, plan: Plan, first: int, count: int, devices: Sequence[jax.Device], threads: int) -> None:
        params = plan.params(first, count)
        problem = plan.problem(params, first)
        if plan.rates is None:
            rates = default_rates(plan.recipe, problem, params)
            plan = replace(plan, rates=tuple(rates.tolist()))
            problem = problem._replace(rate=jnp.asarray(rates, dtype=plan.dtype))
        self.plan, self.first = plan, first
        self.fixed = problem.fixed
        points = plan.elsewhere
        self.elsewhere = None if points is None else plan.inputs(points)
        self.elsewhere_start: np.ndarray | float = 0.0
        if self.elsewhere is not None and plan.training.centered:
            self.elsewhere_start = self._outputs(params, self.elsewhere)
        # Not what `start` is where nothing is subtracted.
        self.beginning = None if plan.training.centered else self._outputs(params, problem.inputs)
        state = begin(plan.recipe, problem, params)
        if takes_turns(devices, state.loss.size):
            self.layout: Layout | Cores = Cores(devices[0], state.loss.size, threads)
        else:
            self.layout = layout(devices, count, len(plan.points), plan.recipe)
        self.problem: Problem = self.layout.problem(problem)
        self.state: State = self.layout.state(state)
        self.step = 0
        self.trajectory = Trajectory()
        self.observers: list[Observe] = []

    def begin(self, observer: Observer) -> None:
        """Give each group an observer that has seen how it starts."""
        groups = zip(self.plan.kernels, self._by_group(self._read()), strict=True)
        self.observers = [observer.begin(k, params) for k, params in groups]

    def resume(self, saved: Saved, stage: Stage) -> None:
        """Go on from a checkpoint."""
        self.state = self.layout.state(restored("state", self.state, saved))
        self.trajectory = Trajectory.of(saved.arrays, f"part{saved.progress['part']}")
        self.step = saved.progress["step"]
        stage.advance(self.step)

    def train(self, stage: Stage, clock: Clock | None) -> Iterator[None]:
        """Take all steps and record; yields whenever a checkpoint is due, and at the end."""
        stretch = FIRST_STRETCH
        for step in self.plan.steps[len(self.trajectory.values) :].tolist():
            while self.step < step:
                count = min(stretch, step - self.step, math.inf if clock is None else clock.until_due(self.step))
                started = time.perf_counter()
                self._advance(int(count), stage)
                seconds = time.perf_counter() - started
                # What is seen changes with the length of a stretch, what is computed does not.
                if count == stretch and seconds < SECONDS / 2:
                    stretch *= 2
                elif seconds > 2 * SECONDS and self.step > count:
                    stretch = max(1, stretch // 2)
                if clock is not None and clock.due(self.step) and self.step < step:
                    self._stop_if_lost()
                    yield
            self._record(step)
            if clock is not None and clock.due(self.step) and self.step < self.plan.last:
                self._stop_if_lost()
                yield
        yield

    def _advance(self, count: int, stage: Stage) -> None:
        first, self.step = self.step, self.step + count
        self.state = self.layout.advance(
            self.plan.recipe, self.problem, self.state, jnp.asarray(first), jnp.asarray(count)
        )
        diverged = np.asarray(self.state.diverged)
        if (diverged >= 0).any():
            raise self._divergence(int(diverged[diverged >= 0].min()))
        error = float(np.mean(self.state.error))
        psnr = -10 * math.log10(error) if error > 0 else math.inf
        stage.advance(count, loss=float(np.mean(self.state.loss)), psnr=psnr)

    def _stop_if_lost(self) -> None:
        """Keep a state that is not finite any more out of a checkpoint."""
        if not all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(self.state.params)):
            raise self._divergence(self.step)

    def unsettled(self) -> str:
        """Words for a loss that is far above its start, such as of a run that diverges; empty where none is."""
        losses = np.asarray(losses_of(self.plan.recipe, self._values(self._read()), *self._measure())).ravel()
        start, highest = (np.asarray(loss).ravel() for loss in self.heights)
        above = ~(losses <= highest)
        if not above.any():
            return ""
        i = int(np.argmax(above))
        return f"; a loss there is {losses[i]:.3g}, from {start[i]:.3g} at the start, as in a run that diverges"

    @functools.cached_property
    def heights(self) -> tuple[jax.Array, jax.Array]:
        """The loss of each network at its start, and the highest that is saved."""
        start = np.asarray(self.problem.start)[:, :, : len(self.plan.points)]
        beginning = start if self.beginning is None else self.beginning
        return highest_saved(self.plan.recipe, beginning, start, *self._measure())

    def _measure(self) -> tuple[np.ndarray, float]:
        """Labels and the scale of the loss."""
        return self.plan.labels.astype(self.plan.dtype), 1 / len(self.plan.points) if self.plan.mean else 1.0

    def _record(self, step: int) -> None:
        params = self._read()
        f = self._values(params)
        if not np.isfinite(f).all():
            raise self._divergence(step)
        self.trajectory.values.append(f)
        if self.elsewhere is not None:
            self.trajectory.elsewhere.append(self._outputs(params, self.elsewhere) - self.elsewhere_start)
        if self.observers:
            groups = zip(self.observers, self._by_group(params), strict=True)
            self.trajectory.observed.append([observe(step, one) for observe, one in groups])
            if len(self.trajectory.observed) == 1:
                # What has no place in the result is refused at the first recorded step.
                dataset(replace(self.plan, steps=self.plan.steps[:1]), self.trajectory, 0)

    def _read(self) -> Any:
        """Return the parameters that the networks are read at."""
        return reading(self.plan.recipe.optimizer, self.state.params, self.state.memory)

    def _by_group(self, params: Any) -> Iterator[Any]:
        """Return copies of the parameters (seed, …) of one group after another."""
        return (jax.tree.map(lambda leaf, g=g: leaf[g], params) for g in range(len(self.plan.kernels)))

    def _values(self, params: Any) -> np.ndarray:
        """Return outputs at the training points, less those at the start if they are subtracted."""
        f = self._outputs(params, self.problem.inputs) - np.asarray(self.problem.start)
        return np.asarray(f[:, :, : len(self.plan.points)])

    def _outputs(self, params: Any, inputs: jax.Array) -> np.ndarray:
        return np.asarray(outputs(self.plan.recipe, self.plan.kernels[0].network, params, inputs, self.fixed))

    def _divergence(self, step: int) -> Diverged:
        """Say what went wrong, with the limit and what to change."""
        plan, recipe = self.plan, self.plan.recipe
        where = f"training diverged by step {step}"
        if step == 0 and not np.isfinite(self.heights[0]).all():
            start = self._outputs(plan.params(self.first, 1), self.problem.inputs)
            return Diverged(
                f"{where}: before any step, the loss of outputs up to {np.abs(start).max():.3g} and labels "
                f"up to {np.abs(plan.labels).max():.3g} is not finite in {plan.dtype}; scale the labels or the "
                "mapping's amplitudes down, or take {dtype}",
                dtype="float64",
            )
        if not recipe.optimizer.takes_rate or recipe.rateless:
            return Diverged(f"{where}; give the optimizer ({recipe.optimizer}) a smaller learning rate")
        # Of the step that led there.
        rates = np.array(plan.rates) * plan.factors[np.searchsorted(plan.starts, max(step - 1, 0), side="right") - 1]
        if recipe.optimizer.limit is None:
            return Diverged(f"{where}; take a learning rate below {rates.min():.3g} ({recipe.optimizer})")
        limits = stable_rates(recipe, self.problem, plan.params(self.first, 1))
        worst = int(np.argmax(rates / limits))
        rate, limit = rates[worst], limits[worst]
        if rate > limit:
            return Diverged(
                f"{where}; take a learning rate below the stability limit, {limit:.3g} for this network as it starts "
                f"(got {rate:.3g})"
            )
        if not math.isfinite(limit):
            return Diverged(
                f"{where}; take a learning rate below {rate:.3g}. There is no stability limit to go by: at the start "
                "the loss has no curvature, or a negative one"
            )
        batches = recipe.training.batch_size is not None
        noisy, larger = (", or batches are noisy", "larger ones, ") if batches else ("", "")
        return Diverged(
            f"{where}; take a learning rate below {rate:.3g}, though the stability limit at the start was {limit:.3g}: "
            f"the network's kernel has grown{noisy}; {larger}a greater width or {{dtype}} help",
            dtype="float64",
        )


class Diverged(FloatingPointError):
    """A loss that stopped being finite or grew a million times, with advice as `ntkspec.checks.Refused` has it."""

    def __init__(self, message: str, **arguments: Any) -> None:
        self.advice = Refused(message, **arguments)
        self.on_command_line = self.advice.on_command_line
        super().__init__(str(self.advice))

    def followed_by(self, more: str) -> Diverged:
        """Add words to the message."""
        return Diverged(self.advice.message + more, **self.advice.arguments)
