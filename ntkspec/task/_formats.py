"""Readers of the formats that Pillow reads not to the value: TIFF, the portable maps and Radiance."""

from __future__ import annotations

import re
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ntkspec.extras import needs

__all__ = ["READERS", "ByPillow", "Pixels", "Unread", "inverted", "refuse_bomb"]

ORIENTATION = 274


class Pixels(NamedTuple):
    """Samples of one picture, as they are stored.

    Args:
        values: shape (height, width) or (height, width, 3), any real dtype.
        white: stored number that means 1, if 0 means 0; None where the format says none (floats, signed integers).
        notices: what was left out, one sentence each.
        orientation: how to turn the values, 1 to 8 as in EXIF.
    """

    values: np.ndarray
    white: float | None
    notices: tuple[str, ...] = ()
    orientation: int = 1


class Unread(ValueError):
    """A kind of file that is not read; the message goes on after the name of the file."""


class ByPillow(Exception):
    """A TIFF that Pillow reads to the value; it raises what it does not."""


def refuse_bomb(width: int, height: int) -> None:
    """Refuse a picture that would fill the memory, before it is decoded."""
    from PIL import Image

    most = Image.MAX_IMAGE_PIXELS
    if most is not None and width * height > most:
        size = f"Image size {width} × {height} exceeds limit of {most} pixels"
        raise Unread(f"is too large to open safely: {size}. Reduce it first.")


def tiff(file: BinaryIO) -> Pixels:
    """Read grey or colour of any depth from the first page of a TIFF, inverted where white is stored as zero.

    What Pillow reads to the value is left to it: palettes, other colour spaces, other compressions of bytes.

    Source: TIFF 6.0, Adobe 1992: sections 8 (baseline fields) and 19 (sample format).
    """
    with needs("app", "tifffile"):
        import tifffile

    with tifffile.TiffFile(file) as container:
        page: Any = container.pages[0]
        refuse_bomb(page.imagewidth, page.imagelength)
        photometric, bits, kind = int(page.photometric), page.bitspersample, int(page.sampleformat)
        readable = int(page.compression) in (1, 8, 32946, 32773) and page.predictor in (1, 2)
        is_plain = photometric in (0, 1, 2) and readable
        fault = ""
        if photometric in (32803, 34892) or 50706 in page.tags:
            fault = "is the raw file of a camera, which is not read; develop it to a 16-bit TIFF or a PNG."
        elif kind not in (1, 2, 3) or page.imagedepth > 1 or not isinstance(bits, int):
            fault = "is a TIFF of complex numbers, mixed depths or a volume; save one real plane of it."
        elif not is_plain:
            if kind == 1 and bits <= 8:
                raise ByPillow
            if (kind, bits) in ((1, 16), (2, 32), (3, 32)) and page.samplesperpixel == 1:
                raise ByPillow
            fault = (
                f"is a TIFF of {bits}-bit samples with {page.photometric.name} colour and {page.compression.name} "
                "compression, which are not read together; save it uncompressed, or with Deflate, as grey or RGB."
            )
        elif _is_packed(page) and (page.is_tiled or page.predictor != 1 or page.shaped[0] > 1):
            fault = f"packs {bits} bits a sample in tiles, planes or differences; save it with 16 bits a sample."
        if fault:
            raise Unread(fault)
        values = _samples(container, page)
        frames, orientation = len(container.pages), page.tags.valueof(ORIENTATION, 1)
    notices: tuple[str, ...] = (f"The first of {frames} frames was taken.",) if frames > 1 else ()
    channels = 3 if photometric == 2 else 1
    if values.shape[2] > channels:
        notices += ("Alpha channel (transparency) dropped.",)
    values = values[..., 0] if channels == 1 else values[..., :3]
    white = 2.0**bits - 1 if kind == 1 else None
    if photometric == 0:
        values = inverted(values, white)
    return Pixels(values, white, notices, orientation)


def inverted(values: np.ndarray, white: float | None = None) -> np.ndarray:
    """Return samples stored with zero as white: v in [0, white] or [0, 1] mirrored, signed integers onto themselves."""
    if values.dtype.kind == "f":
        return 1 - values
    if values.dtype.kind == "i":
        return -1 - values
    return values.dtype.type(np.iinfo(values.dtype).max if white is None else white) - values


def _is_packed(page: Any) -> bool:
    # tifffile unpacks these depths by a package of codecs that is not installed with it.
    return page.bitspersample not in (1, 8, 16, 32, 64) and page.sampleformat != 3


def _samples(container: Any, page: Any) -> np.ndarray:
    """Return samples as (height, width, samples)."""
    bits = page.bitspersample
    if not _is_packed(page):
        planes, _, height, width, contiguous = page.shaped
        values = page.asarray(squeeze=False).reshape(planes, height, width, contiguous)
        values = values.astype(np.uint8) if bits == 1 else values
        return np.moveaxis(values, 0, -1).reshape(height, width, planes * contiguous)
    import tifffile

    decompress = tifffile.TIFF.DECOMPRESSORS[page.compression]
    row = page.imagewidth * page.samplesperpixel
    strips = []
    for data, _ in container.filehandle.read_segments(page.dataoffsets, page.databytecounts):
        stored = data if decompress is None else decompress(data)
        strips.append(unpacked(stored, bits, row, "little" if page.fillorder == 2 else "big"))
    values = np.concatenate(strips)[: page.imagelength]
    if page.sampleformat == 2:
        values = (values.astype(np.int32) ^ (1 << bits - 1)) - (1 << bits - 1)
    return values.reshape(page.imagelength, page.imagewidth, page.samplesperpixel)


def unpacked(data: bytes, bits: int, row: int, order: Any = "big") -> np.ndarray:
    """Integers of up to 31 bits packed without gaps, each row of so many from a whole byte on: uint32, (rows, row).

    Example:
        >>> unpacked(bytes([0x12, 0x3A, 0xBC]), 12, 2)
        array([[ 291, 2748]], dtype=uint32)
    """
    size = -(-row * bits // 8)
    stored = np.frombuffer(data, np.uint8, len(data) // size * size).reshape(-1, size)
    digits = np.unpackbits(stored, axis=1, bitorder=order)[:, : row * bits].reshape(-1, row, bits)
    values = np.zeros(digits.shape[:2], np.uint32)
    for i in range(bits):
        values = values << 1 | digits[..., i]
    return values


def netpbm(file: BinaryIO) -> Pixels:
    """Read a portable grey or colour map, binary or as text, as shares of its maxval.

    Source: netpbm.sourceforge.net/doc, pgm.html and ppm.html.
    """
    gap = rb"(?:\s|#[^\n]*\n)+"
    start = file.read(4096)
    header = re.match(rb"P([2356])" + 3 * (gap + rb"(\d+)") + rb"\s", start)
    if header is None:
        raise ValueError("its header has no width, height and maxval")
    kind, width, height, maxval = (int(number) for number in header.groups())
    refuse_bomb(width, height)
    shape = (height, width) if kind in (2, 5) else (height, width, 3)
    data, count = start[header.end() :] + file.read(), int(np.prod(shape))
    if kind in (2, 3):
        values = np.array(re.sub(rb"#[^\n]*", b"", data).split()[:count], np.int64)
    else:
        values = np.frombuffer(data, ">u2" if maxval > 255 else np.uint8, count)
    if values.size < count or not 0 < maxval < 65536 or values.max() > maxval:
        raise ValueError(f"it does not hold {count} values up to {maxval}")
    return Pixels(values.reshape(shape), maxval)


def radiance(file: BinaryIO) -> Pixels:
    """Read a Radiance picture: v = m 2^(e − 136) from bytes of three mantissas m and one exponent e.

    Source: Ward, "Real Pixels", Graphics Gems II (1991), and Radiance's color.c for the run-length code.
    """
    lines = iter(lambda: file.readline(4096).strip(), b"")
    sizes = b"FORMAT=32-bit_rle_rgbe" in list(lines) and re.fullmatch(rb"-Y (\d+) \+X (\d+)\s*", file.readline(4096))
    if not sizes:
        raise Unread("is a Radiance picture in XYZ or turned, which is not read; save it as RGBE, or as a float TIFF.")
    height, width = (int(number) for number in sizes.groups())
    refuse_bomb(width, height)
    data, at = file.read(), 0
    values = np.empty((height, width, 4), np.uint8)
    for row in values:
        if data[at : at + 4] != bytes([2, 2, width >> 8, width & 255]):
            row[:] = np.frombuffer(data, np.uint8, 4 * width, at).reshape(width, 4)
            at += 4 * width
            if (row[:, :3] == 1).all(axis=1).any():
                raise Unread("is a Radiance picture in the older run-length code; save it as a float TIFF.")
            continue
        at += 4
        for channel in range(4):
            line = bytearray()
            while len(line) < width:
                code = data[at]
                line += data[at + 1 : at + 2] * (code - 128) if code > 128 else data[at + 1 : at + 1 + code]
                at += 2 if code > 128 else 1 + code
            row[:, channel] = line
    return Pixels(np.ldexp(values[..., :3].astype(np.float32), values[..., 3:].astype(np.int32) - 136), None)


READERS = (
    (rb"II[*+]\0|MM\0[*+]", tiff),
    (rb"P[2356]\s", netpbm),
    (rb"#\?(RADIANCE|RGBE)", radiance),
)
"""First bytes of a file and its reader."""
