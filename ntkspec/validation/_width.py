"""How the distance to theory falls with the width, and how wide networks must be for an asked accuracy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from ntkspec.checks import (
    check_flag,
    check_labels,
    check_points,
    check_positive,
    check_progress,
    check_sizes,
    check_whole_steps,
    shown,
)
from ntkspec.dynamics import max_learning_rate, summed_rate
from ntkspec.kernel import ComposedKernel, compose
from ntkspec.kernel._composed import check_composed
from ntkspec.kernel._linearised import Linearised
from ntkspec.kernel._stax_network import StaxNetwork
from ntkspec.operator import Operator, dense
from ntkspec.prediction import predict
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.record import attributes
from ntkspec.trainer import Keep, Training, plan, train
from ntkspec.validation._errors import inner_dims, require_on, signal_norm
from ntkspec.validation._fit import NEVER, errors, law
from ntkspec.validation._seeds import products
from ntkspec.validation._words import digits, joined, percent, power, seeds_in_words

__all__ = ["at_width", "checked_by", "not_checked", "width_law", "width_to_train"]

#: How many times the widest trained network a law is believed. Biases fall otherwise than spreads, and take over.
FARTHEST = 8.0
#: What of networks is said to fall, where it can be told.
PARTS = {
    "error": "the error of a network",
    "ensemble_error": "that of their mean",
    "bias": "what all share (the bias)",
}
#: By which power of the width theory has the bias fall: corrections to the mean over networks are O(1/width).
BIAS_IN_THEORY = 1.0


def at_width(k: ComposedKernel, width: int) -> ComposedKernel:
    """Return the same mapping and infinitely wide kernel with a finite network of another width.

    Raises:
        ValueError: if the network's width is no setting of it, or its kernel depends on it.
    """
    return compose(k.mapping, _at_width(k.network, width))


def _at_width(network: Any, width: int) -> Any:
    if isinstance(network, Linearised):
        return Linearised(_at_width(network.network, width))
    # Theirs describes a triple of functions: another number there is the same network.
    if isinstance(network, StaxNetwork) or not any(field.name == "width" for field in dataclasses.fields(network)):
        raise ValueError(f"a {type(network).__name__} has its width built in; give an ns.kernel.MLP")
    if getattr(network, "parametrization", "ntk") != "ntk":
        raise ValueError(
            "the kernel of a network in the standard parametrisation changes with its width, and its law is that of "
            "several kernels; take parametrization='ntk'"
        )
    return dataclasses.replace(network, width=width)


def width_law(  # noqa: PLR0913  # a door: options are named in one call
    k: ComposedKernel,
    x: ArrayLike,
    y: ArrayLike,
    *,
    steps: Sequence[int],
    learning_rate: float | None = None,
    loss: str = "sum",
    widths: Sequence[int] = (32, 64, 128, 256),
    seeds: int | Sequence[int] = 8,
    accuracy: float = 0.05,
    max_width: int = 4096,
    K: Operator | None = None,
    check: bool = True,
    seed: int = 0,
    dtype: str = "float32",
    checkpoint: Keep | str | Path | None = None,
    resume: bool | str = False,
    progress: Progress = NO_PROGRESS,
) -> xr.Dataset:
    """Train a few small widths, fit error = c · width^−a at each step, and say how wide theory needs networks to be.

    The squared error of a network is that of the mean of infinitely many (bias²) and the variance about it (spread²);
    the mean of S networks is off by bias² + spread²/S in expectation, so both are told without bias, from |d_s|² and
    from ⟨d_s, d_s'⟩ over pairs of different seeds. Intervals come from drawing seeds anew, of each width for itself.
    The width for the asked accuracy of a single network is where the law, at its worst step, meets it. It is believed
    up to eight times the widest that was trained, as biases fall more slowly than spreads in places; then that width is
    trained, from other seeds, to check.

    Args:
        k: mapping and network; the network's own width plays no part.
        x: training points, shape (n, d).
        y: labels, shape (n,) or (n, channels).
        steps: increasing whole numbers of steps to compare at.
        learning_rate: η of the loss; None takes half the stability limit.
        loss: "sum" or "mean".
        widths: at least two to fit.
        seeds: networks of each width, at least 3; or a number for each width, as narrow networks are cheap.
        accuracy: error relative to the signal that a single network is to keep to at all steps.
        max_width: that is trained to check at most.
        K: the kernel on the points; None makes a dense one.
        check: train the width that is found.
        seed: of the first network of each width.
        dtype: of training, "float32" or "float64".
        checkpoint: folder, or `ntkspec.trainer.Keep`, in which each width keeps its own.
        resume: as in `ntkspec.trainer.train`: widths that had ended are not trained again.
        progress: reporter.

    Returns:
        Dataset over `width`, `step` (those after 0) and `quantity` ("error" of a network, "ensemble_error" of the
        mean of as many as each width has at least, "spread" and "bias"):

        - `value` (quantity, width, step), relative to the signal, from so many `seeds` (width); NaN where the square
          of a bias comes out below zero, which is to say too small for so many seeds to see; `value_interval` (bound,
          quantity, width, step);
        - `constant`, `exponent` (quantity, step): of value = constant · width^−exponent; `exponent_interval` (bound,
          quantity, step), NaN where less than two widths show a value;

        and attributes: `verdict`, sentences; `accuracy`; `needed_width` with `needed_width_low`, `needed_width_high`,
        not rounded (NaN where the law does not fall); `checked_width` (0 if none), its `checked_error`,
        `checked_error_sem` at its worst step, `checked_step`, and `expected_error`, what the law says there.

    Raises:
        ValueError: if an argument is no good, or the network is not one whose width can be set.
        TypeError: if an argument is of a wrong kind.
        FloatingPointError: if a network diverges; take a smaller learning rate.

    Source: Lee et al. 2019, section 3.2 (errors of O(width^−1/2)); Dyer & Gur-Ari 2020, "Asymptotics of wide networks
    from Feynman diagrams" (means off by O(1/width), where the activation is smooth); Efron & Tibshirani
    1993, chapter 13 (percentile intervals).

    Example:
        >>> import ntkspec as ns
        >>> k = ns.kernel.compose(ns.mapping.basic(dim=1), ns.kernel.MLP(depth=1))
        >>> x = np.arange(8)[:, None] / 8
        >>> y = np.sin(2 * np.pi * x[:, 0])
        >>> d = width_law(k, x, y, steps=[0, 5], widths=(16, 64), seeds=4, accuracy=0.2, max_width=256)
        >>> bool(d.exponent.sel(quantity="error", step=5) > 0)
        True
    """
    check_composed(k)
    points = np.asarray(check_points(x, k.dim))
    labels = np.asarray(check_labels(y, len(points)))
    asked = check_whole_steps(steps)
    _check_widths(widths)
    networks = _each(seeds, widths)
    _check(networks, accuracy, max_width, asked)
    check_flag("check", check)
    check_progress(progress)
    keep = Keep.of(checkpoint, resume)
    summed_rate(1.0, len(points), loss)  # type: ignore[arg-type]  # refuses a loss that has no theory
    if K is not None:
        require_on(K, points)
    training = Training(loss=loss, dtype=dtype)  # type: ignore[arg-type]  # they are checked there
    plan(
        at_width(k, widths[-1]), points, labels, steps=asked.tolist(), learning_rate=learning_rate, training=training,
        seeds=networks[-1], seed=seed,
    )  # fmt: skip
    K = dense(k, points, progress=progress) if K is None else K
    rate = max_learning_rate(K, loss) / 2 if learning_rate is None else learning_rate  # type: ignore[arg-type]
    p = predict(K, labels, steps=asked.tolist(), learning_rate=rate, loss=loss, progress=progress)  # type: ignore[arg-type]
    later = asked > 0

    def trained(width: int, count: int, first: int) -> np.ndarray:
        """Products of the networks' distances to theory, (step, seed, seed)."""
        r = train(
            at_width(k, width), points, labels, steps=asked.tolist(), learning_rate=rate, training=training,
            seeds=count, seed=first, progress=progress, checkpoint=keep.within(f"width-{width}-seed-{first}"),
        )  # fmt: skip
        return products(r.train - p.train, inner_dims(p), signal_norm(p))[later]

    with progress.start("widths", len(widths), "widths") as stage:
        grams = {}
        for width, count in zip(widths, networks, strict=True):
            grams[width] = trained(width, count, seed)
            stage.advance()
    found = law(grams, asked[later].astype(int), accuracy)
    found = found.assign_attrs(
        {
            **attributes(kernel=k, operator=K),
            "learning_rate": rate,
            "loss": loss,
            "first_seed": seed,
            "accuracy": accuracy,
        }
    )
    # Networks that the law has not seen.
    found.attrs |= _checked(found, max_width if check else 0, lambda width: trained(width, networks[-1], seed + 1))
    found.attrs["verdict"] = _verdict(found, max_width if check else 0)
    return found


def _check_widths(widths: Sequence[int]) -> None:
    if isinstance(widths, str) or not isinstance(widths, Sequence | np.ndarray):
        raise TypeError(f"widths={shown(widths)}; expected two or more, such as (32, 64, 128)")
    for width in widths:
        check_sizes(width=width)
    if len(widths) < 2 or list(widths) != sorted(set(widths)):
        raise ValueError(f"widths={tuple(widths)}; expected two or more, increasing: a law needs a slope")


def _each(seeds: int | Sequence[int], widths: Sequence[int]) -> list[int]:
    """How many networks of each width."""
    found = list(seeds) if isinstance(seeds, list | tuple | np.ndarray) else [seeds] * len(widths)
    if len(found) != len(widths):
        raise ValueError(f"seeds has {len(found)} numbers; expected one, or one for each of {len(widths)} widths")
    for count in found:
        check_sizes(seeds=count)  # type: ignore[arg-type]  # it may be anything
    return found  # type: ignore[return-value]


def _check(seeds: Sequence[int], accuracy: float, max_width: int, steps: np.ndarray) -> None:
    check_sizes(max_width=max_width)
    check_positive("accuracy", accuracy, "such as 0.05, relative to the signal")
    if min(seeds) < 3:
        raise ValueError(
            f"seeds={min(seeds)}; expected at least 3, to tell the spread of networks from what they share"
        )
    if steps[-1] == 0:
        raise ValueError("steps=[0]; expected one after the start")


def _checked(d: xr.Dataset, max_width: int, trained: Callable[[int], np.ndarray]) -> dict[str, float]:
    """Train the width that is needed, where the law is believed so far and it is not too wide."""
    nothing = {"checked_width": 0, "checked_step": -1, "checked_error": np.nan, "checked_error_sem": np.nan}
    nothing["expected_error"] = np.nan
    width = width_to_train(d, max_width)
    if width is None:
        return nothing
    gram = trained(width)
    seeds = gram.shape[-1]
    by_seed = np.sqrt(np.einsum("tss->ts", gram))
    worst = int(np.argmax(errors(gram, np.ones(seeds), seeds).error))
    one = d.isel(step=worst).sel(quantity="error")
    return {
        "checked_width": width,
        "checked_step": int(d.step[worst]),
        "checked_error": float(by_seed[worst].mean()),
        "checked_error_sem": float(by_seed[worst].std(ddof=1) / np.sqrt(seeds)),
        "expected_error": float(one.constant * width ** -float(one.exponent)),
    }


def width_to_train(d: xr.Dataset, max_width: int) -> int | None:
    """Return the width that is needed, rounded up.

    None where it is above `max_width`, or where the law is not believed.
    """
    needed = d.attrs["needed_width"]
    # NaN is not below anything.
    if not needed <= min(FARTHEST * int(d.width.max()), max_width):
        return None
    return min(int(16 * np.ceil(needed / 16)), max_width)


def _verdict(d: xr.Dataset, max_width: int) -> str:
    a, widest = d.attrs, int(d.width.max())
    one = d.sel(quantity="error")
    worst = int(np.argmax(one.value.sel(width=widest).values))
    parts = [_power_in_words(d.isel(step=worst), quantity) for quantity in ("error", "ensemble_error", "bias")]
    fall = (
        f"From width {int(d.width.min())} to {widest} ({_seeds_in_words(d)} each), at the worst step "
        f"{int(d.step[worst])}, {joined(list(filter(None, parts)))}"
    )
    needed = a["needed_width"]
    if np.isnan(needed):
        return f"{fall}; at some step it does not fall at all, so no width is known to be enough."
    asked = f"{fall}; an accuracy of {percent(a['accuracy'])} needs width {digits(needed, 3)}"
    if not np.isnan(a["needed_width_low"]):
        high = "any" if a["needed_width_high"] >= NEVER else digits(a["needed_width_high"], 3)
        asked += f" ({digits(a['needed_width_low'], 3)} to {high})"
    if needed > FARTHEST * widest:
        return (
            f"{asked}, which is {digits(needed / widest, 2)} times the widest trained. The law is not believed beyond "
            f"{FARTHEST:g} times: train wider ones (widths=...), or ask for less."
        )
    if not max_width:
        return f"{asked}."
    if not a["checked_width"]:
        return f"{asked}. That was not checked by training (max_width={max_width})."
    return f"{asked}. {_check_in_words(d)}"


def _power_in_words(at: xr.Dataset, quantity: str) -> str:
    """Return 'the error of a network goes as width^−0.50 (−0.55 to −0.45)'; empty where too few widths tell."""
    one = at.sel(quantity=quantity)
    low, high = (float(one.exponent_interval.sel(bound=bound)) for bound in ("low", "high"))
    ends = [power(-end, 2) for end in (high, low)]
    if "nan" in ends:
        return ""
    if low <= 0 <= high:
        return f"how {PARTS[quantity]} goes with the width these networks do not show (a power of {' to '.join(ends)})"
    slower = quantity == "bias" and float(one.exponent_interval.sel(bound="high")) < BIAS_IN_THEORY
    said = f"{PARTS[quantity]} goes as width^{power(-float(one.exponent), 2)} ({' to '.join(ends)})"
    return f"{said}, more slowly than the 1/width of theory" if slower else said


def _seeds_in_words(d: xr.Dataset) -> str:
    """'8 seeds', or '64 to 1024 seeds'."""
    low, high = int(d.seeds.min()), int(d.seeds.max())
    return seeds_in_words(low) if low == high else f"{low} to {seeds_in_words(high)}"


def checked_by(d: xr.Dataset, v: xr.Dataset) -> xr.Dataset:
    """Add a check to a width law's attributes and verdict: what `validate` found at the recommended width.

    Args:
        d: from `width_law`.
        v: from `ntkspec.validation.validate`, of networks of that width at the law's steps.
    """
    at = v.sel(step=d.step)
    worst = int(np.argmax(at.error.values))
    one, width = d.isel(step=worst).sel(quantity="error"), int(v.attrs["width"])
    found = d.assign_attrs(
        checked_width=width,
        checked_step=int(d.step[worst]),
        checked_error=float(at.error[worst]),
        checked_error_sem=float(at.error_sem[worst]),
        expected_error=float(one.constant * width ** -float(one.exponent)),
    )
    return found.assign_attrs(verdict=_verdict(found, width))


def not_checked(d: xr.Dataset, max_width: int) -> xr.Dataset:
    """Return a width law whose verdict says that the width it asks for, above `max_width`, was not trained."""
    return d.assign_attrs(verdict=_verdict(d, max_width))


def _check_in_words(d: xr.Dataset) -> str:
    a = d.attrs
    error, sem, expected = a["checked_error"], a["checked_error_sem"], a["expected_error"]
    kept = "keeps to" if error <= a["accuracy"] else "misses"
    said = f"Checked: at width {a['checked_width']} the error is {percent(error, sem)}, which {kept} the accuracy"
    if not a["needed_width_high"] < NEVER:
        return f"{said}; the law says {percent(expected)}, and so few networks do not tell how far it may be off."
    # A quarter of a 95 % interval is about its standard error.
    exponent = float(d.exponent.sel(quantity="error", step=a["checked_step"]))
    of_law = expected * exponent * np.log(a["needed_width_high"] / a["needed_width_low"]) / 4
    agrees = abs(error - expected) <= 2 * np.hypot(np.nan_to_num(sem), of_law)
    return (
        f"{said}; the law says {percent(expected)} and "
        f"{'holds within its errors' if agrees else 'is off by more than its errors'}."
    )
