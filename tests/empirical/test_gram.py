"""The empirical NTK against Jacobians by brute force, neural-tangents, and the kernel of infinite width."""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import oracle_accuracy
import oracle_jacobian
import pytest

import ntkspec as ns
from ntkspec.empirical._rows import rows_of
from ntkspec.kernel._base import Network, is_layered
from ntkspec.kernel.activation import ACTIVATIONS, named
from ntkspec.limits import limited

EPS = np.finfo(np.float64).eps
nt = ns.kernel.stax.load()
stax = nt.stax

X = np.random.default_rng(0).random((7, 2))
Z = np.random.default_rng(1).random((5, 2))
MAPPING = ns.mapping.gaussian(2, 4, scale=1.0)
OUTPUTS = 3
ARCHITECTURES = {
    "ntk": {"b_std": 0.3},
    "standard": {"b_std": 0.3, "W_std": 1.2, "parametrization": "standard"},
    "residual": {"b_std": 0.3, "residual": True},
    "skip": {"b_std": 0.3, "skip": 2, "W_std": (1.0, 2.0, 1.5, 0.7)},
    "skip to the last": {"skip": 3, "parametrization": "standard"},
    "last layer": {"trained": "last", "b_std": (0.1, 0.2, 0.3, 0.4)},
}


def composed(**options):
    return ns.kernel.compose(MAPPING, ns.kernel.MLP(**{"depth": 3, "width": 6, **options}))


def stax_network(width=6, outputs=OUTPUTS, depth=2):
    hidden = [layer for _ in range(depth) for layer in (stax.Dense(width, W_std=1.3, b_std=0.2), stax.Relu())]
    return ns.kernel.from_stax(*stax.serial(*hidden, stax.Dense(outputs, W_std=1.3, b_std=0.2)))


@functools.cache
def case(name):
    """A kernel with parameters away from initialisation, and its kernel between all points and outputs."""
    k = ns.kernel.compose(MAPPING, stax_network()) if name == "stax" else composed(**ARCHITECTURES[name])
    params = jax.tree.map(lambda leaf: 1.1 * leaf + 0.05, k.init(jax.random.key(5), OUTPUTS))
    return k, params, *oracle_jacobian.kernels(k.apply, params, X, Z)


CASES = [*ARCHITECTURES, "stax"]


@pytest.mark.parametrize("name", CASES)
def test_kernels_are_those_of_the_jacobian(name):
    k, params, square, cross = case(name)
    # Sums of a hundred products or so, and of a few layers.
    same = functools.partial(np.testing.assert_allclose, rtol=0, atol=200 * EPS * abs(square).max())
    same(ns.empirical.ntk(k, params, X, Z), np.einsum("ijcc->ij", cross) / OUTPUTS)
    same(ns.empirical.ntk(k, params, X), np.einsum("ijcc->ij", square) / OUTPUTS)
    same(ns.empirical.ntk(k, params, X, output=1), square[:, :, 1, 1])
    same(ns.empirical.ntk_between_outputs(k, params, X, Z), cross)
    same(ns.empirical.ntk_between_outputs(k, params, X), square)


@pytest.mark.parametrize("name", CASES)
def test_square_kernels_are_symmetric_and_positive(name):
    k, params, *_ = case(name)
    K = np.asarray(ns.empirical.ntk(k, params, X))
    np.testing.assert_array_equal(K, K.T)
    assert np.linalg.eigvalsh(K).min() > -100 * EPS * K.max()
    both = np.asarray(ns.empirical.ntk_between_outputs(k, params, X)).transpose(0, 2, 1, 3).reshape((OUTPUTS * 7,) * 2)
    np.testing.assert_array_equal(both, both.T)
    assert np.linalg.eigvalsh(both).min() > -200 * EPS * both.max()


@pytest.mark.parametrize("name", ["ntk", "stax"])
def test_linearised_networks_keep_the_kernel_they_start_with(name):
    k, params, square, _ = case(name)
    line = ns.kernel.linearised(k)
    assert isinstance(line.network, Network)
    assert is_layered(line.network) == (name == "ntk")
    moved = {"start": params, "shift": jax.tree.map(jnp.ones_like, params)}
    expected = np.einsum("ijcc->ij", square) / OUTPUTS
    np.testing.assert_allclose(ns.empirical.ntk(line, moved, X), expected, rtol=0, atol=200 * EPS * abs(square).max())
    # The general rows, from gradients of the linearised function itself.
    found = oracle_jacobian.kernels(line.apply, moved, X, Z)[0]
    np.testing.assert_allclose(found, square, rtol=0, atol=200 * EPS * abs(square).max())


@pytest.mark.parametrize("name", ["ntk", "stax"])
@pytest.mark.parametrize("symmetric", [True, False])
def test_strips_and_tiles_do_not_show(name, symmetric):
    k, params, *_ = case(name)
    z = None if symmetric else Z
    whole = np.asarray(ns.empirical.ntk(k, params, X, z))
    steps = []

    class Reporter(ns.progress.NoProgress):
        def advance(self, n=1, **fields):
            steps.append(n)

    with limited(block=2):
        strips = np.asarray(ns.empirical.ntk(k, params, X, z, progress=Reporter()))
    # Strips of two points: of a square matrix those on and above the diagonal.
    assert sum(steps) == (10 if symmetric else 12)
    np.testing.assert_allclose(strips, whole, rtol=0, atol=50 * EPS * whole.max())
    if symmetric:
        np.testing.assert_array_equal(strips, strips.T)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_matrices_of_several_tiles(dtype):
    k = composed(depth=1)
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), k.init(jax.random.key(0)))
    x = np.random.default_rng(0).random((300, 2))
    tiled = [np.asarray(ns.empirical.ntk(k, params, x, z)) for z in (None, x[:5])]
    with limited(block=300):
        whole = [np.asarray(ns.empirical.ntk(k, params, x, z)) for z in (None, x[:5])]
    for found, expected in zip(tiled, whole, strict=True):
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected, rtol=0, atol=50 * np.finfo(dtype).eps * expected.max())
    np.testing.assert_array_equal(tiled[0], tiled[0].T)


@pytest.mark.parametrize("implementation", [1, 2])
@pytest.mark.parametrize("name", ["mlp", "stax"])
def test_float32_agrees_with_neural_tangents(name, implementation):
    x = np.random.default_rng(2).random((12, 2))
    network = stax_network(64, 2) if name == "stax" else ns.kernel.MLP(depth=2, width=64, b_std=0.1)
    k = ns.kernel.compose(MAPPING, network)
    params = jax.tree.map(lambda leaf: leaf.astype("float32"), k.init(jax.random.key(0), 2))
    features = k.mapping(x).astype("float32")
    for ours, options in ((ns.empirical.ntk, {}), (ns.empirical.ntk_between_outputs, {"trace_axes": ()})):
        theirs = nt.empirical_ntk_fn(network.apply, vmap_axes=0, implementation=implementation, **options)
        with warnings.catch_warnings():
            # It asks for the size of what is no array.
            warnings.simplefilter("ignore", DeprecationWarning)
            expected = np.asarray(jax.jit(theirs)(features, None, params))
        found = ours(k, params, x)
        assert found.dtype == expected.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * expected.max())


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if named(name).differentiable])
def test_every_activation(name):
    scale = oracle_accuracy.SCALES.get(name, 1.0)
    net = ns.kernel.MLP(depth=2, activation=name, W_std=0.9 * scale, b_std=0.2 * scale, width=4)
    params = net.init(jax.random.key(1), 2)

    @jax.jit
    def both(params):
        rows = rows_of(net, params, None)
        jacobian = jax.tree.leaves(jax.jacrev(lambda p: net.apply(p, X)[:, 0])(params))
        return rows.tile(rows.rows(X), rows.rows(X)), [leaf.reshape(7, -1) for leaf in jacobian]

    found, jacobian = both(params)
    expected = sum(np.asarray(leaf) @ np.asarray(leaf).T for leaf in jacobian)
    np.testing.assert_allclose(found, expected, rtol=0, atol=200 * EPS * expected.max())


@pytest.mark.parametrize("parametrization", ["ntk", "standard"])
def test_fluctuations_around_the_infinite_kernel_fall_as_the_root_of_the_width(parametrization):
    error = {}
    for width in (32, 512):
        k = composed(depth=2, width=width, b_std=0.2, parametrization=parametrization)
        exact = np.asarray(k.ntk(X))
        drawn = [np.asarray(ns.empirical.ntk(k, k.init(jax.random.key(i)), X)) for i in range(12)]
        error[width] = np.mean([np.linalg.norm(K - exact) for K in drawn]) / np.linalg.norm(exact)
    # √16 = 4; means of 12 positive numbers that scatter by about a half are known to 15 % each.
    assert 2.4 < error[32] / error[512] < 6.5
    assert error[512] < 0.2


def test_raw_inputs_and_networks_alone():
    net = ns.kernel.MLP(depth=1, width=5)
    params = net.init(jax.random.key(0), 2)
    expected = oracle_jacobian.kernels(net.apply, params, X, Z)[0][:, :, 0, 0]
    np.testing.assert_allclose(ns.empirical.ntk(net, params, X), expected, rtol=1e-13)
    conv = ns.kernel.from_stax(*stax.serial(stax.Conv(2, (2, 2)), stax.Relu(), stax.GlobalAvgPool(), stax.Dense(1)))
    images = np.random.default_rng(0).standard_normal((4, 3, 3, 1))
    params = conv.init(jax.random.key(0), (3, 3, 1))
    expected = oracle_jacobian.kernels(conv.apply, params, images, images)[0][:, :, 0, 0]
    np.testing.assert_allclose(ns.empirical.ntk(conv, params, images), expected, rtol=1e-12, atol=1e-14)
    K = ns.empirical.operator(conv, params, images)
    np.testing.assert_allclose(K @ np.ones(4), expected @ np.ones(4), rtol=1e-12, atol=1e-14)
    assert K.points.shape == (4, 9)
    assert K.placement is None


K3 = composed()
PARAMS = K3.init(jax.random.key(0), 2)


@pytest.mark.parametrize(
    ("params", "x", "message"),
    [
        (composed(depth=2).init(jax.random.key(0)), X, r"not of this network .*params\[3\]\['\w'\] is missing"),
        (composed(width=5).init(jax.random.key(0)), X, r"params\[0\]\['b'\] has shape \(5,\), expected \(6,\)"),
        (composed(skip=2).init(jax.random.key(0)), X, r"params\[2\]\['skip'\] .*expected none of that name"),
        (jax.tree.map(lambda leaf: jnp.stack([leaf] * 4), PARAMS), X, r"those of 4 networks, .*leaf\[0\]"),
        # As many networks as features, whose products would broadcast.
        (jax.tree.map(lambda leaf: jnp.stack([leaf] * 8), PARAMS), X, r"those of 8 networks, .*leaf\[0\]"),
        ({}, X, "is missing"),
        (PARAMS, X[:, :1], r"points have shape \(7, 1\); expected \(n, 2\)"),
        (PARAMS, X[:0], "holds no points"),
        (PARAMS, np.full((2, 2), np.nan), "NaN or infinity"),
    ],
    ids=["depth", "width", "skip", "stacked", "stacked by features", "none", "dim", "no points", "nan"],
)
def test_bad_input_is_refused_in_words(params, x, message):
    e = ns.empirical
    for ask in (e.ntk, e.ntk_between_outputs, e.operator, e.dense):
        with pytest.raises(ValueError, match=message):
            ask(K3, params, x)


def test_other_bad_input_is_refused_in_words():
    with pytest.raises(TypeError, match="`k` is a dict; expected a network"):
        ns.empirical.ntk({}, PARAMS, X)
    for ask in (ns.empirical.ntk, ns.empirical.operator):
        with pytest.raises(ValueError, match=r"output=2; expected None, .* one of 2"):
            ask(K3, PARAMS, X, output=2)
    net = ns.kernel.MLP(depth=1, width=5)
    with pytest.raises(ValueError, match=r"`z` has inputs of shape \(1,\); expected those of `x`, \(2,\)"):
        ns.empirical.ntk(net, net.init(jax.random.key(0), 2), X, Z[:, :1])
    with pytest.raises(ValueError, match=r"`x` has shape \(7,\); expected finite inputs"):
        ns.empirical.ntk(net, net.init(jax.random.key(0), 2), X[:, 0])
    with pytest.raises(TypeError, match="inputs are strings; expected numbers"):
        ns.empirical.ntk(net, net.init(jax.random.key(0), 2), X.astype(str))
    for ask in (ns.empirical.ntk, ns.empirical.operator):
        with pytest.raises(TypeError, match="points are rows of several lengths"):
            ask(K3, PARAMS, [[1, 2], [3]])
        with pytest.raises(ValueError, match=r"output=True; expected None"):
            ask(K3, PARAMS, X, output=True)
        for cast, got in ((int, "int64"), (complex, "complex128"), (str, "<U32")):
            with pytest.raises(TypeError, match=r"params\[0\]\['b'\] is " + got + "; expected arrays of"):
                ask(K3, jax.tree.map(lambda leaf, cast=cast: np.asarray(leaf).astype(cast), PARAMS), X)
    with pytest.raises(TypeError, match="params is a int; expected arrays of floating-point numbers"):
        ns.empirical.ntk(K3, 3, X)
    for ask in (ns.empirical.ntk, ns.empirical.dense):
        with pytest.raises(TypeError, match="progress=3; expected a reporter"):
            ask(K3, PARAMS, X, progress=3)
    limit = ns.kernel.compose(ns.mapping.gaussian_limit(dim=2, scale=1.0), net)
    with pytest.raises(ValueError, match="infinitely many frequencies"):
        ns.empirical.ntk(limit, PARAMS, X)


def test_what_would_not_fit_is_refused_before_it_is_allocated():
    with (
        limited(memory=3000),
        pytest.raises(ValueError, match=r"empirical Gram matrix of 70 x 70 would need .*empirical\.operator"),
    ):
        ns.empirical.ntk(K3, PARAMS, np.tile(X, (10, 1)))
    with (
        limited(memory=3000),
        pytest.raises(ValueError, match=r"Jacobian of a few points .* take fewer points or a narrower network"),
    ):
        ns.empirical.ntk(K3, PARAMS, X)
    with (
        limited(memory=3000),
        pytest.raises(ValueError, match=r"7 x 7 points and 2 x 2 outputs would need .*empirical\.ntk"),
    ):
        ns.empirical.ntk_between_outputs(K3, PARAMS, X)
