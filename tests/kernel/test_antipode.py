"""Kernels where points oppose: every digit at every lag, of all activations whose dual has a cusp at ρ = −1."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf

import ntkspec as ns
from ntkspec.kernel import Abs, LeakyRelu, Relu, Sign

#: Relative; digits enough for differences of 1e-25 at lags of 1e-13.
BOUND, DIGITS = 4e-15, 100
FREQUENCIES = [1.0, 3.0]
#: Activations by their slope for negative inputs; the sign has none.
SLOPES = {"relu": 0.0, "abs": -1.0, "leaky": 0.9, "sign": None}
MAKE = {"relu": Relu(), "abs": Abs(), "leaky": LeakyRelu(0.9), "sign": Sign()}
#: Of one length, so that nothing is compiled anew.
LAGS = [0.5, 0.5 - 1e-13, 0.5 - 1e-9, 0.5 + 1e-6, 0.499, 0.45, 1.5 - 1e-7, 0.4]


def kernel(name, depth, which):
    k = ns.kernel.compose(ns.mapping.from_frequencies([[b] for b in FREQUENCIES]), ns.kernel.MLP(depth, MAKE[name]))
    return k.ntk_lag if which == "ntk" else k.nngp_lag


@functools.cache
def compiled(name, depth, which):
    one = kernel(name, depth, which)
    return jax.jit(jax.vmap(jax.value_and_grad(lambda delta: one(delta[None]))))


def exact(name, depth, which, delta):
    """The recursion of Cho & Saul 2009 in mpmath, from the lag itself."""
    slope, weight = SLOPES[name], mpf(2**0.5) ** 2
    second, rho = weight / 4, sum(mp.cos(2 * mp.pi * mpf(b) * delta) for b in FREQUENCIES) / len(FREQUENCIES)
    theta = second * rho
    for _ in range(depth):
        angle = mp.acos(rho)
        if slope is None:
            gain, correlation, derivative = 1 / second, 1 - 2 * angle / mp.pi, mpf("nan")
        else:
            a, gain = mpf(slope), (1 + mpf(slope) ** 2) / 2
            rectified = (mp.sin(angle) + (mp.pi - angle) * rho) / (2 * mp.pi)
            correlation = (a * rho + (1 - a) ** 2 * rectified) / gain
            derivative = a + (1 - a) ** 2 * (mp.pi - angle) / (2 * mp.pi)
        second, rho = weight * gain * second, correlation
        theta = second * rho + weight * derivative * theta
    return theta if which == "ntk" else second * rho


def slope_of(function, delta):
    h = mpf(10) ** -25
    return (function(delta + h) - function(delta - h)) / (2 * h)


def relative(value, expected):
    return abs(float((mpf(float(value)) - expected) / expected)) if expected else abs(float(value))


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize(
    ("name", "which"), [(n, w) for n in MAKE for w in ("nngp", "ntk") if (n, w) != ("sign", "ntk")]
)
def test_values_and_slopes_keep_every_digit(name, which, depth):
    values, slopes = compiled(name, depth, which)(jnp.asarray(LAGS))
    with mp.workdps(DIGITS):
        of = functools.partial(exact, name, depth, which)
        for delta, value, slope in zip(LAGS, values, slopes, strict=True):
            if delta == 0.5:
                peak = float(of(mpf(delta)))
                assert abs(float(value) - peak) <= BOUND * max(1, abs(peak))
                continue
            assert relative(value, of(mpf(delta))) <= BOUND, delta
            assert relative(slope, slope_of(of, mpf(delta))) <= BOUND, delta


@settings(max_examples=30, deadline=None)
@given(st.floats(-40, -2).map(lambda e: 0.5 - 2.0**e), st.sampled_from(["nngp", "ntk"]))
def test_relu_keeps_every_digit_at_any_lag(delta, which):
    lags = np.resize([delta, 1 - delta], len(LAGS))
    values, _ = compiled("relu", 1, which)(jnp.asarray(lags))
    with mp.workdps(DIGITS):
        for lag, value in zip(lags[:2], values, strict=False):
            assert relative(value, exact("relu", 1, which, mpf(float(lag)))) <= BOUND


#: Whose squares are no denormal numbers.
COORDINATE = st.floats(-2, 2).filter(lambda value: value == 0 or abs(value) > 1e-100)


@settings(max_examples=50, deadline=None)
@given(COORDINATE, COORDINATE)
def test_both_versines_keep_every_digit_of_a_lag(x, y):
    g = ns.mapping.from_frequencies([[1.0, 2.0], [3.0, 0.7], [-2.3, 11.0]])
    near, far = g.versines([x, y])
    with mp.workdps(DIGITS):
        turns = [mpf(float(b)) * mpf(x) + mpf(float(c)) * mpf(y) for b, c in g.frequencies]
        assert relative(near, sum(2 * mp.sin(mp.pi * t) ** 2 for t in turns) / 3) <= BOUND
        assert relative(far, sum(2 * mp.cos(mp.pi * t) ** 2 for t in turns) / 3) <= BOUND


def test_versines_of_a_product_keep_the_digits_of_opposite_factors():
    one, other = ns.mapping.from_frequencies([[1.0]]), ns.mapping.basic(1)
    both = ns.mapping.ProductMapping((one, other))
    for delta in (0.5 - 1e-9, 0.5 - 1e-4, 1e-8):
        with mp.workdps(DIGITS):
            square = mp.cos(2 * mp.pi * mpf(delta)) ** 2
            near, far = both.versines([delta])
            assert relative(near, 1 - square) <= BOUND
            assert relative(far, 1 + square) <= BOUND


def test_sums_and_products_of_the_same_parts_are_different_structures():
    parts = (ns.mapping.basic(1), ns.mapping.gaussian_limit(1, 1.0))
    total, product = ns.mapping.SumMapping(parts), ns.mapping.ProductMapping(parts)
    assert jax.tree.structure(total) != jax.tree.structure(product)
    assert jax.tree.structure(Relu()) != jax.tree.structure(Abs())
    inner = jax.jit(lambda g: g.inner([0.3]))
    assert float(inner(total)) == pytest.approx(float(total.inner([0.3])))
    assert float(inner(product)) == pytest.approx(float(product.inner([0.3])))
