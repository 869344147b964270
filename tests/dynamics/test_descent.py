import jax
import numpy as np
import oracle_mpmath
import pytest

import ntkspec as ns
from ntkspec.dynamics import summed_rate

EPS = np.finfo(np.float64).eps
RATES = np.array([0.0, 1e-300, 1e-20, 1e-12, 1e-6, 0.1, 0.49999, 0.5, 0.9, 1 - 1e-12])
FAST = np.array([1.0, 1.1, 1.5, 1.9, 2 - 1e-9])
STEPS = [0, 1, 2, 17, 10**6, 10**12]
DYNAMICS = {
    "descent": (ns.dynamics.gradient_descent(), oracle_mpmath.descent_residual, np.append(RATES, FAST)),
    "flow": (ns.dynamics.gradient_flow(), oracle_mpmath.flow_residual, np.append(RATES, [1.0, 50.0])),
}


@pytest.fixture(params=DYNAMICS)
def case(request):
    return DYNAMICS[request.param]


@pytest.mark.parametrize("step", STEPS)
def test_residual_is_the_power_to_many_digits(case, step):
    dynamics, oracle, rates = case
    expected = np.array([float(oracle(rate, step)) for rate in rates])
    # t·log(1 − x) rounds by a unit of itself, and what is left of r is at least e^{−that}: |r| · log(1/r) · ε.
    magnitude = np.abs(expected) * (1 + np.abs(np.log(np.maximum(np.abs(expected), 1e-300))))
    tolerance = 8 * EPS * magnitude + 1e-300
    # Where 1 − x has itself been rounded (x near 1 or 2) the exponent multiplies that unit by t.
    tolerance += np.where(rates > 0.5, 4 * EPS * step * np.abs(expected), 0)
    assert (np.abs(dynamics.residual(rates, float(step)) - expected) <= tolerance).all()


@pytest.mark.parametrize("step", STEPS)
def test_weights_are_the_quotient_with_its_limit(case, step):
    dynamics, oracle, rates = case
    with oracle_mpmath.mp.workdps(400):
        expected = [
            float((1 - oracle_mpmath.exact(1) * oracle(rate, step)) / oracle_mpmath.exact(rate))
            if rate > 1e-30
            else step
            for rate in rates
        ]
    # Where x > 1 the power has either sign and 1 − r cancels: absolute there.
    slack = np.where(rates > 0.5, 8 * EPS * (1 + step * 1e-9), 0)
    np.testing.assert_array_less(
        np.abs(dynamics.weights(rates, float(step)) - expected), 16 * EPS * np.abs(expected) + slack + 1e-300
    )


def test_filters_broadcast_rates_against_steps(case):
    dynamics, _, rates = case
    both = dynamics.residual(rates[:, None], np.array([0, 3, 4]))
    assert both.shape == (len(rates), 3)
    np.testing.assert_array_equal(both[:, 1], dynamics.residual(rates, 3))
    weights = dynamics.weights(rates[:, None], np.array([0, 3, 4]))
    np.testing.assert_allclose(1 - rates[:, None] * weights, both, rtol=0, atol=4 * EPS)


def test_weights_continue_smoothly_across_half():
    descent = ns.dynamics.gradient_descent()
    below, above = (descent.weights(np.array([r]), 5.0)[0] for r in (0.5 - 1e-15, 0.5))
    assert below == pytest.approx(above, rel=1e-14)


def test_a_slightly_negative_eigenvalue_is_harmless(case):
    dynamics, _, _ = case
    np.testing.assert_allclose(dynamics.weights(np.array([-1e-17]), 100.0), 100, rtol=1e-12)


def test_limits_of_stability():
    assert ns.dynamics.gradient_descent().max_speed == 2
    assert ns.dynamics.gradient_flow().max_speed == float("inf")
    assert abs(ns.dynamics.gradient_descent().residual(np.array([2.1]), 200)) > 1e8


def test_dynamics_are_values():
    assert ns.dynamics.gradient_descent() == ns.dynamics.GradientDescent()
    assert jax.tree.leaves(ns.dynamics.gradient_flow()) == []


@pytest.mark.parametrize("name", ["1d", "2d periodic"])
def test_max_learning_rate_is_two_over_the_norm(name, lattices):
    K = lattices[name]
    top = np.linalg.eigvalsh(np.asarray(K.to_dense()))[-1]
    assert ns.dynamics.max_learning_rate(K) == pytest.approx(2 / top, rel=1e-12)
    assert ns.dynamics.max_learning_rate(K, loss="mean") == pytest.approx(2 * K.num_points / top, rel=1e-12)
    assert ns.dynamics.max_learning_rate(K, dynamics=ns.dynamics.gradient_flow()) == float("inf")


def test_summed_rate():
    assert summed_rate(0.5, 10, "sum") == 0.5
    assert summed_rate(0.5, 10, "mean") == 0.05


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_learning_rates_are_refused(rate):
    with pytest.raises(ValueError, match=rf"learning_rate={rate}; expected a positive number"):
        summed_rate(rate, 10, "sum")


def test_unknown_losses_are_refused(lattices):
    with pytest.raises(ValueError, match=r"loss='huber'; expected 'sum' .* or 'mean'"):
        ns.dynamics.max_learning_rate(lattices["1d"], loss="huber")
