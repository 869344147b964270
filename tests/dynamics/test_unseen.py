"""What every dynamics makes of points that nobody trained on, on every operator, against explicit loops."""

import jax.numpy as jnp
import numpy as np
import oracle_dense
import pytest
from oracle_loops import DYNAMICS, walk

import ntkspec as ns
from ntkspec.dynamics import Batches
from ntkspec.limits import limited

STEPS = [0, 1, 10, 300]
N = 24
ASKED = np.random.default_rng(9).random((7, 1))
POWER = ns.dynamics.damped_power(0.5, 0.1)


def streamed(k, x):
    return ns.operator.scattered(k, x)


def fast(k, x):
    with limited(direct_points=0):
        return ns.operator.scattered(k, x, tol=1e-2)


def low_rank(k, x):
    return ns.operator.low_rank(k, x, tol=1e-2)


def lattice(k, x):
    return ns.operator.lattice(k, (2 * N,), np.random.default_rng(2).random(2 * N) < 0.5)


def means_of_scattered(k, x):
    return ns.operator.measured(ns.operator.dense(k, x), np.random.default_rng(3).random((9, N)) / N)


def blurred_lattice(k, x):
    A = ns.operator.measurement.blur_decimate((N,), factor=2)
    return ns.operator.measured(ns.operator.lattice(k, (N,)), A)


OPERATORS = {
    "dense": ns.operator.dense,
    "streamed": streamed,
    "fast": fast,
    "low rank": low_rank,
    "lattice": lattice,
    "means of scattered": means_of_scattered,
    "blurred lattice": blurred_lattice,
}
#: The others hold measurements, which are no values at points.
ON_POINTS = [name for name in OPERATORS if name not in ("means of scattered", "blurred lattice")]


def cross(K, k, asked):
    """The kernel between asked points and what is trained on, dense."""
    if isinstance(K, ns.operator.Measured):
        return np.asarray(k.ntk(asked, K.kernel.points)) @ np.asarray(K.measurement.to_dense()).T
    if isinstance(K, ns.operator.LowRank):
        chosen = K.points[np.asarray(K.pivots)]
        return np.asarray(k.ntk(asked, chosen)) @ np.linalg.solve(k.ntk(chosen), k.ntk(chosen, K.points))
    return np.asarray(k.ntk(asked, K.points))


@pytest.fixture(scope="module", params=OPERATORS)
def case(request, kernels):
    """An operator, its matrix as products have it, the dense kernel towards the asked points, labels."""
    k = kernels["1d"]
    K = OPERATORS[request.param](k, np.random.default_rng(1).random((N, 1)))
    matrix = np.asarray(K @ np.eye(K.num_points))
    y = np.cos(3 * np.arange(K.num_points)) + 0.1 * np.arange(K.num_points)
    return K, (matrix + matrix.T) / 2, cross(K, k, ASKED), y


@pytest.mark.parametrize("name", DYNAMICS)
def test_unseen_points_learn_as_the_loop_says(name, case):
    dynamics, rule = DYNAMICS[name]
    K, matrix, towards, y = case
    rate = 0.7 * ns.dynamics.max_learning_rate(K, dynamics=dynamics)
    p = ns.predict(K, y, steps=STEPS, learning_rate=rate, dynamics=dynamics, unseen=ASKED, tolerance=1e-9)
    expected = walk(matrix, y, rate, STEPS, **rule) @ towards.T
    np.testing.assert_allclose(p.unseen, expected, rtol=0, atol=1e-9 * np.linalg.norm(y))
    assert p.unseen.dims == ("step", "asked")
    np.testing.assert_array_equal(p.unseen_x, ASKED)


def test_descent_flow_and_a_preconditioner_are_their_formulas_with_channels(case):
    K, matrix, towards, y = case
    both = np.stack([y, y[::-1]], axis=1)
    value, vector = np.linalg.eigh(matrix)
    value = np.maximum(value, 0)
    for dynamics in (
        ns.dynamics.gradient_descent(),
        ns.dynamics.gradient_flow(),
        ns.dynamics.preconditioned(POWER),
    ):
        rate = 0.5 * min(ns.dynamics.max_learning_rate(K, dynamics=dynamics), 2 / value[-1])
        p = ns.predict(K, both, steps=STEPS, learning_rate=rate * len(y), loss="mean", dynamics=dynamics, unseen=ASKED)
        of = dynamics.at(rate)
        for step, found in zip(STEPS, p.unseen.values, strict=True):
            weights = vector @ (rate * of.weights(rate * value, float(step))[:, None] * (vector.T @ both))
            np.testing.assert_allclose(found, towards @ weights, rtol=0, atol=1e-9 * np.linalg.norm(both))
        assert p.unseen.dims == ("step", "asked", "channel")


@pytest.mark.parametrize("case", ON_POINTS, indirect=True)
def test_training_points_asked_for_again_are_the_prediction_there(case):
    """Also for a low rank, whose own kernel is the one that it trains with."""
    K, _, _, y = case
    rate = ns.dynamics.max_learning_rate(K) / 2
    p = ns.predict(K, y, steps=STEPS, learning_rate=rate, unseen=K.points)
    assert K.approximation_error == 0 or "operator_error_bound" in p
    # The fast form trains with its own entries and tells with the kernel's.
    apart = rate * K.approximation_error * max(STEPS) if isinstance(K, ns.operator.Nonuniform) else 0
    np.testing.assert_allclose(p.unseen, p.train, rtol=0, atol=(apart + 1e-9) * np.linalg.norm(y))


def test_the_bound_of_a_basis_that_is_too_small_holds_at_unseen_points(kernels):
    k = ns.kernel.compose(ns.mapping.gaussian(1, 16, scale=3.0), ns.kernel.MLP(depth=1))
    x, asked = np.random.default_rng(4).random((60, 1)), np.random.default_rng(5).random((40, 1))
    K = ns.operator.dense(k, x)
    y = np.random.default_rng(6).standard_normal(60)
    rate = ns.dynamics.max_learning_rate(K) / 2
    p = ns.predict(K, y, steps=STEPS, learning_rate=rate, unseen=asked, max_products=16, tolerance=1e4)
    expected = walk(np.asarray(K.matrix), y, rate, STEPS) @ np.asarray(k.ntk(asked, x)).T
    error = np.linalg.norm(p.unseen - expected, axis=1) / np.linalg.norm(y)
    assert (error <= p.unseen_error_bound + 1e-12).all()
    assert error[-1] > 1e-9


def test_an_initial_function_is_carried_to_unseen_points(kernels):
    x = np.random.default_rng(1).random((N, 1))
    K = ns.operator.dense(kernels["1d"], x)
    y, rate = np.sin(9 * x[:, 0]), ns.dynamics.max_learning_rate(K) / 2
    f0, there = np.cos(x[:, 0]), np.cos(ASKED[:, 0])
    options = {"steps": STEPS, "learning_rate": rate, "unseen": ASKED}
    p = ns.predict(K, y, initial=f0, initial_unseen=there, **options)
    moved = there + ns.predict(K, y - f0, **options).unseen.values
    np.testing.assert_allclose(p.unseen, moved, rtol=0, atol=1e-12)
    for wrong in ({"initial": f0}, {"initial_unseen": there}, {"initial": f0, "initial_unseen": f0}):
        with pytest.raises(ValueError, match=r"`initial_unseen` \(shape \(7,\)\) or neither"):
            ns.predict(K, y, **wrong, **options)


def test_any_loss_and_minibatches_tell_of_unseen_points(kernels):
    x = np.random.default_rng(1).random((N, 1))
    K = ns.operator.dense(kernels["1d"], x)
    matrix, towards = np.asarray(K.matrix), np.asarray(kernels["1d"].ntk(ASKED, x))
    y = np.stack([x[:, 0] > 0.5, x[:, 0] < 0.2], axis=1).astype(float)
    rate = ns.dynamics.max_learning_rate(K) / 4
    flow = ns.dynamics.function_space_flow(
        K, y, point_loss=ns.dynamics.logistic, steps=[0, 20], learning_rate=rate, unseen=ASKED
    )
    np.testing.assert_allclose(flow.unseen, towards @ flow.weights.values, rtol=0, atol=1e-12)
    # A batch of all points is gradient descent.
    there = np.ones((7, 2))
    options = {"steps": STEPS, "learning_rate": rate, "unseen": ASKED}
    whole = ns.dynamics.stochastic_descent(K, y, batches=Batches(N, runs=2), unseen_labels=there, **options)
    expected = np.stack([walk(matrix, column, rate, STEPS) @ towards.T for column in y.T], axis=2)
    np.testing.assert_allclose(whole.unseen, expected, rtol=0, atol=1e-10)
    np.testing.assert_allclose(whole.unseen_loss, ((there - expected) ** 2).sum(axis=(1, 2)) / 2, rtol=1e-9)
    # Of smaller batches descent is the mean.
    some = ns.dynamics.stochastic_descent(K, y, batches=Batches(8, runs=200), **options)
    assert (np.abs(some.unseen - expected) <= 5 * some.unseen_sem + 1e-12).all()
    assert (some.unseen_sem[-1] > 0).all()
    with pytest.raises(ValueError, match=r"labels have shape \(7, 2\); expected \(0,\)"):
        ns.dynamics.stochastic_descent(K, y, batches=Batches(8), steps=[1], learning_rate=rate, unseen_labels=there)
    with pytest.raises(ValueError, match="`unseen_labels` have 1 channels, and `y` has 2"):
        ns.dynamics.stochastic_descent(K, y, batches=Batches(8), unseen_labels=there[:, 0], **options)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (np.zeros((3, 2)), r"points have shape \(3, 2\); expected \(n, 1\)"),
        (np.zeros((0, 1)), "expected at least one row"),
        ([[np.nan]], "points hold NaN"),
    ],
)
def test_bad_unseen_points_are_refused_in_words(asked, message, kernels):
    K = ns.operator.dense(kernels["1d"], [[0.1], [0.6]])
    with pytest.raises(ValueError, match=message):
        ns.predict(K, np.ones(2), steps=[1], learning_rate=1e-3, unseen=asked)


def test_a_matrix_of_no_kernel_says_so():
    K = ns.operator.Dense(jnp.asarray([[0.1], [0.6]]), jnp.eye(2))
    with pytest.raises(ValueError, match="knows no kernel between its points and others"):
        ns.predict(K, np.ones(2), steps=[1], learning_rate=1e-3, unseen=ASKED)
    with pytest.raises(ValueError, match="knows no kernel between its points and others"):
        K.at(ASKED, np.ones(2))


def test_descent_is_the_oracle():
    """The loop that all of this stands on, against the one of the other tests."""
    matrix = np.diag([1.0, 0.5])
    np.testing.assert_allclose(
        walk(matrix, np.ones(2), 0.5, [3]) @ matrix, oracle_dense.descend(matrix, np.ones(2), 0.5, [3]), rtol=1e-14
    )
