"""A design as a table: every candidate, what each criterion would choose, and the plan with its verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from ntkspec.eigen._frequency import rates
from ntkspec.grid import energy_by_frequency
from ntkspec.kernel import MLP
from ntkspec.kernel.activation import name_of
from ntkspec.operator import Lattice, Operator
from ntkspec.record import attributes, variable
from ntkspec.selection._lines import jax_lines, ntkspec_lines, torch_lines
from ntkspec.selection._plan import MOMENTUM, Plan
from ntkspec.selection._samples import Samples
from ntkspec.selection._score import TIMES
from ntkspec.selection._search import CRITERIA, Choice, Search, quality

__all__ = ["table"]

#: dB above the mean of the labels from which on something has been predicted.
WORTH = 1.0


def table(samples: Samples, found: Search, choices: Mapping[str, Choice], plan: Plan) -> xr.Dataset:
    """Return what `ntkspec.design` returns.

    Args:
        samples: training points and labels.
        found: all candidates with their scores.
        choices: of every criterion.
        plan: of the criterion that was asked for.

    Returns:
        The Dataset.
    """
    variables = {
        **_judged(found, plan.peak),
        **_chosen(choices),
        "predicted_psnr": variable("step", plan.psnr, "predicted PSNR between the training points", "dB"),
        "predicted_psnr_low": variable("step", plan.low, "two standard errors less, or leave-one-out", "dB"),
        "predicted_psnr_high": variable("step", plan.high, "two standard errors more", "dB"),
    }
    coords = {
        "time": variable("time", TIMES, "training time ηλ_max t"),
        "criterion": list(choices),
        "step": variable("step", plan.step, "training step", "steps"),
        **_candidates(found),
    }
    spectra, frequency = _spectra(samples, plan.K)
    result = xr.Dataset(variables | spectra, coords=coords | frequency, attrs=_attributes(samples, choices, plan))
    # Two early times may round to the same step.
    return result.isel(step=np.unique(plan.step, return_index=True)[1])


def _judged(found: Search, peak: float) -> dict[str, tuple]:
    dims = ("candidate", "time")
    errors = {
        name: variable(dims, found.stacked(name), f"{CRITERIA[name][0]}, mean square")
        for name in ("leave_one_out", "expected", "generalised")
    }
    psnr = quality("expected", found.stacked("expected")) + 20 * np.log10(peak)
    return {
        **errors,
        "evidence": variable(dims, found.stacked("evidence"), CRITERIA["evidence"][0], "nats a sample"),
        "psnr": variable(dims, psnr, "expected PSNR", "dB"),
    }


def _chosen(choices: Mapping[str, Choice]) -> dict[str, tuple]:
    of, flat = [one.candidate for one in choices.values()], [one.plateau for one in choices.values()]
    return {
        "chosen_scale": variable("criterion", [one.scale for one in of], "scale it would take"),
        "chosen_family": variable("criterion", [one.family.name for one in of], "family it would take"),
        "chosen_depth": variable("criterion", [one.network.depth for one in of], "depth it would take"),
        "chosen_activation": variable("criterion", [_name(one.network) for one in of], "activation it would take"),
        "plateau_low": variable("criterion", [one.low for one in flat], "flat from"),
        "plateau_high": variable("criterion", [one.high for one in flat], "flat to"),
        "open_ended": variable(
            "criterion", [any(one.at_edge) for one in flat], "whether the search ends before the criterion falls"
        ),
    }


def _candidates(found: Search) -> dict[str, tuple]:
    of = found.candidates
    meanings = {(one.family.meaning, one.family.units) for one in of}
    meaning, units = meanings.pop() if len(meanings) == 1 else ("scale of the family", "")
    return {
        "family": ("candidate", [one.family.name for one in of]),
        "scale": variable("candidate", [one.scale for one in of], meaning, units),
        "depth": ("candidate", [one.network.depth for one in of]),
        "activation": ("candidate", [_name(one.network) for one in of]),
        "W_std": ("candidate", [_std(one.network.W_std) for one in of]),
        "b_std": ("candidate", [_std(one.network.b_std) for one in of]),
    }


def _spectra(samples: Samples, K: Operator) -> tuple[dict[str, tuple], dict[str, tuple]]:
    """Return the rate at which each frequency is learned, and the signal's energy there.

    Nothing on scattered points.
    """
    if not isinstance(K, Lattice) or K.placement is None:
        return {}, {}
    of_kernel = rates(K)
    energy, frequency = energy_by_frequency(samples.labels.T, K.placement)
    variables = {
        "rayleigh_quotient": variable("frequency", of_kernel["rayleigh_quotient"][1], "rate of learning, λ"),
        "signal_energy": variable("frequency", energy.sum(axis=0), "energy of the signal"),
    }
    return variables, {"frequency": variable("frequency", frequency, "frequency", "cycles per unit")}


def _attributes(samples: Samples, choices: Mapping[str, Choice], plan: Plan) -> dict[str, Any]:
    chosen, (width, safe) = plan.candidate, plan.width
    recipe = (chosen, samples.dim, width, plan.learning_rate, plan.steps)
    attrs = {
        **attributes(kernel=chosen.kernel(samples.dim)),
        "criterion": plan.criterion,
        "accuracy": plan.accuracy,
        "peak": plan.peak,
        "num_points": samples.num_points,
        "family": chosen.family.name,
        "scale": chosen.scale,
        "scale_meaning": chosen.family.meaning,
        "scale_units": chosen.family.units,
        "depth": chosen.network.depth,
        "activation": _name(chosen.network),
        "W_std": _std(chosen.network.W_std),
        "b_std": _std(chosen.network.b_std),
        "learning_rate": plan.learning_rate,
        "steps": plan.steps,
        "steps_with_momentum": plan.steps_with_momentum,
        "psnr": float(plan.psnr[plan.best]),
        "psnr_of_mean": plan.psnr_of_mean,
        "psnr_low": float(plan.low[plan.best]),
        "psnr_high": float(plan.high[plan.best]),
        "width": width,
        "width_safe": safe,
        "width_law": plan.law.source,
        "width_law_steps": plan.law.latest,
        "width_extrapolated": int(safe > plan.law.widths[1]),
        "lines_ntkspec": ntkspec_lines(*recipe),
        "lines_jax": jax_lines(*recipe) or "",
        "lines_torch": torch_lines(*recipe) or "",
    }
    return attrs | {"verdict": _verdict(choices[plan.criterion], plan)}


def _verdict(choice: Choice, plan: Plan) -> str:
    units = f" {plan.candidate.family.units}" if plan.candidate.family.units else ""
    low, expected, high = (float(one[plan.best]) for one in (plan.low, plan.psnr, plan.high))
    sooner = plan.steps_with_momentum
    faster = f", or {sooner:,} with momentum {MOMENTUM}" if sooner < plan.steps else ""
    late = " The criterion still rises at the last step that was looked at: longer training may help." * plan.late
    hardly = expected < plan.psnr_of_mean + WORTH
    idle = f" Their mean alone gives {plan.psnr_of_mean:.1f} dB: little between the points can be predicted." * hardly
    return (
        f"Take {plan.candidate.family.name} frequencies of scale {plan.candidate.scale:.3g}{units} and gradient "
        f"descent at learning rate {plan.learning_rate:.3g} (of half the summed squares) for "
        f"{plan.steps:,} steps{faster}: theory expects {expected:.1f} dB between the training points "
        f"({low:.1f} to {high:.1f}), if the signal holds nothing finer than their spacing.{idle}{late} "
        f"{_flatness(choice, plan)} {_wide_enough(plan)}"
    )


def _flatness(choice: Choice, plan: Plan) -> str:
    flat, by = choice.plateau, CRITERIA[plan.criterion][0]
    if flat.low == flat.high:
        return f"No other scale was compared by {by}."
    edge = " (and maybe further: the search ends there)" if any(flat.at_edge) else ""
    return f"By {by} any scale from {flat.low:.3g} to {flat.high:.3g} is as good{edge}."


def _wide_enough(plan: Plan) -> str:
    (width, safe), law, network = plan.width, plan.law, plan.candidate.network
    source = f"the width law measured over the first {law.latest:,.0f} steps of {law.source}"
    other = [
        (safe > law.widths[1], f"the widest was {law.widths[1]:,}"),
        (plan.steps > law.latest, "of more steps it tells nothing"),
        ((network.depth, _name(network)) != law.network, "the network was {} of depth {}".format(*law.network[::-1])),
    ]
    beyond = "".join(f"; {text}" for holds, text in other if holds)
    if network.parametrization == "standard":
        return f"Its width of {width:,} should keep it within {law.error(width):.0%} of theory by {source}{beyond}."
    return (
        f"A network of width {width:,} should follow to {plan.accuracy:.0%} by {source} ({safe:,} to be safe{beyond})."
    )


def _name(network: MLP) -> str:
    """Of its activation."""
    return name_of(network.activation) or type(network.activation).__name__  # type: ignore[arg-type]


def _std(value: object) -> float:
    """One number for all layers."""
    return float(np.mean(np.asarray(value)))
