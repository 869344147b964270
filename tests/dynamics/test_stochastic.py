"""SGD against what is exact about it: its mean trajectory, and the recursion of all second moments."""

import jax.numpy as jnp
import numpy as np
import oracle_dense
import pytest

import ntkspec as ns
from ntkspec.dynamics import Batches

STEPS = [0, 1, 5, 40]
N, BATCH, RUNS = 10, 3, 600


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(6)
    Q, _ = np.linalg.qr(rng.standard_normal((N, N)))
    matrix = (Q * np.geomspace(1, 1e-3, N)) @ Q.T
    matrix = (matrix + matrix.T) / 2
    return ns.operator.Dense(jnp.asarray(rng.random((N, 1))), jnp.asarray(matrix)), matrix, rng.standard_normal(N)


@pytest.fixture(scope="module")
def simulated(problem):
    K, _, y = problem
    options = {"steps": STEPS, "learning_rate": 0.3}
    return ns.dynamics.stochastic_descent(K, y, batches=Batches(BATCH, runs=RUNS, seed=1), **options)


def test_the_mean_trajectory_is_gradient_descent(problem, simulated):
    _, matrix, y = problem
    expected = oracle_dense.descend(matrix, y, 0.3, STEPS)
    assert (np.abs(simulated.train - expected) <= 5 * simulated.train_sem + 1e-12).all()
    assert (simulated.train_sem[1:] > 0).all()


def test_the_mean_loss_is_that_of_the_exact_second_moments(problem, simulated):
    """E[eeᵀ] moves by (1 − ηK)·(1 − ηK) and the covariance of a batch's gradient."""
    _, matrix, y = problem
    moment, step_by = np.outer(y, y), np.eye(N) - 0.3 * matrix
    expected = {}
    for step in range(max(STEPS) + 1):
        expected[step] = np.trace(moment) / 2
        noise = (N - BATCH) / (BATCH * (N - 1)) * (N * np.diag(np.diag(moment)) - moment)
        moment = step_by @ moment @ step_by + 0.3**2 * matrix @ noise @ matrix
    exact = np.array([expected[step] for step in STEPS])
    assert (np.abs(simulated.loss - exact) <= 5 * simulated.loss_sem + 1e-12).all()
    # The noise is there to be seen: descent's loss is outside.
    descent = ((oracle_dense.descend(matrix, y, 0.3, STEPS) - y) ** 2).sum(axis=1) / 2
    assert exact[2] - descent[2] > 10 * simulated.loss_sem[2]
    np.testing.assert_allclose(simulated.loss_variance, RUNS * simulated.loss_sem**2, rtol=1e-12)
    np.testing.assert_allclose(simulated.loss, simulated.loss_of_run.mean("run"), rtol=1e-12)


def test_a_batch_of_all_points_is_gradient_descent_with_channels(problem):
    K, matrix, y = problem
    both = np.stack([y, np.cos(np.arange(N))], axis=1)
    p = ns.dynamics.stochastic_descent(
        K, both, batches=Batches(N, runs=2, seed=3), steps=STEPS, learning_rate=0.3 * N, loss="mean"
    )
    np.testing.assert_allclose(p.train, oracle_dense.descend(matrix, both, 0.3, STEPS), rtol=0, atol=1e-13)
    np.testing.assert_allclose(p.loss_variance, 0, atol=1e-20)
    np.testing.assert_allclose(p.loss[0], (both**2).sum() / 2 / N, rtol=1e-14)


def test_what_is_refused(problem):
    K, _, y = problem
    options = {"steps": STEPS, "learning_rate": 0.3}
    with pytest.raises(ValueError, match=r"size=11; expected a number of from 1 to 10: points in a batch"):
        ns.dynamics.stochastic_descent(K, y, batches=Batches(11), **options)
    with pytest.raises(ValueError, match=r"expected whole numbers"):
        ns.dynamics.stochastic_descent(K, y, batches=Batches(2), steps=[0.5], learning_rate=0.3)
    with pytest.raises(ValueError, match=r"times its stability limit under GradientDescent.* is 2"):
        ns.dynamics.stochastic_descent(K, y, batches=Batches(2), steps=[1], learning_rate=2.2)
    with pytest.raises(ValueError, match=r"noise makes SGD unstable below gradient descent's limit"):
        ns.dynamics.stochastic_descent(K, y, batches=Batches(1, runs=2), steps=[3000], learning_rate=1.9)
    for seed in (-1, 0.5, True, None, 2**63):
        with pytest.raises(ValueError, match=r"seed=.*; expected a whole number from 0 on"):
            ns.dynamics.stochastic_descent(K, y, batches=Batches(2, seed=seed), **options)
    for runs in (0, -1, 1.5):
        with pytest.raises(ValueError, match=r"runs=.*; expected a positive integer"):
            ns.dynamics.stochastic_descent(K, y, batches=Batches(2, runs=runs), **options)
    with pytest.raises(TypeError, match=r"labels are complex; .* two channels"):
        ns.dynamics.stochastic_descent(K, y + 1j, batches=Batches(2), **options)
    with pytest.raises(TypeError, match=r"points are complex; .* two coordinates"):
        ns.dynamics.stochastic_descent(K, y, batches=Batches(2), unseen=K.points + 1j, **options)
