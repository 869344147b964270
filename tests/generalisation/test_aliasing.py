import numpy as np
import pytest

import ntkspec as ns

STEPS = [0, 5, 200]
MASKS = {
    "1d periodic": np.arange(12) % 3 == 1,
    "2d periodic": (np.arange(6)[:, None] % 2 == 1) & (np.ones(5, dtype=bool)),
}


@pytest.fixture(scope="module")
def grids(kernels):
    return {name: ns.operator.lattice(kernels[name], mask.shape, mask) for name, mask in MASKS.items()}


def learned(K, target, steps, rate):
    """The brute force: the learned function on the whole lattice."""
    channels = np.asarray(target).reshape(*K.sublattice.full, -1)
    p = ns.predict(K, K.restrict(channels), steps=steps, learning_rate=rate, everywhere=True)
    return p.field.values


@pytest.mark.parametrize("name", MASKS)
def test_energies_are_those_of_the_learned_function(grids, name):
    K = grids[name]
    target = np.random.default_rng(0).standard_normal((*K.sublattice.full, 2))
    rate = ns.dynamics.max_learning_rate(K) / 3
    found = ns.generalisation.aliasing(K, target, steps=STEPS, learning_rate=rate)
    field = learned(K, target, STEPS, rate)
    # 1e-12: sums of as many squares as there are points.
    np.testing.assert_allclose(
        found.learned_energy.sum("frequency"), np.mean(field**2, axis=(*range(1, field.ndim - 1), -1)), atol=1e-12
    )
    assert float(found.target_energy.sum()) == pytest.approx(np.mean(target**2), rel=1e-12)


@pytest.mark.parametrize("frequency", [0, 1, 2, 4, 5, 6])
def test_a_plane_wave_turns_up_where_the_list_says(grids, frequency):
    K = grids["1d periodic"]
    x = np.arange(12) / 12
    target = 0.7 * np.cos(2 * np.pi * frequency * (x - 1 / 12))
    rate = ns.dynamics.max_learning_rate(K) / 3
    found = ns.generalisation.aliasing(K, target, steps=STEPS, learning_rate=rate)
    field = learned(K, target, STEPS, rate)[..., 0]
    assert (found.true_frequency == frequency).all()
    # Around the first training point all waves are cosines of their ghosts.
    remade = np.zeros_like(field)
    for ghost in range(found.sizes["ghost"]):
        wave = np.cos(2 * np.pi * found.ghost_frequency.values[ghost, 0] * (x - 1 / 12))
        remade += found.amplitude.values[:, ghost, None] * wave
    own = np.fft.rfft(np.roll(field, -1, axis=1), axis=1).real
    ghosts = np.fft.rfft(np.roll(remade, -1, axis=1), axis=1).real
    others = np.arange(7) != frequency
    np.testing.assert_allclose(ghosts[:, others], own[:, others], atol=1e-12)


def test_the_transfer_makes_learned_energies_of_single_waves(grids):
    K = grids["1d periodic"]
    rate = ns.dynamics.max_learning_rate(K) / 3
    target = np.cos(2 * np.pi * 5 * np.arange(12) / 12)
    found = ns.generalisation.aliasing(K, target, steps=STEPS, learning_rate=rate)
    expected = found.transfer.sel(frequency=5) * 0.5
    np.testing.assert_allclose(found.learned_energy, expected, atol=1e-14)
    assert found.attrs["limit"] == [2.0]


def test_nothing_is_ghost_where_every_point_is_trained_on(kernels):
    K = ns.operator.lattice(kernels["1d periodic"], (12,))
    target = np.random.default_rng(0).standard_normal(12)
    found = ns.generalisation.aliasing(K, target, steps=[100], learning_rate=0.01)
    assert found.sizes["ghost"] == 0
    np.testing.assert_allclose(found.ghost_energy, 0, atol=1e-30)
    assert np.isnan(ns.generalisation.risk(K, target, method="grid", steps=[100], learning_rate=0.01).test_error)


def test_fewer_ghosts_are_the_strongest(grids):
    K = grids["2d periodic"]
    target = np.random.default_rng(0).standard_normal(K.sublattice.full)
    many = ns.generalisation.aliasing(K, target, steps=STEPS, learning_rate=0.01)
    few = ns.generalisation.aliasing(K, target, steps=STEPS, learning_rate=0.01, num_ghosts=3)
    np.testing.assert_array_equal(few.amplitude, many.amplitude[:, :3])


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("dynamics", [ns.dynamics.gradient_descent(), ns.dynamics.ridge(0.5)], ids=["descent", "ridge"])
def test_the_risk_is_that_of_every_noisy_training(grids, name, dynamics):
    K, mask = grids[name], MASKS[name].ravel()
    total, n, noise = mask.size, K.num_points, 0.3
    target = np.random.default_rng(0).standard_normal((*K.sublattice.full, 2))
    rate = ns.dynamics.max_learning_rate(K) / 3
    found = ns.generalisation.risk(
        K, target, method="grid", steps=STEPS, learning_rate=rate, dynamics=dynamics, noise=noise
    )
    each = ns.predict(K, np.eye(n), steps=STEPS, learning_rate=rate, dynamics=dynamics, everywhere=True).field.values
    smoother = each.reshape(len(STEPS), total, n)
    f = target.reshape(total, 2)
    squares = np.mean((f - smoother @ f[mask]) ** 2, axis=2) + noise**2 * np.sum(smoother**2, axis=2)
    np.testing.assert_allclose(found.whole_error, squares.mean(axis=1), rtol=1e-10)
    np.testing.assert_allclose(found.test_error, squares[:, ~mask].mean(axis=1), rtol=1e-10)
    np.testing.assert_allclose(found.error_by_frequency.sum("frequency"), found.whole_error, rtol=1e-12)
    np.testing.assert_allclose(found.error_by_frequency[0], found.target_by_frequency, rtol=1e-12)


def test_bad_input_is_refused(grids, kernels, operators):
    K, aliasing = grids["1d periodic"], ns.generalisation.aliasing
    asked = {"steps": [1], "learning_rate": 1e-3}
    with pytest.raises(TypeError, match="everywhere=True"):
        aliasing(operators["dense"], np.ones(20), **asked)
    with pytest.raises(ValueError, match="does not have period 1"):
        aliasing(operators["lattice odd"], np.ones(13), **asked)
    mask = np.random.default_rng(0).random(12) < 0.5
    with pytest.raises(ValueError, match="no regular grid"):
        aliasing(ns.operator.lattice(kernels["1d periodic"], (12,), mask), np.ones(12), **asked)
    with pytest.raises(ValueError, match="whole lattice"):
        aliasing(K, np.ones(4), **asked)
    with pytest.raises(ValueError, match="NaN"):
        aliasing(K, np.full(12, np.nan), **asked)
    with pytest.raises(ValueError, match="stability limit"):
        aliasing(K, np.ones(12), steps=[1], learning_rate=1e3)
    with pytest.raises(ValueError, match="num_ghosts"):
        aliasing(K, np.ones(12), num_ghosts=0, **asked)
    with pytest.raises(ValueError, match="σ ≥ 0"):
        ns.generalisation.risk(K, np.ones(12), noise=-1, method="grid", **asked)
