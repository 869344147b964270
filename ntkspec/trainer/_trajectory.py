"""What is recorded of some networks, and that of several parts of an ensemble put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from ntkspec.trainer._checkpoint import packed, unpacked
from ntkspec.trainer._memory import Part

__all__ = ["Trajectory", "joined", "side_by_side"]


@dataclass
class Trajectory:
    """What is recorded of some networks, by recorded step.

    Attributes:
        values: the networks' outputs at the training points, before any sigmoid, each (group, seed, point, channel).
        fields: on the lattice, likewise.
        observed: what the observer said of each group.
    """

    values: list[np.ndarray] = field(default_factory=list)
    fields: list[np.ndarray] = field(default_factory=list)
    observed: list[list[xr.Dataset]] = field(default_factory=list)

    def arrays(self, prefix: str) -> dict[str, np.ndarray]:
        """All of it as arrays by name, for a checkpoint."""
        found = {f"{prefix}/{name}": np.stack(part) for name, part in self._listed().items() if part}
        for g in range(len(self.observed[0]) if self.observed else 0):
            found[f"{prefix}/observed/{g}"] = packed(side_by_side([step[g] for step in self.observed], "step"))
        return found

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], prefix: str) -> Trajectory:
        """Return what such arrays hold."""
        found = cls(*(list(arrays.get(f"{prefix}/{name}", ())) for name in ("values", "fields")))
        groups: list[xr.Dataset] = []
        while (name := f"{prefix}/observed/{len(groups)}") in arrays:
            groups.append(unpacked(arrays[name]))
        if groups:
            found.observed = [[one.isel(step=i) for one in groups] for i in range(len(found.values))]
        return found

    def require_observed(self, observing: bool) -> None:
        """Refuse to go on with an observer from steps that it has not seen, or without one from steps that it has.

        Raises:
            ValueError: in words.
        """
        if self.values and observing != bool(self.observed):
            was, now = ("without", "with") if observing else ("with", "without")
            raise ValueError(
                f"the checkpoint is of a run {was} an observer, and it is to go on {now} one; "
                f"{'leave out observe=' if observing else 'give the same observe='}, or begin anew in an empty folder"
            )

    def _listed(self) -> dict[str, list[np.ndarray]]:
        return {"values": self.values, "fields": self.fields}


def joined(parts: Sequence[Part], trajectories: Sequence[Trajectory]) -> Trajectory:
    """One trajectory of all parts: seeds after seeds, then groups after groups."""
    whole = Trajectory()
    by_groups: dict[tuple[int, int], list[Trajectory]] = {}
    for part, trajectory in zip(parts, trajectories, strict=True):
        by_groups.setdefault(part.groups, []).append(trajectory)
    for step in range(len(trajectories[0].values)):
        for name, into in whole._listed().items():
            if getattr(trajectories[0], name):
                of_groups = [np.concatenate([getattr(t, name)[step] for t in ts], axis=1) for ts in by_groups.values()]
                into.append(np.concatenate(of_groups))
        if trajectories[0].observed:
            whole.observed.append(
                [
                    _over_seeds([t.observed[step][g] for t in ts])
                    for ts in by_groups.values()
                    for g in range(len(ts[0].observed[step]))
                ]
            )
    return whole


def side_by_side(datasets: Sequence[xr.Dataset], dim: str | xr.DataArray) -> xr.Dataset:
    """Datasets of the same variables along a dimension, and coordinates where they differ."""
    return xr.concat(
        datasets,
        dim=dim,
        data_vars="all",
        coords="different",
        compat="equals",
        join="exact",
        combine_attrs="drop_conflicts",
    )


def _over_seeds(datasets: list[xr.Dataset]) -> xr.Dataset:
    if len(datasets) == 1:
        return datasets[0]
    return side_by_side([dataset.drop_vars("seed", errors="ignore") for dataset in datasets], "seed")
