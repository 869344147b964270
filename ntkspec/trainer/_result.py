"""What a training run recorded, as a Dataset named as a prediction's."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr

from ntkspec.grid import energy_by_frequency, place
from ntkspec.record import attributes, configuration
from ntkspec.trainer._model import squared
from ntkspec.trainer._plan import Plan
from ntkspec.trainer._trajectory import Trajectory, side_by_side

__all__ = ["dataset", "require_fitting"]


def dataset(plan: Plan, trajectory: Trajectory, group: int) -> xr.Dataset:
    """Return the recorded trajectory of one kernel's networks.

    Args:
        plan: of the run, with its learning rates.
        trajectory: what was recorded.
        group: which kernel.

    Returns:
        See `ntkspec.trainer.train`.
    """
    raw = _stacked(trajectory.values, group)
    values = _outputs(plan, raw)
    channel = () if plan.squeeze else ("channel",)
    shown = (lambda a: a[..., 0]) if plan.squeeze else (lambda a: a)
    variables: dict[str, tuple] = {
        "train": (
            ("seed", "step", "point", *channel),
            shown(values),
            _label("learned function at the training points"),
        ),
        "target": (("point", *channel), shown(plan.labels), _label("signal")),
        "loss": (("seed", "step"), _loss(plan, raw), _label(f"loss ({_measure(plan)})")),
    }
    coords: dict[str, tuple] = {
        "step": ("step", plan.steps, {"long_name": "training step", "units": "steps"}),
        "seed": ("seed", np.arange(len(values))),
        "x": (("point", "axis"), plan.points, {"long_name": "coordinate", "units": "unit"}),
    }
    _add_energies(variables, coords, plan, np.asarray(plan.recipe.guess(jnp.asarray(raw))))
    if plan.lattice is not None:
        fields = _outputs(plan, _stacked(trajectory.fields, group))
        axes = tuple(f"axis{i}" for i in range(plan.lattice.dim))
        variables["field"] = (
            ("seed", "step", *axes, *channel),
            shown(fields.reshape(*fields.shape[:2], *plan.lattice.shape, -1)),
            _label("learned function on the lattice"),
        )
        for name, positions in zip(axes, plan.lattice.axes(), strict=True):
            coords[name] = (name, positions, {"long_name": "coordinate", "units": "unit"})
    found = xr.Dataset(variables, coords=coords, attrs=_attributes(plan, group))
    return _with_observed(found, [step[group] for step in trajectory.observed])


def require_fitting(plan: Plan, trajectory: Trajectory) -> None:
    """Refuse at the first recorded step what an observer said that has no place in the result.

    Raises:
        ValueError: in words.
    """
    dataset(replace(plan, steps=plan.steps[:1]), trajectory, 0)


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
    variables["residual_energy"] = (
        ("seed", "step", "frequency"),
        energy.sum(axis=2),
        _label("energy of the residual"),
    )
    variables["target_energy"] = ("frequency", of_labels.sum(axis=0), _label("energy of the labels"))
    coords["frequency"] = ("frequency", frequency, {"long_name": "frequency", "units": "cycles per unit"})


def _attributes(plan: Plan, group: int) -> dict[str, Any]:
    k, recipe = plan.kernels[group], plan.recipe
    rates = plan.rates or ()
    return {
        **attributes(kernel=k),
        "training": plan.training.to_json(),
        "learning_rate": rates[group],
        "loss": "mean" if plan.mean else "sum",
        "point_loss": json.dumps(configuration(recipe.point_loss), ensure_ascii=False),
        "optimizer": str(recipe.optimizer),
        "optimizer_has_theory": int(recipe.optimizer.has_theory),
        "schedule": "" if (plan.factors == 1).all() else json.dumps(configuration(plan.factors)),
        "batch_size": recipe.batch_size or len(plan.points),
        "output": "sigmoid" if recipe.sigmoid else "linear",
        "trainable": ",".join(recipe.trainable),
        "init": plan.training.init,
        "width": k.network.width,
        "dtype": plan.dtype,
        "matmul_precision": "bfloat16" if recipe.bfloat16 else plan.dtype,
        "first_seed": plan.seed,
        "centered": int(plan.centered),
        "starts_from_zero": int(plan.centered and not recipe.sigmoid),
    }


def _with_observed(found: xr.Dataset, observed: list[xr.Dataset]) -> xr.Dataset:
    """With what the observer said, along `step`."""
    if not observed:
        return found
    along = side_by_side(observed, found.step).transpose("seed", "step", ..., missing_dims="ignore")
    if taken := sorted(set(map(str, along.data_vars)) & set(map(str, found.data_vars))):
        raise ValueError(f"observe returned {', '.join(taken)}, which training records itself; choose other names")
    try:
        return xr.merge([found, along], join="exact", compat="override", combine_attrs="override")
    # Other sizes or labels, or a name that is a variable here and a coordinate there.
    except ValueError as error:
        sizes = ", ".join(f"{dim}: {size}" for dim, size in found.sizes.items())
        raise ValueError(
            f"observe returned variables that do not go with those of training, whose sizes are {sizes} "
            f"({str(error).splitlines()[0]}); give other dimensions other names, and leave coordinates of these out"
        ) from error


def _label(long_name: str) -> dict[str, str]:
    return {"long_name": long_name, "units": ""}
