"""An observer of a run, held to saying the same of every step and of all networks."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import xarray as xr

from ntkspec.checks import check_function
from ntkspec.kernel._composed import ComposedKernel

__all__ = ["LookingBack", "Observe", "Observer", "check_observe"]

#: Called with a recorded step and the parameters of all networks there, (seed, …).
Observe = Callable[[int, Any], xr.Dataset]


@runtime_checkable
class LookingBack(Protocol):
    """An observer that compares networks with those that they were at their start; `ntkspec.empirical.movement` is one.

    A run asks `begin` before any step for each kernel, and for each part of the networks that it trains together; also
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
        """Return what there is to say without a start; a run does not ask."""

    def begin(self, k: ComposedKernel, params: Any) -> Observe:
        """Return the observer of networks of the kernel `k` that start from these parameters, (seed, …)."""


def check_observe(observe: Observe | None) -> None:
    """Refuse what cannot be called as an observer is; None stands for no observer.

    Raises:
        TypeError: saying how it is called.
    """
    check_function("observe", observe, "a function of step and parameters, such as ns.empirical.movement(k, x, y)")
    if observe is None:
        return
    _check_call("observe", observe, "step, params")
    if isinstance(observe, LookingBack):
        _check_call("observe.begin", observe.begin, "k, params")


def _check_call(name: str, function: Callable[..., Any], two: str) -> None:
    try:
        inspect.signature(function).bind(None, None)
    except TypeError as error:
        raise TypeError(f"{name} cannot be called as {name}({two}): {error}") from None
    # Of some functions that are not written in Python nothing is known.
    except ValueError:
        return


@dataclass
class Observer:
    """What a person gave as `observe`.

    Attributes:
        observe: the function itself.
        first: what it returned first, without its step; of a checkpoint, what is kept there.
        resumed: whether that is of a checkpoint.
        parts: in how many parts the seeds are trained.
    """

    observe: Observe
    first: xr.Dataset | None = None
    resumed: bool = False
    parts: int = 1

    def begin(self, k: ComposedKernel, params: Any) -> Observe:
        """Return the observer of some networks, held to saying the same as of all others.

        Args:
            k: the kernel of these networks.
            params: that they start from, (seed, …).

        Returns:
            A function of a step and the parameters there. It raises a ValueError where what is said is of several
            steps, or of other variables than before, or does not tell seeds apart where that is needed.

        Raises:
            TypeError: if it is no function; the function itself, if it returns no Dataset.
        """
        observe = self.observe
        if isinstance(observe, LookingBack):
            observe = observe.begin(k, params)
            if not callable(observe):
                raise TypeError(
                    f"observe.begin returned a {type(observe).__name__}; expected a function of step and parameters, "
                    "which looks at the networks that start from the parameters it was given"
                )
        return partial(self._said, observe)

    def _said(self, observe: Observe, step: int, params: Any) -> xr.Dataset:
        """Return what it says at a step, without a `step` of its own.

        Those that were recorded are put beside each other.
        """
        observed = observe(step, params)
        if not isinstance(observed, xr.Dataset):
            raise TypeError(
                f"observe returned a {type(observed).__name__} at step {step}; expected an xarray.Dataset, such as "
                "xr.Dataset({'norm': ('seed', norms)})"
            )
        if observed.sizes.get("step", 1) != 1:
            raise ValueError(f"observe returned {observed.sizes['step']} steps; it is called at one, and returns that")
        alone = observed.squeeze("step") if "step" in observed.dims else observed
        alone = alone.drop_vars("step", errors="ignore")
        self._require_seeds(alone)
        if self.first is None:
            self.first = alone
        self._require_alike(self.first, alone, step)
        return alone

    def _require_seeds(self, observed: xr.Dataset) -> None:
        alike = [str(name) for name, values in observed.data_vars.items() if "seed" not in values.dims]
        if alike and self.parts > 1:
            raise ValueError(
                f"observe returned {', '.join(alike)} without a dimension `seed`, and the networks do not fit in "
                f"memory together: they are trained in {self.parts} parts; keep `seed`, or ask for fewer seeds"
            )

    def _require_alike(self, first: xr.Dataset, now: xr.Dataset, step: int) -> None:
        was, found = _in_words(first), _in_words(now)
        moved = [str(name) for name in now.xindexes if name != "seed" and name in first and not _same(now, first, name)]
        if was == found and not moved:
            return
        what = f"{found} at step {step}, and {was} before"
        if was == found:
            what = f"other values of {', '.join(moved)} at step {step} than before"
        advice = "return variables of the same names and sizes at every step, and of all networks"
        if self.resumed:
            what += ", which the checkpoint holds"
            advice = "give the observe= that the run began with, or begin anew in an empty folder"
        raise ValueError(f"observe returned {what}; {advice}")


def _in_words(observed: xr.Dataset) -> str:
    """'norm (seed), share (mode: 8, seed)': how many seeds there are does not matter."""
    said = []
    for name, values in sorted(observed.variables.items(), key=lambda one: str(one[0])):
        sizes = sorted("seed" if dim == "seed" else f"{dim}: {size}" for dim, size in values.sizes.items())
        if name != "seed":
            said.append(f"{name} ({', '.join(sizes)})" if sizes else str(name))
    return ", ".join(said) or "no variables"


def _same(a: xr.Dataset, b: xr.Dataset, name: Any) -> bool:
    # Of the coordinate alone: beside it may stand others of its dimension, and these need not be the same.
    return bool(a[name].variable.equals(b[name].variable))
