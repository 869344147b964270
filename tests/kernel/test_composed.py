import jax
import jax.numpy as jnp
import numpy as np
import oracle_mpmath
import pytest
from mpmath import mpf

import ntkspec as ns
from ntkspec.kernel._composed import check_which

EPS = np.finfo(np.float64).eps


def compose(mapping, depth=3, **options):
    return ns.kernel.compose(mapping, ns.kernel.MLP(depth=depth, **options))


@pytest.fixture(scope="module", params=["ntk", "standard"])
def kernel(request):
    return compose_one(request.param)


@pytest.fixture(scope="module")
def one_kernel():
    """Where the parametrization does not matter."""
    return compose_one("ntk")


def compose_one(parametrization):
    net = ns.kernel.MLP(depth=2, W_std=1.2, b_std=0.3, parametrization=parametrization, width=32)
    return ns.kernel.compose(ns.mapping.gaussian(2, 8, scale=2.0, seed=1), net)


def lag_oracle(k, lag, which):
    net = k.network
    features = k.mapping.num_features
    squares = [oracle_mpmath.exact(a) ** 2 for a in np.asarray(k.mapping.amplitudes)]
    q = sum(squares) / features
    v = oracle_mpmath.versine(np.asarray(k.mapping.frequencies), np.asarray(k.mapping.amplitudes), lag)
    named = {name: getattr(net, name) for name in ("depth", "W_std", "b_std", "parametrization", "width")}
    return float(oracle_mpmath.mlp(q, q, v, fan_in=features, **named)[which == "ntk"])


@pytest.mark.parametrize("which", ["ntk", "nngp"])
def test_lag_function_is_mpmaths_down_to_coincidence(kernel, which):
    lags = np.array([0.3, 1e-2, 1e-4, 1e-6, 1e-8, 1e-12, 1e-16])[:, None] * [1.0, -0.4]
    expected = [lag_oracle(kernel, lag, which) for lag in lags]
    function = kernel.ntk_lag if which == "ntk" else kernel.nngp_lag
    np.testing.assert_allclose(function(lags), expected, rtol=60 * EPS)


def test_gram_is_the_network_on_features(kernel, rng):
    x, z = rng.random((2, 12, 2))
    gx, gz = kernel.mapping(x), kernel.mapping(z)
    np.testing.assert_allclose(kernel.ntk(x, z), kernel.network.ntk(gx, gz), rtol=1e-13)
    np.testing.assert_allclose(kernel.nngp(x, z), kernel.network.nngp(gx, gz), rtol=1e-13)


def test_gram_is_the_function_of_the_lag_also_between_close_points(kernel, rng):
    x = rng.random((12, 2))
    x[1], x[2], x[3] = x[0], x[0] + 1e-10, x[0] + 1e-5
    lags = x[:, None] - x[None]
    for which in ("ntk", "nngp"):
        function = kernel.ntk_lag if which == "ntk" else kernel.nngp_lag
        K = np.asarray(kernel.gram(x, which=which))
        np.testing.assert_array_equal(K, K.T)
        # Where no versine is small its product of features carries a few units, and θ' = 1/√(2v) ≤ 230.
        np.testing.assert_allclose(K, function(lags), rtol=5e-13)
        near = np.linalg.norm(lags, axis=-1) < 1e-4
        np.testing.assert_allclose(K[near], np.asarray(function(lags))[near], rtol=20 * EPS)
        assert np.linalg.eigvalsh(K)[0] > -50 * EPS * 12 * K.max()


def test_a_crowd_of_close_points_is_the_function_of_the_lag(one_kernel, rng):
    x = 0.3 + 1e-8 * rng.random((12, 2))
    K = one_kernel.ntk(x)
    np.testing.assert_allclose(K, one_kernel.ntk_lag(x[:, None] - x[None]), rtol=20 * EPS)
    np.testing.assert_array_equal(K, K.T)


def test_lag_grid_is_the_lag_function_on_the_grid(one_kernel):
    lags = (np.array([-0.5, 0.0, 0.25]), np.array([0.0, 0.1]))
    points = np.stack(np.meshgrid(*lags, indexing="ij"), axis=-1)
    np.testing.assert_allclose(one_kernel.lag_grid(lags), one_kernel.ntk_lag(points), rtol=1e-13)
    np.testing.assert_allclose(one_kernel.lag_grid(lags, "nngp"), one_kernel.nngp_lag(points), rtol=1e-13)


def test_identity_mapping_leaves_the_network_on_raw_coordinates(rng):
    k = compose(ns.mapping.identity(2), b_std=0.1)
    x = rng.random((5, 2))
    np.testing.assert_array_equal(k.ntk(x), k.network.ntk(x))
    np.testing.assert_array_equal(k.nngp(x, x[:2]), k.network.nngp(x, x[:2]))
    assert not k.stationary


@pytest.fixture(scope="module")
def value_and_slope():
    """Σ weights · Θ of five points with its gradient in the kernel's own parameters, compiled once."""
    net = ns.kernel.MLP(depth=2, W_std=1.2, b_std=0.3)
    k = ns.kernel.compose(ns.mapping.gaussian(2, 6, scale=1.0, normalize=False), net)
    value = jax.jit(lambda k, x, weights: jnp.sum(weights * k.ntk(x)))
    return k, value, jax.jit(jax.grad(value))


def test_gradients_in_amplitudes_frequencies_and_stds_are_finite_differences(value_and_slope, rng):
    x, weights = rng.random((5, 2)), rng.standard_normal((5, 5))
    k, sum_of, gradient_of = value_and_slope
    slope = gradient_of(k, x, weights)
    leaves, tree = jax.tree.flatten(k)
    h = 1e-5
    for i, (leaf, gradient) in enumerate(zip(leaves, jax.tree.leaves(slope), strict=True)):
        direction = rng.standard_normal(np.shape(leaf))

        def at(s, i=i, direction=direction):
            moved = [jnp.asarray(l + s * h * direction if j == i else l) for j, l in enumerate(leaves)]
            return float(sum_of(jax.tree.unflatten(tree, moved), x, weights))

        expected = (at(1) - at(-1)) / (2 * h)
        # h² truncation against ε/h rounding: about 1e-10 of the value's scale, here a few hundred.
        assert float(np.sum(gradient * direction)) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_gradients_are_finite_at_duplicated_points(value_and_slope):
    k, _, gradient_of = value_and_slope
    x = np.array([[0.1, 0.2], [0.1, 0.2], [0.6, 0.2], [0.6, 0.2], [0.9, 0.2]])
    slope = gradient_of(k, x, np.ones((5, 5)))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))
    assert float(slope.network.W_std) > 0


def test_gradient_of_the_lag_function_is_finite_at_zero(one_kernel):
    for function in (one_kernel.ntk_lag, one_kernel.nngp_lag):
        assert np.isfinite(jax.grad(function)(jnp.zeros(2))).all()


def test_pytree_roundtrip_jit_and_vmap(one_kernel):
    again = jax.tree.unflatten(jax.tree.structure(one_kernel), jax.tree.leaves(one_kernel))
    lag = jnp.array([0.1, 0.2])
    assert float(jax.jit(lambda k: k.ntk_lag(lag))(again)) == pytest.approx(float(one_kernel.ntk_lag(lag)), rel=8 * EPS)
    lags = jnp.stack([lag, 2 * lag])
    np.testing.assert_allclose(jax.vmap(one_kernel.ntk_lag)(lags), one_kernel.ntk_lag(lags), rtol=8 * EPS)


def test_kernel_at_zero_is_the_papers(rng):
    """Paper, section 2: standard, width 1,024, 16 frequencies, W_std = 1: Θ(0) = 14 whatever the amplitudes."""
    for p in (0, 0.5, 1, 2, float("inf")):
        k = compose(ns.mapping.power_law(16, p), parametrization="standard", width=1024, W_std=1.0)
        assert float(k.ntk_lag([0.0])) == pytest.approx(14, abs=1e-12)
    k = compose(ns.mapping.power_law(64, 1), parametrization="standard", width=1024, W_std=1.0)
    assert float(k.ntk_lag([0.0])) == pytest.approx(5, abs=1e-12)
    assert mpf(14) == pytest.approx(
        lag_oracle(
            compose(ns.mapping.power_law(16, 0), W_std=1.0, width=1024, parametrization="standard"), [0.0], "ntk"
        ),
        abs=1e-12,
    )


@pytest.mark.parametrize(
    ("p", "expected"), [(0, (187.782, 8.301, 8.301, 11.187)), (1, (201.604, 41.185, 3.736, 2.193))]
)
def test_transform_of_a_kernel_row_is_the_papers(p, expected):
    k = compose(ns.mapping.power_law(16, p), parametrization="standard", width=1024, W_std=1.0)
    x = np.arange(32)[:, None] / 32
    row = np.abs(np.fft.fft(np.asarray(k.ntk(x, x[:1]))[:, 0]))
    # Given to three decimals.
    np.testing.assert_allclose(row[[0, 1, 8, 16]], expected, rtol=0, atol=5e-4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ns.kernel.compose(ns.kernel.MLP(depth=1), ns.mapping.basic(1)), TypeError, "`mapping` is a MLP"),
        (lambda: ns.kernel.compose(ns.mapping.basic(1), "relu"), TypeError, "`network` is a str; expected a network"),
        (lambda: compose(ns.mapping.identity(1)).ntk_lag([0.1]), ValueError, "this kernel has no mapping"),
        (lambda: compose(ns.mapping.identity(1)).nngp_lag([0.1]), ValueError, "this kernel has no mapping"),
        (lambda: compose(ns.mapping.identity(1)).lag_grid(([0.1],)), ValueError, "this kernel has no mapping"),
        (lambda: compose(ns.mapping.basic(2)).ntk([[0.1]]), ValueError, r"points have shape \(1, 1\)"),
        (lambda: compose(ns.mapping.basic(1)).nngp([[0.1]], [0.1]), ValueError, r"points have shape \(1,\)"),
        (lambda: compose(ns.mapping.basic(1)).gram([[0.1]], which="cov"), ValueError, "which='cov'; expected 'ntk'"),
        (lambda: check_which("NTK"), ValueError, "which='NTK'; expected 'ntk' or 'nngp'"),
    ],
)
def test_bad_input_is_refused_in_words(call, error, message):
    with pytest.raises(error, match=message):
        call()
