import numpy as np
import pytest

import ntkspec as ns
from ntkspec.generalisation import Sampling
from ntkspec.limits import limited
from ntkspec.prediction import ConvergenceWarning

STEPS = [0, 3, 100, 400]
FLOW = ns.dynamics.gradient_flow()
DYNAMICS = [FLOW, ns.dynamics.gradient_descent(), ns.dynamics.ridge(0.1), ns.dynamics.heavy_ball(0.5)]


def labels(K, channels=2):
    return np.random.default_rng(1).standard_normal((K.num_points, channels))


def rate_of(K):
    return 0.9 / (np.linalg.eigvalsh(K.to_dense())[-1] + 0.1)


@pytest.mark.parametrize("kind", ["lattice even", "circulant", "masked", "low rank", "measured"])
@pytest.mark.parametrize("dynamics", DYNAMICS, ids=lambda dynamics: type(dynamics).__name__)
def test_the_classical_formula_is_that_of_the_smoother(operators, kind, dynamics):
    K = operators[kind]
    y, rate, n = labels(K), rate_of(K), K.num_points
    value, vector = np.linalg.eigh(K.to_dense())
    value = np.maximum(value, 0)
    found = ns.generalisation.cross_validation(K, y, steps=STEPS, learning_rate=rate, dynamics=dynamics)
    for i, step in enumerate(STEPS):
        left = dynamics.at(rate).residual(rate * value, np.asarray(step))
        residual = left[:, None] * (vector.T @ y)
        assert found.train_error[i] == pytest.approx(np.mean(residual**2), rel=1e-9)
        assert found.degrees_of_freedom[i] == pytest.approx(n - left.sum(), abs=1e-9 * n)
        assert found.classical[i] == pytest.approx(n / 2 * np.sum(residual**2) / left.sum() ** 2, rel=1e-7)


@pytest.mark.parametrize("dynamics", DYNAMICS[:3], ids=lambda dynamics: type(dynamics).__name__)
def test_it_is_the_leave_one_out_error_where_all_points_are_alike(operators, dynamics):
    K = operators["circulant"]
    asked = {"steps": STEPS, "learning_rate": rate_of(K), "dynamics": dynamics}
    found = ns.generalisation.cross_validation(K, labels(K), **asked)
    expected = ns.generalisation.leave_one_out_path(K, labels(K), **asked)
    np.testing.assert_allclose(found.mean_squared_error, expected.mean_squared_error, rtol=1e-10)
    assert found.attrs["best_step"] == STEPS[int(np.argmin(expected.mean_squared_error.values))]


def test_with_a_ridge_it_ends_at_the_classical_formula(operators):
    K = operators["masked"]
    asked = {"steps": [10**5], "learning_rate": rate_of(K), "dynamics": ns.dynamics.ridge(0.1)}
    found = ns.generalisation.cross_validation(K, labels(K), **asked)
    assert found.mean_squared_error == pytest.approx(float(found.classical[0]), rel=1e-9)
    expected = ns.generalisation.leave_one_out(K, labels(K), ridge=0.1).generalised
    assert found.mean_squared_error == pytest.approx(float(expected), rel=1e-9)


def test_late_without_a_ridge_it_stays_near_leave_one_out_where_the_classical_formula_does_not():
    k = ns.kernel.compose(ns.mapping.gaussian(2, 32, scale=2.0), ns.kernel.MLP(depth=2))
    K = ns.operator.lattice(k, (16, 16))
    y = np.abs(K.points[:, 0] - 0.4) * K.points[:, 1]
    asked = {"steps": [10**6], "learning_rate": 1 / 256, "dynamics": FLOW}
    found = ns.generalisation.cross_validation(K, y, **asked)
    expected = ns.generalisation.leave_one_out_path(K, y, **asked).mean_squared_error
    assert abs(float(np.log(found.mean_squared_error / expected)[0])) < 0.5
    assert abs(float(np.log(found.classical / expected)[0])) > 1


@pytest.mark.parametrize("dynamics", [FLOW, ns.dynamics.heavy_ball(0.5)], ids=["flow", "heavy ball"])
def test_by_products_only_within_its_error_bars(operators, dynamics):
    K = operators["masked"]
    asked = {"steps": STEPS[:3], "learning_rate": rate_of(K), "dynamics": dynamics}
    with limited(exact_points=0):
        found = ns.generalisation.cross_validation(K, labels(K), sampling=Sampling(num_probes=32, num_exact=2), **asked)
    exact = ns.generalisation.cross_validation(K, labels(K), **asked)
    assert found.attrs["num_products"] > exact.attrs["num_products"] == 0
    distance = np.abs(found.mean_squared_error - exact.mean_squared_error)
    assert (distance <= 5 * found.standard_error + found.numerical_error + 1e-12).all()
    assert (found.standard_error[1:] > 0).all()
    assert (exact.standard_error == 0).all()
    assert (np.abs(found.classical - exact.classical) <= 5 * found.classical_error + 1e-12).all()


def test_more_probes_make_smaller_error_bars(operators, products_only):
    K = operators["masked"]
    asked = {"steps": [100], "learning_rate": rate_of(K), "dynamics": FLOW}
    few, many = (
        ns.generalisation.cross_validation(K, labels(K), sampling=Sampling(num_probes=p, num_exact=2), **asked)
        for p in (4, 256)
    )
    assert many.standard_error < 0.5 * few.standard_error


def test_too_few_lanczos_steps_say_so(products_only):
    k = ns.kernel.compose(ns.mapping.gaussian(1, 32, scale=20.0), ns.kernel.MLP(depth=1))
    K = ns.operator.lattice(k, (512,))
    with pytest.warns(ConvergenceWarning, match="thousandth"):
        found = ns.generalisation.cross_validation(
            K, labels(K), steps=[1e6], learning_rate=1 / 512, dynamics=FLOW, sampling=Sampling(max_steps=16)
        )
    assert found.attrs["converged"] == 0


def test_an_approximation_adds_its_own_error(operators):
    K = operators["low rank"]
    found = ns.generalisation.cross_validation(K, labels(K), steps=[100], learning_rate=rate_of(K), dynamics=FLOW)
    assert 0 < found.numerical_error < 1e-2 * found.mean_squared_error


def test_where_nothing_is_left_to_learn_the_classical_formula_is_unknown(operators):
    K = operators["circulant"]
    found = ns.generalisation.cross_validation(K, labels(K), steps=[1e12], learning_rate=rate_of(K), dynamics=FLOW)
    assert np.isnan(found.classical).all()
    assert np.isfinite(found.mean_squared_error).all()


def test_the_mean_loss_is_the_summed_one_at_n_times_the_rate(operators):
    K = operators["dense"]
    rate, n = rate_of(K), K.num_points
    one = ns.generalisation.cross_validation(K, labels(K), steps=[50], learning_rate=rate)
    other = ns.generalisation.cross_validation(K, labels(K), steps=[50], learning_rate=n * rate, loss="mean")
    np.testing.assert_allclose(one.mean_squared_error, other.mean_squared_error, rtol=1e-12)


def test_bad_input_is_refused(operators):
    K = operators["dense"]
    gcv = ns.generalisation.cross_validation
    with pytest.raises(TypeError, match="expected an operator"):
        gcv(np.eye(3), np.ones(3), steps=[1], learning_rate=0.1)
    with pytest.raises(ValueError, match="labels have shape"):
        gcv(K, np.ones(3), steps=[1], learning_rate=0.1)
    with pytest.raises(ValueError, match="stability limit"):
        gcv(K, labels(K), steps=[1], learning_rate=1e3)
    with pytest.raises(ValueError, match="increasing"):
        gcv(K, labels(K), steps=[2, 1], learning_rate=1e-3)
