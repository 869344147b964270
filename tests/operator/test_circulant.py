"""What structure promises of a lattice: exact equality of equal lags in the operator, rounding in the Gram."""

import numpy as np
import pytest

EPS = np.finfo(np.float64).eps


@pytest.mark.parametrize("name", ["1d", "1d periodic"])
def test_the_matrix_of_a_lattice_is_exactly_toeplitz_and_circulant_for_integer_frequencies(name, lattices):
    K = np.asarray(lattices[name].to_dense())
    n = len(K)
    np.testing.assert_array_equal(K, K.T)
    assert all(np.ptp(np.diagonal(K, lag)) == 0 for lag in range(n))
    circulant = np.stack([np.roll(K[0], i) for i in range(n)])
    assert np.array_equal(K, circulant) == (name == "1d periodic")


@pytest.mark.parametrize("name", ["1d", "1d periodic"])
def test_the_gram_of_its_points_is_exactly_symmetric_and_equal_in_equal_lags_to_rounding(name, kernels, lattices):
    """Features of points, unlike lags, do not repeat digit by digit."""
    K = np.asarray(kernels[name].ntk(lattices[name].points))
    n = len(K)
    np.testing.assert_array_equal(K, K.T)
    spread = 32 * EPS * K.max()
    assert all(np.ptp(np.diagonal(K, lag)) <= spread for lag in range(n))
    if name == "1d periodic":
        assert all(abs(K[0, lag] - K[0, n - lag]) <= spread for lag in range(1, n))
