"""One door for whatever a person names: nothing, a signal file or an image file."""

from __future__ import annotations

from pathlib import Path

from ntkspec.task import image, signal
from ntkspec.task._task import Task, existing_file

__all__ = ["load"]

SIGNAL_SUFFIXES = (".npy", ".wav")


def load(
    path: str | Path | None = None, *, max_size: int = 128, max_length: int = 2048, white: float | None = None
) -> Task:
    """Load the task a person named: a signal from `.npy` or `.wav`, an image from anything else.

    A file counts as a signal by its suffix or by its first bytes, so a `.wav` under another name is one too.

    Args:
        path: the file; None takes the astronaut, which needs no file.
        max_size: longest side of an image, in pixels.
        max_length: longest signal, in samples.
        white: stored number that is white in an image file; None takes the file's own.

    Returns:
        The task, with a notice for everything that was changed.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is neither, or holds nothing that can be learnt.

    Example:
        >>> load(max_size=64).shape
        (64, 64)
    """
    if white is not None and (path is None or is_signal(path)):
        raise ValueError("white is the level of white of an image file; leave it out for other signals.")
    if path is None:
        return image.astronaut(size=max_size)
    if is_signal(path):
        return signal.from_file(path, max_length=max_length)
    return image.from_file(path, max_size=max_size, white=white)


def is_signal(path: str | Path) -> bool:
    """Whether a file is a 1-D signal, by its suffix or its first bytes.

    Args:
        path: an existing file.

    Returns:
        True for `.npy` and `.wav`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be opened.
    """
    found = existing_file(path)
    with found.open("rb") as file:
        start = file.read(12)
    is_wave = start[:4] in (b"RIFF", b"RIFX", b"RF64") and start[8:] == b"WAVE"
    return found.suffix.lower() in SIGNAL_SUFFIXES or start.startswith(b"\x93NUMPY") or is_wave
