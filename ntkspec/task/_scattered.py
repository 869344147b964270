"""A task on scattered points: values at coordinates of any unit, with the points to learn from and to judge by."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

__all__ = ["Affine", "Scattered"]


@dataclass(frozen=True)
class Affine:
    """A column in its own unit and as it is learned: own = offset + length · ours.

    Attributes:
        name: of the column.
        offset: own value of our 0.
        length: own value of our 1, less the offset.
    """

    name: str
    offset: float
    length: float


@dataclass(frozen=True, eq=False)
class Scattered:
    """Values at scattered points, whose coordinates are rescaled to [0, 1)^d and whose values to [−½, ½].

    A frequency of f cycles per unit along axis i is f / inputs[i].length cycles per unit of that column.

    Args:
        name: title of the task.
        train_points: shape (n, d), points to learn from.
        train_values: shape (n,) or (n, channels).
        test_points: shape (k, d), points to judge by; none of them are learned from.
        test_values: shape (k,) or (k, channels).
        inputs: columns that the coordinates come from, one for each axis.
        outputs: columns that the values come from, one for each channel.
        notices: what was changed on loading, one sentence each.
        source: where the values come from.
    """

    name: str
    train_points: np.ndarray
    train_values: np.ndarray
    test_points: np.ndarray
    test_values: np.ndarray
    inputs: tuple[Affine, ...]
    outputs: tuple[Affine, ...]
    notices: tuple[str, ...] = ()
    source: str = ""

    @property
    def shape(self) -> None:
        """Shape of a lattice: there is none."""
        return

    @property
    def dim(self) -> int:
        """Number of coordinates, d."""
        return int(self.train_points.shape[1])

    @property
    def channels(self) -> int | None:
        """Number of channels; None where the values have no channel axis."""
        return None if self.train_values.ndim == 1 else int(self.train_values.shape[1])

    def raised(self, by: float, notice: str) -> Scattered:
        """Raise all values, with a notice of that."""
        return replace(
            self,
            train_values=self.train_values + by,
            test_values=self.test_values + by,
            outputs=tuple(replace(one, offset=one.offset - by * one.length) for one in self.outputs),
            notices=(*self.notices, notice),
        )

    def per_own_unit(self, frequency: float) -> dict[str, float]:
        """State a frequency in cycles per unit of each coordinate column.

        Args:
            frequency: cycles per unit of the rescaled coordinates.

        Returns:
            The same frequency along each axis, by the column's name.
        """
        return {axis.name: frequency / axis.length for axis in self.inputs}
