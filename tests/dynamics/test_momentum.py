"""The closed forms of momentum against the recursion in sixty digits, double roots and λ = 0 among the rates."""

import jax
import mpmath
import numpy as np
import pytest

import ntkspec as ns

EPS = np.finfo(float).eps
MAKE = {"heavy ball": ns.dynamics.heavy_ball, "nesterov": ns.dynamics.nesterov}


def recursion(name, rate, beta, steps):
    """(1 − r)/x and r of one mode, by the update rule."""
    with mpmath.workdps(60):
        x, b = mpmath.mpf(rate), mpmath.mpf(beta)
        before = now = mpmath.mpf(0)
        path = {}
        for step in range(max(steps) + 1):
            if step in steps:
                path[step] = float(1 - x * now), float(now)
            velocity = b * (now - before)
            at = now + velocity if name == "nesterov" else now
            before, now = now, now + velocity + 1 - x * at
    return path


@pytest.mark.parametrize("beta", [1e-3, 0.3, 0.9, 0.99])
@pytest.mark.parametrize("name", MAKE)
def test_closed_form(name, beta):
    dynamics = MAKE[name](beta)
    double = dynamics.smooth_speed
    shares = np.array([0, 1e-18, 1e-9, 0.1, 0.499, 0.5, 1 - 1e-9, 1, 1 + 1e-9])
    top = dynamics.max_speed
    rates = np.array([*shares * double, min(2 * double, 1), 1.0, (1 - 1e-9) * top, top])
    steps = [0, 1, 2, 7, 300]
    paths = [recursion(name, float(rate), beta, steps) for rate in rates]
    for step in steps:
        residual, weights = np.array([path[step] for path in paths]).T
        # Near a double root a rounding of the root moves r by t ε over the gap 1 − √β.
        slack = 32 * EPS * (1 + step) / (1 - np.sqrt(beta))
        np.testing.assert_allclose(dynamics.residual(rates, float(step)), residual, rtol=slack, atol=slack)
        # The difference 1 − r is taken where x ≥ half a double root's.
        assert (np.abs(dynamics.weights(rates, float(step)) - weights) <= slack * (weights + 1 / double)).all()


@pytest.mark.parametrize("name", MAKE)
def test_long_times_at_a_small_rate_lose_no_digits(name):
    """1 − r ≈ xt/(1 − β) where x is far below a rounding of 1."""
    dynamics = MAKE[name](0.9)
    weights = dynamics.weights(np.array([0.0, 1e-22]), 1e12)
    np.testing.assert_allclose(
        weights, (1e12 - 0.9 / 0.1 * (name == "heavy ball") - 9 * (name == "nesterov")) / 0.1, rtol=1e-9
    )
    slow = dynamics.residual(np.array([1e-14]), 1e13)
    np.testing.assert_allclose(slow, np.exp(-1.0), rtol=1e-9)


@pytest.mark.parametrize("beta", [0.0, 0.2, 0.9])
@pytest.mark.parametrize("name", MAKE)
def test_the_limit_is_where_the_recursion_starts_to_grow(name, beta):
    dynamics = MAKE[name](beta)
    limit = dynamics.max_speed
    below, at, above = (recursion(name, share * limit, beta, [1500])[1500][0] for share in (0.99, 1.0, 1.01))
    assert abs(below) < 1e-3
    assert abs(at) <= (1 + beta) / (1 - beta) + 1e-9
    assert abs(above) > 1e3


@pytest.mark.parametrize("name", MAKE)
def test_no_residual_exceeds_its_gain(name):
    dynamics = MAKE[name](0.9)
    for top in (dynamics.smooth_speed, 0.5 * dynamics.max_speed, dynamics.max_speed):
        residual = dynamics.residual(np.linspace(0, top, 301)[:, None], np.arange(200.0))
        assert np.abs(residual).max() <= dynamics.gain(top) * (1 + 1e-12)
    # Where nothing swings the residual only falls.
    slow = dynamics.residual(np.linspace(0, dynamics.smooth_speed, 50)[:, None], np.arange(200.0))
    assert (np.diff(slow, axis=1) <= 1e-13).all()


@pytest.mark.parametrize("name", MAKE)
def test_no_momentum_is_gradient_descent(name):
    rates, steps = np.linspace(0, 2, 9)[:, None], np.array([0.0, 1, 2, 9])
    plain = ns.dynamics.gradient_descent()
    np.testing.assert_array_equal(MAKE[name](0.0).residual(rates, steps), plain.residual(rates, steps))
    np.testing.assert_allclose(MAKE[name](1e-14).weights(rates, steps), plain.weights(rates, steps), atol=1e-11)
    assert MAKE[name](0).max_speed == 2


def test_momentum_is_a_value_and_out_of_range_is_refused():
    assert ns.dynamics.heavy_ball(0.5) == ns.dynamics.HeavyBall(0.5) != ns.dynamics.heavy_ball(0.6)
    assert jax.tree.leaves(ns.dynamics.nesterov()) == []
    for beta in (-0.1, 1.0, 1.5, float("nan")):
        with pytest.raises(ValueError, match=r"momentum=.*; expected a number of from 0 to 1: in \[0, 1\)"):
            ns.dynamics.heavy_ball(beta)
