from functools import partial
from itertools import combinations

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import ntkspec as ns
from ntkspec.generalisation import Draws
from ntkspec.generalisation._equivalent import capacity_ridge, compression_shift

FLOW = ns.dynamics.gradient_flow()


@pytest.fixture(scope="module")
def free():
    """A matrix with modes in random directions, where the equivalents hold up to finite size, and a target."""
    rng = np.random.default_rng(0)
    n = 200
    value = 200 / np.arange(1, n + 1) ** 1.5
    vector = scipy.stats.ortho_group.rvs(n, random_state=rng)
    K = ns.operator.Dense(np.arange(n)[:, None] / n, jnp.asarray((vector * value) @ vector.T))
    coefficient = rng.standard_normal(n) / np.arange(1, n + 1)
    return K, vector @ coefficient, rng


def drawn(K, f, n, noise, fit, rng, count=60):
    """Squares of f − f̂ at other points, and the residual at the training points, of many draws."""
    gram, total = np.asarray(K.to_dense()), K.num_points
    other, train = [], []
    for _ in range(count):
        kept = rng.choice(total, n, replace=False)
        left = np.setdiff1d(np.arange(total), kept)
        y = f[kept] + noise * rng.standard_normal(n)
        predicted = gram[:, kept] @ fit(gram[np.ix_(kept, kept)], y)
        other.append(np.mean((f - predicted)[left] ** 2))
        train.append(np.mean((y - predicted[kept]) ** 2))
    return np.array(other), np.array(train)


def near(found, samples):
    """Within five standard errors, and 3 %, about the finite size of 200 modes."""
    return abs(found / samples.mean() - 1) < 5 * scipy.stats.sem(samples) / samples.mean() + 0.03


@pytest.mark.parametrize("n", [20, 120])
@pytest.mark.parametrize(("ridge", "noise"), [(0.0, 0.0), (0.5, 0.1)])
def test_it_is_the_mean_over_draws_where_modes_are_free(free, n, ridge, noise):
    K, f, rng = free
    other, _ = drawn(K, f, n, noise, lambda gram, y: np.linalg.solve(gram + ridge * np.eye(n), y), rng)
    found = ns.generalisation.learning_curve(K, f, num_points=[n], ridge=ridge, noise=noise)
    assert near(float(found.test_error[0]), other)


@pytest.mark.parametrize("step", [3.0, 300.0])
def test_the_risk_is_the_mean_over_draws_at_every_step(free, step):
    K, f, rng = free
    n, noise, rate = 60, 0.1, 0.01

    def fit(gram, y):
        value, vector = np.linalg.eigh(gram)
        return vector @ (rate * FLOW.weights(rate * value, step) * (vector.T @ y))

    other, train = drawn(K, f, n, noise, fit, rng)
    found = ns.generalisation.risk(
        K, f, num_points=[n], steps=[step], learning_rate=rate, dynamics=FLOW, noise=noise
    ).squeeze()
    assert near(float(found.test_error), other)
    assert near(float(found.train_error), train)
    assert found.contour_error < 1e-9


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_training_with_a_ridge_ends_at_the_learning_curve(kernels, noise):
    K = ns.operator.lattice(kernels["2d periodic"], (12, 10))
    f = np.random.default_rng(0).standard_normal((120, 2))
    counts = [5, 60, 119]
    static = ns.generalisation.learning_curve(K, f, num_points=counts, ridge=0.3, noise=noise)
    for base in (FLOW, ns.dynamics.gradient_descent()):
        moving = ns.generalisation.risk(
            K,
            f,
            num_points=counts,
            steps=[20_000],
            learning_rate=0.01,
            dynamics=ns.dynamics.ridge(0.3, base),
            noise=noise,
        ).isel(step=0)
        for name in ("test_error", "whole_error", "error_by_frequency"):
            np.testing.assert_allclose(moving[name], static[name], rtol=1e-8, atol=1e-10)


def test_at_the_start_nothing_is_learned_and_the_means_add_up(kernels):
    K = ns.operator.lattice(kernels["1d periodic"], (30,))
    f = np.random.default_rng(0).standard_normal(30)
    found = ns.generalisation.risk(K, f, num_points=[7], steps=[0, 4], learning_rate=0.05, noise=0.5)
    np.testing.assert_allclose(found.test_error[0, 0], np.mean(f**2), rtol=1e-10)
    np.testing.assert_allclose(found.train_error[0, 0], np.mean(f**2) + 0.25, rtol=1e-10)
    np.testing.assert_allclose(found.error_by_frequency[0, 0], found.target_by_frequency, rtol=1e-10)
    np.testing.assert_allclose(found.error_by_frequency.sum("frequency"), found.whole_error, rtol=1e-12)


def test_for_few_of_many_points_it_is_that_of_a_continuum(kernels):
    total = 4096
    K = ns.operator.lattice(kernels["1d periodic"], (total,))
    x = K.points[:, 0]
    f = np.sqrt(2) * np.cos(2 * np.pi * 5 * x)
    transform = np.fft.fft(np.asarray(K.lags())).real.clip(min=0)
    coefficient = np.zeros(total)
    coefficient[[5, -5]] = np.sqrt(0.5)
    finite = ns.generalisation.learning_curve(K, f, num_points=[10, 20], ridge=0.1, noise=0.1)
    infinite = ns.generalisation.eigenlearning(
        transform / total, coefficient, num_points=[10, 20], ridge=0.1, noise=0.1
    )
    # They differ by n/N.
    np.testing.assert_allclose(finite.test_error, infinite.test_error, rtol=2 * 20 / total)
    np.testing.assert_allclose(finite.effective_ridge, total * infinite.effective_ridge, rtol=2 * 20 / total)
    np.testing.assert_allclose(infinite.error_by_mode.sum("mode"), infinite.test_error, rtol=1e-12)


@pytest.mark.parametrize("kind", ["2d", "2d periodic"])
def test_frequencies_add_up_with_and_without_a_period(lattices, kind):
    K = lattices[kind]
    f = np.random.default_rng(0).standard_normal((K.num_points, 2))
    found = ns.generalisation.learning_curve(K, f, num_points=[3, 9], ridge=0.01, noise=0.1)
    np.testing.assert_allclose(found.error_by_frequency.sum("frequency"), found.whole_error, rtol=1e-10)
    np.testing.assert_allclose(found.target_by_frequency.sum(), np.mean(f**2), rtol=1e-12)


def test_the_effective_ridge_solves_its_equation():
    value = np.array([3.0, 1.0, 0.1, 1e-9, 0.0])
    weight = np.array([1.0, 2, 4, 100, 50])
    for n, ridge in [(2, 0.0), (50.5, 0.0), (106.9, 0.0), (3, 1e-8), (1000, 2.0)]:
        kappa = capacity_ridge(value, weight, n, ridge)
        assert weight @ (value / (value + kappa)) + ridge / kappa == pytest.approx(n, rel=1e-11)
    with pytest.raises(ValueError, match="only 107 positive eigenvalues"):
        capacity_ridge(value, weight, 107, 0.0)


def test_the_complex_ridge_solves_its_equation_on_the_right_branch():
    rng = np.random.default_rng(0)
    value, weight = rng.random(40) ** 4, np.ones(40)
    shift = np.array([0.3, -0.2 + 0.5j, 0.01 + 2j, -3 + 0.1j, -0.01 + 0.002j])
    mu = compression_shift(value, weight, 13, shift)
    np.testing.assert_allclose(((value[:, None] + shift) / (value[:, None] + mu)).sum(axis=0), 13, rtol=1e-9)
    # −1/μ is a Stieltjes transform: μ stays in the half plane of s.
    assert (mu.imag[1:] > 0).all()
    assert abs(mu[0].imag) < 1e-12


def test_draws_are_right_on_average_where_all_can_be_taken(kernels):
    K = ns.operator.lattice(kernels["1d periodic"], (10,))
    gram, f, ridge, noise = np.asarray(K.to_dense()), np.random.default_rng(0).standard_normal((10, 2)), 0.05, 0.2
    squares = []
    for kept in combinations(range(10), 4):
        kept = list(kept)
        smoother = gram[:, kept] @ np.linalg.inv(gram[np.ix_(kept, kept)] + ridge * np.eye(4))
        each = np.mean((f - smoother @ f[kept]) ** 2, axis=1) + noise**2 * np.sum(smoother**2, axis=1)
        squares.append([each.mean(), np.delete(each, kept).mean()])
    whole, other = np.mean(squares, axis=0)
    found = ns.generalisation.learning_curve(K, f, num_points=[4], ridge=ridge, noise=noise, method=Draws(200))
    assert abs(found.whole_error[0] - whole) < 5 * found.whole_standard_error[0]
    assert abs(found.test_error[0] - other) < 5 * found.test_standard_error[0]
    assert found.test_standard_error[0] < 0.05 * other
    np.testing.assert_allclose(found.channel_error.mean("channel"), found.test_error, rtol=1e-12)
    np.testing.assert_allclose(found.error_by_frequency.sum("frequency"), found.whole_error, rtol=1e-12)


def test_sampled_training_with_a_ridge_ends_at_the_sampled_curve(kernels):
    K = ns.operator.lattice(kernels["2d periodic"], (6, 5))
    f = np.random.default_rng(0).standard_normal(30)
    asked = {"num_points": [8, 20], "noise": 0.1, "method": Draws(3)}
    static = ns.generalisation.learning_curve(K, f, ridge=0.3, **asked)
    dynamics = ns.dynamics.ridge(0.3)
    moving = ns.generalisation.risk(K, f, steps=[0, 10_000], learning_rate=0.02, dynamics=dynamics, **asked)
    for name in ("test_error", "whole_error", "error_by_frequency"):
        np.testing.assert_allclose(moving[name].isel(step=1), static[name], rtol=1e-9)
    np.testing.assert_allclose(moving.error_by_frequency[0, 0], moving.target_by_frequency, rtol=1e-9)


def test_bad_input_is_refused(operators, kernels):
    K = operators["circulant"]
    f, n = np.ones(K.num_points), K.num_points
    curve, infinite = ns.generalisation.learning_curve, ns.generalisation.eigenlearning
    for counts in ([n], [0], [1.5], []):
        with pytest.raises(ValueError, match="fewer than the 30 points"):
            curve(K, f, num_points=counts)
    with pytest.raises(ValueError, match="one number δ ≥ 0"):
        curve(K, f, num_points=[3], ridge=-1)
    with pytest.raises(ValueError, match="σ ≥ 0"):
        curve(K, f, num_points=[3], noise=-1)
    with pytest.raises(ValueError, match="labels have shape"):
        curve(K, f[:-1], num_points=[3])
    with pytest.raises(ValueError, match="not negative"):
        infinite([1.0, -1.0], [1.0, 1.0], num_points=[1])
    with pytest.raises(ValueError, match="one row a mode"):
        infinite([1.0, 1.0], [1.0], num_points=[1])
    with pytest.raises(ValueError, match="take fewer points, or a ridge"):
        infinite([1.0, 1.0], [1.0, 1.0], num_points=[2])
    with pytest.raises(ValueError, match="one number δ ≥ 0"):
        infinite([1.0, 1.0], [1.0, 1.0], num_points=[1], ridge=-1)
    training = {"num_points": [3], "steps": [1], "learning_rate": 1e-3}
    with pytest.raises(ValueError, match=r"method=Draws\(\) takes every"):
        ns.generalisation.risk(K, f, dynamics=ns.dynamics.heavy_ball(0.5), **training)
    with pytest.raises(ValueError, match="stability limit"):
        ns.generalisation.risk(K, f, **(training | {"learning_rate": 1e3}))
    with pytest.raises(ValueError, match="stability limit"):
        ns.generalisation.risk(K, f, **(training | {"learning_rate": 1e3, "method": Draws()}))
    sampled = partial(ns.generalisation.learning_curve, method=Draws())
    with pytest.raises(ValueError, match="periodic kernel on a whole lattice"):
        sampled(operators["masked"], np.ones(operators["masked"].num_points), num_points=[2])
    with pytest.raises(ValueError, match="at most 4,096"):
        sampled(ns.operator.lattice(kernels["1d periodic"], (5000,)), np.ones(5000), num_points=[2])
    with pytest.raises(ValueError, match="at least 2"):
        Draws(1)
