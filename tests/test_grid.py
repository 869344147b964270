import hypothesis.strategies as st
import numpy as np
import oracle_dense
import pytest
from hypothesis import given, settings

from ntkspec.checks import check_labels, check_steps
from ntkspec.grid import Grid, Placement, energy_by_frequency, place

EPS = np.finfo(np.float64).eps


@pytest.mark.parametrize("shape", [(7,), (4, 6), (3, 2, 5)])
def test_unit_grid_is_the_lattice_i_over_n(shape):
    grid = Grid.unit(shape)
    np.testing.assert_allclose(grid.points(), oracle_dense.lattice_points(shape), atol=EPS)
    assert (grid.dim, grid.size, grid.origin) == (len(shape), np.prod(shape), (0.0,) * len(shape))


@pytest.mark.parametrize("shape", [(8,), (9,), (6, 6), (4, 7), (3, 4, 5)])
def test_frequency_bins_are_radii_rounded_to_the_step(shape):
    grid = Grid.unit(shape)
    bins, frequency = grid.frequency_bins()
    axes = [np.fft.fftfreq(n) * n for n in shape]
    radius = np.linalg.norm(np.stack(np.meshgrid(*axes, indexing="ij")), axis=0)
    assert grid.frequency_step == 1
    assert bins.shape == shape
    np.testing.assert_allclose(frequency[bins], radius, atol=0.5 + EPS)
    assert (np.diff(frequency) > 0).all()
    if len(shape) == 1:
        np.testing.assert_allclose(frequency, np.arange(shape[0] // 2 + 1), atol=8 * EPS)


def test_a_strided_grid_holds_the_frequencies_of_its_own_period():
    # Every 8th of 256 points: same period, fewer frequencies.
    _, frequency = Grid((32,), (1 / 32,), (0.0,)).frequency_bins()
    np.testing.assert_allclose(frequency, np.arange(17))
    # Half the period: frequencies are multiples of 2.
    _, frequency = Grid((4,), (1 / 8,), (0.5,)).frequency_bins()
    np.testing.assert_allclose(frequency, [0, 2, 4])


@pytest.mark.parametrize("shape", [(7,), (5, 4), (3, 4, 2)])
def test_energy_is_parsevals_with_leading_axes(shape, rng):
    grid = Grid.unit(shape)
    values = rng.normal(size=(2, 3, grid.size))
    energy, frequency = energy_by_frequency(values, Placement(grid, None))
    assert energy.shape == (2, 3, len(frequency))
    np.testing.assert_allclose(energy.sum(-1), (values**2).sum(-1), rtol=20 * EPS)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.booleans(), min_size=12, max_size=12).filter(any), st.integers(0, 2**32 - 1))
def test_energy_with_holes_is_parsevals_and_the_plain_sum(kept, seed):
    grid = Grid.unit((4, 3))
    index = np.flatnonzero(kept)
    values = np.random.default_rng(seed).normal(size=len(index))
    energy, frequency = energy_by_frequency(values, Placement(grid, index))
    assert energy.sum() == pytest.approx(np.sum(values**2), rel=40 * EPS)
    by_hand = np.zeros_like(energy)
    for k in np.ndindex(4, 3):
        turns = np.where(np.array(k) > np.array([2, 1]), np.array(k) - np.array([4, 3]), k)
        bin_of = np.argmin(abs(frequency - np.rint(np.linalg.norm(turns))))
        by_hand[bin_of] += oracle_dense.energy_at(values, grid.points()[index], turns, grid.size)
    np.testing.assert_allclose(energy, by_hand, atol=1e-13 * max(1, np.sum(values**2)))


def test_energy_of_a_wave_sits_at_its_frequency():
    grid = Grid.unit((16, 16))
    values = np.cos(2 * np.pi * grid.points() @ [3, 4])
    energy, frequency = energy_by_frequency(values, Placement(grid, None))
    assert frequency[np.argmax(energy)] == 5
    assert energy.max() == pytest.approx(128, rel=1e-13)


def test_place_recognises_a_full_lattice_in_order():
    placement = place(oracle_dense.lattice_points((4, 5)))
    assert placement.index is None
    assert placement.grid.shape == (4, 5)
    np.testing.assert_allclose(placement.grid.spacing, [1 / 4, 1 / 5])


@settings(max_examples=40, deadline=None)
@given(st.permutations(range(20)), st.integers(8, 20))
def test_place_finds_any_order_and_holes(order, count):
    points = oracle_dense.lattice_points((4, 5))[list(order[:count])]
    placement = place(points)
    if placement is None:  # A lattice mostly of holes, or a gap that is no multiple of the smallest one.
        return
    index = np.arange(placement.grid.size) if placement.index is None else placement.index
    np.testing.assert_allclose(placement.grid.points()[index], points, atol=1e-12)
    marks = placement.extend(np.arange(1.0, count + 1))
    assert marks.shape == placement.grid.shape
    np.testing.assert_array_equal(marks.ravel()[index], np.arange(1, count + 1))
    assert np.count_nonzero(marks) == count


def test_place_a_stride_and_an_offset():
    grid = place(np.array([[0.25], [0.375], [0.5], [0.75]])).grid
    assert (grid.shape, grid.spacing, grid.origin) == ((5,), (0.125,), (0.25,))


@pytest.mark.parametrize(
    "points",
    [
        [[0.0], [0.5], [0.3]],
        [[0.0], [0.0], [0.5]],
        [[0.0, 0.0], [0.01, 0.5], [1.0, 1.0]],
    ],
    ids=["unequal gaps", "a point twice", "mostly holes"],
)
def test_place_gives_none_for_scattered_points(points):
    assert place(points) is None


def test_place_one_point():
    placement = place([[0.3, 0.7]])
    assert (placement.grid.shape, placement.index) == ((1, 1), None)


@pytest.mark.parametrize("points", [np.random.default_rng(0).random((30, 2)), np.random.default_rng(1).random((9, 1))])
def test_random_points_are_scattered(points):
    assert place(points) is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: check_labels(np.zeros(3), 4), r"labels have shape \(3,\); expected \(4,\) or \(4, channels\)"),
        (lambda: check_labels(np.zeros((4, 1, 1)), 4), r"labels have shape \(4, 1, 1\).*K\.restrict\(values\)"),
        (lambda: check_labels(0.0, 1), r"labels have shape \(\)"),
        (lambda: check_labels([1.0, np.nan], 2), "labels hold NaN or infinity"),
        (lambda: check_steps([]), "expected a list of numbers"),
        (lambda: check_steps([[1, 2]]), "expected a list of numbers"),
        (lambda: check_steps(["a"]), "expected a list of numbers"),
        (lambda: check_steps([0, -1]), "expected increasing numbers that are not negative"),
        (lambda: check_steps([-1, 0]), "expected increasing numbers that are not negative"),
        (lambda: check_steps([0, 5, 5]), "expected increasing numbers that are not negative"),
        (lambda: check_steps([0, np.inf]), "expected increasing numbers that are not negative"),
    ],
)
def test_checks_refuse_in_words(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_checks_let_good_input_through():
    assert check_steps(10).tolist() == [10]
    assert check_steps([0, 0.5, 1e9]).tolist() == [0, 0.5, 1e9]
    assert check_labels([1, 2], 2).dtype == np.float64
