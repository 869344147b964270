import jax.numpy as jnp
import numpy as np
import pytest
from left_out import left_out, regression, trained

import ntkspec as ns
from ntkspec.generalisation._contour import resolvents
from ntkspec.prediction import ConvergenceWarning

KINDS = ["lattice odd", "lattice even", "circulant", "masked", "dense", "low rank", "scattered", "measured"]
RIDGE = 0.01


def labels(K, channels=2):
    return np.random.default_rng(1).standard_normal((K.num_points, channels))


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_what_refitting_without_each_point_gives(operators, kind):
    K = operators[kind]
    y = labels(K)
    expected = left_out(np.asarray(K.to_dense()), y, regression(RIDGE))
    # Errors of a solution are condition number times rounding.
    tolerance = 1e3 * float(K.trace() / RIDGE) * np.finfo(float).eps
    for given in (K, ns.generalisation.decompose(K)):
        found = ns.generalisation.leave_one_out(given, y, ridge=RIDGE)
        np.testing.assert_allclose(found.residual, expected, atol=tolerance)
        np.testing.assert_allclose(found.prediction, y - expected, atol=tolerance)
        assert found.mean_squared_error == pytest.approx(np.mean(expected**2), rel=tolerance)
        assert found.attrs["exact"] == found.attrs["converged"] == 1
        assert float(found.standard_error) == 0


def test_one_channel_is_a_column_of_many(operators):
    K = operators["masked"]
    y = labels(K)
    one = ns.generalisation.leave_one_out(K, y[:, 0], ridge=RIDGE)
    both = ns.generalisation.leave_one_out(K, y, ridge=RIDGE)
    assert one.residual.dims == ("point",)
    np.testing.assert_allclose(one.residual, both.residual.isel(channel=0), rtol=1e-12)


def test_generalised_is_the_same_where_all_points_are_alike(operators):
    K = operators["circulant"]
    found = ns.generalisation.leave_one_out(K, labels(K), ridge=RIDGE)
    assert found.generalised == pytest.approx(float(found.mean_squared_error), rel=1e-12)
    K = operators["dense"]
    found = ns.generalisation.leave_one_out(K, labels(K), ridge=RIDGE)
    assert abs(found.generalised / found.mean_squared_error - 1) > 0.01


@pytest.mark.parametrize("kind", ["lattice even", "masked", "dense"])
def test_by_products_only_within_its_error_bars(operators, products_only, kind):
    K = operators[kind]
    y = labels(K)
    expected = left_out(np.asarray(K.to_dense()), y, regression(0.5))
    found = ns.generalisation.leave_one_out(K, y, ridge=0.5, num_probes=64)
    assert found.attrs["exact"] == 0
    assert found.attrs["converged"] == 1
    assert abs(found.mean_squared_error - np.mean(expected**2)) < 5 * found.standard_error
    assert 0 < found.standard_error < 0.2 * found.mean_squared_error
    distance = np.abs(found.residual - expected) / found.residual_standard_error
    assert np.median(distance) < 1.5


def test_a_circulant_neighbour_lowers_the_error_bars(operators, products_only):
    K = operators["lattice even"]
    y = labels(K)
    found = ns.generalisation.leave_one_out(K, y, ridge=0.5)
    matrix = ns.operator.Dense(K.points, K.to_dense())
    assert found.standard_error < 0.5 * ns.generalisation.leave_one_out(matrix, y, ridge=0.5).standard_error


def test_a_solution_cut_short_says_so(operators, products_only):
    K = operators["dense"]
    with pytest.warns(ConvergenceWarning, match="relative residual"):
        found = ns.generalisation.leave_one_out(K, labels(K), ridge=1e-6, max_products=16)
    assert found.attrs["converged"] == 0


@pytest.mark.parametrize("kind", ["lattice even", "circulant", "masked", "low rank", "measured"])
@pytest.mark.parametrize(
    "dynamics",
    [
        ns.dynamics.gradient_flow(),
        ns.dynamics.gradient_descent(),
        ns.dynamics.ridge(0.1),
        ns.dynamics.ridge(0.1, ns.dynamics.gradient_flow()),
    ],
    ids=["flow", "descent", "ridge", "flow with ridge"],
)
def test_every_step_is_what_training_without_each_point_gives(operators, kind, dynamics):
    K = operators[kind]
    y, gram = labels(K), np.asarray(K.to_dense())
    rate = 0.9 / (np.linalg.eigvalsh(gram)[-1] + 0.1)
    steps = [0, 1, 7, 100, 300, 20_000]
    found = ns.generalisation.leave_one_out_path(K, y, steps=steps, learning_rate=rate, dynamics=dynamics)
    assert found.attrs["exact"] == 1
    for i, step in enumerate(steps):
        expected = left_out(gram, y, trained(dynamics, rate, step))
        # Beside the contour's error that of rounding, which long training amplifies in the reference too.
        allowed = float(found.error_bound[i]) + 1e-10
        assert np.linalg.norm(found.residual[i] - expected) < allowed * np.linalg.norm(y)
        assert found.mean_squared_error[i] == pytest.approx(np.mean(expected**2), rel=1e-6)


def test_fast_descent_stays_exact_while_the_steps_are_few(operators):
    K = operators["masked"]
    y, gram = labels(K), np.asarray(K.to_dense())
    rate = 1.95 / np.linalg.eigvalsh(gram)[-1]
    found = ns.generalisation.leave_one_out_path(K, y, steps=[33], learning_rate=rate)
    expected = left_out(gram, y, trained(ns.dynamics.gradient_descent(), rate, 33))
    np.testing.assert_allclose(found.residual[0], expected, atol=1e-10)


def test_descent_that_swings_for_long_says_what_it_does_not_know(operators):
    K = operators["masked"]
    rate = 1.9999 / np.linalg.eigvalsh(K.to_dense())[-1]
    with pytest.warns(ConvergenceWarning, match="contour"):
        found = ns.generalisation.leave_one_out_path(K, labels(K), steps=[1000], learning_rate=rate)
    assert found.error_bound[0] > 1e-3


def test_other_dynamics_take_the_identity_of_ridge_regression(operators):
    K = operators["dense"]
    y, gram = labels(K), np.asarray(K.to_dense())
    value, vector = np.linalg.eigh(gram)
    rate, dynamics = 0.5 / value[-1], ns.dynamics.heavy_ball(0.5)
    left = vector @ np.diag(dynamics.residual(rate * value, np.asarray(20))) @ vector.T
    found = ns.generalisation.leave_one_out_path(K, y, steps=[20], learning_rate=rate, dynamics=dynamics)
    np.testing.assert_allclose(found.residual[0], left @ y / np.diag(left)[:, None], rtol=1e-9)
    assert found.attrs["exact"] == 0
    assert np.isnan(found.error_bound).all()


@pytest.mark.parametrize(("dynamics", "step"), [(ns.dynamics.gradient_flow(), 50.0), (ns.dynamics.ridge(0.3), 1000)])
def test_the_bound_of_the_contour_is_small_and_not_idle(dynamics, step):
    (found,) = resolvents(ns.dynamics.Times.of(1, [step], 0.5, dynamics=dynamics), 1.5)
    assert 0 < found.error < 1e-9
    grid = np.linspace(0, 1.5, 7)
    expected = 0.5 * dynamics.at(0.5).weights(0.5 * grid, np.asarray(step))
    np.testing.assert_allclose(found(grid), expected, rtol=1e-9)


def test_bad_input_is_refused(operators):
    K, low = operators["dense"], operators["low rank"]
    loo, path = ns.generalisation.leave_one_out, ns.generalisation.leave_one_out_path
    y = labels(K)
    with pytest.raises(TypeError, match="expected an operator"):
        loo(np.eye(3), np.ones(3), ridge=0.1)
    with pytest.raises(ValueError, match="one number δ ≥ 0"):
        loo(K, y, ridge=-1.0)
    with pytest.raises(ValueError, match="labels have shape"):
        loo(K, y[:-1], ridge=0.1)
    with pytest.raises(ValueError, match="approximation error of this operator"):
        loo(low, labels(low), ridge=low.approximation_error / 2)
    twice = ns.operator.Dense(K.coordinates, jnp.ones_like(K.matrix))
    with pytest.raises(ValueError, match="singular up to rounding"):
        loo(twice, y, ridge=0.0)
    with pytest.raises(ValueError, match="singular up to rounding"):
        loo(ns.generalisation.decompose(twice), y, ridge=0.0)
    with pytest.raises(ValueError, match="stability limit"):
        path(K, y, steps=[1], learning_rate=1e3)
    with pytest.raises(ValueError, match="whole numbers"):
        path(K, y, steps=[0.5], learning_rate=1e-3)


def test_bad_input_by_products_is_refused(operators, products_only):
    K = operators["dense"]
    with pytest.raises(ValueError, match="rounding of a product"):
        ns.generalisation.leave_one_out(K, labels(K), ridge=0.0)
    with pytest.raises(ValueError, match="at least 2"):
        ns.generalisation.leave_one_out(K, labels(K), ridge=0.5, num_probes=1)
    with pytest.raises(ValueError, match="takes too long"):
        ns.generalisation.leave_one_out_path(K, labels(K), steps=[1], learning_rate=1e-3)
