"""Lanczos trajectories against the loop of training and against dense eigendecompositions."""

import dataclasses

import hypothesis.strategies as st
import jax.numpy as jnp
import mpmath
import numpy as np
import oracle_dense
import oracle_tangents
import pytest
from hypothesis import given, settings

import ntkspec as ns
from ntkspec.dynamics import Times
from ntkspec.eigen import _lanczos as lanczos
from ntkspec.eigen._lanczos import extend, grow_until, start
from ntkspec.eigen._trajectory import trajectory
from ntkspec.limits import limited
from ntkspec.recurrence import recur

EPS = np.finfo(np.float64).eps
DESCENT, FLOW = ns.dynamics.gradient_descent(), ns.dynamics.gradient_flow()
STEPS = np.array([0, 1, 2, 10, 100, 1000])
N = 60


def run(K, y, steps=STEPS, rate=None, dynamics=DESCENT, tolerance=1e-9, max_products=256, fraction=0.5):
    rate = fraction * 2 / ns.operator.largest_eigenvalue(K) if rate is None else rate
    channels = jnp.atleast_2d(jnp.asarray(y, dtype=float).T)
    path = trajectory(
        K, channels, Times.of(N, steps, rate, dynamics=dynamics), tolerance=tolerance, max_products=max_products
    )
    return path, rate


def synthetic(value, seed=0):
    """A matrix of given eigenvalues with random eigenvectors, as an operator."""
    Q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(value), len(value))))
    matrix = (Q * value) @ Q.T
    matrix = (matrix + matrix.T) / 2
    return ns.operator.Dense(jnp.zeros((len(value), 1)), jnp.asarray(matrix)), matrix, Q


@pytest.fixture(scope="module")
def K():
    """A non-periodic lattice with holes, of sixty points whose spectrum spans ten decades."""
    k = ns.kernel.compose(ns.mapping.gaussian(1, 16, scale=3.0), ns.kernel.MLP(depth=1))
    mask = np.ones(90, dtype=bool)
    mask[np.random.default_rng(0).choice(np.arange(2, 89), 90 - N, replace=False)] = False
    return ns.operator.lattice(k, (90,), mask)


@pytest.fixture(scope="module")
def matrix(K):
    return np.asarray(K.to_dense())


@pytest.fixture(scope="module")
def y():
    return np.random.default_rng(1).standard_normal(N)


@pytest.mark.parametrize("fraction", [0.25, 0.5, 0.95], ids=["slow", "one", "edge"])
def test_descent_is_the_loop(K, matrix, y, fraction):
    path, rate = run(K, y, fraction=fraction)
    expected = oracle_dense.descend(matrix, y, rate, STEPS.tolist())
    error = np.linalg.norm(path.learned[:, 0] - expected, axis=1) / np.linalg.norm(y)
    # A thousand steps of the loop round too; ηλ ≤ 2 keeps that below a few hundred units.
    assert (error <= path.error_bound + 1000 * EPS).all()
    assert (path.error_bound <= 1e-9).all()


def test_flow_is_the_exponential(K, matrix, y):
    times = np.array([0, 0.5, 3, 100, 1e4])
    path, rate = run(K, y, times, dynamics=FLOW)
    for t, learned in zip(times, path.learned[:, 0], strict=True):
        expected = oracle_dense.filtered(matrix, y, lambda value, t=t: -np.expm1(-rate * value * t))
        np.testing.assert_allclose(learned, expected, rtol=0, atol=2e-9 * np.linalg.norm(y))


def test_flow_is_that_of_neural_tangents(K, matrix, y):
    times = [0.0, 1.0, 40.0]
    path, rate = run(K, y, times, dynamics=FLOW, tolerance=1e-11)
    # The oracle decomposes K too, with eigenvalues good to ε λ_max.
    np.testing.assert_allclose(
        path.learned[:, 0], oracle_tangents.trajectory(matrix, y, rate, times), rtol=0, atol=1e-9
    )


def test_weights_expand_to_what_was_learned(K, y):
    path, _ = run(K, y)
    for weights, learned in zip(path.weights[:, 0], path.learned[:, 0], strict=True):
        np.testing.assert_allclose(K @ weights, learned, rtol=0, atol=2e-9 * np.linalg.norm(y))


def test_a_circulant_lattice_is_exact(lattices, rng):
    K = lattices["2d periodic"]
    y = rng.standard_normal((K.num_points, 2))
    path, rate = run(K, y, fraction=0.95)
    expected = oracle_dense.descend(np.asarray(K.to_dense()), y, rate, STEPS.tolist())
    np.testing.assert_allclose(np.swapaxes(path.learned, 1, 2), expected, rtol=0, atol=2000 * EPS * np.linalg.norm(y))
    np.testing.assert_allclose(K @ path.weights[3].T, path.learned[3].T, rtol=0, atol=1e-12)
    assert path.num_products == 0
    assert (path.error_bound < 1e-10).all()


def test_lanczos_and_fft_agree_on_a_circulant_lattice(lattices, rng):
    K = lattices["2d periodic"]
    y = rng.standard_normal(K.num_points)
    dense = ns.operator.Dense(jnp.asarray(K.points), K.to_dense())
    by_fft, rate = run(K, y)
    by_lanczos, _ = run(dense, y, rate=rate)
    np.testing.assert_allclose(by_lanczos.learned, by_fft.learned, rtol=0, atol=1e-8)
    assert by_lanczos.largest_eigenvalue == pytest.approx(by_fft.largest_eigenvalue, rel=1e-9)


def test_channels_are_independent(K, y):
    both = np.stack([y, np.cos(np.arange(N)), np.zeros(N)], axis=1)
    together, rate = run(K, both)
    alone, _ = run(K, y, rate=rate)
    np.testing.assert_allclose(together.learned[:, 0], alone.learned[:, 0], rtol=0, atol=2e-9 * np.linalg.norm(y))
    assert (np.asarray(together.learned[:, 2]) == 0).all()


def test_labels_of_zero_stay_zero(K):
    path, _ = run(K, np.zeros(N), rate=1e-3)
    assert not np.asarray(path.learned).any()
    assert not np.asarray(path.weights).any()
    assert (path.error_bound < 1e-10).all()


@pytest.mark.parametrize("modes", [1, 2, 3])
def test_labels_of_few_modes_end_the_recurrence(modes):
    value = np.geomspace(1, 1e-3, N)
    K, matrix, Q = synthetic(value)
    y = Q[:, [0, 7, 30][:modes]].sum(axis=1)
    path, rate = run(K, y, fraction=0.5)
    expected = oracle_dense.descend(matrix, y, rate, STEPS.tolist())
    np.testing.assert_allclose(path.learned[:, 0], expected, rtol=0, atol=1e-11)
    assert path.num_products == 16
    # An eigenvector alone is learned as one number.
    if modes == 1:
        np.testing.assert_allclose(path.learned[3, 0], (1 - (1 - rate) ** 10) * y, rtol=0, atol=1e-12)


def test_an_operator_smaller_than_the_first_chunk():
    K, matrix, _ = synthetic(np.array([2.0, 0.5, 1e-5]))
    y = np.array([1.0, -2.0, 0.3])
    path, rate = run(K, y)
    expected = oracle_dense.descend(matrix, y, rate, STEPS.tolist())
    np.testing.assert_allclose(path.learned[:, 0], expected, rtol=0, atol=1e-11)
    assert (path.error_bound < 1e-9).all()


def true_error(matrix, y, path, rate, times, dynamics):
    value, Q = np.linalg.eigh(matrix)
    coefficients = Q.T @ y
    residual = dynamics.residual(rate * np.maximum(value, 0)[:, None], np.asarray(times, dtype=float))
    exact = Q @ ((1 - residual) * coefficients[:, None])
    return np.linalg.norm(np.asarray(path.learned[:, 0]).T - exact, axis=0) / np.linalg.norm(y)


@settings(max_examples=40, deadline=None)
@given(
    decades=st.floats(0.5, 12),
    shape=st.sampled_from(["geometric", "power", "clustered", "uniform"]),
    products=st.sampled_from([16, 32, 48]),
    reach=st.floats(0.5, 5),
    dynamics=st.sampled_from([DESCENT, FLOW]),
    fraction=st.floats(0.05, 1.0),
    seed=st.integers(0, 1000),
)
def test_the_error_bound_is_an_upper_bound(decades, shape, products, reach, dynamics, fraction, seed):
    rng = np.random.default_rng(seed)
    value = {
        "geometric": np.geomspace(1, 10**-decades, N),
        "power": np.arange(1.0, N + 1) ** -(decades / 2),
        "clustered": np.repeat(np.geomspace(1, 10**-decades, N // 4), 4),
        "uniform": np.linspace(10**-decades, 1, N),
    }[shape]
    K, matrix, Q = synthetic(value, seed)
    y = Q @ (rng.standard_normal(N) * np.sqrt(value) ** rng.integers(0, 3))
    times = np.unique(np.rint(np.geomspace(1, 10**reach, 6)))
    # One chunk at a time, tolerance out of reach: the bound of a basis that is too small.
    path, rate = run(K, y, times, rate=fraction, dynamics=dynamics, tolerance=0.0, max_products=products)
    error = true_error(matrix, y, path, rate, times, dynamics)
    # The comparison's own decomposition is good to ε per unit of ηt.
    assert (error <= path.error_bound * (1 + 1e-9) + 4 * EPS * (10 + rate * times)).all()


@pytest.mark.parametrize("fraction", [0.75, 0.95])
def test_past_one_over_the_norm_the_bound_is_an_estimate(K, matrix, y, fraction):
    """Between ηλ_max = 1 and 2 the integrand changes sign; the estimate may miss, but not by decades."""
    times = np.array([5, 50, 500])
    path, rate = run(K, y, times, fraction=fraction, tolerance=0.0, max_products=16)
    error = true_error(matrix, y, path, rate, times, DESCENT)
    assert (error <= 10 * path.error_bound + 1e-12).all()


def test_the_bound_is_no_empty_promise(K, matrix, y):
    times = np.array([10, 100, 1000])
    path, rate = run(K, y, times, dynamics=FLOW, tolerance=0.0, max_products=16)
    error = true_error(matrix, y, path, rate, times, FLOW)
    assert (error > 1e-6).any()
    # Within two decades of the truth where there is an error to speak of.
    assert (path.error_bound <= 100 * error + 1e-6).all()


def test_more_products_are_taken_until_the_tolerance_is_met(K, y):
    rough, _ = run(K, y, tolerance=1e-2)
    fine, _ = run(K, y, tolerance=1e-10)
    assert rough.num_products < fine.num_products
    assert rough.error_bound.max() <= 1e-2
    assert fine.error_bound.max() <= 1e-10


def test_max_products_is_the_end(K, y):
    path, _ = run(K, y, tolerance=1e-14, max_products=20)
    assert path.num_products == 32  # the first multiple of a chunk that reaches it
    assert path.error_bound.max() > 1e-14


BLOCK = 16 * N * 8


@pytest.mark.parametrize("kept", [0, 1, 2], ids=["none kept", "one block", "two blocks"])
def test_two_passes_make_the_same_numbers(kept, K, y):
    channels = jnp.stack([jnp.asarray(y), jnp.cos(jnp.arange(N))])
    options = {"tolerance": 1e-9, "max_products": 256}
    rate = 1 / ns.operator.largest_eigenvalue(K)
    one = trajectory(K, channels, Times.of(N, STEPS, rate), **options)
    two = trajectory(K, channels, Times.of(N, STEPS, rate), **options, max_basis_bytes=2 * kept * BLOCK)
    assert one.num_products >= 48
    assert (one.passes, two.passes) == (1, 2)
    assert two.num_products == 2 * one.num_products - 16 * kept
    for name in ("learned", "weights", "error_bound", "field_error_bound"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_a_prediction_says_how_many_passes_it_took(K, y):
    options = {"steps": [1, 10], "learning_rate": 1e-3, "loss": "sum"}
    assert ns.predict(K, y, **options).attrs["passes"] == 1
    assert ns.predict(K, y, **options, max_basis_bytes=0).attrs["passes"] == 2


def test_a_second_pass_that_differs_is_refused(K, y, monkeypatch):
    def restless(K, state, num_steps, calls=[]):  # noqa: B006  # counts its own calls
        calls.append(1)
        state, (basis, diagonal, off_diagonal) = recur(K, state, num_steps)
        return state, (basis, diagonal * (1 + len(calls) * EPS), off_diagonal)

    monkeypatch.setattr(lanczos, "recur", restless)
    with pytest.raises(RuntimeError, match=r"did not repeat itself bit for bit.*larger max_basis_bytes"):
        trajectory(
            K, jnp.asarray(y)[None], Times.of(N, STEPS, 1e-3), tolerance=1e-9, max_products=64, max_basis_bytes=0
        )


def test_memory_that_would_not_fit_is_refused_in_words(K, y):
    with limited(memory=1000):
        with pytest.raises(ValueError, match=r"6 steps of 60 points and 1 channels would need .* ask for fewer steps"):
            run(K, y, rate=1e-3)
        with pytest.raises(ValueError, match="16 Lanczos vectors of 60 points and 1 channels would need"):
            grow_until(K, jnp.asarray(y)[None], lambda krylov: 0.0, tolerance=1.0, max_steps=16)


def test_large_channels_run_one_after_the_other(K, y):
    both = np.stack([y, np.cos(np.arange(N)), np.zeros(N)], axis=1)
    together, rate = run(K, both)
    with limited(side_by_side=16 * N):
        apart, _ = run(K, both, rate=rate)
    assert apart.learned.shape == together.learned.shape == (6, 3, N)
    for name in ("learned", "weights"):
        scale = np.linalg.norm(getattr(together, name))
        np.testing.assert_allclose(getattr(apart, name), getattr(together, name), rtol=0, atol=3e-9 * scale)
    assert apart.error_bound.max() <= 1e-9
    assert apart.num_products == together.num_products


@pytest.mark.parametrize("decades", [4, 7, 12])
def test_very_long_times_against_forty_digits(decades):
    """Up to ηλ_max t = 10¹⁰, where float64 itself is the limit: the bound says so, and no products are wasted."""
    value = np.geomspace(1, 10.0**-decades, 24)
    K, matrix, _ = synthetic(value)
    y = np.random.default_rng(5).standard_normal(24)
    times = np.array([1e6, 1e8, 1e10])
    path, _ = run(K, y, times, rate=1.0, dynamics=FLOW, tolerance=1e-13, max_products=1024)
    with mpmath.workdps(40):
        exact, Q = mpmath.eigsy(mpmath.matrix(matrix.tolist()))
        coefficients = Q.T * mpmath.matrix(y.tolist())
        for t, learned, bound in zip(times, path.learned[:, 0], path.error_bound, strict=True):
            modes = [-mpmath.expm1(-theta * t) * c for theta, c in zip(exact, coefficients, strict=True)]
            truth = np.array([float(v) for v in Q * mpmath.matrix(modes)])
            assert np.linalg.norm(learned - truth) <= bound * np.linalg.norm(y)
    assert path.num_products < 512
    # What a unit of rounding of the largest eigenvalue does in that time, and some steps' worth of it.
    assert (path.error_bound <= 200 * EPS * times).all()


def test_float32_says_what_it_is_worth(K, y):
    half = dataclasses.replace(K, transform=K.transform.astype(jnp.float32))
    exact, rate = run(K, y, fraction=0.5)
    rough, _ = run(half, y, rate=rate, tolerance=1e-4)
    assert rough.learned.dtype == np.float32
    error = np.linalg.norm(np.asarray(rough.learned, dtype=float) - np.asarray(exact.learned), axis=(1, 2))
    assert (error <= rough.error_bound * np.linalg.norm(y)).all()
    # A thousand steps cost three digits of seven.
    assert 1e-6 < rough.error_bound[-1] < 1e-2


def test_a_field_norm_tightens_the_demand_on_the_weights(K, y):
    channels = jnp.asarray(y)[None]
    rate = 1 / ns.operator.largest_eigenvalue(K)
    options = {"tolerance": 1e-4, "max_products": 256}
    plain = trajectory(K, channels, Times.of(N, STEPS, rate), **options)
    field = trajectory(K, channels, Times.of(N, STEPS, rate), field_norm=K.field_norm(), **options)
    assert (plain.field_error_bound >= plain.error_bound).all()
    assert field.field_error_bound.max() <= 1e-4
    assert field.num_products >= plain.num_products


@pytest.mark.parametrize("name", ["1d", "1d periodic"])
def test_a_rate_past_the_limit_is_refused_with_the_limit(name, lattices, rng):
    K = lattices[name]
    limit = ns.dynamics.max_learning_rate(K)
    y = rng.standard_normal(K.num_points)
    with pytest.raises(ValueError, match=rf"1\.1 times its stability limit.*the limit for loss='sum' is {limit:.6g}:"):
        run(K, y, rate=1.1 * limit)
    # The limit of the loss that was asked for.
    mean = limit * K.num_points
    with pytest.raises(ValueError, match=rf"1\.1 times.*the limit for loss='mean' is {mean:.6g}:.*loss='mean'"):
        ns.predict(K, y, steps=[1], learning_rate=1.1 * mean, loss="mean")
    run(K, y, rate=limit)  # the limit itself is allowed
    run(K, y, rate=50 * limit, dynamics=FLOW)  # and flow has none


def test_the_recurrence_satisfies_its_identity(K, matrix, y):
    """K Q = Q T + β q eᵀ, column by column, without any orthogonality."""
    krylov = start(jnp.asarray(y)[None])
    for _ in range(3):
        krylov = extend(K, krylov)
    Q = np.concatenate([np.asarray(block)[:, 0] for block in krylov.basis]).T
    alpha, beta = krylov.diagonal[:, 0], krylov.off_diagonal[:, 0]
    T = np.diag(alpha) + np.diag(beta[:-1], 1) + np.diag(beta[:-1], -1)
    rest = matrix @ Q - Q @ T
    rest[:, -1] -= beta[-1] * np.asarray(krylov.state[1])[0]
    assert Q.shape == (N, 48)
    assert np.abs(rest).max() < 100 * EPS * np.linalg.norm(matrix, 2)
    np.testing.assert_allclose(np.linalg.norm(Q, axis=0), 1, rtol=1e-14)


def test_grow_until_asks_its_error_after_every_chunk(K, y):
    seen = []

    def error(krylov):
        seen.append(krylov.num_steps)
        return 1.0 / krylov.num_steps

    krylov = grow_until(K, jnp.asarray(y)[None], error, tolerance=1 / 40, max_steps=500)
    assert seen == [16, 32, 48]
    assert krylov.num_steps == 48
