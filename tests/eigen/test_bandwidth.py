import numpy as np
import pytest
import xarray as xr

import ntkspec as ns


def spectrum(value, frequency=None, error=0.0, lag=None, kernel=None, complete=1):
    """A spectrum as `eigen.spectrum` would give it."""
    value = np.asarray(value, dtype=float)
    frequency = np.full(len(value), np.nan) if frequency is None else np.asarray(frequency, dtype=float)
    profile = {} if lag is None else {"kernel_lag": (("axis", "lag"), kernel[None]), "lag": ("lag", lag)}
    return xr.Dataset(
        {
            "eigenvalue": ("mode", value),
            "eigenvalue_error": ("mode", np.full(len(value), error)),
            "dominant_frequency": (("mode", "axis"), frequency[:, None]),
            "trace": value.sum(),
            "frobenius_norm": np.sqrt(np.sum(value**2)),
            **profile,
        },
        attrs={"complete": complete, "num_points": len(value)},
    )


def test_flat_spectrum_counts_its_modes():
    b = ns.eigen.bandwidth(spectrum(np.full(7, 3.0)))
    assert float(b.effective_rank) == pytest.approx(7)
    assert float(b.participation_ratio) == pytest.approx(7)
    assert float(b.condition_number) == pytest.approx(1)
    assert float(b.decay_exponent) == pytest.approx(0, abs=1e-12)


def test_ranks_of_two_modes():
    b = ns.eigen.bandwidth(spectrum([3.0, 1.0]))
    assert float(b.effective_rank) == pytest.approx(4 / 3)
    assert float(b.participation_ratio) == pytest.approx(16 / 10)
    assert float(b.condition_number) == pytest.approx(3)
    assert np.isnan(b.decay_exponent)


@pytest.mark.parametrize("exponent", [0.5, 2, 3.7])
def test_power_law_decay(exponent):
    value = np.arange(1.0, 101) ** -exponent
    value[0] = 1e5  # The constant mode is left out.
    b = ns.eigen.bandwidth(spectrum(value))
    assert float(b.decay_exponent) == pytest.approx(exponent, rel=1e-12)
    assert (int(b.decay_first_mode), int(b.decay_last_mode)) == (2, 100)


def test_decay_stops_where_the_eigenvalues_drown_in_their_error():
    value = np.arange(1.0, 101) ** -2.0
    value[60:] = 1e-9
    b = ns.eigen.bandwidth(spectrum(value, error=2e-5))
    # 10 · 2e-5 = 1/5000 is passed at mode 71, after the drop at 61.
    assert int(b.decay_last_mode) == 60
    assert float(b.decay_exponent) == pytest.approx(2, rel=1e-12)
    assert float(b.condition_number) == np.inf


def test_frequency_widths():
    b = ns.eigen.bandwidth(spectrum([8.0, 2, 2, 1, 1], frequency=[0, 1, 1, 4, 4]))
    assert float(b.spectral_deviation) == pytest.approx(np.sqrt((2 * 1 * 2 + 2 * 16) / 14))
    # Without the constant mode half of 6 is reached at frequency 1.
    assert float(b.half_power_frequency) == 1
    b = ns.eigen.bandwidth(spectrum([8.0, 1, 1, 2, 2], frequency=[0, 1, 1, 4, 4]))
    assert float(b.half_power_frequency) == 4
    assert np.isnan(ns.eigen.bandwidth(spectrum([2.0, 1])).spectral_deviation)


def test_a_constant_mode_alone_has_no_width_in_frequency():
    b = ns.eigen.bandwidth(spectrum([1.0], frequency=[0]))
    assert (float(b.spectral_deviation), float(b.half_power_frequency)) == (0, 0)


@pytest.mark.parametrize("constant", [0.0, 50.0])
def test_full_width_of_a_triangle_and_of_a_gaussian(constant):
    lag = np.linspace(-0.5, 0.5, 1025)
    triangle = np.maximum(1 - np.abs(lag) / 0.2, 0) + constant
    b = ns.eigen.bandwidth(spectrum([1.0], lag=lag, kernel=triangle))
    assert float(b.full_width_half_maximum) == pytest.approx(0.2, rel=1e-12)
    b = ns.eigen.bandwidth(spectrum([1.0], lag=lag, kernel=np.exp(-0.5 * (lag / 0.05) ** 2) + constant))
    # Linear interpolation between lags 1/1024 apart.
    assert float(b.full_width_half_maximum) == pytest.approx(2 * np.sqrt(2 * np.log(2)) * 0.05, rel=1e-4)


def test_without_lags_there_is_no_full_width():
    assert np.isnan(ns.eigen.bandwidth(spectrum([2.0, 1])).full_width_half_maximum)


def test_a_kernel_that_is_constant_along_the_first_axis_has_no_finite_width():
    lag = np.linspace(-0.5, 0.5, 1025)
    width = float(ns.eigen.bandwidth(spectrum([1.0], lag=lag, kernel=np.ones(1025))).full_width_half_maximum)
    assert not np.isfinite(width)


def test_bandwidth_of_a_real_spectrum(lattices):
    s = ns.eigen.spectrum(lattices["2d periodic"])
    b = ns.eigen.bandwidth(s)
    assert float(b.effective_rank) == pytest.approx(float(s.trace / s.eigenvalue[0]))
    assert float(b.condition_number) == pytest.approx(float(s.eigenvalue[0] / s.eigenvalue[-1]))
    assert int(b.complete) == 1
    assert int(ns.eigen.bandwidth(ns.eigen.spectrum(lattices["2d"], num_modes=3)).complete) == 0
    assert all("units" in b[name].attrs for name in b)
    assert b.full_width_half_maximum.attrs["units"] == "unit"


def test_a_wider_spectrum_is_a_narrower_kernel():
    def measures(scale):
        k = ns.kernel.compose(ns.mapping.gaussian(1, 8, scale=scale), ns.kernel.MLP(depth=1, b_std=0.1))
        return ns.eigen.bandwidth(ns.eigen.spectrum(ns.operator.lattice(k, (13,))))

    narrow, wide = measures(0.5), measures(2.0)
    assert float(wide.full_width_half_maximum) < float(narrow.full_width_half_maximum)
    assert float(wide.half_power_frequency) > float(narrow.half_power_frequency)
    assert float(wide.effective_rank) > float(narrow.effective_rank)


def test_entropy_rank():
    assert float(ns.eigen.bandwidth(spectrum(np.full(7, 3.0))).entropy_rank) == pytest.approx(7)
    part = np.array([0.75, 0.25])
    expected = np.exp(-np.sum(part * np.log(part)))
    assert float(ns.eigen.bandwidth(spectrum([3.0, 1.0])).entropy_rank) == pytest.approx(expected)
    # Eigenvalues that are rounding, and below 0, hold nothing.
    assert float(ns.eigen.bandwidth(spectrum([3.0, 1.0, 0.0, -1e-17])).entropy_rank) == pytest.approx(expected)


def test_entropy_rank_of_an_incomplete_spectrum_is_a_lower_bound(lattices):
    whole = float(ns.eigen.bandwidth(ns.eigen.spectrum(lattices["2d"])).entropy_rank)
    parts = [float(ns.eigen.bandwidth(ns.eigen.spectrum(lattices["2d"], num_modes=m)).entropy_rank) for m in (3, 9, 15)]
    assert parts[0] < parts[1] < parts[2] < whole
    assert parts[2] > 0.9 * whole


def test_energy_below_of_a_torus_is_the_sum_of_its_eigenvalues(lattices):
    for name in ("1d periodic", "2d periodic"):
        s = ns.eigen.spectrum(lattices[name])
        radius = np.linalg.norm(s.dominant_frequency.values, axis=1)
        # Bands are one cycle per unit wide.
        asked = np.arange(1 + int(radius.max()))
        expected = [s.eigenvalue.values[np.rint(radius) <= f].sum() / float(s.trace) for f in asked]
        found = ns.eigen.energy_below(s, asked)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        assert found.dims == ("frequency",)
        assert ns.eigen.energy_below(s, 1e9).item() == pytest.approx(1, rel=1e-12)
        assert ns.eigen.energy_below(s, -1).item() == 0


def test_energy_below_sees_the_whole_trace_of_a_masked_lattice(masked):
    K = masked["2d"][0]
    grid = K.sublattice.grid
    few, whole = ns.eigen.spectrum(K, num_modes=2), ns.eigen.spectrum(K)
    found = ns.eigen.energy_below(few, [0, 1])
    np.testing.assert_array_equal(found, ns.eigen.energy_below(whole, [0, 1]))
    # The trace of P K, P the projector on the band's plane waves on the whole lattice.
    axes = np.meshgrid(*[np.fft.fftfreq(n, d=h) for n, h in zip(grid.shape, grid.spacing, strict=True)])
    frequency = np.stack([axis.ravel() for axis in axes], axis=1)
    low = np.rint(np.linalg.norm(frequency, axis=1) / grid.frequency_step) <= 1
    waves = np.exp(2j * np.pi * K.points @ frequency[low].T) / np.sqrt(grid.size)
    matrix = np.asarray(K.to_dense())
    projected = np.trace(waves.conj().T @ matrix @ waves).real / np.trace(matrix)
    assert found[1].item() == pytest.approx(projected, rel=1e-12)


def test_energy_below_by_modes_where_there_are_no_lags():
    s = spectrum([8.0, 2, 2, 1, 1], frequency=[0, 1, 1, 4, 4])
    np.testing.assert_allclose(ns.eigen.energy_below(s, [[0, 1], [3.9, 4]]), [[8 / 14, 12 / 14], [12 / 14, 1]])
    with pytest.raises(ValueError, match="not on a lattice, so its modes have no frequency"):
        ns.eigen.energy_below(spectrum([2.0, 1]), 3)
