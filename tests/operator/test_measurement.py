import jax
import jax.numpy as jnp
import numpy as np
import oracle_measurement as oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ntkspec as ns
from ntkspec.limits import limited

M = ns.operator.measurement
RNG = np.random.default_rng(11)
MASK, MASK3 = RNG.random((6, 5)) < 0.5, RNG.random((3, 4, 6)) < 0.5
POINTS, WEIGHTS = RNG.random((3, 4, 2)), RNG.standard_normal((3, 4))
ANGLES = np.linspace(-0.3, 3.3, 7)
TAPS = np.array([1.0, 2.0, -0.5])


def _function(f):
    return jnp.cumsum(f, axis=0) @ jnp.arange(5.0)


#: Measurement and its matrix.
CASES = {
    "fourier": (M.masked_fourier(MASK), oracle.fourier(MASK)),
    "fourier 1d odd": (M.masked_fourier(np.ones(7, dtype=bool)), oracle.fourier(np.ones(7, dtype=bool))),
    "fourier 3d": (M.masked_fourier(MASK3), oracle.fourier(MASK3)),
    "spectral laplacian": (
        M.spectral_laplacian((6, 5)),
        oracle.spectral((6, 5), lambda *k: -4 * np.pi**2 * sum(a**2 for a in k)),
    ),
    "spectral gradient": (
        M.spectral_gradient((6, 5)),
        np.concatenate(
            [
                oracle.spectral((6, 5), lambda k, _: np.where(np.abs(k) == 3, 0, 2j * np.pi * k)),
                oracle.spectral((6, 5), lambda _, k: 2j * np.pi * k),
            ]
        ),
    ),
    "gradient": (M.gradient((6, 5)), oracle.gradient((6, 5))),
    "gradient 3d": (M.gradient((3, 4, 5)), oracle.gradient((3, 4, 5))),
    "laplacian": (M.laplacian((6, 5)), oracle.laplacian((6, 5))),
    "mixed derivative": (M.derivative((6, 5), (1, 1)), oracle.mixed((6, 5))),
    "spectral mixed derivative": (
        M.spectral_derivative((6, 5), (1, 2)),
        oracle.spectral((6, 5), lambda k, j: np.where(np.abs(k) == 3, 0, -8j * np.pi**3 * k * j**2)),
    ),
    "blur": (M.blur_decimate((7, 6), 2, TAPS), oracle.blur_decimate((7, 6), 2, TAPS)),
    "box": (M.blur_decimate((6, 5), 3), oracle.blur_decimate((6, 5), 3, np.full(3, 1 / 3))),
    "tomography": (M.parallel_beam((6, 6), ANGLES), oracle.parallel_beam((6, 6), ANGLES, 9)),
    "tomography oblong": (M.parallel_beam((9, 4), ANGLES, 5), oracle.parallel_beam((9, 4), ANGLES, 5)),
    "tomography flat": (M.parallel_beam((3, 8), [1.5, 0.1], 9), oracle.parallel_beam((3, 8), [1.5, 0.1], 9)),
    "rays": (M.rays((6, 5), POINTS, WEIGHTS), oracle.rays((6, 5), POINTS, WEIGHTS)),
    "subsample": (M.subsample(MASK), np.eye(30)[MASK.ravel()]),
    "matrix": (M.matrix(POINTS[0]), POINTS[0]),
    "function": (M.function(_function, (6, 5)), oracle.rows((6, 5), lambda f: np.cumsum(f, axis=0) @ np.arange(5.0))),
    "stacked": (
        M.stacked(M.gradient((6, 5)), M.subsample(MASK), weights=[0.1, 2.0]),
        np.concatenate([0.1 * oracle.gradient((6, 5)), 2 * np.eye(30)[MASK.ravel()]]),
    ),
}

#: One program for all measurements of a kind and size.
both_ways = jax.jit(lambda A, f, w: (A.forward(f), A.transpose(w)))


@pytest.mark.parametrize("name", CASES)
def test_forward_and_transpose_are_the_matrix(name, rng):
    A, matrix = CASES[name]
    assert A.shape == matrix.shape
    # Sums of up to a few hundred products.
    tolerance = 1e-13 * np.abs(matrix).sum(axis=1).max()
    f, w = rng.standard_normal(A.points_shape), rng.standard_normal(A.num_measurements)
    measured, back = both_ways(A, f, w)
    np.testing.assert_allclose(measured, matrix @ f.ravel(), rtol=0, atol=tolerance)
    assert back.shape == A.points_shape
    np.testing.assert_allclose(back.ravel(), matrix.T @ w, rtol=0, atol=1e-13 * np.abs(matrix).sum(axis=0).max())
    assert float(measured @ w) == pytest.approx(float(np.sum(f * back)), rel=0, abs=10 * tolerance)


@pytest.mark.parametrize("name", ["fourier"])
def test_to_dense_is_the_matrix(name):
    A, matrix = CASES[name]
    np.testing.assert_allclose(A.to_dense(), matrix, rtol=0, atol=1e-13)


@settings(max_examples=8, deadline=None)
@given(order=st.permutations(range(30)), seed=st.integers(0, 2**16))
def test_any_nine_frequencies(order, seed):
    mask = np.zeros(30, dtype=bool)
    mask[order[:9]] = True
    A, matrix = M.masked_fourier(mask.reshape(6, 5)), oracle.fourier(mask.reshape(6, 5))
    rng = np.random.default_rng(seed)
    f, w = rng.standard_normal((6, 5)), rng.standard_normal(18)
    measured, back = both_ways(A, f, w)
    np.testing.assert_allclose(measured, matrix @ f.ravel(), rtol=0, atol=1e-13)
    np.testing.assert_allclose(back.ravel(), matrix.T @ w, rtol=0, atol=1e-13)


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(theta=st.lists(st.floats(-7, 7), min_size=4, max_size=4), seed=st.integers(0, 2**16))
def test_tomography_of_any_angles_is_the_matrix_of_its_lines(theta, seed):
    # One direction class each, so that one program serves all.
    angles = [
        t % (np.pi / 4) * s + o for t, s, o in zip(theta, (1, -1, 1, -1), (0, 0, np.pi / 2, np.pi / 2), strict=True)
    ]
    A = M.parallel_beam((8, 8), angles)
    matrix = oracle.parallel_beam((8, 8), angles, A.num_measurements // 4)
    rng = np.random.default_rng(seed)
    f, w = rng.standard_normal((8, 8)), rng.standard_normal(A.num_measurements)
    # A ray through a pixel's edge may count it on either side, with weights that then are rounding.
    measured, back = both_ways(A, f, w)
    np.testing.assert_allclose(measured, matrix @ f.ravel(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(back.ravel(), matrix.T @ w, rtol=0, atol=1e-12)


def test_derivatives_are_exact_for_what_they_say():
    x, y = np.meshgrid(np.arange(6) / 6, np.arange(5) / 5, indexing="ij")
    f, inside = 1 + 2 * x**2 - x * y + 3 * y**2, (slice(1, -1), slice(1, -1))
    expected = np.concatenate([(4 * x - y)[inside].ravel(), (6 * y - x)[inside].ravel()])
    np.testing.assert_allclose(M.gradient((6, 5)) @ f, expected, rtol=0, atol=1e-13)
    cubic = x**3 - 2 * y**3
    np.testing.assert_allclose(M.laplacian((6, 5)) @ cubic, (6 * x - 12 * y)[inside].ravel(), rtol=0, atol=1e-12)
    by_axis = (M.derivative((6, 5), orders) @ f for orders in ((2, 0), (0, 1)))
    for found, expected in zip(by_axis, (4 * np.ones((4, 5)), (6 * y - x)[:, 1:-1]), strict=True):
        np.testing.assert_allclose(found, expected.ravel(), rtol=0, atol=1e-12)
    wave = np.sin(2 * np.pi * (2 * x - y))
    np.testing.assert_allclose(M.spectral_laplacian((6, 5)) @ wave, (-20 * np.pi**2 * wave).ravel(), rtol=0, atol=1e-11)


def test_a_measurement_knows_where_it_was_taken():
    grid = np.stack(np.meshgrid(np.arange(6) / 6, np.arange(5) / 5, indexing="ij"), axis=-1)
    points = grid.reshape(-1, 2)
    inner = grid[1:-1, 1:-1].reshape(-1, 2)
    np.testing.assert_allclose(M.gradient((6, 5)).positions(points), np.concatenate([inner, inner]), atol=1e-15)
    np.testing.assert_allclose(M.blur_decimate((6, 5), 2).positions(points)[0], [1 / 12, 1 / 10], atol=1e-15)
    np.testing.assert_array_equal(M.subsample(MASK).positions(points), points[MASK.ravel()])
    assert np.isnan(M.masked_fourier(MASK).positions(points)).all()
    stack = CASES["stacked"][0].positions(points)
    np.testing.assert_allclose(stack[-1], points[MASK.ravel()][-1])


def test_channels_and_flat_values_are_measured(rng):
    A, matrix = CASES["fourier"]
    f = rng.standard_normal((6, 5, 2))
    np.testing.assert_allclose(A @ f, matrix @ f.reshape(30, 2), rtol=0, atol=1e-13)
    np.testing.assert_allclose(A @ f.reshape(30, 2), A @ f, rtol=0, atol=1e-13)
    np.testing.assert_allclose(A @ f[..., 0].ravel(), A @ f[..., 0], rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: M.matrix([1.0, 2.0]), r"`entries` has shape \(2,\); expected a matrix"),
        (lambda: M.matrix([[np.nan]]), "of finite numbers"),
        (lambda: M.function(lambda f: f + 1, (3,)), "real linear function|not a linear function"),
        (lambda: M.function(lambda f: f**2, (3,)), "not a linear function"),
        (lambda: M.function(lambda f: f.sum(), (0,)), r"expected sizes of at least 1"),
        (lambda: M.function(lambda f: jnp.fft.fft(f), (4,)), "stack the real and the imaginary part"),
        (lambda: M.subsample(np.zeros(3, dtype=bool)), "keeps 0; expected booleans"),
        (lambda: M.masked_fourier(np.ones((3, 3))), "type float64, and keeps 9; expected booleans"),
        (lambda: M.gradient((2, 5)), "expected sizes of at least 3"),
        (lambda: M.derivative((2, 5), (1, 0)), "fewer than 3 points on an axis"),
        (lambda: M.derivative((6, 5), (1, 3)), "expected 2 whole numbers up to 2"),
        (lambda: M.spectral_derivative((6, 5), (0, 0)), "not all 0"),
        (lambda: M.blur_decimate((4,), 0), "factor=0; expected a positive integer"),
        (lambda: M.blur_decimate((4,), 5), r"window has shape \(5,\) on a lattice \(4,\)"),
        (lambda: M.parallel_beam((4,), [0.0]), "expected an image"),
        (lambda: M.parallel_beam((4, 4), []), r"angles have shape \(0,\)"),
        (lambda: M.parallel_beam((4, 4), [0.0], 0), "num_detectors=0; expected a positive integer"),
        (lambda: M.rays((4,), [[[0.5]]], [[1.0, 2.0]]), r"expected \(rays, samples, 1\) and \(rays, samples\)"),
        (lambda: M.rays((4,), [[[1.0]]], [[1.0]]), r"outside \[0, 1\)\^d"),
        (lambda: M.rays((4,), [[[0.5]]], [[np.inf]]), "`weights` holds NaN or infinity"),
        (lambda: M.stacked(M.gradient((3,)), M.gradient((4,))), "expected one or more parts of one shape"),
        (lambda: M.stacked(M.gradient((3,)), weights=[0.0]), "expected 1 positive numbers"),
        (lambda: M.gradient((6, 5)) @ np.ones((5, 6)), r"values have shape \(5, 6\); expected \(6, 5\) or \(30,\)"),
    ],
)
def test_bad_measurements_are_refused_in_words(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_dense_measurement_that_does_not_fit_is_refused():
    with limited(memory=1000), pytest.raises(ValueError, match=r"dense matrix of 24 x 30 .* use A @ values instead"):
        M.gradient((6, 5)).to_dense()
