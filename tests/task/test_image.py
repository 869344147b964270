import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
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


def test_astronaut_is_the_mean_of_blocks():
    task = image.astronaut(128, colour=True)
    from skimage import data

    expected = data.astronaut().reshape(128, 4, 128, 4, 3).mean(axis=(1, 3)) / 255
    np.testing.assert_allclose(task.values, expected, atol=1e-14)
    assert task.notices == ("Reduced from 512 × 512 to 128 × 128 pixels (area means).",)
    grey = image.astronaut()
    np.testing.assert_allclose(grey.values, expected @ [0.2126, 0.7152, 0.0722], atol=1e-14)
    assert grey.notices[0] == "Colour converted to luminance (Rec. 709)."
    assert "astronaut" in grey.source


@pytest.mark.parametrize("size", [9, 64, 511, 512])
def test_even_pixels_train_and_odd_ones_test(size):
    task = image.astronaut(size)
    assert task.shape == (size, size)
    np.testing.assert_array_equal(task.train_values, task.values[::2, ::2].ravel())
    np.testing.assert_array_equal(task.test_values, task.values[1::2, 1::2].ravel())
    assert task.values.min() >= 0
    assert task.values.max() <= 1


@pytest.mark.parametrize("name", image.PHOTOGRAPHS)
def test_every_bundled_photograph(name):
    task = image.photograph(name, 48, colour=True)
    assert max(task.shape) == 48
    assert task.channels in (None, 3)
    assert image.photograph(name, 48).channels is None


@pytest.mark.parametrize("size", [0, -3, 7])
def test_photograph_too_small(size):
    with pytest.raises(ValueError, match=f"size={size}; expected a whole number of at least 8"):
        image.astronaut(size)


def test_photograph_too_large_or_unknown():
    with pytest.raises(ValueError, match="size = 513 is more than the 512 pixels of 'astronaut'"):
        image.astronaut(513)
    with pytest.raises(ValueError, match="no bundled picture is called 'cat'; take one of astronaut, brick"):
        image.photograph("cat")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(hnp.arrays(np.uint8, st.tuples(*2 * [st.integers(8, 20)])), st.integers(8, 19))
def test_area_means_keep_the_mean_and_the_range(tmp_path, values, size):
    values[0, :2] = 0, 255
    longest = max(values.shape)
    assume(longest > size and round(min(values.shape) * size / longest) >= 8)
    reduced = image.from_file(saved(tmp_path, values), max_size=size).values
    np.testing.assert_allclose(reduced.mean(), values.mean() / 255, atol=1e-12)
    assert reduced.min() >= values.min() / 255 - 1e-12
    assert reduced.max() <= values.max() / 255 + 1e-12


def test_area_means_are_those_of_fine_cells(tmp_path):
    values = np.random.default_rng(2).integers(0, 256, (12, 15), np.uint8)
    fine = np.kron(values, np.ones((8, 10))).reshape(8, 12, 10, 15).mean(axis=(1, 3)) / 255
    task = image.from_file(saved(tmp_path, values), max_size=10)
    np.testing.assert_allclose(task.values, fine, atol=1e-12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(8, 40), st.integers(8, 40), st.booleans(), st.integers(8, 40))
def test_any_size_of_file(tmp_path, height, width, colour, max_size):
    shape = (height, width, 3) if colour else (height, width)
    path = saved(tmp_path, np.random.default_rng(1).integers(0, 256, shape, np.uint8))
    longest = max(height, width)
    task = image.from_file(path, max_size=max_size)
    assert task.channels == (3 if colour else None)
    if longest > max_size and round(min(height, width) * max_size / longest) < 8:
        # A strip keeps its short side, and at most max_size² pixels.
        assert min(task.shape) >= 8
        assert np.prod(task.shape) <= max_size**2
    else:
        assert max(task.shape) == min(longest, max_size)
    assert bool(task.notices) == (task.shape != (height, width))


def test_a_strip_keeps_its_short_side(tmp_path):
    strip = np.random.default_rng(0).integers(0, 256, (24, 600), np.uint8)
    whole = image.from_file(saved(tmp_path, strip), max_size=128)
    np.testing.assert_array_equal(whole.values, strip / 255)
    assert whole.notices == ()
    cut = image.from_file(saved(tmp_path, strip), max_size=32)
    assert cut.shape == (8, 128)
    assert "Reduced from 600 × 24 to 200 × 8 pixels (area means)." in cut.notices
    assert any(notice.startswith("Rows 0 to 7 of 8, columns ") for notice in cut.notices)
    assert image.from_file(saved(tmp_path, strip.T), max_size=64).shape == (320, 12)


def test_too_large_a_file_is_reduced_with_both_sizes_told(tmp_path):
    path = saved(tmp_path, np.kron(GREY, np.ones((10, 10), np.uint8)))
    task = image.from_file(path, max_size=16)
    np.testing.assert_allclose(task.values, GREY / 255, atol=1e-12)
    assert task.notices == ("Reduced from 160 × 120 to 16 × 12 pixels (area means).",)
    assert (task.name, task.source) == ("a", "a.png")


@pytest.mark.parametrize("size", [(7, 20), (20, 7), (1, 1)])
def test_too_small_a_file(tmp_path, size):
    path = saved(tmp_path, Image.new("L", size))
    with pytest.raises(ValueError, match=rf"{size[0]} × {size[1]} pixels; expected at least 8 a side"):
        image.from_file(path)


def test_constant(tmp_path):
    with pytest.raises(ValueError, match=r"a\.png is constant \(7 everywhere\)"):
        image.from_file(saved(tmp_path, np.full((9, 9), 7, np.uint8)))


def test_constant_once_reduced(tmp_path):
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    with pytest.raises(ValueError, match="reduced to 16 × 16 pixels, is constant"):
        image.from_file(saved(tmp_path, board.astype(np.uint8)), max_size=16)


def test_missing_file_folder_and_bad_size(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        image.from_file(tmp_path / "absent.png")
    with pytest.raises(ValueError, match="is a folder"):
        image.from_file(tmp_path)
    with pytest.raises(ValueError, match="max_size=4; expected a whole number of at least 8"):
        image.from_file(tmp_path, max_size=4)
