"""The linearised network: where it starts, that it is linear, and that it trains as its kernel says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkspec as ns

stax = ns.kernel.stax.load().stax
X = np.arange(8)[:, None] / 8
Y = np.stack([np.sin(2 * np.pi * X[:, 0]), np.cos(4 * np.pi * X[:, 0])], axis=1)
MAPPING = ns.mapping.power_law(3, p=1.0)
NETWORKS = {
    "ntk": ns.kernel.MLP(depth=2, width=16, b_std=0.3),
    "standard": ns.kernel.MLP(depth=2, width=16, activation="gelu", b_std=0.3, parametrization="standard"),
    "last layer": ns.kernel.MLP(depth=2, width=16, b_std=0.3, trained="last"),
    "stax": ns.kernel.from_stax(*stax.serial(stax.Dense(16), stax.Erf(), stax.Dense(2))),
}
STEPS = [0, 1, 10, 200]


@pytest.mark.parametrize("name", NETWORKS)
def test_it_starts_as_the_network_of_the_same_key_with_the_same_kernels(name, key):
    k = ns.kernel.compose(MAPPING, NETWORKS[name])
    line = ns.kernel.linearised(k)
    params, moved = k.init(key, 2), line.init(key, 2)
    for one, other in zip(jax.tree.leaves(params), jax.tree.leaves(moved["start"]), strict=True):
        np.testing.assert_array_equal(one, other)
    # Two programs of the same sums.
    np.testing.assert_allclose(jax.jit(line.apply)(moved, X), jax.jit(k.apply)(params, X), rtol=0, atol=1e-14)
    assert line.network.width == 16
    assert isinstance(line.network, ns.kernel.Network)


def test_its_kernels_are_those_of_the_network():
    k = ns.kernel.compose(MAPPING, NETWORKS["ntk"])
    line = ns.kernel.linearised(k)
    np.testing.assert_array_equal(line.ntk(X), k.ntk(X))
    np.testing.assert_array_equal(line.nngp_lag([[0.1]]), k.nngp_lag([[0.1]]))
    features = MAPPING(X)
    np.testing.assert_array_equal(line.network.ntk(features), k.network.ntk(features))
    np.testing.assert_array_equal(line.network.nngp(features), k.network.nngp(features))


def test_it_is_the_tangent_of_the_network(key):
    k = ns.kernel.compose(MAPPING, NETWORKS["standard"])
    line = ns.kernel.linearised(k)
    start = k.init(key, 2)
    direction = jax.tree.map(jnp.ones_like, start)

    @jax.jit
    def at(t):
        shift = jax.tree.map(lambda d: t * d, direction)
        theta = jax.tree.map(jnp.add, start, shift)
        return line.apply({"start": start, "shift": shift}, X), k.apply(theta, X)

    (f0, _), (one, _), (two, _) = at(0.0), at(1.0), at(2.0)
    np.testing.assert_allclose(two - f0, 2 * (one - f0), rtol=0, atol=1e-12 * np.abs(two).max())
    # What is left out is of second order: a tenth of the way, a hundredth of the error.
    errors = [np.abs(np.subtract(*at(t))).max() for t in (1e-3, 1e-4)]
    assert errors[0] / errors[1] == pytest.approx(100, rel=0.05)


@pytest.mark.parametrize("name", NETWORKS)
def test_training_it_is_the_discrete_descent_of_its_empirical_kernel(name):
    k = ns.kernel.compose(MAPPING, NETWORKS[name])
    line = ns.kernel.linearised(k)
    kernels = []
    for seed in range(2):
        # As the trainer draws them.
        params = k.init(jax.random.fold_in(jax.random.key(0), seed), 2)
        each = np.asarray(ns.empirical.ntk_between_outputs(k, params, X))
        kernels.append(each.transpose(0, 2, 1, 3).reshape(16, 16))
    rate = 1.0 / max(np.linalg.eigvalsh(K)[-1] for K in kernels)
    r = ns.trainer.train(line, X, Y, steps=STEPS, learning_rate=rate, seeds=2, dtype="float64")
    for seed, K in enumerate(kernels):
        value, vector = np.linalg.eigh(K)
        for step in STEPS:
            residual = vector @ ((1 - rate * value) ** step * (vector.T @ Y.ravel()))
            np.testing.assert_allclose(
                r.train.sel(seed=seed, step=step), Y - residual.reshape(Y.shape), rtol=0, atol=1e-9
            )
    if name not in ("ntk", "last layer"):
        return
    # The network itself does something else, unless it is linear in what is trained.
    network = ns.trainer.train(k, X, Y, steps=STEPS, learning_rate=rate, seeds=2, dtype="float64")
    assert (np.abs(network.train - r.train).max() > 1e-3) == (name == "ntk")


def test_refusals():
    with pytest.raises(TypeError, match="`linearised` got a str; expected a network"):
        ns.kernel.linearised("relu")
    with pytest.raises(ValueError, match="this network has no width"):
        ns.kernel.linearised(ns.kernel.MLP(depth=1)).init(jax.random.key(0), 2)
    with pytest.raises(ValueError, match="has no derivative"):
        ns.kernel.linearised(ns.kernel.MLP(depth=1, activation="sign")).ntk(X)
    images = stax.serial(stax.Conv(2, (2, 2)), stax.Relu(), stax.GlobalAvgPool(), stax.Dense(1))
    with pytest.raises(ValueError, match="a mapping gives features"):
        ns.kernel.compose(MAPPING, ns.kernel.linearised(ns.kernel.from_stax(*images)))
