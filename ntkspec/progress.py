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

from numbers import Number
from types import TracebackType
from typing import Any, Protocol, Self

from ntkspec.extras import needs

__all__ = ["NO_PROGRESS", "NoProgress", "Progress", "Stage", "TerminalProgress"]


class Stage(Protocol):
    """One piece of work under way; leaving its `with` block ends it."""

    def advance(self, n: int = 1, **fields: Any) -> None:
        """Report that `n` more units are done.

        Args:
            n: how many.
            **fields: numbers to show beside the rate, such as `loss`.
        """

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class Progress(Protocol):
    """Anything that can be told how far some work has come."""

    def start(self, description: str, total: int | None = None, unit: str = "it") -> Stage:
        """Begin a piece of work.

        Args:
            description: what is done, a word or two.
            total: how many units there are; None if unknown.
            unit: what is counted.

        Returns:
            The stage, to be used in a `with` statement.
        """


class NoProgress:
    """Reports nothing: a `Progress` and its own `Stage`."""

    def start(self, description: str, total: int | None = None, unit: str = "it") -> Self:
        """Begin a piece of work nobody watches."""
        return self

    def advance(self, n: int = 1, **fields: Any) -> None:
        """Report nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None


NO_PROGRESS = NoProgress()
"""The default reporter of everything that takes one."""


class TerminalProgress:
    """Bars with rate and time left, on standard error in a terminal, or as widgets in Jupyter.

    Args:
        disable: None draws only where a person can see it; True never draws, False always does.
    """

    def __init__(self, disable: bool | None = None) -> None:
        self.disable = disable

    def start(self, description: str, total: int | None = None, unit: str = "it") -> TerminalStage:
        """Draw a bar.

        Args:
            description: shown in front of the bar.
            total: its length; None draws a counter.
            unit: shown with the rate.

        Returns:
            The stage that moves it.
        """
        return TerminalStage(description, total, unit, self.disable)


class TerminalStage:
    """One bar."""

    def __init__(self, description: str, total: int | None, unit: str, disable: bool | None) -> None:
        import shutil
        import sys

        with needs("app", "tqdm"):
            from tqdm.auto import tqdm

        # A terminal may say that it has no columns or no rows at all; without a row tqdm draws blanks.
        size = shutil.get_terminal_size()
        self.bar = tqdm(
            desc=description,
            total=total,
            # tqdm sets the rate right before the unit.
            unit=f" {unit}",
            disable=disable,
            ncols=size.columns or 100,
            nrows=size.lines or 24,
            file=sys.stderr,
        )

    def advance(self, n: int = 1, **fields: Any) -> None:
        """Move the bar by `n` and show the fields behind it."""
        if self.bar.disable:
            return
        if fields:
            self.bar.set_postfix({key: _shown(value) for key, value in fields.items()}, refresh=False)
        self.bar.update(n)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Drawn once more, so that the last fields are the ones left standing.
        if not self.bar.disable:
            self.bar.refresh()
        self.bar.close()


def _shown(value: Any) -> Any:
    """Numbers that are arrays (a JAX loss) as plain numbers, which tqdm rounds; the rest as it is."""
    return float(value) if hasattr(value, "__float__") and not isinstance(value, Number) else value
