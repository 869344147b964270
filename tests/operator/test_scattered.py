import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkspec as ns
from ntkspec.limits import current, limited
from ntkspec.operator._scattered._bound import wave_bound
from ntkspec.operator._scattered._search import CHEAP
from ntkspec.operator._scattered._series import kernel_series, period_of

EPS = np.finfo(np.float64).eps


def raw(dim):
    return ns.kernel.compose(ns.mapping.identity(dim), ns.kernel.MLP(depth=1, b_std=0.1))


CASES = {
    "1d": ns.mapping.gaussian(1, 8, scale=2.0),
    "2d": ns.mapping.gaussian(2, 8, scale=1.5),
    "3d": ns.mapping.gaussian(3, 8, scale=1.0),
    "1d periodic": ns.mapping.power_law(8, p=1.0),
    "3d periodic": ns.mapping.from_frequencies([[1.0, 0, 0], [0, 1, 2], [1, -1, 1]], [1.0, 0.7, 0.5]),
    "2d limit": ns.mapping.gaussian_limit(2, scale=1.5),
}


def network(activation="relu", depth=1):
    return ns.kernel.MLP(depth=depth, activation=activation, b_std=0.1)


def clustered(n, dim, seed=0):
    """Points of which some coincide, and others are 1e-7 apart."""
    x = np.random.default_rng(seed).random((n, dim)) * 0.99
    x[1] = x[0]
    x[2] = x[0] + 1e-7
    x[n // 2] = x[0] + 1e-5
    return x


@pytest.fixture
def blocks():
    """Blocks small enough that there are several, the last one not full."""
    with limited(block=16):
        yield


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "depth"),
    [
        ("2d", 1),
        ("2d limit", 1),
        pytest.param("1d", 3, marks=SLOW),
        pytest.param("3d", 1, marks=SLOW),
        pytest.param("1d periodic", 1, marks=SLOW),
    ],
)
@pytest.mark.usefixtures("blocks")
def test_streamed_is_the_gram(name, depth, rng):
    k = ns.kernel.compose(CASES[name], network(depth=depth))
    x = clustered(43, k.dim)
    K = ns.operator.scattered(k, x)
    matrix = np.asarray(k.ntk(x))
    norm = np.linalg.norm(matrix, 2)
    v = rng.standard_normal((43, 3))
    np.testing.assert_allclose(K @ v, matrix @ v, rtol=0, atol=1e-10 * norm)
    np.testing.assert_allclose(K.diagonal(), np.diag(matrix), rtol=1e-13)
    np.testing.assert_array_equal(K.to_dense(), matrix)
    assert float(K.frobenius_norm()) == pytest.approx(np.linalg.norm(matrix), rel=1e-10)
    assert (K.shape, K.placement) == ((43, 43), None)
    np.testing.assert_array_equal(K.points, x)


@pytest.mark.usefixtures("blocks")
def test_streamed_takes_raw_coordinates_and_either_kernel(rng):
    x = rng.standard_normal((41, 2))
    x[0] = 0  # a zero input has no direction
    v = rng.standard_normal(41)
    k = raw(2)
    for which in ("ntk", "nngp"):
        matrix = np.asarray(k.gram(x, which=which))
        K = ns.operator.scattered(k, x, which=which)
        np.testing.assert_allclose(K @ v, matrix @ v, rtol=0, atol=1e-10 * np.linalg.norm(matrix, 2))
        np.testing.assert_allclose(K.diagonal(), np.diag(matrix), rtol=1e-13)


def test_streamed_multiplies_integers_as_numbers(rng):
    K = ns.operator.scattered(raw(2), rng.random((9, 2)))
    whole = np.arange(9)
    np.testing.assert_allclose(K @ whole, np.asarray(K.to_dense()) @ whole, rtol=1e-13)


@pytest.mark.parametrize("n", [1, 17, pytest.param(16, marks=SLOW)])
@pytest.mark.usefixtures("blocks")
def test_streamed_at_the_edges_of_a_block(n, kernels, rng):
    x, v = rng.random((n, 1)), rng.standard_normal(n)
    matrix = np.asarray(kernels["1d"].ntk(x))
    np.testing.assert_allclose(ns.operator.scattered(kernels["1d"], x) @ v, matrix @ v, rtol=0, atol=1e-12 * n)


@pytest.mark.usefixtures("blocks")
def test_streamed_differentiates_in_points_and_kernel(kernels):
    x = jnp.asarray(np.random.default_rng(0).random((19, 1)))
    v = jnp.asarray(np.random.default_rng(1).standard_normal(19))

    def energy(multiply, k, x):
        return v @ multiply(k, x)

    def by_streaming(k, x):
        return ns.operator.scattered(k, x).matvec(v)

    def by_gram(k, x):
        return k.gram(x, x) @ v

    k = kernels["1d"]
    found = jax.grad(lambda k, x: energy(by_streaming, k, x), argnums=(0, 1))(k, x)
    expected = jax.grad(lambda k, x: energy(by_gram, k, x), argnums=(0, 1))(k, x)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-9 * (1 + np.abs(b).max()))


def fast_and_dense(name, tol, activation="relu", n=300):
    k = ns.kernel.compose(CASES[name], network(activation))
    x = np.random.default_rng(5).random((n, k.dim))
    return ns.operator.scattered(k, x, tol=tol), np.asarray(k.ntk(x))


@pytest.mark.parametrize(
    ("name", "tol", "activation"),
    [
        ("1d periodic", 1e-3, "relu"),
        ("2d", 3e-2, "relu"),
        pytest.param("1d", 1e-2, "relu", marks=SLOW),
        pytest.param("1d", 1e-8, "erf", marks=SLOW),
        pytest.param("2d limit", 1e-6, "erf", marks=SLOW),
        pytest.param("3d periodic", 1e-3, "erf", marks=SLOW),
    ],
)
def test_fast_form_is_as_good_as_it_says(name, tol, activation, rng):
    # On so few points exact entries may be quicker, which is not the question here.
    with limited(direct_points=0):
        K, matrix = fast_and_dense(name, tol, activation)
    assert K.error <= tol
    fast = np.asarray(K @ np.eye(len(matrix)))
    norm = np.linalg.norm(matrix, 2)
    actual = np.linalg.norm(fast - matrix, 2) / norm
    assert actual <= K.error
    # The bound is not idle: it is not decades above the truth.
    assert actual >= 1e-3 * K.error
    # Two transforms that are each other's adjoint to rounding.
    np.testing.assert_allclose(fast, fast.T, rtol=0, atol=1e-13 * norm)
    np.testing.assert_allclose(K.diagonal(), np.diag(matrix), rtol=1e-13)
    np.testing.assert_array_equal(K.to_dense(), matrix)
    assert float(K.frobenius_norm()) == pytest.approx(np.linalg.norm(fast), rel=10 * K.transform_tolerance)
    v = rng.standard_normal(len(matrix))
    np.testing.assert_allclose(K @ v, fast @ v, rtol=0, atol=1e-12 * norm * np.linalg.norm(v))


@pytest.fixture(scope="module")
def fast():
    return fast_and_dense("1d", 1e-3)


def test_a_larger_tolerance_saves_modes(fast):
    K, _ = fast
    assert ns.operator.scattered(K.kernel, K.points, tol=1e-2).coefficients.size < K.coefficients.size / 2


def test_fast_form_is_a_pytree_that_jits_and_differentiates(fast, rng):
    K, _ = fast
    v = jnp.asarray(rng.standard_normal(K.num_points))
    again = jax.tree.unflatten(jax.tree.structure(K), jax.tree.leaves(K))
    np.testing.assert_array_equal(again @ v, K @ v)
    slope = jax.grad(lambda v: v @ K.matvec(v) / 2)(v)
    np.testing.assert_allclose(slope, K @ v, rtol=0, atol=1e-10 * float(jnp.linalg.norm(K @ v)))


def test_prediction_on_scattered_points_is_that_of_the_matrix(fast):
    K, matrix = fast
    k, x = K.kernel, K.points
    y = np.stack([np.sin(2 * np.pi * x[:, 0]), np.cos(4 * np.pi * x[:, 0])], axis=1)
    rate = 0.5 / np.linalg.norm(matrix, 2)
    # Gradient descent is t products, each off by the stated error times ηλ_max = ½.
    steps = [1, 10]
    expected, exact, approximate = (
        ns.predict(operator, y, steps=steps, learning_rate=rate, tolerance=1e-9).train.values
        for operator in (ns.operator.dense(k, x), ns.operator.scattered(k, x), K)
    )
    np.testing.assert_allclose(exact, expected, rtol=0, atol=3e-9 * np.linalg.norm(y))
    off = np.linalg.norm(approximate - expected, axis=(1, 2)) / np.linalg.norm(y)
    assert (off <= K.error * 0.5 * np.array(steps) + 3e-9).all()
    assert off[0] > 1e-8


def test_spectrum_and_learning_rate_of_scattered_points(fast):
    K, matrix = fast
    value = np.linalg.eigvalsh(matrix)[::-1]
    exact = ns.operator.scattered(K.kernel, K.points)
    np.testing.assert_allclose(ns.eigen.spectrum(exact, 5).eigenvalue, value[:5], rtol=1e-10)
    assert ns.dynamics.max_learning_rate(exact) * value[0] == pytest.approx(2, rel=1e-10)
    assert ns.dynamics.max_learning_rate(K) * value[0] == pytest.approx(2, rel=K.error)


@pytest.mark.parametrize(("n", "dim", "cutoff"), [(60, 1, 5), (60, 1, 100), (80, 2, 3), (80, 2, 8), (60, 3, 2)])
@pytest.mark.parametrize("spread", [1.0, 0.01])
def test_the_bound_holds_for_plane_waves_on_points(n, dim, cutoff, spread):
    y = np.random.default_rng(n).random((n, dim)) * spread
    axis = np.arange(-cutoff, cutoff + 1)
    frequency = np.stack(np.meshgrid(*[axis] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
    largest = np.linalg.norm(np.exp(2j * np.pi * y @ frequency.T), 2) ** 2
    bound = wave_bound(y)(np.array([cutoff, 2 * cutoff]))
    assert largest <= bound[0] <= bound[1]
    assert bound[0] <= 8**dim * largest


@pytest.mark.parametrize("name", ["1d", "2d", "1d periodic"])
def test_series_is_the_kernel_at_every_lag_of_its_points(name):
    k = ns.kernel.compose(CASES[name], network("erf"))
    extent = 0.7
    period = period_of(k, extent)
    half = 512 if k.dim == 1 else 256
    series = kernel_series(k, period, 2 * half, "ntk")
    lag = np.random.default_rng(0).uniform(-extent, extent, (20, k.dim))
    phase = [2 * np.pi / period * lag[:, i, None] * np.arange(-half, half) for i in range(k.dim)]
    waves = [np.exp(1j * p) for p in phase]
    coefficients = np.fft.fftshift(series.coefficients)
    found = np.einsum("ab,ia,ib->i" if k.dim == 2 else "a,ia->i", coefficients, *waves).real
    k0 = float(k.ntk_lag(np.zeros(k.dim)))
    np.testing.assert_allclose(found, k.ntk_lag(lag), rtol=0, atol=1e-8 * k0)
    assert (period == 1.0) == (name == "1d periodic")


def test_tail_of_a_series_bounds_and_continues_its_coefficients():
    k = ns.kernel.compose(CASES["1d periodic"], network())
    coarse, fine = (kernel_series(k, 1.0, size, "ntk") for size in (512, 8192))
    # A cusp: |ξ|^−2 in one dimension, nearly reached at these frequencies.
    assert coarse.order == pytest.approx(2, abs=0.3)
    for beyond in (10, 100, 128, 500, 1500):
        actual = np.abs(fine.coefficients[beyond + 1 : 4096]).max()
        assert actual <= coarse.tail(np.array(beyond))
        assert coarse.tail(np.array(beyond)) <= 3 * actual
    off = np.abs(coarse.within(64) - fine.within(64)).max()
    assert 0.1 * coarse.aliasing(64) <= off <= coarse.aliasing(64)


def test_frequencies_that_the_first_tables_cannot_see_are_found():
    # On up to 512 lags an axis, a frequency of 512 looks like a constant.
    k = ns.kernel.compose(ns.mapping.from_frequencies([[1.0], [512.0]], [1.0, 0.5]), network("erf"))
    x = np.random.default_rng(0).random((200, 1))
    with limited(direct_points=0):
        K = ns.operator.scattered(k, x, tol=1e-3)
    matrix = np.asarray(k.ntk(x))
    assert np.linalg.norm(np.asarray(K @ np.eye(200)) - matrix, 2) <= K.error * np.linalg.norm(matrix, 2)
    assert K.coefficients.size > 1024


@pytest.mark.parametrize(
    ("x", "tol", "message"),
    [
        (np.zeros((0, 1)), None, "expected at least one row"),
        (np.zeros((3, 2)), None, r"points have shape \(3, 2\); expected \(n, 1\)"),
        (np.array([[0.1], [1.5]]), 1e-3, r"reach from \[0.1\] to \[1.5\], outside.*give x % 1; otherwise rescale"),
        (np.array([[-0.1], [0.5]]), 1e-3, r"without `tol` takes any points"),
        (np.array([[np.nan], [0.5]]), 1e-3, "NaN or infinity"),
        (np.zeros((3, 1)), 1e-12, r"tol=1e-12; expected between 1e-11"),
        (np.zeros((3, 1)), 1.0, r"tol=1.0; expected between"),
    ],
)
def test_bad_points_and_tolerances_are_refused_in_words(x, tol, message, kernels):
    with pytest.raises(ValueError, match=message):
        ns.operator.scattered(kernels["1d"], x, tol=tol)


def test_a_kernel_without_a_series_is_refused():
    with pytest.raises(ValueError, match=r"needs a stationary kernel.*not a function of the lag.*without `tol`"):
        ns.operator.scattered(raw(1), np.zeros((3, 1)), tol=1e-3)


def test_a_tolerance_out_of_reach_is_refused_with_what_is_in_reach(kernels):
    x = np.random.default_rng(5).random((current().direct_points + 1, 1))
    message = r"tol=1e-09 is out of reach .* 8,193 points: the smallest error within reach"
    with limited(table=512), pytest.raises(ValueError, match=message):
        ns.operator.scattered(kernels["1d"], x, tol=1e-9)


class Counted:
    """A reporter that keeps the lags of every table, and what else was done."""

    def __init__(self):
        self.lags, self.done = [], []

    def start(self, description, total=None, unit="it"):
        self.done.append(description)
        return self

    def advance(self, n=1, lags=0, **fields):
        self.lags.append(lags)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


@pytest.mark.parametrize(
    ("n", "dim", "tol"),
    [(1, 1, 1e-3), (2, 1, 0.5), (24, 1, 1e-10), (24, 2, 1e-3), pytest.param(128, 3, 1e-11, marks=SLOW)],
)
def test_few_points_take_exact_entries_without_a_table(n, dim, tol, kernels):
    x, watch = np.random.default_rng(0).random((n, dim)), Counted()
    K = ns.operator.scattered(kernels[f"{dim}d"], x, tol, progress=watch)
    assert (type(K), K.error, K.approximation_error) == (ns.operator.Streamed, 0, 0)
    assert watch.done == ["exact entries, quicker than a Fourier series"]
    assert watch.lags == [0]


def test_a_series_longer_than_the_matrix_gives_way_to_exact_entries(kernels):
    """Tables of fewer lags than the matrix has entries tell; a search to the end would take 2^24."""
    x, watch = np.random.default_rng(0).random((200, 1)), Counted()
    K = ns.operator.scattered(kernels["1d"], x, 1e-10, progress=watch)
    assert isinstance(K, ns.operator.Streamed)
    assert watch.done[-1] == "exact entries, quicker than a Fourier series"
    assert max(watch.lags) <= 200**2


@pytest.mark.slow
def test_what_is_out_of_reach_is_known_from_short_tables_and_what_is_said_to_be_in_reach_is(kernels):
    x = np.random.default_rng(0).random((current().direct_points + 1, 1))
    for largest in (2**24, 2**17):  # the second, so that the last assertion takes no minute
        watch = Counted()
        with limited(table=largest), pytest.raises(ValueError, match="smallest error within reach is about") as refused:
            ns.operator.scattered(kernels["1d"], x, 1e-11, progress=watch)
        assert max(watch.lags) <= 2**24 * CHEAP
    least = float(re.search(r"about ([\d.e+-]+) ", str(refused.value)).group(1))
    with limited(table=2**17):
        assert ns.operator.scattered(kernels["1d"], x, least).error <= least
        assert ns.operator.scattered(kernels["1d"], x, 0.5).error <= 0.5


def test_a_look_ahead_waits_for_the_mappings_highest_frequency():
    """From 512 lags on a look ahead could be taken for the truth, and would say that nothing is in reach."""
    k = ns.kernel.compose(ns.mapping.from_frequencies([[1.0], [512.0]], [1.0, 0.5]), network("erf"))
    x = np.random.default_rng(0).random((200, 1))
    with limited(direct_points=0, table=2**17):
        assert ns.operator.scattered(k, x, tol=1e-3).error <= 1e-3


@pytest.mark.parametrize(
    ("activation", "tol"), [("relu", 1e-3), ("erf", 1e-3), pytest.param("gaussian", 1e-11, marks=SLOW)]
)
def test_points_that_are_all_one(activation, tol):
    k = ns.kernel.compose(CASES["1d"], network(activation))
    x = np.full((200, 1), 0.3)
    K = ns.operator.scattered(k, x, tol)
    matrix = np.asarray(k.ntk(x))
    assert np.linalg.norm(np.asarray(K @ np.eye(200)) - matrix, 2) <= K.error * np.linalg.norm(matrix, 2) + 1e-10
    assert K.error <= tol


def test_what_does_not_fit_is_refused(kernels):
    x = np.random.default_rng(0).random((200, 1))
    with limited(memory=1000), pytest.raises(ValueError, match=r"features of 200 points .* take fewer points"):
        ns.operator.scattered(kernels["1d"], x)
    with limited(memory=1000), pytest.raises(ValueError, match=r"table of 64\^1 lags would need .* take a larger tol"):
        ns.operator.scattered(kernels["1d"], x, tol=1e-3)


def test_a_fast_form_is_not_built_inside_jit(kernels):
    x = jnp.linspace(0, 0.9, 10)[:, None]
    with pytest.raises(TypeError, match=r"cannot be built inside jit.*build it outside"):
        jax.jit(lambda x: ns.operator.scattered(kernels["1d"], x, tol=1e-2).error)(x)
