import jax
import jax.numpy as jnp
import numpy as np
import oracle_dense
import pytest

import ntkspec as ns
from ntkspec.limits import limited, refuse_if_too_large

EPS = np.finfo(np.float64).eps


@pytest.fixture(scope="module")
def points():
    return np.random.default_rng(0).random((12, 2))


@pytest.fixture(scope="module")
def K(kernels, points):
    return ns.operator.dense(kernels["2d"], points)


def test_dense_is_the_gram(K, kernels, points, rng):
    matrix = np.asarray(kernels["2d"].ntk(points))
    np.testing.assert_array_equal(K.to_dense(), matrix)
    np.testing.assert_array_equal(K.diagonal(), np.diag(matrix))
    np.testing.assert_array_equal(K.points, points)
    assert K.shape == (12, 12)
    assert float(K.frobenius_norm()) == pytest.approx(np.linalg.norm(matrix), rel=4 * EPS)
    v = rng.standard_normal((12, 3))
    np.testing.assert_allclose(K @ v, matrix @ v, rtol=0, atol=100 * EPS)
    np.testing.assert_allclose(K @ v[:, 1], matrix @ v[:, 1], rtol=0, atol=100 * EPS)


def test_dense_takes_raw_coordinates_and_either_kernel(points):
    k = ns.kernel.compose(ns.mapping.identity(2), ns.kernel.MLP(depth=1, b_std=0.1))
    ntk, nngp = (np.asarray(ns.operator.dense(k, points, which=which).to_dense()) for which in ("ntk", "nngp"))
    np.testing.assert_array_equal(ntk, k.ntk(points))
    np.testing.assert_array_equal(nngp, k.nngp(points))
    assert not np.allclose(ntk, nngp)


def test_placement_finds_lattice_points_and_no_others(K):
    assert K.placement is None
    reversed_lattice = oracle_dense.lattice_points((5, 4))[::-1]
    placement = ns.operator.Dense(jnp.asarray(reversed_lattice), jnp.eye(20)).placement
    assert placement.grid.shape == (5, 4)
    np.testing.assert_array_equal(placement.index, np.arange(20)[::-1])


def test_dense_is_a_pytree_that_differentiates(K, rng):
    v = jnp.asarray(rng.standard_normal(12))
    again = jax.tree.unflatten(jax.tree.structure(K), jax.tree.leaves(K))
    np.testing.assert_array_equal(again @ v, K @ v)
    np.testing.assert_allclose(jax.grad(lambda v: v @ K.matvec(v) / 2)(v), K @ v, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("n", [1, 2, 3, 20])
def test_largest_eigenvalue_is_numpys(n, rng):
    matrix = rng.standard_normal((n, n))
    matrix = matrix @ matrix.T + np.ones((n, n))
    K = ns.operator.Dense(jnp.asarray(rng.random((n, 1))), jnp.asarray(matrix))
    # The square of the tolerance, or rounding.
    assert ns.operator.largest_eigenvalue(K) == pytest.approx(np.linalg.eigvalsh(matrix)[-1], rel=1e-13)


@pytest.mark.parametrize("name", ["1d", "3d", "2d periodic"])
def test_largest_eigenvalue_of_lattices(name, lattices, masked):
    for K in (lattices[name], masked[name][0]):
        expected = np.linalg.eigvalsh(np.asarray(K.to_dense()))[-1]
        assert ns.operator.largest_eigenvalue(K) == pytest.approx(expected, rel=1e-13)


def test_largest_eigenvalue_short_of_its_tolerance_stays_above(rng):
    # Close eigenvalues at the top take more than 16 products.
    value = 1 + np.linspace(0, 1e-3, 200)
    Q, _ = np.linalg.qr(rng.standard_normal((200, 200)))
    K = ns.operator.Dense(jnp.zeros((200, 1)), jnp.asarray((Q * value) @ Q.T))
    top = value[-1]
    rough = ns.operator.largest_eigenvalue(K, tolerance=1e-15, max_steps=16)
    assert top * (1 - 1e-14) <= rough <= top * 1.001
    fine = ns.operator.largest_eigenvalue(K, tolerance=1e-7, max_steps=512)
    assert abs(fine - top) < abs(rough - top)
    assert fine == pytest.approx(top, rel=1e-9)


def test_largest_eigenvalue_does_not_depend_on_the_seed(masked):
    K, _ = masked["2d"]
    values = [ns.operator.largest_eigenvalue(K, seed=seed) for seed in range(3)]
    assert np.ptp(values) < 1e-13 * values[0]


def test_dense_refuses_what_does_not_fit_and_names_the_lattice(kernels, points):
    with (
        limited(memory=1000),
        pytest.raises(
            ValueError, match=r"dense Gram matrix of 12 points .* on a regular lattice use operator\.lattice"
        ),
    ):
        ns.operator.dense(kernels["2d"], points)


def test_dense_counts_float64_bytes_whatever_the_points_are(kernels, points):
    # The matrix is float64 also where the points came as float32: 1.25 · 12² · 8 bytes.
    assert kernels["2d"].ntk(points.astype(np.float32)).dtype == np.float64
    with limited(memory=1400), pytest.raises(ValueError, match="dense Gram matrix of 12 points"):
        ns.operator.dense(kernels["2d"], points.astype(np.float32))


def test_refusal_says_sizes():
    with limited(memory=2**30):
        refuse_if_too_large(2**30, "this", "that")
    with limited(memory=2**30), pytest.raises(ValueError, match=r"this would need 2 GiB, of 1 GiB available; that"):
        refuse_if_too_large(2**31, "this", "that")


@pytest.mark.parametrize(
    ("x", "which", "message"),
    [
        (np.zeros((0, 2)), "ntk", "expected at least one row"),
        (np.zeros((3, 1)), "ntk", r"points have shape \(3, 1\); expected \(n, 2\)"),
        (np.zeros(3), "ntk", r"points have shape \(3,\)"),
        (np.zeros((3, 2)), "cov", "which='cov'"),
    ],
)
def test_bad_points_are_refused_in_words(x, which, message, kernels):
    with pytest.raises(ValueError, match=message):
        ns.operator.dense(kernels["2d"], x, which=which)
