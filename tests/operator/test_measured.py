import dataclasses

import jax
import numpy as np
import oracle_dense
import oracle_measurement as oracle
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ntkspec as ns
from ntkspec.limits import limited

M = ns.operator.measurement
MASK = np.random.default_rng(11).random((5, 4)) < 0.5
ANGLES = [0.1, 1.2, 2.5]
FOURIER = (M.masked_fourier(MASK), oracle.fourier(MASK))
#: Measurements of the "2d" lattice (5, 4) with their matrices.
CASES = {
    "fourier": FOURIER,
    "tomography": (M.parallel_beam((5, 4), ANGLES, 5), oracle.parallel_beam((5, 4), ANGLES, 5)),
    "stacked": (
        M.stacked(M.laplacian((5, 4)), M.subsample(MASK), weights=[0.01, 1.0]),
        np.concatenate([0.01 * oracle.laplacian((5, 4)), np.eye(20)[MASK.ravel()]]),
    ),
    "blur": (M.blur_decimate((5, 4), 2), oracle.blur_decimate((5, 4), 2, [0.5, 0.5])),
}


@pytest.fixture(scope="module")
def grams(lattices):
    K = lattices["2d"]
    matrix = np.asarray(K.to_dense())
    return {name: (ns.operator.measured(K, A), B @ matrix @ B.T) for name, (A, B) in CASES.items()}


@pytest.mark.parametrize("name", CASES)
def test_every_answer_is_that_of_the_dense_matrix(name, grams, rng):
    K, matrix = grams[name]
    size = np.linalg.norm(matrix)
    v = rng.standard_normal(len(matrix))
    # A thousandth of the 1e-10 that is promised.
    np.testing.assert_allclose(K @ v, matrix @ v, rtol=0, atol=1e-13 * size * np.linalg.norm(v))
    np.testing.assert_allclose(K.diagonal(), np.diag(matrix), rtol=0, atol=1e-13 * size)
    dense = np.asarray(K.to_dense())
    np.testing.assert_allclose(dense, matrix, rtol=0, atol=1e-13 * size)
    np.testing.assert_array_equal(dense, dense.T)
    assert float(K.frobenius_norm()) == pytest.approx(size, rel=1e-13)
    assert float(K.trace()) == pytest.approx(np.trace(matrix), rel=1e-12)
    assert K.points.shape == (len(matrix), 2)


@pytest.mark.parametrize(("name", "kernel"), [("1d", "1d"), ("3d", "3d"), ("periodic", "2d periodic")])
def test_the_fourier_diagonal_in_closed_form(name, kernel, lattices):
    # Odd and even sizes, whole and half periods, and a torus no larger than the lattice.
    K = lattices[kernel]
    mask = np.ones(K.sublattice.shape, dtype=bool)
    B = oracle.fourier(mask)
    matrix = B @ np.asarray(K.to_dense()) @ B.T
    diagonal = ns.operator.measured(K, M.masked_fourier(mask)).diagonal()
    np.testing.assert_allclose(diagonal, np.diag(matrix), rtol=0, atol=1e-13 * np.linalg.norm(matrix))


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(1, 19)), seed=st.integers(0, 2**16))
def test_any_matrix_on_any_mask(order, seed, kernels, lattices):
    # Nine kept points with both corners and a neighbour: one compiled program for all masks.
    index = np.sort([0, 19, 1, 4, *[i for i in order if i not in (1, 4)][:5]])
    mask = np.zeros(20, dtype=bool)
    mask[index] = True
    rng = np.random.default_rng(seed)
    B, v = rng.standard_normal((6, 9)), rng.standard_normal(6)
    K = ns.operator.measured(ns.operator.lattice(kernels["2d"], (5, 4), mask.reshape(5, 4)), B)
    matrix = B @ np.asarray(lattices["2d"].to_dense())[np.ix_(index, index)] @ B.T
    np.testing.assert_allclose(K @ v, matrix @ v, rtol=0, atol=1e-12 * np.linalg.norm(matrix))
    np.testing.assert_allclose(K.diagonal(), np.diag(matrix), rtol=0, atol=1e-12 * np.linalg.norm(matrix))


def test_measurements_of_scattered_points_and_of_measurements(kernels, rng):
    x, B, C = rng.random((7, 2)), rng.standard_normal((4, 7)), rng.standard_normal((2, 4))
    K = ns.operator.measured(ns.operator.measured(ns.operator.dense(kernels["2d"], x), B), C)
    matrix = C @ B @ np.asarray(kernels["2d"].ntk(x)) @ B.T @ C.T
    np.testing.assert_allclose(K.to_dense(), matrix, rtol=0, atol=1e-12 * np.linalg.norm(matrix))
    assert K.placement is None
    assert K.field_shape is None
    with pytest.raises(ValueError, match="everywhere=True needs a lattice operator"):
        ns.predict(K, np.ones(2), steps=[1], learning_rate=1e-3, everywhere=True)
    with pytest.raises(ValueError, match=r"knows of no points but its own.*operator\.lattice"):
        K.field(np.ones(2))


@pytest.mark.parametrize("name", ["fourier", pytest.param("stacked", marks=pytest.mark.slow)])
def test_spectrum_and_rate_are_the_dense_ones(name, grams):
    K, matrix = grams[name]
    expected = np.linalg.eigvalsh(matrix)[::-1]
    s = ns.eigen.spectrum(K)
    np.testing.assert_allclose(s.eigenvalue, expected, rtol=0, atol=1e-13 * np.linalg.norm(matrix))
    assert (np.abs(s.eigenvalue.values - expected) <= s.eigenvalue_error.values + 1e-14 * expected[0]).all()
    assert np.isnan(s.dominant_frequency).all()
    assert ns.dynamics.max_learning_rate(K) == pytest.approx(2 / expected[0], rel=1e-10)


@pytest.mark.parametrize("channels", [pytest.param(None, marks=pytest.mark.slow), 2])
def test_prediction_on_measurements_reconstructs_the_field(channels, grams, lattices):
    K, matrix = grams["fourier"]
    whole, B = np.asarray(lattices["2d"].to_dense()), FOURIER[1]
    f = np.random.default_rng(2).standard_normal((20,) if channels is None else (20, channels))
    y, rate, steps = B @ f, 1 / np.linalg.norm(matrix, 2), [0, 3, 50]
    p = ns.predict(K, y, steps=steps, learning_rate=rate, everywhere=True, tolerance=1e-11)
    expected = oracle_dense.descend(matrix, y, rate, steps)
    np.testing.assert_allclose(p.train, expected, rtol=0, atol=1e-10 * np.linalg.norm(y))
    # f* = K Aᵀ w with w the sum of the residuals that descent has added up.
    weights, w, trained = [], np.zeros_like(y), np.zeros_like(y)
    for step in range(51):
        if step in steps:
            weights.append(w.copy())
        w, trained = w + rate * (y - trained), trained + rate * matrix @ (y - trained)
    field = np.stack([whole @ B.T @ w for w in weights]).reshape(p.field.shape)
    np.testing.assert_allclose(p.field, field, rtol=0, atol=1e-9 * np.linalg.norm(y))
    again = np.asarray(K.restrict(p.field.values[-1]))
    np.testing.assert_allclose(again, p.train[-1], rtol=0, atol=1e-9 * np.linalg.norm(y))


def test_an_initial_function_on_the_lattice_is_measured(grams, rng):
    K, _ = grams["blur"]
    start = rng.standard_normal((5, 4))
    p = ns.predict(K, np.zeros(K.num_points), steps=[0], learning_rate=1e-3, initial=start, everywhere=True)
    np.testing.assert_allclose(p.train[0], CASES["blur"][1] @ start.ravel(), rtol=0, atol=1e-13)
    np.testing.assert_allclose(p.field[0], start, rtol=0, atol=1e-13)


def test_samples_have_frequencies_and_other_measurements_have_none(lattices, masked, grams):
    kept, mask = masked["2d"]
    samples = ns.operator.measured(lattices["2d"], M.subsample(mask))
    np.testing.assert_array_equal(samples.placement.index, np.flatnonzero(mask))
    np.testing.assert_array_equal(samples.points, kept.points)
    np.testing.assert_allclose(samples @ np.ones(kept.num_points), kept @ np.ones(kept.num_points), rtol=1e-13)
    K, _ = grams["fourier"]
    with pytest.raises(ValueError, match="measurements with no place on a lattice, so frequencies are not defined"):
        ns.eigen.convergence(K, np.ones(K.num_points), steps=[1], learning_rate=1e-3)


def test_it_is_a_pytree_that_tells_measurements_apart(grams):
    K, _ = grams["fourier"]
    again = jax.tree.unflatten(jax.tree.structure(K), jax.tree.leaves(K))
    assert jax.tree.structure(again) == jax.tree.structure(K)
    assert jax.tree.structure(M.spectral_laplacian((5, 4))) != jax.tree.structure(M.subsample(MASK))
    slope = jax.grad(lambda v: v @ K.matvec(v) / 2)(np.ones(K.num_points))
    np.testing.assert_allclose(slope, K @ np.ones(K.num_points), rtol=0, atol=1e-12)


def test_what_takes_too_many_products_is_estimated_and_says_so(grams):
    K, matrix = grams["tomography"]
    with (
        limited(products=10),
        pytest.warns(
            ns.operator.EstimateWarning, match=r"trace of 15 measurements is estimated from 64 random products"
        ),
    ):
        trace = float(K.trace())
    with (
        limited(products=10),
        pytest.warns(ns.operator.EstimateWarning, match="squared Frobenius norm of 15 measurements"),
    ):
        norm = float(K.frobenius_norm())
    # Five standard errors of Hutchinson's estimator, √(2 Σ_{i≠j} K_ij²/64); that of the norm is of the same order.
    size = np.linalg.norm(matrix)
    assert 0 < abs(trace - np.trace(matrix)) < 5 * size * (2 / 64) ** 0.5
    assert 0 < abs(norm - size) < 5 * size * (2 / 64) ** 0.5
    with limited(products=10), pytest.raises(ValueError, match=r"diagonal of 15 measurements would take 15 products"):
        K.diagonal()


def test_bad_input_is_refused_in_words(lattices, masked):
    K = lattices["2d"]
    with pytest.raises(TypeError, match="`K` is a str; expected an operator"):
        ns.operator.measured("K", np.eye(2))
    with pytest.raises(
        ValueError, match=r"takes values of shape \(4, 5\); expected those of the whole lattice \(5, 4\)"
    ):
        ns.operator.measured(K, M.gradient((4, 5)))
    with pytest.raises(ValueError, match="this lattice has a mask: keep all points and choose by"):
        ns.operator.measured(masked["2d"][0], M.gradient((5, 4)))
    with pytest.raises(ValueError, match=r"takes values of shape \(7,\); expected"):
        ns.operator.measured(K, np.ones((2, 7)))
    small = ns.operator.measured(K, dataclasses.replace(FOURIER[0]))
    with pytest.raises(ValueError, match="values have shape"):
        small.restrict(np.ones((4, 5)))
    with (
        limited(memory=1000),
        pytest.raises(ValueError, match=r"dense Gram matrix of \d+ measurements .* multiply by K @ v"),
    ):
        small.to_dense()
