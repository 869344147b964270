"""h(ρ) and its spectrum on circles and spheres."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkspec as ns

EPS = np.finfo(np.float64).eps


@pytest.fixture(params=[("relu", "ntk"), ("relu", "standard"), ("erf", "ntk")], ids="-".join)
def network(request):
    activation, parametrization = request.param
    return ns.kernel.MLP(depth=2, activation=activation, b_std=0.2, parametrization=parametrization, width=64)


@pytest.mark.parametrize("which", ["ntk", "nngp"])
def test_it_is_the_kernel_of_inputs_on_the_sphere(network, which, rng):
    x = rng.standard_normal((9, 5))
    x *= 1.7 / np.linalg.norm(x, axis=1, keepdims=True)
    h = ns.kernel.zonal(network, dim=5, norm=1.7, which=which)
    # ρ from a product is good to a unit, and a right angle away from coincidence so is the kernel.
    np.testing.assert_allclose(h(x @ x.T / 1.7**2), getattr(network, which)(x), rtol=1e-7)
    off = ~np.eye(9, dtype=bool)
    np.testing.assert_allclose(h(x @ x.T / 1.7**2)[off], getattr(network, which)(x)[off], rtol=1e-13)


def test_derivative_is_the_slope(network):
    h = ns.kernel.zonal(network, dim=3)
    rho, step = np.array([-0.9, 0.0, 0.7]), 1e-6
    slope = (h(rho + step) - h(rho - step)) / (2 * step)
    np.testing.assert_allclose(h.derivative(rho), slope, rtol=1e-8)


@pytest.mark.parametrize("dim", [2, 3, 6])
def test_eigenvalues_and_multiplicities_sum_to_the_diagonal(dim):
    """Σ λ_k N_k = h(1), for a smooth kernel to rounding."""
    h = ns.kernel.zonal(ns.kernel.MLP(depth=2, activation="erf"), dim=dim)
    s = h.spectrum(60)
    # The recurrence of the polynomials rounds by about k² units: 60² of them are 8e-13.
    assert float((s.eigenvalue * s.multiplicity).sum()) == pytest.approx(float(h(1.0)), rel=60**2 * EPS * 2)
    assert (s.eigenvalue > -(60**2) * EPS).all()
    assert float(s.eigenvalue_error.max()) < 60**2 * EPS


def test_circle_eigenvalues_are_those_of_a_fine_circulant(network):
    """The Fourier coefficients of h(cos θ), by FFT of n points: aliases of a cusp fall as n^−2."""
    h = ns.kernel.zonal(network, dim=2)
    theta = 2 * np.pi * np.arange(8192) / 8192
    coefficients = np.fft.fft(np.asarray(h.of_versine(2 * np.sin(theta / 2) ** 2))).real / 8192
    np.testing.assert_allclose(h.spectrum(8).eigenvalue, coefficients[:8], atol=3e-8 * coefficients[0])


def test_sphere_eigenvalues_are_those_of_a_polynomial():
    """A linear network has the kernel of its inputs: degree one alone, 1/d of it each."""
    h = ns.kernel.zonal(ns.kernel.MLP(depth=1, activation="identity", W_std=1.0), dim=4, norm=2.0, which="nngp")
    s = h.spectrum(5)
    np.testing.assert_allclose(s.eigenvalue, [0, 1 / 4, 0, 0, 0], atol=20 * EPS)
    assert s.multiplicity.values.tolist() == [1, 4, 9, 16, 25]


def test_it_differentiates_and_jits():
    h = ns.kernel.zonal(ns.kernel.MLP(depth=2), dim=3)
    slope = jax.jit(jax.grad(lambda h: h(0.3)))(h)
    assert float(slope.norm) == pytest.approx(2 * float(h(0.3)), rel=1e-12)
    assert bool(jnp.isfinite(slope.network.W_std))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 1}, "dim=1; expected an integer of at least 2"),
        ({"dim": 3, "norm": 0.0}, "norm=0.0; expected a positive number"),
        ({"dim": 3, "which": "both"}, "which='both'; expected 'ntk' or 'nngp'"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        ns.kernel.zonal(ns.kernel.MLP(depth=1), **options)
    with pytest.raises(ValueError, match="num_degrees=0; expected a positive integer"):
        ns.kernel.zonal(ns.kernel.MLP(depth=1), dim=2).spectrum(0)


def test_a_kernel_that_overflows_is_refused():
    h = ns.kernel.zonal(ns.kernel.MLP(depth=5, W_std=1e80), dim=3)
    with pytest.raises(ValueError, match="overflows in Dense layer"):
        h(0.5)
    with pytest.raises(ValueError, match="overflows in Dense layer"):
        h.spectrum(2)


def test_only_a_network_alone_is_zonal():
    k = ns.kernel.compose(ns.mapping.basic(2), ns.kernel.MLP(depth=1))
    with pytest.raises(TypeError, match="expected a network alone"):
        ns.kernel.zonal(k, 3)
    with pytest.raises(ValueError, match="expected an integer of at least 2"):
        ns.kernel.zonal(ns.kernel.MLP(depth=1), 2.5)
