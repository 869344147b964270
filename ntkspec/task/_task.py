"""A task: known values on a regular lattice, with the points to learn from and the points to judge by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ntkspec.checks import check_that

__all__ = ["MIN_SIDE", "Task"]

MIN_SIDE = 8
"""Fewest points along an axis: with fewer, half of them say nothing about a spectrum."""

# Below this share of the largest value a span is rounding, not signal.
ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Task:
    """Values on a regular lattice of [0, 1)^d, point i at i / shape (endpoint excluded).

    Args:
        name: title of the task.
        values: shape (*shape,), or (*shape, channels) for colour; float64, finite.
        train_mask: shape (*shape,), True at the points to learn from.
        test_mask: shape (*shape,), True at the points to judge by; disjoint from `train_mask`.
        notices: what was changed on loading, one sentence each.
        source: where the values come from.
        units: unit of the values; "1" where they have none.

    Raises:
        ValueError: if the shapes disagree, a value is not finite, no point is left to train on, or a point is
            in both masks.

    Example:
        >>> values = np.array([0.0, 1.0, 0.0, -1.0])
        >>> even = np.array([True, False, True, False])
        >>> task = Task("wave", values, train_mask=even, test_mask=~even)
        >>> task.train_points.ravel(), task.train_values
        (array([0. , 0.5]), array([0., 0.]))
    """

    name: str
    values: np.ndarray
    train_mask: np.ndarray
    test_mask: np.ndarray
    notices: tuple[str, ...] = ()
    source: str = ""
    units: str = "1"

    def __post_init__(self) -> None:
        for field, dtype in (("values", np.float64), ("train_mask", np.bool_), ("test_mask", np.bool_)):
            array = np.array(getattr(self, field), dtype)
            array.setflags(write=False)
            object.__setattr__(self, field, array)
        object.__setattr__(self, "notices", tuple(self.notices))
        shape, values = self.shape, self.values
        faults = {
            f"train_mask has shape {shape} and test_mask {self.test_mask.shape}; give both the shape of the lattice.":
                self.test_mask.shape != shape,
            f"values have shape {values.shape}, the masks {shape}; expected the masks' shape, with at most one channel "
            "axis behind it.": values.shape[: self.dim] != shape or values.ndim > self.dim + 1,
            "values hold NaN or infinity; expected finite numbers.": not np.isfinite(values).all(),
            "train_mask keeps no point; set at least one to True.": not self.train_mask.any(),
            "some points are in both masks; judge by points that are not learnt from.":
                self.test_mask.shape == shape and (self.train_mask & self.test_mask).any(),
        }  # fmt: skip
        for fault, is_there in faults.items():
            check_that(not is_there, f"`Task`: {fault}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the lattice, without the channels."""
        return self.train_mask.shape

    @property
    def dim(self) -> int:
        """Number of coordinates, d."""
        return self.train_mask.ndim

    @property
    def channels(self) -> int | None:
        """Number of channels; None where the values have no channel axis."""
        return self.values.shape[-1] if self.values.ndim > self.dim else None

    @property
    def lattice_points(self) -> np.ndarray:
        """All lattice points, shape (prod(shape), d), row-major."""
        index = np.indices(self.shape).reshape(self.dim, -1).T
        return index / np.array(self.shape)

    @property
    def train_points(self) -> np.ndarray:
        """Points to learn from, shape (n, d), row-major."""
        return np.argwhere(self.train_mask) / np.array(self.shape)

    @property
    def test_points(self) -> np.ndarray:
        """Points to judge by, shape (k, d), row-major."""
        return np.argwhere(self.test_mask) / np.array(self.shape)

    def raised(self, by: float, notice: str) -> Task:
        """Raise all values, with a notice of that."""
        return replace(self, values=self.values + by, notices=(*self.notices, notice))

    @property
    def train_values(self) -> np.ndarray:
        """Values at `train_points`, shape (n,) or (n, channels)."""
        return self.values[self.train_mask]

    @property
    def test_values(self) -> np.ndarray:
        """Values at `test_points`, shape (k,) or (k, channels)."""
        return self.values[self.test_mask]


def existing_file(path: str | Path) -> Path:
    """Return the path of a file that can be opened, or refuse it; `~` is the home folder."""
    file = Path(path).expanduser()
    try:
        file.open("rb").close()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist; check the spelling and the folder.") from None
    except IsADirectoryError:
        raise ValueError(f"{path} is a folder; give one file in it.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{path} cannot be opened ({reason}); check its name and permissions.") from None
    return file


@contextmanager
def reading(path: Path, kind: str, remedy: str) -> Iterator[None]:
    """Say in one sentence what a reader raises of a file that is damaged or of another kind: anything at all."""
    try:
        yield
    except ImportError:
        raise
    except Exception as error:
        # What a reader's own variables are called tells nobody anything.
        reason = "no whole header" if isinstance(error, NameError) else str(error).strip() or type(error).__name__
        raise ValueError(f"{path.name} {kind} ({reason.splitlines()[0][:120].rstrip('.')}); {remedy}") from None


def check_varying(values: np.ndarray, label: str) -> None:
    """Refuse values that are not finite, or vary by no more than rounding; `label` is their name in the message."""
    wrong = np.count_nonzero(~np.isfinite(values))
    gaps = f"{label} holds NaN or infinity at {wrong} of {values.size} values"
    check_that(not wrong, f"{gaps}; expected finite numbers: fill or cut the gaps first.")
    low, high = float(values.min()), float(values.max())
    # Halved, because the difference of two finite numbers may overflow.
    varies = high / 2 - low / 2 > ROUNDING * max(abs(low), abs(high)) / 2
    constant = f"{label} is constant ({low:.6g} everywhere)"
    check_that(varies, f"{constant}, so there is nothing to learn; give one that varies.")
