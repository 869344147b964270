from dataclasses import fields

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import ntkspec as ns
from ntkspec.eigen._probe import draw
from ntkspec.eigen._quadrature import precision, quadrature
from ntkspec.limits import limited

SIZE = 120


def operator(value, seed=0, dtype=float):
    Q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(value), len(value))))
    return ns.operator.Dense(jnp.zeros((len(value), 1)), jnp.asarray((Q * value) @ Q.T, dtype=dtype))


def spectrum_of(seed):
    """A constant mode, pairs, and a power law: what kernels have."""
    value = 3.0 * np.arange(1.0, SIZE + 1) ** (-1 - seed % 3)
    value[0], value[3], value[11] = 40.0, value[2], value[10]
    return value


@pytest.fixture(scope="module")
def approximated():
    """A low-rank operator, and the eigenvalues of the kernel that it stands for."""
    kernel = ns.kernel.compose(ns.mapping.identity(2, low=-1, high=1), ns.kernel.MLP(depth=1, b_std=0.3))
    x = np.random.default_rng(4).random((300, 2))
    return ns.operator.low_rank(kernel, x, 0.3), np.linalg.eigvalsh(np.asarray(kernel.ntk(x)))


class Products(ns.operator.LowRank):
    """An approximate operator that does not know its modes."""

    def modes(self):
        return None


def rules_of(K, vectors, steps):
    return quadrature(K, jnp.asarray(vectors), lambda _: np.inf, tolerance=0.0, max_steps=steps)


@pytest.fixture
def no_dense():
    """Estimates where the exact form would be taken for its small size."""
    with limited(exact_points=0):
        yield


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 10**6))
def test_gauss_rules_integrate_smooth_functions_as_the_dense_matrix_does(seed):
    value = spectrum_of(seed)
    K = operator(value, seed)
    v = np.random.default_rng(seed).standard_normal((3, SIZE))
    eigenvalue, U = np.linalg.eigh(np.asarray(K.matrix))
    power = (v @ U) ** 2
    rules = rules_of(K, v, 48)
    for function in (lambda x: np.exp(-x / 10), lambda x: 1 / (x + 1), lambda x: x**2):
        expected = power @ function(eigenvalue)
        np.testing.assert_allclose(rules.integrate(function), expected, rtol=1e-10)
    both = rules.integrate(lambda x: np.stack([x, x**2], axis=1))
    np.testing.assert_allclose(both, power @ np.stack([eigenvalue, eigenvalue**2], axis=1), rtol=1e-10)


@pytest.mark.parametrize("sign", [1, -1], ids=["log", "inverse"])
def test_gauss_and_radau_bracket_and_close_in(sign):
    K = operator(spectrum_of(1))
    v = np.random.default_rng(5).standard_normal((4, SIZE))
    eigenvalue, U = np.linalg.eigh(np.asarray(K.matrix))

    def function(x):
        return np.log(x + 1e-3) if sign == 1 else -1 / (x + 1e-2)

    expected = (v @ U) ** 2 @ function(np.maximum(eigenvalue, 0))
    gap = []
    for steps in (16, 64):
        rules = rules_of(K, v, steps)
        above, below = rules.integrate(function), rules.integrate_radau(function)
        slack = 1e-10 * np.abs(expected)
        assert (below <= expected + slack).all()
        assert (expected <= above + slack).all()
        gap.append((above - below).max())
    assert gap[0] > 1e-6
    assert gap[1] < 0.1 * gap[0]


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 10**6))
def test_the_mass_above_a_threshold_is_within_its_bounds(seed):
    K = operator(spectrum_of(seed), seed)
    v = np.random.default_rng(seed).standard_normal((3, SIZE))
    eigenvalue, U = np.linalg.eigh(np.asarray(K.matrix))
    # Between eigenvalues: on one, rounding decides on which side it is.
    threshold = np.unique(np.sqrt(eigenvalue[1:] * eigenvalue[:-1]))[::3]
    reached = (v @ U) ** 2 @ (eigenvalue[:, None] >= threshold)
    widths = []
    for steps in (16, 48):
        estimate, lower, upper = rules_of(K, v, steps).above(threshold)
        slack = 1e-8 * SIZE
        assert (lower - slack <= reached).all()
        assert (reached <= upper + slack).all()
        assert (lower <= estimate).all()
        assert (estimate <= upper).all()
        widths.append(np.mean(upper - lower))
    assert widths[1] < 0.7 * widths[0]


def test_a_vector_of_zeros_has_no_mass():
    estimate, _, upper = rules_of(operator(spectrum_of(0)), np.zeros((3, SIZE)), 16).above(np.array([1e-3]))
    assert not estimate.any()
    assert not upper.any()


def test_precision_is_that_of_the_products():
    assert precision(operator(spectrum_of(0))) < 1e-14
    assert 1e-7 < precision(operator(spectrum_of(0), dtype=np.float32)) < 1e-5


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0, 5]))
def test_probes_are_an_orthonormal_block_and_vectors_of_the_right_length_beside_it(seed, num_exact):
    probes = draw(operator(spectrum_of(0)), 4, num_exact, seed)
    V = np.asarray(probes.vectors)
    block, random = V[:num_exact], V[num_exact:]
    np.testing.assert_allclose(block @ block.T, np.eye(num_exact), atol=1e-12)
    np.testing.assert_allclose(block @ random.T, 0, atol=1e-11)
    np.testing.assert_allclose(np.sum(random**2, axis=1), SIZE - num_exact, rtol=1e-12)
    # tr I has no sampling error.
    total, error = probes.total(np.sum(V**2, axis=1))
    assert total == pytest.approx(SIZE, rel=1e-12)
    assert error < 1e-12


def test_impossible_probes_are_refused():
    K = operator(spectrum_of(0))
    with pytest.raises(ValueError, match="num_probes=1; expected a number of at least 2"):
        draw(K, 1, 0, 0)
    with pytest.raises(ValueError, match=r"num_exact=120; expected a number of from 0 to 119"):
        draw(K, 4, SIZE, 0)


# Traces and log-determinants


def test_traces_are_exact_where_that_is_cheap(lattices, masked):
    for K in (lattices["1d periodic"], lattices["2d periodic"], masked["2d"][0]):
        matrix = np.asarray(K.to_dense())
        found = ns.eigen.trace_of(K, lambda x: np.stack([x, x**2], axis=1))
        np.testing.assert_allclose(found.trace, [np.trace(matrix), np.sum(matrix**2)], rtol=1e-12)
        assert not found.standard_error.any()
        assert not found.operator_error.any()
        log = ns.eigen.log_determinant(K, ridge=0.3)
        expected = np.linalg.slogdet(matrix + 0.3 * np.eye(len(matrix))).logabsdet
        assert float(log.log_determinant) == pytest.approx(expected, rel=1e-12)
        assert log.attrs["ridge"] == 0.3


def test_error_bars_of_estimates_are_calibrated(no_dense):
    value = spectrum_of(0)
    K = operator(value)
    expected = np.array([np.log(value + 0.05).sum(), value.sum(), np.exp(-value).sum()])

    def functions(x):
        return np.stack([np.log(x + 0.05), x, np.exp(-x)], axis=1)

    runs = [ns.eigen.trace_of(K, functions, num_probes=8, num_exact=4, seed=seed) for seed in range(60)]
    assert all(run.attrs["converged"] for run in runs)
    error = np.abs(np.stack([run.trace for run in runs]) - expected)
    allowed = np.stack([run.standard_error for run in runs])
    quadrature_error = np.stack([run.quadrature_error for run in runs])
    # Student's t with 7 degrees of freedom: 2.365 at 95 %; of 180 runs (in threes) 162 to 178 within.
    covered = np.mean(error <= 2.365 * allowed + quadrature_error)
    assert 0.90 <= covered <= 0.99
    # And they are not idle: the spread of the runs is what each one says.
    spread = np.sqrt(np.mean(error**2, axis=0) / np.mean(allowed**2, axis=0))
    assert ((spread > 0.7) & (spread < 1.4)).all()


def test_more_probes_and_an_exact_block_make_the_error_smaller(no_dense):
    K = operator(spectrum_of(1))
    errors = {
        (probes, block): float(
            ns.eigen.trace_of(K, lambda x: x, num_probes=probes, num_exact=block, max_steps=32).standard_error
        )
        for probes, block in [(8, 0), (64, 0), (8, 8)]
    }
    assert errors[64, 0] < 0.6 * errors[8, 0]
    assert errors[8, 8] < 0.05 * errors[8, 0]


def test_a_quadrature_that_has_not_converged_says_so(no_dense):
    K = operator(spectrum_of(2))
    with pytest.warns(UserWarning, match="after 16 Lanczos steps a vector the quadrature error is"):
        found = ns.eigen.log_determinant(K, ridge=1e-8, max_steps=16)
    assert not found.attrs["converged"]
    assert found.quadrature_error > found.standard_error / 10


@pytest.mark.parametrize("ridge", [0.0, -1.0, 1e-16, float("nan")])
def test_a_ridge_below_rounding_is_refused(ridge, lattices):
    with pytest.raises(ValueError, match=r"expected more than .* smallest eigenvalues are not known"):
        ns.eigen.log_determinant(lattices["2d"], ridge=ridge)


@pytest.mark.parametrize("known", [True, False], ids=["known", "estimated"])
def test_what_an_approximate_operator_leaves_out_is_an_error_of_the_trace(known, approximated, no_dense):
    K, value = approximated
    K = K if known else Products(**{one.name: getattr(K, one.name) for one in fields(K)})
    ridge = 2 * K.approximation_error
    found = ns.eigen.trace_of(K, lambda x: np.stack([x, 1 / (x + ridge)], axis=1))
    expected = np.array([value.sum(), (1 / (value + ridge)).sum()])
    sampled = 5 * found.standard_error + found.quadrature_error + 1e-9 * expected
    assert (np.abs(found.trace - expected) <= found.operator_error + sampled).all()
    # Without it they would be outside: tr K itself is known to be off by e.
    assert abs(float(found.trace[0]) - expected[0]) > float(sampled[0])
    log = ns.eigen.log_determinant(K, ridge=ridge)
    error = abs(float(log.log_determinant) - np.log(value + ridge).sum())
    assert 0 < error <= float(log.operator_error + 5 * log.standard_error + log.quadrature_error)
    with pytest.raises(ValueError, match=r"the approximation error of this operator, .* larger ridge.* smaller tol"):
        ns.eigen.log_determinant(K, ridge=0.9 * K.approximation_error)


# Density


@pytest.mark.parametrize("known", [True, False], ids=["known", "estimated"])
def test_counts_and_ranks_of_an_approximate_operator_are_within_their_errors(known, approximated, no_dense):
    K, value = approximated
    K = K if known else Products(**{one.name: getattr(K, one.name) for one in fields(K)})
    levels = np.geomspace(K.approximation_error / 100, value[-1] / 1.5, 12)
    c = ns.eigen.alignment(K, np.ones(300), eigenvalue=levels)
    expected = (value >= levels[:, None]).sum(axis=1)
    sampled = 5 * c.rank_standard_error + c.rank_quadrature_error + 1e-6
    assert (np.abs(c["rank"] - expected) <= c.rank_operator_error + sampled).all()
    assert (np.abs(c["rank"] - expected) > sampled).any()
    assert ns.eigen.density(K, eigenvalue=levels).attrs["resolved_down_to"] > K.approximation_error


def test_counts_are_exact_where_that_is_cheap(lattices, masked):
    for K in (lattices["1d periodic"], lattices["2d periodic"], masked["2d"][0]):
        value = np.linalg.eigvalsh(np.asarray(K.to_dense()))
        d = ns.eigen.density(K)
        expected = (value >= d.eigenvalue.values[:, None] - 1e-12 * value[-1]).sum(axis=1)
        np.testing.assert_array_equal(d["count"], expected)
        assert not d.count_standard_error.any()
        assert not d.count_operator_error.any()
        # The density integrates to the count.
        level = np.log(d.eigenvalue.values)
        assert np.trapezoid(d.density, level) == pytest.approx(float(d["count"][0] - d["count"][-1]), rel=0.1)


def test_estimated_counts_are_within_their_errors(no_dense):
    value = spectrum_of(0)
    K = operator(value)
    outside = []
    for seed in range(20):
        d = ns.eigen.density(K, num_probes=8, num_steps=32, seed=seed)
        expected = (value >= d.eigenvalue.values[:, None]).sum(axis=1)
        error = np.abs(d["count"] - expected)
        outside.append(np.mean(error > 2.365 * d.count_standard_error + d.count_quadrature_error + 1e-6))
    assert np.mean(outside) <= 0.05
    assert float(d["count"][0]) == pytest.approx(SIZE, abs=float(d.count_quadrature_error[0]) + 1e-9)
    assert float(d["count"].sel(eigenvalue=10, method="nearest")) == pytest.approx(1, abs=1e-6)
    assert 0 < d.attrs["resolved_down_to"] < 3
    more = ns.eigen.density(K, num_probes=8, num_steps=64, eigenvalue=d.eigenvalue)
    assert float(more.count_quadrature_error.mean()) < 0.7 * float(d.count_quadrature_error.mean())


def test_levels_and_steps_that_mean_nothing_are_refused(lattices):
    K = lattices["2d"]
    for levels in ([], [1.0, 0.0], [-1.0], [np.nan]):
        with pytest.raises(ValueError, match="`eigenvalue` holds a level that is not above 0, or none"):
            ns.eigen.density(K, eigenvalue=levels)
    with pytest.raises(ValueError, match="num_steps=1; expected a number of at least 2"):
        ns.eigen.density(K, num_steps=1)


def test_levels_a_rounding_apart_are_one(lattices):
    K = lattices["2d"]
    level = 0.5 * float(K.diagonal()[0])
    d = ns.eigen.density(K, eigenvalue=[level, np.nextafter(level, np.inf), 2 * level, np.nextafter(2 * level, np.inf)])
    xr.testing.assert_equal(d, ns.eigen.density(K, eigenvalue=[level, 2 * level]))


# Alignment


def test_alignment_is_the_power_in_the_eigenvectors(lattices, masked, rng):
    for K in (lattices["1d periodic"], lattices["2d periodic"], masked["2d"][0]):
        value, U = np.linalg.eigh(np.asarray(K.to_dense()))
        y = rng.standard_normal((K.num_points, 2))
        c = ns.eigen.alignment(K, y, eigenvalue=value)
        reached = value[:, None] >= c.eigenvalue.values - 1e-12 * value[-1]
        power = np.sum((U.T @ y) ** 2, axis=1)
        np.testing.assert_allclose(c.cumulative_power, power @ reached / power.sum(), atol=1e-12)
        np.testing.assert_array_equal(c["rank"], reached.sum(axis=0))
        assert not c.cumulative_power_error.any()


def test_alignment_by_lanczos_is_within_its_error(no_dense, rng):
    value = spectrum_of(0)
    K = operator(value)
    eigenvalue, U = np.linalg.eigh(np.asarray(K.matrix))
    y = (U @ (rng.standard_normal((SIZE, 2)) * np.sqrt(eigenvalue)[:, None]))[:, :2]
    c = ns.eigen.alignment(K, y, num_steps=48)
    power = np.sum((U.T @ y) ** 2, axis=1)
    expected = power @ (eigenvalue[:, None] >= c.eigenvalue.values) / power.sum()
    assert (np.abs(c.cumulative_power - expected) <= c.cumulative_power_error + 1e-8).all()
    assert float(c.cumulative_power_error.mean()) < 0.05
    assert c.attrs["num_products"] > 0


def test_labels_without_power_are_refused(lattices):
    with pytest.raises(ValueError, match="labels are all 0"):
        ns.eigen.alignment(lattices["2d"], np.zeros(20))
    with pytest.raises(ValueError, match="labels have shape"):
        ns.eigen.alignment(lattices["2d"], np.ones(19))
