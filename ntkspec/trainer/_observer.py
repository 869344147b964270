"""Observers of a run: functions of a step and the parameters there."""

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
        """Observe without a start; a run does not call this."""

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


@dataclass(frozen=True)
class Observer:
    """The argument `observe` of a run, whose networks may be trained in parts.

    Attributes:
        observe: function of step and parameters.
        parts: number of parts that the seeds are trained in.
    """

    observe: Observe
    parts: int = 1

    def begin(self, k: ComposedKernel, params: Any) -> Observe:
        """Return the observer of some networks.

        Args:
            k: kernel of these networks.
            params: parameters that they start from, (seed, …).

        Returns:
            A function of a step and the parameters there.

        Raises:
            TypeError: if it is not a function.
        """
        observe = self.observe
        if isinstance(observe, LookingBack):
            observe = observe.begin(k, params)
            if not callable(observe):
                raise TypeError(
                    f"observe.begin returned a {type(observe).__name__}; expected a function of step and parameters, "
                    "which looks at the networks that start from the parameters it was given"
                )
        return partial(self._observed, observe)

    def _observed(self, observe: Observe, step: int, params: Any) -> xr.Dataset:
        """Observe a step, without a `step` of its own: recorded steps are put beside each other."""
        observed = observe(step, params)
        if not isinstance(observed, xr.Dataset):
            raise TypeError(
                f"observe returned a {type(observed).__name__} at step {step}; expected an xarray.Dataset, such as "
                "xr.Dataset({'norm': ('seed', norms)})"
            )
        if observed.sizes.get("step", 1) != 1:
            raise ValueError(f"observe returned {observed.sizes['step']} steps; it is called at one, and returns that")
        alike = [str(name) for name, values in observed.data_vars.items() if "seed" not in values.dims]
        if alike and self.parts > 1:
            raise ValueError(
                f"observe returned {', '.join(alike)} without a dimension `seed`, and the networks do not fit in "
                f"memory together: they are trained in {self.parts} parts; keep `seed`, or ask for fewer seeds"
            )
        alone = observed.squeeze("step") if "step" in observed.dims else observed
        return alone.drop_vars("step", errors="ignore")
