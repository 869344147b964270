import numpy as np
import pytest

from ntkspec.task import Task, image, piece, points, signal


def halves(values):
    """Even points train, odd ones test."""
    shape = values.shape
    train, test = np.zeros(shape, bool), np.zeros(shape, bool)
    train[tuple(slice(None, None, 2) for _ in shape)] = True
    test[tuple(slice(1, None, 2) for _ in shape)] = True
    return Task("made", values, train, test)


@pytest.mark.parametrize("at", [0, 311, 700, 896])
def test_a_window_is_where_the_detail_is(at):
    values = 0.01 * np.sin(np.arange(1024) / 200)
    values[at : at + 128] += np.cos(np.arange(128))
    part = piece(halves(values), 128)
    start = int(part.notice.split()[1])
    # The jumps at its ends are detail, too.
    assert abs(start - at) <= 2
    np.testing.assert_array_equal(part.task.values, values[start : start + 128])
    assert part.lengths.tolist() == [1 / 8]
    assert part.task.notices[-1] == part.notice


@pytest.mark.parametrize("phase", [0.0, 0.7, np.pi / 2])
def test_a_slow_swell_is_no_detail(phase):
    t = np.arange(1024) / 1024
    values = 5 * np.sin(2 * np.pi * t + phase) + 0.1 * np.sin(2 * np.pi * 300 * t + phase) * (t > 0.8)
    assert int(piece(halves(values), 128).notice.split()[1]) > 700


def test_a_crop_is_square_and_a_strip_keeps_its_short_side():
    rng = np.random.default_rng(0)
    assert piece(halves(rng.random((128, 90))), 1024).task.shape == (32, 32)
    strip = piece(halves(rng.random((24, 600))), 1024)
    assert strip.task.shape == (24, 42)
    np.testing.assert_allclose(strip.lengths, [1, 42 / 600])
    assert piece(halves(rng.random((600, 8))), 1024).task.shape == (128, 8)
    assert piece(halves(rng.random((20, 20, 20))), 1000).task.shape == (10, 10, 10)


def test_a_crop_is_where_the_detail_is_in_colour_too():
    values = np.zeros((80, 60, 3))
    values[40:72, 20:52, 1] = np.random.default_rng(0).random((32, 32))
    train = np.zeros((80, 60), bool)
    train[::2, ::2] = True
    part = piece(Task("made", values, train, ~train), 1024)
    # All detail, with that of the crop's edges.
    assert part.notice in {
        f"Rows {row} to {row + 31} of 80, columns {column} to {column + 31} of 60, where the signal has most detail."
        for row in (38, 40)
        for column in (18, 20)
    }


def test_points_keep_their_places_and_sides():
    whole = image.astronaut(128)
    part = piece(whole, 1024)
    row, column = (int(part.notice.split()[i]) for i in (1, 7))
    assert row % 2 == column % 2 == 0
    box = slice(row, row + 32), slice(column, column + 32)
    np.testing.assert_array_equal(part.task.train_mask, whole.train_mask[box])
    np.testing.assert_array_equal(part.task.test_mask, whole.test_mask[box])
    start = np.array([row, column]) / 128
    np.testing.assert_allclose(
        part.task.train_points * part.lengths + start,
        np.array([p for p in whole.train_points if ((p >= start) & (p < start + 0.25)).all()]),
    )


def test_a_piece_begins_with_training_points_where_few_of_all_train():
    part = piece(signal.paper(), 64)
    assert part.task.train_mask[::8].all()
    assert part.task.train_mask.sum() == 8


@pytest.mark.parametrize("whole", [halves(np.random.default_rng(0).random(128)), image.astronaut(32)])
def test_what_is_small_enough_stays_whole(whole):
    part = piece(whole, 128 if whole.dim == 1 else 1024)
    assert part.task is whole
    assert part.notice == ""
    assert (part.lengths == 1).all()


def test_scattered_points_are_taken_from_where_they_vary():
    x = np.random.default_rng(0).random((2000, 2))
    burst = np.abs(x - [0.8, 0.2]).max(axis=1) < 0.15
    whole = points.from_arrays(x, np.where(burst, np.sin(80 * x[:, 0]), 0.1 * x[:, 1]))
    part = piece(whole, 320)
    assert len(part.task.train_points) == 256
    assert np.abs(part.task.train_points.mean(axis=0) - [0.8, 0.2]).max() < 0.1
    low, high = part.task.train_points.min(axis=0), part.task.train_points.max(axis=0)
    assert len(part.task.test_points) > 30
    assert ((part.task.test_points > low - 0.05) & (part.task.test_points < high + 0.05)).all()
    assert (part.lengths == 1).all()
    assert piece(whole, 2000).task is whole
