"""The matrix-free empirical NTK against the matrix, and what the eigen and prediction rooms make of both."""

from dataclasses import replace

import jax
import numpy as np
import pytest

import ntkspec as ns
from ntkspec.limits import limited

EPS = np.finfo(np.float64).eps
SHAPE = (5, 4)
K = ns.kernel.compose(ns.mapping.gaussian(2, 6, scale=1.0), ns.kernel.MLP(depth=2, width=32, b_std=0.2))
X = ns.operator.lattice(K, SHAPE).points
PARAMS = K.init(jax.random.key(3), 2)
Y = np.stack([np.sin(2 * np.pi * X[:, 0]), X[:, 1]], axis=1)


@pytest.fixture(scope="module")
def both():
    return ns.empirical.operator(K, PARAMS, X), ns.empirical.dense(K, PARAMS, X)


def test_products_are_those_of_the_matrix_whatever_the_blocks():
    for output, block in ((None, 1024), (1, 1024), (None, 6)):
        free = replace(ns.empirical.operator(K, PARAMS, X, output=output), block=block)
        matrix = ns.empirical.ntk(K, PARAMS, X, output=output)
        tolerance = 500 * EPS * np.abs(matrix).max()
        np.testing.assert_allclose(free @ Y, matrix @ Y, rtol=0, atol=tolerance)
        np.testing.assert_allclose(free @ Y[:, 0], matrix @ Y[:, 0], rtol=0, atol=tolerance)


def test_what_an_operator_answers_is_the_same_of_both(both):
    free, dense = both
    np.testing.assert_array_equal(free.points, X)
    assert free.shape == dense.shape == (20, 20)
    assert free.placement.grid.shape == SHAPE
    np.testing.assert_array_equal(free.to_dense(), dense.to_dense())
    np.testing.assert_allclose(free.diagonal(), dense.diagonal(), rtol=100 * EPS)
    np.testing.assert_allclose(free.trace(), dense.trace(), rtol=100 * EPS)
    np.testing.assert_allclose(free.frobenius_norm(), dense.frobenius_norm(), rtol=100 * EPS)
    top = float(np.linalg.eigvalsh(np.asarray(dense.to_dense()))[-1])
    assert ns.operator.largest_eigenvalue(free) == pytest.approx(top, rel=1e-10)


def test_the_frobenius_norm_of_many_blocks(both):
    with limited(block=3):
        np.testing.assert_allclose(both[0].frobenius_norm(), both[1].frobenius_norm(), rtol=100 * EPS)


def test_the_precision_of_products_is_that_of_the_parameters(both):
    single = jax.tree.map(lambda leaf: leaf.astype("float32"), PARAMS)
    free, dense = ns.empirical.operator(K, single, X), ns.empirical.dense(K, single, X)
    assert (free @ Y).dtype == free.dtype == dense.dtype == np.float32
    expected = np.asarray(both[1] @ Y)
    for K32 in (free, dense):
        error = np.abs(K32 @ Y - expected).max() / np.abs(expected).max()
        assert 1e-9 < error < 1e-5


def test_spectrum_bandwidth_and_convergence_take_it_like_any_operator(both):
    spectra = [ns.eigen.spectrum(each, num_modes=6) for each in both]
    np.testing.assert_allclose(spectra[0].eigenvalue, spectra[1].eigenvalue, rtol=1e-10)
    np.testing.assert_allclose(spectra[0].frobenius_norm, spectra[1].frobenius_norm, rtol=1e-12)
    assert float(ns.eigen.bandwidth(spectra[0]).effective_rank) > 0
    options = {"steps": [0, 10, 100], "learning_rate": ns.dynamics.max_learning_rate(both[1]) / 2}
    curves = [ns.eigen.convergence(each, Y, **options) for each in both]
    np.testing.assert_allclose(curves[0].residual_energy, curves[1].residual_energy, rtol=0, atol=1e-9)


def test_a_prediction_from_it_is_the_linearised_network_trained():
    """One output, the kernel of the very network: the prediction starts from its own f_0 and stays with it."""
    line = ns.kernel.linearised(K)
    K_0 = ns.empirical.operator(K, K.init(jax.random.fold_in(jax.random.key(0), 0)), X)
    options = {"steps": [0, 1, 10, 100], "learning_rate": ns.dynamics.max_learning_rate(K_0) / 2}
    r = ns.trainer.train(line, X, Y[:, 0], seeds=1, dtype="float64", centered=False, **options)
    p = ns.predict(K_0, Y[:, 0], initial=r.train.sel(seed=0, step=0).values, tolerance=1e-11, **options)
    np.testing.assert_allclose(r.train.sel(seed=0), p.train, rtol=0, atol=1e-9)
