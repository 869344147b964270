"""What a mapping says of itself, and what a lattice makes of it."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import ntkspec as ns
from ntkspec import mapping as mappings


def test_the_numbers_of_a_small_mapping():
    g = mappings.from_frequencies([[0.0, 0.0], [3.0, -4.0], [1.0, 12.0]], [1.0, 2.0, 1.0], normalize=False)
    d = mappings.describe(g, shape=(8, 10))
    assert (int(d.num_frequencies), int(d.num_features), float(d.total_energy), int(d.periodic)) == (3, 6, 6, 1)
    assert float(d.constant_energy) == pytest.approx(1 / 6)
    np.testing.assert_allclose(d.min_frequency, [0, 0])
    np.testing.assert_allclose(d.max_frequency, [3, 12])
    np.testing.assert_allclose(d.rms_frequency, [np.sqrt((4 * 9 + 1) / 6), np.sqrt((4 * 16 + 144) / 6)])
    assert float(d.rms_radius) == pytest.approx(np.sqrt((4 * 25 + 145) / 6))
    assert float(d.dominant_wavelength) == pytest.approx(1 / float(d.rms_radius))
    np.testing.assert_allclose(d.energy, [1 / 6, 4 / 6, 1 / 6])
    assert d.lattice.values.tolist() == [8, 10]
    assert d.nyquist.values.tolist() == [4, 5]
    np.testing.assert_allclose(d.energy_above_nyquist, [0, 1 / 6])
    assert float(d.aliased_energy) == pytest.approx(1 / 6)
    assert d.aliased.values.tolist() == [False, False, True]
    np.testing.assert_allclose(d.folded_frequency, [[0, 0], [3, -4], [1, 2]])
    assert d.nyquist.attrs["units"] == "cycles per unit"


def test_frequencies_without_energy_do_not_count_and_without_a_lattice_nothing_folds():
    d = mappings.describe(mappings.power_law(8, p=float("inf")))
    assert float(d.max_frequency[0]) == 1
    assert not {"nyquist", "folded_frequency", "aliased"} & set(d)
    assert isinstance(d, xr.Dataset)


@settings(max_examples=25, deadline=None)
@given(arrays(float, (3, 2), elements=st.floats(-40, 40)), st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_the_folded_mapping_is_the_same_on_the_lattice(b, shape):
    folded = mappings.describe(mappings.from_frequencies(b), shape).folded_frequency.values
    n = np.array(shape)
    assert (folded >= -n / 2).all()
    assert (folded <= n / 2).all()
    lags = tuple(np.arange(-3, 4) / size for size in shape)
    one, other = (np.asarray(mappings.from_frequencies(f).versine_grid(lags)) for f in (b, folded))
    # A phase of 3·40 turns is rounded at 1e-14.
    np.testing.assert_allclose(one, other, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(-60, 60), st.integers(1, 12))
def test_whole_frequencies_fold_into_the_half_open_band(k, n):
    folded = float(mappings.describe(mappings.from_frequencies([[float(k)]]), (n,)).folded_frequency[0, 0])
    assert -n / 2 <= folded < n / 2
    assert (k - folded) % n == 0
    assert bool(mappings.describe(mappings.from_frequencies([[float(k)]]), (n,)).aliased[0]) == (abs(k) > n / 2)


@pytest.mark.parametrize("name", ["gaussian", "laplace", "uniform"])
def test_limits_are_what_many_samples_say(name):
    sampled, limit = getattr(mappings, name), getattr(mappings, f"{name}_limit")
    shape, scale = (16, 40), [6.0, 9.0]
    one = mappings.describe(sampled(2, 100_000, scale), shape)
    other = mappings.describe(limit(2, scale), shape)
    # Shares of 100 000 draws: four standard deviations of at most 0.5/√100 000.
    np.testing.assert_allclose(one.energy_above_nyquist, other.energy_above_nyquist, atol=0.0064)
    assert float(one.aliased_energy) == pytest.approx(float(other.aliased_energy), abs=0.0064)
    np.testing.assert_allclose(one.rms_frequency, other.rms_frequency, rtol=0.03)
    assert np.isinf(other.num_frequencies)
    np.testing.assert_allclose(other.max_frequency, scale if name == "uniform" else [np.inf] * 2)
    assert "infinitely many frequencies on 2 axes" in other.summary


def test_a_turned_limit_says_where_it_has_no_closed_form():
    gaussian = mappings.describe(mappings.rotate(mappings.gaussian_limit(2, [6.0, 9.0]), 0.3), (16, 16))
    assert np.isfinite(gaussian.energy_above_nyquist).all()
    assert np.isnan(gaussian.aliased_energy)
    laplace = mappings.describe(mappings.rotate(mappings.laplace_limit(2, 6.0), 0.3), (16, 16))
    assert np.isnan(laplace.energy_above_nyquist).all()
    assert "an unknown share of the energy" in laplace.summary


def test_an_input_that_a_limit_ignores_has_frequency_zero():
    g = mappings.uniform_limit(1, 4.0).through([[1.0, 0.0]])
    d = mappings.describe(g, (4, 4))
    np.testing.assert_allclose(d.max_frequency, [4, 0])
    np.testing.assert_allclose(d.energy_above_nyquist, [0.5, 0])
    assert float(d.aliased_energy) == pytest.approx(0.5)


def test_the_summary_is_for_people():
    d = mappings.describe(mappings.tiny_cuda_nn(2, 5), (12, 12))
    assert d.summary.splitlines() == [
        "10 frequencies on 2 axes, 20 features, |γ|² = 1",
        "axis 0: |b| from 0 to 8, rms 2.92 cycles per unit; Nyquist limit of 12 points 6, 10 % of the energy above",
        "axis 1: |b| from 0 to 8, rms 2.92 cycles per unit; Nyquist limit of 12 points 6, 10 % of the energy above",
        "dominant wavelength 0.242 units = 2.91 points; no period on the unit",
        "aliased: 2 frequencies, 20 % of the energy",
    ]
    assert "constant: 25 % of the energy" in mappings.describe(mappings.positional(1, 4, 3)).summary


def test_a_constant_mapping_has_no_wavelength():
    d = mappings.describe(mappings.from_frequencies([[0.0]]), (4,))
    assert np.isinf(d.dominant_wavelength)
    assert float(d.constant_energy) == 1


def test_it_can_be_written_and_read(tmp_path):
    d = mappings.describe(mappings.nerf(2, 3), (8, 8))
    d.to_netcdf(tmp_path / "d.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "d.nc", engine="h5netcdf") as again:
        xr.testing.assert_equal(again.load(), d)
        assert again.summary == d.summary


@pytest.mark.parametrize(
    ("build", "kind", "message"),
    [
        (lambda: mappings.describe(mappings.basic(2), (8,)), ValueError, r"shape=\(8,\); expected 2 positive sizes"),
        (lambda: mappings.describe(mappings.basic(1), (0,)), ValueError, r"shape=\(0,\); expected 1 positive sizes"),
        (lambda: mappings.describe(mappings.identity(1)), ValueError, "a IdentityMapping has no one list or law"),
        (
            lambda: mappings.describe(mappings.basic(1) + mappings.gaussian_limit(1, 1.0)),
            ValueError,
            "describe the mappings it is made of",
        ),
        (lambda: mappings.describe(ns.kernel.MLP(depth=1)), TypeError, "`mapping` is a MLP; expected one from"),
    ],
)
def test_bad_input_is_refused_in_words(build, kind, message):
    with pytest.raises(kind, match=message):
        build()
