"""Residual and skip connections, a standard deviation for each layer, and the last layer alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkspec as ns

X = np.random.default_rng(0).standard_normal((3, 4))
OPTIONS = {
    "residual": {"residual": True, "b_std": 0.3},
    "skip": {"skip": 2},
    "residual and skip": {"residual": True, "skip": 1},
    "last": {"trained": "last", "b_std": 0.3},
    "each layer": {"W_std": (1.0, 1.5, 2.0, 1.0), "b_std": (0.1, 0.2, 0.3, 0.4)},
}


def network(option, parametrization="ntk", width=256):
    return ns.kernel.MLP(depth=3, parametrization=parametrization, width=width, **OPTIONS[option])


@pytest.mark.parametrize("parametrization", ["ntk", "standard"])
@pytest.mark.parametrize("option", OPTIONS)
def test_kernels_are_those_of_the_finite_network(option, parametrization):
    """The Jacobian's Gram and the outputs' covariance of random networks, averaged, at the rate of Monte Carlo."""
    net = network(option, parametrization)

    @jax.jit
    def sample(key):
        params = net.init(key, X.shape[1])
        jacobian = jax.jacrev(lambda p: net.apply(p, X)[:, 0])(params)
        rows = jnp.concatenate([leaf.reshape(len(X), -1) for leaf in jax.tree.leaves(jacobian)], axis=1)
        wide = net.apply(net.init(key, X.shape[1], outputs=128), X)
        return rows @ rows.T, wide @ wide.T / 128

    samples = [sample(jax.random.key(i)) for i in range(24)]
    for k, analytic in enumerate((net.ntk(X), net.nngp(X))):
        values, analytic = np.asarray([s[k] for s in samples]), np.asarray(analytic)
        error = values.std(axis=0, ddof=1) / len(values) ** 0.5
        # 4.5 standard errors over 6 entries, and the bias of a finite width, of order depth/width.
        assert (abs(values.mean(axis=0) - analytic) < 4.5 * error + 3 / 256 * analytic.max()).all()
        assert (error < 0.08 * analytic.max()).all()


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_changes_the_kernel_and_keeps_it_symmetric_and_positive(option):
    K = np.asarray(network(option).ntk(np.vstack([X, X[:1], np.zeros((1, 4))])))
    plain = np.asarray(ns.kernel.MLP(depth=3, width=256).ntk(np.vstack([X, X[:1], np.zeros((1, 4))])))
    assert abs(K - plain).max() > 0.01 * plain.max()
    np.testing.assert_array_equal(K, K.T)
    np.testing.assert_array_equal(K[0], K[3])
    assert np.linalg.eigvalsh(K)[0] > -1e-14 * K.max()


def test_one_number_is_the_same_as_one_for_each_layer():
    one = ns.kernel.MLP(depth=2, W_std=1.3, b_std=0.2)
    many = ns.kernel.MLP(depth=2, W_std=[1.3] * 3, b_std=np.full(3, 0.2))
    np.testing.assert_allclose(one.ntk(X), many.ntk(X), rtol=1e-15)


def test_it_differentiates_in_every_layers_deviation():
    net = network("each layer")
    slope = jax.grad(lambda net: net.ntk(X)[0, 1])(net)
    for layer in range(4):
        step = np.zeros(4)
        step[layer] = 1e-6
        up, down = (
            ns.kernel.MLP(depth=3, W_std=tuple(np.array(net.W_std) + s * step), b_std=net.b_std).ntk(X)[0, 1]
            for s in (1, -1)
        )
        assert float(slope.W_std[layer]) == pytest.approx(float(up - down) / 2e-6, rel=1e-6)


def test_training_the_last_layer_leaves_the_others_alone():
    net = network("last", width=16)
    params = net.init(jax.random.key(0), 4)
    gradient = jax.grad(lambda p: jnp.sum(net.apply(p, X) ** 2))(params)
    moved = [bool(jnp.any(layer["w"] != 0)) for layer in gradient]
    assert moved == [False, False, False, True]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"W_std": (1.0, 2.0)}, r"W_std is an array of shape \(2,\); expected one number, or one for each of 4"),
        ({"W_std": (1.0, 2.0, -1.0, 1.0)}, "W_std=-1.0; expected a positive number"),
        ({"b_std": [0.0, 0.0, -0.1, 0.0]}, "b_std=-0.1; expected a number of at least 0"),
        ({"skip": 4}, "skip=4; expected a Dense layer between 1 and depth=3"),
        ({"skip": 0}, "skip=0; expected a Dense layer between 1 and depth=3"),
        ({"trained": "first"}, "trained='first'; expected 'all' or 'last'"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ns.kernel.MLP(depth=3, **options)
