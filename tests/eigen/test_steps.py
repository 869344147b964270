import numpy as np
import pytest

import ntkspec as ns


@pytest.fixture(scope="module")
def K():
    """Eight frequencies in power-law amplitudes on twelve points: circulant, so every mode is one frequency."""
    k = ns.kernel.compose(ns.mapping.power_law(8, p=1.0), ns.kernel.MLP(depth=1, b_std=0.1))
    return ns.operator.lattice(k, (12,))


@pytest.fixture(scope="module")
def s(K):
    return ns.eigen.spectrum(K)


@pytest.mark.parametrize("loss", ["sum", "mean"])
@pytest.mark.parametrize("dynamics", [None, ns.dynamics.heavy_ball(0.5)], ids=["descent", "heavy ball"])
def test_training_for_so_many_steps_leaves_so_much(loss, dynamics, K, s):
    rate = 0.3 * ns.dynamics.max_learning_rate(K, loss, dynamics=dynamics)
    table = ns.eigen.steps_to(s, 0.1, learning_rate=rate, loss=loss, dynamics=dynamics)
    mode = 3
    y = np.cos(2 * np.pi * float(table.mode_frequency[mode]) * K.points[:, 0])
    steps = int(table.steps[mode])
    p = ns.predict(K, y, steps=[steps - 1, steps], learning_rate=rate, loss=loss, dynamics=dynamics)
    before, after = np.linalg.norm(p.train - y, axis=1) / np.linalg.norm(y)
    assert after <= 0.1 < before
    assert table.attrs["max_learning_rate"] == pytest.approx(rate / 0.3, rel=1e-12)
    assert table.attrs["flow_time_of_a_step"] == ns.dynamics.flow_time(rate, 1, 12, loss)


def test_each_frequency_has_its_first_and_last_mode(s):
    table = ns.eigen.steps_to(s, 0.1)
    for row in table.frequency.values:
        here = table.steps.values[table.mode_frequency == row]
        ends = table.sel(frequency=row)
        assert (ends.modes, ends.fastest, ends.slowest) == (len(here), here.min(), here.max())
    assert int(table.modes.sum()) == 12


def test_an_eigenvalue_within_its_error_may_take_longer(s):
    rough = s.assign(eigenvalue_error=s.eigenvalue_error * 0 + 0.1 * s.eigenvalue.min())
    table = ns.eigen.steps_to(rough, 0.01)
    lower = s.assign(eigenvalue=s.eigenvalue - 0.1 * s.eigenvalue.min())
    exact = ns.eigen.steps_to(lower, 0.01, learning_rate=table.learning_rate)
    np.testing.assert_array_equal(table.steps_at_most, np.maximum(exact.steps, table.steps))
    assert (table.steps_at_most > table.steps).any()


def test_a_flow_takes_time_and_has_no_limit(s):
    table = ns.eigen.steps_to(s, 0.1, dynamics=ns.dynamics.gradient_flow())
    np.testing.assert_allclose(table.steps, np.log(10) * float(s.eigenvalue[0]) / s.eigenvalue, rtol=1e-12)


def test_a_ridge_keeps_its_unit(s):
    """δ is in units of eigenvalues whatever the learning rate: modes below δ/9 never come to a tenth."""
    strength = float(s.eigenvalue[4]) / 9 * 1.01
    table = ns.eigen.steps_to(s, 0.1, dynamics=ns.dynamics.ridge(strength))
    np.testing.assert_array_equal(np.isfinite(table.steps), s.eigenvalue > 9 * strength)
    assert 0 < np.isfinite(table.steps).sum() < 12


def test_what_is_refused(s):
    limit = 2 / float(s.eigenvalue[0])
    with pytest.raises(ValueError, match=r"past the stability limit of GradientDescent for the sum loss"):
        ns.eigen.steps_to(s, 0.1, learning_rate=1.01 * limit)
    with pytest.raises(ValueError, match=r"epsilon=2"):
        ns.eigen.steps_to(s, 2)
