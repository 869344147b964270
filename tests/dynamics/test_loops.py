"""Every dynamics against the loop it stands for: explicit weights, explicit steps, explicit matrices."""

import jax.numpy as jnp
import numpy as np
import pytest
from oracle_loops import DYNAMICS, walk

import ntkspec as ns

EPS = np.finfo(float).eps
STEPS = [0, 1, 2, 10, 100, 1000]
POWER = ns.dynamics.damped_power(0.5, 0.1)


@pytest.fixture(scope="module")
def problem():
    """Forty points whose spectrum spans eight decades: an operator, its matrix, labels."""
    rng = np.random.default_rng(0)
    Q, _ = np.linalg.qr(rng.standard_normal((40, 40)))
    matrix = (Q * np.geomspace(1, 1e-8, 40)) @ Q.T
    matrix = (matrix + matrix.T) / 2
    return ns.operator.Dense(jnp.asarray(rng.random((40, 1))), jnp.asarray(matrix)), matrix, rng.standard_normal(40)


@pytest.mark.parametrize("fraction", [0.01, 0.6, 0.99])
@pytest.mark.parametrize("name", DYNAMICS)
def test_lanczos_is_the_loop_and_its_bound_holds(name, fraction, problem):
    dynamics, rule = DYNAMICS[name]
    K, matrix, y = problem
    rate = fraction * ns.dynamics.max_learning_rate(K, dynamics=dynamics)
    expected = walk(matrix, y, rate, STEPS, **rule) @ matrix
    options = {"steps": STEPS, "learning_rate": rate, "dynamics": dynamics}
    p = ns.predict(K, y, **options, tolerance=1e-9)
    error = np.linalg.norm(p.train - expected, axis=1) / np.linalg.norm(y)
    assert error.max() <= 1e-9
    # A basis that is too small says so: its bound is one.
    rough = ns.predict(K, y, **options, tolerance=1e3, max_products=16)
    error = np.linalg.norm(rough.train - expected, axis=1) / np.linalg.norm(y)
    assert (error <= rough.error_bound + 1000 * EPS).all()


@pytest.mark.parametrize("name", DYNAMICS)
def test_every_point_learns_as_the_loop_says(name, lattices, masked, kernels):
    dynamics, rule = DYNAMICS[name]
    K, _ = masked["1d"]
    y = np.cos(7 * K.points[:, 0]) + K.points[:, 0]
    matrix = np.asarray(K.to_dense())
    cross = np.asarray(kernels["1d"].ntk(lattices["1d"].points, K.points))
    rate = 0.5 * ns.dynamics.max_learning_rate(K, dynamics=dynamics)
    p = ns.predict(K, y, steps=STEPS, learning_rate=rate, dynamics=dynamics, everywhere=True, tolerance=1e-7)
    expected = walk(matrix, y, rate, STEPS, **rule) @ cross.T
    np.testing.assert_allclose(p.field, expected, rtol=0, atol=1e-9 * np.linalg.norm(y))


@pytest.mark.parametrize("name", DYNAMICS)
def test_a_circulant_lattice_is_the_loop(name, lattices, rng):
    dynamics, rule = DYNAMICS[name]
    K = lattices["2d periodic"]
    y = rng.standard_normal(K.num_points)
    matrix = np.asarray(K.to_dense())
    rate = 0.9 * ns.dynamics.max_learning_rate(K, dynamics=dynamics)
    p = ns.predict(K, y, steps=STEPS, learning_rate=rate, dynamics=dynamics)
    expected = walk(matrix, y, rate, STEPS, **rule) @ matrix
    np.testing.assert_allclose(p.train, expected, rtol=0, atol=1e-9 * np.linalg.norm(y))


@pytest.mark.parametrize("fraction", [0.1, 0.9])
def test_a_spectral_preconditioner_is_the_loop(fraction, problem):
    K, matrix, y = problem
    value, Q = np.linalg.eigh(matrix)
    P = (Q / np.sqrt(value + 0.1)) @ Q.T
    dynamics = ns.dynamics.preconditioned(POWER)
    limit = ns.dynamics.max_learning_rate(K, dynamics=dynamics)
    assert limit == pytest.approx(2 / np.linalg.norm(P @ matrix, 2), rel=1e-9)
    expected = walk(matrix, y, fraction * limit, STEPS, preconditioner=P) @ matrix
    options = {"steps": STEPS, "learning_rate": fraction * limit, "dynamics": dynamics}
    p = ns.predict(K, y, **options, tolerance=1e-10)
    np.testing.assert_allclose(p.train, expected, rtol=0, atol=1e-9 * np.linalg.norm(y))
    # Here it is an estimate: it may miss, but not by decades.
    rough = ns.predict(K, y, **options, tolerance=1e3, max_products=16)
    error = np.linalg.norm(rough.train - expected, axis=1) / np.linalg.norm(y)
    assert (error <= 10 * rough.error_bound + 1000 * EPS).all()


@pytest.mark.parametrize(
    ("base", "rule"),
    [(ns.dynamics.gradient_descent(), {}), (ns.dynamics.nesterov(0.5), {"beta": 0.5, "ahead": True})],
    ids=["descent", "nesterov"],
)
def test_a_preconditioned_ridge_is_the_loop_of_the_ridge_loss(base, rule, problem):
    """w ← w + η P(y − Kw − δw): the decay is preconditioned too."""
    K, matrix, y = problem
    value, Q = np.linalg.eigh(matrix)
    P = (Q / np.sqrt(value + 0.1)) @ Q.T
    dynamics = ns.dynamics.preconditioned(POWER, ns.dynamics.ridge(0.03, base))
    limit = ns.dynamics.max_learning_rate(K, dynamics=dynamics)
    assert limit == pytest.approx(base.max_speed / np.linalg.norm(P @ (matrix + 0.03 * np.eye(40)), 2), rel=1e-9)
    expected = walk(matrix, y, 0.8 * limit, STEPS, preconditioner=P, delta=0.03, **rule) @ matrix
    p = ns.predict(K, y, steps=STEPS, learning_rate=0.8 * limit, dynamics=dynamics, tolerance=1e-9)
    np.testing.assert_allclose(p.train, expected, rtol=0, atol=1e-9 * np.linalg.norm(y))
    fixed = matrix @ np.linalg.solve(matrix + 0.03 * np.eye(40), y)
    np.testing.assert_allclose(p.train[-1], fixed, rtol=0, atol=1e-9 * np.linalg.norm(y))
    # Two ridges are the sum of both.
    assert ns.dynamics.preconditioned(POWER, ns.dynamics.ridge(0.01, ns.dynamics.ridge(0.02, base))) == dynamics


def test_a_diagonal_preconditioner_is_plain_descent_of_a_weighted_operator(kernels, lattices):
    """The recipe in the docstring of `preconditioned`, against r ← r − ηKDr."""
    K = ns.operator.dense(kernels["1d"], lattices["1d"].points[:12])
    n, rng = K.num_points, np.random.default_rng(5)
    y, d, matrix = rng.standard_normal(n), rng.uniform(0.2, 3.0, n), np.asarray(K.to_dense())
    weighted = ns.operator.measured(K, ns.operator.measurement.function(lambda f: np.sqrt(d) * f, (n,)))
    rate = 0.5 * ns.dynamics.max_learning_rate(weighted)
    w = walk(matrix, y, rate, [0, 1, 50], preconditioner=np.diag(d))
    p = ns.predict(weighted, np.sqrt(d) * y, steps=[0, 1, 50], learning_rate=rate, unseen=K.points, tolerance=1e-8)
    for found in (p.train / np.sqrt(d), p.unseen):
        np.testing.assert_allclose(found, w @ matrix, rtol=0, atol=1e-9 * np.linalg.norm(y))


@pytest.mark.parametrize("name", DYNAMICS)
def test_past_the_limit_the_loop_diverges_and_the_prediction_says_which_limit(name, problem):
    dynamics, rule = DYNAMICS[name]
    K, matrix, y = problem
    limit = ns.dynamics.max_learning_rate(K, dynamics=dynamics)
    if "factor" not in rule:  # a schedule's steps past the limit come to an end
        fifty, many = np.linalg.norm(walk(matrix, y, 1.1 * limit, [50, 500], **rule) @ matrix, axis=1)
        assert many > 1e3 * fifty
    options = {"steps": [3], "dynamics": dynamics, "tolerance": 1e3}
    with pytest.raises(ValueError, match=rf"its stability limit under {type(dynamics).__name__}.*is {limit:.6g}:"):
        ns.predict(K, y, learning_rate=1.1 * limit, **options)
    ns.predict(K, y, learning_rate=limit, **options)


@pytest.fixture(scope="module")
def holes():
    """Sixty of ninety lattice points, which the first sixteen products do not exhaust."""
    k = ns.kernel.compose(ns.mapping.gaussian(1, 16, scale=3.0), ns.kernel.MLP(depth=1))
    mask = np.ones(90, dtype=bool)
    mask[np.random.default_rng(0).choice(np.arange(2, 89), 30, replace=False)] = False
    K = ns.operator.lattice(k, (90,), mask)
    return K, np.asarray(K.to_dense()), np.asarray(k.ntk(np.arange(90)[:, None] / 90, K.points))


@pytest.mark.parametrize("fraction", [0.02, 0.7])
@pytest.mark.parametrize("name", DYNAMICS)
def test_the_bounds_of_a_basis_that_is_too_small_hold_everywhere(name, fraction, holes):
    dynamics, rule = DYNAMICS[name]
    K, matrix, cross = holes
    y = np.random.default_rng(1).standard_normal(60)
    rate = fraction * ns.dynamics.max_learning_rate(K, dynamics=dynamics)
    weights = walk(matrix, y, rate, STEPS, **rule)
    options = {"steps": STEPS, "learning_rate": rate, "dynamics": dynamics}
    p = ns.predict(K, y, **options, everywhere=True, max_products=16, tolerance=1e4)
    for found, expected, bound in (
        (p.train, weights @ matrix, p.error_bound),
        (p.field, weights @ cross.T, p.field_error_bound),
    ):
        error = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(y)
        assert (error <= bound + 1000 * EPS).all()


def test_the_bound_counts_long_times_by_blocks(problem):
    """Beyond 4,096 steps the sum is one over blocks: still above the error, and not by many decades."""
    K, matrix, y = problem
    dynamics = ns.dynamics.heavy_ball(0.5)
    rate = 0.9 * ns.dynamics.max_learning_rate(K, dynamics=dynamics)
    steps = [4000, 5000, 20000]
    expected = walk(matrix, y, rate, steps, beta=0.5) @ matrix
    p = ns.predict(K, y, steps=steps, learning_rate=rate, dynamics=dynamics, tolerance=1e3, max_products=16)
    error = np.linalg.norm(p.train - expected, axis=1) / np.linalg.norm(y)
    assert (error <= p.error_bound).all()
    assert (np.diff(p.error_bound) >= 0).all()
    assert p.error_bound[-1] <= 3 * p.error_bound[0]
