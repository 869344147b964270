"""Images: bundled photographs, and files of any depth."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from ntkspec.checks import check_positive, check_sizes, check_that
from ntkspec.extras import needs
from ntkspec.task._decode import Decoded, decode
from ntkspec.task._piece import cut
from ntkspec.task._task import MIN_SIDE, Task, check_varying, existing_file

__all__ = ["PHOTOGRAPHS", "astronaut", "from_file", "photograph"]

PHOTOGRAPHS = (
    "astronaut",
    "brick",
    "camera",
    "chelsea",
    "coffee",
    "coins",
    "grass",
    "gravel",
    "moon",
    "page",
    "rocket",
    "text",
)
"""The pictures that come inside scikit-image; its others are downloaded on first use."""

# Shares of red, green and blue in the luminance of Rec. 709 (its companding ignored, as is usual for files).
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


def astronaut(size: int = 128, *, colour: bool = False) -> Task:
    """Return the portrait of astronaut Eileen Collins, the embedded default.

    Args:
        size: pixels a side, 8 to 512.
        colour: keep red, green and blue; otherwise their luminance.

    Returns:
        The task, shape (size, size), values in [0, 1].

    Raises:
        ValueError: if `size` is out of range.

    Source:
        NASA, public domain; bundled with scikit-image.

    Example:
        >>> task = astronaut(64)
        >>> task.shape, task.train_values.shape, task.test_values.shape
        ((64, 64), (1024,), (1024,))
    """
    return photograph("astronaut", size, colour=colour)


def photograph(name: str, size: int = 128, *, colour: bool = False) -> Task:
    """One of the pictures bundled with scikit-image, reduced by area means.

    Even pixels train ([::2, ::2]), pixels with both indices odd test ([1::2, 1::2]).

    Args:
        name: one of `PHOTOGRAPHS`.
        size: pixels on the longer side, from 8 to what the picture has.
        colour: keep red, green and blue where the picture has them; otherwise their luminance.

    Returns:
        The task, values in [0, 1].

    Raises:
        ValueError: if the name is unknown, or `size` is out of range.
    """
    check_that(name in PHOTOGRAPHS, f"no bundled picture is called {name!r}; take one of {', '.join(PHOTOGRAPHS)}.")
    check_sizes(MIN_SIDE, size=size)
    with needs("app", "skimage"):
        from skimage import data

    values = getattr(data, name)()
    longest = max(values.shape[:2])
    check_that(size <= longest, f"size = {size} is more than the {longest} pixels of {name!r}; give at most that.")
    notices: tuple[str, ...] = ()
    if values.ndim == 3 and not colour:
        values = values @ LUMINANCE
        notices = ("Colour converted to luminance (Rec. 709).",)
    return _task(name, Decoded(values, 0, 255, notices), size, source=f"scikit-image, data.{name}()")


def from_file(path: str | Path, *, max_size: int = 128, white: float | None = None) -> Task:
    """Load an image: TIFFs of any depth, portable maps, Radiance, and what Pillow reads.

    Unsigned integers are divided by the largest of their depth; signed ones, and floats beyond [0, 1], are mapped from
    their own range. Grey stays grey and colour stays colour. Transparency is dropped, the first frame of several is
    taken, an orientation is applied, a larger image is reduced by area means with its aspect ratio kept; each
    leaves a notice. A strip whose short side would fall below 8 pixels keeps more, up to max_size² pixels in all; what
    is longer still is cut to where it has most detail. Even pixels train ([::2, ::2]), pixels with both indices odd
    test ([1::2, 1::2]).

    Args:
        path: the file.
        max_size: longest side kept, in pixels; at least 8.
        white: stored number that means 1, with 0 for 0; None takes the file's own.

    Returns:
        The task, values in [0, 1].

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no image or of a kind that is not read, is damaged, too small, constant, or too large to
            open safely.
    """
    if white is not None:
        check_positive("white", white, "such as 4095 for 12 bits")
    check_sizes(MIN_SIDE, max_size=max_size)
    found = existing_file(path)
    decoded = decode(found, white)
    height, width = decoded.values.shape[:2]
    is_large = min(height, width) >= MIN_SIDE
    check_that(is_large, f"{found.name} has {width} × {height} pixels; expected at least {MIN_SIDE} a side.")
    check_varying(decoded.values, found.name)
    return _task(found.stem, decoded, max_size, source=found.name)


def _task(name: str, decoded: Decoded, size: int, source: str) -> Task:
    """Reduce to `size` on the longer side, scale to [0, 1], split into training and test pixels."""
    values, notices = decoded.values, decoded.notices
    height, width = values.shape[:2]
    longest = max(height, width)
    if longest > size:
        new_height, new_width = _reduced(height, width, size)
        with needs("app", "skimage"):
            from skimage.transform import resize_local_mean

        # In float64, since it computes floats in their own precision.
        axis = None if values.ndim == 2 else -1
        if (new_height, new_width) != (height, width):
            values = resize_local_mean(values.astype(np.float64), (new_height, new_width), channel_axis=axis)
            notices += (f"Reduced from {width} × {height} to {new_width} × {new_height} pixels (area means).",)
            check_varying(values, f"{source}, reduced to {new_width} × {new_height} pixels,")
    # Halves, because the span of two finite numbers may overflow.
    span = decoded.white / 2 - decoded.black / 2
    values = (values / 2 - decoded.black / 2) / span
    train = np.zeros(values.shape[:2], bool)
    train[::2, ::2] = True
    test = np.zeros_like(train)
    test[1::2, 1::2] = True
    # Clipped, because a mean of numbers in [0, 1] may leave it by one rounding.
    task = Task(name, np.clip(values, 0, 1), train, test, notices=notices, source=source)
    # A strip that is too long even at MIN_SIDE.
    return task if math.prod(task.shape) <= size**2 else replace(cut(task, size**2)[0], name=name)


def _reduced(height: int, width: int, size: int) -> tuple[int, int]:
    """Sides of a picture that is larger than `size`: in proportion, the longer one `size`.

    A strip whose short side would fall below MIN_SIDE is reduced to size² pixels instead, or as far as MIN_SIDE.
    """
    short, longest = min(height, width), max(height, width)
    share = size / longest
    if round(short * share) < MIN_SIDE:
        # Of floors, so that no more than size² pixels are left.
        share = min(1.0, max(size / math.sqrt(short * longest), MIN_SIDE / short))
        return tuple(max(MIN_SIDE, math.floor(side * share + 1e-9)) for side in (height, width))  # type: ignore[return-value]
    return tuple(round(side * share) for side in (height, width))  # type: ignore[return-value]
