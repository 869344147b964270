"""The loop of a training run: stretches of steps, and what is looked at between them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ntkspec.progress import Progress, Stage
from ntkspec.trainer.ensemble import Problem, State, advance, begin, outputs
from ntkspec.trainer.plan import Plan
from ntkspec.trainer.rate import default_rates, stable_rates

__all__ = ["Observe", "Trajectory", "run"]

#: Called with a recorded step and the parameters of all networks there, (seed, …).
Observe = Callable[[int, Any], xr.Dataset]

#: Steps of the first call of the compiled loop, and seconds that a call should take: a progress bar moves.
FIRST_STRETCH = 16
SECONDS = 0.25


@dataclass
class Trajectory:
    """What is recorded of some networks.

    Attributes:
        values: the learned function at the training points by recorded step, each (group, seed, point, channel).
        fields: on the lattice, likewise.
        observed: what the observer said of each group, by recorded step.
    """

    values: list[np.ndarray] = field(default_factory=list)
    fields: list[np.ndarray] = field(default_factory=list)
    observed: list[list[xr.Dataset]] = field(default_factory=list)


def run(plan: Plan, observe: Observe | None, progress: Progress) -> tuple[Plan, Trajectory]:
    """Train as planned.

    Args:
        plan: of the run.
        observe: looks at parameters at recorded steps.
        progress: reporter.

    Returns:
        The plan with its learning rates, and what was recorded.

    Raises:
        FloatingPointError: if a loss stops being finite or grows a million times.
    """
    # On a GPU the default product of float32 is coarser than float32.
    with jax.default_matmul_precision("highest"):
        networks = Networks(plan, 0, plan.seeds)
        with progress.start("training", plan.last, "steps") as stage:
            return networks.plan, networks.train(observe, stage)


class Networks:
    """Some networks of a plan under training."""

    def __init__(self, plan: Plan, first: int, count: int) -> None:
        params = plan.params(first, count)
        self.problem: Problem = plan.problem(params, first)
        if plan.rates is None:
            rates = default_rates(plan.recipe, self.problem, params)
            plan = replace(plan, rates=tuple(rates.tolist()))
            self.problem = self.problem._replace(rate=jnp.asarray(rates, dtype=plan.dtype))
        self.plan, self.first, self.count = plan, first, count
        self.lattice = None if plan.lattice is None else plan.inputs(plan.lattice.points())
        self.lattice_start: np.ndarray | float = 0.0
        if self.lattice is not None and plan.centered:
            self.lattice_start = np.asarray(self._outputs(params, self.lattice))
        self.state: State = begin(plan.recipe, self.problem, params)
        self.step = 0
        self.trajectory = Trajectory()

    def train(self, observe: Observe | None, stage: Stage) -> Trajectory:
        """Take all steps and record."""
        stretch, slow = FIRST_STRETCH, SECONDS / 2
        for step in self.plan.steps[len(self.trajectory.values) :].tolist():
            while self.step < step:
                count = min(stretch, step - self.step)
                started = time.perf_counter()
                self._advance(count)
                seconds = time.perf_counter() - started
                # The first call has compiled, too; a stretch changes what is seen and not what is computed.
                if count == stretch and seconds < slow:
                    stretch *= 2
                elif seconds > 4 * slow and stretch > 1 and self.step > count:
                    stretch //= 2
                self._report(stage, count)
            self._record(step, observe)
        return self.trajectory

    def params(self) -> Any:
        """Parameters to look at, (group, seed, …)."""
        return self.plan.recipe.optimizer.reading(self.state.params, self.state.memory)

    def _advance(self, count: int) -> None:
        self.state = advance(self.plan.recipe, self.problem, self.state, jnp.asarray(self.step), jnp.asarray(count))
        jax.block_until_ready(self.state.loss)
        self.step += count
        diverged = np.asarray(self.state.diverged)
        if (diverged >= 0).any():
            raise self._divergence(int(diverged[diverged >= 0].min()))

    def _report(self, stage: Stage, count: int) -> None:
        error = float(jnp.mean(self.state.error))
        psnr = -10 * math.log10(error) if error > 0 else math.inf
        stage.advance(count, loss=float(jnp.mean(self.state.loss)), psnr=psnr)

    def _record(self, step: int, observe: Observe | None) -> None:
        params, recipe = self.params(), self.plan.recipe
        f = self._outputs(params, self.problem.inputs) - self.problem.start
        if not bool(jnp.isfinite(f).all()):
            raise self._divergence(step)
        self.trajectory.values.append(np.asarray(recipe.output(f)))
        if self.lattice is not None:
            f = self._outputs(params, self.lattice) - self.lattice_start
            self.trajectory.fields.append(np.asarray(recipe.output(f)))
        if observe is not None:
            groups = [jax.tree.map(lambda leaf: leaf[g], params) for g in range(len(self.plan.kernels))]  # noqa: B023
            self.trajectory.observed.append([observe(step, of_group) for of_group in groups])

    def _outputs(self, params: Any, inputs: jax.Array) -> jax.Array:
        return outputs(self.plan.recipe, self.problem.network, params, inputs, self.problem.fixed)

    def _divergence(self, step: int) -> FloatingPointError:
        """What went wrong, with the limit and what to change."""
        plan, recipe = self.plan, self.plan.recipe
        where = f"training diverged by step {step}"
        if not recipe.optimizer.takes_rate or recipe.optimizer.rateless:
            return FloatingPointError(f"{where}; give the optimizer ({recipe.optimizer}) a smaller learning rate")
        rates = np.array(plan.rates) * plan.factors.max()
        if recipe.optimizer.limit is None:
            return FloatingPointError(f"{where}; take a learning rate below {rates.min():.3g} ({recipe.optimizer})")
        limits = stable_rates(recipe, self.problem, plan.params(self.first, 1))
        worst = int(np.argmax(rates / limits))
        rate, limit = rates[worst], limits[worst]
        if rate > limit:
            return FloatingPointError(
                f"{where}; take a learning rate below the stability limit, {limit:.3g} for this network as it starts "
                f"(got {rate:.3g}); ns.dynamics.max_learning_rate(K, loss=...) is the kernel's own"
            )
        return FloatingPointError(
            f"{where}; take a learning rate below {rate:.3g}, though the stability limit at the start was {limit:.3g}: "
            "the network's kernel has grown, or batches are noisy; larger ones, a greater width or dtype='float64' help"
        )
