"""Sums, products and turns of mappings: features and inner products must tell the same story."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mpmath import mp

import ntkspec as ns
from ntkspec import mapping as mappings

EPS = np.finfo(np.float64).eps
FREQUENCY, AMPLITUDE = st.floats(-6, 6), st.floats(0.1, 2)


# Of one shape, so that nothing is compiled anew for each example.
def fourier():
    numbers = st.tuples(arrays(float, (3, 2), elements=FREQUENCY), arrays(float, 3, elements=AMPLITUDE))
    return numbers.map(lambda drawn: mappings.from_frequencies(*drawn, normalize=False))


LAG = arrays(float, 2, elements=st.floats(-1, 1))
LIMIT = mappings.gaussian_limit(2, [1.0, 2.0], num_features=16)


def gram(mapping, x):
    features = np.asarray(mapping(x))
    assert features.shape == (len(x), mapping.num_features)
    return features @ features.T


@settings(max_examples=30, deadline=None)
@given(fourier(), fourier(), LAG)
def test_sum_adds_and_product_multiplies_inner_products(g, h, delta):
    both = float(g.norm_squared), float(h.norm_squared)
    scale = 1e3 * EPS * max(sum(both), both[0] * both[1])
    assert float((g + h).inner(delta)) == pytest.approx(float(g.inner(delta) + h.inner(delta)), abs=scale)
    assert float((g * h).inner(delta)) == pytest.approx(float(g.inner(delta) * h.inner(delta)), abs=scale)
    assert float((g + h).norm_squared) == pytest.approx(sum(both))
    assert float((g * h).norm_squared) == pytest.approx(both[0] * both[1])


@settings(max_examples=20, deadline=None)
@given(fourier(), fourier())
def test_products_of_features_are_the_features_of_the_product_turned(g, h):
    x = np.random.default_rng(1).random((5, 2))
    tensor = np.einsum("ni,nj->nij", g(x), h(x)).reshape(5, -1)
    assert tensor.shape[1] == (g * h).num_features
    size = 1e3 * EPS * float(g.norm_squared * h.norm_squared)
    np.testing.assert_allclose(gram(g * h, x), tensor @ tensor.T, atol=size)
    np.testing.assert_array_equal((g + h).num_features, g.num_features + h.num_features)
    np.testing.assert_allclose(gram(g + h, x), gram(g, x) + gram(h, x), atol=1e3 * EPS * float((g + h).norm_squared))


def test_fourier_mappings_stay_fourier_mappings():
    g, h = mappings.basic(2), mappings.gaussian(2, 3, 1.0)
    for mapping in (
        g + h,
        g * h,
        mappings.rotate(g, 0.3),
        mappings.direct_sum([g, h]),
        mappings.direct_product([g, h]),
    ):
        assert isinstance(mapping, mappings.FourierMapping)
    assert (g * g).periodic
    assert not (g * h).periodic


@settings(max_examples=20, deadline=None)
@given(fourier(), LAG)
def test_with_a_limit_the_sum_and_the_product_are_those_of_inner_products(g, delta):
    size = 1e2 * EPS * (1 + float(g.norm_squared))
    total, product = g + LIMIT, g * LIMIT
    assert float(total.inner(delta)) == pytest.approx(float(g.inner(delta) + LIMIT.inner(delta)), abs=size)
    assert float(product.inner(delta)) == pytest.approx(float(g.inner(delta) * LIMIT.inner(delta)), abs=size)
    assert (total.finite, product.finite, total.periodic, product.periodic) == (False,) * 4
    assert (total.num_features, product.num_features) == (g.num_features + 16, 16 * g.num_features)


@pytest.mark.parametrize("size", [1e-3, 1e-8, 1e-13])
def test_versines_of_sums_and_products_keep_every_digit(size):
    g, h = mappings.from_frequencies([[1.5, -0.5], [4.0, 2.0]]), mappings.laplace_limit(2, 1.3)
    delta = size * np.array([0.7, -0.4])
    with mp.workdps(60):
        exact = [mp.mpf(float(d)) for d in delta]
        phases = [sum(mp.mpf(float(b)) * d for b, d in zip(row, exact, strict=True)) for row in g.frequencies]
        squares = [mp.mpf(float(a)) ** 2 for a in g.amplitudes]
        one = sum(s * mp.cos(2 * mp.pi * t) for s, t in zip(squares, phases, strict=True)) / sum(squares)
        spread = mp.mpf(float(h.spread[0, 0]))
        other = mp.fprod(1 / (1 + (2 * mp.pi * spread * d) ** 2) for d in exact)
        product = float(1 - one * other)
        energy = [mp.mpf(float(p.norm_squared)) for p in (g, h)]
        total = float(1 - (energy[0] * one + energy[1] * other) / sum(energy))
    assert float((g * h).versine(delta)) == pytest.approx(product, rel=50 * EPS, abs=0)
    assert float((g + h).versine(delta)) == pytest.approx(total, rel=50 * EPS, abs=0)


@pytest.mark.parametrize("build", [lambda g: g + LIMIT, lambda g: g * LIMIT, lambda g: (g + LIMIT) * (LIMIT + g)])
def test_compound_mappings_answer_like_any_other(build, rng):
    g = build(mappings.gaussian(2, 3, 1.0))
    lags = rng.uniform(-1, 1, 4), rng.uniform(-1, 1, 3)
    points = np.stack(np.meshgrid(*lags, indexing="ij"), axis=-1)
    np.testing.assert_allclose(g.versine_grid(lags), g.versine(points), atol=50 * EPS)
    turned = mappings.rotate(g, 0.3)
    c, s = np.cos(0.3), np.sin(0.3)
    np.testing.assert_allclose(turned.versine(points @ np.array([[c, s], [-s, c]])), g.versine(points), atol=100 * EPS)
    np.testing.assert_allclose(g.scaled(3.0).inner(points), 3 * g.inner(points), rtol=1e-12, atol=1e-13)
    k = ns.kernel.compose(g, ns.kernel.MLP(depth=1))
    K = ns.operator.lattice(k, (3, 4))
    np.testing.assert_allclose(K.to_dense(), k.ntk(K.points), rtol=1e-11)
    with pytest.raises(ValueError, match="infinitely many frequencies"):
        g(points.reshape(-1, 2))


def test_finite_compounds_have_features(rng):
    """Nobody builds them, since Fourier mappings merge; they must still be right."""
    g, h, x = mappings.basic(2), mappings.gaussian(2, 3, 1.0), rng.random((4, 2))
    np.testing.assert_allclose(gram(mappings.SumMapping((g, h)), x), gram(g + h, x), atol=1e-13)
    np.testing.assert_allclose(gram(mappings.ProductMapping((g, h)), x), gram(g * h, x), atol=1e-13)


def test_sums_and_products_are_flat():
    g = mappings.basic(2)
    assert len(((g + LIMIT) + (LIMIT + g)).parts) == 4
    product = (g * LIMIT) * (LIMIT * g)
    assert [type(part).__name__ for part in product.parts] == ["FourierMapping", "LimitMapping", "LimitMapping"]


def test_weights_scale_inner_products_and_normalize_makes_the_norm_one():
    g, h, delta = mappings.basic(1), mappings.power_law(3, 0.0), [0.13]
    plain = mappings.concatenate([g, h], [2.0, 0.5], normalize=False)
    assert float(plain.inner(delta)) == pytest.approx(2 * float(g.inner(delta)) + 0.5 * float(h.inner(delta)))
    unit = mappings.concatenate([g, h], [2.0, 0.5])
    assert float(unit.norm_squared) == pytest.approx(1, rel=4 * EPS)
    assert float(unit.inner(delta)) == pytest.approx(float(plain.inner(delta)) / 2.5)
    mixed = mappings.concatenate([mappings.basic(2), LIMIT], [1.0, 3.0])
    assert float(mixed.norm_squared) == pytest.approx(1, rel=4 * EPS)
    assert float(mixed.parts[1].norm_squared) == pytest.approx(0.75)


@pytest.mark.parametrize("limit", [False, True])
def test_position_and_direction(limit, rng):
    position = mappings.gaussian_limit(2, 1.5, num_features=8) if limit else mappings.gaussian(2, 4, 1.5)
    direction = mappings.power_law(3, 1.0)
    x, d = rng.uniform(-1, 1, (2, 6, 2)), rng.uniform(-1, 1, (6, 1))
    delta = np.concatenate([x[0], d], axis=1)
    one, other = position.inner(x[0]), direction.inner(d)
    total = mappings.direct_sum([position, direction], [1, 3], normalize=False)
    np.testing.assert_allclose(total.inner(delta), one + 3 * other, atol=1e-13)
    product = mappings.direct_product([position, direction])
    np.testing.assert_allclose(product.inner(delta), one * other, atol=1e-13)
    assert (total.dim, product.dim) == (3, 3)
    assert product.num_features == position.num_features * direction.num_features


def test_a_lattice_of_position_and_direction_is_a_kronecker_product_before_the_network():
    g, h = mappings.gaussian(1, 3, 1.0), mappings.power_law(2, 1.0)
    product = mappings.direct_product([g, h])
    lags = np.arange(4) / 4, np.arange(3) / 3
    grid = 1 - np.asarray(product.versine_grid(lags))
    np.testing.assert_allclose(grid, np.outer(1 - g.versine_grid(lags[:1]), 1 - h.versine_grid(lags[1:])), atol=1e-13)


@settings(max_examples=20, deadline=None)
@given(fourier(), st.floats(-4, 4), LAG)
def test_turning_the_frequencies_turns_the_lags_back(g, angle, delta):
    c, s = np.cos(angle), np.sin(angle)
    R = np.array([[c, -s], [s, c]])
    by_angle, by_matrix = mappings.rotate(g, angle), mappings.rotate(g, R)
    np.testing.assert_allclose(by_angle.frequencies, g.frequencies @ R.T, atol=1e-14 * 10)
    np.testing.assert_allclose(by_matrix.frequencies, by_angle.frequencies, atol=1e-14)
    size = 1e4 * EPS * float(g.norm_squared)
    assert float(by_matrix.inner(R @ delta)) == pytest.approx(float(g.inner(delta)), abs=size)
    lengths = np.linalg.norm(g.frequencies, axis=1)
    np.testing.assert_allclose(np.linalg.norm(by_matrix.frequencies, axis=1), lengths, rtol=1e-12, atol=1e-300)


def test_the_papers_rotation_of_positional_encoding():
    root = 2**-0.5
    R1 = np.array([[root, -root, 0], [root, root, 0], [0, 0, 1]])
    R2 = np.array([[1, 0, 0], [0, root, -root], [0, root, root]])
    g = mappings.positional(3, 9, 2)
    np.testing.assert_allclose(mappings.rotate(g, R2 @ R1).frequencies, g.frequencies @ R1.T @ R2.T, atol=1e-15)


def test_an_isotropic_gaussian_limit_does_not_see_a_turn_and_a_laplace_one_does():
    delta = [0.05, 0.01]
    g, h = mappings.gaussian_limit(2, 2.0), mappings.laplace_limit(2, 2.0)
    assert float(mappings.rotate(g, 0.7).inner(delta)) == pytest.approx(float(g.inner(delta)), rel=1e-13)
    assert abs(float(mappings.rotate(h, 0.7).inner(delta)) - float(h.inner(delta))) > 1e-3


def test_a_constant_frequency_adds_a_constant():
    g = mappings.concatenate([mappings.from_frequencies([[0.0]]), mappings.basic(1)], [0.25, 0.75])
    np.testing.assert_allclose(g.inner([[0.0], [0.25], [0.5]]), [1, 0.25, -0.5], atol=1e-15)
    assert g.periodic


def test_raw_coordinates_beside_others(rng):
    x = rng.random((4, 2))
    g = mappings.concatenate([mappings.identity(2), mappings.basic(2)], [4.0, 1.0], normalize=False)
    np.testing.assert_allclose(g(x), np.concatenate([2 * x, mappings.basic(2)(x)], axis=1), rtol=1e-15)
    assert (g.dim, g.num_features, g.stationary, g.finite) == (2, 6, False, True)
    added = mappings.basic(2) + mappings.identity(2)
    assert isinstance(added, mappings.JoinedMapping)
    leaves, tree = jax.tree.flatten(g)
    np.testing.assert_array_equal(jax.tree.unflatten(tree, leaves)(x), g(x))


def test_periodic_in_space_and_raw_in_time(rng):
    x = rng.random((4, 2))
    space, time = mappings.nerf(1, 3), mappings.identity(1, low=0.0, high=5.0)
    g = mappings.direct_sum([space, time], [1.0, 4.0], normalize=False)
    np.testing.assert_allclose(g(x), np.concatenate([space(x[:, :1]), 10 * x[:, 1:]], axis=1), rtol=1e-15)
    assert (g.dim, g.num_features, g.stationary) == (2, 7, False)
    nested = mappings.direct_sum([g, space], normalize=False)
    np.testing.assert_allclose(nested(np.c_[x, x[:, 0]])[:, :7], g(x), rtol=1e-15)


def test_mappings_know_what_they_can():
    for g in (mappings.basic(2), LIMIT, LIMIT + mappings.basic(2), LIMIT * mappings.basic(2)):
        assert isinstance(g, mappings.Mapping)
        assert isinstance(g, mappings.StationaryMapping)
    raw = mappings.identity(2)
    assert isinstance(raw, mappings.Mapping)
    assert not isinstance(raw, mappings.StationaryMapping)
    assert not isinstance(ns.kernel.MLP(depth=1), mappings.Mapping)


@pytest.mark.parametrize(
    ("build", "kind", "message"),
    [
        (lambda: mappings.concatenate([]), ValueError, "no mappings were given"),
        (lambda: mappings.multiply([3]), TypeError, "a int is no mapping"),
        (lambda: mappings.basic(2) + 1, TypeError, "unsupported operand"),
        (lambda: mappings.basic(2) * 1, TypeError, "unsupported operand"),
        (lambda: mappings.basic(2) + mappings.basic(1), ValueError, r"have \[2, 1\] coordinates.*direct_sum"),
        (lambda: mappings.basic(2) * mappings.basic(1), ValueError, r"have \[2, 1\] coordinates.*direct_product"),
        (lambda: mappings.concatenate([LIMIT], [1.0, 2.0]), ValueError, r"`weights` has shape \(2,\); expected \(1,\)"),
        (lambda: mappings.concatenate([LIMIT, LIMIT], [1.0, -2.0]), ValueError, "none negative and not all zero"),
        (lambda: mappings.concatenate([LIMIT, LIMIT], [0.0, 0.0]), ValueError, "none negative and not all zero"),
        (lambda: mappings.concatenate([mappings.identity(2), LIMIT]), ValueError, "pass normalize=False"),
        (
            lambda: mappings.concatenate([mappings.identity(2), LIMIT], normalize=False),
            ValueError,
            "raw coordinates beside a limit",
        ),
        (lambda: mappings.basic(2) * mappings.identity(2), ValueError, "raw coordinates is not stationary"),
        (lambda: mappings.direct_sum([mappings.identity(2)]), ValueError, "pass normalize=False"),
        (lambda: mappings.rotate(mappings.identity(2), 0.1), ValueError, "raw coordinates is not stationary"),
        (lambda: mappings.rotate(mappings.basic(3), 0.1), ValueError, "an angle turns two coordinates.*has 3"),
        (lambda: mappings.rotate(mappings.basic(2), 2 * np.eye(2)), ValueError, "is not orthogonal"),
        (lambda: mappings.rotate(mappings.basic(2), np.eye(2)[:, :1]), ValueError, "is not orthogonal"),
        (lambda: mappings.rotate(mappings.basic(2), np.eye(3)), ValueError, r"has shape \(3, 3\); expected \(2, d'\)"),
    ],
)
def test_bad_input_is_refused_in_words(build, kind, message):
    with pytest.raises(kind, match=message):
        build()
