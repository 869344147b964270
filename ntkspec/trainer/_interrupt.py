"""Ctrl-C while checkpoints are kept: the run ends its stretch of steps, is saved, and stops then."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

__all__ = ["Interruption", "postponed"]


@dataclass
class Interruption:
    """Whether a person has asked to stop."""

    asked: bool = False

    def obey(self, saved: str) -> None:
        """Stop, if that was asked for; `saved` says where to go on.

        Raises:
            KeyboardInterrupt: with that.
        """
        if self.asked:
            raise KeyboardInterrupt(saved)


@contextmanager
def postponed(wanted: bool) -> Iterator[Interruption]:
    """Note the first Ctrl-C instead of raising it; the second raises at once, as ever.

    Where somebody else handles the signal, or in a thread that cannot, all stays as it is.
    """
    found = Interruption()
    before = signal.getsignal(signal.SIGINT)
    main = threading.current_thread() is threading.main_thread()
    if not (wanted and main and before is signal.default_int_handler):
        yield found
        return

    def note(_number: int, _frame: Any) -> None:
        signal.signal(signal.SIGINT, before)
        found.asked = True

    signal.signal(signal.SIGINT, note)
    try:
        yield found
    finally:
        signal.signal(signal.SIGINT, before)
    found.obey("saved at its end")
