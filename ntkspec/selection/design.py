"""The mapping, learning rate and number of steps that theory recommends for a signal, without training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from ntkspec.checks import check_sizes
from ntkspec.dynamics import max_learning_rate
from ntkspec.eigen import convergence
from ntkspec.eigen.frequency import rates
from ntkspec.kernel import MLP
from ntkspec.kernel.activation import name_of
from ntkspec.operator import Lattice, Operator
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.record import attributes
from ntkspec.selection.family import family
from ntkspec.selection.lines import jax_lines, ntkspec_lines, torch_lines
from ntkspec.selection.samples import Box, Samples, Signal, from_operator, from_signal
from ntkspec.selection.score import TIMES, Score, score
from ntkspec.selection.search import CRITERIA, Candidate, Plateau, Search, candidates, plateau, quality, search
from ntkspec.selection.width import law_of, width_for

__all__ = ["design"]

#: Training points in a box: larger ones see lower frequencies, and take n³ longer.
BOX = 1024
#: Below the best, in dB, what is as good: later steps are not worth their time.
GOOD_ENOUGH = 0.1
#: Taken for the standard deviation of the expected PSNR about that of infinitely wide networks, in dB: it was 0.2 to
#: 1.3 dB off on photographs and up to 5 on a texture that the training pixels alias.
MODEL_ERROR = 1.0


def design(
    signal: Signal | Operator,
    y: ArrayLike | None = None,
    *,
    families: Sequence[str] = ("gaussian",),
    scales: Sequence[float] | None = None,
    network: MLP | None = None,
    depths: Sequence[int] | None = None,
    activations: Sequence[str] | None = None,
    W_stds: Sequence[float] | None = None,
    b_stds: Sequence[float] | None = None,
    num_frequencies: int = 256,
    criterion: str = "leave_one_out",
    accuracy: float = 0.1,
    seed: int = 0,
    progress: Progress = NO_PROGRESS,
) -> xr.Dataset:
    """Which mapping, learning rate and number of steps to take for a signal, from its training samples alone.

    Every candidate kernel is judged on equal boxes of the training points by four criteria at many times (see
    `CRITERIA`); the scale taken lies in the stretch where the chosen criterion is flat. Its learning rate is
    half the stability limit on all points, its steps the first after which the error is within 0.1 dB of its least.

    Args:
        signal: a signal on a lattice with the points to learn from, such as an `ntkspec.task.Task`; or an operator,
            whose points are learned from and whose kernel's network is taken where `network` is None.
        y: labels of an operator's points, shape (n,) or (n, channels).
        families: of mappings, of `ntkspec.selection.FAMILIES`.
        scales: to try in every family; None takes ten that suit the spacing of the points.
        network: behind the mapping, ReLU of depth 3 where None.
        depths: to try instead of the network's.
        activations: likewise, names.
        W_stds: likewise, standard deviations of the weights.
        b_stds: likewise, of the biases.
        num_frequencies: of every mapping.
        criterion: "leave_one_out", "expected", "generalised" or "evidence".
        accuracy: relative to the signal, to which a finite network shall follow.
        seed: of the frequencies.
        progress: reporter.

    Returns:
        Dataset over `candidate` (with coordinates `family`, `scale`, `depth`, `activation`, `W_std`, `b_std`) and
        `time` (ηλ_max t of gradient flow): `leave_one_out`, `expected` and `generalised` mean squared errors,
        `evidence` in nats a sample, `psnr` of the expected error in dB below 1; over `criterion`, what each would
        choose: `chosen_scale`, and `plateau_low` and `plateau_high` where it is flat; for the chosen kernel
        `predicted_psnr` (step) with `predicted_psnr_low` and `predicted_psnr_high` (two standard errors over patches of
        the signal and of theory's own, and down to leave-one-out),
        `rayleigh_quotient` and `signal_energy` (frequency) on a lattice. Attributes:
        `family`, `scale`, `learning_rate`, `steps`, `psnr`, `psnr_low`, `psnr_high`, `width`, `width_safe` and the law
        they come from, `lines_ntkspec`, `lines_jax`, `lines_torch` to paste, and `verdict`, a sentence.

    Raises:
        ValueError: if labels are missing, constant or do not fit, a name or number is no good, or there are fewer than
            8 points.

    Source: the scale's part in generalisation, Tancik et al. 2020, section 6; leave-one-out and evidence, Rasmussen &
    Williams 2006, chapter 5.

    Example:
        >>> import ntkspec as ns
        >>> found = ns.design(ns.task.signal.paper(), num_frequencies=32, scales=[1, 4, 16])
        >>> 1 <= found.attrs["scale"] <= 16, found.attrs["steps"] > 0
        (True, True)
    """
    samples, network = _samples(signal, y, network)
    if criterion not in CRITERIA:
        raise ValueError(f"criterion={criterion!r}; expected of {', '.join(CRITERIA)}")
    check_sizes(num_frequencies=num_frequencies)
    if not 1e-3 <= accuracy < 1:
        raise ValueError(f"accuracy={accuracy}; expected an error relative to the signal from 0.001 to 1, such as 0.1")
    _refuse_empty(
        families=families, scales=scales, depths=depths, activations=activations, W_stds=W_stds, b_stds=b_stds
    )
    networks = _networks(network, depths, activations, W_stds, b_stds)
    tried = candidates(
        [family(name) for name in families], scales, networks, samples.highest_frequency, num_frequencies, seed
    )
    for one in tried:
        one.kernel(samples.dim)
    box = samples.boxes(BOX)
    found = search(tried, box, progress)
    choices = {name: _choose(found, name) for name in CRITERIA}
    chosen = choices[criterion].candidate
    plan = _plan(samples, box, chosen, criterion, accuracy)
    return _dataset(samples, found, choices, plan, criterion, accuracy, progress)


def _samples(signal: Signal | Operator, y: ArrayLike | None, network: MLP | None) -> tuple[Samples, MLP]:
    if isinstance(signal, Operator):
        if y is None:
            raise ValueError("an operator has no labels; give them as y, shape (n,) or (n, channels)")
        kernel = getattr(signal, "kernel", None)
        own = getattr(kernel, "network", None)
        return from_operator(signal, y), network or (own if isinstance(own, MLP) else MLP(depth=3))
    if y is not None:
        raise ValueError("a signal brings its own labels; give y with an operator alone")
    if not all(hasattr(signal, name) for name in ("shape", "train_mask", "train_values")):
        raise TypeError(
            f"`signal` is a {type(signal).__name__}; expected an ntkspec.task.Task (ns.task.load(path)), or an "
            "operator with its labels y"
        )
    return from_signal(signal), network or MLP(depth=3)


def _refuse_empty(**asked: Sequence[Any] | None) -> None:
    for name, values in asked.items():
        if isinstance(values, str) or (values is not None and len(values) == 0):
            raise ValueError(f"{name}={values!r}; expected a list of at least one")


def _networks(
    network: MLP,
    depths: Sequence[int] | None,
    activations: Sequence[str] | None,
    W_stds: Sequence[float] | None,
    b_stds: Sequence[float] | None,
) -> tuple[MLP, ...]:
    """The network with every combination of what is asked for in place of its own."""
    asked: dict[str, Sequence[Any] | None] = {
        "depth": depths,
        "activation": activations,
        "W_std": W_stds,
        "b_std": b_stds,
    }
    given = {name: values for name, values in asked.items() if values is not None}
    return tuple(replace(network, **dict(zip(given, values, strict=True))) for values in product(*given.values()))


@dataclass(frozen=True)
class _Choice:
    """What a criterion would choose."""

    candidate: Candidate
    plateau: Plateau


def _choose(found: Search, criterion: str) -> _Choice:
    """The family and network of the best candidate, at the middle of their plateau."""
    values = np.nanmax(quality(criterion, found.stacked(criterion)), axis=1)
    best = found.candidates[int(np.argmax(values))]
    curve = [i for i, one in enumerate(found.candidates) if one.same_curve(best)]
    scales = [found.candidates[i].scale for i in curve]
    flat = plateau(best.family, scales, values[curve], CRITERIA[criterion][1])
    return _Choice(replace(best, scale=flat.taken), flat)


@dataclass(frozen=True)
class _Plan:
    """How to train the chosen kernel, and what to expect."""

    candidate: Candidate
    K: Operator
    score: Score
    learning_rate: float
    step: np.ndarray
    psnr: np.ndarray
    low: np.ndarray
    high: np.ndarray
    best: int
    width: tuple[int, int]


def _plan(samples: Samples, box: Box, chosen: Candidate, criterion: str, accuracy: float) -> _Plan:
    k = chosen.kernel(samples.dim)
    K, judged = samples.operator(k), score(k, box)
    learning_rate = max_learning_rate(K) / 2
    psnr, nearest = quality("expected", judged.expected), quality("leave_one_out", judged.leave_one_out)
    # Where labels are noisy, leave-one-out sees when to stop; the error between the points counts on clean ones.
    by = nearest if criterion == "evidence" else quality(criterion, getattr(judged, criterion))
    best = int(np.argmax(by >= np.nanmax(by) - GOOD_ENOUGH))
    sampling = 10 / math.log(10) * judged.expected_error / judged.expected
    error = np.hypot(sampling, MODEL_ERROR)
    step = np.maximum(np.rint(judged.flow_time / learning_rate), 1)
    return _Plan(
        candidate=chosen,
        K=K,
        score=judged,
        learning_rate=learning_rate,
        step=step,
        psnr=psnr,
        low=np.minimum(psnr - 2 * error, nearest - 2 * sampling),
        high=psnr + 2 * error,
        best=best,
        width=width_for(accuracy, law_of(samples.dim)),
    )


def _dataset(
    samples: Samples,
    found: Search,
    choices: dict[str, _Choice],
    plan: _Plan,
    criterion: str,
    accuracy: float,
    progress: Progress,
) -> xr.Dataset:
    chosen, best, law = plan.candidate, plan.best, law_of(samples.dim)
    variables: dict[str, Any] = {
        **_judged(found),
        "chosen_scale": ("criterion", [one.candidate.scale for one in choices.values()], _label("scale it would take")),
        "chosen_family": ("criterion", [one.candidate.family.name for one in choices.values()]),
        "chosen_depth": ("criterion", [one.candidate.network.depth for one in choices.values()]),
        "chosen_activation": ("criterion", [_name(one.candidate.network) for one in choices.values()]),
        "plateau_low": ("criterion", [one.plateau.low for one in choices.values()], _label("flat from")),
        "plateau_high": ("criterion", [one.plateau.high for one in choices.values()], _label("flat to")),
        "open_ended": (
            "criterion",
            [any(one.plateau.at_edge) for one in choices.values()],
            _label("whether the search ends before the criterion falls"),
        ),
        "predicted_psnr": ("step", plan.psnr, _label("predicted PSNR between the training points", "dB")),
        "predicted_psnr_low": ("step", plan.low, _label("two standard errors less, or leave-one-out", "dB")),
        "predicted_psnr_high": ("step", plan.high, _label("two standard errors more", "dB")),
        **_spectra(samples, plan.K, progress),
    }
    attrs = {
        **attributes(kernel=chosen.kernel(samples.dim)),
        "criterion": criterion,
        "accuracy": accuracy,
        "num_points": samples.num_points,
        "family": chosen.family.name,
        "scale": chosen.scale,
        "depth": chosen.network.depth,
        "activation": _name(chosen.network),
        "W_std": float(np.mean(np.asarray(chosen.network.W_std))),
        "b_std": float(np.mean(np.asarray(chosen.network.b_std))),
        "scale_units": chosen.family.units,
        "learning_rate": plan.learning_rate,
        "steps": int(plan.step[best]),
        "psnr": float(plan.psnr[best]),
        "psnr_low": float(plan.low[best]),
        "psnr_high": float(plan.high[best]),
        "width": plan.width[0],
        "width_safe": plan.width[1],
        "width_law": law.source,
        "width_law_steps": law.latest,
        "width_extrapolated": int(plan.width[1] > law.widths[1]),
    }
    recipe = (chosen, samples.dim, plan.width[0], plan.learning_rate, int(plan.step[best]))
    attrs["lines_ntkspec"] = ntkspec_lines(*recipe)
    attrs["lines_jax"] = jax_lines(*recipe) or ""
    attrs["lines_torch"] = torch_lines(*recipe) or ""
    attrs["verdict"] = _verdict(attrs, choices[criterion], criterion)
    step = xr.DataArray(plan.step, dims="step", attrs={"long_name": "training step", "units": "steps"})
    # Two early times may round to the same step.
    result = xr.Dataset(variables, coords={**_coordinates(found, choices), "step": step}, attrs=attrs)
    return result.isel(step=np.unique(plan.step, return_index=True)[1])


def _judged(found: Search) -> dict[str, tuple]:
    dims = ("candidate", "time")
    errors = {
        name: (dims, found.stacked(name), _label(f"{CRITERIA[name][0]}, mean square"))
        for name in ("leave_one_out", "expected", "generalised")
    }
    return {
        **errors,
        "evidence": (dims, found.stacked("evidence"), _label(CRITERIA["evidence"][0], "nats a sample")),
        "psnr": (dims, quality("expected", found.stacked("expected")), _label("expected PSNR", "dB")),
    }


def _coordinates(found: Search, choices: dict[str, _Choice]) -> dict[str, Any]:
    networks = [one.network for one in found.candidates]
    first = found.candidates[0].family
    return {
        "time": ("time", TIMES, {"long_name": "training time ηλ_max t", "units": ""}),
        "criterion": list(choices),
        "family": ("candidate", [one.family.name for one in found.candidates]),
        "scale": (
            "candidate",
            [one.scale for one in found.candidates],
            {"long_name": first.meaning, "units": first.units},
        ),
        "depth": ("candidate", [one.depth for one in networks]),
        "activation": ("candidate", [_name(one) for one in networks]),
        "W_std": ("candidate", [float(np.mean(np.asarray(one.W_std))) for one in networks]),
        "b_std": ("candidate", [float(np.mean(np.asarray(one.b_std))) for one in networks]),
    }


def _name(network: MLP) -> str:
    """Of its activation."""
    return name_of(network.activation) or type(network.activation).__name__  # type: ignore[arg-type]


def _spectra(samples: Samples, K: Operator, progress: Progress) -> dict[str, Any]:
    """The rate at which each frequency is learned, and the signal's energy there; nothing on scattered points."""
    if not isinstance(K, Lattice):
        return {}
    energy = convergence(K, samples.labels, steps=[0], learning_rate=max_learning_rate(K) / 2, progress=progress)
    table = rates(K)
    both = xr.Dataset(
        {"rayleigh_quotient": (table["rayleigh_quotient"][0], table["rayleigh_quotient"][1])},
        coords={"frequency": table["frequency"][1]},
    )
    both["signal_energy"] = energy.target_energy
    both["rayleigh_quotient"].attrs = _label("rate of learning, λ")
    both["signal_energy"].attrs = _label("energy of the signal")
    both["frequency"].attrs = {"long_name": "frequency", "units": "cycles per unit"}
    return dict(both.data_vars) | {"frequency": both.frequency}


def _verdict(attrs: dict[str, Any], choice: _Choice, criterion: str) -> str:
    flat, units = choice.plateau, f" {attrs['scale_units']}" if attrs["scale_units"] else ""
    edge = " (the search ends there: give wider scales)" if any(flat.at_edge) else ""
    extrapolated = ", wider than any that was measured" if attrs["width_extrapolated"] else ""
    interval = f"{attrs['psnr_low']:.1f} to {attrs['psnr_high']:.1f}"
    expected = f"{attrs['psnr']:.1f} dB between the training points ({interval})"
    return (
        f"Take {attrs['family']} frequencies of scale {attrs['scale']:.3g}{units} and gradient descent at learning "
        f"rate {attrs['learning_rate']:.3g} (of half the summed squares) for {attrs['steps']:,} steps: "
        f"theory expects {expected}. "
        f"By {CRITERIA[criterion][0]} any scale from {flat.low:.3g} to {flat.high:.3g} is as good{edge}. A network of "
        f"width {attrs['width']:,} should follow to {attrs['accuracy']:.0%} by the width law measured over the first "
        f"{attrs['width_law_steps']:,.0f} steps of {attrs['width_law']} ({attrs['width_safe']:,} to be safe)"
        f"{extrapolated}."
    )


def _label(long_name: str, units: str = "") -> dict[str, str]:
    return {"long_name": long_name, "units": units}
