"""An operator that knows its modes is exact everywhere: in spectrum, norm, prediction and generalisation."""

from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkspec as ns
from ntkspec.limits import limited
from ntkspec.operator._base import OnPoints
from ntkspec.operator._modes import Modes, PlaneWaves, all_modes


class Kronecker(OnPoints):
    """A ⊗ B: a toy operator of which only products and modes are written down."""

    left: jax.Array
    right: jax.Array

    def matvec(self, v):
        return (self.left @ v.reshape(len(self.left), -1) @ self.right).ravel()

    def diagonal(self):
        return jnp.kron(jnp.diagonal(self.left), jnp.diagonal(self.right))

    def to_dense(self):
        return jnp.kron(self.left, self.right)

    def frobenius_norm(self):
        return jnp.linalg.norm(self.left) * jnp.linalg.norm(self.right)

    def modes(self):
        (a, U), (b, V) = (np.linalg.eigh(np.asarray(part)) for part in (self.left, self.right))
        return KroneckerModes(self, np.kron(a, b), U, V)


@dataclass(frozen=True)
class KroneckerModes(Modes):
    left: np.ndarray
    right: np.ndarray

    @cached_property
    def basis(self):
        return np.kron(self.left, self.right)

    def coefficients(self, columns):
        return self.basis.T @ np.asarray(columns)

    def combine(self, functions, coefficients):
        return np.stack([self.basis @ (f[:, None] * coefficients) for f in functions.T])

    def vectors(self, index):
        return self.basis[:, index]

    def _diagonal(self, functions):
        return (self.basis**2 @ functions).T


@pytest.fixture(scope="module")
def toy():
    rng = np.random.default_rng(0)
    factors = [rng.standard_normal((n, n)) / np.sqrt(n) for n in (3, 5)]
    left, right = (jnp.asarray(F @ F.T) for F in factors)
    return Kronecker(jnp.asarray(np.arange(15.0)[:, None] / 15), left, right)


@pytest.fixture(scope="module")
def matrix(toy):
    return ns.operator.Dense(toy.coordinates, toy.to_dense())


def test_its_norm_and_spectrum_take_no_products(toy, matrix):
    with limited(exact_points=0):
        spectrum, trace = ns.eigen.spectrum(toy), ns.eigen.trace_of(toy, np.exp)
        density = ns.eigen.density(toy, eigenvalue=[0.01, 0.1])
    expected = ns.eigen.spectrum(matrix)
    top = float(expected.eigenvalue[0])
    assert ns.operator.largest_eigenvalue(toy) == pytest.approx(top, rel=1e-14)
    np.testing.assert_allclose(spectrum.eigenvalue, expected.eigenvalue, atol=1e-14 * top)
    np.testing.assert_allclose(spectrum.dominant_power, expected.dominant_power, atol=1e-9)
    assert spectrum.attrs["complete"] == 1
    assert trace.attrs["num_products"] == density.attrs["num_products"] == 0
    assert float(trace.trace) == pytest.approx(float(np.exp(expected.eigenvalue).sum()), rel=1e-13)


def test_a_prediction_is_exact_and_takes_no_products(toy, matrix):
    y = np.random.default_rng(1).standard_normal((15, 2))
    asked = {"steps": [1, 10, 1000], "learning_rate": 0.5 / ns.operator.largest_eigenvalue(toy)}
    found, expected = ns.predict(toy, y, **asked), ns.predict(matrix, y, tolerance=1e-11, **asked)
    assert found.attrs["num_products"] == 0
    np.testing.assert_allclose(found.train, expected.train, rtol=0, atol=1e-11 * np.linalg.norm(y))


def test_generalisation_takes_them_whatever_the_size(toy, matrix):
    y = np.random.default_rng(1).standard_normal(15)
    with limited(exact_points=0):
        found = ns.generalisation.leave_one_out(toy, y, ridge=0.1)
        assert ns.eigen.alignment(toy, y, eigenvalue=[0.1]).attrs["num_products"] == 0
    expected = ns.generalisation.leave_one_out(matrix, y, ridge=0.1)
    np.testing.assert_allclose(found.residual, expected.residual, rtol=1e-11)


@pytest.mark.parametrize("kind", ["1d", "2d", "2d periodic", "low rank"])
def test_combining_coefficients_is_applying(kind, kernels, lattices):
    points = np.random.default_rng(0).random((30, 1))
    K = ns.operator.low_rank(kernels["1d"], points, tol=1e-3) if kind == "low rank" else lattices[kind]
    modes, y = all_modes(K), np.random.default_rng(1).standard_normal((K.num_points, 2))
    # Of K itself, and of the identity.
    functions = np.stack([modes.eigenvalue, np.ones_like(modes.eigenvalue)], axis=1)
    for columns in (y, jnp.asarray(y)):
        product, same = modes.combine(functions, modes.coefficients(columns))
        np.testing.assert_allclose(product, K @ y, atol=1e-12)
        np.testing.assert_allclose(same, y, atol=1e-14)
    index = np.arange(min(3, modes.num_vectors))
    U = modes.vectors(index)
    np.testing.assert_allclose(np.linalg.norm(U, axis=0), 1, rtol=1e-13)
    products = np.asarray(K @ U.real) + (1j * np.asarray(K @ U.imag) if np.iscomplexobj(U) else 0)
    np.testing.assert_allclose(products, U * modes.eigenvalue[index], atol=1e-12)


def test_plane_waves_stay_on_the_device_of_their_labels(lattices):
    modes = lattices["2d periodic"].modes()
    assert isinstance(modes, PlaneWaves)
    assert isinstance(modes.coefficients(jnp.ones((30, 1))), jax.Array)
    assert modes.waves == lattices["2d periodic"].sublattice.grid
    assert modes.weight.sum() == 30


def test_modes_are_none_without_a_structure_and_above_the_limit(lattices, masked):
    for K in (lattices["1d"], masked["2d"][0]):
        assert K.modes() is None
        assert all_modes(K).num_points == K.num_points
        with limited(exact_points=K.num_points - 1):
            assert all_modes(K) is None
