"""What a run records: observers, trajectories of parts, and the Dataset of all."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
import xarray as xr

from ntkspec.checks import check_function
from ntkspec.grid import energy_by_frequency, place
from ntkspec.kernel._composed import ComposedKernel
from ntkspec.record import attributes, configuration, step_coordinate, variable
from ntkspec.trainer._keep import packed, unpacked
from ntkspec.trainer._memory import Part
from ntkspec.trainer._model import squared
from ntkspec.trainer._plan import Plan
from ntkspec.training import custom_of

#: Called with a recorded step and the parameters of all networks there, (seed, …).
Observe = Callable[[int, Any], xr.Dataset]


@runtime_checkable
class LookingBack(Protocol):
    """An observer that compares networks with those that they were at their start; `ntkspec.empirical.movement` is one.

    A run calls `begin` before any step for each kernel, and for each part of the networks that it trains together; also
    where it goes on from a checkpoint. What comes back sees the recorded steps of these networks, and no others.

    Example:
        >>> import ntkspec as ns, numpy as np, xarray as xr
        >>> class Moved:
        ...     def __call__(self, step, params):
        ...         return xr.Dataset()
        ...     def begin(self, k, params):
        ...         start = params[0]["w"]
        ...         return lambda step, now: xr.Dataset({"moved": ("seed", np.abs(now[0]["w"] - start).max((1, 2)))})
        >>> k = ns.kernel.compose(ns.mapping.basic(dim=1), ns.kernel.MLP(depth=1, width=64))
        >>> x = np.arange(8)[:, None] / 8
        >>> r = ns.trainer.train(k, x, np.sin(2 * np.pi * x[:, 0]), steps=[1, 50], seeds=2, observe=Moved())
        >>> bool((r.moved.sel(step=1) > 0).all()), bool((r.moved.sel(step=50) > r.moved.sel(step=1)).all())
        (True, True)
    """

    def __call__(self, step: int, params: Any) -> xr.Dataset:
        """Observe without a start; a run does not call this."""

    def begin(self, k: ComposedKernel, params: Any) -> Observe:
        """Return the observer of networks of the kernel `k` that start from these parameters, (seed, …)."""


def check_observe(observe: Observe | None) -> None:
    """Refuse what cannot be called as an observer is; None is no observer."""
    check_function("observe", observe, "a function of step and parameters, such as ns.empirical.movement(k, x, y)")
    calls = {"observe": (observe, "step, params"), "observe.begin": (getattr(observe, "begin", None), "k, params")}
    for name, (function, two) in calls.items():
        try:
            if function is not None:
                inspect.signature(function).bind(None, None)
        except TypeError as error:
            raise TypeError(f"{name} cannot be called as {name}({two}): {error}") from None
        # Of some functions that are not written in Python nothing is known.
        except ValueError:
            continue


@dataclass(frozen=True)
class Observer:
    """The argument `observe` of a run, whose seeds may be trained in several parts."""

    observe: Observe
    parts: int = 1

    def begin(self, k: ComposedKernel, params: Any) -> Observe:
        """Return the observer of networks of a kernel that start from some parameters, (seed, …)."""
        observe = self.observe
        if isinstance(observe, LookingBack):
            observe = observe.begin(k, params)
            if not callable(observe):
                got = f"observe.begin returned a {type(observe).__name__}"
                raise TypeError(f"{got}; expected a function of step and parameters, as `observe` itself")
        return partial(self._observed, observe)

    def _observed(self, observe: Observe, step: int, params: Any) -> xr.Dataset:
        """Observe a step, without a `step` of its own: recorded steps are put beside each other."""
        observed = observe(step, params)
        if not isinstance(observed, xr.Dataset):
            expected = "an xarray.Dataset, such as xr.Dataset({'norm': ('seed', norms)})"
            raise TypeError(f"observe returned a {type(observed).__name__} at step {step}; expected {expected}")
        if observed.sizes.get("step", 1) != 1:
            raise ValueError(f"observe returned {observed.sizes['step']} steps; it is called at one, and returns that")
        alike = [str(name) for name, values in observed.data_vars.items() if "seed" not in values.dims]
        if alike and self.parts > 1:
            why = f"the networks do not fit in memory together: they are trained in {self.parts} parts"
            raise ValueError(f"observe returned {', '.join(alike)} without a dimension `seed`, and {why}; keep `seed`")
        alone = observed.squeeze("step") if "step" in observed.dims else observed
        return alone.drop_vars("step", errors="ignore")


@dataclass
class Trajectory:
    """Some networks by recorded step: outputs before any sigmoid, each (group, seed, point, channel).

    `values` are those at the training points, `elsewhere` at the plan's other points, and `observed` a Dataset of each
    group.
    """

    values: list[np.ndarray] = field(default_factory=list)
    elsewhere: list[np.ndarray] = field(default_factory=list)
    observed: list[list[xr.Dataset]] = field(default_factory=list)

    def arrays(self, prefix: str) -> dict[str, np.ndarray]:
        """All of it as arrays by name, for a checkpoint."""
        arrays = {f"{prefix}/{name}": np.stack(steps) for name, steps in self._listed().items() if steps}
        for g in range(len(self.observed[0]) if self.observed else 0):
            arrays[f"{prefix}/observed/{g}"] = packed(side_by_side([step[g] for step in self.observed], "step"))
        return arrays

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], prefix: str) -> Trajectory:
        """Return what such arrays hold."""
        trajectory = cls(*(list(arrays.get(f"{prefix}/{name}", ())) for name in ("values", "elsewhere")))
        groups: list[xr.Dataset] = []
        while (name := f"{prefix}/observed/{len(groups)}") in arrays:
            groups.append(unpacked(arrays[name]))
        if groups:
            trajectory.observed = [[each.isel(step=i) for each in groups] for i in range(len(trajectory.values))]
        return trajectory

    def require_observed(self, observing: bool) -> None:
        """Refuse to go on with an observer from steps that it has not seen, or without one from steps that it has."""
        if self.values and observing != bool(self.observed):
            was, now = ("without", "with") if observing else ("with", "without")
            advice = f"{'leave out observe=' if observing else 'give the same observe='}, or begin in an empty folder"
            raise ValueError(f"the checkpoint is of a run {was} an observer, and it is to go on {now} one; {advice}")

    def _listed(self) -> dict[str, list[np.ndarray]]:
        return {"values": self.values, "elsewhere": self.elsewhere}


def joined(parts: Sequence[Part], trajectories: Sequence[Trajectory]) -> Trajectory:
    """One trajectory of all parts: seeds after seeds, then groups after groups."""
    whole = Trajectory()
    by_groups: dict[tuple[int, int], list[Trajectory]] = {}
    for part, trajectory in zip(parts, trajectories, strict=True):
        by_groups.setdefault(part.groups, []).append(trajectory)
    for step in range(len(trajectories[0].values)):
        for name, into in whole._listed().items():
            if getattr(trajectories[0], name):
                of_groups = [np.concatenate([getattr(t, name)[step] for t in ts], axis=1) for ts in by_groups.values()]
                into.append(np.concatenate(of_groups))
        if trajectories[0].observed:
            by_part = ([t.observed[step] for t in ts] for ts in by_groups.values())
            whole.observed.append([_over_seeds(each) for parts_of in by_part for each in zip(*parts_of, strict=True)])
    return whole


def side_by_side(datasets: Sequence[xr.Dataset], dim: str | xr.DataArray) -> xr.Dataset:
    """Datasets of the same variables along a dimension, and coordinates where they differ."""
    return xr.concat(
        datasets,
        dim=dim,
        data_vars="all",
        coords="different",
        compat="equals",
        join="exact",
        combine_attrs="drop_conflicts",
    )


def _over_seeds(datasets: Sequence[xr.Dataset]) -> xr.Dataset:
    if len(datasets) == 1:
        return datasets[0]
    return side_by_side([dataset.drop_vars("seed", errors="ignore") for dataset in datasets], "seed")


def dataset(plan: Plan, trajectory: Trajectory, group: int) -> xr.Dataset:
    """Return the trajectory of one kernel's networks as `ntkspec.trainer.train` has it."""
    raw = _stacked(trajectory.values, group)
    values = _outputs(plan, raw)
    channel = () if plan.squeeze else ("channel",)
    shown = (lambda a: a[..., 0]) if plan.squeeze else (lambda a: a)
    of_points = ("seed", "step", "point", *channel)
    variables: dict[str, tuple] = {
        "train": variable(of_points, shown(values), "learned function at the training points"),
        "target": variable(("point", *channel), shown(plan.labels), "signal"),
        "loss": variable(("seed", "step"), _loss(plan, raw), f"loss ({_measure(plan)})"),
    }
    coords: dict[str, tuple] = {
        "step": step_coordinate(plan.steps),
        "seed": ("seed", np.arange(len(values))),
        "x": variable(("point", "axis"), plan.points, "coordinate", "unit"),
    }
    _add_energies(variables, coords, plan, np.asarray(plan.recipe.guess(jnp.asarray(raw))))
    if plan.num_elsewhere:
        others = _outputs(plan, _stacked(trajectory.elsewhere, group))
        fields, unseen = np.split(others, [0 if plan.lattice is None else plan.lattice.size], axis=2)
    if plan.unseen is not None:
        dims = ("seed", "step", "asked", *channel)
        variables["unseen"] = variable(dims, shown(unseen), "learned function at unseen points")
        coords["unseen_x"] = variable(("asked", "axis"), plan.unseen, "coordinate of an unseen point", "unit")
    if plan.lattice is not None:
        axes = tuple(f"axis{i}" for i in range(plan.lattice.dim))
        on_lattice = shown(fields.reshape(*fields.shape[:2], *plan.lattice.shape, -1))
        dims = ("seed", "step", *axes, *channel)
        variables["field"] = variable(dims, on_lattice, "learned function on the lattice")
        for name, positions in zip(axes, plan.lattice.axes(), strict=True):
            coords[name] = variable(name, positions, "coordinate", "unit")
    recorded = xr.Dataset(variables, coords=coords, attrs=_attributes(plan, group))
    return _with_observed(recorded, [step[group] for step in trajectory.observed])


def _stacked(parts: list[np.ndarray], group: int) -> np.ndarray:
    """Of one group at all steps, (seed, step, …), in float64."""
    return np.stack([part[group] for part in parts], axis=1).astype(np.float64)


def _outputs(plan: Plan, raw: np.ndarray) -> np.ndarray:
    return np.asarray(plan.recipe.output(jnp.asarray(raw)))


def _loss(plan: Plan, raw: np.ndarray) -> np.ndarray:
    """Return the loss in float64, where the square of a large float32 does not overflow, (seed, step)."""
    each = np.asarray(plan.recipe.losses(jnp.asarray(raw), jnp.asarray(plan.labels)))
    return np.sum(each, axis=(2, 3)) / (len(plan.points) if plan.mean else 1)


def _measure(plan: Plan) -> str:
    name = getattr(plan.recipe.point_loss, "__name__", type(plan.recipe.point_loss).__name__)
    over = "mean" if plan.mean else "sum"
    return f"half the {over} of squares" if plan.recipe.point_loss is squared else f"{name}, {over} over points"


def _add_energies(variables: dict[str, tuple], coords: dict[str, tuple], plan: Plan, guess: np.ndarray) -> None:
    placement = place(plan.points)
    if placement is None:
        return
    energy, frequency = energy_by_frequency(np.moveaxis(plan.labels - guess, 2, 3), placement)
    of_labels, _ = energy_by_frequency(plan.labels.T, placement)
    dims = ("seed", "step", "frequency")
    variables["residual_energy"] = variable(dims, energy.sum(axis=2), "energy of the residual")
    variables["target_energy"] = variable("frequency", of_labels.sum(axis=0), "energy of the labels")
    coords["frequency"] = variable("frequency", frequency, "frequency", "cycles per unit")


def _attributes(plan: Plan, group: int) -> dict[str, Any]:
    k, text, rates = plan.kernels[group], plan.training.to_json(), plan.rates or ()
    # Of a schedule that is a function, text holds the name alone.
    factors = {"schedule": json.dumps(configuration(plan.factors))} if "schedule" in custom_of(json.loads(text)) else {}
    return {
        **attributes(kernel=k),
        "training": text,
        **factors,
        "learning_rate": rates[group],
        "loss": "mean" if plan.mean else "sum",
        "width": k.network.width,
        "dtype": plan.dtype,
        "first_seed": plan.seed,
        "centered": int(plan.training.centered),
        "starts_from_zero": int(plan.training.centered and not plan.recipe.sigmoid),
    }


def _with_observed(recorded: xr.Dataset, observed: list[xr.Dataset]) -> xr.Dataset:
    """Add the Datasets of an observer along `step`."""
    if not observed:
        return recorded
    along = side_by_side(observed, recorded.step).transpose("seed", "step", ..., missing_dims="ignore")
    if taken := sorted(set(map(str, along.data_vars)) & set(map(str, recorded.data_vars))):
        raise ValueError(f"observe returned {', '.join(taken)}, which training records itself; choose other names")
    try:
        return xr.merge([recorded, along], join="exact", compat="override", combine_attrs="override")
    # Other sizes or labels, or a name that is a variable here and a coordinate there.
    except ValueError as error:
        sizes = ", ".join(f"{dim}: {size}" for dim, size in recorded.sizes.items())
        got = f"observe returned variables that do not go with those of training, whose sizes are {sizes}"
        advice = "give other dimensions other names, and leave coordinates of these out"
        raise ValueError(f"{got} ({str(error).splitlines()[0]}); {advice}") from error
