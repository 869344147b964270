"""Learned amplitudes and frequencies: gradients through kernel and lattice against finite differences."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkspec as ns
from ntkspec import mapping as mappings

NET = ns.kernel.MLP(depth=2, b_std=0.1)
LAGS = np.array([[0.0, 0.0], [0.03, -0.1], [0.4, 0.25]])
B = np.array([[1.3, 0.2], [-0.7, 2.1], [0.0, 0.0]])
A = np.array([0.5, 0.9, 0.3])


def by_lag(which):
    return lambda b, a: (
        getattr(ns.kernel.compose(mappings.FourierMapping(b, a), NET), f"{which}_lag")(LAGS) @ jnp.arange(1.0, 4)
    )


def by_lattice(mask=None):
    def value(b, a):
        K = ns.operator.lattice(ns.kernel.compose(mappings.FourierMapping(b, a), NET), (4, 3), mask)
        v = jnp.cos(jnp.arange(float(K.num_points)))
        return v @ (K @ v)

    return value


MASK = np.ones((4, 3), bool)
MASK[1, 2] = MASK[0, 0] = False
NUMBERS = {"ntk": by_lag("ntk"), "nngp": by_lag("nngp"), "lattice": by_lattice(), "masked": by_lattice(MASK)}


def differences(f, x, h=1e-5):
    slope = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[index] = h
        # Fourth order, so that rounding of 1e-11 is all that is left.
        slope[index] = (8 * (f(x + step) - f(x - step)) - (f(x + 2 * step) - f(x - 2 * step))) / (12 * h)
    return slope


@pytest.mark.parametrize("name", NUMBERS)
def test_gradients_are_finite_differences(name):
    f = NUMBERS[name]
    by_frequency, by_amplitude = jax.grad(f, argnums=(0, 1))(B, A)
    plain = jax.jit(f)
    scale = float(np.abs(by_amplitude).max())
    np.testing.assert_allclose(by_amplitude, differences(lambda a: plain(B, a), A), rtol=1e-6, atol=1e-7 * scale)
    np.testing.assert_allclose(by_frequency, differences(lambda b: plain(b, A), B), rtol=1e-6, atol=1e-7 * scale)


def test_gradients_through_sums_products_and_turns():
    def value(a):
        g = mappings.with_amplitudes(mappings.basic(2), a)
        both = mappings.rotate(g * mappings.gaussian_limit(2, 1.0) + g, 0.3)
        return ns.kernel.compose(both, NET).ntk_lag([0.1, 0.2])

    a = np.array([0.6, 0.7])
    np.testing.assert_allclose(jax.jit(jax.grad(value))(a), differences(jax.jit(value), a), rtol=1e-6)


def test_amplitudes_can_be_learned_under_jit():
    """Fit the amplitudes of 1 … 4 to the inner product of other ones."""
    target = mappings.power_law(4, p=1.0, normalize=False)
    lags = np.arange(16)[:, None] / 16

    @jax.jit
    @jax.grad
    def slope(a):
        return jnp.mean((mappings.with_amplitudes(target, a).inner(lags) - target.inner(lags)) ** 2)

    a = jnp.ones(4)
    for _ in range(300):
        a = a - 0.2 * slope(a)
    np.testing.assert_allclose(jnp.abs(a), target.amplitudes, atol=1e-3)


def test_mappings_and_lattices_are_built_inside_a_trace():
    """Constants in a trace are looked at and checked as outside."""

    @jax.jit
    def value(a):
        assert mappings.power_law(2, 1.0).periodic
        g = mappings.with_amplitudes(mappings.power_law(2, 1.0), a)
        both = mappings.concatenate([g, mappings.gaussian_limit(1, 2.0)], [0.5, 0.5])
        with pytest.raises(ValueError, match="scale=-1"):
            mappings.gaussian(1, 2, -1)
        return ns.operator.lattice(ns.kernel.compose(g, NET), (4,)).lags(), both.inner([0.1])

    lags, inner = value(jnp.array([0.6, 0.8]))
    assert lags.shape == (4,)
    assert np.isfinite(inner)


def test_with_amplitudes_keeps_the_frequencies():
    g = mappings.power_law(3, p=1.0)
    other = mappings.with_amplitudes(g, [3.0, 0.0, 4.0])
    assert other.frequencies is g.frequencies
    assert other.amplitudes.tolist() == [3, 0, 4]
    np.testing.assert_allclose(mappings.with_amplitudes(g, [3, 0, 4], normalize=True).amplitudes, [0.6, 0, 0.8])
    replaced = dataclasses.replace(g, amplitudes=jnp.array([3.0, 0.0, 4.0]))
    np.testing.assert_array_equal(replaced.inner([0.1]), other.inner([0.1]))


@pytest.mark.parametrize(
    ("build", "kind", "message"),
    [
        (
            lambda: mappings.with_amplitudes(mappings.basic(2), [1.0]),
            ValueError,
            r"`a` has shape \(1,\); expected \(2,\)",
        ),
        (lambda: mappings.with_amplitudes(mappings.basic(2), [0, 0]), ValueError, "only zeros"),
        (lambda: mappings.with_amplitudes(mappings.identity(2), [1.0]), TypeError, "`mapping` is a IdentityMapping"),
    ],
)
def test_bad_input_is_refused_in_words(build, kind, message):
    with pytest.raises(kind, match=message):
        build()
