import numpy as np
import oracle_dense
import pytest

import ntkspec as ns
from ntkspec.prediction import ConvergenceWarning, axis_names

STEPS = [0, 1, 10, 200]
FLOW = ns.dynamics.gradient_flow()


def labels(K, channels=None):
    shape = (K.num_points,) if channels is None else (K.num_points, channels)
    return np.random.default_rng(7).standard_normal(shape)


def half_rate(K):
    return ns.dynamics.max_learning_rate(K) / 2


@pytest.mark.parametrize("name", ["1d", "2d", "3d", "2d periodic"])
@pytest.mark.parametrize("channels", [None, 2])
def test_train_is_the_loop(name, channels, masked):
    K, _ = masked[name]
    y, rate = labels(K, channels), half_rate(K)
    p = ns.predict(K, y, steps=STEPS, learning_rate=rate, tolerance=1e-10)
    expected = oracle_dense.descend(np.asarray(K.to_dense()), y, rate, STEPS)
    np.testing.assert_allclose(p.train, expected, rtol=0, atol=1e-9 * np.linalg.norm(y))
    assert p.train.dims == (("step", "point") if channels is None else ("step", "point", "channel"))
    np.testing.assert_allclose(p.loss, [np.sum((y - f) ** 2) / 2 for f in expected], rtol=1e-7, atol=1e-12)
    np.testing.assert_array_equal(p.target, y)
    np.testing.assert_allclose(p.x, K.points)
    assert p.converged.all()


@pytest.mark.parametrize("name", ["1d", "2d", "3d", "2d periodic"])
@pytest.mark.parametrize("dynamics", [None, FLOW], ids=["descent", "flow"])
def test_field_is_the_dense_cross_kernel_formula(name, dynamics, masked, lattices):
    K, mask = masked[name]
    y, rate = labels(K), half_rate(K)
    p = ns.predict(K, y, steps=STEPS, learning_rate=rate, dynamics=dynamics, everywhere=True, tolerance=1e-8)
    value, vector = np.linalg.eigh(np.asarray(K.to_dense()))
    filters = ns.dynamics.gradient_descent() if dynamics is None else dynamics
    reached = np.asarray(lattices[name].to_dense())[:, mask.ravel()]
    for step, field, bound in zip(STEPS, p.field.values, p.field_error_bound.values, strict=True):
        learned = rate * filters.weights(rate * np.maximum(value, 0), float(step))
        expected = (reached @ (vector @ (learned * (vector.T @ y)))).reshape(mask.shape)
        assert np.linalg.norm(field - expected) <= (bound + 1e-9) * np.linalg.norm(y)
    np.testing.assert_allclose(p.field.values[:, mask], p.train, rtol=0, atol=2e-8 * np.linalg.norm(y))
    assert p.field.dims == ("step", *axis_names(mask.ndim))
    for axis, n in zip(axis_names(mask.ndim), mask.shape, strict=True):
        np.testing.assert_allclose(p[axis], np.arange(n) / n)


def test_field_of_a_strided_circulant_mask(kernels):
    mask = np.arange(24) % 2 == 0
    K = ns.operator.lattice(kernels["1d periodic"], (24,), mask)
    y, rate = labels(K, 2), half_rate(K)
    p = ns.predict(K, y, steps=STEPS, learning_rate=rate, everywhere=True)
    np.testing.assert_allclose(p.field.values[:, mask], p.train, rtol=0, atol=1e-11)
    reached = np.asarray(kernels["1d periodic"].ntk(oracle_dense.lattice_points((24,)), K.points))
    value, vector = np.linalg.eigh(np.asarray(K.to_dense()))
    weights = vector @ (rate * ns.dynamics.gradient_descent().weights(rate * value, 10.0)[:, None] * (vector.T @ y))
    np.testing.assert_allclose(p.field.sel(step=10), reached @ weights, rtol=0, atol=1e-11)


def test_the_field_bound_holds_with_too_small_a_basis(kernels):
    k = ns.kernel.compose(ns.mapping.gaussian(1, 16, scale=3.0), ns.kernel.MLP(depth=1))
    K = ns.operator.lattice(k, (90,), np.arange(90) < 60)
    y, rate = labels(K), half_rate(K)
    with pytest.warns(ConvergenceWarning, match=r"error bound is .*, above the tolerance 1e-12; give a larger"):
        p = ns.predict(
            K,
            y,
            steps=[3, 30, 300],
            learning_rate=rate,
            dynamics=FLOW,
            everywhere=True,
            tolerance=1e-12,
            max_products=16,
        )
    value, vector = np.linalg.eigh(np.asarray(K.to_dense()))
    reached = np.asarray(k.ntk(oracle_dense.lattice_points((90,)), K.points))
    for step, field, bound in zip([3, 30, 300], p.field.values, p.field_error_bound.values, strict=True):
        learned = rate * FLOW.weights(rate * np.maximum(value, 0), float(step))
        expected = reached @ (vector @ (learned * (vector.T @ y)))
        assert np.linalg.norm(field - expected) <= bound * np.linalg.norm(y)
    assert not p.converged.all()
    assert p.attrs["num_products"] == 16


def test_steps_do_not_depend_on_their_company(masked):
    K, _ = masked["2d"]
    y, rate = labels(K), half_rate(K)
    together = ns.predict(K, y, steps=[0, 5, 50, 5000], learning_rate=rate, tolerance=1e-10)
    for step in (0, 5, 50, 5000):
        alone = ns.predict(K, y, steps=[step], learning_rate=rate, tolerance=1e-10)
        np.testing.assert_allclose(alone.train[0], together.train.sel(step=step), rtol=0, atol=1e-9)


def test_initial_at_the_labels_does_not_move(masked):
    K, _ = masked["2d"]
    y = labels(K, 2)
    p = ns.predict(K, y, steps=STEPS, learning_rate=half_rate(K), initial=y)
    np.testing.assert_array_equal(p.train, np.broadcast_to(y, p.train.shape))
    assert (p.loss == 0).all()
    assert p.attrs["starts_from_zero"] == 0


def test_initial_function_is_where_it_starts(masked):
    K, _ = masked["1d"]
    y, f0, rate = labels(K), np.sin(np.arange(K.num_points)), half_rate(K)
    p = ns.predict(K, y, steps=STEPS, learning_rate=rate, initial=f0)
    np.testing.assert_allclose(p.train[0], f0, rtol=0, atol=1e-15)
    moved = f0 + oracle_dense.descend(np.asarray(K.to_dense()), y - f0, rate, STEPS)
    np.testing.assert_allclose(p.train, moved, rtol=0, atol=1e-5)


def test_an_initial_eigenvector_keeps_its_own_rate(lattices):
    K = lattices["1d periodic"]
    wave = np.cos(2 * np.pi * K.points[:, 0])
    s = ns.eigen.spectrum(K)
    value = float(s.eigenvalue[np.flatnonzero(s.dominant_frequency[:, 0] == 1)[0]])
    rate = half_rate(K)
    p = ns.predict(K, np.zeros(12), steps=[25], learning_rate=rate, initial=wave)
    np.testing.assert_allclose(p.train[0], (1 - rate * value) ** 25 * wave, rtol=0, atol=1e-12)


def test_initial_on_the_lattice_carries_the_field(masked):
    K, mask = masked["2d"]
    y, start = labels(K), np.random.default_rng(3).standard_normal(mask.shape)
    options = {"steps": STEPS, "learning_rate": half_rate(K), "everywhere": True}
    p = ns.predict(K, y, initial=start, **options)
    np.testing.assert_allclose(p.field[0], start, rtol=0, atol=1e-12)
    np.testing.assert_allclose(p.train[0], start[mask], rtol=0, atol=1e-12)
    # Linear in labels and start: the start adds itself and the answer to labels less the start.
    other = ns.predict(K, y - start[mask], **options)
    np.testing.assert_allclose(p.field, start + other.field.values, rtol=0, atol=1e-5)


def test_mean_loss_is_the_summed_loss_at_a_rate_n_times_smaller(masked):
    K, _ = masked["1d"]
    y, rate = labels(K), half_rate(K)
    total = ns.predict(K, y, steps=STEPS, learning_rate=rate)
    mean = ns.predict(K, y, steps=STEPS, learning_rate=rate * K.num_points, loss="mean")
    np.testing.assert_allclose(mean.train, total.train, rtol=0, atol=1e-12)
    np.testing.assert_allclose(mean.loss * K.num_points, total.loss, rtol=1e-10)


def test_flow_is_descent_in_small_steps(masked):
    K, _ = masked["1d"]
    y, rate = labels(K), half_rate(K)
    flow = ns.predict(K, y, steps=[3.5], learning_rate=rate, dynamics=FLOW)
    descent = ns.predict(K, y, steps=[3500], learning_rate=rate / 1000)
    # The first order of the step: ηλt · ηλ/2 at most.
    np.testing.assert_allclose(flow.train, descent.train, rtol=0, atol=2e-3 * np.linalg.norm(y))


def test_dense_and_lattice_predict_alike(masked, kernels):
    K, _ = masked["2d"]
    y, rate = labels(K), half_rate(K)
    dense = ns.operator.dense(kernels["2d"], K.points)
    one, other = (ns.predict(op, y, steps=STEPS, learning_rate=rate, tolerance=1e-10) for op in (K, dense))
    np.testing.assert_allclose(one.train, other.train, rtol=0, atol=1e-9)


def test_a_result_carries_what_made_it(masked):
    K, _ = masked["1d"]
    p = ns.predict(K, labels(K), steps=[0, 2], learning_rate=1e-3)
    assert p.attrs["learning_rate"] == 1e-3
    assert p.attrs["loss"] == "sum"
    assert "power_law" not in p.attrs["configuration"]
    assert "GradientDescent" in p.attrs["configuration"]
    assert all("units" in p[name].attrs for name in ("train", "loss", "error_bound", "x", "step"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": np.ones(5)}, r"labels have shape \(5,\); expected \(\d+,\)"),
        ({"steps": []}, "expected a list of numbers"),
        ({"steps": [1, 1]}, "expected increasing numbers"),
        ({"learning_rate": 0.0}, r"learning_rate=0\.0; expected a positive number"),
        ({"learning_rate": 1e9}, r"times its stability limit.*max_learning_rate\(K, loss='sum'\)"),
        ({"loss": "abs"}, "loss='abs'; expected 'sum'"),
        ({"initial": np.ones(3)}, r"`initial` has shape \(3,\); expected that of the labels"),
    ],
)
def test_bad_input_is_refused_in_words(changes, message, masked):
    K, _ = masked["2d"]
    options = {"y": labels(K), "steps": [1], "learning_rate": half_rate(K), **changes}
    with pytest.raises(ValueError, match=message):
        ns.predict(K, options.pop("y"), **options)


def test_scattered_points_have_no_everywhere(kernels, rng):
    K = ns.operator.dense(kernels["2d"], rng.random((12, 2)))
    with pytest.raises(ValueError, match="everywhere=True needs a lattice operator"):
        ns.predict(K, np.ones(12), steps=[1], learning_rate=1e-3, everywhere=True)


def test_everywhere_needs_the_start_everywhere(masked):
    K, _ = masked["2d"]
    with pytest.raises(ValueError, match=r"everywhere=True needs `initial` on the whole lattice, \(5, 4\)"):
        ns.predict(K, labels(K), steps=[1], learning_rate=half_rate(K), initial=labels(K), everywhere=True)
