"""The mapping, learning rate and number of steps that theory recommends for a signal, without training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from ntkspec.checks import check_number, check_positive, check_seed, check_sizes
from ntkspec.kernel import MLP
from ntkspec.kernel.activation import W_STDS
from ntkspec.operator import Operator
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.selection._family import Family, family
from ntkspec.selection._plan import plan
from ntkspec.selection._samples import FEWEST, Samples, Signal, from_operator, from_signal
from ntkspec.selection._score import patches
from ntkspec.selection._search import CRITERIA, candidates, choose, search, widened
from ntkspec.selection._table import table

__all__ = ["design"]

#: Training points in a box: larger ones see lower frequencies, and take n³ longer.
BOX = 1024


def design(  # noqa: PLR0913  # a door: options are named in one call
    signal: Signal | Operator,
    y: ArrayLike | None = None,
    *,
    families: Sequence[str | Family] = ("gaussian",),
    scales: Sequence[float] | None = None,
    network: MLP | None = None,
    depths: Sequence[int] | None = None,
    activations: Sequence[str] | None = None,
    W_stds: Sequence[float] | None = None,
    b_stds: Sequence[float] | None = None,
    num_frequencies: int = 256,
    criterion: str = "leave_one_out",
    accuracy: float = 0.1,
    peak: float = 1.0,
    seed: int = 0,
    progress: Progress = NO_PROGRESS,
) -> xr.Dataset:
    """Recommend mapping, learning rate and number of steps for a signal, from its training samples alone.

    Every candidate kernel is judged on equal boxes of the training points by four criteria at many times (see
    `CRITERIA`), a stop after time τ taken for ridge regression with δ = 1/τ (see `ntkspec.selection.score`). The scale
    taken is the middle of the stretch where the chosen criterion is flat; where that stretch has no end among the tried
    scales, further ones are tried, up to four on either side. The learning rate is half the stability limit on all
    points, the number of steps the first after which the criterion is within 0.1 dB of its best.

    The result cannot account for detail finer than the spacing of the points.

    Args:
        signal: signal on a lattice with the points to learn from, such as an `ntkspec.task.Task`; or an operator,
            whose points are learned from and whose kernel's network is taken where `network` is None.
        y: labels of an operator's points, shape (n,) or (n, channels).
        families: names of mappings, of `ntkspec.selection.FAMILIES`, or such families with options of their own.
        scales: values to try of every family's parameter (the scale of Gaussian frequencies); None takes twelve that
            suit the spacing of the points. A single one is judged as it is.
        network: network behind the mapping; None takes depth 3 with the activation of the family (SIREN's sine with
            its own W_std behind SIREN's first layer, otherwise ReLU).
        depths: depths to try instead of the network's.
        activations: names of activations to try, likewise.
        W_stds: standard deviations of the weights, likewise.
        b_stds: standard deviations of the biases, likewise.
        num_frequencies: number of frequencies of every mapping.
        criterion: "leave_one_out", "expected", "generalised" or "evidence".
        accuracy: error relative to the signal to which a finite network should follow.
        peak: largest value that the signal can take, which a PSNR is relative to.
        seed: seed of the frequencies.
        progress: reporter.

    Returns:
        Dataset over `candidate` (with coordinates `family`, `parameter`, the name of what `scale` is a value of,
        `scale`, `depth`, `activation`, `W_std`, `b_std`) and `time` (ηλ_max t of gradient flow on a box):
        `leave_one_out`, `expected` and `generalised` mean squared errors, `evidence` in nats a sample, `psnr` of the
        expected error in dB; over `criterion`, the choice of each: `chosen_scale`, `chosen_family`,
        `chosen_parameter`, `chosen_depth`, `chosen_activation`, `plateau_low` and `plateau_high` where it is flat, and
        `open_ended` where the search ends before it falls; for the chosen kernel `predicted_psnr` (step) with
        `predicted_psnr_low` and `predicted_psnr_high` (two standard errors over patches of the signal and of theory's
        own, and down to leave-one-out), `rayleigh_quotient` and `signal_energy` (frequency) on a lattice.
        Attributes: `family`, `parameter`, `scale`, `depth`, `activation`, `W_std` and `b_std` (means over the layers),
        `learning_rate`, `steps`, `steps_with_momentum` (heavy ball of 0.9 at that rate), `psnr`, `psnr_low`,
        `psnr_high`, `psnr_of_mean`, `width`, `width_safe` and the law they come from, `lines_ntkspec`, `lines_jax`,
        `lines_torch` to paste, and `verdict` in sentences.

    Raises:
        ValueError: if labels are missing, constant, too large or small to square, or do not fit, a name or number is
            wrong, or there are fewer than 4 points.
        TypeError: if `signal` is neither a signal nor an operator.

    Source: the scale's part in generalisation, Tancik et al. 2020, section 6; leave-one-out and evidence, Rasmussen &
    Williams 2006, chapter 5.

    Example:
        >>> import ntkspec as ns
        >>> found = ns.design(ns.task.signal.paper(), num_frequencies=32, scales=[1, 4, 16])
        >>> 0.1 < found.attrs["scale"] < 16, found.attrs["steps"] > 0
        (True, True)
    """
    samples, network = _samples(signal, y, network)
    if criterion not in CRITERIA:
        raise ValueError(f"criterion={criterion!r}; expected one of {', '.join(CRITERIA)}")
    check_sizes(num_frequencies=num_frequencies)
    check_seed(seed)
    check_positive("peak", peak, "the largest value that the signal can take")
    check_number("accuracy", accuracy, 1e-3, 1, hint="an error relative to the signal, such as 0.1")
    settings = {"depth": depths, "activation": activations, "W_std": W_stds, "b_std": b_stds}
    _refuse_empty(families=families, scales=scales, **{f"{name}s": values for name, values in settings.items()})
    named = {name: values for name, values in settings.items() if values is not None}
    kinds = [(kind, each) for kind in map(family, families) for each in _networks(network, kind, named)]
    tried = candidates(kinds, scales, samples.highest_frequency, num_frequencies, seed)
    for candidate in tried:
        candidate.kernel(samples.dim)
    box = samples.boxes(BOX)
    places = len(np.unique(patches(box))) * box.labels.shape[1]
    if places < FEWEST:
        raise ValueError(
            f"the training points lie in {places} of about sixteen parts of their extent, too few for the error of an "
            f"error; expected {FEWEST} or more: leave out those far from the rest, or give more"
        )
    searched = widened(search(tried, box, progress), criterion, samples.lowest_frequency, box, progress)
    choices = {name: choose(searched, name) for name in CRITERIA}
    return table(
        samples, searched, choices, plan(samples, box, choices[criterion].candidate, criterion, accuracy, peak)
    )


def _samples(signal: Signal | Operator, y: ArrayLike | None, network: MLP | None) -> tuple[Samples, MLP | None]:
    if isinstance(signal, Operator):
        if y is None:
            raise ValueError("an operator has no labels; give them as y, shape (n,) or (n, channels)")
        kernel = getattr(signal, "kernel", None)
        own = getattr(kernel, "network", None)
        return from_operator(signal, y), network or (own if isinstance(own, MLP) else None)
    if y is not None:
        raise ValueError("a signal brings its own labels; give y with an operator alone")
    if not hasattr(signal, "train_values") or not (hasattr(signal, "train_mask") or hasattr(signal, "train_points")):
        raise TypeError(
            f"`signal` is a {type(signal).__name__}; expected an ntkspec.task.Task (ns.task.load(path)), or an "
            "operator with its labels y"
        )
    return from_signal(signal), network


def _refuse_empty(**lists: Sequence[Any] | None) -> None:
    for name, values in lists.items():
        if isinstance(values, str) or (values is not None and (np.ndim(values) != 1 or len(values) == 0)):
            raise ValueError(f"{name}={values!r}; expected a list of at least one")


def _networks(network: MLP | None, kind: Family, named: Mapping[str, Sequence[Any]]) -> Iterator[MLP]:
    """Yield the network with every combination of settings in place of its own."""
    if network is None:
        named = {"activation": (kind.activation,), **named}
    for values in product(*named.values()):
        settings = dict(zip(named, values, strict=True))
        if network is None:
            yield MLP(**{"depth": 3, "W_std": W_STDS.get(settings["activation"], 2**0.5), **settings})
        else:
            yield replace(network, **settings)
