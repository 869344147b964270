"""Progress of work that can outlast a second: numerics report to an object, and only that object may draw.

>>> def work(progress: Progress = NO_PROGRESS) -> int:
...     with progress.start("training", total=3, unit="step") as stage:
...         for step in range(3):
...             stage.advance(loss=1 / (step + 1))
...     return step
>>> work()
2
"""

from __future__ import annotations

import shutil
import sys
from numbers import Number
from typing import Any, Protocol, Self, runtime_checkable

from ntkspec.extras import needs

__all__ = ["NO_PROGRESS", "NoProgress", "Progress", "Stage", "TerminalProgress"]


@runtime_checkable
class Stage(Protocol):
    """One piece of work under way; leaving its `with` block ends it."""

    def advance(self, n: int = 1, **fields: Any) -> None:
        """Report that `n` more units are done.

        Args:
            n: number of units.
            **fields: numbers to show beside the rate, such as `loss`.
        """

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: Any) -> None: ...


@runtime_checkable
class Progress(Protocol):
    """Anything that can be told how far some work has come."""

    def start(self, description: str, total: int | None = None, unit: str = "it") -> Stage:
        """Begin a piece of work.

        Args:
            description: name of the work, a word or two.
            total: number of units; None if unknown.
            unit: name of a unit.

        Returns:
            The stage, to be used in a `with` statement.
        """


class NoProgress:
    """Report nothing: a `Progress` and its own `Stage`."""

    def start(self, description: str, total: int | None = None, unit: str = "it") -> Self:
        """Begin a piece of work that is not shown."""
        del description, total, unit
        return self

    def advance(self, n: int = 1, **fields: Any) -> None:
        """Report nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None: ...


NO_PROGRESS = NoProgress()
"""The default reporter of everything that takes one."""


class TerminalProgress:
    """Bars of tqdm with rate and time left, on standard error in a terminal, or as widgets in Jupyter.

    Args:
        disable: None draws only in a terminal or in Jupyter; True never draws, False always does.
    """

    def __init__(self, disable: bool | None = None) -> None:
        self.disable = disable

    def start(self, description: str, total: int | None = None, unit: str = "it") -> Stage:
        """Draw a bar, or a counter where the total is unknown; see `Progress.start`."""
        with needs("app", "tqdm"):
            from tqdm.auto import tqdm

        class Bar(tqdm):
            def advance(self, n: int = 1, **fields: Any) -> None:
                # A field of a hidden bar is not read: it may be a JAX array that is still being computed.
                if self.disable:
                    return
                if fields:
                    plain = {name: _plain(value) for name, value in fields.items()}
                    self.set_postfix(plain, refresh=False)
                self.update(n)

            def close(self) -> None:
                # Drawn once more, with the last fields.
                if not self.disable:
                    self.refresh()
                super().close()

        # A terminal may say that it has no columns or no rows at all; without a row tqdm draws blanks.
        size = shutil.get_terminal_size()
        # tqdm sets the rate right before the unit.
        shape = {"unit": f" {unit}", "ncols": size.columns or 100, "nrows": size.lines or 24}
        return Bar(desc=description, total=total, disable=self.disable, file=sys.stderr, **shape)


def _plain(value: Any) -> Any:
    """Return an array of one number (a JAX loss) as a number, which tqdm rounds."""
    return float(value) if hasattr(value, "__float__") and not isinstance(value, Number) else value
