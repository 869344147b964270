import jax.numpy as jnp
import numpy as np
import oracle_dense
import pytest

import ntkspec as ns
from ntkspec.grid import energy_by_frequency
from ntkspec.prediction import ConvergenceWarning

STEPS = [0, 1, 10, 300]


@pytest.fixture(params=["1d", "2d", "3d", "2d periodic"])
def problem(request, masked):
    K, _ = masked[request.param]
    y = np.random.default_rng(0).standard_normal((K.num_points, 2))
    return K, y, ns.dynamics.max_learning_rate(K) / 2


def test_energy_is_that_of_the_loops_residual(problem):
    K, y, rate = problem
    c = ns.eigen.convergence(K, y, steps=STEPS, learning_rate=rate, tolerance=1e-9)
    residual = y - oracle_dense.descend(np.asarray(K.to_dense()), y, rate, STEPS)
    np.testing.assert_allclose(
        c.residual_energy.sum("frequency"), (residual**2).sum((1, 2)), rtol=1e-8, atol=1e-12 * np.sum(y**2)
    )
    energy, frequency = energy_by_frequency(np.moveaxis(residual, 2, 1), K.placement)
    np.testing.assert_allclose(c.residual_energy, energy.sum(1), rtol=1e-7, atol=1e-9 * np.sum(y**2))
    np.testing.assert_allclose(c.frequency, frequency)
    np.testing.assert_allclose(c.residual_energy.sel(step=0), c.target_energy, rtol=1e-12)
    assert float(c.target_energy.sum()) == pytest.approx(np.sum(y**2), rel=1e-12)
    assert c.attrs["converged"] == 1


def test_a_circulant_mode_decays_at_its_own_rate(lattices):
    K = lattices["1d periodic"]
    y = np.cos(2 * np.pi * 2 * K.points[:, 0]) + 0.5 * np.cos(2 * np.pi * 5 * K.points[:, 0])
    s = ns.eigen.spectrum(K)
    rate = ns.dynamics.max_learning_rate(K) / 3
    c = ns.eigen.convergence(K, y, steps=[7], learning_rate=rate)
    left = (c.residual_energy / c.target_energy.where(c.target_energy > 1e-9)).sel(step=7)
    for f in (2, 5):
        value = float(s.eigenvalue[np.flatnonzero(s.dominant_frequency[:, 0] == f)[0]])
        assert float(left.sel(frequency=f)) == pytest.approx((1 - rate * value) ** 14, rel=1e-10)


def test_a_strided_sublattice_keeps_the_units_of_frequency(kernels):
    K = ns.operator.lattice(kernels["1d periodic"], (24,), np.arange(24) % 2 == 0)
    y = np.sin(2 * np.pi * 4 * K.points[:, 0])
    c = ns.eigen.convergence(K, y, steps=[0], learning_rate=1e-3)
    np.testing.assert_allclose(c.frequency, np.arange(7))
    assert float(c.frequency[np.argmax(c.target_energy.values)]) == 4


def test_loss_and_dynamics_have_their_effect(masked):
    K, _ = masked["1d"]
    y = np.cos(np.arange(K.num_points))
    rate = ns.dynamics.max_learning_rate(K) / 2
    plain = ns.eigen.convergence(K, y, steps=STEPS, learning_rate=rate)
    mean = ns.eigen.convergence(K, y, steps=STEPS, learning_rate=rate * K.num_points, loss="mean")
    np.testing.assert_allclose(mean.residual_energy, plain.residual_energy, rtol=1e-9, atol=1e-12)
    slow = ns.eigen.convergence(K, y, steps=STEPS, learning_rate=rate, loss="mean")
    assert (slow.residual_energy.sum("frequency")[1:] > plain.residual_energy.sum("frequency")[1:]).all()
    flow = ns.eigen.convergence(K, y, steps=STEPS, learning_rate=rate, dynamics=ns.dynamics.gradient_flow())
    assert not np.allclose(flow.residual_energy.sel(step=1), plain.residual_energy.sel(step=1), rtol=1e-3)
    assert mean.attrs["loss"] == "mean"


def test_too_few_products_are_admitted(masked):
    k = ns.kernel.compose(ns.mapping.gaussian(1, 16, scale=3.0), ns.kernel.MLP(depth=1))
    x = np.arange(60)[:, None] / 60
    K = ns.operator.dense(k, x)
    y = np.random.default_rng(0).standard_normal(60)
    options = {"steps": [10_000], "learning_rate": ns.dynamics.max_learning_rate(K) / 2}
    with pytest.warns(ConvergenceWarning, match="above the tolerance 1e-10"):
        short = ns.eigen.convergence(K, y, max_products=16, tolerance=1e-10, **options)
    assert short.attrs["converged"] == 0
    assert float(short.error_bound.max()) > 1e-10
    assert short.attrs["num_products"] == 16
    long = ns.eigen.convergence(K, y, max_products=512, tolerance=1e-8, **options)
    assert long.attrs["converged"] == 1


def test_scattered_points_have_no_frequencies(kernels, rng):
    K = ns.operator.Dense(jnp.asarray(rng.random((12, 2))), jnp.eye(12))
    with pytest.raises(ValueError, match=r"the points are scattered.*operator\.lattice\(k, shape, mask\)"):
        ns.eigen.convergence(K, np.ones(12), steps=[1], learning_rate=0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": np.ones(5)}, r"labels have shape \(5,\); expected \(12,\)"),
        ({"steps": [3, 2]}, "expected increasing numbers"),
        ({"learning_rate": -1.0}, r"learning_rate=-1\.0; expected a positive number"),
        ({"learning_rate": 1e6}, "times its stability limit"),
        ({"loss": "max"}, "loss='max'"),
    ],
)
def test_bad_input_is_refused_in_words(changes, message, lattices):
    options = {"y": np.cos(np.arange(12.0)), "steps": [1], "learning_rate": 0.1, **changes}
    with pytest.raises(ValueError, match=message):
        ns.eigen.convergence(lattices["1d periodic"], options.pop("y"), **options)
