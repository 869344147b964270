"""An image file as an array: every mode and depth that Pillow reads, with what was changed told."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ntkspec.extras import needs

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Decoded", "decode"]

EXIF_ORIENTATION = 0x0112
ALPHA_MODES = {"LA", "La", "PA", "RGBA", "RGBa"}


class Decoded(NamedTuple):
    """Pixels as stored, and what they mean.

    Args:
        values: shape (height, width) or (height, width, 3), any real dtype.
        black: the stored number that stands for 0.
        white: the stored number that stands for 1.
        notices: what was changed, one sentence each.
    """

    values: np.ndarray
    black: float
    white: float
    notices: tuple[str, ...]


def decode(path: Path) -> Decoded:
    """Read the first frame of an image file, upright, without transparency, grey or red-green-blue.

    Args:
        path: an existing file.

    Returns:
        The pixels; not yet scaled, so that a large photograph stays at a byte a value.

    Raises:
        ValueError: if it is no image, is damaged, or is too large to open safely.
    """
    image, rawmode, notices = _open(path)
    if image.mode in ALPHA_MODES or image.has_transparency_data:
        notices.append("Alpha channel (transparency) dropped.")
    if re.fullmatch(r"(LA|RGB[AX]?|CMYK);16[BLN]", rawmode):
        notices.append("Reduced from 16 to 8 bits a channel, which is what Pillow reads of such a file.")
    if image.mode[0] in "IF":
        return _scalar(image, notices)
    values = _channels(image, notices)
    # Grey may be stored behind a palette, and Pillow reads 16-bit grey with alpha as colour.
    was_grey = image.mode in {"P", "PA"} or rawmode.startswith("LA")
    if was_grey and values.ndim == 3 and (values == values[..., :1]).all():
        values = values[..., 0]
    return Decoded(values, 0, 1 if values.dtype == bool else 255, tuple(notices))


def _open(path: Path) -> tuple[Image, str, list[str]]:
    """Return the first frame, upright; how the file stores it, in Pillow's words; notices."""
    with needs("app", "PIL"):
        from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                frames = getattr(opened, "n_frames", 1)
                opened.seek(0)
                rawmode = _rawmode(opened)
                opened.load()
                orientation = opened.getexif().get(EXIF_ORIENTATION, 1)
                image = ImageOps.exif_transpose(opened)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"{path.name} is too large to open safely: {error} Reduce it first.") from None
    except UnidentifiedImageError:
        raise ValueError(
            f"{path.name} is not an image; "
            "give a PNG, JPEG, TIFF or another image that Pillow reads, or a 1-D signal as .npy or .wav."
        ) from None
    # A decoder raises whatever a damaged file makes it meet: OSError, SyntaxError, struct.error, ...
    except Exception as error:
        raise ValueError(f"{path.name} is damaged or incomplete ({error}); copy or export it again.") from None
    notices = [f"Pillow warned: {warning.message}" for warning in caught]
    if frames > 1:
        notices.append(f"The first of {frames} frames was taken.")
    if orientation in range(2, 9):
        notices.append("Turned upright as its EXIF orientation says.")
    return image, rawmode, notices


def _rawmode(image: Image) -> str:
    # Some plugins (WebP, AVIF) decode on opening and leave no tile.
    args = getattr(image, "tile", None) and image.tile[0].args  # type: ignore[attr-defined]
    return str(args[0]) if isinstance(args, tuple) and args else str(args)


def _scalar(image: Image, notices: list[str]) -> Decoded:
    """One number a pixel, of 16 or 32 bits."""
    values = np.asarray(image)
    if image.mode.startswith("I;16"):
        return Decoded(values, 0, 65535, tuple(notices))
    low, high = float(values.min()), float(values.max())
    if image.mode == "F" and low >= 0 and high <= 1:
        return Decoded(values, 0, 1, tuple(notices))
    notices.append(f"Values mapped from [{low:.6g}, {high:.6g}] to [0, 1].")
    return Decoded(values, low, high, tuple(notices))


def _channels(image: Image, notices: list[str]) -> np.ndarray:
    """Grey, one bit or a byte a pixel, or three bytes of colour; transparency cut off."""
    if image.mode in {"1", "L"}:
        return np.asarray(image)
    if image.mode in {"LA", "La"}:
        return np.asarray(image.convert("LA"))[..., 0]
    if image.mode in {"P", "PA", "RGBA", "RGBa", "RGBX"}:
        # By way of RGBA, because Pillow warns of a palette whose transparency it would lose.
        return np.asarray(image.convert("RGBA"))[..., :3]
    if image.mode != "RGB":
        notices.append(f"{image.mode} converted to RGB.")
    return np.asarray(image.convert("RGB"))
