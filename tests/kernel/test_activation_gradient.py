"""Derivatives of kernels in every parameter, for every activation, where they are easy and where they are not."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle_accuracy
import pytest

import ntkspec as ns
from ntkspec.kernel import MLP, Gaussian, LeakyRelu, Polynomial, Sin
from ntkspec.kernel.activation import named

#: With parameters of its own: each of its leaves is differentiated as well.
CASES = {name: named(name) for name in oracle_accuracy.names()} | {
    "leaky_relu": LeakyRelu(0.2),
    "siren": Sin(omega=30.0),
    "sin": Sin(omega=1.3, phase=0.4, amplitude=0.7),
    "rbf": ns.kernel.rbf(0.8),
    "gaussian": Gaussian(0.6),
    "polynomial": Polynomial((0.1, 0.5, 0.3)),
}
#: Coincident, nearly so, apart, and far.
LAGS = np.array([[0.0, 0.0], [3e-5, 0.0], [0.13, 0.21], [0.4, 0.45]])
#: Second moments and versine of raw inputs: zero-norm ones; coincident, nearly so, orthogonal and opposite ones.
RAW = [(0.0, 0.0, 1.0), (0.0, 0.7, 1.0), *((0.8, 0.8, v) for v in (0.0, 1e-8, 0.7, 1.0, 2.0))]


def kernel_of(name):
    """Two frequencies of three are the same."""
    scale = oracle_accuracy.SCALES.get(name, 0.9)
    network = MLP(depth=1, activation=CASES[name], W_std=scale, b_std=scale / 4)
    kernel = ns.kernel.compose(ns.mapping.from_frequencies([[1.0, 0], [1.0, 0], [0.6, 1.7]], [0.5, 0.3, 0.8]), network)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype=float), kernel)


@jax.jit
def values_and_slopes(kernel, weights):
    """Θ (K without derivative) at the lags and of the raw inputs, and the derivatives of their weighted sum."""

    def values(kernel):
        lag = kernel.ntk_lag if kernel.network.activation.differentiable else kernel.nngp_lag
        raw = kernel.network.kernels(*jnp.asarray(RAW).T, 4)
        which = raw.ntk if kernel.network.activation.differentiable else raw.nngp
        return jnp.concatenate([lag(jnp.asarray(LAGS)), which])

    found, pull_back = jax.vjp(values, kernel)
    return found, pull_back(weights)[0]


@pytest.mark.parametrize("name", CASES)
def test_every_derivative_is_that_of_finite_differences(name):
    """d(kernel)/d(amplitudes, frequencies, W_std, b_std and the activation's own parameters)."""
    kernel = kernel_of(name)
    leaves, tree = jax.tree.flatten(kernel)
    unit = np.eye(len(LAGS) + len(RAW))
    # A program of one vector of weights compiles in a fraction of the time of a whole Jacobian.
    each = [jax.tree.leaves(values_and_slopes(kernel, weights)[1]) for weights in unit]
    slopes = [np.stack(rows) for rows in zip(*each, strict=True)]
    own = len(jax.tree.leaves(CASES[name]))
    assert len(leaves) == len(slopes) == 4 + own
    for i, (leaf, slope) in enumerate(zip(leaves, slopes, strict=True)):
        direction = np.random.default_rng(i).standard_normal(np.shape(leaf)) if np.ndim(leaf) else np.ones(())
        h = 2e-6 * max(1.0, float(np.abs(leaf).max()))

        def at(s, i=i, direction=direction, h=h):
            moved = [jnp.asarray(l + s * h * direction if j == i else l, dtype=float) for j, l in enumerate(leaves)]
            return np.asarray(values_and_slopes(jax.tree.unflatten(tree, moved), unit[0])[0])

        found = slope.reshape(len(unit), -1) @ direction.ravel()
        differences = (at(1) - at(-1)) / (2 * h)
        # ε/h rounding of the values, and h² times third derivatives of the size of ω².
        scale = max(np.abs(found).max(), np.abs(at(0)).max())
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found, differences, rtol=1e-6, atol=3e-9 * scale, err_msg=f"leaf {i}")
        # A phase of 0 is a point of symmetry, and a sign has no size.
        if np.ndim(leaf) == 0 and leaf != 0 and not (name == "sign" and i == 2):
            assert np.abs(found).max() > 0, "a parameter that changes nothing"


@pytest.mark.slow
def test_a_gradient_through_a_long_series_keeps_coefficients_alone():
    """Its memory is that of the points times terms, and of the pairs; not of pairs, or of nodes, times terms."""
    from ntkspec.kernel.activation import _hermite as hermite

    n, (longest, nodes) = 100, hermite.RULES[-1]
    with_respect_to = jax.jit(jax.grad(lambda x: MLP(depth=1, activation="tanh").ntk(x).sum()))
    stored = with_respect_to.lower(jnp.ones((n, 2))).compile().memory_analysis().temp_size_in_bytes
    # Coefficients of φ and φ' of both sides, times k, and the cotangents of all: sixteen, and a copy of some.
    bound = 8 * (20 * longest * n + 100 * n**2)
    assert bound < 8 * longest * min(n**2, nodes)
    assert stored < bound
