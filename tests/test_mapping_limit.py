"""Infinitely many frequencies: closed forms to the last digit, and what sampled mappings come close to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf

import ntkspec as ns
from ntkspec import mapping as mappings

EPS = np.finfo(np.float64).eps
LIMITS = {"gaussian": mappings.gaussian_limit, "laplace": mappings.laplace_limit, "uniform": mappings.uniform_limit}
SAMPLED = {"gaussian": mappings.gaussian, "laplace": mappings.laplace, "uniform": mappings.uniform}


def characteristic(name, t):
    """E[cos 2πzt], as it is written down."""
    return {
        "gaussian": lambda: mp.exp(-2 * mp.pi**2 * t**2),
        "laplace": lambda: 1 / (1 + (2 * mp.pi * t) ** 2),
        "uniform": lambda: mp.sin(2 * mp.pi * t) / (2 * mp.pi * t) if t else mpf(1),
    }[name]()


def versine(name, spread, delta):
    with mp.workdps(80):
        product = mpf(1)
        for row in np.asarray(spread):
            turns = sum(mpf(float(s)) * mpf(float(d)) for s, d in zip(row, delta, strict=True))
            product *= characteristic(name, turns)
        return float(1 - product)


@pytest.fixture(params=list(LIMITS))
def law(request):
    return request.param


def compose(mapping, **options):
    return ns.kernel.compose(mapping, ns.kernel.MLP(**({"depth": 2, "b_std": 0.1} | options)))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(list(LIMITS)), st.floats(1e-12, 2.0), st.floats(0.1, 30.0))
@example("uniform", 1 / (2 * np.pi), 1.0)
@example("uniform", np.nextafter(1 / (2 * np.pi), 0), 1.0)
@example("uniform", 0.5, 1.0)
@example("gaussian", 1e-160, 1.0)
def test_versine_keeps_every_digit(name, lag, scale):
    g = LIMITS[name](1, scale)
    # A few roundings, and next to sinc's switch one subtraction that costs a factor 6.
    assert float(g.versine([lag])) == pytest.approx(versine(name, g.spread, [lag]), rel=30 * EPS, abs=1e-300)


@pytest.mark.parametrize("size", [0.3, 1e-4, 1e-9])
def test_versine_of_two_axes_keeps_every_digit(law, size):
    g = LIMITS[law](2, [3.0, 0.7])
    delta = size * np.array([1.0, -0.6])
    assert float(g.versine(delta)) == pytest.approx(versine(law, g.spread, delta), rel=30 * EPS, abs=0)


def test_inner_is_the_formula_of_the_theory():
    delta, s = np.array([0.03, -0.11]), 1.7
    expected = {
        "gaussian": np.exp(-2 * np.pi**2 * s**2 * np.sum(delta**2)),
        "laplace": np.prod(1 / (1 + (2 * np.pi * s * delta) ** 2)),
        "uniform": np.prod(np.sinc(2 * s * delta)),
    }
    for name, value in expected.items():
        assert float(LIMITS[name](2, s).inner(delta)) == pytest.approx(value, rel=1e-13)


def test_versine_is_even_zero_at_zero_and_keeps_leading_axes(law, rng):
    g = LIMITS[law](3, 2.0)
    delta = rng.normal(size=(4, 5, 3))
    np.testing.assert_array_equal(g.versine(delta), g.versine(-delta))
    assert g.versine(delta).shape == (4, 5)
    assert float(g.versine(np.zeros(3))) == 0


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_versine_grid_is_versine_on_the_grid(law, dim, rng):
    g = LIMITS[law](dim, rng.uniform(0.5, 3, dim))
    if dim == 2:
        g = mappings.rotate(g, 0.4)
    lags = tuple(rng.uniform(-1, 1, size) for size in (5, 4, 3)[:dim])
    points = np.stack(np.meshgrid(*lags, indexing="ij"), axis=-1)
    np.testing.assert_allclose(g.versine_grid(lags), g.versine(points), rtol=1e-12)


def test_kernels_of_sampled_mappings_converge_at_the_rate_of_the_root(law):
    lags = np.array([[0.01, 0.02], [0.05, -0.03], [0.2, 0.1]])

    @jax.jit
    def kernels(mapping):
        return jnp.stack([compose(mapping).ntk_lag(lags), compose(mapping).nngp_lag(lags)])

    # a = 1 on both sides, whose K⁰ = k_γ/2 does not depend on the number of features.
    limit = kernels(LIMITS[law](2, 2.0, normalize=False))
    sizes, rms = (32, 256, 2048), []
    for m in sizes:
        draws = jnp.stack([kernels(SAMPLED[law](2, m, 2.0, seed=seed, normalize=False)) for seed in range(40)])
        rms.append(np.sqrt(np.mean((draws - limit) ** 2, axis=(0, 2))))
    slope = np.polyfit(np.log(sizes), np.log(rms), 1)[0]
    # 40 draws of 3 lags know a standard deviation to 10 %, and the slope over a factor 64 to 0.05.
    np.testing.assert_allclose(slope, -0.5, atol=0.1)
    assert (rms[-1] < 0.02 * np.max(limit, axis=1)).all()


def test_num_features_is_the_fan_in_by_convention(law):
    lags = np.array([[0.0], [0.02], [0.3]])
    one, two = (compose(LIMITS[law](1, 3.0, num_features=p), b_std=0.0).ntk_lag(lags) for p in (512, 1024))
    np.testing.assert_allclose(one, 2 * two, rtol=1e-12)
    default = compose(LIMITS[law](1, 3.0), b_std=0.0).ntk_lag(lags)
    np.testing.assert_array_equal(default, one)


def test_normalize_false_is_the_norm_of_that_many_unit_amplitudes(law):
    g = LIMITS[law](2, 3.0, num_features=128, normalize=False)
    assert float(g.norm_squared) == float(SAMPLED[law](2, 64, 3.0, normalize=False).norm_squared) == 64
    other = LIMITS[law](2, 3.0, num_features=512, normalize=False)
    np.testing.assert_allclose(compose(g).ntk_lag([0.1, 0.0]), compose(other).ntk_lag([0.1, 0.0]), rtol=1e-13)


def test_sampled_laws_have_their_second_moment(law):
    b = np.asarray(SAMPLED[law](1, 40_000, 3.0).frequencies)
    factor = {"gaussian": 1, "laplace": 2, "uniform": 1 / 3}[law]
    # Laplace's b² has the widest spread: √5 of its mean, over 200; four of them.
    assert np.mean(b**2) == pytest.approx(9 * factor, rel=0.045)


@pytest.mark.parametrize("name", SAMPLED)
def test_sampled_seeds_and_scales(name):
    build = SAMPLED[name]
    np.testing.assert_array_equal(build(2, 9, 1.0, seed=3).frequencies, build(2, 9, 1.0, seed=3).frequencies)
    assert not np.allclose(build(2, 9, 1.0, seed=3).frequencies, build(2, 9, 1.0, seed=4).frequencies)
    wide = build(2, 9, [1.0, 8.0], seed=3).frequencies
    np.testing.assert_allclose(wide, build(2, 9, 1.0, seed=3).frequencies * np.array([1.0, 8.0]), rtol=EPS)


@pytest.mark.parametrize("dim", [1, 3])
def test_log_uniform_has_as_many_frequencies_in_every_octave(dim):
    b = np.linalg.norm(mappings.log_uniform(dim, 8000, 64.0, lowest=0.5).frequencies, axis=1)
    assert b.min() >= 0.5
    assert b.max() <= 64
    counts = np.histogram(np.log2(b), bins=np.arange(-1, 7))[0]
    # A multinomial count of 8000/7 has standard deviation 31.
    np.testing.assert_allclose(counts, 8000 / 7, atol=4.5 * 31)


def test_gram_of_points_is_symmetric_and_of_the_lag(law, rng):
    k, x = compose(LIMITS[law](2, 2.0)), rng.random((7, 2))
    x[3] = x[5]
    gram = np.asarray(k.ntk(x))
    np.testing.assert_array_equal(gram, gram.T)
    np.testing.assert_allclose(gram, k.ntk_lag(x[:, None] - x[None]), rtol=1e-13)
    np.testing.assert_allclose(k.nngp(x, x[:2]), k.nngp_lag(x[:, None] - x[None, :2]), rtol=1e-13)
    assert gram[3, 5] == gram[0, 0]


def test_lattice_is_the_dense_operator(law, rng):
    k = compose(LIMITS[law](2, 2.0))
    K = ns.operator.lattice(k, (5, 4))
    assert not K.circulant
    dense = ns.operator.dense(k, K.points)
    np.testing.assert_allclose(K.to_dense(), dense.to_dense(), rtol=1e-12)
    v = rng.normal(size=20)
    np.testing.assert_allclose(K @ v, dense @ v, rtol=1e-10, atol=1e-14)


def test_a_limit_has_no_features(law):
    g = LIMITS[law](2, 2.0, num_features=64)
    k = compose(g, width=8)
    words = rf"infinitely many frequencies: no features.*ns\.mapping\.{law}\(dim=2, num_frequencies=32"
    for refused in (lambda: g(np.zeros((1, 2))), lambda: k.apply([], np.zeros((1, 2)))):
        with pytest.raises(ValueError, match=words):
            refused()
    with pytest.raises(ValueError, match=r"no finite network; take a sampled mapping"):
        k.init(jax.random.key(0))
    with pytest.raises(ValueError, match=words):
        ns.trainer.train(k, np.zeros((1, 2)), np.zeros(1), steps=[1], learning_rate=0.1)
    assert (g.finite, g.stationary, g.periodic, k.periodic) == (False, True, False, False)


def test_a_scale_can_be_fitted_by_gradient():
    def at(scale):
        return mappings.gaussian_limit(2, scale).inner([0.03, 0.02])

    slope = jax.jit(jax.grad(at))(2.0)
    r = 2 * np.pi**2 * (0.03**2 + 0.02**2)
    assert float(slope) == pytest.approx(-2 * 2.0 * r * np.exp(-4 * r), rel=1e-12)


def test_gradient_at_lag_zero_is_finite(law):
    slope = jax.grad(lambda s: compose(LIMITS[law](1, s)).nngp_lag(jnp.array([[0.0], [0.1]])).sum())(2.0)
    assert np.isfinite(slope)
    assert slope < 0


def test_a_limit_is_a_pytree(law):
    g = LIMITS[law](2, 2.0)
    again = jax.tree.unflatten(jax.tree.structure(g), jax.tree.leaves(g))
    np.testing.assert_array_equal(jax.jit(lambda g: g.versine([0.1, 0.2]))(again), jax.jit(g.versine)([0.1, 0.2]))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: mappings.gaussian_limit(0, 1.0), "dim=0; expected a positive integer"),
        (lambda: mappings.gaussian_limit(2, 0.0), r"scale=0\.0; expected a positive number .*cycles per unit"),
        (lambda: mappings.laplace_limit(2, [1.0, -2.0]), r"scale=-2\.0; expected a positive number"),
        (
            lambda: mappings.uniform_limit(2, [1.0, 2, 3]),
            r"`scale` has shape \(3,\); expected one number, or 2",
        ),
        (lambda: mappings.uniform_limit(2, 1.0, num_features=0), "num_features=0; expected a positive integer"),
        (lambda: mappings.laplace(1, 4, 0.0), r"scale=0\.0; expected a positive number \(the mean \|b\|"),
        (lambda: mappings.uniform(1, 4, -1), r"scale=-1\.0; expected a positive number \(the highest \|b\|"),
        (lambda: mappings.uniform(1, 0, 1.0), "num_frequencies=0"),
        (lambda: mappings.log_uniform(1, 4, 1.0), r"lowest=1\.0 is not below scale=1\.0"),
        (lambda: mappings.log_uniform(1, 4, 2.0, lowest=0.0), r"lowest=0\.0; expected a positive number"),
        (lambda: mappings.gaussian_limit(2, 1.0).versine([0.1]), r"`delta` has shape \(1,\); expected \(\.\.\., 2\)"),
        (lambda: mappings.gaussian_limit(2, 1.0).versine_grid(([0.1],)), "expected 2 one-dimensional arrays"),
        (
            lambda: mappings.gaussian_limit(2, 1.0).through(np.eye(3)),
            r"`matrix` has shape \(3, 3\); expected \(2, d'\)",
        ),
    ],
)
def test_bad_input_is_refused_in_words(build, message):
    with pytest.raises(ValueError, match=message):
        build()
