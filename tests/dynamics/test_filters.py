"""Ridge, schedules, preconditioners and steps to ε: closed forms, limits at λ = 0, and what is refused."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import ntkspec as ns
from ntkspec.limits import limited

D = ns.dynamics
EPS = np.finfo(float).eps
POWER = D.damped_power(0.5, 0.1)
RATES = np.array([0.0, 1e-15, 1e-6, 0.1, 0.4, 0.6, 1.0])


@pytest.mark.parametrize("base", [D.gradient_flow(), D.gradient_descent(), D.heavy_ball(0.5)], ids=["flow", "gd", "hb"])
def test_a_ridge_ends_at_its_fixed_point_and_starts_as_the_rest(base):
    ridge = D.ridge(0.2, base)
    value = np.array([0.0, 1e-3, 0.2, 1.0])
    np.testing.assert_allclose(1 - ridge.residual(value, 1e4), value / (value + 0.2), atol=1e-15)
    np.testing.assert_allclose(ridge.weights(value, 1e4), 1 / (value + 0.2), rtol=1e-14)
    np.testing.assert_array_equal(ridge.residual(value, 0.0), 1)
    # In units of an η: δ stays in units of eigenvalues.
    np.testing.assert_allclose(ridge.at(0.1).residual(0.1 * value, 1e4), ridge.residual(value, 1e4), atol=1e-12)
    assert ridge.at(0.1).max_speed == pytest.approx(base.max_speed - 0.02)
    assert ridge.discrete is base.discrete


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_a_ridge_is_positive(bad):
    with pytest.raises(ValueError, match=r"strength=.*; expected a positive number"):
        D.ridge(bad)


def test_early_stopping_is_near_its_ridge():
    """At every τ the two filters differ by at most 0.204, and by that much somewhere."""
    steps, rate = 50.0, 0.01
    value = np.geomspace(1e-6, 1e6, 2001)
    strength = D.equivalent_ridge(rate, steps, num_points=7)
    stopped = 1 - D.gradient_flow().residual(rate * value, steps)
    gap = np.abs(stopped - value / (value + strength))
    assert gap.max() == pytest.approx(0.2036, abs=2e-4)
    assert D.equivalent_ridge(7 * rate, steps, 7, loss="mean") == pytest.approx(strength, rel=1e-15)
    with pytest.raises(ValueError, match="step=0"):
        D.equivalent_ridge(0.1, 0, 7)


@settings(max_examples=30, deadline=None)
@given(
    factors=st.lists(st.floats(0, 1), min_size=1, max_size=12).filter(lambda c: max(c) > 1e-3),
    steps=st.lists(st.integers(0, 20), min_size=1, max_size=4),
)
def test_a_schedule_is_a_product(factors, steps):
    """Also at rates where a factor is exactly zero, and past the last factor, which holds."""
    dynamics = D.schedule(factors)
    rates = np.append(RATES, dynamics.max_speed)
    long = np.array([factors[min(step, len(factors) - 1)] for step in range(20)])
    residual = np.stack([np.prod(1 - rates[:, None] * long[:step], axis=1) for step in steps], axis=1)
    weights = np.stack(
        [
            sum(long[s] * np.prod(1 - rates[:, None] * long[:s], axis=1) for s in range(step)) + 0 * rates
            for step in steps
        ],
        axis=1,
    )
    asked = np.array(steps, dtype=float)
    np.testing.assert_allclose(dynamics.residual(rates[:, None], asked), residual, rtol=0, atol=100 * EPS)
    # Where 1 − r is a difference it is one of numbers up to 1 over a rate of at least ½ a step.
    np.testing.assert_allclose(dynamics.weights(rates[:, None], asked), weights, rtol=200 * EPS, atol=1e-12)


def test_a_schedule_of_ones_is_gradient_descent_and_runs_are_merged():
    one, plain = D.schedule([1.0] * 50), D.gradient_descent()
    assert one.factors.tolist() == [1.0]
    np.testing.assert_allclose(one.weights(RATES, 1e6), plain.weights(RATES, 1e6), rtol=1e-12)
    assert D.schedule(lambda step: 0.5**step, 3) == D.schedule([1.0, 0.5, 0.25])
    assert hash(D.piecewise({0: 1.0, 2: 0.5})) == hash(D.schedule([1, 1, 0.5]))
    assert D.cosine(10) != D.cosine(11)


def test_schedules_in_blocks_are_the_same():
    dynamics = D.cosine(40, warmup=5)
    rate, step = np.linspace(0, 1.9, 24).reshape(6, 4), 33.0
    whole = dynamics.weights(rate, step)
    with limited(side_by_side=40):
        np.testing.assert_array_equal(dynamics.weights(rate, step), whole)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: D.schedule([]), "not a list of numbers"),
        (lambda: D.schedule([0.0, 0.0]), "one of them positive"),
        (lambda: D.schedule([1.0, -0.1]), "not negative"),
        (lambda: D.schedule([1.0, float("nan")]), "not a list of numbers"),
        (lambda: D.schedule(lambda step: 1.0), "needs num_steps"),
        (lambda: D.schedule(lambda step: 1.0, 10**13), "each of 10,000,000,000,000 steps would need"),
        (lambda: D.cosine(10**13), "available; ask for fewer steps, or for a schedule of few changes"),
        (lambda: D.piecewise({5: 1.0}), "from step 0 on"),
        (lambda: D.piecewise({0: 1.0, 2.5: 0.1}), r"starts at step 2.5; expected whole steps"),
        (lambda: D.piecewise({0: 1.0, -2: 0.1}), "from step 0 on"),
        (lambda: D.piecewise({0: 1.0, "late": 0.1}), r"starts at step 'late'; expected whole steps"),
        (lambda: D.cosine(10, warmup=10), "0 <= warmup < 10"),
        (lambda: D.cosine(10, final=2.0), "0 <= final <= 1"),
        (lambda: D.damped_power(1.5, 0.1), "power=1.5; expected a number of from 0 to 1"),
        (lambda: D.damped_power(0.5, 0.0), "damping=0.0; expected a positive"),
        (lambda: D.preconditioned(lambda value: 1 / value), r"at eigenvalues \[0, 1\]; expected positive"),
        (lambda: D.ridge(0.1, D.preconditioned(POWER)), r"is preconditioned\(p, ridge\(strength, dynamics\)\)"),
        (lambda: D.preconditioned(POWER, D.ridge(0.1, D.preconditioned(POWER))), r"ridge around a preconditioned"),
        (lambda: D.preconditioned(POWER, D.preconditioned(POWER)), r"preconditioned already; give the product"),
        (lambda: D.steps_to(1.0, 0.1), "epsilon=1.0; expected between 0 and 1"),
        (lambda: D.flow_time(-1.0, 1, 1), "learning_rate=-1.0"),
    ],
)
def test_bad_dynamics_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_preconditioner_of_power_zero_is_none_and_one_flattens():
    rates, plain = np.array([0.0, 1e-9, 0.3, 1.5]), D.gradient_descent()
    none = D.preconditioned(D.damped_power(0.0, 1.0))
    np.testing.assert_allclose(none.weights(rates, 7.0), plain.weights(rates, 7.0), rtol=1e-14)
    assert none.stability_limit(4.0) == pytest.approx(0.5)
    newton = D.preconditioned(D.damped_power(1.0, 1e-6)).at(0.5)
    # η λ/(λ + δ) ≈ η: all modes well above δ are learned at one rate.
    np.testing.assert_allclose(newton.residual(0.5 * np.array([0.1, 1.0, 10.0]), 3.0), 0.125, rtol=1e-4)
    assert newton.stability_limit(1.0) == pytest.approx(2, rel=1e-5)


@pytest.mark.parametrize("epsilon", [0.5, 0.1, 1e-6])
def test_steps_to_is_the_logarithm(epsilon):
    rates = np.array([0.0, 1e-9, 1e-3, 0.1, 0.7, 1.0, 1.3, 1.99, 2.0, 2.5])
    with np.errstate(divide="ignore"):
        expected = np.log(epsilon) / np.log(np.abs(1 - rates))
    expected = np.where((rates == 0) | (rates >= 2), np.inf, np.maximum(np.ceil(expected), 1))
    found = D.steps_to(epsilon, rates)
    # One in 10⁹ is beside a whole number's edge.
    np.testing.assert_allclose(found, expected, rtol=1e-7)
    flow = D.steps_to(epsilon, rates[1:], D.gradient_flow())
    np.testing.assert_allclose(flow, -np.log(epsilon) / rates[1:], rtol=1e-12)


@pytest.mark.parametrize(
    "dynamics",
    [D.heavy_ball(0.9), D.nesterov(0.9), D.ridge(1e-3), D.cosine(80, final=0.1)],
    ids=lambda d: type(d).__name__,
)
def test_steps_to_is_the_first_step_by_counting(dynamics):
    rates = np.array([0.01, 0.1, 0.5, 1.0])
    residual = np.abs(dynamics.residual(rates[:, None], np.arange(2000.0)))
    np.testing.assert_array_equal(D.steps_to(0.2, rates, dynamics), (residual <= 0.2).argmax(axis=1))


def test_steps_that_a_ridge_never_takes():
    assert D.steps_to(0.1, np.array([0.5]), D.ridge(0.4)) == np.inf


def test_steps_to_is_when_a_swing_passes_first_though_it_settles_above():
    """The residual of a heavy ball with a ridge falls through ε to below zero, and ends at 1/6."""
    dynamics, rate = D.ridge(0.02, D.heavy_ball(0.9)), np.array([0.1])
    residual = np.abs(dynamics.residual(rate, np.arange(3000.0)))
    assert residual[-1] == pytest.approx(1 / 6)
    assert residual.min() <= 0.1
    assert D.steps_to(0.1, rate, dynamics) == (residual <= 0.1).argmax()
    assert "ntkspec.dynamics.residual" not in D.steps_to.__doc__


@pytest.mark.parametrize(
    "dynamics",
    [
        D.gradient_flow(),
        D.gradient_descent(),
        D.heavy_ball(0.8),
        D.nesterov(0.8),
        D.ridge(0.05),
        D.cosine(30, warmup=4),
    ],
    ids=lambda d: type(d).__name__,
)
@pytest.mark.parametrize("share", [0.02, 1.0])
def test_a_changed_matrix_changes_the_residual_by_at_most_the_sensitivity(dynamics, share, rng):
    top, steps = share * min(dynamics.max_speed, 3.0), np.array([1.0, 4, 30, 300])
    Q, _ = np.linalg.qr(rng.standard_normal((12, 12)))
    A = (Q * np.geomspace(0.99, 1e-4, 12)) @ Q.T * top
    change = rng.standard_normal((12, 12))
    B = A + 0.005 * top * (change + change.T) / np.linalg.norm(change + change.T, 2)
    residuals = []
    for matrix in (A, B):
        value, vector = np.linalg.eigh(matrix)
        filters = dynamics.residual(np.maximum(value, 0)[:, None], steps)
        residuals.append(np.einsum("ij,jt,kj->tik", vector, filters, vector))
    moved = np.linalg.norm(residuals[0] - residuals[1], 2, axis=(1, 2)) / np.linalg.norm(A - B, 2)
    assert (moved <= dynamics.sensitivity(top, steps) * (1 + 1e-9)).all()
    assert moved.max() > 0.1


def test_flow_time():
    assert D.flow_time(0.5, 100, num_points=10) == 50
    np.testing.assert_array_equal(D.flow_time(0.5, [0, 100], 10, "mean"), [0, 5])
