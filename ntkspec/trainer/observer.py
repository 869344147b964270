"""An observer of a run, held to saying the same of every step and of all networks."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import xarray as xr

from ntkspec.checks import check_function

__all__ = ["Observe", "Observer", "check_observe"]

#: Called with a recorded step and the parameters of all networks there, (seed, …).
Observe = Callable[[int, Any], xr.Dataset]


def check_observe(observe: Observe | None) -> None:
    """Refuse what cannot be called as an observer is; None stands for no observer.

    Raises:
        TypeError: saying how it is called.
    """
    check_function("observe", observe, "a function of step and parameters, such as ns.empirical.movement(k, x, y)")
    try:
        _ = observe is None or inspect.signature(observe).bind(0, None)
    except TypeError as error:
        raise TypeError(f"observe cannot be called as observe(step, params): {error}") from None
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

    def __call__(self, step: int, params: Any) -> xr.Dataset:
        """What it says at a step, without a `step` of its own: those that were recorded are put beside each other.

        Raises:
            TypeError: if it is no Dataset.
            ValueError: if it is of several steps, or of other variables than before, or does not tell seeds apart
                where that is needed.
        """
        observed = self.observe(step, params)
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
