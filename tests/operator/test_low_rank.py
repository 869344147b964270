import jax
import numpy as np
import pytest

import ntkspec as ns
from ntkspec.limits import limited
from ntkspec.operator import _low_rank

EPS = np.finfo(np.float64).eps
TOL = 1e-2


@pytest.fixture(scope="module")
def kernel():
    return ns.kernel.compose(ns.mapping.identity(2, low=-1, high=1), ns.kernel.MLP(depth=1, b_std=0.3))


@pytest.fixture(scope="module")
def points():
    return np.random.default_rng(4).random((300, 2))


@pytest.fixture(scope="module")
def gram(kernel, points):
    return np.asarray(kernel.ntk(points))


@pytest.fixture(scope="module")
def K(kernel, points):
    return ns.operator.low_rank(kernel, points, TOL)


def test_the_error_is_the_trace_of_what_is_left(K, gram):
    left = gram - np.asarray(K.factor) @ np.asarray(K.factor).T
    trace = np.trace(gram)
    value = np.linalg.eigvalsh(left)
    # Positive semi-definite, so that its trace is its trace norm.
    assert value[0] > -1e-14 * trace
    assert np.abs(value).sum() <= K.approximation_error <= np.abs(value).sum() + (10 + K.rank) * EPS * trace
    assert np.trace(left) <= TOL * trace
    # A column fewer would not do.
    fewer = gram - np.asarray(K.factor[:, :-1]) @ np.asarray(K.factor[:, :-1]).T
    assert np.trace(fewer) > TOL * trace
    assert len(set(np.asarray(K.pivots).tolist())) == K.rank


def test_what_is_left_is_that_of_its_pivots(K, gram):
    # F Fᵀ = K(:, S) K(S, S)⁻¹ K(S, :), whatever law drew S.
    chosen = np.asarray(K.pivots)
    nystrom = gram[:, chosen] @ np.linalg.solve(gram[np.ix_(chosen, chosen)], gram[chosen])
    np.testing.assert_allclose(K.to_dense(), nystrom, rtol=0, atol=1e-10 * np.trace(gram) / len(gram))


def test_pivoting_beats_uniform_choice(K, gram, points):
    # On points clustered unevenly the gain is larger; already here the law is not uniform.
    best = np.linalg.eigvalsh(gram)[::-1]
    optimal = int(np.argmax(best.sum() - np.cumsum(best) <= TOL * best.sum())) + 1
    assert optimal <= K.rank <= 4 * optimal


def test_every_answer_is_that_of_its_matrix(K, rng):
    matrix = np.asarray(K.factor) @ np.asarray(K.factor).T
    size, v = np.linalg.norm(matrix), rng.standard_normal((300, 2))
    np.testing.assert_allclose(K @ v, matrix @ v, rtol=0, atol=1e-13 * size * np.linalg.norm(v))
    np.testing.assert_allclose(K.to_dense(), matrix, rtol=0, atol=1e-13 * size)
    np.testing.assert_allclose(K.diagonal(), np.diag(matrix), rtol=0, atol=1e-13 * size)
    assert float(K.frobenius_norm()) == pytest.approx(size, rel=1e-13)
    assert K.placement is None
    assert K.shape == (300, 300)


def test_the_spectrum_is_that_of_the_factor_and_its_bound_holds_for_the_kernel(K, gram):
    s = ns.eigen.spectrum(K)
    exact = np.linalg.eigvalsh(gram)[::-1][: K.rank]
    of_factor = np.linalg.eigvalsh(np.asarray(K.to_dense()))[::-1][: K.rank]
    np.testing.assert_allclose(s.eigenvalue, of_factor, rtol=0, atol=1e-13 * exact[0])
    assert (np.abs(s.eigenvalue.values - exact) <= s.eigenvalue_error.values).all()
    # What is left is positive: no eigenvalue is too large.
    assert (s.eigenvalue.values <= exact + 1e-13 * exact[0]).all()
    assert s.attrs["complete"] == 0
    assert len(ns.eigen.spectrum(K, 5).mode) == 5


def test_a_prediction_carries_the_operators_own_error(K, gram, rng):
    y, value = rng.standard_normal(300), np.linalg.eigvalsh(gram)[-1]
    p = ns.predict(K, y, steps=[0, 1, 5], learning_rate=1 / value)
    q, trained = [], np.zeros(300)
    for step in range(6):
        if step in (0, 1, 5):
            q.append(trained)
        trained = trained + gram @ (y - trained) / value
    off = np.linalg.norm(p.train.values - np.stack(q), axis=1) / np.linalg.norm(y)
    assert (off <= p.operator_error_bound.values + p.error_bound.values + 1e-14).all()
    assert off[-1] > 1e-6, "a bound on nothing"


@pytest.mark.slow
def test_a_fine_tolerance_reaches_the_whole_matrix(kernel, points, gram):
    full = ns.operator.low_rank(kernel, points, 1e-12)
    np.testing.assert_allclose(full.to_dense(), gram, rtol=0, atol=full.approximation_error)
    assert full.approximation_error <= 1e-12 * np.trace(gram)


@pytest.mark.slow
def test_seeds_and_tolerances_change_what_they_should(kernel, points, K):
    other = ns.operator.low_rank(kernel, points, TOL, seed=1)
    assert not np.array_equal(other.pivots[:20], K.pivots[:20])
    assert ns.operator.low_rank(kernel, points, 0.1).rank < K.rank
    nngp = ns.operator.low_rank(kernel, points, TOL, which="nngp")
    error = np.trace(np.asarray(kernel.nngp(points)) - np.asarray(nngp.to_dense()))
    assert error == pytest.approx(nngp.approximation_error, rel=1e-9)


def test_points_that_repeat_are_no_new_columns(kernel, points):
    twice = np.tile(points[:150], (2, 1))
    K = ns.operator.low_rank(kernel, twice, 1e-10)
    assert K.rank <= 150
    np.testing.assert_allclose(K.to_dense(), kernel.ntk(twice), rtol=0, atol=K.approximation_error)


def test_thinning_keeps_pivots_in_proportion_to_what_is_left():
    # Two equal points of three: after one of the pair the other has nothing left, and is always rejected.
    H = np.array([[1.0, 1.0, 0.5], [1.0, 1.0, 0.5], [0.5, 0.5, 1.0]])
    thin = jax.jit(jax.vmap(_low_rank._thin, in_axes=(None, 0)))
    accepted, L = thin(H, np.random.default_rng(0).random((4000, 3)))
    accepted = np.asarray(accepted)
    assert accepted[:, 0].all()
    assert not accepted[:, 1].any()
    # 1 − 0.5² of the third is left: five standard errors.
    assert accepted[:, 2].mean() == pytest.approx(0.75, abs=5 * (0.75 * 0.25 / 4000) ** 0.5)
    both = np.asarray(L)[accepted[:, 2]][0][np.ix_([0, 2], [0, 2])]
    np.testing.assert_allclose(both @ both.T, H[np.ix_([0, 2], [0, 2])], atol=1e-15)


@pytest.mark.parametrize("tol", [0.0, 1e-14, 1.0, np.nan])
def test_a_tolerance_out_of_reach_is_refused(tol, kernel, points):
    with pytest.raises(ValueError, match=r"expected between 1e-12 .* and 1"):
        ns.operator.low_rank(kernel, points, tol)


def test_bad_input_is_refused_in_words(kernel, points):
    with pytest.raises(ValueError, match="expected at least one row"):
        ns.operator.low_rank(kernel, np.zeros((0, 2)), TOL)
    with pytest.raises(ValueError, match="which='both'"):
        ns.operator.low_rank(kernel, points, TOL, which="both")
    with (
        limited(memory=1000),
        pytest.raises(ValueError, match=r"factor of 256 columns for 300 points .* take a larger tol"),
    ):
        ns.operator.low_rank(kernel, points, TOL)
