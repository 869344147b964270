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


def test_every_frequency_is_there_though_few_modes_are(s, K):
    """On a circulant lattice Rayleigh quotients are eigenvalues: few modes and all of them make one table."""
    every, few = (ns.eigen.steps_to(ns.eigen.spectrum(K, count), 0.1) for count in (None, 4))
    assert every.by_eigenvalue.all()
    np.testing.assert_array_equal(few.frequency, np.arange(7))
    assert 1 <= few.by_eigenvalue.sum() <= 3
    np.testing.assert_array_equal(few.waves, [1, 2, 2, 2, 2, 2, 1])
    np.testing.assert_array_equal(few.fastest, every.fastest)
    np.testing.assert_array_equal(few.slowest, every.slowest)


def test_plane_waves_of_a_masked_lattice_have_their_brute_force_ends(masked):
    K, _ = masked["2d"]
    s = ns.eigen.spectrum(K, 2)
    table = ns.eigen.steps_to(s, 0.1)
    grid = K.sublattice.grid
    matrix, x = np.asarray(K.to_dense()), K.points
    axes = [np.fft.fftfreq(n, d=h) for n, h in zip(grid.shape, grid.spacing, strict=True)]
    found = {}
    for f in np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2):
        wave = np.exp(2j * np.pi * x @ f)
        band = np.rint(np.linalg.norm(f) / grid.frequency_step) * grid.frequency_step
        found.setdefault(band, []).append((wave.conj() @ matrix @ wave).real / len(x))
    for row in table.frequency.values:
        waves = np.array(found[row])
        here = table.sel(frequency=row)
        assert int(here.waves) == len(waves)
        if not here.by_eigenvalue:
            steps = ns.dynamics.steps_to(0.1, table.learning_rate * np.array([waves.max(), waves.min()]))
            assert abs(float(here.fastest) - steps.min()) <= 1
            assert abs(float(here.slowest) - steps.max()) <= 1
    assert not table.by_eigenvalue.all()


@pytest.mark.parametrize("dynamics", [None, ns.dynamics.heavy_ball(0.5), ns.dynamics.ridge(0.3)])
def test_a_learning_rate_under_both_losses(dynamics, K, s):
    table = ns.eigen.stability(s, dynamics=dynamics)
    top = float(s.eigenvalue[0])
    for loss, unit in (("sum", 1), ("mean", 12)):
        one = table.sel(loss=loss)
        limit = ns.dynamics.max_learning_rate(K, loss, dynamics=dynamics)
        assert float(one.max_learning_rate) == pytest.approx(limit, rel=1e-12)
        assert float(one.learning_rate) == pytest.approx(limit / 2, rel=1e-12)
        assert float(one.sharpness) == pytest.approx(top / unit, rel=1e-12)
        time = ns.dynamics.flow_time(float(one.learning_rate), 1, 12, loss)
        assert float(one.flow_time_of_a_step) == pytest.approx(time, rel=1e-15)
        # A kernel that is as sharp as the edge has this rate for its limit.
        of = ns.dynamics.gradient_descent() if dynamics is None else dynamics
        assert of.stability_limit(float(one.edge_of_stability) * unit) == pytest.approx(limit / 2 / unit, rel=1e-9)
    at_limit = ns.eigen.stability(s, learning_rate=float(table.max_learning_rate[0]), dynamics=dynamics)
    np.testing.assert_allclose(at_limit.edge_of_stability, at_limit.sharpness, rtol=1e-9)


def test_a_flow_has_no_edge(s):
    table = ns.eigen.stability(s, dynamics=ns.dynamics.gradient_flow())
    assert np.isinf(table.edge_of_stability).all()
    assert np.isfinite(table.learning_rate).all()
    with pytest.raises(ValueError, match=r"learning_rate=-1.*expected a positive number"):
        ns.eigen.stability(s, learning_rate=-1)


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
    with pytest.raises(ValueError, match=r"times its stability limit under GradientDescent.*loss='sum'"):
        ns.eigen.steps_to(s, 0.1, learning_rate=1.01 * limit)
    with pytest.raises(ValueError, match=r"epsilon=2"):
        ns.eigen.steps_to(s, 2)
