import jax
import jax.numpy as jnp
import numpy as np
import oracle_mpmath
import pytest
from mpmath import mpf

from ntkspec.kernel.activation import ACTIVATIONS, angle, named, safe_sqrt

EPS = np.finfo(np.float64).eps
VERSINES = [1e-30, 1e-16, 1e-12, 1e-8, 1e-4, 0.1, 0.45, 0.4597, 0.46, 1.0, 1.5, 1.9, 2 - 1e-4, 2 - 1e-8]


@pytest.fixture(params=sorted(ACTIVATIONS))
def activation(request):
    return named(request.param)


def test_relu_dual_against_mpmath_to_relative_precision():
    dual = named("relu").dual(jnp.asarray(3.0), jnp.asarray(0.5), jnp.asarray(VERSINES))
    expected = [oracle_mpmath.relu_dual(3, 0.5, mpf(v)) for v in VERSINES]
    # The series ends at 1e-16 of its sum and θ carries a few units, which the cube in it triples.
    np.testing.assert_allclose(dual.versine, [float(v) for v, _ in expected], rtol=40 * EPS)
    # Near θ = π the difference π − θ is good to a unit of π.
    np.testing.assert_allclose(dual.derivative, [float(d) for _, d in expected], rtol=8 * EPS, atol=2 * EPS)
    assert (float(dual.second_x), float(dual.second_z)) == (1.5, 0.25)


@pytest.mark.parametrize(("versine", "theta"), [(0, 0), (1, np.pi / 2), (2, np.pi), (0.5, np.pi / 3)])
def test_angle(versine, theta):
    assert float(angle(versine)) == pytest.approx(theta, rel=2 * EPS)


def test_dual_is_the_gaussian_expectation(activation):
    """Every activation against plain Monte Carlo of its own `__call__`."""
    rng = np.random.default_rng(0)
    q_x, q_z, correlation = 1.3, 0.4, 0.35
    u, v = rng.standard_normal((2, 400_000))
    u, v = np.sqrt(q_x) * u, np.sqrt(q_z) * (correlation * u + np.sqrt(1 - correlation**2) * v)
    dual = activation.dual(jnp.asarray(q_x), jnp.asarray(q_z), jnp.asarray(1 - correlation))
    phi_u, phi_v = np.asarray(activation(u)), np.asarray(activation(v))
    slope = jax.vmap(jax.grad(lambda s: activation(s)))
    covariance = jnp.sqrt(dual.second_x * dual.second_z) * (1 - dual.versine)
    for samples, expected in [
        (phi_u**2, dual.second_x),
        (phi_v**2, dual.second_z),
        (phi_u * phi_v, covariance),
        (np.asarray(slope(u)) * np.asarray(slope(v)), dual.derivative),
    ]:
        error = samples.std() / np.sqrt(len(samples))
        assert abs(samples.mean() - float(expected)) < 5 * error


def test_dual_has_finite_gradients_everywhere(activation):
    for q, versine in [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 2.0)]:
        slopes = jax.grad(lambda *args: sum(activation.dual(*args)), argnums=(0, 1, 2))(q, 1.0, versine)
        assert np.isfinite(slopes).all()


def test_safe_sqrt_is_zero_with_zero_slope_below_zero():
    x = jnp.array([-1.0, 0.0, 4.0])
    assert safe_sqrt(x).tolist() == [0, 0, 2]
    assert jax.vmap(jax.grad(safe_sqrt))(x).tolist() == [0, 0, 0.25]


def test_an_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match=r"activation='swish' is not known; expected one of .*relu"):
        named("swish")
