"""How the distance to theory falls with the width, and how wide networks must be for an accuracy."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
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
from ntkspec.trainer import Keep, Plan, Training, plan, run
from ntkspec.validation import _prose as prose
from ntkspec.validation._errors import inner_dims, require_on, signal_norm
from ntkspec.validation._power_law import FARTHEST, law
from ntkspec.validation._statistics import products


def at_width(k: ComposedKernel, width: int) -> ComposedKernel:
    """Return the same mapping and infinitely wide kernel with a finite network of another width."""
    return compose(k.mapping, _at_width(k.network, width))


def _at_width(network: Any, width: int) -> Any:
    if isinstance(network, Linearised):
        return Linearised(_at_width(network.network, width))
    # Theirs describes a triple of functions: another number there is the same network.
    if isinstance(network, StaxNetwork) or not any(field.name == "width" for field in dataclasses.fields(network)):
        raise ValueError(f"a {type(network).__name__} has its width built in; give an ns.kernel.MLP")
    if getattr(network, "parametrization", "ntk") != "ntk":
        raise ValueError(
            "the kernel of a network in the standard parametrisation changes with its width; take parametrization='ntk'"
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
    """Train a few small widths, fit error = c · width^−a at each step, and find the width that theory needs.

    The squared error of a network is that of the mean of infinitely many (bias²) and the variance about it (spread²);
    the mean of S networks is off by bias² + spread²/S in expectation, so both are estimated without bias, from |d_s|²
    and from ⟨d_s, d_s'⟩ over pairs of different seeds. Intervals come from resampling the seeds of each width.
    The width for the requested accuracy of a single network is where the law, at its worst step, meets it. A law is
    trusted up to eight times the widest that was trained, as biases fall more slowly than spreads in places; then that
    width is trained, from other seeds, to check.

    Args:
        k: mapping and network; the network's own width plays no part.
        x: training points, shape (n, d).
        y: labels, shape (n,) or (n, channels).
        steps: increasing whole numbers of steps to compare at.
        learning_rate: η of the loss; None takes half the stability limit.
        loss: "sum" or "mean".
        widths: at least two widths to fit.
        seeds: networks of each width, at least 3; or a number for each width, as narrow networks are cheap.
        accuracy: error relative to the signal that a single network may have at every step.
        max_width: largest width that is trained to check.
        K: kernel on the points; None makes a dense one.
        check: whether to train the width that is found.
        seed: number of the first network of each width.
        dtype: precision of training, "float32" or "float64".
        checkpoint: folder, or `ntkspec.trainer.Keep`, in which each width keeps its own.
        resume: as in `ntkspec.trainer.train`: widths that had ended are not trained again.
        progress: reporter.

    Returns:
        Dataset over `width`, `step` (those after 0) and `quantity` ("error" of a network, "ensemble_error" of the
        mean of as many as each width has at least, "spread" and "bias"):

        - `value` (quantity, width, step), relative to the signal, from so many `seeds` (width); NaN where the estimate
          of a squared bias is negative, too small for so many seeds to show; `value_interval` (bound, quantity, width,
          step);
        - `constant`, `exponent` (quantity, step): of value = constant · width^−exponent; `exponent_interval` (bound,
          quantity, step), NaN where less than two widths show a value;

        and attributes: `verdict`, sentences; `accuracy`; `needed_width` with `needed_width_low`, `needed_width_high`,
        not rounded (NaN where the law does not fall); `checked_width` (0 if none), its `checked_error`,
        `checked_error_sem` at its worst step, `checked_step`, `expected_error` by the law, and `agrees`, whether the
        two agree within their errors.

    Raises:
        ValueError: if an argument has a wrong value, or the network is not one whose width can be set.
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
    recorded = check_whole_steps(steps)
    networks = _networks_of(widths, seeds)
    _check(networks, accuracy, max_width, recorded)
    check_flag("check", check)
    check_progress(progress)
    keep = Keep.of(checkpoint, resume)
    summed_rate(1.0, len(points), loss)  # type: ignore[arg-type]  # refuses a loss that has no theory
    if K is not None:
        require_on(K, points)
    training = Training(loss=loss, dtype=dtype)  # type: ignore[arg-type]  # they are checked there

    def planned(width: int, count: int, first: int, rate: float | None) -> Plan:
        return plan(
            at_width(k, width), points, labels, steps=recorded.tolist(), training=training, learning_rate=rate,
            seeds=count, seed=first,
        )  # fmt: skip

    planned(widths[-1], networks[widths[-1]], seed, learning_rate)
    K = dense(k, points, progress=progress) if K is None else K
    rate = max_learning_rate(K, loss) / 2 if learning_rate is None else learning_rate  # type: ignore[arg-type]
    p = predict(K, labels, steps=recorded.tolist(), learning_rate=rate, loss=loss, progress=progress)  # type: ignore[arg-type]
    later = recorded > 0

    def trained(width: int, count: int, first: int) -> np.ndarray:
        """Products of the networks' distances to theory, (step, seed, seed)."""
        r = run(planned(width, count, first, rate), keep.within(f"width-{width}-seed-{first}"), progress=progress)
        return products(r.train - p.train, inner_dims(p), signal_norm(p))[later]

    with progress.start("widths", len(widths), "widths") as stage:
        grams = {}
        for width, count in networks.items():
            grams[width] = trained(width, count, seed)
            stage.advance()
    d = law(grams, recorded[later].astype(int), accuracy)
    d = d.assign_attrs(attributes(kernel=k, operator=K))
    d = d.assign_attrs(learning_rate=rate, loss=loss, first_seed=seed, accuracy=accuracy)
    limit = max_width if check else 0
    needed = width_to_train(d, limit)
    if needed is None:
        return not_checked(d, limit)
    # Networks that the law has not seen.
    by_seed = np.sqrt(np.einsum("tss->ts", trained(needed, networks[widths[-1]], seed + 1)))
    return _checked(d, needed, by_seed.mean(axis=1), by_seed.std(axis=1, ddof=1) / np.sqrt(by_seed.shape[1]))


def _networks_of(widths: Sequence[int], seeds: int | Sequence[int]) -> dict[int, int]:
    """Return the number of networks of each width."""
    if isinstance(widths, str) or not isinstance(widths, Sequence | np.ndarray):
        raise TypeError(f"widths={shown(widths)}; expected two or more, such as (32, 64, 128)")
    counts = list(seeds) if isinstance(seeds, list | tuple | np.ndarray) else [seeds] * len(widths)
    for width in widths:
        check_sizes(width=width)
    if len(widths) < 2 or list(widths) != sorted(set(widths)):
        raise ValueError(f"widths={tuple(widths)}; expected two or more, increasing: a law needs a slope")
    if len(counts) != len(widths):
        raise ValueError(f"seeds has {len(counts)} numbers; expected one, or one for each of {len(widths)} widths")
    return dict(zip(widths, counts, strict=True))  # type: ignore[arg-type]  # the counts are checked with the rest


def _check(networks: dict[int, int], accuracy: float, max_width: int, steps: np.ndarray) -> None:
    for count in networks.values():
        check_sizes(seeds=count, max_width=max_width)
    check_positive("accuracy", accuracy, "such as 0.05, relative to the signal")
    if min(networks.values()) < 3:
        raise ValueError(f"seeds={min(networks.values())}; expected at least 3, to tell spread from bias")
    if steps[-1] == 0:
        raise ValueError("steps=[0]; expected one after the start")


def width_to_train(d: xr.Dataset, max_width: int) -> int | None:
    """Return the width that is needed, rounded up; None above `max_width`, or where the law is not trusted."""
    needed = d.attrs["needed_width"]
    # NaN is not below anything.
    if not needed <= min(FARTHEST * int(d.width.max()), max_width):
        return None
    return min(int(16 * np.ceil(needed / 16)), max_width)


def _checked(d: xr.Dataset, width: int, error: np.ndarray, standard_error: np.ndarray) -> xr.Dataset:
    """Return a width law with the errors of networks of that width (step) in its attributes and verdict."""
    worst = int(np.argmax(error))
    one = d.isel(step=worst).sel(quantity="error")
    exponent = float(one.exponent)
    expected = float(one.constant * width**-exponent)
    # A quarter of a 95 % interval is about its standard error.
    of_law = expected * exponent * np.log(d.attrs["needed_width_high"] / d.attrs["needed_width_low"]) / 4
    off = abs(error[worst] - expected)
    d = d.assign_attrs(
        checked_width=width,
        checked_step=int(d.step[worst]),
        checked_error=float(error[worst]),
        checked_error_sem=float(standard_error[worst]),
        expected_error=expected,
        agrees=int(off <= 2 * np.hypot(np.nan_to_num(standard_error[worst]), of_law)),
    )
    return d.assign_attrs(verdict=prose.width_law(d, width))


def checked_by(d: xr.Dataset, v: xr.Dataset) -> xr.Dataset:
    """Return a width law checked by `validate` of networks of the width that it needs, at its steps."""
    at = v.sel(step=d.step)
    return _checked(d, int(v.attrs["width"]), at.error.values, at.error_sem.values)


def not_checked(d: xr.Dataset, max_width: int) -> xr.Dataset:
    """Return a width law whose verdict says that its width, above `max_width`, was not trained."""
    unknown = {"checked_step": -1, **dict.fromkeys(("checked_error", "checked_error_sem", "expected_error"), np.nan)}
    d = d.assign_attrs(checked_width=0, agrees=-1, **unknown)
    return d.assign_attrs(verdict=prose.width_law(d, max_width))
