"""Pictures of every depth, sign, byte order, photometric meaning, orientation and compression, read to the value."""

import struct
import zlib

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ntkspec import task
from ntkspec.task import image

SHAPE = (11, 9)
TURNED = {
    1: lambda v: v,
    2: np.fliplr,
    3: lambda v: np.rot90(v, 2),
    4: np.flipud,
    5: lambda v: v.swapaxes(0, 1),
    6: lambda v: np.rot90(v, -1),
    7: lambda v: np.rot90(v, 2).swapaxes(0, 1),
    8: np.rot90,
}
EACH = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
ORIENTATIONS, SEEDS = st.sampled_from(range(1, 9)), st.integers(0, 2**32 - 1)


def drawn(seed, low, high, channels=1, dtype=np.int64):
    """Numbers over a whole range, both its ends among them."""
    values = np.random.default_rng(seed).integers(low, high, (*SHAPE, *[3] * (channels == 3)), dtype, endpoint=True)
    values.flat[:2] = low, high
    return values


def stretched(values):
    return (values - values.min()) / (values.max() - values.min())


def is_told(loaded, orientation):
    return ("Turned upright, as its orientation tag says." in loaded.notices) == (orientation != 1)


@EACH
@given(
    dtype=st.sampled_from(["u1", "u2", "u4", "i1", "i2", "i4", "f2", "f4", "f8"]),
    order=st.sampled_from("<>"),
    photometric=st.sampled_from(["minisblack", "miniswhite", "rgb", "planes"]),
    compression=st.sampled_from([None, "zlib"]),
    tile=st.sampled_from([None, (16, 16)]),
    orientation=ORIENTATIONS,
    seed=SEEDS,
)
def test_tiff_of_any_depth(tmp_path, dtype, order, photometric, compression, tile, orientation, seed):
    channels = 3 if photometric in ("rgb", "planes") else 1
    if dtype[0] == "f":
        stored = (drawn(seed, 0, 2**10, channels) / 2**10).astype(dtype)
    else:
        ends = np.iinfo(dtype)
        stored = drawn(seed, ends.min, ends.max, channels, np.dtype(dtype))
    planar = "separate" if photometric == "planes" else None
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.moveaxis(stored, -1, 0) if planar else stored,
        byteorder=order,
        photometric="rgb" if channels == 3 else photometric,
        planarconfig=planar,
        compression=compression,
        tile=tile,
        extratags=[(274, 3, 1, orientation, True)],
        metadata=None,
    )
    loaded = image.from_file(tmp_path / "a.tif")
    values = stored.astype(float)
    expected = {"u": values / values.max(), "i": stretched(values), "f": values}[dtype[0]]
    expected = 1 - expected if photometric == "miniswhite" else expected
    np.testing.assert_allclose(loaded.values, TURNED[orientation](expected), rtol=0, atol=1e-15)
    assert is_told(loaded, orientation)
    assert any("mapped from" in notice for notice in loaded.notices) == (dtype[0] == "i")


def packed_tiff(samples, bits, *, signed=False, photometric=1, compression=1, fill=1, order="<"):
    """A TIFF of one strip with samples packed without gaps, which no library here writes."""
    height, width = samples.shape[:2]
    rows = (samples.reshape(height, -1, 1) >> np.arange(bits)[::-1] & 1).reshape(height, -1).astype(np.uint8)
    data = np.packbits(rows, axis=1, bitorder="big" if fill == 1 else "little").tobytes()
    data = zlib.compress(data) if compression == 8 else data
    channels = samples.size // (height * width)
    tags = [(256, width), (257, height), (258, bits), (259, compression), (262, photometric), (266, fill), (273, 8)]
    tags += [(277, channels), (278, height), (279, len(data)), (339, 2 if signed else 1)]
    if channels == 3:
        tags[2] = None
    entries, extra, start = b"", b"", 8 + len(data) + 2 + 12 * len(tags) + 4
    for tag in tags:
        if tag is None:
            entries += struct.pack(order + "HHII", 258, 3, 3, start)
            extra = struct.pack(order + "HHH", bits, bits, bits)
        else:
            entries += struct.pack(order + "HHII", tag[0], 4, 1, tag[1])
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8 + len(data))
    return head + data + struct.pack(order + "H", len(tags)) + entries + struct.pack(order + "I", 0) + extra


@EACH
@given(
    bits=st.sampled_from([2, 4, 6, 10, 12, 14, 24]),
    signed=st.booleans(),
    photometric=st.sampled_from([0, 1, 2]),
    compression=st.sampled_from([1, 8]),
    fill=st.sampled_from([1, 2]),
    order=st.sampled_from("<>"),
    seed=SEEDS,
)
def test_tiff_of_packed_samples(tmp_path, bits, signed, photometric, compression, fill, order, seed):
    low = -(2 ** (bits - 1)) if signed else 0
    stored = drawn(seed, low, low + 2**bits - 1, 3 if photometric == 2 else 1)
    if fill == 2 and compression == 8:
        compression = 1
    (tmp_path / "a.tif").write_bytes(
        packed_tiff(
            stored, bits, signed=signed, photometric=photometric, compression=compression, fill=fill, order=order
        )
    )
    expected = (stored - low) / (2**bits - 1)
    loaded = image.from_file(tmp_path / "a.tif")
    np.testing.assert_allclose(loaded.values, 1 - expected if photometric == 0 else expected, rtol=0, atol=1e-15)


@EACH
@given(
    mode=st.sampled_from(["1", "L", "I;16", "RGB", "F"]),
    compression=st.sampled_from(["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"]),
    white_is_zero=st.booleans(),
    orientation=ORIENTATIONS,
    seed=SEEDS,
)
def test_tiff_as_pillow_writes_it(tmp_path, mode, compression, white_is_zero, orientation, seed):
    stored = {
        "1": lambda: drawn(seed, 0, 1).astype(bool),
        "L": lambda: drawn(seed, 0, 255).astype(np.uint8),
        "I;16": lambda: drawn(seed, 0, 65535).astype(np.uint16),
        "RGB": lambda: drawn(seed, 0, 255, 3).astype(np.uint8),
        "F": lambda: (drawn(seed, 0, 64) / 64).astype(np.float32),
    }[mode]()
    tags = {274: orientation} | ({262: 0} if white_is_zero and mode in ("1", "L", "I;16") else {})
    Image.fromarray(stored).save(tmp_path / "a.tif", compression=compression, tiffinfo=tags)
    with tifffile.TiffFile(tmp_path / "a.tif") as written:
        is_negative = int(written.pages[0].photometric) == 0
    # Pillow inverts what it writes as white is zero, but no shorts.
    is_inverted = is_negative and mode == "I;16"
    loaded = image.from_file(tmp_path / "a.tif")
    expected = stored / stored.max() if mode != "1" else stored.astype(float)
    np.testing.assert_allclose(
        loaded.values, TURNED[orientation](1 - expected if is_inverted else expected), rtol=0, atol=1e-15
    )
    assert is_told(loaded, orientation)


@EACH
@given(name=st.sampled_from(["a.png", "a.webp", "a.jpg"]), colour=st.booleans(), orientation=ORIENTATIONS, seed=SEEDS)
def test_orientation_of_other_formats(tmp_path, name, colour, orientation, seed):
    stored = np.kron(drawn(seed, 0, 255, 3 if colour else 1), np.ones((8, 8, *[1] * colour))).astype(np.uint8)
    exif = Image.Exif()
    exif[274] = orientation
    options = {"a.webp": {"lossless": True}, "a.jpg": {"quality": 100, "subsampling": 0}}.get(name, {})
    Image.fromarray(stored).save(tmp_path / name, exif=exif, **options)
    loaded = image.from_file(tmp_path / name)
    expected = TURNED[orientation](stored / 255)
    if loaded.values.ndim > expected.ndim:
        expected = np.stack([expected] * 3, axis=-1)
    np.testing.assert_allclose(loaded.values, expected, rtol=0, atol=0.05 if name == "a.jpg" else 1e-15)
    assert is_told(loaded, orientation)


@EACH
@given(maxval=st.sampled_from([1, 100, 255, 256, 4095, 65535]), colour=st.booleans(), text=st.booleans(), seed=SEEDS)
def test_portable_maps_by_their_maxval(tmp_path, maxval, colour, text, seed):
    stored = drawn(seed, 0, maxval, 3 if colour else 1)
    kind = {(False, False): 5, (True, False): 6, (False, True): 2, (True, True): 3}[colour, text]
    if text:
        body = "\n".join(map(str, stored.ravel())).encode()
    else:
        body = stored.astype(">u2" if maxval > 255 else "u1").tobytes()
    (tmp_path / "a.pgm").write_bytes(f"P{kind}\n# a comment\n{SHAPE[1]} {SHAPE[0]}\n{maxval}\n".encode() + body)
    loaded = image.from_file(tmp_path / "a.pgm")
    np.testing.assert_allclose(loaded.values, stored / maxval, rtol=0, atol=1e-15)
    assert loaded.notices == ()


@pytest.mark.parametrize("body", [b"\1\2", bytes([200]) * 99])
def test_portable_map_that_is_damaged(tmp_path, body):
    (tmp_path / "a.pgm").write_bytes(b"P5 9 11 100\n" + body)
    with pytest.raises(ValueError, match=r"a\.pgm is damaged or incomplete"):
        image.from_file(tmp_path / "a.pgm")


def radiance(pixels, *, packed):
    """A Radiance file of bytes (height, width, 4)."""
    height, width = pixels.shape[:2]
    body = b""
    for row in pixels:
        if not packed:
            body += row.tobytes()
            continue
        body += bytes([2, 2, width >> 8, width & 255])
        for line in row.T:
            # A run of the first two, which are equal, then the rest as it is.
            body += bytes([128 + 2, line[0], width - 2]) + line[2:].tobytes()
    return b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\nEXPOSURE=1\n\n-Y %d +X %d\n" % (height, width) + body


@EACH
@given(packed=st.booleans(), largest=st.sampled_from([128, 131]), seed=SEEDS)
def test_radiance(tmp_path, packed, largest, seed):
    pixels = np.random.default_rng(seed).integers(2, 256, (*SHAPE, 4), np.uint8)
    pixels[..., 3] = np.random.default_rng(seed).integers(120, largest, SHAPE, endpoint=True)
    pixels[:, 1] = pixels[:, 0]
    (tmp_path / "a.hdr").write_bytes(radiance(pixels, packed=packed))
    values = pixels[..., :3] * 2.0 ** (pixels[..., 3:].astype(int) - 136)
    loaded = image.from_file(tmp_path / "a.hdr")
    is_beyond = values.max() > 1
    np.testing.assert_allclose(loaded.values, stretched(values) if is_beyond else values, atol=1e-15)
    assert any("mapped from" in notice for notice in loaded.notices) == is_beyond


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"#?RADIANCE\nFORMAT=32-bit_rle_xyze\n\n-Y 9 +X 9\n", "in XYZ or turned"),
        (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n+Y 9 +X 9\n", "in XYZ or turned"),
        (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 9 +X 9\n" + bytes([1, 1, 1, 9]) * 81, "older run-length code"),
    ],
)
def test_radiance_that_is_not_read(tmp_path, header, message):
    (tmp_path / "a.hdr").write_bytes(header)
    with pytest.raises(ValueError, match=message):
        image.from_file(tmp_path / "a.hdr")


def test_a_file_that_uses_little_of_its_range_says_so_and_white_sets_it(tmp_path):
    stored = drawn(0, 100, 4000).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", stored)
    loaded = task.load(tmp_path / "a.tif")
    np.testing.assert_allclose(loaded.values, stored / 65535)
    (notice,) = loaded.notices
    assert "6% of the file's range of 0 to 65535" in notice
    assert "white=4095 (--white 4095)" in notice
    set_by_hand = task.load(tmp_path / "a.tif", white=4095)
    np.testing.assert_allclose(set_by_hand.values, stored / 4095)
    assert set_by_hand.notices == ("White set to 4095.",)
    clipped = task.load(tmp_path / "a.tif", white=2000)
    np.testing.assert_allclose(clipped.values, np.minimum(stored / 2000, 1))
    assert "of the values are above it and cut off" in clipped.notices[0]


def test_an_offset_is_named_where_white_would_not_help(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", drawn(0, 32768, 36863).astype(np.uint16))
    (notice,) = task.load(tmp_path / "a.tif").notices
    assert "6% of the file's range" in notice
    assert "subtract its offset first" in notice


@pytest.mark.parametrize("white", [0, -1, float("nan"), float("inf")])
def test_white_that_is_no_level(tmp_path, white):
    tifffile.imwrite(tmp_path / "a.tif", drawn(0, 0, 255).astype(np.uint8))
    with pytest.raises(ValueError, match="expected a positive number"):
        task.load(tmp_path / "a.tif", white=white)


def test_white_is_of_image_files(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(20.0))
    for path in (tmp_path / "a.npy", None):
        with pytest.raises(ValueError, match="white=4095 is the level of white of an image file"):
            task.load(path, white=4095)


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"%PDF-1.7", "PDF or PostScript document"),
        (b"<svg></svg>", "drawing or text in XML"),
        (b"v/1\x01\2\0\0\0", "OpenEXR picture"),
        (b"\0\0\0\x18ftypheic", "HEIF or AVIF picture"),
        (b"\0\0\0\x18ftypcrx ", "raw file of a camera"),
        (b"\0\0\0\x18ftypisom", "film"),
        (b"\0\0\0\x0cJXL ", "JPEG XL picture"),
        (b"\0" * 128 + b"DICM", "DICOM file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "file of scientific arrays"),
        (b"PK\x03\x04" + bytes(99), "archive"),
        (b"PF\n4 4\n-1\n" + bytes(192), "portable float map in colour"),
    ],
)
def test_a_kind_that_is_not_read_is_named_with_a_remedy(tmp_path, start, kind):
    (tmp_path / "a.dat").write_bytes(start)
    with pytest.raises(ValueError, match=rf"a\.dat is .*{kind}.*, which is not read; convert it to (a|the)"):
        image.from_file(tmp_path / "a.dat")


def written(path, values, **options):
    tifffile.imwrite(path, values, metadata=None, **options)
    return path


def test_tiffs_that_are_not_read_say_so(tmp_path):
    deep = drawn(0, 0, 65535, 3).astype(np.uint16)
    raw = written(tmp_path / "raw.tif", deep, photometric="rgb", extratags=[(50706, 1, 4, b"\1\4\0\0", True)])
    with pytest.raises(ValueError, match=r"raw\.tif is the raw file of a camera.*develop it"):
        image.from_file(raw)
    waves = written(tmp_path / "waves.tif", np.ones(SHAPE, np.complex64))
    with pytest.raises(ValueError, match=r"waves\.tif is a TIFF of complex numbers"):
        image.from_file(waves)
    separated = written(tmp_path / "inks.tif", np.dstack([deep, deep[..., :1]]), photometric="separated")
    with pytest.raises(ValueError, match="16-bit samples with SEPARATED colour and NONE compression, which are not"):
        image.from_file(separated)


@pytest.mark.parametrize("name", ["a.tif", "a.pgm", "a.hdr"])
def test_a_file_over_its_limits_is_refused_before_it_is_decoded(tmp_path, name):
    # Only a header: decoding would find that the pixels are missing.
    if name == "a.tif":
        content = packed_tiff(np.zeros((1, 1), int), 8)
        for tag in (256, 257):
            content = content.replace(struct.pack("<HHII", tag, 4, 1, 1), struct.pack("<HHII", tag, 4, 1, 10**5))
    else:
        content = b"P5 100000 100000 255\n" if name == "a.pgm" else radiance(np.ones((1, 1, 4), np.uint8), packed=False)
        content = content.replace(b"-Y 1 +X 1", b"-Y 100000 +X 100000")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} is too large to open safely"):
        image.from_file(tmp_path / name)
