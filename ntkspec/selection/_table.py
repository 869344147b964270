"""A design as a table: every candidate, the choice of each criterion, and the plan with its verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from ntkspec.eigen._frequency import rates
from ntkspec.grid import energy_by_frequency
from ntkspec.operator import Lattice, Operator
from ntkspec.record import attributes, variable
from ntkspec.selection import _prose as prose
from ntkspec.selection._lines import jax_lines, ntkspec_lines, torch_lines
from ntkspec.selection._plan import Plan
from ntkspec.selection._samples import Samples
from ntkspec.selection._score import TIMES
from ntkspec.selection._search import CRITERIA, Candidate, Choice, Search, quality

__all__ = ["table"]

OF_PLAN = ("criterion", "accuracy", "peak", "learning_rate", "steps", "steps_with_momentum", "psnr_of_mean")


def table(samples: Samples, searched: Search, choices: Mapping[str, Choice], plan: Plan) -> xr.Dataset:
    """Return the result of `ntkspec.design`: all candidates, the choice of every criterion, and the plan of one."""
    variables = {
        **_judged(searched, plan.peak),
        **_chosen(choices),
        "predicted_psnr": variable("step", plan.psnr, "predicted PSNR between the training points", "dB"),
        "predicted_psnr_low": variable("step", plan.low, "two standard errors less, or leave-one-out", "dB"),
        "predicted_psnr_high": variable("step", plan.high, "two standard errors more", "dB"),
    }
    coords = {
        "time": variable("time", TIMES, "training time ηλ_max t"),
        "criterion": list(choices),
        "step": variable("step", plan.step, "training step", "steps"),
        **{name: ("candidate", values) for name, values in _settings(searched.candidates).items()},
    }
    meanings = {(each.family.meaning, each.family.units) for each in searched.candidates}
    meaning, units = meanings.pop() if len(meanings) == 1 else ("parameter of the family", "")
    coords["scale"] = variable("candidate", coords["scale"][1], meaning, units)
    spectra, frequency = _spectra(samples, plan.K)
    result = xr.Dataset(variables | spectra, coords=coords | frequency, attrs=_attributes(samples, choices, plan))
    # Two early times may round to the same step.
    return result.isel(step=np.unique(plan.step, return_index=True)[1])


def _settings(candidates: Sequence[Candidate]) -> dict[str, list]:
    """Return the settings of candidates, a list each; `scale` is the value of the family's parameter."""
    networks = [each.network for each in candidates]
    return {
        "family": [each.family.name for each in candidates],
        "parameter": [each.family.parameter for each in candidates],
        "scale": [each.value for each in candidates],
        "depth": [network.depth for network in networks],
        "activation": [prose.activation(network) for network in networks],
        # One number for all layers.
        "W_std": [float(np.mean(network.W_std)) for network in networks],
        "b_std": [float(np.mean(network.b_std)) for network in networks],
    }


def _judged(searched: Search, peak: float) -> dict[str, tuple]:
    dims = ("candidate", "time")
    errors = {
        name: variable(dims, searched.stacked(name), f"{CRITERIA[name][0]}, mean square")
        for name in ("leave_one_out", "expected", "generalised")
    }
    psnr = quality("expected", searched.stacked("expected")) + 20 * np.log10(peak)
    return {
        **errors,
        "evidence": variable(dims, searched.stacked("evidence"), CRITERIA["evidence"][0], "nats a sample"),
        "psnr": variable(dims, psnr, "expected PSNR", "dB"),
    }


def _chosen(choices: Mapping[str, Choice]) -> dict[str, tuple]:
    settings, flat = _settings([one.candidate for one in choices.values()]), [one.plateau for one in choices.values()]
    names = ("scale", "family", "parameter", "depth", "activation")
    ends = {"plateau_low": [each.low for each in flat], "plateau_high": [each.high for each in flat]}
    open_ended = [any(each.at_edge) for each in flat]
    return {
        **{f"chosen_{name}": variable("criterion", settings[name], f"{name} of its choice") for name in names},
        **{name: variable("criterion", values, f"{name[8:]} end of its flat stretch") for name, values in ends.items()},
        "open_ended": variable("criterion", open_ended, "whether the search ends before the criterion falls"),
    }


def _spectra(samples: Samples, K: Operator) -> tuple[dict[str, tuple], dict[str, tuple]]:
    """Return the rate of learning and the signal's energy at each frequency; nothing on scattered points."""
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
    return {
        **attributes(kernel=chosen.kernel(samples.dim)),
        **{name: values[0] for name, values in _settings([chosen]).items()},
        **{name: getattr(plan, name) for name in OF_PLAN},
        "num_points": samples.num_points,
        "scale_meaning": chosen.family.meaning,
        "scale_units": chosen.family.units,
        "psnr": float(plan.psnr[plan.best]),
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
        "verdict": prose.verdict(choices[plan.criterion], plan),
    }
