"""An image file as an array of its values, with a notice for everything that was changed."""

from __future__ import annotations

import re
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from ntkspec.extras import needs
from ntkspec.task._formats import READERS, ByPillow, Pixels, Unread, inverted, refuse_bomb

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Decoded", "decode"]

EXIF_ORIENTATION = 0x0112
ALPHA_MODES = {"LA", "La", "PA", "RGBA", "RGBa"}

NOT_READ = (
    (rb"%PDF|%!PS|\xc5\xd0\xd3\xc6", "a PDF or PostScript document", "a PNG"),
    (rb"(?s)\s*(<\?xml|<!--|<!DOCTYPE svg|<svg)", "a drawing or text in XML, such as SVG", "a PNG"),
    (rb"v/1\x01", "an OpenEXR picture", "a float TIFF"),
    (rb"PF\s", "a portable float map in colour", "a float TIFF"),
    (rb"(?s)....ftypcrx|FUJIFILMCCD-RAW|II\x1a\0\0\0HEAPCCDR|\0MRM", "the raw file of a camera", "a 16-bit TIFF"),
    (rb"(?s)....ftyp(hei|hev|mif1|msf1|avi)", "a HEIF or AVIF picture", "a PNG or a JPEG"),
    (rb"(?s)....ftyp|\x1aE\xdf\xa3|RIFF....AVI ", "a film", "a PNG of one frame"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "a JPEG XL picture", "a PNG"),
    (rb"II\xbc", "a JPEG XR picture", "a PNG"),
    (rb"(?s).{128}DICM", "a DICOM file", "a 16-bit TIFF or PNG of one slice"),
    (rb"SIMPLE  =", "a FITS file", "a float TIFF"),
    (rb"(?s).{344}n[i+]1\0", "a NIfTI volume", "a float TIFF of one slice"),
    (rb"\x89HDF|CDF[\1\2]|MATLAB|GRIB|BUFR", "a file of scientific arrays", "a float TIFF, or a signal as .npy"),
    (rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf|BZh|\xfd7zXZ", "an archive", "the one picture in it"),
)
"""First bytes, kind and remedy of files that hold pictures and are not read."""

NOT_AN_IMAGE = (
    "is not an image; give a PNG, JPEG, TIFF or another image that Pillow reads, or a 1-D signal as .npy or .wav."
)


class Decoded(NamedTuple):
    """Pixels as stored, and what they mean.

    Args:
        values: shape (height, width) or (height, width, 3), any real dtype.
        black: stored number that means 0.
        white: stored number that means 1.
        notices: what was changed, one sentence each.
    """

    values: np.ndarray
    black: float
    white: float
    notices: tuple[str, ...]


def decode(path: Path, white: float | None = None) -> Decoded:
    """Read the first frame of an image file, upright, without transparency, grey or red-green-blue.

    It is not yet scaled, so that a large photograph stays at a byte a value. `white` is the stored number that means 1;
    None takes the file's own.
    """
    try:
        with path.open("rb") as file:
            start = file.read(512)
            file.seek(0)
            values, level, notices, orientation = _pixels(file, start)
    except ImportError:
        raise
    # A decoder raises whatever a damaged file makes it meet: OSError, SyntaxError, struct.error, ...
    except Exception as error:
        damaged = f"is damaged or incomplete ({error}); copy or export it again."
        raise ValueError(f"{path.name} {error if isinstance(error, Unread) else damaged}") from None
    if orientation in range(2, 9):
        values = _upright(values, orientation)
    black, level, said = _range(values, level, white)
    return Decoded(values, black, level, notices + said)


def _upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """Turn rows and columns as EXIF numbers orientations."""
    if orientation >= 5:
        values = values.swapaxes(0, 1)
    flip_rows, flip_columns = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    return values[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]


def _range(values: np.ndarray, level: float | None, white: float | None) -> tuple[float, float, tuple[str, ...]]:
    """Return the stored numbers of black and white, and what to say of them."""
    low, high = (float(end) for end in (values.min(), values.max()))
    if white is not None:
        above = np.count_nonzero(values > white) / values.size
        clipped = f"; {above:.1%} of the values are above it and cut off" if above else ""
        return 0, white, (f"White set to {white:g}{clipped}.",)
    if level is None:
        if values.dtype.kind == "f" and low >= 0 and high <= 1:
            return 0, 1, ()
        return low, high, (f"Values mapped from [{low:.6g}, {high:.6g}] to [0, 1].",)
    if (high - low) * 4 >= level or high == low:
        return 0, level, ()
    # The camera's depth, if its samples were stored in a larger one.
    depth = 2.0 ** np.ceil(np.log2(high + 1)) - 1
    remedy = f"set white={depth:.0f} (--white {depth:.0f})" if depth < level else "subtract its offset first"
    used = f"Values span {low:.0f} to {high:.0f}, {(high - low) / level:.0%} of the file's range of 0 to {level:.0f}"
    return 0, level, (f"{used}, which is the peak of every PSNR; if that is not meant, {remedy}.",)


def _pixels(file: BinaryIO, start: bytes) -> Pixels:
    with suppress(ByPillow):
        for pattern, read in READERS:
            if re.match(pattern, start):
                pixels = read(file)
                turned = ("Turned upright, as its orientation tag says.",) if pixels.orientation in range(2, 9) else ()
                return pixels._replace(notices=pixels.notices + turned)
    file.seek(0)
    return _by_pillow(file, start)


def _by_pillow(file: BinaryIO, start: bytes) -> Pixels:
    image, rawmode, orientation, notices = _open(file, start)
    if image.mode in ALPHA_MODES or image.has_transparency_data:
        notices.append("Alpha channel (transparency) dropped.")
    if re.fullmatch(r"(LA|RGB[AX]?|CMYK);16[BLN]", rawmode):
        notices.append("Reduced from 16 to 8 bits a channel, which is what Pillow reads of such a file.")
    if image.mode[0] in "IF":
        values, is_short = np.asarray(image), image.mode.startswith("I;16")
        # Of a TIFF whose white is zero Pillow inverts bytes only.
        if getattr(image, "tag_v2", {}).get(262) == 0:
            values = inverted(values)
        return Pixels(values, 65535 if is_short else None, tuple(notices), orientation)
    values = _channels(image, notices)
    # Grey may be stored behind a palette, and Pillow reads 16-bit grey with alpha as colour.
    was_grey = image.mode in {"P", "PA"} or rawmode.startswith("LA")
    if was_grey and values.ndim == 3 and (values == values[..., :1]).all():
        values = values[..., 0]
    return Pixels(values, 1 if values.dtype == bool else 255, tuple(notices), orientation)


def _open(file: BinaryIO, start: bytes) -> tuple[Image, str, int, list[str]]:
    """Return the first frame; how the file stores it, in Pillow's words; how it is still turned; notices."""
    with needs("app", "PIL"):
        from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            # From a handle: of a path, Pillow maps a turned TIFF with its sides exchanged.
            image: Any = Image.open(file)
            refuse_bomb(*image.size)
            frames = getattr(image, "n_frames", 1)
            image.seek(0)
            rawmode = _rawmode(image)
            # Some plugins turn the image as they load it, and then clear its tag.
            stored = image.getexif().get(EXIF_ORIENTATION, 1)
            image.load()
            orientation = image.getexif().get(EXIF_ORIENTATION, 1)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Unread(f"is too large to open safely: {error} Reduce it first.") from None
    except (UnidentifiedImageError, OSError) as error:
        named = [(kind, remedy) for pattern, kind, remedy in NOT_READ if re.match(pattern, start)]
        if not named and not isinstance(error, UnidentifiedImageError):
            raise
        (kind, remedy), *_ = named or [("", "")]
        fault = f"is {kind}, which is not read; convert it to {remedy}." if kind else NOT_AN_IMAGE
        raise Unread(fault) from None
    notices = [f"Pillow warned: {warning.message}" for warning in caught]
    if frames > 1:
        notices.append(f"The first of {frames} frames was taken.")
    if stored in range(2, 9):
        notices.append("Turned upright, as its orientation tag says.")
    return image, rawmode, orientation, notices


def _rawmode(image: Image) -> str:
    # Some plugins (WebP, AVIF) decode on opening and leave no tile.
    args = getattr(image, "tile", None) and image.tile[0].args  # type: ignore[attr-defined]
    return str(args[0]) if isinstance(args, tuple) and args else str(args)


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
