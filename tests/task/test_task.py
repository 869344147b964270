import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkspec.task import Task
from ntkspec.task._task import check_varying, existing_file

shapes = st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple)


def make(shape, channels=None, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.random(shape if channels is None else (*shape, channels))
    train = np.zeros(shape, bool)
    train[tuple(slice(None, None, 2) for _ in shape)] = True
    return Task("random", values, train, ~train)


@settings(deadline=None)
@given(shapes, st.sampled_from([None, 1, 3]))
def test_points_and_values_agree(shape, channels):
    task = make(shape, channels)
    assert task.shape == shape
    assert task.dim == len(shape)
    assert task.channels == channels
    assert task.values.dtype == np.float64
    tail = () if channels is None else (channels,)
    for points, values in ((task.train_points, task.train_values), (task.test_points, task.test_values)):
        assert points.shape == (len(values), len(shape))
        assert values.shape == (len(points), *tail)
        index = np.rint(points * np.array(shape)).astype(int)
        np.testing.assert_array_equal(task.values[tuple(index.T)], values)


@settings(deadline=None)
@given(shapes)
def test_lattice_is_row_major_in_the_half_open_cube(shape):
    task = make(shape)
    points = task.lattice_points
    assert points.shape == (np.prod(shape), len(shape))
    assert (points >= 0).all()
    assert (points < 1).all()
    np.testing.assert_array_equal(points[task.train_mask.ravel()], task.train_points)
    np.testing.assert_array_equal(points[task.test_mask.ravel()], task.test_points)


def test_task_is_frozen_through_and_through():
    task = make((4,))
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.name = "other"
    with pytest.raises(ValueError, match="read-only"):
        task.values[0] = 1.0


def test_task_copies_what_it_is_given():
    values, mask = np.array([0.0, 1.0]), np.array([True, False])
    task = Task("two", values, mask, ~mask)
    values[0] = 5.0
    assert task.values[0] == 0.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_mask": np.zeros(3, bool)}, r"shape \(4,\) and test_mask \(3,\)"),
        ({"values": np.arange(3.0)}, r"values have shape \(3,\), the masks \(4,\)"),
        ({"values": np.ones((4, 2, 2))}, "at most one channel axis"),
        ({"values": np.array([0, 1, np.nan, 2])}, "NaN or infinity"),
        ({"train_mask": np.zeros(4, bool)}, "keeps no point"),
        ({"test_mask": np.ones(4, bool)}, "in both masks"),
    ],
)
def test_task_refuses_what_does_not_fit(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(make((4,)), **changes)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist; check the spelling"):
        existing_file(tmp_path / "absent.png")


def test_folder(tmp_path):
    with pytest.raises(ValueError, match="is a folder; give one file in it"):
        existing_file(tmp_path)


@pytest.mark.parametrize("name", ["file.txt/below", "null\0byte", "x" * 300])
def test_path_that_cannot_be_opened(tmp_path, name):
    (tmp_path / "file.txt").write_text("")
    with pytest.raises(ValueError, match=r"cannot be opened \(.+\); check its name and permissions"):
        existing_file(f"{tmp_path}/{name}")


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e308])
def test_varying_at_any_scale(scale):
    check_varying(np.array([-scale, scale]), "it")
    with pytest.raises(ValueError, match="it is constant"):
        check_varying(np.array([scale, scale * (1 + 1e-15)]), "it")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_varying_counts_what_is_not_finite(bad):
    with pytest.raises(ValueError, match="NaN or infinity at 2 of 3 values"):
        check_varying(np.array([bad, 1.0, bad]), "it")
