"""The ensemble against the loop of training applied to every initial function at once."""

import numpy as np
import pytest

import ntkspec as ns
from ntkspec.limits import limited

STEPS = [0, 1, 7, 200]


@pytest.fixture(scope="module")
def problem(kernels):
    k = kernels["1d"]
    rng = np.random.default_rng(2)
    x, z = rng.random((9, 1)), rng.random((5, 1))
    z[0] = x[3]
    both = np.concatenate([x, z])
    return k, x, z, np.asarray(k.ntk(both)), np.asarray(k.nngp(both)), rng.standard_normal((9, 2))


def walk(theta, nngp, y, n, rate, steps, beta=0.0):
    """f_t on all points is M f_0 + b: both by the loop f ← f + ηΘ(:, x)(y − f(x)) + β(f − before), on matrices."""
    size = len(theta)
    M, b = np.eye(size), np.zeros((size, y.shape[1]))
    M_before, b_before, found = M, b, {}
    for step in range(max(steps) + 1):
        if step in steps:
            found[step] = b, M @ nngp @ M.T
        M, M_before = M - rate * theta[:, :n] @ M[:n] + beta * (M - M_before), M
        b, b_before = b + rate * theta[:, :n] @ (y - b[:n]) + beta * (b - b_before), b
    return found


@pytest.mark.parametrize(
    ("dynamics", "beta"), [(None, 0.0), (ns.dynamics.heavy_ball(0.8), 0.8)], ids=["descent", "ball"]
)
def test_ensemble_is_the_loop_of_every_network(dynamics, beta, problem):
    k, x, z, theta, nngp, y = problem
    limit = 2 * (1 + beta) / np.linalg.norm(theta[:9, :9], 2)
    p = ns.dynamics.ensemble(k, x, y, z, steps=STEPS, learning_rate=4.5 * limit, loss="mean", dynamics=dynamics)
    found = walk(theta, nngp, y, 9, limit / 2, STEPS, beta)
    for i, step in enumerate(STEPS):
        mean, covariance = found[step]
        np.testing.assert_allclose(p.prediction[i], mean[9:], rtol=0, atol=1e-10 * np.abs(y).max())
        np.testing.assert_allclose(p.covariance[i], covariance[9:, 9:], rtol=0, atol=1e-10 * nngp.max())
    np.testing.assert_allclose(p.standard_deviation**2, np.diagonal(p.covariance, axis1=1, axis2=2), rtol=1e-12)


def test_before_training_it_is_the_gaussian_process_and_one_label_column_is_one(problem):
    k, x, z, _, nngp, y = problem
    p = ns.dynamics.ensemble(k, x, y[:, 0], z, steps=[0], learning_rate=1e-3)
    assert p.prediction.dims == ("step", "point")
    assert not p.prediction.any()
    np.testing.assert_allclose(p.covariance[0], nngp[9:, 9:], rtol=0, atol=1e-13 * nngp.max())


def test_its_mean_is_the_prediction(problem):
    k, x, _, _, _, y = problem
    options = {"steps": [3.5], "learning_rate": 0.1, "dynamics": ns.dynamics.gradient_flow()}
    p = ns.predict(ns.operator.dense(k, x), y, **options)
    np.testing.assert_allclose(ns.dynamics.ensemble(k, x, y, x, **options).prediction, p.train, rtol=0, atol=1e-6)


def test_at_its_own_points_it_comes_to_the_labels_with_every_digit(problem):
    k, x, _, theta, _, y = problem
    rate = 1 / np.linalg.norm(theta[:9, :9], 2)
    p = ns.dynamics.ensemble(k, x, y, x, steps=[0, 10**9], learning_rate=rate)
    np.testing.assert_allclose(p.prediction[1], y, rtol=0, atol=1e-8)
    # √ε of the start would be left were a point that is asked for another than the one that is trained on.
    assert p.standard_deviation[1].max() < 1e-10 * p.standard_deviation[0].min()


def test_what_is_refused(problem):
    k, x, z, _, _, y = problem
    with pytest.raises(ValueError, match=r"times its stability limit under GradientDescent, .* for loss='mean'"):
        ns.dynamics.ensemble(k, x, y, z, steps=[1], learning_rate=1e3, loss="mean")
    with pytest.raises(ValueError, match=r"expected whole numbers for GradientDescent"):
        ns.dynamics.ensemble(k, x, y, z, steps=[0.5], learning_rate=1e-3)
    what = r"9 training and 5 asked points at 1 steps would need .* ask for fewer points"
    with limited(memory=1000), pytest.raises(ValueError, match=what):
        ns.dynamics.ensemble(k, x, y, z, steps=[1], learning_rate=1e-3)
