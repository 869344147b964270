import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from ntkspec.task import image

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (12, 16), np.uint8)
COLOUR = RNG.integers(0, 256, (12, 16, 3), np.uint8)
ALPHA = RNG.integers(1, 255, (12, 16), np.uint8)


def saved(folder, picture, name="a.png", **options):
    picture = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    picture.save(folder / name, **options)
    return folder / name


def png_16_bit(array, colour_type):
    """A 16-bit PNG by hand, since Pillow writes only the grey one."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], 16, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("name", ["a.png", "a.tiff", "a.bmp", "a.gif"])
@pytest.mark.parametrize("pixels", [GREY, COLOUR], ids=["grey", "colour"])
def test_lossless_formats(tmp_path, name, pixels):
    if name == "a.gif":
        pixels = pixels // 128 * 255
    task = image.from_file(saved(tmp_path, pixels, name))
    np.testing.assert_allclose(task.values, pixels / 255)
    assert task.notices == ()


def test_lossless_webp(tmp_path):
    task = image.from_file(saved(tmp_path, COLOUR, "a.webp", lossless=True))
    np.testing.assert_allclose(task.values, COLOUR / 255)


@pytest.mark.parametrize("pixels", [GREY, COLOUR], ids=["grey", "colour"])
def test_jpeg(tmp_path, pixels):
    smooth = np.kron(pixels[:3, :4], np.ones((8, 8, 1)[: pixels.ndim], np.uint8))
    task = image.from_file(saved(tmp_path, smooth, "a.jpg", quality=100, subsampling=0))
    np.testing.assert_allclose(task.values, smooth / 255, atol=0.03)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_is_dropped(tmp_path, mode):
    pixels = GREY if mode == "LA" else COLOUR
    task = image.from_file(saved(tmp_path, np.dstack([pixels, ALPHA])))
    np.testing.assert_allclose(task.values, pixels / 255)
    assert task.notices == ("Alpha channel (transparency) dropped.",)


def test_palette_with_transparent_entries(tmp_path):
    picture = Image.fromarray(COLOUR // 128 * 255).quantize(8)
    expected = np.asarray(picture.convert("RGB")) / 255
    task = image.from_file(saved(tmp_path, picture, transparency=bytes(range(8))))
    np.testing.assert_allclose(task.values, expected)
    assert task.notices == ("Alpha channel (transparency) dropped.",)


def test_one_bit(tmp_path):
    task = image.from_file(saved(tmp_path, Image.fromarray(GREY > 100)))
    np.testing.assert_array_equal(task.values, GREY > 100)
    assert task.notices == ()


@pytest.mark.parametrize("name", ["a.png", "a.tiff"])
def test_sixteen_bit_grey(tmp_path, name):
    deep = GREY.astype(np.uint16) * 200 + 3
    task = image.from_file(saved(tmp_path, deep, name))
    np.testing.assert_allclose(task.values, deep / 65535)
    assert task.notices == ()


@pytest.mark.parametrize(("colour_type", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_sixteen_bit_with_more_than_grey(tmp_path, colour_type, channels):
    deep = RNG.integers(0, 65536, (12, 16, channels))
    (tmp_path / "a.png").write_bytes(png_16_bit(deep, colour_type))
    task = image.from_file(tmp_path / "a.png")
    kept = deep[..., 0] if channels == 2 else deep[..., :3]
    np.testing.assert_allclose(task.values, kept / 65535, atol=1 / 250)
    assert ("Alpha channel (transparency) dropped." in task.notices) == (channels != 3)
    assert task.notices[-1].startswith("Reduced from 16 to 8 bits a channel")


def test_thirty_two_bit_integers(tmp_path):
    task = image.from_file(saved(tmp_path, GREY.astype(np.int32) * 1000 - 7, "a.tiff"))
    expected = (GREY - GREY.min()) / np.ptp(GREY.astype(int))
    np.testing.assert_allclose(task.values, expected, atol=1e-12)
    assert task.notices[0].startswith("Values mapped from [")


def test_floats_in_the_unit_interval_are_kept(tmp_path):
    task = image.from_file(saved(tmp_path, (GREY / 300).astype(np.float32), "a.tiff"))
    np.testing.assert_allclose(task.values, GREY / 300, atol=1e-7)
    assert task.notices == ()


def test_floats_beyond_it_are_mapped(tmp_path):
    task = image.from_file(saved(tmp_path, (GREY / 100).astype(np.float32), "a.tiff"))
    assert task.values.min() == 0
    assert task.values.max() == 1
    assert task.notices[0].endswith("to [0, 1].")


def test_floats_not_finite(tmp_path):
    values = GREY.astype(np.float32)
    values[3, 4] = np.nan
    with pytest.raises(ValueError, match=r"a\.tiff holds NaN or infinity at 1 of 192 values"):
        image.from_file(saved(tmp_path, values, "a.tiff"))


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB"])
def test_other_colour_spaces(tmp_path, mode):
    picture = Image.fromarray(COLOUR)
    picture = Image.frombytes(mode, (16, 12), COLOUR.tobytes()) if mode == "LAB" else picture.convert(mode)
    task = image.from_file(saved(tmp_path, picture, "a.tiff"))
    assert task.channels == 3
    if mode == "YCbCr":
        np.testing.assert_allclose(task.values, COLOUR / 255, atol=0.02)
    assert task.notices == (f"{mode} converted to RGB.",)
    if mode == "CMYK":
        np.testing.assert_allclose(task.values, COLOUR / 255, atol=0.01)


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.tiff", "a.webp"])
def test_first_frame_of_several(tmp_path, name):
    frames = [Image.fromarray(frame // 128 * 255) for frame in (GREY, 255 - GREY, GREY.T.reshape(12, 16))]
    options = {"lossless": True} if name == "a.webp" else {}
    path = saved(tmp_path, frames[0], name, save_all=True, append_images=frames[1:], **options)
    task = image.from_file(path)
    first = np.asarray(frames[0]) / 255
    np.testing.assert_allclose(task.values if task.channels is None else task.values[..., 0], first)
    assert "The first of 3 frames was taken." in task.notices


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    task = image.from_file(saved(tmp_path, COLOUR, exif=exif.tobytes()))
    turned = {
        1: COLOUR,
        2: COLOUR[:, ::-1],
        3: COLOUR[::-1, ::-1],
        4: COLOUR[::-1],
        5: COLOUR.swapaxes(0, 1),
        6: COLOUR[::-1].swapaxes(0, 1),
        7: COLOUR[::-1, ::-1].swapaxes(0, 1),
        8: COLOUR[:, ::-1].swapaxes(0, 1),
    }[orientation]
    np.testing.assert_allclose(task.values, turned / 255)
    assert bool(task.notices) == (orientation != 1)


def test_no_image(tmp_path):
    for content in (b"", b"hello", b"\0" * 600):
        (tmp_path / "a.png").write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.png is not an image; give a PNG"):
            image.from_file(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.gif", "a.bmp", "a.tiff", "a.webp"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_damaged_file(tmp_path, name, share):
    noise = np.random.default_rng(5).integers(0, 256, (64, 64), np.uint8)
    path = saved(tmp_path, noise, name)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    try:
        assert image.from_file(path).shape == (64, 64)
        # Some decoders forgive a lost trailer.
        assert share > 0.9
    except ValueError:
        with pytest.raises(ValueError, match=rf"{name} is (damaged or incomplete|not an image)"):
            image.from_file(path)


def test_truncated_file_says_so(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(np.kron(COLOUR, np.ones((9, 9, 1), np.uint8))).save(buffer, "png")
    (tmp_path / "a.png").write_bytes(buffer.getvalue()[:500])
    with pytest.raises(ValueError, match=r"a\.png is damaged or incomplete \(.+\); copy or export it again"):
        image.from_file(tmp_path / "a.png")


@pytest.mark.parametrize("factor", [1.5, 3])
def test_decompression_bomb(tmp_path, monkeypatch, factor):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(GREY.size / factor))
    with pytest.raises(ValueError, match=r"a\.png is too large to open safely: Image size .* Reduce it first"):
        image.from_file(saved(tmp_path, GREY))


def test_warnings_of_the_decoder_become_notices(tmp_path, monkeypatch):
    plain = Image.Image.getexif

    def grumbling(self):
        warnings.warn("odd metadata", UserWarning, stacklevel=2)
        return plain(self)

    monkeypatch.setattr(Image.Image, "getexif", grumbling)
    assert "Pillow warned: odd metadata" in image.from_file(saved(tmp_path, GREY, "a.bmp")).notices
