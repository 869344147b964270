import math

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import oracle_mpmath
import pytest
from hypothesis import given, settings

import ntkspec as ns
from ntkspec import mapping as mappings

EPS = np.finfo(np.float64).eps

MAPPINGS = {
    "gaussian": lambda **o: mappings.gaussian(dim=2, num_frequencies=12, scale=3.0, **o),
    "positional": lambda **o: mappings.positional(dim=2, num_frequencies=8, log2_max=4, **o),
    "power_law": lambda **o: mappings.power_law(9, p=1.5, **o),
    "basic": lambda **o: mappings.basic(dim=3, **o),
    "from_frequencies": lambda **o: mappings.from_frequencies([[1.0, 0.5], [-3.2, 7.0]], [2.0, 0.3], **o),
}


@pytest.fixture(params=list(MAPPINGS))
def mapping(request):
    return MAPPINGS[request.param]()


def test_gaussian_draws_from_numpys_default_generator_times_scale():
    g = mappings.gaussian(dim=3, num_frequencies=7, scale=2.5, seed=4)
    expected = 2.5 * np.random.default_rng(4).standard_normal((7, 3))
    np.testing.assert_array_equal(g.frequencies, expected)
    np.testing.assert_allclose(g.amplitudes, 7**-0.5, rtol=4 * EPS)


def test_gaussian_seed_reproduces_and_scale_only_scales():
    one, same = (mappings.gaussian(2, 50, scale=1.0, seed=3) for _ in range(2))
    other = mappings.gaussian(2, 50, scale=1.0, seed=5)
    wide = mappings.gaussian(2, 50, scale=8.0, seed=3)
    np.testing.assert_array_equal(one.frequencies, same.frequencies)
    assert not np.allclose(one.frequencies, other.frequencies)
    np.testing.assert_array_equal(wide.frequencies, 8 * one.frequencies)


def test_gaussian_standard_deviation_and_limit():
    g = mappings.gaussian(1, 20_000, scale=4.0)
    # The sample standard deviation of m draws has relative error 1/√(2m), here 0.5 %; 5 of them.
    assert float(jnp.std(g.frequencies)) == pytest.approx(4.0, rel=0.025)
    lag = np.array([[0.01], [0.03], [0.1]])
    # A mean of m cosines: 5 standard errors of at most 1/√(2m) … 1/√m.
    np.testing.assert_allclose(g.inner(lag), np.exp(-2 * (np.pi * 4 * lag[:, 0]) ** 2), atol=5 / 20_000**0.5)


def test_positional_is_a_ladder_on_each_axis():
    g = mappings.positional(dim=2, num_frequencies=9, log2_max=6)
    ladder = [2 ** (6 * j / 3) - 1 for j in range(4)]
    np.testing.assert_allclose(g.frequencies[:4], [[b, 0] for b in ladder], rtol=EPS)
    np.testing.assert_allclose(g.frequencies[4:], [[0, b] for b in ladder], rtol=EPS)
    assert g.num_frequencies == 8
    assert float(g.frequencies[3, 0]) == 63


def test_positional_of_the_paper_in_three_dimensions_has_255_frequencies():
    assert mappings.positional(dim=3, num_frequencies=256, log2_max=6).frequencies.shape == (255, 3)


@pytest.mark.parametrize("p", [0, 0.5, 1, 2.0])
def test_power_law(p):
    g = mappings.power_law(6, p=p, normalize=False)
    np.testing.assert_array_equal(g.frequencies, np.arange(1.0, 7)[:, None])
    np.testing.assert_allclose(g.amplitudes, np.arange(1.0, 7) ** -p, rtol=2 * EPS)


def test_power_law_infinite_keeps_the_first_amplitude_of_m():
    g = mappings.power_law(5, p=float("inf"))
    assert g.amplitudes.tolist() == [1, 0, 0, 0, 0]
    assert g.num_features == 10


def test_basic_is_one_turn_an_axis():
    np.testing.assert_array_equal(mappings.basic(3).frequencies, np.eye(3))


def test_identity_returns_points():
    g = mappings.identity(dim=2)
    x = np.array([[0.1, 0.2], [0.3, 0.4], [1.5, -2.0]])
    np.testing.assert_array_equal(g(x), x)
    assert (g.num_features, g.dim, g.stationary) == (2, 2, False)


def test_from_frequencies_defaults_to_equal_amplitudes():
    g = mappings.from_frequencies([[1.0], [2.0], [5.0]], normalize=False)
    assert g.amplitudes.tolist() == [1, 1, 1]
    assert float(g.norm_squared) == 3


@pytest.mark.parametrize("name", MAPPINGS)
def test_normalize_makes_the_norm_one_and_only_scales(name):
    unit, raw = MAPPINGS[name](), MAPPINGS[name](normalize=False)
    assert float(unit.norm_squared) == pytest.approx(1, rel=4 * EPS)
    np.testing.assert_array_equal(unit.frequencies, raw.frequencies)
    np.testing.assert_allclose(unit.amplitudes * jnp.linalg.norm(raw.amplitudes), raw.amplitudes, rtol=4 * EPS)


def test_features_are_cosines_then_sines(mapping, rng):
    x = rng.uniform(-2, 2, (5, mapping.dim))
    phase = 2 * np.pi * x @ np.asarray(mapping.frequencies).T
    expected = np.concatenate([mapping.amplitudes * np.cos(phase), mapping.amplitudes * np.sin(phase)], axis=1)
    # Phases of up to 2π·2·16 carry a unit of their own size.
    np.testing.assert_allclose(mapping(x), expected, atol=1e3 * EPS)
    assert mapping(x).shape == (5, mapping.num_features)


@pytest.mark.parametrize("name", MAPPINGS)
@pytest.mark.parametrize("normalize", [True, False])
def test_inner_is_the_product_of_features(name, normalize, rng):
    mapping = MAPPINGS[name](normalize=normalize)
    x, z = rng.random((2, 6, mapping.dim))
    products = np.sum(np.asarray(mapping(x)) * np.asarray(mapping(z)), axis=1)
    tolerance = 1e3 * EPS * float(mapping.norm_squared)
    np.testing.assert_allclose(mapping.inner(x - z), products, atol=tolerance)
    assert float(mapping.inner(np.zeros(mapping.dim))) == float(mapping.norm_squared)


def test_lag_functions_keep_leading_axes(mapping):
    delta = np.zeros((4, 3, mapping.dim))
    assert mapping.inner(delta).shape == mapping.versine(delta).shape == (4, 3)
    assert mapping.versine(np.zeros(mapping.dim)).shape == ()


def test_versine_keeps_every_digit_of_a_tiny_lag(mapping):
    lags = np.array([1e-1, 1e-4, 1e-8, 1e-12, 1e-16, 1e-25])[:, None] * np.linspace(1, 0.3, mapping.dim)
    frequencies, amplitudes = np.asarray(mapping.frequencies), np.asarray(mapping.amplitudes)
    expected = [float(oracle_mpmath.versine(frequencies, amplitudes, lag)) for lag in lags]
    # Rounding of b·Δ, of its product with π and of the sum over at most 12 terms.
    np.testing.assert_allclose(mapping.versine(lags), expected, rtol=50 * EPS)


def test_versine_of_a_large_phase_is_reduced_before_the_sine():
    g = mappings.from_frequencies([[2.0**40 + 0.25]])
    delta = np.array([3.0])
    expected = oracle_mpmath.versine(g.frequencies, g.amplitudes, delta)
    assert float(g.versine(delta)) == pytest.approx(float(expected), rel=4 * EPS, abs=0)


def test_versine_is_periodic_to_the_last_digit_for_integer_frequencies():
    g = mappings.power_law(16, p=0)
    assert g.versine([[0.0], [1.0], [7.0]]).tolist() == [0, 0, 0]


def test_versine_keeps_every_digit_of_a_lag_just_short_of_a_period():
    g = mappings.basic(1)
    lag = np.array([1 - 2.0**-40])  # exact in binary, and so is its distance to the period
    expected = oracle_mpmath.versine(g.frequencies, g.amplitudes, lag)
    assert float(g.versine(lag)) == pytest.approx(float(expected), rel=8 * EPS, abs=0)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=2, max_size=2))
def test_versine_is_even_and_between_0_and_2(delta):
    g = mappings.gaussian(2, 12, scale=3.0)
    there, back = float(g.versine(delta)), float(g.versine([-d for d in delta]))
    assert there == back
    assert 0 <= there <= 2 * (1 + 4 * EPS)


@pytest.mark.parametrize("options", [{}, {"direct_sines": 0}], ids=["direct", "separable"])
@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_versine_grid_is_versine_on_the_grid(dim, options, rng):
    g = mappings.from_frequencies(rng.normal(scale=4, size=(10, dim)), rng.uniform(0.2, 1, 10))
    lags = [np.sort(rng.uniform(-1, 1, size)) for size in (5, 4, 3, 2)[:dim]]
    lags = [np.append(lag, 0.0) for lag in lags]
    points = np.stack(np.meshgrid(*lags, indexing="ij"), axis=-1)
    # Documented: a few units of rounding relative to 1.
    np.testing.assert_allclose(g.versines_grid(tuple(lags), **options).near, g.versine(points), rtol=0, atol=40 * EPS)


def test_versine_grid_takes_the_separable_path_above_the_limit(monkeypatch):
    g = mappings.gaussian(2, 4, scale=1.0)

    def never(self, delta):
        raise AssertionError("the direct sum was taken")

    monkeypatch.setattr(mappings.FourierMapping, "versines", never)
    assert g.versines_grid((np.arange(3.0), np.arange(4.0)), direct_sines=0).near.shape == (3, 4)


def test_pytree_roundtrip_and_jit(mapping):
    leaves, tree = jax.tree.flatten(mapping)
    again = jax.tree.unflatten(tree, leaves)
    assert type(again) is type(mapping)
    x = np.full((3, mapping.dim), 0.3)
    np.testing.assert_allclose(jax.jit(lambda g, x: g(x))(mapping, x), again(x), atol=1e2 * EPS)


def test_vmap_over_amplitudes():
    g = mappings.power_law(4, p=1)
    amplitudes = jnp.stack([g.amplitudes, 2 * g.amplitudes])
    values = jax.vmap(lambda a: mappings.FourierMapping(g.frequencies, a).inner([0.1]))(amplitudes)
    np.testing.assert_allclose(values, [g.inner([0.1]), 4 * g.inner([0.1])], rtol=8 * EPS)


def test_gradient_of_inner_in_closed_form():
    g = mappings.from_frequencies([[1.3], [2.7]], [0.6, 0.8], normalize=False)
    slope = jax.grad(lambda g: g.inner([0.2]))(g)
    phase = 2 * np.pi * 0.2 * np.array([1.3, 2.7])
    np.testing.assert_allclose(slope.amplitudes, 2 * np.array([0.6, 0.8]) * np.cos(phase), rtol=1e-13)
    expected = -np.array([0.36, 0.64]) * np.sin(phase) * 2 * np.pi * 0.2
    np.testing.assert_allclose(slope.frequencies[:, 0], expected, rtol=1e-13)


def test_build_and_differentiate_under_jit():
    slope = jax.jit(jax.grad(lambda b: mappings.from_frequencies(b).inner([0.1])))(jnp.array([[1.0], [2.0]]))
    assert np.isfinite(slope).all()
    assert (slope != 0).all()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: mappings.gaussian(0, 4, 1.0), "dim=0; expected a positive integer"),
        (lambda: mappings.gaussian(2, -1, 1.0), "num_frequencies=-1; expected a positive integer"),
        (lambda: mappings.gaussian(2, 2.5, 1.0), r"num_frequencies=2\.5; expected a positive integer"),
        (lambda: mappings.gaussian(2, True, 1.0), "num_frequencies=True; expected a positive integer"),
        (lambda: mappings.gaussian(2, 4, 0.0), r"scale=0\.0; expected a positive number .*cycles per unit"),
        (lambda: mappings.gaussian(2, 4, math.nan), "scale=nan; expected a positive number"),
        (lambda: mappings.positional(3, 5, 4), "leaves 1 for each of 3 axes; ask for at least 6"),
        (lambda: mappings.positional(1, 4, 0), r"log2_max=0; expected a positive number .*2\*\*log2_max - 1"),
        (lambda: mappings.positional(0, 4, 1), "dim=0; expected a positive integer"),
        (lambda: mappings.power_law(0, 1.0), "num_frequencies=0; expected a positive integer"),
        (lambda: mappings.power_law(4, math.nan), r"p=nan; expected a number, or float\('inf'\)"),
        (lambda: mappings.power_law(4, -math.inf), r"p=-inf; expected a number, or float\('inf'\)"),
        (lambda: mappings.basic(0), "dim=0; expected a positive integer"),
        (lambda: mappings.identity(-2), "dim=-2; expected a positive integer"),
        (lambda: mappings.from_frequencies([1.0, 2.0]), r"`B` has shape \(2,\); expected \(m, d\).*B\[:, None\]"),
        (lambda: mappings.from_frequencies(np.zeros((0, 2))), r"`B` has shape \(0, 2\)"),
        (lambda: mappings.from_frequencies([[1.0]], [1.0, 2.0]), r"`a` has shape \(2,\); expected \(1,\)"),
        (lambda: mappings.from_frequencies([[np.nan]]), "`B` holds NaN or infinity"),
        (lambda: mappings.from_frequencies([[1.0]], [np.inf]), "`a` holds NaN or infinity"),
        (lambda: mappings.from_frequencies([[1.0]], [0.0]), "only zeros"),
        (lambda: mappings.basic(2)([0.1, 0.2]), r"points have shape \(2,\); expected \(n, 2\): reshape 1-D"),
        (lambda: mappings.basic(2)([[0.1]]), r"points have shape \(1, 1\); expected \(n, 2\): one row a point"),
        (lambda: mappings.identity(2)([[0.1]]), r"points have shape \(1, 1\); expected \(n, 2\)"),
        (lambda: mappings.basic(2).versine([0.1]), r"`delta` has shape \(1,\); expected \(\.\.\., 2\)"),
        (lambda: mappings.basic(1).inner(0.1), r"`delta` has shape \(\); expected \(\.\.\., 1\)"),
    ],
)
def test_bad_input_is_refused_in_words(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_whole_numbers_are_points_too():
    np.testing.assert_allclose(ns.mapping.basic(1)([[0], [1]]), [[1, 0], [1, 0]], atol=4 * EPS)
